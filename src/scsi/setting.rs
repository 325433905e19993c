//! Commands whose parameter list changes what a unit tells or how it behaves, and does nothing to the medium: MODE SELECT,
//! LOG SELECT, SEND DIAGNOSTIC, SET TIMESTAMP and SET IDENTIFYING INFORMATION (SPC-5).
//!
//! Each is a [`LongTask`] of one step: the list is there, all of it is checked, and the change is the outcome's effect, or a
//! [`Demand`] where it holds for all ports. Only what turns the write cache off has it written first.

use super::command::DataDirection;
use super::diagnostics::{self, DiagnosticPage};
use super::identifying::Identifying;
use super::log::{self, LogSelect};
use super::logical_unit::LogicalUnit;
use super::long::{Desk, LongStep, LongTask};
use super::mode::{self, Medium, ModeChange, ModeSelect, ModeState, ModeValues};
use super::outcome::{BlockOp, Condition, Effect, Outcome};
use super::sense::Sense;
use super::sharing::Demand;
use super::timestamp;

/// No information has this INFORMATION TYPE.
const UNKNOWN_TYPE: Sense = Sense::invalid_field(10, Some(7));

/// A command that changes settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// MODE SELECT (6) and (10).
    Mode(ModeSelect),
    /// LOG SELECT.
    Log(LogSelect),
    /// SEND DIAGNOSTIC with a parameter list.
    Diagnostic(DiagnosticPage),
    /// SET TIMESTAMP.
    Timestamp {
        /// Bytes of the parameter list.
        parameter_list_length: u32,
    },
    /// SET IDENTIFYING INFORMATION.
    Identifying {
        /// INFORMATION TYPE, 7 bits.
        information_type: u8,
        /// Bytes of the parameter list.
        parameter_list_length: u32,
    },
}

impl Setting {
    /// Bytes of its parameter list, as far as they mean something.
    fn list_len(self) -> usize {
        match self {
            Self::Mode(select) => select.parameter_list_length.into(),
            Self::Log(select) => select.parameter_list_length.into(),
            Self::Diagnostic(page) => page.parameter_list_length.into(),
            Self::Timestamp { parameter_list_length: len } => timestamp::LIST_LEN.min(len as usize),
            Self::Identifying { parameter_list_length: len, .. } => len as usize,
        }
    }

    /// Which way its data goes.
    pub const fn direction(self) -> DataDirection {
        let len = match self {
            Self::Mode(ModeSelect { parameter_list_length, .. })
            | Self::Log(LogSelect { parameter_list_length, .. })
            | Self::Diagnostic(DiagnosticPage { parameter_list_length, .. }) => parameter_list_length as u32,
            Self::Timestamp { parameter_list_length } | Self::Identifying { parameter_list_length, .. } => {
                parameter_list_length
            }
        };
        if len == 0 { DataDirection::None } else { DataDirection::Out }
    }
}

/// A command whose list is there.
#[derive(Debug)]
struct Change {
    setting: Setting,
    medium: Medium,
    mode: ModeState,
    /// What it wants once what the cache holds is on the medium.
    after_flush: Option<ModeChange>,
}

/// Begins a command, if its CDB is right.
pub(super) fn begin(
    unit: &LogicalUnit,
    setting: Setting,
    condition: &Condition<'_>,
) -> Result<Box<dyn LongTask>, Outcome> {
    match setting {
        Setting::Log(select) => log::check_select(unit, &select)?,
        Setting::Diagnostic(page) => diagnostics::check_page(&page)?,
        Setting::Identifying { information_type, parameter_list_length: len } => {
            let kind = Identifying::from_code(information_type).ok_or(UNKNOWN_TYPE)?;
            if len as usize > kind.len_max() {
                return Err(Sense::invalid_field(6, None).into());
            }
        }
        Setting::Mode(_) | Setting::Timestamp { .. } => {}
    }
    Ok(Box::new(Change { setting, medium: unit.medium(), mode: condition.mode, after_flush: None }))
}

impl Change {
    /// Whether writes have been cached until now and will not be any more: nobody asks then for those of before to be written.
    fn ends_caching(&self, change: ModeChange) -> bool {
        let is_off = |state: ModeState| state.current.has(ModeValues::WRITE_THROUGH);
        let has_cache = self.medium.write_back && !self.medium.read_only;
        has_cache && !is_off(self.mode) && is_off(self.mode.changed_by(change))
    }

    /// What comes of the list.
    fn step(&mut self, list: &[u8]) -> Result<LongStep, Sense> {
        Ok(match self.setting {
            Setting::Mode(select) => {
                let change = mode::select(&self.medium, &select, self.mode, list)?;
                if self.ends_caching(change) {
                    self.after_flush = Some(change);
                    return Ok(LongStep::bare(BlockOp::FLUSH));
                }
                share(Demand::Mode(change))
            }
            Setting::Log(select) => log::select(&select, list).map(|()| LongStep::GOOD)?,
            Setting::Diagnostic(_) => diagnostics::send_page(list).map(|()| LongStep::GOOD)?,
            Setting::Timestamp { .. } => match timestamp::parse_list(list)? {
                Some(timestamp_ms) => LongStep::Done(Outcome::good_with(Effect::Timestamp(timestamp_ms))),
                None => LongStep::GOOD,
            },
            Setting::Identifying { information_type, .. } => {
                let kind = Identifying::from_code(information_type).ok_or(UNKNOWN_TYPE)?;
                kind.check(list)?;
                share(Demand::Identifying(kind, list.to_vec()))
            }
        })
    }
}

impl LongTask for Change {
    fn data_out_len(&self) -> u64 {
        self.setting.list_len() as u64
    }

    fn memory_len(&self) -> usize {
        self.setting.list_len()
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        if let Some(change) = self.after_flush {
            return share(Demand::Mode(change));
        }
        let list = &mut desk.memory[..self.setting.list_len()];
        desk.data.take(0, list);
        self.step(list).unwrap_or_else(LongStep::from)
    }
}

fn share(demand: Demand) -> LongStep {
    LongStep::Share(Box::new(demand))
}

#[cfg(test)]
mod tests;

//! What the ports and initiators of a disk share, and the commands that change it: PERSISTENT RESERVE OUT, RESERVE and
//! RELEASE (6) and (10), SET TARGET PORT GROUPS (SPC-5). What MODE SELECT and SET IDENTIFYING INFORMATION change is shared, too.
//!
//! Each is a [`LongTask`] of one step: its parameter list is read and checked as far as it can be alone, and becomes a
//! [`Demand`]. The caller has one [`Shared`] for each disk, carries demands out one after the other, and ends the command
//! with what came of it.

use bdev::{Health, Space};

use super::command::DataDirection;
use super::identifying::{Identifying, Names};
use super::identity::Port;
use super::kept::KeptUnit;
use super::log::SelfTestRecord;
use super::long::{Desk, LongStep, LongTask};
use super::mode::{ModeChange, ModeState};
use super::outcome::Outcome;
use super::port_groups::{PortGroups, SET_LIST_LEN_MAX};
use super::reservations::{Changes, Nexus, OutAction, OutParameters, Refusal, Registry};
use super::sense::Sense;
use super::spec::Asc;

/// A command that changes what is shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// PERSISTENT RESERVE OUT.
    PersistentOut {
        /// SERVICE ACTION.
        service_action: u8,
        /// SCOPE and TYPE, in one byte.
        scope_and_type: u8,
        /// Bytes of the parameter list.
        parameter_list_length: u32,
    },
    /// RESERVE (6) and (10).
    Reserve,
    /// RELEASE (6) and (10).
    Release,
    /// SET TARGET PORT GROUPS.
    SetPortGroups {
        /// Bytes of the parameter list.
        parameter_list_length: u32,
    },
}

impl Sharing {
    /// Bytes of its parameter list.
    const fn list_len(self) -> u32 {
        match self {
            Self::PersistentOut { parameter_list_length, .. } | Self::SetPortGroups { parameter_list_length } => {
                parameter_list_length
            }
            Self::Reserve | Self::Release => 0,
        }
    }

    /// Which way its data goes.
    pub const fn direction(self) -> DataDirection {
        if self.list_len() == 0 { DataDirection::None } else { DataDirection::Out }
    }
}

/// What a command wants of what is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// PERSISTENT RESERVE OUT.
    Persistent(OutAction, OutParameters),
    /// RESERVE.
    Reserve,
    /// RELEASE.
    Release,
    /// SET TARGET PORT GROUPS with this parameter list.
    PortGroups(Vec<u8>),
    /// MODE SELECT.
    Mode(ModeChange),
    /// SET IDENTIFYING INFORMATION with this parameter list.
    Identifying(Identifying, Vec<u8>),
}

/// All that the ports and initiators of one disk share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shared {
    /// Reservations.
    pub registry: Registry,
    /// Ports, and how well they reach the disk.
    pub groups: PortGroups,
    /// Its ports, ascending by their relative identifiers.
    pub ports: Vec<Port>,
    /// Mode pages.
    pub mode: ModeState,
    /// What hosts call the disk.
    pub names: Names,
    /// How many milliseconds its clock is ahead of the host's, if SET TIMESTAMP has set it.
    pub ahead_ms: Option<i64>,
    /// How often it was started after it had been stopped.
    pub start_stop_cycles: u32,
    /// How many minutes it had been there when somebody looked last.
    pub power_on_minutes: u32,
    /// The last self-tests, the latest first: at most [`SELF_TESTS_MAX`](super::SELF_TESTS_MAX).
    pub self_tests: Vec<SelfTestRecord>,
    /// There is a place where reservations, mode pages and names outlive a loss of power.
    pub keeps: bool,
    /// How much space there was when somebody looked last.
    pub space: Option<Space>,
    /// What the device told of its condition when somebody asked last.
    pub health: Option<Health>,
}

/// What comes of a demand: the caller does it before it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consequences {
    /// Of reservations.
    pub changes: Changes,
    /// Port groups that have another state now.
    pub groups: Vec<u16>,
    /// Mode pages have other values now: whoever did not change them is told.
    pub modes: bool,
    /// The disk has another name or text now: whoever did not change it is told (SPC-5, SET IDENTIFYING INFORMATION).
    pub names: bool,
    /// What [`kept`](Shared::kept) gives is to be kept over a loss of power.
    pub keep: bool,
}

impl Shared {
    /// Does what `nexus` wants.
    ///
    /// # Errors
    /// [`Refusal`]: then nothing has changed.
    pub fn carry_out(&mut self, nexus: Nexus, demand: &Demand) -> Result<Consequences, Refusal> {
        Ok(match demand {
            Demand::Persistent(action, parameters) => {
                if parameters.aptpl && !self.keeps {
                    let byte = if *action == OutAction::RegisterAndMove { 17 } else { 20 };
                    return Err(Sense::invalid_parameter(byte, Some(0)).into());
                }
                let ports: Vec<_> = self.ports.iter().map(|port| port.relative).collect();
                let changes = self.registry.persistent_out(nexus, *action, parameters, &ports)?;
                Consequences { changes, ..Consequences::default() }
            }
            Demand::Reserve => {
                self.registry.reserve_unit(nexus)?;
                Consequences::default()
            }
            Demand::Release => {
                self.registry.release_unit(nexus)?;
                Consequences::default()
            }
            Demand::PortGroups(list) => {
                Consequences { groups: self.groups.set_by_initiator(list)?, ..Consequences::default() }
            }
            Demand::Mode(change) => {
                let before = self.mode;
                self.mode = before.changed_by(*change);
                Consequences { modes: self.mode != before, keep: change.is_saved(), ..Consequences::default() }
            }
            Demand::Identifying(kind, list) => {
                let names = self.names.of(*kind) != *list;
                self.names.keep(*kind, list);
                Consequences { names, keep: self.keeps, ..Consequences::default() }
            }
        })
    }

    /// What outlives a loss of power, reservations apart.
    pub fn kept(&self) -> KeptUnit {
        KeptUnit { mode: self.mode.restored(), names: self.names.clone() }
    }

    /// The unit was reset: mode pages are as they were saved.
    pub fn restore_modes(&mut self) {
        self.mode = self.mode.restored();
    }
}

impl From<Refusal> for Outcome {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Conflict => Self::RESERVATION_CONFLICT,
            Refusal::Check(sense) => Self::check(sense),
        }
    }
}

/// A command whose list is there.
#[derive(Debug)]
enum Ask {
    Persistent { action: OutAction, len: usize },
    Plain(Sharing),
}

/// Begins a command, if its CDB is right.
pub(super) fn begin(sharing: Sharing) -> Result<Box<dyn LongTask>, Outcome> {
    const LENGTH: Sense = Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR);
    let len = sharing.list_len() as usize;
    Ok(Box::new(match sharing {
        Sharing::PersistentOut { service_action, scope_and_type, .. } => {
            let action = OutAction::from_cdb(service_action, scope_and_type)?;
            if !(OutParameters::LEN_MIN..=OutParameters::LEN_MAX).contains(&len) {
                return Err(LENGTH.into());
            }
            Ask::Persistent { action, len }
        }
        Sharing::SetPortGroups { .. } if len > SET_LIST_LEN_MAX => return Err(LENGTH.into()),
        _ => Ask::Plain(sharing),
    }))
}

impl Ask {
    fn list_len(&self) -> usize {
        match *self {
            Self::Persistent { len, .. } => len,
            Self::Plain(sharing) => sharing.list_len() as usize,
        }
    }

    fn demand(&self, list: &[u8]) -> Result<Demand, Sense> {
        Ok(match *self {
            Self::Persistent { action, .. } => Demand::Persistent(action, OutParameters::parse(action, list)?),
            Self::Plain(Sharing::Reserve) => Demand::Reserve,
            Self::Plain(Sharing::Release) => Demand::Release,
            Self::Plain(_) => Demand::PortGroups(list.to_vec()),
        })
    }
}

impl LongTask for Ask {
    fn data_out_len(&self) -> u64 {
        self.list_len() as u64
    }

    fn memory_len(&self) -> usize {
        self.list_len()
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        let list = &mut desk.memory[..self.list_len()];
        if !list.is_empty() {
            desk.data.take(0, list);
        }
        match self.demand(list) {
            Ok(demand) => LongStep::Share(Box::new(demand)),
            Err(sense) => sense.into(),
        }
    }
}

#[cfg(test)]
mod tests;

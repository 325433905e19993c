//! The unit that answers where no logical unit is, so that the rules for a wrong LUN live in one place.
//!
//! SAM-5, incorrect logical unit numbers: INQUIRY says that nothing is here, REQUEST SENSE returns LOGICAL UNIT NOT
//! SUPPORTED as data, REPORT LUNS works at LUN 0, and all else is refused with that sense.

use super::command::Command;
use super::outcome::{Condition, Outcome};
use super::reply::Reply;
use super::sense::Sense;
use super::spec::{Asc, vpd_page};
use super::{inquiry, luns};

/// Answers for a logical unit number without a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingUnit {
    lun_zero: bool,
}

impl MissingUnit {
    /// How every command ends that has nothing to say about a missing unit.
    pub const NOT_SUPPORTED: Outcome = Outcome::check(Self::SENSE);

    const SENSE: Sense = Sense::illegal(Asc::LOGICAL_UNIT_NOT_SUPPORTED);

    /// The unit that stands in at LUN 0 of an existing target (`lun_zero`), or at another LUN.
    pub const fn new(lun_zero: bool) -> Self {
        Self { lun_zero }
    }

    /// Answers a command.
    pub fn answer(&self, command: &Command, condition: &Condition<'_>, reply: &mut Reply) -> Outcome {
        reply.begin(0);
        match *command {
            Command::Inquiry { evpd, page, allocation_length } => {
                let supported_pages = [inquiry::NO_DEVICE, vpd_page::SUPPORTED_PAGES, 0, 1, vpd_page::SUPPORTED_PAGES];
                reply.begin(allocation_length.into());
                match (evpd, page) {
                    (false, 0) => reply.put(&inquiry::without_disk(inquiry::NO_DEVICE)),
                    (true, vpd_page::SUPPORTED_PAGES) => reply.put(&supported_pages),
                    _ => return Outcome::check(inquiry::UNKNOWN_PAGE),
                }
                Outcome::GOOD
            }
            Command::RequestSense { desc, allocation_length } => {
                reply.begin(allocation_length.into());
                reply.put_sense(&Self::SENSE, desc);
                Outcome::GOOD
            }
            Command::ReportLuns { select_report, allocation_length } if self.lun_zero => {
                reply.begin(allocation_length);
                luns::report(select_report, condition.luns, reply).map_or_else(Outcome::check, |()| Outcome::GOOD)
            }
            _ => Self::NOT_SUPPORTED,
        }
    }
}

#[cfg(test)]
mod tests;

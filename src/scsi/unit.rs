//! Whatever answers at a logical unit number: a disk, the well-known unit, or the unit that stands in where there is none.

use bdev::IoError;

use super::cdb;
use super::command::Command;
use super::logical_unit::LogicalUnit;
use super::long::LongTask;
use super::luns::WellKnownUnit;
use super::missing::MissingUnit;
use super::outcome::{BlockOp, Condition, Outcome, Step};
use super::reply::Reply;

/// What answers at a logical unit number.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "there are few, nearly all are disks, and none is moved")]
pub enum Unit {
    /// A disk.
    Disk(LogicalUnit),
    /// The well-known logical unit REPORT LUNS.
    WellKnown(WellKnownUnit),
    /// Nothing is there.
    Missing(MissingUnit),
}

impl Unit {
    /// Decodes a CDB, or says how to end the command. Where nothing is there, everything that cannot be decoded is
    /// LOGICAL UNIT NOT SUPPORTED before it is anything else (SAM-5, incorrect logical unit numbers). A pending unit
    /// attention goes before an error (SAM-5, unit attention conditions): the caller looks for one first.
    #[inline]
    pub fn decode(&self, cdb: &[u8]) -> Result<Command, Outcome> {
        cdb::decode(cdb).map_err(|sense| match self {
            Self::Disk(_) | Self::WellKnown(_) => Outcome::check(sense),
            Self::Missing(_) => MissingUnit::NOT_SUPPORTED,
        })
    }

    /// Starts a command. `reply` holds its data-in when the step is `Done`, and nothing otherwise.
    #[inline]
    pub fn start(&self, command: &Command, condition: &Condition<'_>, reply: &mut Reply) -> Step {
        match self {
            Self::Disk(disk) => disk.start(command, condition, reply),
            Self::WellKnown(unit) => Step::Done(unit.answer(command, condition, reply)),
            Self::Missing(missing) => Step::Done(missing.answer(command, condition, reply)),
        }
    }

    /// Goes on with a command whose `finished` operation, the one of its last step, came to `result`.
    #[inline]
    pub fn resume(&self, command: &Command, finished: &BlockOp, result: Result<(), IoError>) -> Step {
        match self {
            Self::Disk(disk) => disk.resume(command, finished, result),
            Self::WellKnown(_) => Step::Done(WellKnownUnit::NOT_SUPPORTED),
            Self::Missing(_) => Step::Done(MissingUnit::NOT_SUPPORTED),
        }
    }

    /// Begins a command whose step is [`Step::Long`].
    ///
    /// # Errors
    /// It has already ended, and this is how: refused, or without anything to do.
    pub fn begin(&self, command: &Command, condition: &Condition<'_>) -> Result<Box<dyn LongTask>, Outcome> {
        match self {
            Self::Disk(disk) => disk.begin(command, condition),
            Self::WellKnown(_) => Err(WellKnownUnit::NOT_SUPPORTED),
            Self::Missing(_) => Err(MissingUnit::NOT_SUPPORTED),
        }
    }

    /// The disk, if there is one.
    pub fn disk(&self) -> Option<&LogicalUnit> {
        match self {
            Self::Disk(disk) => Some(disk),
            Self::WellKnown(_) | Self::Missing(_) => None,
        }
    }
}

//! What a command came to, what it needs next, and how a backend's failure looks to an initiator.

use bdev::{IoError, OpKind};

use super::attention::Attention;
use super::hindrance::Hindrance;
use super::long::{ATOMIC_LENGTH_BYTE, SelfTestResult};
use super::mode::{ModeState, ModeValues};
use super::query::Facts;
use super::sense::Sense;
use super::spec::{Asc, SenseKey, Status};

/// What holds for a logical unit at the moment a command starts. The caller owns this state; here it is only read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition<'a> {
    /// The unit was stopped by START STOP UNIT ([`Effect::Stopped`]).
    pub stopped: bool,
    /// PREVENT ALLOW MEDIUM REMOVAL keeps the medium in ([`Effect::Prevented`]).
    pub removal_prevented: bool,
    /// The disk has several ports.
    pub several_ports: bool,
    /// What MODE SELECT has set ([`Demand::Mode`](super::Demand::Mode)).
    pub mode: ModeState,
    /// What keeps everybody from the medium.
    pub hindrance: Option<Hindrance>,
    /// The unit attention that REQUEST SENSE is to return: set only where the command's
    /// [`AttentionRule`](super::AttentionRule) is `AsData`, and taken from the pending ones.
    pub attention: Option<Attention>,
    /// Logical unit numbers of this target, in the form of SAM-5, ascending: read by REPORT LUNS alone.
    pub luns: &'a [[u8; 8]],
    /// What only commands that [ask](super::Command::asks) want to know.
    pub facts: Option<&'a Facts<'a>>,
}

/// A change that the caller must make before it reports the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The unit is stopped (true) or started from now on.
    Stopped(bool),
    /// The medium is out (true), or in and the unit started, from now on.
    Ejected(bool),
    /// The medium has to stay in from now on, or not.
    Prevented(bool),
    /// The unit's clock shows this many milliseconds from now on: [`Clock::ahead_of`](super::Clock::ahead_of).
    Timestamp(u64),
    /// The cache is written when the command has ended (IMMED): what then fails is a deferred error.
    Behind(Behind),
    /// A self-test that the log is to tell of has ended so.
    SelfTest(SelfTestResult),
    /// A sanitize operation that has failed hinders nobody any more.
    ExitFailureMode,
}

/// What is so already when a command ends whose flush goes on behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    /// Nothing else.
    Flush,
    /// The unit is stopped.
    Stopped,
    /// The medium is out.
    Ejected,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Status.
    pub status: Status,
    /// Sense data: present exactly with CHECK CONDITION.
    pub sense: Option<Sense>,
    /// What changes.
    pub effect: Option<Effect>,
}

impl Outcome {
    /// Success, without effects.
    pub const GOOD: Self = Self { status: Status::GOOD, sense: None, effect: None };

    /// The logical unit cannot take the command now.
    pub const BUSY: Self = Self { status: Status::BUSY, sense: None, effect: None };

    /// Another initiator has ended it, and TAS of the control mode page wants that told.
    pub const TASK_ABORTED: Self = Self { status: Status::TASK_ABORTED, sense: None, effect: None };
    /// There is no room for it among the commands that others wait for.
    pub const TASK_SET_FULL: Self = Self { status: Status::TASK_SET_FULL, sense: None, effect: None };
    /// An auto contingent allegiance exists.
    pub const ACA_ACTIVE: Self = Self { status: Status::ACA_ACTIVE, sense: None, effect: None };
    /// A reservation of another nexus is in the way.
    pub const RESERVATION_CONFLICT: Self = Self { status: Status::RESERVATION_CONFLICT, sense: None, effect: None };

    /// CHECK CONDITION with sense data.
    pub const fn check(sense: Sense) -> Self {
        Self { status: Status::CHECK_CONDITION, sense: Some(sense), effect: None }
    }

    /// Success that changes something.
    pub const fn good_with(effect: Effect) -> Self {
        Self { status: Status::GOOD, sense: None, effect: Some(effect) }
    }

    /// The one place where a failure of a block device becomes status and sense. Which block failed is not known here:
    /// [`LogicalUnit::locate`](super::LogicalUnit::locate) adds it where it is, for a wrong address would be worse than none.
    pub const fn of_io_error(kind: OpKind, error: IoError) -> Self {
        let (key, asc) = match error {
            IoError::Medium => match kind {
                OpKind::Read | OpKind::Verify | OpKind::Compare | OpKind::Extents | OpKind::Prefetch => {
                    (SenseKey::MEDIUM_ERROR, Asc::UNRECOVERED_READ_ERROR)
                }
                _ => (SenseKey::MEDIUM_ERROR, Asc::WRITE_ERROR),
            },
            IoError::Unreadable => (SenseKey::MEDIUM_ERROR, Asc::UNRECOVERED_READ_ERROR),
            IoError::NoSpace => (SenseKey::DATA_PROTECT, Asc::SPACE_ALLOCATION_FAILED),
            IoError::BeyondEnd => (SenseKey::ILLEGAL_REQUEST, Asc::LBA_OUT_OF_RANGE),
            IoError::ReadOnly => (SenseKey::DATA_PROTECT, Asc::WRITE_PROTECTED),
            // MEDIUM NOT PRESENT is for units with a removable medium, and NOT READY invites to wait: this is final.
            IoError::Gone => (SenseKey::HARDWARE_ERROR, Asc::LOGICAL_UNIT_FAILURE),
            IoError::Busy => return Self::BUSY,
            // What a task management function cancels, the transport answers. Anything else may simply be sent again.
            IoError::Cancelled => (SenseKey::ABORTED_COMMAND, Asc::NO_ADDITIONAL_SENSE),
            IoError::Unsupported => (SenseKey::ILLEGAL_REQUEST, Asc::INVALID_COMMAND_OPERATION_CODE),
            IoError::ReservationConflict => return Self::RESERVATION_CONFLICT,
            // What is not atomic is cut to what the device takes, by us.
            IoError::Misfit => match kind {
                OpKind::WriteAtomic { .. } => return Self::check(Sense::invalid_field(ATOMIC_LENGTH_BYTE, None)),
                _ => (SenseKey::HARDWARE_ERROR, Asc::INTERNAL_TARGET_FAILURE),
            },
            IoError::Transfer => (SenseKey::MEDIUM_ERROR, Asc::NO_ADDITIONAL_SENSE),
            IoError::PowerLoss => (SenseKey::ABORTED_COMMAND, Asc::POWER_LOSS_EXPECTED),
            IoError::Internal => (SenseKey::HARDWARE_ERROR, Asc::INTERNAL_TARGET_FAILURE),
            IoError::NotReady => (SenseKey::NOT_READY, Asc::NOT_READY_CAUSE_NOT_REPORTABLE),
            IoError::Formatting => (SenseKey::NOT_READY, Asc::FORMAT_IN_PROGRESS),
            IoError::Sanitizing => (SenseKey::NOT_READY, Asc::SANITIZE_IN_PROGRESS),
            IoError::WriteFault => (SenseKey::MEDIUM_ERROR, Asc::PERIPHERAL_DEVICE_WRITE_FAULT),
            IoError::GuardCheck => (SenseKey::MEDIUM_ERROR, Asc::GUARD_CHECK_FAILED),
            IoError::ApplicationTagCheck => (SenseKey::MEDIUM_ERROR, Asc::APPLICATION_TAG_CHECK_FAILED),
            IoError::ReferenceTagCheck => (SenseKey::MEDIUM_ERROR, Asc::REFERENCE_TAG_CHECK_FAILED),
            IoError::Miscompare => (SenseKey::MISCOMPARE, Asc::MISCOMPARE_DURING_VERIFY),
            IoError::AccessDenied => (SenseKey::ILLEGAL_REQUEST, Asc::ACCESS_DENIED_INVALID_LU_IDENTIFIER),
        };
        Self::check(Sense::new(key, asc))
    }
}

impl From<Sense> for Outcome {
    fn from(sense: Sense) -> Self {
        Self::check(sense)
    }
}

/// An operation that the block device must do for a command. It lies within the device and within its largest transfer,
/// in whole logical blocks; a flush has neither offset nor length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockOp {
    /// What to do.
    pub kind: OpKind,
    /// First byte on the device.
    pub offset: u64,
    /// Bytes to move.
    pub len: u64,
}

impl BlockOp {
    /// A flush.
    pub const FLUSH: Self = Self { kind: OpKind::Flush, offset: 0, len: 0 };

    /// How it is done while a unit has these mode values: where writes are not to be cached, data and zeroes go to the medium. Not
    /// so what UNMAP does: that is no write of data.
    pub fn in_mode(self, mode: ModeValues) -> OpKind {
        match self.kind {
            kind if !mode.has(ModeValues::WRITE_THROUGH) => kind,
            OpKind::Write { .. } => OpKind::Write { fua: true },
            OpKind::WriteAtomic { .. } => OpKind::WriteAtomic { fua: true },
            OpKind::WriteZeroes { unmap, .. } => OpKind::WriteZeroes { unmap, fua: true },
            kind => kind,
        }
    }
}

/// What to do next for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it has ended.
    Done(Outcome),
    /// A block operation, then `resume`.
    Block(BlockOp),
    /// The command takes several steps: [`begin`](super::Unit::begin) it, or go on with its task.
    Long,
}

impl From<Outcome> for Step {
    fn from(outcome: Outcome) -> Self {
        Self::Done(outcome)
    }
}

impl From<Sense> for Step {
    fn from(sense: Sense) -> Self {
        Self::Done(Outcome::check(sense))
    }
}

#[cfg(test)]
mod tests;

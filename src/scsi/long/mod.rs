//! Commands that take several steps: that need data-out parameters, memory of their own, several operations, or the range of
//! blocks for themselves.
//!
//! Owns what each of them does, and in which order. Never does it: a [`LongTask`] says step by step what comes next, and its
//! caller does that, with no step before the last one has come to its end. READ and WRITE are none of these.
//!
//! ```text
//! unit.start(..) -> Step::Long      unit.begin(..) -> a task, or how the command has already ended
//!                                   task.next(..) -> LongStep, again and again until LongStep::Done
//! ```
//!
//! A task may be dropped between two steps, by task management, a reset or a rest. What it does to the disk is done by its
//! operations alone, so that nothing has to be undone.

use std::fmt::Debug;

use bdev::IoError;

use super::command::{Be24, BufferAccess, ByteCheck, Command, DataDirection, RangeCommand, RangeFlags};
use super::hindrance::Work;
use super::logical_unit::{LogicalUnit, SOFTWARE_WRITE_PROTECTED, STOPPED};
use super::mode::ModeValues;
use super::outcome::{BlockOp, Condition, Outcome};
use super::query::Query;
use super::sense::Sense;
use super::setting::{self, Setting};
use super::sharing::{self, Demand, Sharing};
use super::spec::{Asc, SenseKey};

pub(super) mod buffers;
mod compare_and_write;
mod copying;
mod erase;
pub mod extended_copy;
mod format_unit;
mod lba_status;
mod or_write;
mod reassign;
mod sanitize;
mod self_test;
mod tokens;
mod unmap;
mod verify;
mod write;
mod write_same;

pub use extended_copy::{Designator, Found, Neighbour, Neighbours, Place};
pub use format_unit::FormatUnit;
pub use sanitize::{Sanitize, SanitizeAction};
pub use self_test::SelfTestResult;
pub(super) use write::ATOMIC_LENGTH_BYTE;

#[cfg(test)]
pub(super) mod testing;

/// Most memory of its own that a task may ask for, in bytes.
pub const MEMORY_MAX: usize = 1 << 20;

/// Large ranges go through a task's memory in pieces of this size, in bytes: a step of one takes the reactor a few tens of
/// microseconds.
const CHUNK_BYTES: u32 = 256 << 10;

/// A command in several steps that is no [`RangeCommand`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongCommand {
    /// UNMAP.
    Unmap {
        /// What is given back keeps space for itself.
        anchor: bool,
        /// Bytes of parameter list.
        parameter_list_length: u16,
    },
    /// REASSIGN BLOCKS.
    ReassignBlocks {
        /// Addresses have 8 bytes.
        long_lba: bool,
        /// The length of the list has 4 bytes.
        long_list: bool,
    },
    /// WRITE BUFFER.
    WriteBuffer(BufferAccess),
    /// One whose parameter list changes settings.
    Setting(Setting),
    /// EXTENDED COPY (LID1) and (LID4).
    ExtendedCopy {
        /// Its list identifier has four bytes.
        lid4: bool,
        /// Bytes of parameter list.
        parameter_list_length: u32,
    },
    /// POPULATE TOKEN.
    PopulateToken {
        /// LIST IDENTIFIER.
        list_id: u32,
        /// Bytes of parameter list.
        parameter_list_length: u32,
    },
    /// WRITE USING TOKEN.
    WriteUsingToken {
        /// LIST IDENTIFIER.
        list_id: u32,
        /// Bytes of parameter list.
        parameter_list_length: u32,
    },
    /// COPY OPERATION ABORT.
    CopyAbort {
        /// LIST IDENTIFIER.
        list_id: u32,
    },
    /// FORMAT UNIT.
    FormatUnit(FormatUnit),
    /// SANITIZE.
    Sanitize(Sanitize),
    /// SEND DIAGNOSTIC without a parameter list.
    SelfTest {
        /// SELFTEST.
        default: bool,
        /// SELF-TEST CODE.
        code: u8,
    },
    /// One that changes what the disk's ports share.
    Sharing(Sharing),
}

impl LongCommand {
    /// Whether it writes to the medium.
    pub(super) const fn writes(self) -> bool {
        match self {
            Self::Unmap { .. } | Self::FormatUnit(_) | Self::WriteUsingToken { .. } => true,
            Self::Sanitize(Sanitize { action, .. }) => !matches!(action, SanitizeAction::ExitFailureMode),
            _ => false,
        }
    }

    /// Which way its data goes.
    pub const fn direction(self) -> DataDirection {
        match self {
            Self::Unmap { parameter_list_length: 0, .. }
            | Self::WriteBuffer(BufferAccess { len: Be24([0, 0, 0]), .. }) => DataDirection::None,
            Self::ExtendedCopy { parameter_list_length: 0, .. }
            | Self::PopulateToken { parameter_list_length: 0, .. }
            | Self::WriteUsingToken { parameter_list_length: 0, .. }
            | Self::CopyAbort { .. }
            | Self::SelfTest { .. } => DataDirection::None,
            Self::ExtendedCopy { .. } | Self::PopulateToken { .. } | Self::WriteUsingToken { .. } => DataDirection::Out,
            Self::FormatUnit(cdb) => cdb.direction(),
            Self::Sanitize(cdb) => cdb.direction(),
            Self::Unmap { .. } | Self::ReassignBlocks { .. } | Self::WriteBuffer(_) => DataDirection::Out,
            Self::Setting(setting) => setting.direction(),
            Self::Sharing(sharing) => sharing.direction(),
        }
    }
}

/// A command in several steps that is in progress.
pub trait LongTask: Debug + Send {
    /// Bytes of data-out that it takes, or as many of them as the CDB tells. They are there before its first step.
    fn data_out_len(&self) -> u64 {
        0
    }

    /// Bytes of memory that it wants for itself, at most [`MEMORY_MAX`]: zeroed, aligned to 4,096, its own until its end.
    fn memory_len(&self) -> usize {
        0
    }

    /// Between two steps it is to let go of its memory, and of the initiator's data buffer, until its queue has rested; what it
    /// gets then is zeroed. `is_done`: the operation of its last step was done. True if it goes on after that with
    /// [`next`](Self::next). If not it is dropped and begun again, which must come to the same as if it had not.
    fn rest(&mut self, _is_done: bool) -> bool {
        false
    }

    /// The first step, or the next one after a step that succeeded.
    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep;

    /// The work that [`LongStep::Background`] is about. Asked once, right after that step.
    fn background(&mut self) -> Box<dyn LongTask> {
        unreachable!("asked of a task that has such a step")
    }

    /// How much of such a work is done, in parts of 65,536.
    fn progress(&self) -> u16 {
        0
    }

    /// The next step after an operation that failed: for nearly all of them there is none.
    fn failed(&mut self, op: &BlockOp, error: IoError, _desk: &mut Desk<'_>) -> LongStep {
        LongStep::Done(Outcome::of_io_error(op.kind, error))
    }
}

/// What lies before a task at each of its steps.
pub struct Desk<'a> {
    /// Its memory: as many bytes as it asked for.
    pub memory: &'a mut [u8],
    /// The initiator's data buffer.
    pub data: &'a mut dyn DataBuffer,
    /// The logical units of the same device.
    pub neighbours: &'a dyn Neighbours,
}

/// The initiator's data buffer. Data-out may change between two looks at it.
pub trait DataBuffer {
    /// Bytes of data-out that there are: at least the task's [`data_out_len`](LongTask::data_out_len).
    fn out_len(&self) -> u64;

    /// Copies data-out, from byte `at` on: no more than there is.
    fn take(&mut self, at: u64, into: &mut [u8]);

    /// Copies to data-in, from byte `at` on. Where there is no room for it the command ends with an overrun, whatever the
    /// task says.
    fn give(&mut self, at: u64, from: &[u8]);
}

/// What comes next for a long command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LongStep {
    /// An operation of the block device.
    Block(BlockOp, OpMemory),
    /// An operation of the block device of another logical unit, or of this one, in memory of the task.
    Elsewhere(Place, BlockOp, OpMemory),
    /// Have these bytes of the disk for itself, until its end: no other command, of whatever initiator, reads or writes any of
    /// them meanwhile. At most once.
    Lock {
        /// First byte on the device.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Begin work on the whole medium, a task of its own that goes on whatever becomes of this one and keeps everybody else
    /// from the medium meanwhile. The last step.
    Background(Background),
    /// Have this demand carried out on what the disk's ports share: the command ends with what comes of it.
    Share(Box<Demand>),
    /// Nothing: it has ended.
    Done(Outcome),
}

/// Work that a command begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Background {
    /// Which.
    pub work: Work,
    /// The command ends as the work does; otherwise at once, and well.
    pub wait: bool,
}

/// The memory of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpMemory {
    /// None.
    Without,
    /// As many bytes as the operation has, from this byte of the initiator's data buffer on.
    Data(u64),
    /// Bytes of the task's own memory.
    Own {
        /// First byte.
        at: usize,
        /// Bytes.
        len: usize,
    },
}

impl LongStep {
    /// The command has succeeded.
    pub(super) const GOOD: Self = Self::Done(Outcome::GOOD);

    /// An operation that has no memory.
    pub(super) const fn bare(op: BlockOp) -> Self {
        Self::Block(op, OpMemory::Without)
    }
}

impl From<Sense> for LongStep {
    fn from(sense: Sense) -> Self {
        Self::Done(Outcome::check(sense))
    }
}

impl LogicalUnit {
    /// Begins a long command: see [`Unit::begin`](super::Unit::begin).
    pub fn begin(&self, command: &Command, condition: &Condition<'_>) -> Result<Box<dyn LongTask>, Outcome> {
        if let Command::Long(LongCommand::Setting(setting)) = *command {
            return setting::begin(self, setting, condition);
        }
        if let Command::Long(LongCommand::Sharing(sharing)) = *command
            && self.supports(command)
        {
            return sharing::begin(sharing);
        }
        if condition.stopped {
            return Err(STOPPED.into());
        }
        if !self.supports(command) {
            return Err(Sense::illegal(Asc::INVALID_COMMAND_OPERATION_CODE).into());
        }
        let mode = condition.mode.current;
        if mode.has(ModeValues::SWP) && command.writes() {
            return Err(SOFTWARE_WRITE_PROTECTED.into());
        }
        match *command {
            Command::OnRange { what, lba, blocks, form } => {
                let range = (lba, blocks);
                let what = if mode.has(ModeValues::WRITE_THROUGH) { what.forced() } else { what };
                match what {
                    RangeCommand::Verify(check) => verify::begin(self, check, range, form),
                    RangeCommand::WriteAndVerify(check) => write::begin_and_verify(self, check, range, form),
                    RangeCommand::WriteAtomic(flags) => write::begin_atomic(self, flags, range),
                    RangeCommand::WriteSame(flags) => write_same::begin(self, flags, range, form),
                    RangeCommand::CompareAndWrite(flags) => compare_and_write::begin(self, flags, range),
                    RangeCommand::OrWrite(flags) => or_write::begin(self, flags, range),
                }
            }
            Command::GetLbaStatus { lba, allocation_length } => lba_status::begin(self, lba, allocation_length),
            Command::Long(LongCommand::Unmap { anchor, parameter_list_length }) => {
                unmap::begin(self, anchor, parameter_list_length)
            }
            Command::Long(LongCommand::ReassignBlocks { long_lba, long_list }) => {
                reassign::begin(self, long_lba, long_list)
            }
            Command::Long(LongCommand::ExtendedCopy { lid4, parameter_list_length }) => {
                extended_copy::begin(self, lid4, parameter_list_length)
            }
            Command::Long(LongCommand::PopulateToken { list_id, parameter_list_length }) => {
                tokens::begin_populate(self, list_id, parameter_list_length)
            }
            Command::Long(LongCommand::WriteUsingToken { list_id, parameter_list_length }) => {
                tokens::begin_write(self, list_id, parameter_list_length)
            }
            Command::Long(LongCommand::CopyAbort { list_id }) => Err(extended_copy::abort(self, list_id)),
            Command::Long(LongCommand::FormatUnit(cdb)) => format_unit::begin(self, cdb),
            Command::Long(LongCommand::Sanitize(cdb)) => sanitize::begin(self, cdb, condition),
            Command::Long(LongCommand::WriteBuffer(access)) => buffers::begin_write(self, access),
            Command::Long(LongCommand::SelfTest { default, code }) => self_test::begin(self, default, code),
            _ => unreachable!("{command:?} is no long command"),
        }
    }

    /// Whether this disk has a command that is in the table of commands: some need a device that can do what they ask for.
    pub fn supports(&self, command: &Command) -> bool {
        match command {
            Command::Long(LongCommand::Unmap { .. }) => self.limits.unmap > 0,
            Command::OnRange { what: RangeCommand::WriteAtomic(_), .. } => self.limits.atomic.is_some(),
            Command::Long(LongCommand::Sharing(Sharing::SetPortGroups { .. }))
            | Command::Query(Query::PortGroups { .. }) => self.port.group.is_some(),
            _ => true,
        }
    }

    /// Whether the device may be written to.
    #[inline]
    pub(super) fn check_writable(&self) -> Result<(), Sense> {
        if self.read_only { Err(Sense::new(SenseKey::DATA_PROTECT, Asc::WRITE_PROTECTED)) } else { Ok(()) }
    }

    /// Blocks that go through a task's memory at a time.
    fn chunk_blocks(&self) -> u32 {
        let blocks = (CHUNK_BYTES / self.block_size).max(1);
        self.transfer_blocks_max.map_or(blocks, |most| blocks.min(most))
    }
}

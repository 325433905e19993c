//! A disk: what it answers to each command. Immutable; whatever changes lives with the caller ([`Condition`]).

use bdev::{Info, IoError};

use super::command::Command;
use super::identity::Identity;
use super::outcome::{BlockOp, Condition, Outcome, Step};
use super::reply::Reply;

/// A disk.
#[derive(Debug)]
pub struct LogicalUnit {
    identity: Identity,
    block_size: u32,
}

impl LogicalUnit {
    /// Describes a disk on a device with `info`.
    pub fn new(identity: Identity, info: &Info) -> Self {
        Self { identity, block_size: info.block_size }
    }

    /// Its names.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Bytes of a logical block.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Starts a command: see [`Unit::start`](super::Unit::start).
    pub fn start(&self, _command: &Command, _condition: &Condition<'_>, _reply: &mut Reply) -> Step {
        Step::Done(Outcome::GOOD)
    }

    /// Goes on with a command: see [`Unit::resume`](super::Unit::resume).
    pub fn resume(&self, _command: &Command, _finished: &BlockOp, _result: Result<(), IoError>) -> Step {
        Step::Done(Outcome::GOOD)
    }
}

//! The io_urings of one core: for files one that all of them share, for NVMe namespaces one of their own, and beside each a
//! second one that polls where disks want that.
//!
//! [`Rings`] is the way of an operation through them; [`ledger`] says what a kind of operations has to bring along. Used by
//! [`Io`] and the channels, on the thread that made them and on no other.
//!
//! [`Io`]: crate::Io
#![allow(unsafe_code)]

mod bounce;
mod buffers;
mod courtesy;
mod end;
mod enter;
mod files;
mod ledger;
mod memory;
mod ops;
mod ring;
mod rings;
mod setup;
mod slab;
mod sqe;
#[cfg(test)]
mod tests;

use crate::channel::{SubmitError, Tag};
use crate::op::Op;
use crate::space::Plan;

pub(crate) use bounce::BouncePool;
#[cfg(test)]
pub(crate) use buffers::BufferTable;
pub(crate) use files::{FileId, Target};
#[cfg(test)]
pub(crate) use ledger::Next;
pub(crate) use ledger::{Ledger, Verdict, Work};
pub use memory::{Registrar, Registration};
pub(crate) use rings::Rings;
pub(crate) use setup::{CommandRing, Kind, can_discard, check as check_available, ring as new_ring};
pub(crate) use slab::{Cursor, ENTRIES_MAX, Entry, EntryId};

/// The rings for files and block devices.
pub(crate) type Uring = Rings<ops::Transfers>;

impl Uring {
    /// Takes an operation on space over, to be done as `plan` says.
    pub(crate) fn start_space(&mut self, file: FileId, op: &Op, tag: Tag, plan: Plan) -> Result<(), SubmitError> {
        let id = self.ops.accept_space(file, op, tag, plan)?;
        self.push_or_wait(id);
        Ok(())
    }
}

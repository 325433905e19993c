//! A part of an operation as a submission queue entry. No decisions: `ops` has made them.

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};

use crate::op::OpKind;
use crate::uring::files::Target;
use crate::uring::ops::{Buffers, Part, What};
use crate::uring::slab::CANCEL;

/// The entry for `part`. It points to the memory of the part's segments.
pub(crate) fn entry(part: &Part) -> Entry {
    let (fd, flags) = match part.target {
        Target::Registered(index) => (Fd(index as i32), Flags::FIXED_FILE),
        Target::Descriptor(fd) => (Fd(fd), squeue::Flags::empty()),
    };
    let entry = match part.what {
        What::Sync => opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build(),
        What::Move { kind: OpKind::Write { fua }, offset, from } => {
            // Per write, so that only what asked for it waits for the device's cache.
            write(fd, offset, from, if fua { libc::RWF_DSYNC } else { 0 })
        }
        What::Move { offset, from, .. } => read(fd, offset, from),
    };
    entry.flags(flags).user_data(part.user_data)
}

/// The entry that asks to end the operation with `user_data` early.
pub(crate) fn cancel(user_data: u64) -> Entry {
    opcode::AsyncCancel::new(user_data).build().user_data(CANCEL)
}

fn read(fd: Fd, offset: u64, into: Buffers) -> Entry {
    match into {
        Buffers::One(segment) => opcode::Read::new(fd, segment.as_ptr(), segment.len() as u32).offset(offset).build(),
        Buffers::Many { first, count } => opcode::Readv::new(fd, first.cast(), count).offset(offset).build(),
    }
}

fn write(fd: Fd, offset: u64, from: Buffers, flags: i32) -> Entry {
    match from {
        Buffers::One(segment) => {
            opcode::Write::new(fd, segment.as_ptr(), segment.len() as u32).offset(offset).rw_flags(flags).build()
        }
        Buffers::Many { first, count } => {
            opcode::Writev::new(fd, first.cast(), count).offset(offset).rw_flags(flags).build()
        }
    }
}

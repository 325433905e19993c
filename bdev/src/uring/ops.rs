//! What becomes of an operation on a file or block device: the parts it is cut into, what each part's result means, when to
//! go on and when to stop.
//!
//! It makes no system call: the [ledger](super::ledger) keeps the operations, the rings ask for the entry of a [`Part`].

use std::num::NonZeroI32;
use std::ops::ControlFlow;

use io_uring::{cqueue, squeue};

use crate::channel::{SubmitError, Tag};
use crate::io::IoConfig;
use crate::op::{IoError, Op, OpKind};
use crate::segment::{Segment, gather, scatter};
use crate::space::{Plan, Way};
use crate::uring::bounce::BouncePool;
use crate::uring::files::{FileId, Target};
use crate::uring::ledger::{Ledger, Verdict, Work};
use crate::uring::slab::{Entry, EntryId};
use crate::uring::sqe;

/// Most segments of one vectored system call (`UIO_MAXIOV`).
const SEGMENTS_MAX: usize = 1024;

/// Most bytes of a part with one segment, within what the kernel moves at once.
const PART_BYTES_MAX: usize = 1 << 30;

/// How often in a row the kernel may say "try again" before the caller is told so.
const RETRIES_MAX: u8 = 16;

/// The next thing that the kernel is to do for an operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) target: Target,
    pub(crate) user_data: u64,
    pub(crate) what: What,
}

/// See [`Part`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Sync,
    /// Fills the page cache with a range.
    Prefetch {
        offset: u64,
        len: u64,
    },
    /// `registered` is the index of the registered buffer that holds all of `from`.
    Move {
        kind: OpKind,
        offset: u64,
        from: Buffers,
        registered: Option<u16>,
    },
    Space {
        way: Way,
        offset: u64,
        len: u64,
    },
}

/// Where a part's bytes are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Buffers {
    One(Segment),
    /// `count` segments in the caller's list, at most 1,024. They stay there until the completion.
    Many {
        first: *const Segment,
        count: u32,
    },
}

impl What {
    /// The first part is the operation itself, the second makes it last.
    fn of_space(entry: &Entry) -> Self {
        match entry.plan {
            Some(plan) if entry.done == 0 => Self::Space { way: plan.way, offset: entry.op.offset, len: entry.op.len },
            _ => Self::Sync,
        }
    }
}

impl Entry {
    /// After a part that moves no data has succeeded.
    fn space_done(&mut self) -> Verdict {
        let lasts = !self.op.kind.is_lasting_space() || self.done > 0;
        if lasts {
            return ControlFlow::Break(Ok(()));
        }
        self.done = self.op.len;
        self.retries = 0;
        ControlFlow::Continue(())
    }
}

/// Reads, writes and what else the kernel does to a file. Its [terms](Work::Terms) are what the progress of an operation is a
/// multiple of, minus one: what direct I/O demands of an offset. 0 if buffered.
#[derive(Debug)]
pub(crate) struct Transfers {
    /// The kernel takes several segments of a registered buffer.
    vectored_fixed: bool,
}

/// The accepted operations on the files of a core.
pub(crate) type Ops = Ledger<Transfers>;

impl Work for Transfers {
    type Terms = u64;
    type Submission = squeue::Entry;
    type Completion = cqueue::Entry;

    fn new(_: &IoConfig, vectored_fixed: bool) -> Self {
        Self { vectored_fixed }
    }

    fn next(ops: &mut Ops, id: EntryId) -> squeue::Entry {
        sqe::entry(&ops.part(id))
    }

    /// The result is the bytes moved, or a negative errno.
    #[inline]
    fn judge(ops: &mut Ops, id: EntryId, result: i32) -> Verdict {
        if ops.slab.get(id).whole.is_some_and(|whole| whole.get() == result) {
            return ControlFlow::Break(Ok(()));
        }
        match u32::try_from(result) {
            Ok(moved) => ops.moved(id, moved as usize),
            Err(_) => ops.failed(id, result.wrapping_neg()),
        }
    }
}

impl Ops {
    /// Accepts an operation on space that its channel has admitted.
    pub(crate) fn accept_space(&mut self, file: FileId, op: &Op, tag: Tag, plan: Plan) -> Result<EntryId, SubmitError> {
        let id = self.accept(file, op, tag, false)?;
        self.slab.get_mut(id).plan = Some(plan);
        Ok(id)
    }

    /// What is to be done next for an operation. For a bounced write this fills the buffer.
    fn part(&mut self, id: EntryId) -> Part {
        let (user_data, ring) = self.goes_out(id);
        let entry = self.slab.get_mut(id);
        let registered = &mut self.buffers[ring as usize];
        let what = match entry.op.kind {
            OpKind::Flush => What::Sync,
            OpKind::Prefetch => What::Prefetch { offset: entry.op.offset, len: entry.op.len },
            _ if entry.plan.is_some() => What::of_space(entry),
            kind => {
                let from = buffers(&self.bounce, entry);
                let registered = match &from {
                    _ if entry.plain => None,
                    Buffers::One(segment) => registered.find(std::slice::from_ref(segment)),
                    Buffers::Many { count, .. } if self.work.vectored_fixed => {
                        let rest = &entry.op.segments.as_slice()[entry.cursor.segment..];
                        registered.find(&rest[..*count as usize])
                    }
                    Buffers::Many { .. } => None,
                };
                // Data in a buffer still has to be moved; more than what the kernel moves at once is moved bit by bit.
                let left = if entry.bounce.is_some() { 0 } else { entry.op.len - entry.done };
                entry.whole = i32::try_from(left).ok().and_then(NonZeroI32::new);
                entry.fixed = registered.is_some();
                self.stats.fixed += u64::from(entry.fixed);
                What::Move { kind, offset: entry.op.offset + entry.done, from, registered }
            }
        };
        Part { target: self.files.target(entry.file, ring), user_data, what }
    }

    #[inline(never)]
    fn moved(&mut self, id: EntryId, moved: usize) -> Verdict {
        let entry = self.slab.get_mut(id);
        if !entry.op.kind.moves_data() {
            return entry.space_done();
        }
        let reads = entry.op.kind == OpKind::Read;
        if moved == 0 {
            return ControlFlow::Break(Err(self.at_end(id)));
        }
        let segments = entry.op.segments.as_slice();
        if let (Some(buffer), true) = (entry.bounce, reads) {
            let filled = self.bounce.segment(buffer, moved);
            scatter(&segments[entry.cursor.segment..], entry.cursor.at as u64, &filled);
        }
        entry.cursor.advance(segments, moved);
        entry.done += moved as u64;
        entry.retries = 0;
        if entry.done == entry.op.len {
            return ControlFlow::Break(Ok(()));
        }
        // The kernel has promised all or nothing.
        if entry.op.kind.is_atomic() {
            return ControlFlow::Break(Err(IoError::Medium));
        }
        if entry.cancelled {
            return ControlFlow::Break(Err(IoError::Cancelled));
        }
        // Direct I/O moves whole blocks except at the end of the file: there is nothing more to come, and the kernel would
        // only complain of the odd offset.
        if entry.done & self.files.get(entry.file).terms != 0 {
            return ControlFlow::Break(Err(self.at_end(id)));
        }
        ControlFlow::Continue(())
    }

    /// The kernel moves nothing more: a file ends where a read has come to.
    #[cold]
    fn at_end(&self, id: EntryId) -> IoError {
        let entry = self.slab.get(id);
        if entry.op.kind != OpKind::Read {
            return IoError::Medium;
        }
        self.files.get(entry.file).ends_at(entry.op.offset + entry.done);
        IoError::BeyondEnd
    }

    #[cold]
    fn failed(&mut self, id: EntryId, errno: i32) -> Verdict {
        let entry = self.slab.get_mut(id);
        let other_way = entry.plan.as_mut().is_some_and(|plan| plan.retreat(errno));
        let try_again = other_way || matches!(errno, libc::EAGAIN | libc::EINTR);
        if entry.cancelled && (try_again || errno == libc::ECANCELED) {
            return ControlFlow::Break(Err(IoError::Cancelled));
        }
        // Whatever the kernel has against the registered buffer, the same without it says whether the operation is at fault.
        if entry.fixed && matches!(errno, libc::EFAULT | libc::EINVAL | libc::EOPNOTSUPP) {
            (entry.fixed, entry.plain) = (false, true);
            let file = entry.file;
            self.files.get_mut(file).refuses_registered(errno);
            return ControlFlow::Continue(());
        }
        if try_again && entry.retries < RETRIES_MAX {
            entry.retries += 1;
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Err(IoError::from_errno(errno)))
    }
}

/// Where the next part of an operation finds its bytes.
fn buffers(bounce: &BouncePool, entry: &Entry) -> Buffers {
    let segments = entry.op.segments.as_slice();
    let left = entry.op.len - entry.done;
    let rest = &segments[entry.cursor.segment..];
    if let Some(id) = entry.bounce {
        let len = left.min(bounce.buffer_bytes() as u64) as usize;
        let buffer = bounce.segment(id, len);
        if entry.op.kind.is_change() {
            gather(rest, entry.cursor.at as u64, &buffer);
        }
        return Buffers::One(buffer);
    }
    let first = rest[0].split_at(entry.cursor.at).1;
    // The caller's list is not ours to change: after a short count the rest of its segment goes alone.
    if entry.cursor.at > 0 || first.len() as u64 >= left {
        return Buffers::One(first.split_at(first.len().min(PART_BYTES_MAX)).0);
    }
    Buffers::Many { first: rest.as_ptr(), count: rest.len().min(SEGMENTS_MAX) as u32 }
}

#[cfg(test)]
#[path = "ops_tests.rs"]
mod tests;

//! What becomes of an operation between its acceptance and its completion: the parts it is cut into, what each part's
//! result means, when to go on and when to stop.
//!
//! Owns every accepted operation, the files and the bounce buffers. It knows no ring: the ring asks for a [`Part`], hands it
//! to the kernel, and brings back the result. It makes no system call, but to find out about a block device that fails.

use std::io;
use std::ops::ControlFlow;

use crate::channel::{Completion, SubmitError, Tag};
use crate::io::{Done, IoConfig, IoStats};
use crate::op::{IoError, Op, OpKind};
use crate::segment::{Segment, gather, scatter};
use crate::space::{Plan, Way};
use crate::uring::bounce::BouncePool;
use crate::uring::buffers::BufferTable;
use crate::uring::files::{FileId, FileTable, Target};
use crate::uring::setup::Kind;
use crate::uring::slab::{Cursor, Entry, EntryId, Slab};

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
    fn space_done(&mut self) -> ControlFlow<Result<(), IoError>> {
        let lasts = !matches!(self.op.kind, OpKind::WriteZeroes { fua: true, .. }) || self.done > 0;
        if lasts {
            return ControlFlow::Break(Ok(()));
        }
        if self.cancelled {
            return ControlFlow::Break(Err(IoError::Cancelled));
        }
        self.done = self.op.len;
        self.retries = 0;
        ControlFlow::Continue(())
    }
}

/// What to do after a part's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// The operation has ended.
    Done(Done),
    /// Ask for its next part.
    Again(EntryId),
    /// Nobody waits for this result.
    Nothing,
}

/// The accepted operations of a ring.
#[derive(Debug)]
pub(crate) struct Ops {
    slab: Slab<Entry>,
    pub(crate) files: FileTable,
    pub(crate) bounce: BouncePool,
    /// What each ring has registered, by [`Kind`].
    pub(crate) buffers: [BufferTable; 2],
    /// Parts in the ring that polls.
    polled: usize,
    /// The kernel takes several segments of a registered buffer.
    vectored_fixed: bool,
    pub(crate) stats: IoStats,
}

impl Ops {
    /// `vectored_fixed` if the kernel has `READV_FIXED`.
    pub(crate) fn new(config: &IoConfig, vectored_fixed: bool) -> io::Result<Self> {
        Ok(Self {
            slab: Slab::new(config.in_flight_max()),
            files: FileTable::new(config.channels),
            bounce: BouncePool::new(config.channels, config.bounce_buffers, config.bounce_buffer_bytes as usize)?,
            buffers: Default::default(),
            polled: 0,
            vectored_fixed,
            stats: IoStats::default(),
        })
    }

    /// Most operations in flight.
    pub(crate) fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.slab.in_use()
    }

    /// Parts whose results come only to who looks into the device's queues.
    pub(crate) fn polled(&self) -> usize {
        self.polled
    }

    /// The ring for the next part of an operation. A write that is to last goes where its end can be told by the file
    /// system or a flush, which are not polled for.
    pub(crate) fn kind(&self, id: EntryId) -> Kind {
        let entry = self.slab.get(id);
        let can = matches!(entry.op.kind, OpKind::Read | OpKind::Write { fua: false });
        if can && self.files.get(entry.file).polled { Kind::Poll } else { Kind::Interrupt }
    }

    /// Accepts an operation that its channel has admitted: there is a place. `through_bounce` if the file does not take its segments as they lie.
    pub(crate) fn accept(
        &mut self,
        file: FileId,
        op: &Op,
        tag: Tag,
        through_bounce: bool,
    ) -> Result<EntryId, SubmitError> {
        let slot = self.files.get_mut(file);
        let bounce = if through_bounce {
            let Some(buffer) = self.bounce.take(&mut slot.bounced) else {
                self.stats.refused += 1;
                return Err(SubmitError::Full);
            };
            self.stats.bounced += 1;
            Some(buffer)
        } else {
            None
        };
        slot.in_flight += 1;
        self.stats.accepted += 1;
        let cursor = Cursor::start(op.segments.as_slice());
        let (done, plan, retries, cancelled, fixed, polled) = (0, None, 0, false, false, false);
        // The kernel takes no registered buffer for an atomic write.
        let plain = op.kind.is_atomic();
        let entry = Entry { tag, op: *op, file, done, cursor, bounce, plan, retries, cancelled, fixed, plain, polled };
        Ok(self.slab.insert(entry))
    }

    /// Accepts an operation on space that its channel has admitted.
    pub(crate) fn accept_space(&mut self, file: FileId, op: &Op, tag: Tag, plan: Plan) -> Result<EntryId, SubmitError> {
        let id = self.accept(file, op, tag, false)?;
        self.slab.get_mut(id).plan = Some(plan);
        Ok(id)
    }

    /// What the ring of its [`Ops::kind`] is to do next for an entry. For a bounced write this fills the buffer.
    pub(crate) fn part(&mut self, id: EntryId) -> Part {
        let (user_data, ring) = (self.slab.user_data(id), self.kind(id));
        let entry = self.slab.get_mut(id);
        let registered = &mut self.buffers[ring as usize];
        entry.polled = ring == Kind::Poll;
        self.polled += usize::from(entry.polled);
        self.stats.polled += u64::from(entry.polled);
        let what = match entry.op.kind {
            OpKind::Flush => What::Sync,
            _ if entry.plan.is_some() => What::of_space(entry),
            kind => {
                let from = buffers(&self.bounce, entry);
                let registered = match &from {
                    _ if entry.plain => None,
                    Buffers::One(segment) => registered.find(std::slice::from_ref(segment)),
                    Buffers::Many { count, .. } if self.vectored_fixed => {
                        let rest = &entry.op.segments.as_slice()[entry.cursor.segment..];
                        registered.find(&rest[..*count as usize])
                    }
                    Buffers::Many { .. } => None,
                };
                entry.fixed = registered.is_some();
                self.stats.fixed += u64::from(entry.fixed);
                What::Move { kind, offset: entry.op.offset + entry.done, from, registered }
            }
        };
        Part { target: self.files.target(entry.file, ring), user_data, what }
    }

    /// Takes a part's result: the bytes moved, or a negative errno.
    pub(crate) fn finish_part(&mut self, user_data: u64, result: i32) -> Next {
        let Some(id) = self.slab.find(user_data) else {
            tracing::debug!(user_data, result, "a result that nobody waits for");
            return Next::Nothing;
        };
        let polled = std::mem::take(&mut self.slab.get_mut(id).polled);
        self.polled -= usize::from(polled);
        let verdict = match u32::try_from(result) {
            Ok(moved) => self.moved(id, moved as usize),
            Err(_) if polled && result == -libc::EOPNOTSUPP => self.not_polled(id),
            Err(_) => self.failed(id, result.wrapping_neg()),
        };
        match verdict {
            ControlFlow::Continue(()) => {
                self.stats.resubmitted += 1;
                Next::Again(id)
            }
            ControlFlow::Break(result) => {
                let result = result.map_err(|error| self.judge(id, error));
                Next::Done(self.end(id, result))
            }
        }
    }

    /// What the failure of an operation means, now that something is wrong.
    #[cold]
    fn judge(&self, id: EntryId, error: IoError) -> IoError {
        let entry = self.slab.get(id);
        self.files.get(entry.file).judge(entry.op.offset + entry.op.len, error)
    }

    fn moved(&mut self, id: EntryId, moved: usize) -> ControlFlow<Result<(), IoError>> {
        let entry = self.slab.get_mut(id);
        if !entry.op.kind.moves_data() {
            return entry.space_done();
        }
        let reads = entry.op.kind == OpKind::Read;
        if moved == 0 {
            return ControlFlow::Break(Err(if reads { IoError::BeyondEnd } else { IoError::Medium }));
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
        if entry.done & self.files.get(entry.file).offset_mask != 0 {
            return ControlFlow::Break(Err(if reads { IoError::BeyondEnd } else { IoError::Medium }));
        }
        ControlFlow::Continue(())
    }

    /// The kernel does not poll for this file: it is to be asked the usual way.
    #[cold]
    fn not_polled(&mut self, id: EntryId) -> ControlFlow<Result<(), IoError>> {
        let entry = self.slab.get(id);
        self.files.get_mut(entry.file).stop_polling();
        if entry.cancelled { ControlFlow::Break(Err(IoError::Cancelled)) } else { ControlFlow::Continue(()) }
    }

    fn failed(&mut self, id: EntryId, errno: i32) -> ControlFlow<Result<(), IoError>> {
        let entry = self.slab.get_mut(id);
        let other_way = entry.plan.as_mut().is_some_and(|plan| plan.retreat(errno));
        let try_again = other_way || matches!(errno, libc::EAGAIN | libc::EINTR);
        if entry.cancelled && (try_again || errno == libc::ECANCELED) {
            return ControlFlow::Break(Err(IoError::Cancelled));
        }
        // Whatever the kernel has against the registered buffer, the same without it says whether the operation is at fault.
        if entry.fixed && matches!(errno, libc::EFAULT | libc::EINVAL | libc::EOPNOTSUPP) {
            (entry.fixed, entry.plain) = (false, true);
            return ControlFlow::Continue(());
        }
        if try_again && entry.retries < RETRIES_MAX {
            entry.retries += 1;
            return ControlFlow::Continue(());
        }
        ControlFlow::Break(Err(IoError::from_errno(errno)))
    }

    /// Ends an operation that the kernel does not have.
    pub(crate) fn end(&mut self, id: EntryId, result: Result<(), IoError>) -> Done {
        let entry = self.slab.remove(id);
        let slot = self.files.get_mut(entry.file);
        slot.in_flight -= 1;
        if let Some(buffer) = entry.bounce {
            self.bounce.put(buffer, &mut slot.bounced);
        }
        Done { channel: slot.channel, completion: Completion { tag: entry.tag, result } }
    }

    /// Marks the operation `tag` of `file` as unwanted, the first time it is asked for.
    pub(crate) fn mark_cancelled(&mut self, file: FileId, tag: Tag) -> Option<EntryId> {
        let id = self.slab.find_by(|entry| entry.file == file && entry.tag == tag)?;
        let entry = self.slab.get_mut(id);
        if entry.cancelled {
            return None;
        }
        entry.cancelled = true;
        Some(id)
    }

    /// Takes the mark back: the operation can be asked to end again.
    pub(crate) fn unmark_cancelled(&mut self, id: EntryId) {
        self.slab.get_mut(id).cancelled = false;
    }

    /// Whether the ring that polls has a part of it: it ends when the device has answered, and not sooner.
    pub(crate) fn is_polled(&self, id: EntryId) -> bool {
        self.slab.get(id).polled
    }

    /// Whether the operation that the kernel calls `user_data` has not ended.
    pub(crate) fn is_in_flight(&self, user_data: u64) -> bool {
        self.slab.find(user_data).is_some()
    }

    pub(crate) fn user_data(&self, id: EntryId) -> u64 {
        self.slab.user_data(id)
    }

    /// Leaves the bounce buffers to the kernel for ever.
    pub(crate) fn abandon_buffers(&mut self) {
        self.bounce.abandon();
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

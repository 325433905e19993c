//! The operations that a core's rings have accepted, between acceptance and completion.
//!
//! Owns every accepted operation, the files that they are on, the bounce buffers, and what each ring has registered. What an
//! operation becomes on its way to the kernel is the business of a [`Work`]: there is one for files and block devices, and
//! one for the commands of NVMe namespaces. It knows no ring: the rings ask for entries and bring back results.

use std::io;
use std::ops::ControlFlow;

use io_uring::{cqueue, squeue};

use crate::channel::{Completion, SubmitError, Tag};
use crate::io::{Done, IoConfig, IoStats};
use crate::op::{IoError, Op, OpKind};
use crate::uring::bounce::BouncePool;
use crate::uring::buffers::BufferTable;
use crate::uring::files::{FileId, FileTable};
use crate::uring::setup::Kind;
use crate::uring::slab::{Cursor, Entry, EntryId, Slab};

/// Whether an operation goes on after a part's result, or how it has ended.
pub(crate) type Verdict = ControlFlow<Result<(), IoError>>;

/// What operations become on their way to the kernel, part by part.
pub(crate) trait Work: Sized {
    /// What is to be heeded of a file.
    type Terms;
    /// An entry of the submission queue, and one of the completion queue.
    type Submission: squeue::EntryMarker;
    type Completion: cqueue::EntryMarker;

    /// For rings of this size. `vectored_fixed` if the kernel has `READV_FIXED`.
    fn new(config: &IoConfig, vectored_fixed: bool) -> Self;

    /// What the ring of its [`Ledger::kind`] is to do next for an operation. The entry points to memory that stays until
    /// [`Ledger::end`]: the operation's segments or their list, a bounce buffer, or what the work itself keeps.
    fn next(ledger: &mut Ledger<Self>, id: EntryId) -> Self::Submission;

    /// What a part's result means.
    fn judge(ledger: &mut Ledger<Self>, id: EntryId, result: i32) -> Verdict;

    /// Leaves memory of its own that the kernel may still use to it for ever.
    fn abandon(&mut self) {}
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

/// The accepted operations of a core's rings.
#[derive(Debug)]
pub(crate) struct Ledger<W: Work> {
    pub(crate) slab: Slab<Entry>,
    pub(crate) files: FileTable<W::Terms>,
    pub(crate) bounce: BouncePool,
    /// What each ring has registered, by [`Kind`].
    pub(crate) buffers: [BufferTable; 2],
    /// Parts in the ring that polls.
    polled: usize,
    pub(crate) work: W,
    pub(crate) stats: IoStats,
}

impl<W: Work> Ledger<W> {
    /// Room for what `config` allows. `vectored_fixed` as for [`Work::new`].
    pub(crate) fn new(config: &IoConfig, vectored_fixed: bool) -> io::Result<Self> {
        Ok(Self {
            slab: Slab::new(config.in_flight_max()),
            files: FileTable::new(config.channels),
            bounce: BouncePool::new(config.channels, config.bounce_buffers, config.bounce_buffer_bytes as usize)?,
            buffers: Default::default(),
            polled: 0,
            work: W::new(config, vectored_fixed),
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
    /// system or a flush, which are not polled for; so does all that moves no data, and what is to be tried again: a request that
    /// the kernel has to split, as a disk of the device mapper does, can wait there and cannot be polled for.
    #[inline]
    pub(crate) fn kind(&self, id: EntryId) -> Kind {
        let entry = self.slab.get(id);
        let can = || matches!(entry.op.kind, OpKind::Read | OpKind::Write { fua: false }) && entry.retries == 0;
        if self.files.is_polled(entry.file) && can() { Kind::Poll } else { Kind::Interrupt }
    }

    /// Accepts an operation that its channel has admitted: there is a place. `through_bounce` if the file does not take its
    /// segments as they lie.
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
        let (done, part, whole, plan, retries) = (0, 0, None, None, 0);
        let (cancelled, fixed, polled) = (false, false, false);
        // The kernel takes no registered buffer for an atomic write of a file.
        let plain = op.kind.is_atomic();
        let op = *op;
        Ok(self.slab.insert(Entry {
            tag,
            op,
            file,
            done,
            part,
            whole,
            cursor,
            bounce,
            plan,
            retries,
            cancelled,
            fixed,
            plain,
            polled,
        }))
    }

    /// The next part of an operation goes out: what the kernel is to call it, and to which ring it goes.
    #[inline]
    pub(crate) fn goes_out(&mut self, id: EntryId) -> (u64, Kind) {
        let kind = self.kind(id);
        let polled = kind == Kind::Poll;
        self.slab.get_mut(id).polled = polled;
        self.polled += usize::from(polled);
        self.stats.polled += u64::from(polled);
        (self.slab.user_data(id), kind)
    }

    /// Takes a part's result: what the kernel says, or a negative errno.
    pub(crate) fn finish_part(&mut self, user_data: u64, result: i32) -> Next {
        let Some(id) = self.slab.find(user_data) else {
            tracing::debug!(user_data, result, "a result that nobody waits for");
            return Next::Nothing;
        };
        let polled = std::mem::take(&mut self.slab.get_mut(id).polled);
        self.polled -= usize::from(polled);
        let not_polled = polled && result == -libc::EOPNOTSUPP;
        match if not_polled { self.not_polled(id) } else { W::judge(self, id, result) } {
            // What nobody wants any more goes no further.
            ControlFlow::Continue(()) if self.slab.get(id).cancelled => {
                Next::Done(self.end(id, Err(IoError::Cancelled)))
            }
            ControlFlow::Continue(()) => {
                self.stats.resubmitted += 1;
                Next::Again(id)
            }
            ControlFlow::Break(result) => {
                let entry = self.slab.get(id);
                let result = self.files.get(entry.file).judge(&entry.op, entry.plan.is_some(), result);
                Next::Done(self.end(id, result))
            }
        }
    }

    /// The kernel does not poll for this file: it is to be asked the usual way.
    #[cold]
    fn not_polled(&mut self, id: EntryId) -> Verdict {
        let entry = self.slab.get(id);
        self.files.get_mut(entry.file).stop_polling();
        ControlFlow::Continue(())
    }

    /// Ends an operation that the kernel does not have.
    pub(crate) fn end(&mut self, id: EntryId, result: Result<(), IoError>) -> Done {
        let &Entry { tag, file, bounce, .. } = self.slab.get(id);
        self.slab.remove(id);
        let slot = self.files.get_mut(file);
        slot.in_flight -= 1;
        if let Some(buffer) = bounce {
            self.bounce.put(buffer, &mut slot.bounced);
        }
        Done { channel: slot.channel, completion: Completion { tag, result } }
    }

    /// Marks the operation `tag` of `file` as unwanted, the first time it is asked for.
    pub(crate) fn mark_cancelled(&mut self, file: FileId, tag: Tag) -> Option<EntryId> {
        let id = self.slab.find_by(|entry| entry.file == file && entry.tag == tag)?;
        let first = !std::mem::replace(&mut self.slab.get_mut(id).cancelled, true);
        first.then_some(id)
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

    /// Leaves the memory that is not the callers' to the kernel for ever.
    pub(crate) fn abandon_memory(&mut self) {
        self.bounce.abandon();
        self.work.abandon();
    }
}

//! The rings of one core for operations of one kind, and the way of an operation through them.
//!
//! Owns a ring that is interrupted for results, a second one that polls where disks want that, and the ledger of what they
//! have accepted. Everything of a pass is handed to the kernel with one system call for each ring, or, where files are served and
//! the kernel has next to nothing, with a few; looking for results costs none unless the kernel asks for one. Used by
//! [`Io`](crate::Io) and the channels, on the thread that made it and on no other.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use io_uring::cqueue;

use crate::channel::{Completion, SubmitError, Tag};
use crate::file::end::End;
use crate::io::{ChannelId, Done, IoConfig, IoStats};
use crate::op::{IoError, Op};
use crate::uring::courtesy::Courtesy;
use crate::uring::files::FileId;
use crate::uring::ledger::{Ledger, Next, Work};
use crate::uring::memory::Registrar;
use crate::uring::ring::Ring;
use crate::uring::setup::Kind;
use crate::uring::slab::{CANCEL, EntryId};
use crate::uring::sqe;

/// Fewest operations that are handed over before the end of a pass. One alone, as with one in flight, waits for it.
const EARLY_MIN: usize = 2;
/// They are more than so many times those that the kernel has: so each call takes more than the one before, and few are made.
const EARLY_GROWTH: usize = 2;

type RingOf<W> = Ring<<W as Work>::Submission, <W as Work>::Completion>;

pub(crate) struct Rings<W: Work> {
    pub(super) usual: RingOf<W>,
    /// Looks into the queues of devices. None until a disk wants it, or if it cannot be had.
    polling: Option<Box<RingOf<W>>>,
    /// For the ring that polls: what it is to be like.
    config: IoConfig,
    registrar: Option<Registrar>,
    pub(crate) ops: Ledger<W>,
    /// Operations whose next part has found no place in the submission queue yet, oldest first. Never grows: each
    /// operation is in it once.
    waiting: VecDeque<EntryId>,
    /// Operations, as the kernel calls them, whose cancel requests are still to be queued. Never grows.
    pub(super) unsent_cancels: VecDeque<u64>,
    /// Cancel requests without an answer.
    pub(super) cancels: u32,
    /// An eventfd that the kernel signals while the core sleeps.
    bell: OwnedFd,
    /// The kernel knows the bell. Not before the first sleep: a core that never sleeps does not pay for it.
    has_bell: bool,
    /// The core sleeps, or is about to.
    armed: bool,
    courtesy: Courtesy,
    /// The kernel has taken nothing before the end of the pass: it is not asked again until then.
    was_refused: bool,
}

impl<W: Work> Rings<W> {
    /// Rings for the calling thread. `bell` is an eventfd that does not block.
    pub(crate) fn new(config: &IoConfig, registrar: Option<&Registrar>, bell: OwnedFd) -> io::Result<Self> {
        let usual = RingOf::<W>::new(Kind::Interrupt, config, registrar, &bell)?;
        let ops = Ledger::new(config, usual.vectored_fixed)?;
        let waiting = VecDeque::with_capacity(ops.capacity());
        let unsent_cancels = VecDeque::with_capacity(ops.capacity());
        Ok(Self {
            usual,
            polling: None,
            config: *config,
            registrar: registrar.cloned(),
            ops,
            waiting,
            unsent_cancels,
            cancels: 0,
            bell,
            has_bell: false,
            armed: false,
            courtesy: Courtesy::default(),
            was_refused: false,
        })
    }

    /// What the kernel gave, for people.
    pub(crate) fn description(&self) -> &str {
        self.usual.description()
    }

    /// Takes a channel's file up.
    pub(crate) fn add_file(&mut self, channel: ChannelId, file: &Arc<File>, terms: W::Terms) -> io::Result<FileId> {
        let Some(id) = self.ops.files.insert(channel, Arc::clone(file), terms) else {
            return Err(io::Error::other("no room for another disk on this CPU: spread the disks over more CPUs"));
        };
        if self.usual.add_file(id, file) {
            self.ops.files.set_registered(id, Kind::Interrupt);
        }
        Ok(id)
    }

    /// What is behind this end of a file is not served.
    pub(crate) fn heed_end(&mut self, id: FileId, end: &Arc<End>) {
        self.ops.files.get_mut(id).end = Some(Arc::clone(end));
    }

    /// From now on the core looks into the device's own queues for the results of reads and writes of a file. If that
    /// cannot be had, or the kernel does not do it for this file, it stays as it was.
    pub(crate) fn poll_for(&mut self, id: FileId, file: &File) {
        if self.polling.is_none() {
            match RingOf::<W>::new(Kind::Poll, &self.config, self.registrar.as_ref(), &self.bell) {
                Ok(ring) => self.polling = Some(Box::new(ring)),
                Err(error) => tracing::warn!("a disk is not polled for results: {error}"),
            }
        }
        if let Some(ring) = &self.polling {
            self.ops.files.poll(id);
            if ring.add_file(id, file) {
                self.ops.files.set_registered(id, ring.kind);
            }
        }
    }

    /// Lets a file go that has no operation in flight.
    pub(crate) fn remove_file(&mut self, id: FileId) {
        let [usual, polling] = self.ops.files.remove(id);
        if usual {
            self.usual.remove_file(id);
        }
        if let (true, Some(ring)) = (polling, &self.polling) {
            ring.remove_file(id);
        }
    }

    /// Takes an operation over. Its segments hold exactly `op.len` bytes, more than none, or it moves no data.
    #[inline]
    pub(crate) fn start(&mut self, file: FileId, op: &Op, tag: Tag, through_bounce: bool) -> Result<(), SubmitError> {
        let id = self.ops.accept(file, op, tag, through_bounce)?;
        if through_bounce && let Some(registered) = &mut self.usual.registered {
            registered.want(&self.ops.bounce);
        }
        self.push_or_wait(id);
        Ok(())
    }

    /// An operation was started that the kernel begins when the one before has begun, which takes 1 to 2 microseconds for each; its
    /// disk hears of none before the last of those that are handed over together. A disk that has nothing to do shall not wait for
    /// so many: hands over what is queued if that is a lot beside what the kernel has. What is polled for is not: that has a ring
    /// of its own.
    #[inline]
    pub(crate) fn hand_over_if_due(&mut self) {
        let queued = self.usual.queued();
        let begun = self.ops.in_flight().saturating_sub(self.ops.polled() + queued as usize);
        if queued as usize >= EARLY_MIN.max(EARLY_GROWTH * begun + 1) && !self.was_refused {
            self.hand_over(queued);
        }
    }

    #[inline(never)]
    fn hand_over(&mut self, queued: u32) {
        self.was_refused = self.enter(queued, false) == 0;
    }

    #[inline]
    pub(super) fn push_or_wait(&mut self, id: EntryId) {
        if !self.push_part(id) {
            self.waiting.push_back(id);
        }
    }

    /// Queues the next part of an operation, if there is a place.
    fn push_part(&mut self, id: EntryId) -> bool {
        let ring = match (self.ops.kind(id), &mut self.polling) {
            (Kind::Poll, Some(polling)) => polling,
            _ => &mut self.usual,
        };
        // A part is made only when it can be queued: a bounced write copies its data then.
        if ring.is_full() {
            return false;
        }
        let entry = W::next(&mut self.ops, id);
        // SAFETY: the entry's memory is the segments of an accepted operation, their list, a bounce buffer, or the work's. The
        // first two stay until its completion by the contract of `Segment::new` and `SegmentSlice::new`, the others until
        // `end`, and no completion is given before the kernel's result has come. The file is held by the table.
        unsafe { ring.push(&entry) }
    }

    /// Hands everything queued to the kernel, and has it run what it has put off. Returns how many entries it took.
    pub(crate) fn submit(&mut self) -> usize {
        self.was_refused = false;
        self.push_cancels();
        while let Some(id) = self.waiting.front().copied() {
            if !self.push_part(id) {
                break;
            }
            self.waiting.pop_front();
        }
        let (queued, asked) = self.usual.queued_and_asked();
        let taken = if queued == 0 && !asked { 0 } else { self.enter(queued, asked) };
        taken + self.poll()
    }

    /// Hands over what is queued for the ring that polls, and has the kernel look for results: nothing else brings them.
    #[inline]
    fn poll(&mut self) -> usize {
        let Some(polling) = self.polling.as_mut().filter(|_| self.ops.polled() > 0) else { return 0 };
        self.ops.stats.enters += 1;
        let queued = polling.queued();
        polling.enter(queued, true)
    }

    /// Queues cancel requests, as far as there is room for them and, in the completion queue, for their answers.
    fn push_cancels(&mut self) {
        while let Some(user_data) = self.unsent_cancels.front().copied() {
            // What has ended meanwhile needs none.
            if self.ops.is_in_flight(user_data) {
                if self.cancels as usize >= self.ops.capacity() || !self.push_cancel(user_data) {
                    break;
                }
                self.cancels += 1;
            }
            self.unsent_cancels.pop_front();
        }
    }

    pub(super) fn push_cancel(&mut self, user_data: u64) -> bool {
        // SAFETY: it points to no memory.
        unsafe { self.usual.push(&sqe::cancel(user_data).into()) }
    }

    fn enter(&mut self, queued: u32, asked: bool) -> usize {
        self.ops.stats.enters += 1;
        self.usual.enter(queued, asked)
    }

    /// Moves results to `done`: at most as many as the completion queue holds. No system call: those that the kernel has put
    /// off come with the next [`Rings::submit`].
    #[inline]
    pub(crate) fn reap(&mut self, done: &mut VecDeque<Done>) {
        let [usual, polling] = &mut self.ops.buffers;
        self.usual.take_over_memory(usual);
        if let Some(ring) = &mut self.polling {
            ring.take_over_memory(polling);
        }
        if self.ops.in_flight() == 0 && self.cancels == 0 {
            return;
        }
        if self.ops.polled() > 0 {
            self.collect(Kind::Poll, done);
        }
        self.collect(Kind::Interrupt, done);
    }

    pub(super) fn collect(&mut self, kind: Kind, done: &mut VecDeque<Done>) {
        let ring = match (kind, &mut self.polling) {
            (Kind::Interrupt, _) => &mut self.usual,
            (Kind::Poll, Some(polling)) => polling,
            (Kind::Poll, None) => return,
        };
        // The queue sees what was there when it was borrowed, so that this ends.
        for result in ring.ring.completion() {
            let result: cqueue::Entry = result.into();
            if result.user_data() == CANCEL {
                self.cancels -= 1;
                continue;
            }
            match self.ops.finish_part(result.user_data(), result.result()) {
                Next::Done(ended) => done.push_back(ended),
                Next::Again(id) => self.waiting.push_back(id),
                Next::Nothing => {}
            }
        }
    }

    /// The core had nothing to do in this pass. While the kernel has work of ours, the CPU is offered to it now and then.
    #[inline]
    pub(crate) fn pass_in_vain(&mut self) {
        // What is polled for is done by no thread.
        if self.ops.in_flight() > self.ops.polled() && self.courtesy.is_due(Instant::now) {
            self.ops.stats.yields += 1;
            let began = Instant::now();
            std::thread::yield_now();
            self.courtesy.took(began, Instant::now());
        }
    }

    /// Tries to end an operation early. Gives its completion if the kernel does not have it; else the request goes to the
    /// kernel with the next submit that has room.
    pub(crate) fn cancel(&mut self, file: FileId, tag: Tag) -> Option<Completion> {
        let id = self.ops.mark_cancelled(file, tag)?;
        self.ops.stats.cancels += 1;
        if let Some(at) = self.waiting.iter().position(|waiting| *waiting == id) {
            self.waiting.remove(at);
            return Some(self.ops.end(id, Err(IoError::Cancelled)).completion);
        }
        if self.ops.is_polled(id) {
            return None;
        }
        // Operations that have ended since may fill it up until the next submit: then the caller may ask again.
        if self.unsent_cancels.len() == self.ops.capacity() {
            self.ops.unmark_cancelled(id);
            return None;
        }
        self.unsent_cancels.push_back(self.ops.user_data(id));
        None
    }

    /// Whether the next submit would queue a cancel request: those that find no room wait for an answer to others.
    fn has_room_for_cancels(&self) -> bool {
        !self.unsent_cancels.is_empty() && (self.cancels as usize) < self.ops.capacity()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.ops.in_flight()
    }

    pub(crate) fn stats(&self) -> IoStats {
        self.ops.stats
    }

    /// From now on [`Rings::bell`] becomes readable when there is something to reap; then looks. True if there is nothing
    /// yet, and nothing left to submit: a core may wait for the bell.
    ///
    /// The ring's own descriptor is no bell: with `DEFER_TASKRUN` the kernel puts results off for this thread without
    /// waking those who poll it.
    pub(crate) fn arm(&mut self) -> io::Result<bool> {
        self.armed = true;
        let is_stale = self.usual.is_stale() || self.polling.as_ref().is_some_and(|ring| ring.is_stale());
        // A ring that polls rings no bell.
        if is_stale || self.ops.polled() > 0 {
            return Ok(false);
        }
        if self.in_flight() == 0 && self.cancels == 0 {
            return Ok(true);
        }
        if !self.has_bell {
            self.usual.ring.submitter().register_eventfd(self.bell.as_raw_fd())?;
            self.has_bell = true;
        }
        self.usual.ring.completion().enable_eventfd();
        // What came before the bell was switched on did not ring it. Pairs with the kernel, which publishes a result, or
        // the wish to be asked for one, before it looks at the switch.
        fence(Ordering::SeqCst);
        let (queued, asked) = self.usual.queued_and_asked();
        let unsent = !self.waiting.is_empty() || self.has_room_for_cancels();
        Ok(queued == 0 && !asked && !unsent && self.usual.ring.completion().is_empty())
    }

    /// The core looks for results itself again: a bell for each would only cost. No system call if it was not armed.
    pub(crate) fn disarm(&mut self) {
        if !self.armed {
            return;
        }
        self.armed = false;
        if self.has_bell {
            self.usual.ring.completion().disable_eventfd();
        }
        // Not readable, most of the time: nothing has rung.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// See [`Rings::arm`].
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl<W: Work> std::fmt::Debug for Rings<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rings").field("in_flight", &self.in_flight()).field("cancels", &self.cancels).finish()
    }
}

//! The io_uring of one core: all files of the core share it.
//!
//! Owns the ring, the operations that it has accepted and the files that it serves. Everything of a pass is handed to the
//! kernel with one system call; looking for results costs none unless the kernel asks for one. Used by [`Io`] and the
//! channels of files, on the thread that made it and on no other.
//!
//! [`Io`]: crate::Io
#![allow(unsafe_code)]

mod bounce;
mod buffers;
mod courtesy;
mod end;
mod enter;
mod files;
mod memory;
mod ops;
mod setup;
mod slab;
mod sqe;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::Instant;

use io_uring::squeue::Entry;
use io_uring::{EnterFlags, IoUring};

use crate::channel::{Completion, SubmitError, Tag};
use crate::io::{ChannelId, Done, IoConfig, IoStats};
use crate::op::{IoError, Op};
use crate::space::Plan;

pub(crate) use bounce::{BounceId, BouncePool};
pub(crate) use enter::Enter;
pub(crate) use files::FileId;
pub use memory::{Registrar, Registration};
pub(crate) use ops::Next;
pub(crate) use setup::{CommandRing, can_discard, check as check_available, command_ring};
pub(crate) use slab::{CANCEL, Cursor, ENTRIES_MAX, EntryId, Slab};

use buffers::Registered;
use courtesy::Courtesy;
use ops::Ops;

pub(crate) struct Uring {
    // Before the ring: it is given back first.
    enter: Enter,
    ring: IoUring,
    description: String,
    ops: Ops,
    /// Operations whose next part has found no place in the submission queue yet, oldest first. Never grows: each
    /// operation is in it once.
    waiting: VecDeque<EntryId>,
    /// Operations, as the kernel calls them, whose cancel requests are still to be queued. Never grows.
    unsent_cancels: VecDeque<u64>,
    /// Cancel requests without an answer.
    cancels: u32,
    files_registered: bool,
    /// An eventfd that the kernel signals while the core sleeps.
    bell: OwnedFd,
    /// The kernel knows the bell. Not before the first sleep: a core that never sleeps does not pay for it.
    has_bell: bool,
    /// The core sleeps, or is about to.
    armed: bool,
    /// What is registered of others' memory.
    registered: Option<Registered>,
    courtesy: Courtesy,
}

impl Uring {
    /// A ring for the calling thread. `bell` is an eventfd that does not block.
    pub(crate) fn new(config: &IoConfig, registrar: Option<&Registrar>, bell: OwnedFd) -> io::Result<Self> {
        let made = setup::ring(config.in_flight_max())?;
        let enter = Enter::new(&made.ring);
        let files_registered = match made.ring.submitter().register_files_sparse(config.channels) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(%error, "files are not registered with io_uring: each operation costs a little more");
                false
            }
        };
        let ops = Ops::new(config, made.vectored_fixed)?;
        let waiting = VecDeque::with_capacity(ops.capacity());
        let unsent_cancels = VecDeque::with_capacity(ops.capacity());
        let registered = registrar.map(|registrar| Registered::new(registrar, &bell)).transpose()?;
        Ok(Self {
            description: made.description(enter.is_registered(), files_registered),
            enter,
            ring: made.ring,
            ops,
            waiting,
            unsent_cancels,
            cancels: 0,
            files_registered,
            bell,
            has_bell: false,
            armed: false,
            registered,
            courtesy: Courtesy::default(),
        })
    }

    /// What the kernel gave, for people.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// Takes a channel's file up. `offset_align` is what direct I/O demands of an offset in bytes, 1 if nothing.
    pub(crate) fn add_file(&mut self, channel: ChannelId, file: &Arc<File>, offset_align: u32) -> io::Result<FileId> {
        let Some(id) = self.ops.files.insert(channel, Arc::clone(file), u64::from(offset_align) - 1) else {
            return Err(io::Error::other("no room for another file on this CPU: spread the disks over more CPUs"));
        };
        if self.files_registered {
            match self.ring.submitter().register_files_update(id.index(), &[file.as_raw_fd()]) {
                Ok(_) => self.ops.files.set_registered(id),
                Err(error) => tracing::info!(%error, "a file is not registered with io_uring"),
            }
        }
        Ok(id)
    }

    /// Lets a file go that has no operation in flight.
    pub(crate) fn remove_file(&mut self, id: FileId) {
        if self.ops.files.remove(id)
            && let Err(error) = self.ring.submitter().register_files_update(id.index(), &[-1])
        {
            tracing::warn!(%error, "a closed file stays registered with io_uring");
        }
    }

    /// Takes an operation over. Its segments hold exactly `op.len` bytes, more than none, or it is a flush.
    #[inline]
    pub(crate) fn start(&mut self, file: FileId, op: &Op, tag: Tag, through_bounce: bool) -> Result<(), SubmitError> {
        let id = self.ops.accept(file, op, tag, through_bounce)?;
        if through_bounce && let Some(registered) = &mut self.registered {
            registered.want(&self.ops.bounce);
        }
        if !self.push_part(id) {
            self.waiting.push_back(id);
        }
        Ok(())
    }

    /// Takes an operation on space over, to be done as `plan` says.
    pub(crate) fn start_space(&mut self, file: FileId, op: &Op, tag: Tag, plan: Plan) -> Result<(), SubmitError> {
        let id = self.ops.accept_space(file, op, tag, plan)?;
        if !self.push_part(id) {
            self.waiting.push_back(id);
        }
        Ok(())
    }

    /// Queues the next part of an operation, if there is a place.
    fn push_part(&mut self, id: EntryId) -> bool {
        // A part is made only when it can be queued: a bounced write copies its data then.
        if self.ring.submission().is_full() {
            return false;
        }
        let entry = sqe::entry(&self.ops.part(id));
        self.push(&entry)
    }

    fn push(&mut self, entry: &Entry) -> bool {
        // SAFETY: the entry's memory is the segments of an accepted operation, their list, or a bounce buffer. The first
        // two stay until its completion by the contract of `Segment::new` and `SegmentSlice::new`, the buffer until `end`
        // puts it back, and no completion is given before the kernel's result has come. The file is held by the table.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Hands everything queued to the kernel. Returns how many entries it took.
    pub(crate) fn submit(&mut self) -> usize {
        self.push_cancels();
        while let Some(id) = self.waiting.front().copied() {
            if !self.push_part(id) {
                break;
            }
            self.waiting.pop_front();
        }
        let (queued, asked) = self.queued_and_asked();
        if queued == 0 && !asked { 0 } else { self.enter(queued, asked) }
    }

    /// Queues cancel requests, as far as there is room for them and, in the completion queue, for their answers.
    fn push_cancels(&mut self) {
        while let Some(user_data) = self.unsent_cancels.front().copied() {
            // What has ended meanwhile needs none.
            if self.ops.is_in_flight(user_data) {
                if self.cancels as usize >= self.ops.capacity() || !self.push(&sqe::cancel(user_data)) {
                    break;
                }
                self.cancels += 1;
            }
            self.unsent_cancels.pop_front();
        }
    }

    /// Entries that wait for the kernel, and whether the kernel has put work off for this thread.
    fn queued_and_asked(&mut self) -> (u32, bool) {
        let queue = self.ring.submission();
        (queue.len() as u32, queue.taskrun() || queue.cq_overflow())
    }

    fn enter(&mut self, queued: u32, asked: bool) -> usize {
        self.ops.stats.enters += 1;
        let flags = if asked { EnterFlags::GETEVENTS } else { EnterFlags::empty() };
        // SAFETY: the queued entries were checked when they were pushed.
        match unsafe { self.enter.call(queued, flags) } {
            Ok(taken) => taken,
            Err(error) => {
                // What was not taken stays queued for the next pass. These say that the ring is used wrongly.
                if let Some(libc::EEXIST | libc::EBADF | libc::EBADFD | libc::EFAULT | libc::EINVAL) =
                    error.raw_os_error()
                {
                    panic!("io_uring is used by another thread than the one that made it, or was closed: {error}");
                }
                tracing::debug!(%error, queued, "io_uring takes nothing for now");
                0
            }
        }
    }

    /// Moves results to `done`: at most as many as the completion queue holds.
    #[inline]
    pub(crate) fn reap(&mut self, done: &mut VecDeque<Done>) {
        if let Some(registered) = &mut self.registered
            && registered.is_stale()
        {
            registered.update(&self.ring, &mut self.ops.buffers);
        }
        if self.ops.in_flight() == 0 && self.cancels == 0 {
            return;
        }
        if self.ring.completion().is_empty() {
            let (_, asked) = self.queued_and_asked();
            if !asked {
                return;
            }
            self.enter(0, true);
        }
        self.collect(done);
    }

    fn collect(&mut self, done: &mut VecDeque<Done>) {
        // The queue sees what was there when it was borrowed, so that this ends.
        for result in self.ring.completion() {
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
        if self.ops.in_flight() > 0 && self.courtesy.is_due(Instant::now) {
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

    /// From now on [`Uring::bell`] becomes readable when there is something to reap; then looks. True if there is nothing
    /// yet, and nothing left to submit: a core may wait for the bell.
    ///
    /// The ring's own descriptor is no bell: with `DEFER_TASKRUN` the kernel puts results off for this thread without
    /// waking those who poll it.
    pub(crate) fn arm(&mut self) -> io::Result<bool> {
        self.armed = true;
        if self.registered.as_ref().is_some_and(Registered::is_stale) {
            return Ok(false);
        }
        if self.in_flight() == 0 && self.cancels == 0 {
            return Ok(true);
        }
        if !self.has_bell {
            self.ring.submitter().register_eventfd(self.bell.as_raw_fd())?;
            self.has_bell = true;
        }
        self.ring.completion().enable_eventfd();
        // What came before the bell was switched on did not ring it. Pairs with the kernel, which publishes a result, or
        // the wish to be asked for one, before it looks at the switch.
        fence(Ordering::SeqCst);
        let (queued, asked) = self.queued_and_asked();
        let unsent = !self.waiting.is_empty() || self.has_room_for_cancels();
        Ok(queued == 0 && !asked && !unsent && self.ring.completion().is_empty())
    }

    /// The core looks for results itself again: a bell for each would only cost. No system call if it was not armed.
    pub(crate) fn disarm(&mut self) {
        if !self.armed {
            return;
        }
        self.armed = false;
        if self.has_bell {
            self.ring.completion().disable_eventfd();
        }
        // Not readable, most of the time: nothing has rung.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// See [`Uring::arm`].
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring").field("in_flight", &self.in_flight()).field("cancels", &self.cancels).finish()
    }
}

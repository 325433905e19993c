//! The io_uring of one core for NVMe commands: its entries are twice as long as those of the ring for files.
//!
//! Owns the ring and the operations that it has accepted. Everything of a pass is handed to the kernel with one system call;
//! looking for results costs none unless the kernel asks for one. Used by [`Io`](crate::Io) and the channels of namespaces,
//! on the thread that made it and on no other.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};
use std::time::{Duration, Instant};

use io_uring::opcode;
use io_uring::squeue::Entry128;
use io_uring::types::{Fd, SubmitArgs, Timespec};

use crate::channel::{Completion, SubmitError, Tag};
use crate::io::{ChannelId, Done, IoConfig};
use crate::op::{IoError, Op};
use crate::uring::{CANCEL, CommandRing, Enter, EntryId, Next, Registered, Registrar, command_ring};

use super::jobs::{DeviceId, Jobs, Part, Terms};
use super::spec::COMMAND_LEN;

/// How long a ring that is dropped waits for what is still in flight.
const DROP_WAIT: Duration = Duration::from_secs(2);

pub(crate) struct NvmeRing {
    // Before the ring: it is given back first.
    enter: Enter,
    ring: CommandRing,
    jobs: Jobs,
    /// What is registered of others' memory.
    registered: Option<Registered>,
    /// Operations whose next command has found no place in the submission queue yet, oldest first. Never grows.
    waiting: VecDeque<EntryId>,
    /// Operations, as the kernel calls them, whose cancel requests are still to be queued. Never grows.
    unsent_cancels: VecDeque<u64>,
    /// Cancel requests without an answer.
    cancels: u32,
    /// An eventfd that the kernel signals while the core sleeps.
    bell: OwnedFd,
    /// The kernel knows the bell.
    has_bell: bool,
    /// The core sleeps, or is about to.
    armed: bool,
}

impl NvmeRing {
    /// A ring for the calling thread. `bell` is an eventfd that does not block.
    pub(crate) fn new(config: &IoConfig, registrar: Option<&Registrar>, bell: OwnedFd) -> io::Result<Self> {
        let ring = command_ring(config.in_flight_max())?;
        let jobs = Jobs::new(config)?;
        let registered = registrar.map(|registrar| Registered::new(registrar, &bell)).transpose()?;
        Ok(Self {
            enter: Enter::new(&ring),
            ring,
            registered,
            waiting: VecDeque::with_capacity(jobs.capacity()),
            unsent_cancels: VecDeque::with_capacity(jobs.capacity()),
            jobs,
            cancels: 0,
            bell,
            has_bell: false,
            armed: false,
        })
    }

    /// Takes a channel's namespace up.
    pub(super) fn add(&mut self, channel: ChannelId, file: &Arc<File>, terms: Terms) -> io::Result<DeviceId> {
        let none = || io::Error::other("no room for another namespace on this CPU: spread the disks over more CPUs");
        self.jobs.add(channel, file, terms).ok_or_else(none)
    }

    /// Lets a namespace go that has no operation in flight.
    pub(super) fn remove(&mut self, device: DeviceId) {
        self.jobs.remove(device);
    }

    /// Takes an operation over that its channel has admitted. It has a length, or is a flush.
    #[inline]
    pub(super) fn start(&mut self, device: DeviceId, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        let id = self.jobs.accept(device, op, tag)?;
        if !self.push_part(id) {
            self.waiting.push_back(id);
        }
        Ok(())
    }

    fn push_part(&mut self, id: EntryId) -> bool {
        // A part is made only when it can be queued: a bounced write copies its data then.
        if self.ring.submission().is_full() {
            return false;
        }
        let entry = entry(&self.jobs.part(id));
        self.push(&entry)
    }

    fn push(&mut self, entry: &Entry128) -> bool {
        // SAFETY: the command's memory is the segments of an accepted operation, their list, a bounce buffer or a range.
        // The first two stay until its completion by the contract of `Segment::new` and `SegmentSlice::new`, the others
        // until `Jobs::end`, and no completion is given before the kernel's result has come. `Jobs` holds the file.
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

    fn push_cancels(&mut self) {
        while let Some(user_data) = self.unsent_cancels.front().copied() {
            // What has ended meanwhile needs none.
            if self.jobs.is_in_flight(user_data) {
                let cancel = opcode::AsyncCancel::new(user_data).build().user_data(CANCEL);
                if self.cancels as usize >= self.jobs.capacity() || !self.push(&cancel.into()) {
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
        // SAFETY: the queued entries were checked when they were pushed.
        unsafe { self.enter.hand_over(queued, asked) }
    }

    /// Moves results to `done`: at most as many as the completion queue holds.
    #[inline]
    pub(crate) fn reap(&mut self, done: &mut VecDeque<Done>) {
        if let Some(registered) = &mut self.registered
            && registered.is_stale()
        {
            registered.update(&self.ring.submitter(), &mut self.jobs.buffers);
        }
        if self.jobs.in_flight() == 0 && self.cancels == 0 {
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
            match self.jobs.finish_part(result.user_data(), result.result()) {
                Next::Done(ended) => done.push_back(ended),
                Next::Again(id) => self.waiting.push_back(id),
                Next::Nothing => {}
            }
        }
    }

    /// Tries to end an operation early. Gives its completion if the kernel does not have it. Else the kernel is asked, which
    /// mostly cannot call a command back from a device: then it goes no further than its present command.
    pub(super) fn cancel(&mut self, device: DeviceId, tag: Tag) -> Option<Completion> {
        let id = self.jobs.mark_cancelled(device, tag)?;
        if let Some(at) = self.waiting.iter().position(|waiting| *waiting == id) {
            self.waiting.remove(at);
            return Some(self.jobs.end(id, Err(IoError::Cancelled)).completion);
        }
        if self.unsent_cancels.len() < self.jobs.capacity() {
            self.unsent_cancels.push_back(self.jobs.user_data(id));
        }
        None
    }

    /// From now on [`NvmeRing::bell`] becomes readable when there is something to reap; then looks. True if there is nothing
    /// yet, and nothing left to submit: a core may wait for the bell.
    pub(crate) fn arm(&mut self) -> io::Result<bool> {
        self.armed = true;
        if self.registered.as_ref().is_some_and(Registered::is_stale) {
            return Ok(false);
        }
        if self.jobs.in_flight() == 0 && self.cancels == 0 {
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
        let sends_cancels = !self.unsent_cancels.is_empty() && (self.cancels as usize) < self.jobs.capacity();
        let unsent = !self.waiting.is_empty() || sends_cancels;
        Ok(queued == 0 && !asked && !unsent && self.ring.completion().is_empty())
    }

    /// The core looks for results itself again. No system call if it was not armed.
    pub(crate) fn disarm(&mut self) {
        if !std::mem::take(&mut self.armed) {
            return;
        }
        if self.has_bell {
            self.ring.completion().disable_eventfd();
        }
        // Not readable, most of the time: nothing has rung.
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }

    /// Commands that named a registered buffer.
    pub(crate) fn fixed(&self) -> u64 {
        self.jobs.fixed
    }

    /// See [`NvmeRing::arm`].
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Waits for everything in flight, within reason. Whether all came back.
    fn recall(&mut self) -> bool {
        let deadline = Instant::now() + DROP_WAIT;
        let mut done = VecDeque::with_capacity(self.jobs.in_flight());
        self.submit();
        while self.jobs.in_flight() > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let timeout = Timespec::from(left);
            // The reason why it returned does not matter: results are looked for, and the deadline is.
            let _ = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout));
            self.collect(&mut done);
            self.submit();
        }
        true
    }
}

/// A command as an entry of the ring. It points to the memory of the command.
fn entry(part: &Part) -> Entry128 {
    let mut command = [0; 80];
    command[..COMMAND_LEN].copy_from_slice(&part.command.to_bytes());
    let command = opcode::UringCmd80::new(Fd(part.fd), part.request).cmd(command).buf_index(part.registered);
    command.build().user_data(part.user_data)
}

/// Does one command on `file` and waits for it: its result, or why the ring could not be had.
pub(super) fn ask(file: &File, request: u32, command: super::command::Command) -> io::Result<i32> {
    let mut ring = command_ring(1)?;
    let entry = entry(&Part { fd: file.as_raw_fd(), user_data: 0, request, command, registered: None });
    // SAFETY: the caller keeps the command's memory until this returns, and this returns with its result.
    unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
    while let Err(error) = ring.submit_and_wait(1) {
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    let answer = ring.completion().next();
    answer.map(|answer| answer.result()).ok_or_else(|| io::Error::other("io_uring gave no result"))
}

impl Drop for NvmeRing {
    /// The kernel writes into the buffers of what is in flight even after the ring is closed. So this waits for it; what
    /// takes too long keeps its memory for ever. (Segments are their maker's to keep.)
    fn drop(&mut self) {
        if !self.recall() {
            tracing::warn!(in_flight = self.jobs.in_flight(), "io_uring is closed before NVMe disks have answered");
            self.jobs.abandon_memory();
        }
    }
}

impl std::fmt::Debug for NvmeRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NvmeRing").field("in_flight", &self.jobs.in_flight()).field("cancels", &self.cancels).finish()
    }
}

#[cfg(test)]
mod tests;

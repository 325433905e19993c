//! What one reactor runs: its queues, its channels, and the messages that change them.
//!
//! One pass: completions, timers, requests that wait for room, new chains, one submission, what completed at once,
//! publication. Everything that the driver or the kernel has to see is shown to it once a pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bdev::{Completion, Io, IoConfig, LateRegistrar};
use reactor::{Context, Drain, Progress, WakeFds};

use crate::dma::sigbus;
use crate::scsi::Reply;

use super::behind::{self, Flushes};
use super::cx::{Cx, Order};
use super::disk::Disk;
use super::drives::{self, Drives};
use super::ending::{Ending, Leave};
use super::fenced::Flights;
use super::job::{self, Job};
use super::lookout::Lookout;
use super::message::{Message, QueueName};
use super::portion::Turn;
use super::tag::{NOBODY, RequestName, WorkerIndex};
use super::task_set::Privileged;
use super::worker::Worker;

mod pass;
mod tasks;

/// The context of a reactor.
pub(crate) struct Core {
    cx: Cx,
    /// By [`WorkerIndex`].
    workers: Vec<Option<Box<Worker>>>,
    lookout: Lookout,
    /// From the last pass to this one.
    spent_ns: u64,
    /// The worker whose waiting requests are next to be tried again.
    turn: usize,
    endings: Vec<Ending>,
    leaves: Vec<Leave>,
    drives: Drives,
    /// When the reactor was first asked to end.
    stop_since_ns: Option<u64>,
    /// Cleared when the end may have lost something.
    clean: Arc<AtomicBool>,
    /// Accesses to memory that was no longer there, in the whole process, when last looked at.
    faults: u64,
}

/// How long the end waits for disks that do not answer.
const STOP_MAX_NS: u64 = 10_000_000_000;

impl Core {
    /// A core with a channel to each of `disks`, which uses what `registrar` has registered. To be called on its reactor's
    /// own thread. `clean` is cleared should its end lose something.
    ///
    /// # Errors
    /// What the kernel says about the ring or a file.
    pub(crate) fn new(
        disks: Arc<[Arc<Disk>]>,
        registrar: LateRegistrar,
        clean: Arc<AtomicBool>,
    ) -> std::io::Result<Self> {
        let config = IoConfig { channels: Drives::room_for(disks.len()), ..IoConfig::default() };
        let io = Io::with_late_registrar(config, registrar);
        let (full, jobs, settling) = (Vec::with_capacity(disks.len()), Vec::new(), Vec::new());
        let mut cx = Cx {
            io,
            channels: Vec::new(),
            reply: Reply::new(),
            bars: Vec::new(),
            privileged: Vec::new(),
            clock: Order::default(),
            has_waiting: false,
            turn: Turn::default(),
            full,
            jobs,
            flushes: Flushes::default(),
            settling,
        };
        let mut drives = Drives::default();
        disks.iter().try_for_each(|disk| drives.open(disk.clone(), &mut cx))?;
        Ok(Self {
            cx,
            workers: Vec::new(),
            lookout: Lookout::default(),
            spent_ns: 0,
            turn: 0,
            endings: Vec::new(),
            leaves: Vec::new(),
            drives,
            stop_since_ns: None,
            clean,
            faults: sigbus::faults(),
        })
    }

    /// Hands completions to their requests, those that come meanwhile included.
    #[inline]
    fn deliver(&mut self) -> usize {
        if self.cx.io.has_completions() { self.deliver_all() } else { 0 }
    }

    #[inline(never)]
    fn deliver_all(&mut self) -> usize {
        let mut count = 0;
        while let Some(Completion { tag, result }) = self.cx.io.next_completion() {
            count += 1;
            let name = RequestName::from_tag(tag);
            if name.worker == NOBODY {
                match name.generation {
                    drives::FLUSH if self.drives.flushed(name, result) => {}
                    drives::FLUSH => self.clean.store(false, Ordering::Relaxed),
                    behind::BEHIND => self.cx.flushes.complete(name, result),
                    _ => job::complete(&mut self.cx, name, result),
                }
                continue;
            }
            let worker = self.workers[usize::from(name.worker.0)].as_mut().expect("a worker outlives its requests");
            worker.complete(name, result, &mut self.cx);
            self.lookout.touch(name.worker.0.into());
        }
        count
    }

    /// What its rings have done.
    #[cfg(test)]
    pub(super) fn io_stats(&self) -> bdev::IoStats {
        self.cx.io.stats()
    }

    /// How many wait for requests of this reactor.
    #[cfg(test)]
    pub(super) fn asked(&self) -> usize {
        self.leaves.len()
    }

    fn find(&mut self, queue: QueueName) -> Option<(&mut Worker, &mut Cx)> {
        let worker = self.workers.iter_mut().flatten().find(|worker| worker.name() == queue)?;
        Some((worker, &mut self.cx))
    }

    fn adopt(&mut self, mut worker: Box<Worker>) {
        // A place that task management still knows a queue by is not given to another one.
        let is_named = |place| {
            let place = WorkerIndex(place as u16);
            let Self { endings, leaves, cx, .. } = &*self;
            leaves.iter().any(|leave| leave.names(place))
                || endings.iter().any(|ending| ending.names(place))
                || cx.privileged.iter().any(|own| own.name.worker == place)
        };
        let mut places = self.workers.iter().enumerate();
        let free = places.find(|&(place, worker)| worker.is_none() && !is_named(place));
        let free = free.map_or(self.workers.len(), |(place, _)| place);
        worker.adopt(WorkerIndex(free as u16));
        if free == self.workers.len() {
            self.workers.push(None);
            self.lookout.rouse(self.workers.len());
        }
        self.workers[free] = Some(worker);
    }

    /// A client has taken the file away from under its memory: fails the devices whose memory it was.
    #[cold]
    fn fail_lost(&mut self) {
        self.faults = sigbus::faults();
        for worker in self.workers.iter().flatten() {
            worker.fail_if_lost();
        }
    }

    /// The end comes although disks have not answered: what the kernel may still write to stays where it is.
    #[cold]
    fn give_up(&mut self) -> Drain {
        let operations = self.cx.io.in_flight();
        tracing::error!(operations, "stopping without an answer to operations: unflushed writes may be lost");
        self.clean.store(false, Ordering::Relaxed);
        self.workers.drain(..).for_each(std::mem::forget);
        self.lookout.rouse(0);
        Drain::Finished
    }
}

impl Context for Core {
    type Message = Message;

    fn message(&mut self, message: Message) {
        // Every queue is looked at, and its pass finished: something has happened to some of them.
        self.lookout.rouse(self.workers.len());
        match message {
            Message::Adopt(worker) => self.adopt(worker),
            Message::Memory { queue, memory } => {
                if let Some((worker, _)) = self.find(queue) {
                    worker.add_memory(memory);
                }
            }
            Message::Quiesce { queue, pass } => {
                if let Some((worker, _)) = self.find(queue) {
                    worker.quiesce(pass);
                }
            }
            Message::Resume { queue, memory } => {
                if let Some((worker, _)) = self.find(queue) {
                    worker.resume(memory);
                }
            }
            Message::Retire { queue, pass } => {
                if let Some((worker, cx)) = self.find(queue) {
                    worker.retire(pass, cx);
                }
            }
            Message::Tasks { life, bar, scope, purpose, pass, origin } => {
                let pending = Vec::new();
                self.manage(Ending { life, bar, scope, purpose, pending, untaken: Vec::new(), pass, origin });
            }
            Message::Fetched { queue, id, pieces } => {
                if let Some((worker, cx)) = self.find(queue) {
                    worker.fetched(id, pieces, cx);
                }
            }
            Message::Stored { queue, id } => {
                if let Some((worker, _)) = self.find(queue) {
                    worker.stored(id);
                }
            }
            Message::Lift { life, bar } => self.lift(life, bar),
            Message::Settle { disk, pass } => self.cx.settling.push((disk, pass)),
            Message::Fence { range, pass } => {
                let flights = Flights::collect(range, pass, &mut self.workers);
                self.leaves.push(Leave::Range(flights));
            }
            Message::Luns { life, luns, seen, left } => {
                self.change_luns(life, &luns, left);
                seen.arrive();
            }
            Message::Flush { disk, standing } => {
                // If not, it was flushed when it was closed.
                if self.drives.is_open(disk) {
                    self.cx.flushes.add(disk, &standing);
                }
            }
            // Every queue looks now, whatever the message.
            Message::News => {}
            Message::OpenDisk { disk, reply } => {
                // Whoever asked may have lost patience.
                let _ = reply.send(self.drives.open(disk, &mut self.cx));
            }
            Message::CloseDisk { disk, pass } => self.drives.close(disk, pass),
        }
    }

    /// Never inlined, for `scripts/instructions` counts passes by it.
    #[inline(never)]
    fn poll(&mut self, now_ns: u64) -> Progress {
        self.spent_ns = now_ns.saturating_sub(self.cx.io.now_ns());
        self.cx.io.set_now_ns(now_ns);
        let mut work = self.deliver();
        for &place in self.drives.timed() {
            work += self.cx.channels[place].channel.poll(&mut self.cx.io);
        }
        self.cx.full.clear();
        if self.cx.has_waiting {
            work += self.retry_waiting();
        }
        work += self.poll_workers();
        if !self.cx.jobs.is_empty() {
            work += job::advance(&mut self.cx);
        }
        if self.cx.flushes.wait() {
            work += behind::begin(&mut self.cx);
        }
        if !self.endings.is_empty() {
            self.collect_late();
        }
        if !self.cx.privileged.is_empty() {
            work += self.advance_privileged();
        }
        // What a backend completed at once, and what came by that call, is answered in this pass.
        if self.cx.io.has_engines() {
            work += self.cx.io.submit();
            self.cx.io.reap();
        }
        work += self.deliver();
        work += self.finish_pass();
        if !self.endings.is_empty() {
            self.settle_endings();
        }
        if !self.leaves.is_empty() {
            self.settle_leaves();
        }
        if self.drives.is_closing() {
            work += self.drives.go_on_closing(&mut self.cx);
        }
        if !self.cx.settling.is_empty() {
            job::settle(&mut self.cx, &mut self.workers);
        }
        if !self.cx.privileged.is_empty() {
            self.settle_privileged();
        }
        if self.faults != sigbus::faults() {
            self.fail_lost();
        }
        if work == 0 {
            self.cx.io.pass_in_vain();
        }
        Progress::from_busy(work > 0)
    }

    fn drain(&mut self, now_ns: u64) -> Drain {
        let since_ns = *self.stop_since_ns.get_or_insert(now_ns);
        self.cx.jobs.retain(Job::is_in_flight);
        // All that was acknowledged is written by now: the flushes need not wait for what is still in flight, and those of
        // healthy disks not for one that does not answer.
        let all_asked = self.drives.flush_all(&mut self.cx);
        let busy = self.workers.iter().any(Option::is_some) || self.cx.io.in_flight() > 0;
        match (busy || !all_asked, now_ns.saturating_sub(since_ns)) {
            (false, _) => Drain::Finished,
            (true, waited_ns) if waited_ns < STOP_MAX_NS => Drain::Pending,
            (true, _) => self.give_up(),
        }
    }

    fn may_sleep(&self) -> bool {
        self.stop_since_ns.is_none()
            && job::may_sleep(&self.cx)
            && !self.cx.flushes.wait()
            && !self.drives.must_be_polled()
            && !self.workers.iter().flatten().any(|worker| worker.must_be_polled())
            && !self.cx.privileged.iter().any(Privileged::must_be_polled)
    }

    fn arm(&mut self) -> bool {
        // Whoever opened a gate before the reactor was seen to sleep has not woken it.
        let may_go_on = self.cx.privileged.iter().any(Privileged::can_advance);
        self.workers.iter_mut().flatten().all(|worker| !worker.arm()) && !may_go_on && self.cx.io.arm()
    }

    fn disarm(&mut self) {
        self.cx.io.disarm();
        for worker in self.workers.iter_mut().flatten() {
            worker.disarm();
        }
        self.lookout.rouse(self.workers.len());
    }

    fn wake_fds<'a>(&'a self, fds: &mut WakeFds<'a>) {
        if let Some(fd) = self.cx.io.bell() {
            fds.push(fd);
        }
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        let timed = self.drives.timed().iter();
        timed.filter_map(|&place| self.cx.channels[place].channel.next_deadline_ns()).min()
    }
}

//! A virtqueue on its reactor: request queue, control queue or event queue, and the states that both go through.

use std::sync::Arc;

use bdev::IoError;
use reactor::Pass;

use crate::dma::MemMap;
use crate::virtio::ring::{Glance, Ring, RingError};

use super::adapter::Adapter;
use super::control_queue::ControlQueue;
use super::courier::{JobId, Piece};
use super::cx::Cx;
use super::disk::Disk;
use super::event_queue::EventQueue;
use super::lun_map::LunMap;
use super::message::{Life, QueueName};
use super::remote::Remote;
use super::request_queue::RequestQueue;
use super::tag::{RequestName, WorkerIndex};

/// A queue that a reactor serves.
#[derive(Debug)]
pub(crate) enum Worker {
    /// Commands.
    Request(Box<RequestQueue>),
    /// Task management.
    Control(Box<ControlQueue>),
    /// What the driver is told of.
    Event(Box<EventQueue>),
}

/// What every queue is made of.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) life: Life,
    /// Number of the virtqueue.
    pub(crate) number: u16,
    pub(crate) adapter: Arc<Adapter>,
    /// The logical units, as this queue knows them.
    pub(crate) luns: Arc<LunMap>,
    pub(crate) ring: Ring,
    pub(crate) memory: Arc<MemMap>,
    pub(crate) remote: Remote,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Takes what the driver makes available.
    Running,
    /// Ends what is in flight; then the memory may change.
    Draining(Pass),
    /// Has no memory.
    Paused,
    /// Waits for what is in flight, of which it tells nobody; then it is dropped, and the pass arrives with that.
    Retiring { _pass: Pass },
}

impl Queue {
    /// A queue that takes work as soon as a reactor has it.
    pub(crate) fn new(life: Life, number: u16, adapter: Arc<Adapter>, ring: Ring, memory: Arc<MemMap>) -> Self {
        let (luns, remote, state) = (adapter.luns(), Remote::default(), State::Running);
        Self { life, number, adapter, luns, ring, memory, remote, state }
    }

    pub(crate) fn name(&self) -> QueueName {
        QueueName { life: self.life, number: self.number }
    }

    /// Whether it serves its driver: it neither rests nor is broken.
    #[inline]
    pub(crate) fn is_serving(&self) -> bool {
        matches!(self.state, State::Running) && self.ring.is_bound() && !self.adapter.is_broken()
    }

    /// Whether it may take new work.
    #[inline]
    pub(crate) fn is_accepting(&self) -> bool {
        self.is_serving() && !self.remote.holds_up()
    }

    /// A bound on the chains that wait in the ring, 0 if there are none or it may not take any.
    #[inline]
    pub(crate) fn available(&mut self) -> u16 {
        if !self.is_accepting() {
            return 0;
        }
        self.ring.look().unwrap_or_else(|error| {
            self.fail(&error);
            0
        })
    }

    /// Whether its life is over: nothing is written to the guest's memory any more, but what the kernel has in hand.
    #[inline]
    pub(crate) fn is_retiring(&self) -> bool {
        matches!(self.state, State::Retiring { .. })
    }

    /// Whether it ends what is in flight, to rest then.
    pub(crate) fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining(_))
    }

    /// The driver broke the ring, or what is in it.
    #[cold]
    pub(crate) fn fail(&self, why: &dyn std::fmt::Display) {
        // A queue of a former life must not fail the device of the next one.
        if !self.is_retiring() {
            self.adapter.fail(&format_args!("queue {}: {why}", self.number));
        }
    }

    /// Shows the driver what was finished in this pass.
    #[inline]
    pub(crate) fn publish(&mut self) {
        if self.ring.publish() {
            self.adapter.signal_queue(self.number);
        }
    }

    /// Nothing is in flight: if that was waited for, the memory may change now.
    fn come_to_rest(&mut self) {
        if !matches!(self.state, State::Draining(_)) {
            return;
        }
        self.ring.unbind();
        self.memory = Arc::default();
        if let State::Draining(pass) = std::mem::replace(&mut self.state, State::Paused) {
            pass.arrive();
        }
    }

    fn set_memory(&mut self, memory: Arc<MemMap>) {
        if let Err(error) = self.ring.rebind(&memory) {
            // The client takes memory away and gives it back in pieces, under a live ring: this one waits for its own.
            tracing::debug!(controller = self.adapter.name, queue = self.number, "queue waits for its memory: {error}");
        }
        self.memory = memory;
    }
}

impl Worker {
    pub(crate) fn name(&self) -> QueueName {
        self.queue().name()
    }

    pub(crate) fn queue(&self) -> &Queue {
        match self {
            Self::Request(worker) => &worker.queue,
            Self::Control(worker) => &worker.queue,
            Self::Event(worker) => &worker.queue,
        }
    }

    pub(crate) fn queue_mut(&mut self) -> &mut Queue {
        match self {
            Self::Request(worker) => &mut worker.queue,
            Self::Control(worker) => &mut worker.queue,
            Self::Event(worker) => &mut worker.queue,
        }
    }

    /// A reactor takes it over.
    pub(crate) fn adopt(&mut self, index: WorkerIndex) {
        if let Self::Request(worker) = self {
            worker.index = index;
        }
        self.queue_mut().ring.start();
    }

    /// One bounded round of work; how much was done.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Cx) -> usize {
        match self {
            Self::Request(worker) => worker.poll(cx),
            Self::Control(worker) => worker.poll(),
            Self::Event(worker) => worker.poll(),
        }
    }

    /// A channel has given the operation of a request back.
    #[inline]
    pub(crate) fn complete(&mut self, name: RequestName, result: Result<(), IoError>, cx: &mut Cx) {
        let Self::Request(worker) = self else { panic!("{name:?}: only request queues have operations") };
        let generation = worker.slots.get(name.slot).generation;
        assert_eq!(generation, name.generation, "a channel completes each operation once");
        worker.complete(name.slot, result, cx);
    }

    /// Ends a pass: what was finished becomes visible. If there is nothing to do but to wait until the driver does something or
    /// a message comes, how to see the former; else the next pass is to look at it, unless it can [rest](Worker::try_to_rest).
    #[inline]
    pub(crate) fn finish_pass(&mut self) -> Option<Glance> {
        let (is_calm, is_event, queue) = match self {
            Self::Request(worker) => (true, false, &mut worker.queue),
            Self::Control(worker) => (worker.waits_for_driver(), false, &mut worker.queue),
            Self::Event(worker) => (!worker.wants_buffers(), true, &mut worker.queue),
        };
        queue.publish();
        if !is_calm || !matches!(queue.state, State::Running) || !queue.remote.is_quiet() {
            return None;
        }
        // Buffers for events that the driver has given wait until there is something to tell, and that comes by message.
        Some(if is_event { Glance::NEVER } else { queue.ring.glance() })
    }

    /// Lets a queue that is to rest, or to end, do so if it can by now. False if it has ended, and is to be dropped.
    #[cold]
    pub(crate) fn try_to_rest(&mut self) -> bool {
        let idle = match self {
            Self::Request(worker) => worker.is_idle(),
            Self::Control(worker) => worker.is_idle(),
            Self::Event(_) => true,
        };
        let queue = self.queue_mut();
        if idle {
            queue.come_to_rest();
        }
        !(idle && queue.is_retiring())
    }

    pub(crate) fn quiesce(&mut self, pass: Pass) {
        match self.queue().state {
            State::Running => {
                match self {
                    Self::Request(worker) => worker.put_back(),
                    Self::Control(_) | Self::Event(_) => self.queue_mut().put_back(Vec::new()),
                }
                self.queue_mut().state = State::Draining(pass);
            }
            // Nothing touches memory, so that the pass may arrive.
            State::Paused => {}
            // It does until its end, and says so to whoever retired it; its memory stays mapped as long.
            State::Draining(_) | State::Retiring { .. } => {}
        }
    }

    pub(crate) fn resume(&mut self, memory: Arc<MemMap>) {
        let queue = self.queue_mut();
        if !queue.is_retiring() {
            queue.state = State::Running;
            queue.set_memory(memory);
        }
        self.memory_changed();
    }

    pub(crate) fn retire(&mut self, pass: Pass, cx: &mut Cx) {
        let queue = self.queue_mut();
        queue.state = State::Retiring { _pass: pass };
        // Chains that are given back from now on are lost to the driver, which has given them up.
        queue.ring.unbind();
        queue.forget_jobs();
        if let Self::Request(worker) = self {
            worker.cancel_all(cx);
        }
    }

    pub(crate) fn add_memory(&mut self, memory: Arc<MemMap>) {
        let queue = self.queue_mut();
        match queue.state {
            State::Running if queue.ring.is_bound() => queue.memory = memory,
            State::Running => queue.set_memory(memory),
            State::Draining(_) | State::Paused | State::Retiring { .. } => {}
        }
        self.memory_changed();
    }

    fn memory_changed(&mut self) {
        self.queue_mut().memory_changed();
        if let Self::Control(worker) = self {
            worker.memory_changed();
        }
    }

    /// What the queue wanted from memory that is not shared is here.
    #[cold]
    pub(crate) fn fetched(&mut self, id: JobId, pieces: Vec<Piece>, cx: &mut Cx) {
        match self {
            Self::Request(worker) => worker.fetched(id, pieces, cx),
            Self::Control(worker) => worker.fetched(id, pieces),
            Self::Event(worker) => worker.fetched(id, pieces),
        }
    }

    /// What the queue has written is in memory that is not shared.
    #[cold]
    pub(crate) fn stored(&mut self, id: JobId) {
        self.queue_mut().stored(id);
    }

    /// Fails the device if the client took away the file behind its memory: what is there now is of no use to it.
    pub(crate) fn fail_if_lost(&self) {
        let queue = self.queue();
        if let Some(gpa) = queue.memory.lost() {
            queue.fail(&format_args!("the client truncated the file behind its memory at {gpa}"));
        }
    }

    /// Whether a request uses a disk.
    pub(crate) fn uses(&mut self, disk: &Disk) -> bool {
        match self {
            Self::Request(worker) => worker.uses(disk),
            Self::Control(_) | Self::Event(_) => false,
        }
    }

    /// The adapter has other logical units. `pending` gets the names of requests on those that leave.
    pub(crate) fn change_luns(&mut self, luns: &Arc<LunMap>, pending: &mut Vec<RequestName>, cx: &mut Cx) {
        self.queue_mut().luns = luns.clone();
        if let Self::Request(worker) = self {
            worker.known.forget();
            worker.leave(pending, cx);
        }
    }

    /// Whether its driver rings no bell, so that it must be polled.
    pub(crate) fn must_be_polled(&self) -> bool {
        let queue = self.queue();
        let retries = match self {
            // It works when there is news, which comes by message.
            Self::Event(_) => return false,
            Self::Request(worker) => worker.has_waiting(),
            Self::Control(worker) => worker.must_be_polled(),
        };
        retries || queue.is_accepting() && queue.adapter.is_polled(queue.number)
    }

    /// Asks the driver for a bell and looks again. True if there is work.
    pub(crate) fn arm(&mut self) -> bool {
        // Whoever opened a gate before the reactor was seen to sleep has not woken it.
        if let Self::Control(worker) = self
            && worker.has_answer()
        {
            return true;
        }
        if matches!(self, Self::Event(worker) if !worker.wants_buffers()) || !self.queue().is_accepting() {
            return false;
        }
        let queue = self.queue_mut();
        queue.ring.enable_notify().unwrap_or_else(|error: RingError| {
            queue.fail(&error);
            false
        })
    }

    /// The ring is polled again.
    pub(crate) fn disarm(&mut self) {
        if self.queue().ring.is_bound() {
            self.queue_mut().ring.disable_notify();
        }
    }
}

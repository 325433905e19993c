//! The queues of a device while it is live, seen from its control thread: where they are, how to stop and start them.
//!
//! This is the control side of the one protocol for unmap, reset, disconnect and stop: ask each queue to come to rest,
//! wait for all, change the world, let them go on. What a reactor does with it is in [`worker`](super::worker).

use std::sync::Arc;
use std::time::{Duration, Instant};

use reactor::{Gate, Handle, Pass};

use crate::dma::MemMap;

use super::message::{Life, Message, QueueName};
use super::worker::Worker;

/// How long queues may take to come to rest while a client waits. It gives up after five seconds.
pub(crate) const REST_MAX: Duration = Duration::from_secs(3);

/// Queues of one life of a device.
#[derive(Debug)]
pub(crate) struct Live {
    life: Life,
    /// The reactors of the controller.
    reactors: Arc<[Handle<Message>]>,
    /// Number of each queue, and the place of its reactor.
    queues: Vec<(u16, usize)>,
    /// The queues have no memory and rest until they are given some.
    resting: bool,
}

impl Live {
    /// A device without queues, on `reactors`.
    pub(crate) fn new(reactors: Arc<[Handle<Message>]>) -> Self {
        Self { life: Life::begin(), reactors, queues: Vec::new(), resting: false }
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// Whether queue `number` is served already.
    pub(crate) fn has(&self, number: u16) -> bool {
        self.queues.iter().any(|&(other, _)| other == number)
    }

    /// Moves a queue to the reactor at `place`.
    pub(crate) fn add(&mut self, number: u16, place: usize, worker: Worker) {
        self.queues.push((number, place));
        post(&self.reactors[place], Message::Adopt(Box::new(worker)));
    }

    /// A doorbell: the reactor of queue `number` looks at it, should it sleep.
    pub(crate) fn ring_bell(&self, number: u16) {
        if let Some(&(_, place)) = self.queues.iter().find(|&&(other, _)| other == number) {
            self.reactors[place].wake();
        }
    }

    /// Every reactor looks at its queues, should it sleep.
    pub(crate) fn ring_all(&self) {
        self.reactors.iter().for_each(Handle::wake);
    }

    /// Guest memory has grown.
    pub(crate) fn add_memory(&self, memory: &Arc<MemMap>) {
        if !self.resting {
            self.tell_all(|queue| Message::Memory { queue, memory: memory.clone() });
        }
    }

    /// Brings all queues to rest. False if they did not within [`REST_MAX`]: a disk does not answer.
    pub(crate) fn rest(&mut self) -> bool {
        if self.resting {
            return true;
        }
        self.resting = self.begin_rest().wait_until(Instant::now() + REST_MAX);
        self.resting
    }

    /// Asks all queues to come to rest. The gate opens when they have.
    pub(crate) fn begin_rest(&self) -> Gate {
        self.tell_all_and_wait(|queue, pass| Message::Quiesce { queue, pass })
    }

    /// Whether the queues rest.
    pub(crate) fn is_resting(&self) -> bool {
        self.resting
    }

    /// Lets the queues go on.
    pub(crate) fn go_on(&mut self, memory: &Arc<MemMap>) {
        self.resting = false;
        self.tell_all(|queue| Message::Resume { queue, memory: memory.clone() });
    }

    /// Drops the queues as soon as nothing of theirs is in flight. The gate opens then.
    pub(crate) fn retire(self) -> Gate {
        self.tell_all_and_wait(|queue, pass| Message::Retire { queue, pass })
    }

    fn tell_all(&self, message: impl Fn(QueueName) -> Message) {
        for &(number, place) in &self.queues {
            post(&self.reactors[place], message(QueueName { life: self.life, number }));
        }
    }

    fn tell_all_and_wait(&self, message: impl Fn(QueueName, Pass) -> Message) -> Gate {
        let (gate, passes) = Gate::new(self.queues.len());
        for (&(number, place), pass) in self.queues.iter().zip(passes) {
            post(&self.reactors[place], message(QueueName { life: self.life, number }, pass));
        }
        gate
    }
}

/// Posts a message to a reactor that may have ended: then the process is about to, and nobody needs it.
fn post(reactor: &Handle<Message>, message: Message) {
    if reactor.post(message).is_err() {
        tracing::debug!("a reactor has ended");
    }
}

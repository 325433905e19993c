//! The queues of a device while it is live, seen from its control thread: where they are, how to stop and start them.
//!
//! This is the control side of the one protocol for unmap, reset, disconnect and stop: ask each queue to come to rest,
//! wait for all, change the world, let them go on. What a reactor does with it is in [`worker`](super::worker).
//!
//! The control queue is the last to start and to go on, and the first to rest. So whenever it takes a task management
//! function, every command that was there before can be found in its ring: none can come out of a rest and end after the
//! answer to a function that was about it. Functions in progress go on over the rest, and are answered after it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reactor::{Gate, Handle, Pass};

use crate::dma::MemMap;
use crate::virtio_scsi::spec::{CONTROL_QUEUE, FIRST_REQUEST_QUEUE};

use super::lun_map::LunMap;
use super::message::{Life, Message, QueueName};
use super::worker::Worker;

/// How long queues may take to come to rest while a client waits. It gives up after five seconds.
pub(crate) const REST_MAX: Duration = Duration::from_secs(3);

/// Which queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The control queue alone.
    Control,
    /// All others.
    Requests,
}

/// Queues of one life of a device.
#[derive(Debug)]
pub(crate) struct Live {
    life: Life,
    /// The reactors of the controller.
    reactors: Arc<[Handle<Message>]>,
    /// Number of each queue, and the place of its reactor. The control queue is the last.
    queues: Vec<(u16, usize)>,
    /// Queues that are being reset alone, each with the gate that opens when it is gone.
    leaving: Vec<(u16, Gate)>,
    /// The queues have no memory and rest until they are given some.
    resting: bool,
}

impl Live {
    /// A device without queues, on `reactors`.
    pub(crate) fn new(reactors: Arc<[Handle<Message>]>) -> Self {
        Self { life: Life::begin(), reactors, queues: Vec::new(), leaving: Vec::new(), resting: false }
    }

    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// Whether queue `number` is served already, or still.
    pub(crate) fn has(&self, number: u16) -> bool {
        let leaving = self.leaving.iter().map(|&(other, _)| other);
        self.queues.iter().map(|&(other, _)| other).chain(leaving).any(|other| other == number)
    }

    /// Whether there is a queue that moves data.
    pub(crate) fn has_requests(&self) -> bool {
        self.queues.iter().any(|&(number, _)| number >= FIRST_REQUEST_QUEUE)
    }

    /// Moves a queue to the reactor at `place`.
    pub(crate) fn add(&mut self, number: u16, place: usize, worker: Worker) {
        self.queues.push((number, place));
        self.queues.sort_by_key(|&(number, _)| number == CONTROL_QUEUE);
        post(&self.reactors[place], Message::Adopt(Box::new(worker)));
    }

    /// A doorbell: the reactor of queue `number` looks at it, should it sleep.
    pub(crate) fn ring_bell(&self, number: u16) {
        if let Some(&(_, place)) = self.queues.iter().find(|&&(other, _)| other == number) {
            self.reactors[place].wake();
        }
    }

    /// Tells the reactor of queue `number` something about it.
    pub(crate) fn tell(&self, number: u16, message: Message) {
        if let Some(&(_, place)) = self.queues.iter().find(|&&(other, _)| other == number) {
            post(&self.reactors[place], message);
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
        let deadline = Instant::now() + REST_MAX;
        let rested = [Part::Control, Part::Requests].into_iter().all(|part| self.begin_rest(part).wait_until(deadline));
        self.resting = rested && self.leaving.iter().all(|(_, gate)| gate.wait_until(deadline));
        self.resting
    }

    /// Asks queues to come to rest; those of requests when the control queue rests. The gate opens when they have.
    pub(crate) fn begin_rest(&self, part: Part) -> Gate {
        let requests = self.queues.partition_point(|&(number, _)| number != CONTROL_QUEUE);
        let queues = match part {
            Part::Control => &self.queues[requests..],
            Part::Requests => &self.queues[..requests],
        };
        self.tell_and_wait(queues, |queue, pass| Message::Quiesce { queue, pass })
    }

    /// Whether the queues rest.
    pub(crate) fn is_resting(&self) -> bool {
        self.resting
    }

    /// The device has other logical units. One gate opens when every queue has them, the other when no request is on one
    /// that left.
    pub(crate) fn change_luns(&self, luns: &Arc<LunMap>) -> (Gate, Gate) {
        let (seen, seen_passes) = Gate::new(self.reactors.len());
        let (left, left_passes) = Gate::new(self.reactors.len());
        for ((reactor, seen), left) in self.reactors.iter().zip(seen_passes).zip(left_passes) {
            post(reactor, Message::Luns { life: self.life, luns: luns.clone(), seen, left });
        }
        (seen, left)
    }

    /// Lets the queues go on.
    pub(crate) fn go_on(&mut self, memory: &Arc<MemMap>) {
        self.resting = false;
        self.tell_all(|queue| Message::Resume { queue, memory: memory.clone() });
    }

    /// Drops queue `number` alone, as soon as nothing of it is in flight, and waits `longest` for that.
    pub(crate) fn reset_queue(&mut self, number: u16, longest: Duration) {
        let going: Vec<_> = self.queues.extract_if(.., |&mut (other, _)| other == number).collect();
        let gate = self.tell_and_wait(&going, |queue, pass| Message::Retire { queue, pass });
        gate.wait_until(Instant::now() + longest);
        self.leaving.push((number, gate));
    }

    /// Takes the numbers of the queues whose reset has come to its end since the last call.
    pub(crate) fn take_reset(&mut self) -> Vec<u16> {
        self.leaving.extract_if(.., |(_, gate)| gate.is_open()).map(|(number, _)| number).collect()
    }

    /// Drops the queues as soon as nothing of theirs is in flight. The gates open then.
    pub(crate) fn retire(self) -> Vec<Gate> {
        let gate = self.tell_and_wait(&self.queues, |queue, pass| Message::Retire { queue, pass });
        self.leaving.into_iter().map(|(_, gate)| gate).chain([gate]).collect()
    }

    fn tell_all(&self, message: impl Fn(QueueName) -> Message) {
        for &(number, place) in &self.queues {
            post(&self.reactors[place], message(QueueName { life: self.life, number }));
        }
    }

    fn tell_and_wait(&self, queues: &[(u16, usize)], message: impl Fn(QueueName, Pass) -> Message) -> Gate {
        let (gate, passes) = Gate::new(queues.len());
        for (&(number, place), pass) in queues.iter().zip(passes) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use reactor::Mailbox;

    /// Numbers of the queues that the messages in a mailbox are about.
    fn addressed(mailbox: &Mailbox<Message>) -> Vec<u16> {
        let number = |message| match message {
            Message::Memory { queue, .. } | Message::Quiesce { queue, .. } | Message::Resume { queue, .. } => {
                queue.number
            }
            other => panic!("{other:?} was not asked for"),
        };
        std::iter::from_fn(|| mailbox.take()).map(number).collect()
    }

    #[test]
    fn the_control_queue_is_the_first_to_rest_and_the_last_to_go_on() {
        let mailbox = Mailbox::new(16).unwrap();
        let mut live = Live::new(Arc::new([mailbox.handle()]));
        live.queues = vec![(3, 0), (2, 0), (CONTROL_QUEUE, 0)];
        let _gate = live.begin_rest(Part::Control);
        assert_eq!(addressed(&mailbox), [CONTROL_QUEUE]);
        let _gate = live.begin_rest(Part::Requests);
        assert_eq!(addressed(&mailbox), [3, 2]);
        live.add_memory(&Arc::default());
        assert_eq!(addressed(&mailbox), [3, 2, CONTROL_QUEUE]);
        live.go_on(&Arc::default());
        assert_eq!(addressed(&mailbox), [3, 2, CONTROL_QUEUE]);
    }
}

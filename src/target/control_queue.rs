//! The control queue: task management functions, each answered after what it ended; asynchronous notification.
//!
//! A function is broadcast to every reactor of the controller. Each bars the commands in its scope, ends those that it
//! has, and lets its pass arrive when the last of them can be seen by the driver. Only then does the function take
//! effect (unit attention), only after that is it answered, and only then may new commands in its scope start. A query
//! goes the same way and only looks.

use std::sync::atomic::Ordering;

use bdev::Segment;
use reactor::Gate;

use crate::dma::{Access, Gpa, RegionCache};
use crate::virtio::ring::{Chain, Head, Popped};
use crate::virtio_scsi::control::{write_an_response, write_tmf_response};
use crate::virtio_scsi::spec::TmfResponse;
use crate::virtio_scsi::{ControlRequest, ResponseCode};

use super::courier::{JobId, Piece};
use super::message::{BarId, Message, Purpose, Scope};
use super::notifications::{find_notified, subscribe};
use super::peers::{Crew, Peers};
use super::sharing::Seat;
use super::slots::Verdict;
use super::stood_in::StoodIn;
use super::task_functions::{Effect, Plan, plan};
use super::worker::Queue;

/// Task management functions of one controller that can be in progress at a time; further ones wait in the ring.
const IN_PROGRESS_MAX: usize = 64;

/// The control queue of a controller.
#[derive(Debug)]
pub(crate) struct ControlQueue {
    pub(crate) queue: Queue,
    peers: Peers,
    in_progress: Vec<InProgress>,
    chain: Chain,
}

/// A function that waits for the reactors.
#[derive(Debug)]
struct InProgress {
    head: Head,
    response: Place,
    stood_in: Option<Box<StoodIn>>,
    gate: Gate,
    bar: BarId,
    function: Plan,
    /// The memory of its response was not there when it was to be answered.
    is_stuck: bool,
}

/// Where the byte of a response goes. A queue may rest, and memory change, while a function is in progress: nothing is held
/// of the guest's.
#[derive(Debug, Clone, Copy)]
enum Place {
    Guest(Gpa),
    /// In memory that stands in for the guest's.
    Own(Segment),
}

impl ControlQueue {
    /// A control queue; the request queues are on the reactors of `crew`.
    pub(crate) fn new(queue: Queue, crew: Crew) -> Self {
        Self { queue, peers: Peers::new(crew), in_progress: Vec::new(), chain: Chain::new() }
    }

    /// One bounded round.
    #[inline]
    pub(crate) fn poll(&mut self) -> usize {
        let finished = if self.in_progress.is_empty() { 0 } else { self.finish_ready() };
        self.peers.flush();
        let stored = if self.queue.remote.is_quiet() { 0 } else { self.queue.push_stored() };
        let taken_again = if self.queue.remote.is_quiet() { 0 } else { self.take_again() };
        finished + stored + taken_again + self.take()
    }

    /// Whether nothing is in progress that has to end first. A rest does not wait for functions: those may wait for what
    /// is only possible after it.
    pub(crate) fn is_idle(&self) -> bool {
        !self.queue.is_retiring() || self.in_progress.is_empty() && self.peers.is_quiet()
    }

    /// Whether there is nothing to do but what the driver asks for.
    pub(crate) fn waits_for_driver(&self) -> bool {
        self.in_progress.is_empty() && self.peers.is_quiet()
    }

    /// Whether it has to try again, whatever the driver does.
    pub(crate) fn must_be_polled(&self) -> bool {
        !self.peers.is_quiet()
    }

    /// Whether the commands of a function in progress have all ended.
    pub(crate) fn has_answer(&self) -> bool {
        self.can_answer() && self.in_progress.iter().any(InProgress::is_ready)
    }

    /// Whether there is a ring to answer in, or nobody who wants an answer.
    fn can_answer(&self) -> bool {
        self.queue.ring.is_bound() || self.queue.is_retiring()
    }

    /// Memory that was not there may be there now.
    pub(crate) fn memory_changed(&mut self) {
        self.in_progress.iter_mut().for_each(|function| function.is_stuck = false);
    }

    /// Takes chains that have to be looked at again; how many it took.
    #[cold]
    fn take_again(&mut self) -> usize {
        let mut taken = 0;
        while let Some((head, stood_in)) = self.queue.take_again(&mut self.chain) {
            self.begin(head, stood_in);
            taken += 1;
        }
        taken
    }

    fn take(&mut self) -> usize {
        let mut taken = 0;
        for _ in 0..self.queue.available() {
            if self.in_progress.len() == IN_PROGRESS_MAX {
                break;
            }
            match self.queue.ring.pop(&self.queue.memory, &mut self.chain) {
                Ok(Popped::Chain(head)) if self.chain.remote().is_empty() => self.begin(head, None),
                Ok(Popped::Chain(head)) => match self.queue.admit(head, &mut self.chain) {
                    Some((head, stood_in)) => self.begin(head, Some(stood_in)),
                    None => break,
                },
                Ok(Popped::Empty) => break,
                Ok(Popped::NeedsFetch { gpa, len }) => {
                    self.queue.fetch_table(gpa, len);
                    break;
                }
                Err(error) => {
                    self.queue.cannot_pop(&error);
                    break;
                }
            }
            taken += 1;
        }
        taken
    }

    /// Something was fetched from memory that is not shared.
    pub(crate) fn fetched(&mut self, id: JobId, pieces: Vec<Piece>) {
        if let Some((head, stood_in)) = self.queue.take_fetched((id, pieces), &mut self.chain) {
            self.begin(head, Some(stood_in));
        }
    }

    /// A chain becomes a request; `stood_in` is the memory that stands in for what of it is not shared.
    fn begin(&mut self, head: Head, stood_in: Option<Box<StoodIn>>) {
        let written = match ControlRequest::parse(&self.chain) {
            Ok(ControlRequest::Tmf { subtype, lun, id }) => match plan(subtype, (lun, id), &self.queue.luns) {
                Ok(plan) => return self.broadcast(head, stood_in, plan),
                Err(response) => write_tmf_response(self.chain.writable(), response),
            },
            Ok(ControlRequest::AnQuery { lun, events }) => self.answer(find_notified(lun, events, &self.queue.luns)),
            Ok(ControlRequest::AnSubscribe { lun, events }) => self.answer(subscribe(lun, events, &self.queue.luns)),
            Ok(ControlRequest::Unknown(_)) => 0,
            Err(error) => {
                self.queue.fail(&error);
                0
            }
        };
        self.give_back(head, written, stood_in);
    }

    /// Tells which notifications there are.
    fn answer(&self, found: Result<u32, ResponseCode>) -> u32 {
        let (events, response) = found.map_or_else(|response| (0, response), |events| (events, ResponseCode::OK));
        write_an_response(self.chain.writable(), events, response)
    }

    /// Gives a chain back, at once unless something of its answer has to be stored before.
    fn give_back(&mut self, head: Head, written: u32, stood_in: Option<Box<StoodIn>>) {
        match stood_in {
            None => self.queue.ring.push(head, written),
            Some(stood_in) => self.queue.finish(head, written, &stood_in, None),
        }
    }

    /// The other logical units that a function ends commands of: LOGICAL UNIT RESET is about the disk, whoever shows it.
    fn others(&self, function: &Plan) -> Vec<Seat> {
        let port = &self.queue.luns.port;
        function.reset.as_ref().map_or(Vec::new(), |(address, disk)| disk.sharing.others(port, *address))
    }

    fn broadcast(&mut self, head: Head, stood_in: Option<Box<StoodIn>>, function: Plan) {
        let bar = BarId::next();
        let others = self.others(&function);
        let far: usize = others.iter().map(|(port, _)| port.parties()).sum();
        let (gate, passes) = Gate::new(self.peers.count() + far);
        let (life, mut passes) = (self.queue.life, passes.into_iter());
        for (reactor, pass) in passes.by_ref().take(self.peers.count()).enumerate() {
            let (scope, purpose, origin) = (function.scope, function.purpose.clone(), self.peers.crew.home.clone());
            self.peers.post(reactor, Message::Tasks { life, bar, scope, purpose, pass, origin });
        }
        for (port, address) in others {
            let own: Vec<_> = passes.by_ref().take(port.parties()).collect();
            for (reactor, message) in port.ends(address, Verdict::Reset, own, Some(&self.peers.crew.home)) {
                self.peers.post_to(reactor, message);
            }
        }
        let first = self.chain.writable()[0];
        let response = self.queue.memory.locate(&first).map_or(Place::Own(first), Place::Guest);
        self.in_progress.push(InProgress { head, response, stood_in, gate, bar, function, is_stuck: false });
    }

    /// Answers the functions whose commands have all ended.
    #[cold]
    fn finish_ready(&mut self) -> usize {
        if !self.can_answer() {
            return 0;
        }
        let ready: Vec<_> = self.in_progress.extract_if(.., |function| function.is_ready()).collect();
        let mut count = 0;
        for mut ready in ready {
            let response = if self.queue.is_retiring() { Some(Segment::EMPTY) } else { self.find(ready.response) };
            let Some(response) = response else {
                ready.is_stuck = true;
                self.in_progress.push(ready);
                continue;
            };
            count += 1;
            let InProgress { head, stood_in, bar, function, .. } = ready;
            let written = if self.queue.is_retiring() { 0 } else { self.take_effect(&function, &[response]) };
            self.give_back(head, written, stood_in);
            for reactor in 0..self.peers.count() {
                self.peers.post(reactor, Message::Lift { life: self.queue.life, bar });
            }
            // The reset of a unit has ended the allegiances of other initiators, too.
            for (reactor, message) in self.others(&function).iter().flat_map(|(port, _)| port.lifts()) {
                self.peers.post_to(reactor, message);
            }
        }
        count
    }

    /// The memory of a response, as it is now.
    fn find(&self, place: Place) -> Option<Segment> {
        let gpa = match place {
            Place::Own(segment) => return Some(segment),
            Place::Guest(gpa) => gpa,
        };
        let mut found = None;
        let note = |segment, is_remote: bool| {
            found = Some(segment).filter(|_| !is_remote);
            Ok(())
        };
        let len = size_of::<TmfResponse>() as u64;
        let map = &self.queue.memory;
        map.translate(&mut RegionCache::default(), (gpa, len), Access::Write, note).ok().and(found)
    }

    /// A function is done: takes effect and writes its response. Returns the bytes written.
    fn take_effect(&mut self, function: &Plan, response: &[Segment]) -> u32 {
        let luns = &self.queue.luns;
        match function.effect {
            Effect::Nothing => {}
            Effect::Attention(attention) => luns.raise(attention, |address| match function.scope {
                Scope::Task { .. } | Scope::Nothing => false,
                Scope::Unit(unit) => unit == address,
                Scope::Target(target) => target == address.target,
            }),
            Effect::ClearAca(address) => {
                luns.find(address).iter().for_each(|&entry| luns.entry(entry).standing.clear_aca());
            }
        }
        if let Some((address, disk)) = &function.reset
            && disk.sharing.unit_reset(&luns.port, *address)
            && let Some(message) = luns.find(*address).and_then(|entry| luns.entry(entry).flush())
        {
            self.peers.post(0, message);
        }
        let code = match &function.purpose {
            Purpose::Find(found) if found.load(Ordering::Relaxed) => ResponseCode::FUNCTION_SUCCEEDED,
            _ => ResponseCode::FUNCTION_COMPLETE,
        };
        write_tmf_response(response, code)
    }
}

impl InProgress {
    fn is_ready(&self) -> bool {
        self.gate.is_open() && !self.is_stuck
    }
}

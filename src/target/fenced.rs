//! Operations of one queue that touch what a command of somebody has for itself (see [`fence`](super::sharing::fence)), and wait
//! for its end; and the operations that such a command waits for.

use std::collections::VecDeque;
use std::sync::Arc;

use reactor::Pass;

use crate::scsi::{BlockOp, Step};

use super::cx::Cx;
use super::request_queue::RequestQueue;
use super::sharing::Sharing;
use super::sharing::fence::{Stripes, Waiter};
use super::slots::Phase;
use super::tag::{RequestName, SlotIndex};
use super::worker::Worker;

/// Requests that wait, in order.
pub(super) type Fenced = VecDeque<(SlotIndex, Waiter)>;

/// Operations of one core that were in flight in a range when a command was about to have it for itself.
#[derive(Debug)]
pub(super) struct Flights {
    sharing: Arc<Sharing>,
    stripes: Stripes,
    pending: Vec<RequestName>,
    /// Arrives when they have ended.
    _pass: Pass,
}

impl Flights {
    /// Those of the queues of a core.
    pub(super) fn collect(
        sharing: Arc<Sharing>,
        stripes: Stripes,
        pass: Pass,
        workers: &mut [Option<Box<Worker>>],
    ) -> Self {
        let mut pending = Vec::new();
        for worker in workers.iter_mut().flatten() {
            if let Worker::Request(worker) = &mut **worker {
                worker.flights(&sharing, stripes, &mut pending);
            }
        }
        Self { sharing, stripes, pending, _pass: pass }
    }

    /// Whether all have ended: one look a pass, however many there are.
    pub(super) fn have_ended(&mut self, workers: &mut [Option<Box<Worker>>]) -> bool {
        let Self { sharing, stripes, pending, .. } = self;
        let mut flies = |name: RequestName| match workers[usize::from(name.worker.0)].as_deref_mut() {
            Some(Worker::Request(worker)) => worker.flies(name, sharing, *stripes),
            _ => false,
        };
        while pending.pop_if(|name| !flies(*name)).is_some() {}
        pending.is_empty()
    }
}

impl RequestQueue {
    /// As [`follow`](Self::follow), where a command of somebody has a range of the disk for itself.
    #[cold]
    pub(super) fn follow_fenced(&mut self, slot: SlotIndex, step: Step, cx: &mut Cx) {
        if let Step::Block(op) = step
            && self.has_room(slot, &op)
        {
            self.slots.get(slot).op = op;
            if self.stand_behind(slot, cx) {
                return;
            }
        }
        self.follow(slot, step, cx);
    }

    /// The operation of the request in `slot` waits if it touches what a command has for itself. Whether it does.
    pub(super) fn stand_behind(&mut self, slot: SlotIndex, cx: &mut Cx) -> bool {
        let state = self.slots.get(slot);
        let BlockOp { offset, len, .. } = state.op;
        let disk = self.queue.luns.entry(state.entry).disk.as_ref();
        let Some(waiter) = disk.and_then(|disk| disk.sharing.wait_for(offset, len)) else { return false };
        self.slots.get(slot).phase = Phase::Waiting;
        self.fenced.push_back((slot, waiter));
        cx.has_waiting = true;
        true
    }

    /// Goes on with what need not wait any more; with how many.
    pub(super) fn submit_fenced(&mut self, cx: &mut Cx) -> usize {
        let mut taken = 0;
        for _ in 0..self.fenced.len() {
            let (slot, waiter) = self.fenced.pop_front().expect("counted");
            if waiter.must_wait() {
                self.fenced.push_back((slot, waiter));
            } else {
                taken += 1;
                self.submit(slot, cx);
            }
        }
        taken
    }

    /// The names of requests whose operation is in flight there.
    fn flights(&mut self, sharing: &Arc<Sharing>, stripes: Stripes, pending: &mut Vec<RequestName>) {
        let all: Vec<_> = self.slots.iter_busy().map(|(slot, _)| slot).collect();
        for slot in all {
            let name = self.name(slot);
            pending.extend(self.flies(name, sharing, stripes).then_some(name));
        }
    }

    /// Whether an operation of a request is in flight there.
    fn flies(&mut self, name: RequestName, sharing: &Arc<Sharing>, stripes: Stripes) -> bool {
        if !self.slots.holds(name.slot, name.generation) {
            return false;
        }
        let slot = self.slots.get(name.slot);
        if slot.phase != Phase::InFlight {
            return false;
        }
        let own = self.queue.luns.entry(slot.entry).disk.as_ref();
        let of_long = self.longs.operation(name.slot);
        let (disk, op) = of_long.map_or((own, slot.op), |(disk, op)| (Some(disk), op));
        disk.is_some_and(|disk| Arc::ptr_eq(&disk.sharing, sharing)) && Stripes::of(op.offset, op.len).touch(stripes)
    }
}

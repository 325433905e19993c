//! Operations of one queue that touch what a command of somebody has for itself (see [`fence`](super::sharing::fence)), and wait
//! for its end; and the operations that such a command waits for.

use std::collections::VecDeque;

use reactor::Pass;

use crate::scsi::{BlockOp, Step};

use super::cx::Cx;
use super::long::Longs;
use super::lun_map::LunMap;
use super::request_queue::RequestQueue;
use super::sharing::fence::{Range, Waiter};
use super::slots::{Phase, Slot};
use super::tag::{RequestName, SlotIndex};
use super::worker::Worker;

/// Requests that wait, in order.
pub(super) type Fenced = VecDeque<(SlotIndex, Waiter)>;

/// Operations of one core that were in flight in a range when a command was about to have it for itself.
#[derive(Debug)]
pub(super) struct Flights {
    range: Range,
    pending: Vec<RequestName>,
    /// Arrives when they have ended.
    _pass: Pass,
}

impl Flights {
    /// Those of the queues of a core.
    pub(super) fn collect(range: Range, pass: Pass, workers: &mut [Option<Box<Worker>>]) -> Self {
        let mut pending = Vec::new();
        for worker in workers.iter_mut().flatten() {
            if let Worker::Request(worker) = &mut **worker
                && !worker.is_idle()
            {
                worker.flights(&range, &mut pending);
            }
        }
        Self { range, pending, _pass: pass }
    }

    /// Whether all have ended, one look a pass, however many there are; or nobody wants to know any more.
    pub(super) fn have_ended(&mut self, workers: &mut [Option<Box<Worker>>]) -> bool {
        let Self { range, pending, .. } = self;
        let mut flies = |name: RequestName| match workers[usize::from(name.worker.0)].as_deref_mut() {
            Some(Worker::Request(worker)) => worker.flies(name, range),
            _ => false,
        };
        while pending.pop_if(|name| !flies(*name)).is_some() {}
        pending.is_empty() || range.is_forgotten()
    }

    /// Their requests, as far as they have not been seen to have ended.
    pub(super) fn pending(&self) -> &[RequestName] {
        &self.pending
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
        // As with long commands: what others wait for goes on.
        if self.queue.is_draining() && !cx.is_waited_for(self.queue.life) {
            self.put_back_fenced();
        }
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

    /// What has not begun is forgotten but for its head, where the queue is about to rest: whoever has the range may wait for long.
    fn put_back_fenced(&mut self) {
        let mut heads = Vec::new();
        for _ in 0..self.fenced.len() {
            let (slot, waiter) = self.fenced.pop_front().expect("counted");
            let state = self.slots.get(slot);
            if state.is_late {
                self.fenced.push_back((slot, waiter));
                continue;
            }
            if let Some(stood_in) = state.stood_in.take() {
                self.queue.release(&stood_in);
            }
            heads.push(self.slots.give_back(slot));
        }
        self.queue.put_back(heads);
    }

    /// The names of requests whose operation is in flight there.
    fn flights(&mut self, range: &Range, pending: &mut Vec<RequestName>) {
        let Self { slots, longs, queue, index: worker, .. } = self;
        for (slot, state) in slots.iter_busy() {
            if is_in(range, (slot, state), longs, &queue.luns) {
                pending.push(RequestName { worker: *worker, slot, generation: state.generation });
            }
        }
    }

    /// Whether an operation of a request is in flight there.
    fn flies(&mut self, name: RequestName, range: &Range) -> bool {
        let Self { slots, longs, queue, .. } = self;
        slots.holds(name.slot, name.generation) && is_in(range, (name.slot, slots.get(name.slot)), longs, &queue.luns)
    }
}

/// Whether the operation of the request in a slot is in flight in a range. Those of long commands that wait are made ready anew.
fn is_in(range: &Range, (index, slot): (SlotIndex, &Slot), longs: &Longs, luns: &LunMap) -> bool {
    let waits = slot.phase == Phase::Waiting && !longs.holds(index);
    if slot.phase != Phase::InFlight && !(waits && range.holds_waiting()) {
        return false;
    }
    let own = luns.entry(slot.entry).disk.as_ref();
    let (disk, op) = longs.operation(index).map_or((own, slot.op), |(disk, op)| (Some(disk), op));
    disk.is_some_and(|disk| range.holds(&disk.sharing, op.offset, op.len))
}

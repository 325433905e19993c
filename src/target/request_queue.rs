//! A request queue on its reactor: takes chains from the ring (most of them by the [`batch`](super::batch)), gives answers
//! back. What happens in between is in [`execute`](super::execute).
//!
//! Order within one queue: chains start in the order in which the driver made them available, and end in whatever order
//! their operations do, as virtio and SAM allow for SIMPLE tasks.

use std::collections::VecDeque;

use crate::scsi::{Attention, ModeValues};
use crate::virtio::ring::{Chain, Head, UsualChain};
use crate::virtio_scsi::{CommandRequest, CommandResponse, DataLayout, Direction, Framing, ResponseCode};
use crate::virtio_scsi::{SENSE_SIZE_MAX, write_command_response};

use super::batch::BATCH;
use super::begun::Begun;
use super::courier::{JobId, Piece};
use super::cx::Cx;
use super::disk::Disk;
use super::fenced::Fenced;
use super::known::KnownUnits;
use super::long::Longs;
use super::lun_map::Leaving;
use super::message::Scope;
use super::peers::Crew;
use super::portion::Portion;
use super::remote::{Task, Untaken};
use super::slots::{Marks, Phase, Slot, Slots, Verdict};
use super::stood_in::StoodIn;
use super::tag::{RequestName, SlotIndex, WorkerIndex};
use super::task_set::Held;
use super::worker::Queue;

/// Chains that one queue takes in one pass if their disks make them wait: a pass is not to become so long that others miss theirs.
const WAITING_MAX: u16 = 64;

/// A request queue. On cache lines of its own, as its slots are.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct RequestQueue {
    pub(crate) queue: Queue,
    pub(crate) index: WorkerIndex,
    pub(crate) framing: Framing,
    /// `VIRTIO_SCSI_F_INOUT` was agreed upon.
    pub(super) both_ways: bool,
    pub(crate) slots: Slots,
    /// What those of them have beside that take several steps.
    pub(crate) longs: Longs,
    /// Operations that wait for room in their channel, and long commands between two steps, in order.
    pub(crate) waiting: VecDeque<SlotIndex>,
    /// Operations that wait for the end of a command which has a range for itself.
    pub(super) fenced: Fenced,
    /// Requests that task management or other commands hold back, in order.
    pub(crate) held_back: VecDeque<Held>,
    /// Long commands that were put back after they had been started.
    pub(super) begun: Begun,
    pub(crate) crew: Crew,
    pub(super) known: KnownUnits,
    portion: Portion,
    /// The chain that was popped last.
    pub(super) chain: Chain,
    /// Those of this pass.
    pub(super) batch: [UsualChain; BATCH],
}

impl RequestQueue {
    pub(crate) fn new(queue: Queue, framing: Framing, crew: Crew) -> Self {
        debug_assert!(framing.sense_size <= SENSE_SIZE_MAX);
        let size = queue.ring.size();
        Self {
            queue,
            index: WorkerIndex(0),
            framing,
            both_ways: false,
            slots: Slots::new(size),
            longs: Longs::new(size),
            waiting: VecDeque::with_capacity(size.into()),
            fenced: Fenced::new(),
            held_back: VecDeque::new(),
            begun: Begun::default(),
            crew,
            known: KnownUnits::new(),
            portion: Portion::new(),
            chain: Chain::new(),
            batch: [const { UsualChain::empty() }; BATCH],
        }
    }

    /// The same, for requests with data both ways if `both_ways`.
    pub(crate) fn both_ways(self, both_ways: bool) -> Self {
        Self { both_ways, ..self }
    }

    /// One bounded round: answers that have been stored, and new chains.
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Cx) -> usize {
        let settled = if self.queue.remote.is_quiet() { 0 } else { self.queue.push_stored() + self.take_again(cx) };
        match self.queue.available() {
            0 => settled,
            available => settled + self.take_pass(available, cx),
        }
    }

    /// Takes what one pass may take of so many chains; how many it took.
    #[inline]
    fn take_pass(&mut self, available: u16, cx: &mut Cx) -> usize {
        let (room, first) = (self.slots.room(), available.min(self.portion.begin(cx.turn)));
        let taken = self.take(first, cx);
        let waiting = room.saturating_sub(self.slots.room());
        self.portion.end(taken, waiting, &mut cx.turn);
        // Where all of them wait for their disks, the driver has nothing to do with what this pass gives back: the others go to
        // the kernel with the same system call, and to the device with the same doorbell. Not to a file: the first is not to wait
        // for many others before what it came to is looked for.
        let all_wait = taken == usize::from(first) && waiting == taken;
        if all_wait && available > first && !cx.io.has_files() && self.queue.is_accepting() {
            return taken + self.take((available - first).min(WAITING_MAX - first), cx);
        }
        taken
    }

    /// Takes chains that have to be looked at again; how many it took.
    #[cold]
    fn take_again(&mut self, cx: &mut Cx) -> usize {
        let mut taken = 0;
        while let Some((head, stood_in)) = self.queue.take_again(&mut self.chain) {
            self.begin(head, stood_in, cx);
            taken += 1;
        }
        taken
    }

    /// A chain becomes a request, however it is cut; `stood_in` is the memory that stands in for what of it is not shared.
    #[cold]
    pub(super) fn begin(&mut self, head: Head, stood_in: Option<Box<StoodIn>>, cx: &mut Cx) {
        let (request, layout) = match CommandRequest::parse(&self.chain, self.framing) {
            Ok(request) => request,
            Err(error) => {
                self.queue.fail(&error);
                return self.give_back(head, 0, stood_in, None);
            }
        };
        let slot = self.fill_slot(head, &layout);
        if stood_in.is_some() {
            self.slots.get(slot).stood_in = stood_in;
        }
        if !self.begun.is_empty() {
            let name = self.name(slot);
            self.begun.recognize(self.slots.get(slot).chain(), name);
            if self.begun.is_lost(name) {
                return self.end_lost(slot, &request);
            }
        }
        self.execute(slot, &request, cx);
        self.forget_begun();
    }

    /// Moves the chain's segments to a slot: those of the response, then those of the data.
    fn fill_slot(&mut self, head: Head, layout: &DataLayout) -> SlotIndex {
        let (chain, direction) = (&self.chain, layout.direction());
        let slot = self.slots.take(head, chain.readable().len() + chain.writable().len());
        let is_both = direction == Direction::Both;
        self.slots.get(slot).marks = if is_both { Marks::BOTH_WAYS } else { Marks::empty() };
        self.fill_data(slot, layout, direction == Direction::Out);
        slot
    }

    /// The request in `slot`, whose chain was popped last, has buffers both ways, and uses those from the driver.
    #[cold]
    pub(super) fn fill_other_way(&mut self, slot: SlotIndex) {
        let layout = DataLayout::of(&self.chain, self.framing).expect("it was a request when it was popped");
        self.fill_data(slot, &layout, true);
    }

    fn fill_data(&mut self, slot: SlotIndex, layout: &DataLayout, data_out: bool) {
        let (chain, state) = (&self.chain, self.slots.get(slot));
        let (used, other) = (layout.data_in_len, layout.data_out_len);
        (state.data_len, state.other_len) = if data_out { (other, used) } else { (used, other) };
        state.data_out = data_out;
        self.slots.fill(slot, |list| {
            let mut count = 0;
            for segment in layout.response(chain) {
                list[count] = segment;
                count += 1;
            }
            let response = count;
            for segment in if data_out { layout.data_out(chain) } else { layout.data_in(chain) } {
                list[count] = segment;
                count += 1;
            }
            (response, count - response)
        });
    }

    /// Ends a request: writes its response, and gives its chain back with `data_in` bytes of data behind the response.
    pub(crate) fn respond(&mut self, slot: SlotIndex, response: &CommandResponse<'_>, data_in: u64) {
        let written = write_command_response(self.slots.response(slot), response, self.framing.sense_size);
        let state = self.slots.get(slot);
        let (stood_in, address, id) = (state.stood_in.take(), state.address, state.id);
        if state.marks.contains(Marks::ACA) {
            self.queue.luns.entry(state.entry).standing.aca_task_ended(id);
        }
        let task = stood_in.is_some().then(|| Task { name: self.name(slot), address, id });
        let head = self.slots.give_back(slot);
        self.give_back(head, written + data_in as u32, stood_in, task);
    }

    /// Gives a chain back, at once unless something of its answer has to be stored before.
    #[inline]
    fn give_back(&mut self, head: Head, written: u32, stood_in: Option<Box<StoodIn>>, task: Option<Task>) {
        match stood_in {
            None => self.queue.ring.push(head, written),
            Some(stood_in) => self.queue.finish(head, written, &stood_in, task),
        }
    }

    /// Something was fetched from memory that is not shared.
    pub(crate) fn fetched(&mut self, id: JobId, pieces: Vec<Piece>, cx: &mut Cx) {
        if let Some((head, stood_in)) = self.queue.take_fetched((id, pieces), &mut self.chain) {
            self.begin(head, Some(stood_in), cx);
        }
    }

    /// Ends a request that was not executed.
    #[cold]
    pub(crate) fn refuse(&mut self, slot: SlotIndex, response: ResponseCode) {
        let state = self.slots.get(slot);
        let len = state.data_len + state.unused_len();
        self.respond(slot, &CommandResponse::not_executed(response, len), 0);
    }

    /// Whether a request that has been started uses a disk, in whatever size. One that waits for the work on it does not.
    pub(crate) fn uses(&mut self, disk: &Disk) -> bool {
        let Self { slots, longs, queue, .. } = self;
        slots.iter_busy().any(|(index, slot)| {
            let is_its = queue.luns.entry(slot.entry).disk.as_ref().is_some_and(|its| its.is_same(disk));
            slot.phase != Phase::Barred && (is_its || longs.is_at(index, disk)) && !longs.waits_for_work(index)
        })
    }

    /// The name of the request in `slot`.
    pub(crate) fn name(&mut self, slot: SlotIndex) -> RequestName {
        RequestName { worker: self.index, slot, generation: self.slots.get(slot).generation }
    }

    /// Whether a request has not been given back to the driver.
    pub(crate) fn is_open(&self, name: RequestName) -> bool {
        self.slots.holds(name.slot, name.generation) || self.queue.remote.is_storing(name)
    }

    /// Whether there is something to be tried again.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.fenced.is_empty()
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.slots.busy() == 0
    }

    /// Takes all that the driver has made available by now, so that task management finds it: commands in its scope are
    /// barred and do not start. There is room for them all, for a ring has as many slots as entries. What is made available
    /// meanwhile is new to the function: to go on with that would be to go on for as long as a driver likes. If something
    /// has to be fetched first, or the queue rests, tells up to where it is not new.
    pub(crate) fn take_all(&mut self, cx: &mut Cx) -> Option<Untaken> {
        self.take_again(cx);
        let available = self.queue.available();
        self.take(available, cx);
        self.queue.untaken()
    }

    /// Ends the requests in `scope`: those not yet started at once, the others as soon as their channel gives them back;
    /// `pending` gets the names of those.
    pub(crate) fn end_tasks(&mut self, scope: Scope, verdict: Verdict, pending: &mut Vec<RequestName>, cx: &mut Cx) {
        pending.extend(self.queue.remote.in_scope(scope));
        let matches = |slot: &Slot| scope.holds(slot.address, slot.id);
        let found: Vec<_> = self.slots.iter_busy().filter(|(_, slot)| matches(slot)).map(|(index, _)| index).collect();
        for index in found {
            pending.push(self.name(index));
            self.end_early(index, verdict, cx);
        }
        self.forget_ended();
    }

    /// Ends the requests on logical units that were removed, as [`RequestQueue::end_tasks`] does. Those on units that were
    /// replaced end in their own time. What is held back looks for its unit when it begins, unless a rest put it back after that.
    pub(crate) fn leave(&mut self, pending: &mut Vec<RequestName>, cx: &mut Cx) {
        let Self { queue, slots, longs, waiting, begun, index: worker, .. } = self;
        let luns = &queue.luns;
        waiting.iter().for_each(|&slot| longs.lose(slot, |disk| luns.has_left(disk)));
        begun.lose(|standing| luns.is_removed(standing));
        let name = |slot, state: &Slot| RequestName { worker: *worker, slot, generation: state.generation };
        let has_begun = |index, slot: &Slot| slot.phase != Phase::Barred || begun.is_lost(name(index, slot));
        let on_units = slots.iter_busy().filter(|(index, slot)| has_begun(*index, slot));
        let found: Vec<_> = on_units.filter_map(|(index, slot)| Some((index, luns.leaving(slot.entry)?))).collect();
        for (index, how) in found {
            pending.push(self.name(index));
            if how == Leaving::Removed {
                self.end_early(index, Verdict::Removed, cx);
            }
        }
        self.forget_ended();
    }

    /// Ends a request with `verdict`, unless another came first: at once or, if a channel has it, when that gives it back.
    fn end_early(&mut self, index: SlotIndex, verdict: Verdict, cx: &mut Cx) {
        let slot = self.slots.get(index);
        let (phase, is_first) = (slot.phase, slot.verdict.is_none());
        slot.verdict.get_or_insert(verdict);
        match phase {
            // One that asked for what is being done just now ends when that is done.
            Phase::Barred | Phase::Waiting if self.longs.gives_up(index) => self.end_with_verdict(index),
            Phase::Barred | Phase::Waiting => {}
            // To ask its channel once is enough, however many want it.
            Phase::InFlight if is_first => self.cancel(index, cx),
            Phase::InFlight => {}
            Phase::Free => unreachable!("a busy slot is not free"),
        }
    }

    /// Requests that were ended no longer wait.
    fn forget_ended(&mut self) {
        let Self { slots, waiting, fenced, held_back, .. } = self;
        waiting.retain(|&index| slots.get(index).phase == Phase::Waiting);
        fenced.retain(|&(index, _)| slots.get(index).phase == Phase::Waiting);
        held_back.retain(|held| slots.get(held.slot).phase == Phase::Barred);
        self.forget_begun();
    }

    /// Of commands that were put back, and ended before they went on, nothing is left.
    pub(super) fn forget_begun(&mut self) {
        let Self { slots, begun, .. } = self;
        begun.forget(|name| slots.holds(name.slot, name.generation));
    }

    /// How another initiator ends the commands in `scope`. TAS of the control mode page says whether each of those that are
    /// aborted tells of it by its status, or a unit attention of all (SAM-5, aborting commands); a reset has its own.
    pub(crate) fn verdict_of_another(&mut self, scope: Scope, verdict: Verdict) -> Verdict {
        let Scope::Unit(address) = scope else { return verdict };
        if verdict == Verdict::Reset || !self.has_tasks(scope) {
            return verdict;
        }
        let luns = &self.queue.luns;
        let Some(entry) = luns.find(address) else { return verdict };
        let standing = &luns.entry(entry).standing;
        if standing.mode().current.has(ModeValues::TAS) {
            return Verdict::TaskAborted;
        }
        standing.raise(Attention::CommandsCleared);
        verdict
    }

    /// Whether there is a request in `scope` that the driver has not got back.
    pub(crate) fn has_tasks(&mut self, scope: Scope) -> bool {
        let answered = self.queue.remote.in_scope(scope).next().is_some();
        answered || self.slots.iter_busy().any(|(_, slot)| scope.holds(slot.address, slot.id))
    }

    /// The queue is about to rest: what has not been started is forgotten but for its head, for it may be long until then.
    pub(crate) fn put_back(&mut self) {
        let mut heads = Vec::new();
        for Held { slot, .. } in self.held_back.drain(..) {
            let generation = self.slots.get(slot).generation;
            self.begun.put_back(RequestName { worker: self.index, slot, generation });
            if let Some(stood_in) = self.slots.get(slot).stood_in.take() {
                self.queue.release(&stood_in);
            }
            heads.push(self.slots.give_back(slot));
        }
        self.queue.put_back(heads);
    }

    /// Asks the channels for everything in flight; the device is being reset.
    pub(crate) fn cancel_all(&mut self, cx: &mut Cx) {
        let busy: Vec<_> = self.slots.iter_busy().map(|(index, slot)| (index, slot.phase)).collect();
        for (index, phase) in busy {
            let is_first = self.slots.get(index).verdict.replace(Verdict::Reset).is_none();
            match phase {
                Phase::InFlight if is_first => self.cancel(index, cx),
                Phase::InFlight => {}
                _ if self.longs.gives_up(index) => self.end_with_verdict(index),
                _ => {}
            }
        }
        self.forget_ended();
    }
}

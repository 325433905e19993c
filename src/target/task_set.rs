//! Task attributes (SAM-5, clause 8): which command of a logical unit may start before which, over all queues and reactors
//! of a controller.
//!
//! Nothing of this is on the way of SIMPLE commands, as long as there are no others. An ORDERED command takes a ticket, for
//! there is one at a time in each logical unit. When it is the first, every reactor is told: it takes what is in its rings,
//! bars what comes after that, and says when all that was there before has ended. Then the command starts, and when the
//! driver can see its end the bars are lifted. A HEAD OF QUEUE command starts at once, and bars what has not started. Both
//! are *privileged* until they end.
//!
//! "Before" is the order in which commands are taken from the rings. Within a queue that is the order of the driver, and a
//! command that was made available in any queue before an ORDERED one was, and that no other ORDERED command holds back,
//! ends before it starts.
//!
//! An auto contingent allegiance (NACA of a CDB, and a CHECK CONDITION) is a bit of the [`Standing`](super::standing::Standing),
//! which every command looks at. What comes is refused with ACA ACTIVE; what has started goes on; what is held back here stays
//! so until the allegiance ends. Each way in which it can end ends those, too, or is followed by [`Message::Lift`].

use std::sync::{Mutex, MutexGuard, PoisonError};

use reactor::Gate;

use crate::scsi::Outcome;
use crate::virtio_scsi::spec::{TASK_ATTR_ACA, TASK_ATTR_HEAD, TASK_ATTR_ORDERED, TASK_ATTR_SIMPLE};
use crate::virtio_scsi::{Address, ResponseCode};

use super::adapter::Adapter;
use super::cx::{Bar, Cx, Holds, Order};
use super::lun_map::Entry;
use super::message::{BarId, Life, Message, Purpose, Scope};
use super::peers::Peers;
use super::request_queue::RequestQueue;
use super::slots::{Marks, Phase};
use super::tag::{RequestName, SlotIndex};

/// ORDERED and HEAD OF QUEUE commands of a life that one reactor knows at a time: each costs every look at what is held back,
/// on every reactor. HEAD OF QUEUE commands that task management holds back count in their own queue alone. Those that had begun
/// before a rest come on top, at most as many again.
const PRIVILEGED_MAX: usize = 64;

/// ORDERED commands of a controller that have not ended, in the order in which they were taken.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<Vec<(Life, Address, BarId)>>);

/// A task attribute that a command can have here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attribute {
    Simple,
    Ordered,
    Head,
    Aca,
}

/// A command that was taken and has not started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub(crate) slot: SlotIndex,
    pub(crate) attribute: Attribute,
    /// When it came to be in the task set; not yet if an ORDERED command before it in its queue is not.
    pub(crate) order: Option<Order>,
    /// That of an ORDERED command.
    pub(crate) bar: Option<BarId>,
}

/// A command that others wait for, at its reactor.
#[derive(Debug)]
pub(crate) struct Privileged {
    pub(crate) life: Life,
    pub(crate) name: RequestName,
    adapter: std::sync::Arc<Adapter>,
    address: Address,
    bar: BarId,
    stage: Stage,
    peers: Peers,
}

/// How far it is.
#[derive(Debug)]
enum Stage {
    /// Others have an earlier ticket.
    Waits,
    /// What was there before is being waited for.
    Asked(Gate),
    /// It may start, or has.
    Ready,
    /// It has ended, and the reactors are being told.
    Ended,
}

impl Tickets {
    fn get(&self) -> MutexGuard<'_, Vec<(Life, Address, BarId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_first(&self, life: Life, address: Address, bar: BarId) -> bool {
        let tickets = self.get();
        let first = tickets.iter().find(|&&(its, at, _)| its == life && at == address);
        first.is_some_and(|&(.., first)| first == bar)
    }
}

impl Held {
    fn new(slot: SlotIndex, attribute: Attribute) -> Self {
        Self { slot, attribute, order: None, bar: None }
    }

    /// Whether a barrier that is put up now has to wait for it.
    pub(crate) fn is_older(&self) -> bool {
        match self.attribute {
            Attribute::Simple => self.order.is_some(),
            Attribute::Head | Attribute::Aca => true,
            // Its ticket says when its turn is.
            Attribute::Ordered => false,
        }
    }
}

impl Privileged {
    /// Goes on, if it can. True if it may start now.
    pub(crate) fn advance(&mut self) -> bool {
        self.peers.flush();
        match &self.stage {
            Stage::Waits if self.is_first() => {
                let (gate, passes) = Gate::new(self.peers.count());
                for (reactor, pass) in passes.into_iter().enumerate() {
                    let (life, bar, origin) = (self.life, self.bar, self.peers.crew.home.clone());
                    let (scope, purpose) = (Scope::Unit(self.address), Purpose::Outlast);
                    self.peers.post(reactor, Message::Tasks { life, bar, scope, purpose, pass, origin });
                }
                self.stage = Stage::Asked(gate);
                false
            }
            Stage::Asked(gate) if gate.is_open() => {
                self.stage = Stage::Ready;
                true
            }
            _ => false,
        }
    }

    /// Whether it can go on although nobody has told its reactor.
    pub(crate) fn can_advance(&self) -> bool {
        match &self.stage {
            Stage::Waits => self.is_first(),
            Stage::Asked(gate) => gate.is_open(),
            Stage::Ready | Stage::Ended => false,
        }
    }

    /// Whether it has something to say that found no room.
    pub(crate) fn must_be_polled(&self) -> bool {
        !self.peers.is_quiet()
    }

    fn is_first(&self) -> bool {
        self.adapter.tickets.is_first(self.life, self.address, self.bar)
    }

    /// The driver has got it back, or given it up: those that wait for it go on.
    pub(crate) fn end(&mut self) {
        if matches!(self.stage, Stage::Ended) {
            return;
        }
        self.stage = Stage::Ended;
        // Before the message: who waits for its turn looks when that comes.
        self.adapter.tickets.get().retain(|&(.., bar)| bar != self.bar);
        for reactor in 0..self.peers.count() {
            self.peers.post(reactor, Message::Lift { life: self.life, bar: self.bar });
        }
    }

    /// Whether it has ended and everybody knows.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended) && self.peers.is_quiet()
    }
}

impl Cx {
    /// Whether a command of `life` that has not started may not yet.
    fn must_wait(&self, life: Life, (address, id): (Address, u64), held: &Held) -> bool {
        let bars = self.bars.iter().filter(|bar| bar.life == life && bar.scope.holds(address, id));
        let is_held = |bar: &Bar| match bar.holds {
            Holds::All => true,
            Holds::Dormant => !matches!(held.attribute, Attribute::Head | Attribute::Aca),
            Holds::Newer(than) => held.attribute == Attribute::Simple && held.order.is_none_or(|order| order > than),
            Holds::Nothing => false,
        };
        let has_turn = |bar| self.privileged.iter().any(|own| own.bar == bar && matches!(own.stage, Stage::Ready));
        bars.into_iter().any(is_held) || held.bar.is_some_and(|bar| !has_turn(bar))
    }

    /// Whether this is an ORDERED command whose barrier has not been put up at this reactor, which is its own.
    fn is_to_come(&self, held: &Held) -> bool {
        let to_come = |bar| self.bars.iter().any(|other| other.id == bar && other.holds == Holds::Nothing);
        held.bar.is_some_and(to_come)
    }

    /// Whether others of `life` wait for a command of this reactor.
    pub(super) fn is_waited_for(&self, life: Life) -> bool {
        self.privileged.iter().any(|own| own.life == life)
    }

    /// A command that comes now, or a barrier.
    pub(super) fn next_order(&mut self) -> Order {
        self.clock.0 += 1;
        self.clock
    }
}

impl RequestQueue {
    /// A decoded command that is not SIMPLE, or that comes while something is in its way, comes to the task set.
    #[cold]
    pub(super) fn enter(&mut self, slot: SlotIndex, task_attr: u8, cx: &mut Cx) {
        let has_begun = self.has_begun(slot);
        let state = self.slots.get(slot);
        let entry = self.queue.luns.entry(state.entry);
        let mut held = Held::new(slot, Attribute::Simple);
        match task_attr {
            TASK_ATTR_SIMPLE | TASK_ATTR_ORDERED | TASK_ATTR_HEAD if entry.standing.has_aca() && !has_begun => {
                return self.end(slot, &Outcome::ACA_ACTIVE, 0);
            }
            TASK_ATTR_ORDERED | TASK_ATTR_HEAD if !has_begun && self.is_full(cx) => {
                return self.end(slot, &Outcome::TASK_SET_FULL, 0);
            }
            TASK_ATTR_SIMPLE => {}
            // Where there is no disk, too: one may come before it starts.
            TASK_ATTR_ORDERED => held = self.queue_up(slot, cx),
            TASK_ATTR_HEAD => held.attribute = Attribute::Head,
            TASK_ATTR_ACA => held.attribute = Attribute::Aca,
            _ => return self.refuse(slot, ResponseCode::FAILURE),
        }
        let is_behind = held.attribute == Attribute::Simple && self.is_behind(slot, cx);
        if !self.start_held(held, is_behind, cx) {
            self.slots.get(slot).phase = Phase::Barred;
        }
    }

    /// Whether no more commands may come that others wait for, those included that are held back themselves.
    fn is_full(&self, cx: &Cx) -> bool {
        let known = cx.privileged.iter().filter(|own| own.life == self.queue.life).count();
        let heads = self.held_back.iter().filter(|held| held.attribute == Attribute::Head).count();
        known + heads >= PRIVILEGED_MAX
    }

    /// Whether an ORDERED command to the same logical unit is before it in this queue, and its barrier is not up.
    fn is_behind(&mut self, slot: SlotIndex, cx: &Cx) -> bool {
        let Self { slots, held_back, .. } = self;
        let address = slots.get(slot).address;
        held_back.iter().any(|held| cx.is_to_come(held) && slots.get(held.slot).address == address)
    }

    /// An ORDERED command takes its ticket.
    fn queue_up(&mut self, slot: SlotIndex, cx: &mut Cx) -> Held {
        let (bar, life, address, name) =
            (BarId::next(), self.queue.life, self.slots.get(slot).address, self.name(slot));
        self.queue.adapter.tickets.get().push((life, address, bar));
        cx.bars.push(Bar { life, id: bar, scope: Scope::Unit(address), holds: Holds::Nothing });
        self.add_privileged(name, address, (bar, Stage::Waits), cx);
        Held { bar: Some(bar), ..Held::new(slot, Attribute::Ordered) }
    }

    fn add_privileged(&self, name: RequestName, address: Address, (bar, stage): (BarId, Stage), cx: &mut Cx) {
        let (life, adapter, peers) = (self.queue.life, self.queue.adapter.clone(), Peers::new(self.crew.clone()));
        cx.privileged.push(Privileged { life, name, adapter, address, bar, stage, peers });
    }

    /// Starts a command unless something is in its way: a bar, or, if it `is_behind` one, an ORDERED command before it in this
    /// queue. If so it is held back. Whether it has started.
    fn start_held(&mut self, mut held: Held, is_behind: bool, cx: &mut Cx) -> bool {
        let slot = self.slots.get(held.slot);
        let (address, id) = (slot.address, slot.id);
        let is_fenced = held.attribute == Attribute::Simple && held.order.is_none() && is_behind;
        if !is_fenced && held.order.is_none() {
            held.order = Some(cx.next_order());
        }
        if is_fenced || cx.must_wait(self.queue.life, (address, id), &held) || self.is_blocked(&held) {
            self.held_back.push_back(held);
            return false;
        }
        let name = self.name(held.slot);
        if held.attribute == Attribute::Aca {
            self.start_aca(held.slot, cx);
            return true;
        }
        self.start_again(held.slot, cx);
        if held.attribute == Attribute::Head && self.is_open(name) {
            self.overtake(name, address, cx);
        }
        true
    }

    /// Whether an auto contingent allegiance holds back a command that was there before it (SAM-5, blocked state). Nobody can
    /// tell such a command anything: it waits until the allegiance ends. What has started goes on, also after a rest.
    fn is_blocked(&mut self, held: &Held) -> bool {
        let address = self.slots.get(held.slot).address;
        held.attribute != Attribute::Aca
            && self.unit_at(address).is_some_and(|entry| entry.standing.has_aca())
            && !self.has_begun(held.slot)
    }

    /// Whether the command in `slot` was put back after it had started: it may have written.
    fn has_begun(&mut self, slot: SlotIndex) -> bool {
        let name = self.name(slot);
        let state = self.slots.get(slot);
        self.begun.has(name, &state.command, &self.queue.luns.entry(state.entry).standing)
    }

    /// What answers at `address` now.
    fn unit_at(&self, address: Address) -> Option<&Entry> {
        let luns = &self.queue.luns;
        luns.find(address).map(|entry| luns.entry(entry))
    }

    /// A command with the ACA attribute starts, if there is an allegiance that it can belong to.
    #[cold]
    fn start_aca(&mut self, slot: SlotIndex, cx: &mut Cx) {
        let state = self.slots.get(slot);
        let (address, id) = (state.address, state.id);
        if let Some(Err(outcome)) = self.unit_at(address).map(|entry| entry.standing.claim_aca(id)) {
            if self.has_begun(slot) {
                // Its allegiance ended while it rested.
                return self.start_again(slot, cx);
            }
            return self.end(slot, &outcome, 0);
        }
        self.join_aca(slot, cx);
        self.start_again(slot, cx);
    }

    /// The command in `slot` belongs to an allegiance, which may end with it: then what that held back goes on.
    #[cold]
    pub(super) fn join_aca(&mut self, slot: SlotIndex, cx: &mut Cx) {
        let (name, state) = (self.name(slot), self.slots.get(slot));
        state.marks.insert(Marks::ACA);
        let address = state.address;
        self.add_privileged(name, address, (BarId::next(), Stage::Ready), cx);
    }

    /// A HEAD OF QUEUE command has started: what has not waits for it, everywhere.
    fn overtake(&mut self, name: RequestName, address: Address, cx: &mut Cx) {
        let (bar, life, scope) = (BarId::next(), self.queue.life, Scope::Unit(address));
        cx.bars.push(Bar { life, id: bar, scope, holds: Holds::Dormant });
        self.add_privileged(name, address, (bar, Stage::Ready), cx);
        let peers = &mut cx.privileged.last_mut().expect("just added").peers;
        let (_, passes) = Gate::new(peers.count());
        for (reactor, pass) in passes.into_iter().enumerate() {
            let origin = peers.crew.home.clone();
            peers.post(reactor, Message::Tasks { life, bar, scope, purpose: Purpose::Overtake, pass, origin });
        }
    }

    /// Starts requests that were held back and are no more, the oldest first.
    pub(crate) fn start_lifted(&mut self, cx: &mut Cx) {
        let mut fenced = Vec::new();
        for _ in 0..self.held_back.len() {
            let held = self.held_back.pop_front().expect("counted");
            let address = self.slots.get(held.slot).address;
            self.start_held(held, fenced.contains(&address), cx);
            if cx.is_to_come(&held) && !fenced.contains(&address) {
                fenced.push(address);
            }
        }
    }

    /// The commands that an ORDERED one which comes now has to outlast.
    pub(crate) fn tasks_before(&mut self, scope: Scope, pending: &mut Vec<RequestName>) {
        pending.extend(self.queue.remote.in_scope(scope));
        let started = self.slots.iter_busy().filter(|(_, slot)| slot.phase != Phase::Barred);
        let started = started.filter(|(_, slot)| scope.holds(slot.address, slot.id)).map(|(index, _)| index);
        let mut found: Vec<_> = started.collect();
        for held in self.held_back.iter().filter(|held| held.is_older()) {
            let slot = self.slots.get(held.slot);
            if scope.holds(slot.address, slot.id) {
                found.push(held.slot);
            }
        }
        for index in found {
            pending.push(self.name(index));
        }
    }
}

//! Commands in several steps, driven from step to step.
//!
//! Owns what such a command has beside its slot: its task, its memory, its lock. A step is done when the command begins and
//! then one a pass, however fast its disk is, so that no command keeps a reactor to itself. Between two steps it stands in
//! the queue's list of those that wait, where task management and resets find it as any other; there it also waits for
//! memory, for its lock, or for room in its channel.
//!
//! A queue that is about to rest does not wait for the end of a command that may be long: between two steps it is forgotten
//! but for its head, and begins again after the rest; or it keeps its task, without memory, and goes on where it was (see
//! [`begun`](super::begun)). One that has a range of blocks to itself goes on, for others wait for it and it has but a few
//! steps left; so does one whose demand on what the disk's ports share is being carried out, or whose operation has failed.

use std::sync::Arc;

use bdev::{IoError, Op, Segment, SubmitError};

use crate::scsi::{BlockOp, Desk, LongStep, LongTask, OpMemory, Place};
use crate::virtio_scsi::ResponseCode;

use super::begun::{PutBack, Rested};
use super::cx::Cx;
use super::disk::{Disk, DiskIndex};
use super::job::Owner;
use super::lun_map::LunMap;
use super::request_queue::RequestQueue;
use super::sharing::fence::{Claim, Lock, Others, Waiter};
use super::slots::Phase;
use super::standing::Standing;
use super::tag::{RequestName, SlotIndex};
use super::tally::Kind;
use super::ticket::Ticket;

mod asked;
pub(crate) mod claims;
mod data;
mod end;
pub(crate) mod space;

use claims::Lease;
use data::Data;
use space::Space;

/// Long commands of one queue, by slot.
#[derive(Debug)]
pub(crate) struct Longs(Box<[Option<Box<Long>>]>);

/// A command in progress.
#[derive(Debug)]
struct Long {
    task: Box<dyn LongTask>,
    disk: Arc<Disk>,
    /// Whose disk its operation is for, and what the nexus has there.
    at: Arc<Disk>,
    standing: Arc<Standing>,
    wants: Wants,
    space: Option<Space>,
    lock: Option<Lock>,
    /// Its place among those who want one.
    claim: Option<Claim>,
    /// Its operation waits for what another one has for itself.
    waiter: Option<Waiter>,
    /// The end of the work that it has begun, or the answer to its demand.
    ticket: Option<Ticket>,
    /// What others had begun before what it has changed.
    others: Option<Others>,
    /// The operation that it waits for or has in flight.
    op: BlockOp,
    /// It is among the commands that were counted.
    is_counted: bool,
    /// Bytes of the initiator's data buffer that have been used, from the first one on.
    used: u64,
}

/// What a command needs to go on.
#[derive(Debug, Clone, Copy)]
enum Wants {
    Memory,
    /// The next step.
    Turn,
    /// The next step after an operation that failed.
    Failed(IoError),
    Lock {
        offset: u64,
        len: u64,
    },
    /// What comes of its demand.
    Answer,
    /// Room in the channel.
    Room,
    /// The end of the work that it has begun.
    Work,
    /// The end of what others had begun.
    Others,
}

impl Longs {
    /// Room for one in each of `size` slots.
    pub(crate) fn new(size: u16) -> Self {
        Self((0..size).map(|_| None).collect())
    }

    /// Whether the request in a slot is one.
    pub(crate) fn holds(&self, slot: SlotIndex) -> bool {
        self.0[usize::from(slot.0)].is_some()
    }

    /// The disk of the operation of the one in a slot, if there is one.
    pub(crate) fn at(&self, slot: SlotIndex) -> Option<DiskIndex> {
        self.0[usize::from(slot.0)].as_ref().map(|long| long.at.index)
    }

    /// The operation of the one in a slot, if there is one, and whose disk it is for.
    pub(crate) fn operation(&self, slot: SlotIndex) -> Option<(&Arc<Disk>, BlockOp)> {
        self.0[usize::from(slot.0)].as_ref().map(|long| (&long.at, long.op))
    }

    /// Whether the one in a slot, if there is one, has its operation on a disk, in whatever size.
    pub(crate) fn is_at(&self, slot: SlotIndex, disk: &Disk) -> bool {
        self.0[usize::from(slot.0)].as_ref().is_some_and(|long| long.at.is_same(disk))
    }

    /// Disks for which `has_left` holds cannot be reached any more: if the one in a slot waits for room at such a disk, which is
    /// not its own, its operation has failed.
    pub(crate) fn lose(&mut self, slot: SlotIndex, has_left: impl Fn(&Disk) -> bool) {
        let Some(long) = &mut self.0[usize::from(slot.0)] else { return };
        if matches!(long.wants, Wants::Room) && long.at.index != long.disk.index && has_left(&long.at) {
            long.wants = Wants::Failed(IoError::NotReady);
        }
    }

    /// Forgets the one in a slot, if there is one. No operation of it is in flight.
    pub(crate) fn forget(&mut self, slot: SlotIndex) {
        if let Some(mut long) = self.0[usize::from(slot.0)].take() {
            long.space.iter_mut().for_each(Space::take_back);
        }
    }

    fn get(&mut self, slot: SlotIndex) -> &mut Long {
        self.0[usize::from(slot.0)].as_deref_mut().expect("the slot has a long command")
    }
}

impl Long {
    fn new(Rested { task, used }: Rested, disk: Arc<Disk>, standing: Arc<Standing>) -> Self {
        Self {
            task,
            at: disk.clone(),
            disk,
            standing,
            wants: Wants::Memory,
            space: None,
            lock: None,
            claim: None,
            waiter: None,
            ticket: None,
            others: None,
            op: BlockOp::FLUSH,
            is_counted: false,
            used,
        }
    }

    /// Whether it can be put back. One that only waits for its range gives that up: what is in the way may be there for long.
    fn may_rest(&mut self) -> bool {
        let has_range = self.lock.as_mut().is_some_and(Lock::is_granted);
        !has_range && !matches!(self.wants, Wants::Answer | Wants::Failed(_))
    }

    /// Gets its memory, if there is some.
    fn take_memory(&mut self) -> bool {
        let len = self.task.memory_len();
        self.space = Lease::take(&self.disk, len).map(|lease| Space::new(len, lease));
        self.space.is_some()
    }

    /// Gets its range, if nobody has it, and nobody has an operation there any more.
    fn take_lock(&mut self, offset: u64, len: u64) -> bool {
        if self.lock.is_none() {
            let claim = self.claim.take().unwrap_or_else(|| self.disk.sharing.claim(offset, len));
            self.lock = claim.lock();
            self.claim = self.lock.is_none().then_some(claim);
        }
        self.lock.as_mut().is_some_and(Lock::is_granted)
    }

    /// Whether its operation touches what another command has for itself.
    fn is_fenced(&mut self) -> bool {
        if self.lock.is_none() && self.waiter.as_ref().is_none_or(|waiter| !waiter.must_wait()) {
            self.waiter = self.at.sharing.wait_for(self.op.offset, self.op.len);
        }
        self.waiter.is_some()
    }

    /// The next step; none if the data buffer is too small for the last one.
    fn step(&mut self, segments: &[Segment], is_out: bool, luns: &LunMap) -> Option<LongStep> {
        let memory = self.space.as_mut().expect("it has its memory").bytes();
        let mut data = Data { segments, is_out, used: self.used, overrun: false };
        let step = match self.wants {
            Wants::Failed(error) => {
                self.task.failed(&self.op, error, &mut Desk { memory, data: &mut data, neighbours: luns })
            }
            _ => self.task.next(&mut Desk { memory, data: &mut data, neighbours: luns }),
        };
        self.used = data.used;
        (!data.overrun).then_some(step)
    }
}

impl RequestQueue {
    /// Begins the long command in `slot`.
    #[cold]
    pub(super) fn begin_long(&mut self, slot: SlotIndex, cx: &mut Cx) {
        let state = self.slots.get(slot);
        let (command, room) = (state.command, if state.data_out { state.data_len } else { 0 });
        let entry = self.queue.luns.entry(state.entry);
        let owner = Owner { life: self.queue.life, id: state.id };
        let name = RequestName { worker: self.index, slot, generation: state.generation };
        let rested = self.begun.take(name, &command, self.queue.luns.place(state.entry));
        let begin = || entry.unit.begin(&command, &entry.condition(Some(owner)));
        let rested = match rested.map_or_else(|| begin().map(|task| Rested { task, used: 0 }), Ok) {
            Ok(rested) => rested,
            Err(outcome) => return self.end_long(slot, &outcome),
        };
        if rested.task.data_out_len() > room {
            return self.refuse(slot, ResponseCode::OVERRUN);
        }
        let disk = entry.disk.as_ref().expect("only a disk has long commands").clone();
        let long = Long::new(rested, disk, entry.standing.clone());
        self.longs.0[usize::from(slot.0)] = Some(Box::new(long));
        self.slots.get(slot).phase = Phase::Waiting;
        if !self.advance(slot, cx) {
            self.stand_by(slot, cx);
        }
    }

    /// Its operation has come to an end: it goes on in the next pass.
    #[cold]
    pub(super) fn continue_long(&mut self, slot: SlotIndex, result: Result<(), IoError>, cx: &mut Cx) {
        let kind = Kind::of(&self.slots.get(slot).command);
        let long = self.longs.get(slot);
        if let Some(kind) = kind.filter(|kind| long.op.kind.is_change() == (*kind == Kind::Write)) {
            let commands = u64::from(!std::mem::replace(&mut long.is_counted, true));
            cx.tally(long.at.index).count(kind, commands, result.map(|()| long.op.len));
        }
        long.space.as_mut().expect("it had an operation").take_back();
        long.wants = result.map_or_else(Wants::Failed, |()| Wants::Turn);
        self.stand_by(slot, cx);
    }

    /// It waits.
    fn stand_by(&mut self, slot: SlotIndex, cx: &mut Cx) {
        self.slots.get(slot).phase = Phase::Waiting;
        self.waiting.push_back(slot);
        cx.has_waiting = true;
    }

    /// Goes on with the long command in `slot` until its next operation or its end. False if it has to wait on.
    #[cold]
    pub(super) fn advance(&mut self, slot: SlotIndex, cx: &mut Cx) -> bool {
        if self.slots.get(slot).verdict.is_some() {
            return self.give_up(slot);
        }
        // What others wait for goes on, or it would come after them.
        if self.queue.is_draining() && !cx.is_waited_for(self.queue.life) && self.longs.get(slot).may_rest() {
            self.put_back_long(slot);
            return true;
        }
        loop {
            let long = self.longs.get(slot);
            let has_it = match long.wants {
                Wants::Memory => long.take_memory(),
                Wants::Lock { offset, len } => long.take_lock(offset, len),
                Wants::Room => return self.submit_long(slot, cx),
                Wants::Work | Wants::Answer => return self.end_with_ticket(slot, cx),
                Wants::Others => return self.end_after_others(slot, cx),
                Wants::Turn | Wants::Failed(_) => match self.step_long(slot, cx) {
                    true => return true,
                    false => continue,
                },
            };
            if !has_it {
                return false;
            }
            self.longs.get(slot).wants = Wants::Turn;
        }
    }

    /// Does one step. True if it was the last one.
    fn step_long(&mut self, slot: SlotIndex, cx: &mut Cx) -> bool {
        let is_out = self.slots.get(slot).data_out;
        let data = self.slots.data(slot);
        let long = self.longs.get(slot);
        match long.step(data, is_out, &self.queue.luns) {
            Some(LongStep::Done(outcome)) => self.end_at(slot, outcome),
            Some(LongStep::Lock { offset, len }) => {
                long.wants = Wants::Lock { offset, len };
                return false;
            }
            Some(LongStep::Background(background)) => return self.begin_work(slot, background, cx),
            Some(LongStep::Share(demand)) => {
                long.ticket = Some(long.disk.sharing.ask(&self.queue.luns.port, demand));
                long.wants = Wants::Answer;
                return false;
            }
            Some(LongStep::Elsewhere(place, op, memory)) => {
                self.prepare_elsewhere(slot, place, op, memory);
                return false;
            }
            Some(LongStep::Block(op, memory)) if self.prepare_long(slot, op, memory) => return false,
            Some(LongStep::Block(..)) | None => {
                self.longs.forget(slot);
                self.refuse(slot, ResponseCode::OVERRUN);
            }
        }
        true
    }

    /// Makes ready for an operation of the disk of another unit: it has failed if that cannot be reached any more.
    fn prepare_elsewhere(&mut self, slot: SlotIndex, place: Place, op: BlockOp, memory: OpMemory) {
        let long = self.longs.get(slot);
        match self.queue.luns.disk_at(place, op.kind.is_change()) {
            Some((disk, standing)) => {
                assert!(matches!(memory, OpMemory::Own { .. }), "the data buffer is for the unit's own disk");
                (long.at, long.standing, long.op, long.wants) = (disk.clone(), standing.clone(), op, Wants::Room);
                long.space.as_mut().expect("it has its memory").prepare(memory, op.len, &[]);
            }
            None => (long.op, long.wants) = (op, Wants::Failed(IoError::NotReady)),
        }
    }

    /// Makes ready for an operation. False if the data buffer is too small for it.
    fn prepare_long(&mut self, slot: SlotIndex, op: BlockOp, memory: OpMemory) -> bool {
        let data_len = self.slots.get(slot).data_len;
        let long = self.longs.get(slot);
        if let OpMemory::Data(at) = memory {
            let end = at + op.len;
            if end > data_len {
                return false;
            }
            long.used = long.used.max(end);
        }
        (long.op, long.wants) = (op, Wants::Room);
        long.space.as_mut().expect("it has its memory").prepare(memory, op.len, self.slots.data(slot));
        true
    }

    fn submit_long(&mut self, slot: SlotIndex, cx: &mut Cx) -> bool {
        let tag = self.name(slot).tag();
        let long = self.longs.get(slot);
        if long.is_fenced() {
            return false;
        }
        // The mode of now: others may have turned the cache off since the command began, and been told so.
        let (kind, BlockOp { offset, len, .. }) = (long.op.in_mode(long.standing.mode().current), long.op);
        let space = long.space.as_mut().expect("it has its memory");
        if kind.is_change() {
            long.at.sharing.change(offset, len);
        }
        let (channel, io) = cx.channel(long.at.index);
        match channel.submit(io, &Op { kind, offset, len, segments: space.lend() }, tag) {
            Ok(()) => {
                self.slots.get(slot).phase = Phase::InFlight;
                true
            }
            Err(SubmitError::Full) => {
                space.take_back();
                false
            }
        }
    }

    /// The queue is about to rest: the command is forgotten but for its head, and its task if that goes on where it was.
    fn put_back_long(&mut self, slot: SlotIndex) {
        let Long { mut task, wants, used, .. } = *self.longs.0[usize::from(slot.0)].take().expect("it is long");
        let rested = task.rest(!matches!(wants, Wants::Room)).then_some(Rested { task, used });
        if let Some(stood_in) = self.slots.get(slot).stood_in.take() {
            self.queue.release(&stood_in);
        }
        let (state, luns) = (self.slots.get(slot), &self.queue.luns);
        let (command, place) = (state.command, luns.place(state.entry));
        let standing = luns.entry(state.entry).standing.clone();
        let head = self.slots.give_back(slot);
        let put_back = PutBack { chain: head.id(), command, place, standing, rested, name: None, is_lost: false };
        self.begun.add(put_back);
        self.queue.put_back(vec![head]);
    }
}

//! Work on the whole medium of a disk that goes on behind the command that began it: FORMAT UNIT, SANITIZE.
//!
//! A job belongs to the core that began it, not to a queue: no reset, abort or rest ends it, only its own end, a failure, or
//! that of the process. It begins when no other operation of its disk is left: whoever may have some is asked, by message.
//! While it goes on, and after it has failed, the disk is *hindered* ([`Hold`]): every logical unit that shows it is marked, so
//! that commands look at the mark that they look at anyway.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bdev::{IoError, Op, SubmitError};
use reactor::Handle;

use crate::scsi::{
    BlockOp, DataBuffer, Designator, Desk, Hindrance, LongStep, LongTask, Neighbour, Neighbours, Outcome, Work,
};
use crate::virtio_scsi::spec::ASYNC_DEVICE_BUSY;

use super::adapter::Adapter;
use super::cx::Cx;
use super::disk::{Disk, DiskIndex};
use super::long::claims::Lease;
use super::long::space::Space;
use super::message::{Life, Message};
use super::roll_call::RollCall;
use super::standing::Standing;
use super::tag::{Generation, NOBODY, RequestName, SlotIndex};
use super::ticket::Ticket;
use super::worker::Worker;

/// The command that began a job. After a rest it comes again, and waits on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) life: Life,
    pub(crate) id: u64,
}

/// The ways to the reactors of a controller.
type Reactors = Arc<[Handle<Message>]>;

/// What keeps everybody from the medium of a disk, and who has to know.
#[derive(Debug, Default)]
pub(crate) struct Hold(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    hindrance: Option<Hindrance>,
    /// The command that waits for the end, if one does.
    running: Option<(Option<Owner>, Ticket)>,
    shown_by: Vec<(Weak<Adapter>, Reactors)>,
}

impl Hold {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What keeps a command from the medium. If it is one that begins jobs, `asker` says which: none that it waits for.
    pub(crate) fn hindrance(&self, asker: Option<Owner>) -> Option<Hindrance> {
        let held = self.held();
        let is_own = |(owner, _): &(Option<Owner>, Ticket)| asker.is_some() && *owner == asker;
        held.hindrance.filter(|_| !held.running.as_ref().is_some_and(is_own))
    }

    /// Whether work goes on.
    pub(crate) fn is_busy(&self) -> bool {
        self.held().running.is_some()
    }

    /// EXIT FAILURE MODE.
    pub(crate) fn exit_failure_mode(&self, disk: &Arc<Disk>) {
        let mut held = self.held();
        if matches!(held.hindrance, Some(Hindrance::After(_))) {
            held.hinder(disk, None);
        }
    }
}

impl Held {
    fn hinder(&mut self, disk: &Arc<Disk>, hindrance: Option<Hindrance>) {
        let is_busy = |hindrance| matches!(hindrance, Some(Hindrance::During(..)));
        let was_busy = is_busy(std::mem::replace(&mut self.hindrance, hindrance));
        self.shown_by.retain(|(adapter, _)| match adapter.upgrade() {
            Some(adapter) => {
                let luns = adapter.luns();
                luns.mark_hindered(disk, hindrance.is_some());
                if was_busy != is_busy(hindrance) {
                    luns.notify_all(disk, ASYNC_DEVICE_BUSY);
                }
                true
            }
            None => false,
        });
    }
}

/// From now on the disks of `adapter` know that it shows them, and that `reactors` serve it.
pub(crate) fn show(adapter: &Arc<Adapter>, reactors: &Reactors) {
    let luns = adapter.luns();
    for (disk, standing) in luns.standings() {
        let mut held = disk.hold.held();
        standing.set_hindered(held.hindrance.is_some());
        held.shown_by
            .retain(|(other, _)| other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), &raw const **adapter));
        held.shown_by.push((Arc::downgrade(adapter), reactors.clone()));
    }
}

/// A job in progress.
#[derive(Debug)]
pub(crate) struct Job {
    disk: Arc<Disk>,
    work: Work,
    ticket: Ticket,
    /// The nexus whose command has ended with GOOD long ago.
    behind: Option<Arc<Standing>>,
    task: Box<dyn LongTask>,
    space: Option<Space>,
    op: BlockOp,
    stage: Stage,
}

/// What it needs to go on.
#[derive(Debug)]
enum Stage {
    /// That nobody has an operation any more.
    Alone(RollCall),
    Memory,
    /// The next step.
    Turn,
    Failed(IoError),
    /// Room in the channel.
    Room,
    /// The end of its operation.
    Flight,
    Ended,
}

/// A job has no data buffer.
struct NoData;

impl DataBuffer for NoData {
    fn out_len(&self) -> u64 {
        0
    }

    fn take(&mut self, _at: u64, _into: &mut [u8]) {
        unreachable!("a job takes nothing from its initiator");
    }

    fn give(&mut self, _at: u64, _from: &[u8]) {
        unreachable!("a job gives its initiator nothing");
    }
}

impl Neighbours for NoData {
    fn find(&self, _: &Designator<'_>) -> Option<Neighbour> {
        None
    }

    fn random(&self, _into: &mut [u8]) {
        unreachable!("a job makes no tokens");
    }
}

impl Job {
    /// Begins `work` on a disk. `owner` is the command that waits for its end, if one does: should it have begun it before, it
    /// goes on. If none does, the nexus of `standing` is told of a failure later. The job is there if it is new.
    ///
    /// # Errors
    /// Other work goes on.
    pub(crate) fn begin(
        disk: &Arc<Disk>,
        work: Work,
        owner: Option<Owner>,
        standing: &Arc<Standing>,
        task: impl FnOnce() -> Box<dyn LongTask>,
    ) -> Result<(Ticket, Option<Self>), Hindrance> {
        let mut held = disk.hold.held();
        if let (Some((its, ticket)), Some(hindrance)) = (&held.running, held.hindrance) {
            return if owner.is_some() && *its == owner { Ok((ticket.clone(), None)) } else { Err(hindrance) };
        }
        let ticket = Ticket::default();
        held.running = Some((owner, ticket.clone()));
        // Before anybody is asked: who has answered begins nothing new.
        held.hinder(disk, Some(Hindrance::During(work, 0)));
        disk.sharing.change(0, u64::MAX);
        let all: Vec<_> = held.shown_by.iter().flat_map(|(_, reactors)| reactors.iter().cloned()).collect();
        let stage = Stage::Alone(RollCall::new(&all, |pass| Message::Settle { disk: disk.clone(), pass }));
        let job = Self {
            disk: disk.clone(),
            work,
            ticket: ticket.clone(),
            behind: owner.is_none().then(|| standing.clone()),
            task: task(),
            space: None,
            op: BlockOp::FLUSH,
            stage,
        };
        Ok((ticket, Some(job)))
    }

    /// The name of its operations: no worker has it, nor has the flush at the end of a core.
    fn name(&self) -> RequestName {
        RequestName { worker: NOBODY, slot: SlotIndex(self.disk.index.0 as u16), generation: Generation(1) }
    }

    /// Its operation has come to an end, if `name` is one of its own.
    fn complete(&mut self, name: RequestName, result: Result<(), IoError>) {
        if name == self.name() {
            self.space.as_mut().expect("it had an operation").take_back();
            self.stage = result.map_or_else(Stage::Failed, |()| Stage::Turn);
        }
    }

    /// Whether an operation is with the disk.
    pub(crate) fn is_in_flight(&self) -> bool {
        matches!(self.stage, Stage::Flight)
    }

    /// Its disk is being closed: it ends unfinished, unless an operation is with the disk. Whether it is over.
    fn give_up(&mut self) -> bool {
        if !self.is_in_flight() && !self.is_over() {
            self.end(self.work.failure());
        }
        self.is_over()
    }

    /// Whether it has ended.
    fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Goes on as far as it can, to its next operation at most. Whether it did.
    fn advance(&mut self, cx: &mut Cx) -> bool {
        match &mut self.stage {
            Stage::Flight | Stage::Ended => return false,
            Stage::Alone(others) => {
                if !others.is_over() {
                    return false;
                }
                self.stage = Stage::Memory;
            }
            Stage::Memory => {
                let len = self.task.memory_len();
                let Some(lease) = Lease::take(&self.disk, len) else { return false };
                self.space = Some(Space::new(len, lease));
                self.stage = Stage::Turn;
            }
            Stage::Turn => self.step(None),
            Stage::Failed(error) => {
                let error = *error;
                self.step(Some(error));
            }
            Stage::Room => return self.submit(cx),
        }
        true
    }

    /// The next step, after an operation that failed with `error`.
    fn step(&mut self, error: Option<IoError>) {
        let space = self.space.as_mut().expect("it has its memory");
        let mut desk = Desk { memory: space.bytes(), data: &mut NoData, neighbours: &NoData };
        let step = match error {
            None => self.task.next(&mut desk),
            Some(error) => self.task.failed(&self.op, error, &mut desk),
        };
        match step {
            LongStep::Block(op, memory) => {
                self.op = op;
                space.prepare(memory, op.len, &[]);
                self.stage = Stage::Room;
                self.disk.hold.held().hindrance = Some(Hindrance::During(self.work, self.task.progress()));
            }
            LongStep::Done(outcome) => self.end(outcome),
            LongStep::Lock { .. } | LongStep::Elsewhere(..) | LongStep::Background(_) | LongStep::Share(_) => {
                unreachable!("nobody else is there")
            }
        }
    }

    fn submit(&mut self, cx: &mut Cx) -> bool {
        let (tag, BlockOp { kind, offset, len }) = (self.name().tag(), self.op);
        let space = self.space.as_mut().expect("it has its memory");
        let (channel, io) = cx.channel(self.disk.index);
        // Before the disk has it: it may be done with it at once.
        self.stage = Stage::Flight;
        match channel.submit(io, &Op { kind, offset, len, segments: space.lend() }, tag) {
            Ok(()) => true,
            Err(SubmitError::Full) => {
                space.take_back();
                self.stage = Stage::Room;
                false
            }
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.stage = Stage::Ended;
        let failed = outcome != Outcome::GOOD;
        let mut held = self.disk.hold.held();
        held.running = None;
        held.hinder(&self.disk, failed.then_some(Hindrance::After(self.work)));
        drop(held);
        let told = if failed { self.work.failure() } else { outcome };
        self.ticket.settle(told);
        if let (Some(standing), Some(sense)) = (&self.behind, told.sense) {
            standing.defer(sense);
        }
        if failed {
            let (disk, work) = (&self.disk.config.text, self.work);
            tracing::error!(disk, ?work, sense = ?outcome.sense, "work on a whole disk has failed");
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.is_over() {
            let (disk, work) = (&self.disk.config.text, self.work);
            tracing::warn!(disk, ?work, "work on a whole disk stays unfinished");
        }
    }
}

/// Goes on with the jobs of a core; with how many.
#[cold]
pub(super) fn advance(cx: &mut Cx) -> usize {
    let mut jobs = std::mem::take(&mut cx.jobs);
    let count = jobs.iter_mut().filter_map(|job| job.advance(cx).then_some(())).count();
    jobs.retain(|job| !job.is_over());
    cx.jobs = jobs;
    count
}

/// Ends what work there is on a disk that is being closed. False if an operation of it is with the disk.
pub(super) fn give_up(cx: &mut Cx, disk: DiskIndex) -> bool {
    let mut its = cx.jobs.iter_mut().filter(|job| job.disk.index == disk);
    let is_over = its.all(Job::give_up);
    cx.jobs.retain(|job| !job.is_over());
    is_over
}

/// An operation of one of them has come to an end.
#[cold]
pub(super) fn complete(cx: &mut Cx, name: RequestName, result: Result<(), IoError>) {
    cx.jobs.iter_mut().for_each(|job| job.complete(name, result));
}

/// Whether none of this has anything to do but wait for a disk.
pub(super) fn may_sleep(cx: &Cx) -> bool {
    cx.settling.is_empty() && cx.jobs.iter().all(Job::is_in_flight)
}

/// Lets the passes arrive whose disks no request of a core's workers uses any more.
#[cold]
pub(super) fn settle(cx: &mut Cx, workers: &mut [Option<Box<Worker>>]) {
    cx.settling.retain(|(disk, _)| workers.iter_mut().flatten().any(|worker| worker.uses(disk)));
}

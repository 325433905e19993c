//! What task management wants of the commands of one reactor: that they end, and which of them are still open, or to know
//! whether there is one. Kept and asked once a pass by [`core`](super::core).

use std::sync::atomic::Ordering;

use reactor::{Handle, Pass};

use super::cx::{Bar, Cx, Holds};
use super::fenced::Flights;
use super::message::{BarId, Life, Message, Purpose, Scope};
use super::remote::Untaken;
use super::request_queue::RequestQueue;
use super::tag::{RequestName, WorkerIndex};
use super::worker::Worker;

/// Task management that waits for commands of this reactor.
pub(super) struct Ending {
    pub(super) life: Life,
    pub(super) bar: BarId,
    pub(super) scope: Scope,
    pub(super) purpose: Purpose,
    /// Commands that were with a disk, some of which may have been answered by now.
    pub(super) pending: Vec<RequestName>,
    /// Queues that could not take all that was there before the function, and up to where that goes.
    pub(super) untaken: Vec<(WorkerIndex, Untaken)>,
    pub(super) pass: Pass,
    pub(super) origin: Handle<Message>,
}

impl Ending {
    /// Takes what is in the rings and does with what is in scope what is wanted.
    pub(super) fn collect(&mut self, workers: &mut [Option<Box<Worker>>], cx: &mut Cx) {
        let (life, takes) = (self.life, !matches!(self.purpose, Purpose::EndTaken(_)));
        for worker in workers.iter_mut().flatten().filter(|worker| worker.name().life == life) {
            if let Worker::Request(worker) = &mut **worker {
                let untaken = if takes { worker.take_all(cx) } else { None };
                self.untaken.extend(untaken.map(|untaken| (worker.index, untaken)));
                self.apply(worker, cx);
            }
        }
        if self.untaken.is_empty() {
            self.put_up(workers, cx);
        }
    }

    /// All that was there before has been taken: if it is to be outlasted, what comes from now on is barred.
    fn put_up(&mut self, workers: &mut [Option<Box<Worker>>], cx: &mut Cx) {
        if !matches!(self.purpose, Purpose::Outlast) {
            return;
        }
        let (life, id, scope, holds) = (self.life, self.bar, self.scope, Holds::Newer(cx.next_order()));
        cx.bars.retain(|bar| bar.id != id);
        cx.bars.push(Bar { life, id, scope, holds });
        for worker in workers.iter_mut().flatten().filter(|worker| worker.name().life == life) {
            if let Worker::Request(worker) = &mut **worker {
                worker.tasks_before(scope, &mut self.pending);
                // What stood behind its command now comes after its barrier.
                worker.start_lifted(cx);
            }
        }
    }

    fn apply(&mut self, worker: &mut RequestQueue, cx: &mut Cx) {
        match &self.purpose {
            Purpose::End(verdict) => worker.end_tasks(self.scope, *verdict, &mut self.pending, cx),
            Purpose::EndTaken(verdict) => {
                let verdict = worker.verdict_of_another(self.scope, *verdict);
                worker.end_tasks(self.scope, verdict, &mut self.pending, cx);
            }
            Purpose::Find(found) if worker.has_tasks(self.scope) => found.store(true, Ordering::Relaxed),
            Purpose::Find(_) | Purpose::Outlast | Purpose::Overtake => {}
        }
    }

    /// If the last queue has now taken what was there before the function, does the same with that: what is to end was
    /// barred.
    #[cold]
    pub(super) fn collect_late(&mut self, workers: &mut [Option<Box<Worker>>], cx: &mut Cx) {
        let life = self.life;
        self.untaken.retain_mut(|(index, untaken)| match workers[usize::from(index.0)].as_deref_mut() {
            Some(Worker::Request(worker)) => !worker.queue.has_taken(untaken),
            _ => false,
        });
        if !self.untaken.is_empty() {
            return;
        }
        for worker in workers.iter_mut().flatten().filter(|worker| worker.name().life == life) {
            if let Worker::Request(worker) = &mut **worker {
                self.apply(worker, cx);
            }
        }
        self.put_up(workers, cx);
    }

    /// Forgets answered commands down to the last one that is still open: one look a pass, however many there are.
    pub(super) fn forget_answered(&mut self, workers: &[Option<Box<Worker>>]) {
        while let Some(&name) = self.pending.last()
            && !is_open(name, workers)
            && !(matches!(self.purpose, Purpose::Outlast) && rests(name, workers))
        {
            self.pending.pop();
        }
    }

    /// Whether it still asks for commands of the queue at `place`, which so may go to no other queue.
    pub(super) fn names(&self, place: WorkerIndex) -> bool {
        let (pending, untaken) = (&self.pending, &self.untaken);
        pending.iter().any(|name| name.worker == place) || untaken.iter().any(|&(index, _)| index == place)
    }
}

/// What waits for requests of this reactor that it does not end. Its pass arrives with its end.
pub(super) enum Leave {
    /// A change of logical units, for those on units that left.
    Units { pending: Vec<RequestName>, _pass: Pass },
    /// A command that is to have a range for itself.
    Range(Flights),
}

impl Leave {
    /// Whether the driver has got all of them back, or none is in the range any more.
    pub(super) fn is_done(&mut self, workers: &mut [Option<Box<Worker>>]) -> bool {
        match self {
            Self::Units { pending, .. } => {
                while pending.pop_if(|name| !is_open(*name, workers)).is_some() {}
                pending.is_empty()
            }
            Self::Range(flights) => flights.have_ended(workers),
        }
    }

    /// Whether it still asks for requests of the queue at `place`, which so may go to no other queue.
    pub(super) fn names(&self, place: WorkerIndex) -> bool {
        let pending = match self {
            Self::Units { pending, .. } => pending,
            Self::Range(flights) => flights.pending(),
        };
        pending.iter().any(|name| name.worker == place)
    }
}

/// Whether the driver has not got a request back.
pub(super) fn is_open(name: RequestName, workers: &[Option<Box<Worker>>]) -> bool {
    match workers[usize::from(name.worker.0)].as_deref() {
        Some(Worker::Request(worker)) => worker.is_open(name),
        _ => false,
    }
}

/// Whether the queue of a request rests, or is about to: then the request may come again, and whoever is to outlast it is
/// about to rest, too.
fn rests(name: RequestName, workers: &[Option<Box<Worker>>]) -> bool {
    workers[usize::from(name.worker.0)].as_deref().is_some_and(|worker| !worker.queue().is_serving())
}

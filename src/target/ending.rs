//! The end of commands that task management wants, on one reactor: which of them are still open. Kept and asked once a pass
//! by [`core`](super::core).

use reactor::{Handle, Pass};

use super::cx::Cx;
use super::message::{Life, Message, Scope};
use super::remote::Untaken;
use super::slots::Verdict;
use super::tag::{RequestName, WorkerIndex};
use super::worker::Worker;

/// Task management that waits for commands of this reactor.
pub(super) struct Ending {
    pub(super) life: Life,
    pub(super) scope: Scope,
    pub(super) verdict: Verdict,
    /// Commands that were with a disk, some of which may have been answered by now.
    pub(super) pending: Vec<RequestName>,
    /// Queues that could not take all that was there before the function, and up to where that goes.
    pub(super) untaken: Vec<(WorkerIndex, Untaken)>,
    pub(super) pass: Pass,
    pub(super) origin: Handle<Message>,
}

impl Ending {
    /// Takes what is in the rings and ends what is in scope.
    pub(super) fn collect(&mut self, workers: &mut [Option<Box<Worker>>], cx: &mut Cx) {
        for worker in workers.iter_mut().flatten().filter(|worker| worker.name().life == self.life) {
            if let Worker::Request(worker) = &mut **worker {
                let untaken = worker.take_all(cx);
                self.untaken.extend(untaken.map(|untaken| (worker.index, untaken)));
                worker.end_tasks(self.scope, self.verdict, &mut self.pending, cx);
            }
        }
    }

    /// If the last queue has now taken what was there before the function, ends what of it is in scope: it was barred.
    #[cold]
    pub(super) fn collect_late(&mut self, workers: &mut [Option<Box<Worker>>], cx: &mut Cx) {
        let life = self.life;
        self.untaken.retain_mut(|(index, untaken)| match workers[usize::from(index.0)].as_deref_mut() {
            Some(Worker::Request(worker)) => worker.queue.life == life && !worker.queue.has_taken(untaken),
            _ => false,
        });
        if !self.untaken.is_empty() {
            return;
        }
        for worker in workers.iter_mut().flatten().filter(|worker| worker.name().life == life) {
            if let Worker::Request(worker) = &mut **worker {
                worker.end_tasks(self.scope, self.verdict, &mut self.pending, cx);
            }
        }
    }

    /// Forgets answered commands down to the last one that is still open: one look a pass, however many there are.
    pub(super) fn forget_answered(&mut self, workers: &[Option<Box<Worker>>]) {
        while let Some(&name) = self.pending.last()
            && !self.is_open(name, workers)
        {
            self.pending.pop();
        }
    }

    fn is_open(&self, name: RequestName, workers: &[Option<Box<Worker>>]) -> bool {
        match workers[usize::from(name.worker.0)].as_deref() {
            // The place may have gone to a queue of another life.
            Some(Worker::Request(worker)) => worker.queue.life == self.life && worker.is_open(name),
            _ => false,
        }
    }
}

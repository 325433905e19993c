//! What a core does about commands that wait for each other: task management, and task attributes.

use std::sync::Arc;

use reactor::Pass;

use super::super::cx::{Bar, Cx, Holds};
use super::super::ending::{self, Ending, Leave};
use super::super::lun_map::LunMap;
use super::super::message::{BarId, Life, Purpose};
use super::super::worker::Worker;
use super::Core;

impl Core {
    /// Task management; see [`Message::Tasks`].
    pub(super) fn manage(&mut self, mut ending: Ending) {
        let Ending { life, bar: id, scope, .. } = ending;
        match ending.purpose {
            Purpose::End(_) => self.cx.bars.push(Bar { life, id, scope, holds: Holds::All }),
            // Its own reactor has put it up already.
            Purpose::Overtake if self.cx.bars.iter().any(|bar| bar.id == id) => return,
            Purpose::Overtake => return self.cx.bars.push(Bar { life, id, scope, holds: Holds::Dormant }),
            Purpose::Find(_) | Purpose::EndTaken(_) | Purpose::Outlast => {}
        }
        ending.collect(&mut self.workers, &mut self.cx);
        self.endings.push(ending);
    }

    pub(super) fn lift(&mut self, life: Life, bar: BarId) {
        self.cx.bars.retain(|other| other.id != bar);
        // An ORDERED command that was ended while it was waited for.
        self.endings.retain(|ending| ending.bar != bar);
        start_lifted(life, &mut self.workers, &mut self.cx);
    }

    /// The device of `life` has other logical units; see [`Message::Luns`].
    pub(super) fn change_luns(&mut self, life: Life, luns: &Arc<LunMap>, pass: Pass) {
        let mut pending = Vec::new();
        for worker in self.workers.iter_mut().flatten().filter(|worker| worker.name().life == life) {
            worker.change_luns(luns, &mut pending, &mut self.cx);
        }
        self.leaves.push(Leave::Units { pending, _pass: pass });
        // What an auto contingent allegiance held back goes on if its unit has gone.
        start_lifted(life, &mut self.workers, &mut self.cx);
    }

    /// Lets the passes arrive of what waits for requests that have ended. After publication: the driver can see it.
    #[cold]
    pub(super) fn settle_leaves(&mut self) {
        let Self { leaves, workers, .. } = self;
        leaves.retain_mut(|leave| !leave.is_done(workers));
    }

    /// Goes on with task management that is also about what had to be fetched first.
    #[cold]
    pub(super) fn collect_late(&mut self) {
        let Self { cx, workers, endings, .. } = self;
        for ending in endings.iter_mut().filter(|ending| !ending.untaken.is_empty()) {
            ending.collect_late(workers, cx);
        }
        self.lookout.touch_all();
    }

    /// Lets the passes arrive whose commands have all been answered. After publication: the driver can see them.
    #[cold]
    pub(super) fn settle_endings(&mut self) {
        for ending in &mut self.endings {
            ending.forget_answered(&self.workers);
        }
        let is_done = |ending: &mut Ending| ending.pending.is_empty() && ending.untaken.is_empty();
        for done in self.endings.extract_if(.., is_done) {
            done.pass.arrive();
            done.origin.wake();
        }
    }

    /// Goes on with commands that others wait for; how many may start now.
    #[cold]
    pub(super) fn advance_privileged(&mut self) -> usize {
        let Self { cx, workers, .. } = self;
        let ready: Vec<_> = cx.privileged.iter_mut().filter_map(|own| own.advance().then_some(own.life)).collect();
        for &life in &ready {
            start_lifted(life, workers, cx);
        }
        self.lookout.touch_all();
        ready.len()
    }

    /// Lets those go on that wait for a command which has ended. After publication: the driver can see it.
    #[cold]
    pub(super) fn settle_privileged(&mut self) {
        for own in &mut self.cx.privileged {
            if !ending::is_open(own.name, &self.workers) {
                own.end();
            }
        }
        self.cx.privileged.retain(|own| !own.is_over());
    }
}

/// Starts commands of a life that were held back and are no more.
fn start_lifted(life: Life, workers: &mut [Option<Box<Worker>>], cx: &mut Cx) {
    for worker in workers.iter_mut().flatten().filter(|worker| worker.name().life == life) {
        if let Worker::Request(worker) = &mut **worker {
            worker.start_lifted(cx);
        }
    }
}

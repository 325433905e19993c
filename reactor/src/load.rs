//! The account of what a reactor did with its time.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::context::Progress;

/// Totals since the reactor began. Read without a lock while they change, so they fit each other only roughly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Passes that found work.
    pub busy_passes: u64,
    /// Passes that found none.
    pub idle_passes: u64,
    /// Nanoseconds in passes that found work.
    pub busy_ns: u64,
    /// Nanoseconds of polling for nothing.
    pub idle_ns: u64,
    /// Nanoseconds asleep.
    pub asleep_ns: u64,
    /// How often it went to sleep.
    pub sleeps: u64,
    /// Messages taken from the mailbox.
    pub messages: u64,
}

/// The reactor's side. One thread writes, so plain loads and stores do; nothing is ordered by these numbers.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    busy_passes: AtomicU64,
    idle_passes: AtomicU64,
    busy_ns: AtomicU64,
    idle_ns: AtomicU64,
    asleep_ns: AtomicU64,
    sleeps: AtomicU64,
    messages: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

impl Meter {
    pub(crate) fn passes(&self, progress: Progress, count: u64, spent_ns: u64) {
        let (passes, ns) = match progress {
            Progress::Busy => (&self.busy_passes, &self.busy_ns),
            Progress::Idle => (&self.idle_passes, &self.idle_ns),
        };
        add(passes, count);
        add(ns, spent_ns);
    }

    pub(crate) fn slept(&self, spent_ns: u64) {
        add(&self.sleeps, 1);
        add(&self.asleep_ns, spent_ns);
    }

    pub(crate) fn messages(&self, count: u64) {
        add(&self.messages, count);
    }

    pub(crate) fn load(&self) -> Load {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Load {
            busy_passes: read(&self.busy_passes),
            idle_passes: read(&self.idle_passes),
            busy_ns: read(&self.busy_ns),
            idle_ns: read(&self.idle_ns),
            asleep_ns: read(&self.asleep_ns),
            sleeps: read(&self.sleeps),
            messages: read(&self.messages),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_place() {
        let meter = Meter::default();
        meter.passes(Progress::Busy, 1, 10);
        meter.passes(Progress::Idle, 1, 1);
        meter.passes(Progress::Idle, 1, 2);
        meter.slept(100);
        meter.messages(5);
        let expected =
            Load { busy_passes: 1, idle_passes: 2, busy_ns: 10, idle_ns: 3, asleep_ns: 100, sleeps: 1, messages: 5 };
        assert_eq!(meter.load(), expected);
    }
}

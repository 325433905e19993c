//! What a logical unit of a controller keeps beside its medium and looks at in cold commands alone: since when it is there, what
//! became of copies and self-tests, tokens, and what its driver has subscribed to.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::task_functions::SUPPORTED;
use crate::scsi::{
    Clock, Copies, Facts, IoStatistics, Rods, SELF_TESTS_MAX, SelfTestRecord, SelfTestResult, Shared, Statistics,
};

/// The notes of one unit.
#[derive(Debug)]
pub(crate) struct Notes {
    since: Instant,
    /// The latest first.
    self_tests: Mutex<Vec<SelfTestRecord>>,
    /// What became of copies that its driver has named.
    pub(crate) copies: Copies,
    /// Tokens that stand for blocks of the unit.
    pub(crate) rods: Rods,
    /// `ASYNC` bits of what its driver wants to be told of.
    subscribed: AtomicU32,
}

impl Notes {
    pub(crate) fn new() -> Self {
        let (copies, rods) = (Copies::default(), Rods::default());
        Self { since: Instant::now(), self_tests: Mutex::default(), copies, rods, subscribed: AtomicU32::new(0) }
    }

    /// Gives what a query wants to know to `ask`, with what the disk's ports share and what was
    /// counted of it.
    pub(crate) fn facts<T>(&self, shared: Option<&Shared>, io: IoStatistics, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let (space, health) = shared.map_or((None, None), |shared| (shared.space, shared.health));
        let (start_stop_cycles, ahead_ms) =
            shared.map_or((0, None), |shared| (shared.start_stop_cycles, shared.ahead_ms));
        let power_on_minutes = self.power_on_minutes();
        let statistics = Statistics { power_on_minutes, start_stop_cycles, io, space, health };
        let clock = Clock { host_ms: host_ms(), ahead_ms };
        let self_tests = &self.self_tests()[..];
        ask(&Facts { clock, statistics, self_tests, shared, task_functions: SUPPORTED })
    }

    fn power_on_minutes(&self) -> u32 {
        u32::try_from(self.since.elapsed().as_secs() / 60).unwrap_or(u32::MAX)
    }

    fn self_tests(&self) -> MutexGuard<'_, Vec<SelfTestRecord>> {
        self.self_tests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A self-test has ended. Of more than the log tells the oldest is forgotten.
    pub(crate) fn log_self_test(&self, result: SelfTestResult) {
        let power_on_hours = u16::try_from(self.power_on_minutes() / 60).unwrap_or(u16::MAX);
        let mut self_tests = self.self_tests();
        self_tests.truncate(SELF_TESTS_MAX - 1);
        self_tests.insert(0, SelfTestRecord { result, power_on_hours });
    }

    /// From now on the driver is told of these events, a set of `ASYNC` bits, and of no others.
    pub(crate) fn subscribe(&self, events: u32) {
        self.subscribed.store(events, Ordering::Relaxed);
    }

    /// Those of `events` that the driver is to be told of.
    pub(crate) fn subscribed(&self, events: u32) -> u32 {
        self.subscribed.load(Ordering::Relaxed) & events
    }
}

/// The host's clock, in milliseconds since 1970 UTC.
pub(crate) fn host_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_the_disk_is_told() {
        let notes = Notes::new();
        let ahead_ms = Some(Clock::ahead_of(host_ms(), 1000));
        let shared = Shared { start_stop_cycles: 7, ahead_ms, ..Shared::default() };
        let (timestamp_ms, cycles) = notes.facts(Some(&shared), IoStatistics::default(), |facts| {
            (facts.clock.timestamp_ms(), facts.statistics.start_stop_cycles)
        });
        assert!((1000..1_000_000).contains(&timestamp_ms), "{timestamp_ms}");
        assert_eq!(cycles, 7);
        assert!(notes.facts(None, IoStatistics::default(), |facts| facts.clock.ahead_ms.is_none()));
    }
}

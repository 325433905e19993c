//! What a logical unit of a controller keeps beside its medium and looks at in cold commands alone: its clock, what became of
//! copies, tokens, and what its driver has subscribed to.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::task_functions::SUPPORTED;
use crate::scsi::{Clock, Copies, Facts, IoStatistics, Rods, Shared, Statistics};

/// The notes of one unit.
#[derive(Debug)]
pub(crate) struct Notes {
    since: Instant,
    /// How far its clock is ahead of the host's, if SET TIMESTAMP has set it.
    ahead_ms: Mutex<Option<i64>>,
    /// What became of copies that its driver has named.
    pub(crate) copies: Copies,
    /// Tokens that stand for blocks of the unit.
    pub(crate) rods: Rods,
    /// `ASYNC` bits of what its driver wants to be told of.
    subscribed: AtomicU32,
}

impl Notes {
    pub(crate) fn new() -> Self {
        let (ahead_ms, copies, rods) = (Mutex::default(), Copies::default(), Rods::default());
        Self { since: Instant::now(), ahead_ms, copies, rods, subscribed: AtomicU32::new(0) }
    }

    fn ahead_ms(&self) -> MutexGuard<'_, Option<i64>> {
        self.ahead_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what a query wants to know to `ask`, with what the disk's ports share and what was
    /// counted of it.
    pub(crate) fn facts<T>(&self, shared: Option<&Shared>, io: IoStatistics, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let (space, health) = shared.map_or((None, None), |shared| (shared.space, shared.health));
        let start_stop_cycles = shared.map_or(0, |shared| shared.start_stop_cycles);
        let power_on_minutes = u32::try_from(self.since.elapsed().as_secs() / 60).unwrap_or(u32::MAX);
        let statistics = Statistics { power_on_minutes, start_stop_cycles, io, space, health };
        let clock = Clock { host_ms: host_ms(), ahead_ms: *self.ahead_ms() };
        ask(&Facts { clock, statistics, shared, task_functions: SUPPORTED })
    }

    /// From now on the driver is told of these events, a set of `ASYNC` bits, and of no others.
    pub(crate) fn subscribe(&self, events: u32) {
        self.subscribed.store(events, Ordering::Relaxed);
    }

    /// Those of `events` that the driver is to be told of.
    pub(crate) fn subscribed(&self, events: u32) -> u32 {
        self.subscribed.load(Ordering::Relaxed) & events
    }

    /// SET TIMESTAMP.
    pub(crate) fn set_timestamp(&self, timestamp_ms: u64) {
        *self.ahead_ms() = Some(Clock::ahead_of(host_ms(), timestamp_ms));
    }

    /// A hard reset: the clock is the host's again.
    pub(crate) fn reset(&self) {
        *self.ahead_ms() = None;
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
    fn are_kept_until_they_change() {
        let notes = Notes::new();
        notes.set_timestamp(1000);
        let shared = Shared { start_stop_cycles: 7, ..Shared::default() };
        let (timestamp_ms, cycles) = notes.facts(Some(&shared), IoStatistics::default(), |facts| {
            (facts.clock.timestamp_ms(), facts.statistics.start_stop_cycles)
        });
        assert!((1000..1_000_000).contains(&timestamp_ms), "{timestamp_ms}");
        assert_eq!(cycles, 7);
        notes.reset();
        assert!(notes.facts(None, IoStatistics::default(), |facts| facts.clock.ahead_ms.is_none()));
    }
}

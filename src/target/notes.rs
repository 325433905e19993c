//! What a logical unit of a controller keeps beside its medium and looks at in cold commands alone: its clock, what a host
//! calls it, what was counted, what became of copies, tokens, and what its driver has subscribed to.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::task_functions::SUPPORTED;
use crate::scsi::{Clock, Copies, Facts, Identifying, IoStatistics, Rods, Shared, Statistics};

/// The notes of one unit.
#[derive(Debug)]
pub(crate) struct Notes {
    since: Instant,
    kept: Mutex<Kept>,
    /// What became of copies that its driver has named.
    pub(crate) copies: Copies,
    /// Tokens that stand for blocks of the unit.
    pub(crate) rods: Rods,
    /// `ASYNC` bits of what its driver wants to be told of.
    subscribed: AtomicU32,
}

#[derive(Debug, Default)]
struct Kept {
    ahead_ms: Option<i64>,
    name: Vec<u8>,
    text: Vec<u8>,
    start_stop_cycles: u32,
}

impl Notes {
    pub(crate) fn new() -> Self {
        let (kept, copies, rods) = (Mutex::default(), Copies::default(), Rods::default());
        Self { since: Instant::now(), kept, copies, rods, subscribed: AtomicU32::new(0) }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives what a query wants to know to `ask`, with what the disk's ports share and what was
    /// counted of it.
    pub(crate) fn facts<T>(&self, shared: Option<&Shared>, io: IoStatistics, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
        let kept = self.kept();
        let (space, health) = shared.map_or((None, None), |shared| (shared.space, shared.health));
        let power_on_minutes = u32::try_from(self.since.elapsed().as_secs() / 60).unwrap_or(u32::MAX);
        let statistics = Statistics { power_on_minutes, start_stop_cycles: kept.start_stop_cycles, io, space, health };
        let clock = Clock { host_ms: host_ms(), ahead_ms: kept.ahead_ms };
        ask(&Facts { clock, statistics, name: &kept.name, text: &kept.text, shared, task_functions: SUPPORTED })
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
        self.kept().ahead_ms = Some(Clock::ahead_of(host_ms(), timestamp_ms));
    }

    /// SET IDENTIFYING INFORMATION, whose list is as long as the SCSI room lets it be.
    pub(crate) fn keep(&self, kind: Identifying, list: &[u8]) {
        let mut kept = self.kept();
        match kind {
            Identifying::Name => kept.name = list.to_vec(),
            Identifying::Text => kept.text = list.to_vec(),
        }
    }

    /// A unit that was stopped was started again.
    pub(crate) fn count_start(&self) {
        let mut kept = self.kept();
        kept.start_stop_cycles = kept.start_stop_cycles.saturating_add(1);
    }

    /// A hard reset: the clock is the host's again.
    pub(crate) fn reset(&self) {
        self.kept().ahead_ms = None;
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
        notes.keep(Identifying::Name, b"vm7");
        notes.keep(Identifying::Text, b"boot\0");
        notes.keep(Identifying::Name, b"vm8");
        notes.count_start();
        notes.set_timestamp(1000);
        let (timestamp_ms, cycles) = notes.facts(None, IoStatistics::default(), |facts| {
            assert_eq!((facts.name, facts.text), (&b"vm8"[..], &b"boot\0"[..]));
            (facts.clock.timestamp_ms(), facts.statistics.start_stop_cycles)
        });
        assert!((1000..1_000_000).contains(&timestamp_ms), "{timestamp_ms}");
        assert_eq!(cycles, 1);
        notes.reset();
        assert!(
            notes.facts(None, IoStatistics::default(), |facts| facts.clock.ahead_ms.is_none() && facts.name == b"vm8")
        );
    }
}

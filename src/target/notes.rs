//! What a logical unit of a controller keeps beside its medium and looks at in cold commands alone: what became of copies, tokens,
//! and what its driver has subscribed to. And how what else there is to tell of it is put together.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::task_functions::SUPPORTED;
use crate::scsi::{Clock, Copies, Facts, IoStatistics, Rods, Shared, Statistics};

/// The notes of one unit.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// What became of copies that its driver has named.
    pub(crate) copies: Copies,
    /// Tokens that stand for blocks of the unit.
    pub(crate) rods: Rods,
    /// `ASYNC` bits of what its driver wants to be told of.
    subscribed: AtomicU32,
}

impl Notes {
    /// From now on the driver is told of these events, a set of `ASYNC` bits, and of no others.
    pub(crate) fn subscribe(&self, events: u32) {
        self.subscribed.store(events, Ordering::Relaxed);
    }

    /// Those of `events` that the driver is to be told of.
    pub(crate) fn subscribed(&self, events: u32) -> u32 {
        self.subscribed.load(Ordering::Relaxed) & events
    }
}

/// Gives what a query wants to know of a disk to `ask`, with what its ports share and what was counted of it.
pub(crate) fn facts<T>(shared: Option<&Shared>, io: IoStatistics, ask: impl FnOnce(&Facts<'_>) -> T) -> T {
    let nothing = Shared::default();
    let Shared { power_on_minutes, start_stop_cycles, space, health, ahead_ms, .. } = *shared.unwrap_or(&nothing);
    let statistics = Statistics { power_on_minutes, start_stop_cycles, io, space, health };
    let clock = Clock { host_ms: host_ms(), ahead_ms };
    let self_tests = shared.map_or(&[][..], |shared| &shared.self_tests);
    ask(&Facts { clock, statistics, self_tests, shared, task_functions: SUPPORTED })
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
        let ahead_ms = Some(Clock::ahead_of(host_ms(), 1000));
        let shared = Shared { start_stop_cycles: 7, power_on_minutes: 8, ahead_ms, ..Shared::default() };
        let (timestamp_ms, cycles, minutes) = facts(Some(&shared), IoStatistics::default(), |facts| {
            (facts.clock.timestamp_ms(), facts.statistics.start_stop_cycles, facts.statistics.power_on_minutes)
        });
        assert!((1000..1_000_000).contains(&timestamp_ms), "{timestamp_ms}");
        assert_eq!((cycles, minutes), (7, 8));
        assert!(facts(None, IoStatistics::default(), |facts| facts.clock.ahead_ms.is_none()));
    }
}

//! A bound on log lines that a guest or a client can cause.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Lines that are let through in one window.
const BURST: u32 = 5;
/// Length of a window.
const WINDOW: Duration = Duration::from_secs(10);

/// Lets a few lines through, then counts. One for each place that logs what others can cause; not for the hot path.
#[derive(Debug, Default)]
pub struct LogLimit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    lines: u32,
    suppressed: u64,
}

impl LogLimit {
    /// A fresh limit.
    pub const fn new() -> Self {
        Self(Mutex::new(State { since: None, lines: 0, suppressed: 0 }))
    }

    /// Whether a line may be written now: `Some` of the number of lines that were not since the last one that was.
    pub fn allow(&self) -> Option<u64> {
        self.allow_at(Instant::now())
    }

    fn allow_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.since.is_none_or(|since| now.duration_since(since) >= WINDOW) {
            (state.since, state.lines) = (Some(now), 0);
        }
        if state.lines == BURST {
            state.suppressed += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lets_a_burst_through_in_each_window_and_counts_the_rest() {
        let (limit, start) = (LogLimit::new(), Instant::now());
        let first: Vec<_> = (0..BURST + 2).map(|_| limit.allow_at(start)).collect();
        assert_eq!(first[..BURST as usize], [Some(0); BURST as usize]);
        assert_eq!(first[BURST as usize..], [None, None]);
        assert_eq!(limit.allow_at(start + WINDOW), Some(2));
        assert_eq!(limit.allow_at(start + WINDOW), Some(0));
    }
}

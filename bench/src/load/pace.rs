//! Holds a queue back to a rate.

/// When the next request may go.
#[derive(Debug)]
pub struct Pace {
    interval_ns: f64,
    next_ns: f64,
}

/// A queue that fell behind catches up at most this long a time.
const BURST_NS: f64 = 10e6;

impl Pace {
    /// `rate` requests a second, from time 0 on.
    pub fn new(rate: f64) -> Self {
        Self { interval_ns: 1e9 / rate, next_ns: 0.0 }
    }

    /// Whether a request may go at `now_ns`; it counts as gone then.
    pub fn take(&mut self, now_ns: u64) -> bool {
        let now = now_ns as f64;
        if now < self.next_ns {
            return false;
        }
        self.next_ns = self.next_ns.max(now - BURST_NS) + self.interval_ns;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_at_the_rate_and_catch_up_a_little() {
        let mut pace = Pace::new(1000.0);
        let gone = (0..100_000).filter(|step| pace.take(step * 10_000)).count();
        assert_eq!(gone, 1000);
        let after_a_pause = (0..100).filter(|_| pace.take(5_000_000_000)).count();
        assert_eq!(after_a_pause, 11);
    }
}

//! What one queue has seen: counts, latencies, the first fault.

use hdrhistogram::Histogram;

/// Latencies above this count as this.
const LATENCY_NS_MAX: u64 = 100_000_000_000;

/// Requests of one direction.
#[derive(Debug, Clone)]
pub struct DirectionStats {
    /// Requests that ended well.
    pub ios: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Their latencies in nanoseconds, with three digits.
    pub latency_ns: Histogram<u64>,
}

impl Default for DirectionStats {
    fn default() -> Self {
        let latency_ns = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are valid");
        Self { ios: 0, bytes: 0, latency_ns }
    }
}

impl DirectionStats {
    /// Counts `ios` requests of `bytes` in all that took `latency_ns` each.
    #[inline]
    pub fn record(&mut self, ios: u64, bytes: u64, latency_ns: u64) {
        self.ios += ios;
        self.bytes += bytes;
        self.latency_ns.saturating_record_n(latency_ns.max(1), ios);
    }

    /// Adds what another queue has seen.
    pub fn add(&mut self, other: &Self) {
        self.ios += other.ios;
        self.bytes += other.bytes;
        self.latency_ns.add(&other.latency_ns).expect("all have the same bounds");
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.ios, self.bytes) = (0, 0);
        self.latency_ns.reset();
    }
}

/// All requests of one queue.
#[derive(Debug, Clone, Default)]
pub struct Stats {
    /// Reads.
    pub read: DirectionStats,
    /// Writes.
    pub write: DirectionStats,
    /// Requests that did not end well, ramp included.
    pub errors: u64,
    /// What was wrong with the first of them.
    pub first_error: Option<String>,
    /// Blocks whose pattern was checked, ramp included.
    pub verified_blocks: u64,
    /// Doorbells that the device asked for and got.
    pub doorbells: u64,
    /// How long it was measured, in nanoseconds.
    pub measured_ns: u64,
}

impl Stats {
    /// Forgets what went well, since only now it counts. Errors always count.
    pub fn begin(&mut self) {
        self.read.clear();
        self.write.clear();
        self.doorbells = 0;
    }

    /// Counts an error.
    #[cold]
    pub fn fail(&mut self, why: impl FnOnce() -> String) {
        self.errors += 1;
        self.first_error.get_or_insert_with(why);
    }

    /// Adds what another queue has seen at the same time.
    pub fn add(&mut self, other: &Self) {
        self.read.add(&other.read);
        self.write.add(&other.write);
        self.errors += other.errors;
        self.verified_blocks += other.verified_blocks;
        self.doorbells += other.doorbells;
        self.measured_ns = self.measured_ns.max(other.measured_ns);
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_counts_latencies_and_the_first_error() {
        let (mut first, mut second) = (Stats::default(), Stats::default());
        first.read.record(3, 3 * 4096, 1000);
        second.read.record(1, 4096, 9000);
        second.write.record(1, 512, u64::MAX);
        second.fail(|| "first".into());
        second.fail(|| "second".into());
        second.measured_ns = 7;
        first.add(&second);
        assert_eq!((first.read.ios, first.read.bytes, first.write.ios), (4, 16384, 1));
        assert_eq!(first.read.latency_ns.len(), 4);
        assert!(first.write.latency_ns.max() >= LATENCY_NS_MAX);
        assert_eq!((first.errors, first.first_error.as_deref(), first.measured_ns), (2, Some("first"), 7));
    }

    #[test]
    fn what_was_seen_before_the_beginning_is_forgotten_but_for_errors() {
        let mut stats = Stats::default();
        stats.write.record(1, 512, 5);
        stats.fail(|| "fault".into());
        stats.begin();
        assert_eq!((stats.write.ios, stats.write.latency_ns.len(), stats.errors), (0, 0, 1));
    }
}

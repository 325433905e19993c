//! Time as the loop sees it: read seldom while idle, and charged to the account.
//!
//! Reading the clock costs 20 to 50 ns, several times what an idle pass costs, and is paid by whoever waits for that
//! pass. So an idle reactor reads it once in [`IDLE_PASSES`] passes, a busy one after each.

use crate::context::Progress;
use crate::load::Meter;

/// Idle passes from one reading of the clock to the next.
pub(crate) const IDLE_PASSES: u64 = 16;

/// When it is, and what has not been charged yet.
#[derive(Debug)]
pub(crate) struct Pace {
    now_ns: u64,
    /// Idle passes since the last reading.
    uncharged: u64,
    /// What an idle pass took of late: tells idle passes from the busy one that ended them.
    idle_pass_ns: u64,
}

impl Pace {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self { now_ns, uncharged: 0, idle_pass_ns: 0 }
    }

    /// The last reading.
    pub(crate) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Takes note of a pass.
    #[inline]
    pub(crate) fn passed(&mut self, progress: Progress, meter: &Meter, read: impl FnOnce() -> u64) {
        match progress {
            Progress::Busy => {
                let spent_ns = self.advance(read());
                let idle_ns = spent_ns.min(self.uncharged * self.idle_pass_ns);
                meter.passes(Progress::Idle, self.uncharged, idle_ns);
                meter.passes(Progress::Busy, 1, spent_ns - idle_ns);
                self.uncharged = 0;
            }
            Progress::Idle => {
                self.uncharged += 1;
                if self.uncharged >= IDLE_PASSES {
                    self.charge_idle(meter, read);
                }
            }
        }
    }

    /// Charges the idle passes that are left, before a sleep.
    pub(crate) fn charge_idle(&mut self, meter: &Meter, read: impl FnOnce() -> u64) {
        let spent_ns = self.advance(read());
        if let Some(each_ns) = spent_ns.checked_div(self.uncharged) {
            self.idle_pass_ns = each_ns;
            meter.passes(Progress::Idle, self.uncharged, spent_ns);
        }
        self.uncharged = 0;
    }

    /// Goes on at `now_ns`; returns how long after the last reading that is, in nanoseconds.
    pub(crate) fn advance(&mut self, now_ns: u64) -> u64 {
        let spent_ns = now_ns.saturating_sub(self.now_ns);
        self.now_ns = now_ns;
        spent_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Load;

    #[test]
    fn an_idle_reactor_reads_the_clock_seldom() {
        let (mut pace, meter) = (Pace::new(1000), Meter::default());
        for _ in 1..IDLE_PASSES {
            pace.passed(Progress::Idle, &meter, || unreachable!("too early"));
        }
        pace.passed(Progress::Idle, &meter, || 1000 + 10 * IDLE_PASSES);
        assert_eq!(pace.now_ns(), 1000 + 10 * IDLE_PASSES);
        let expected = Load { idle_passes: IDLE_PASSES, idle_ns: 10 * IDLE_PASSES, ..Load::default() };
        assert_eq!(meter.load(), expected);
    }

    #[test]
    fn a_busy_pass_is_told_from_the_idle_ones_before_it() {
        let (mut pace, meter) = (Pace::new(0), Meter::default());
        for _ in 0..IDLE_PASSES {
            pace.passed(Progress::Idle, &meter, || 10 * IDLE_PASSES);
        }
        let idle_ns = pace.now_ns();
        pace.passed(Progress::Idle, &meter, || unreachable!("too early"));
        pace.passed(Progress::Idle, &meter, || unreachable!("too early"));
        pace.passed(Progress::Busy, &meter, || idle_ns + 520);
        pace.passed(Progress::Busy, &meter, || idle_ns + 920);
        let load = meter.load();
        assert_eq!((load.idle_passes, load.idle_ns), (IDLE_PASSES + 2, idle_ns + 20));
        assert_eq!((load.busy_passes, load.busy_ns), (2, 900));
    }

    #[test]
    fn a_sleep_charges_what_is_left_first() {
        let (mut pace, meter) = (Pace::new(0), Meter::default());
        pace.passed(Progress::Idle, &meter, || unreachable!("too early"));
        pace.charge_idle(&meter, || 30);
        pace.charge_idle(&meter, || 40);
        let load = meter.load();
        assert_eq!((load.idle_passes, load.idle_ns, pace.now_ns()), (1, 30, 40));
    }
}

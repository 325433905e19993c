//! Pauses that end at the very moment when the other side falls asleep: each is chosen by whether the one before was too long.

use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long a race may take in which one side hardly ever wins, as on a machine that has much else to do.
const TRIED_FOR: Duration = Duration::from_secs(4);
/// One pause in so many is of any length.
const STRAYS: u64 = 16;
/// Longest of those, as a power of two of nanoseconds.
const STRAY_MAX_LOG2: u64 = 18;
/// After so many wins of one side in a row, steps are twice as long; and so on.
const DOUBLED_AFTER: u32 = 16;
/// So often at most.
const DOUBLED_MAX: u32 = 6;

/// A sequence of numbers that look random, the same each time.
pub struct Random(u64);

impl Random {
    /// Its beginning.
    pub fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }

    /// Any time up to this one.
    pub fn up_to(&mut self, longest: Duration) -> Duration {
        Duration::from_nanos(self.below(longest.as_nanos() as u64))
    }
}

/// How many pauses were how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Too short: what came found the device awake.
    pub early: u32,
    /// Too long: it was to wake it.
    pub late: u32,
}

/// Chooses pauses.
pub struct Aim {
    /// Half of all are longer.
    pause: Duration,
    tally: Tally,
    /// Which side has won, and how often in a row.
    last: (bool, u32),
    start: Instant,
}

impl Aim {
    /// That begins with pauses of about this length.
    pub fn new(pause: Duration) -> Self {
        Self { pause, tally: Tally::default(), last: (false, 0), start: Instant::now() }
    }

    /// Whether each side has won `wins` times, or will not within any reasonable time.
    pub fn is_done(&self, wins: u32) -> bool {
        self.tally.early.min(self.tally.late) >= wins || self.start.elapsed() >= TRIED_FOR
    }

    /// How often each side has won.
    pub fn tally(&self) -> Tally {
        self.tally
    }

    /// The next pause.
    pub fn next(&self, random: &mut Random) -> Duration {
        if random.below(STRAYS) == 0 {
            let longest = 1 << random.below(STRAY_MAX_LOG2 + 1);
            return random.up_to(Duration::from_nanos(longest));
        }
        let spread = self.spread();
        self.pause.saturating_sub(spread / 2) + random.up_to(spread)
    }

    /// How far the pauses are apart.
    fn spread(&self) -> Duration {
        Duration::from_nanos(500) + self.pause / 32
    }

    /// Whether the last one was too long.
    pub fn learn(&mut self, late: bool) {
        let in_a_row = if self.last.0 == late { self.last.1 + 1 } else { 0 };
        self.last = (late, in_a_row);
        let step = self.spread() / 8 * (1 << (in_a_row / DOUBLED_AFTER).min(DOUBLED_MAX));
        self.pause = if late { self.pause.saturating_sub(step) } else { self.pause + step };
        *if late { &mut self.tally.late } else { &mut self.tally.early } += 1;
    }
}

/// Keeps the CPU for so long: to sleep takes longer than most of these pauses are.
pub fn pause(length: Duration) {
    let start = Instant::now();
    while start.elapsed() < length {
        std::hint::spin_loop();
    }
}

/// Leaves the CPU on which a target with [`cpumask`](super::cpumask)`(1)` works, if there is another one: two that share one
/// meet nowhere. For a thread that starts no target any more.
pub fn leave_the_cpu_of_the_target() {
    let mut cpus = sched_getaffinity(None).expect("own affinity");
    if let Some(first) = (0..CpuSet::MAX_CPU).find(|&cpu| cpus.is_set(cpu)).filter(|_| cpus.count() > 1) {
        cpus.unset(first);
        sched_setaffinity(None, &cpus).expect("a CPU of those that were allowed");
    }
}

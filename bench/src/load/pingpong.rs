//! How far apart two CPUs are: the time that a cache line takes to go to the other one and come back.
//!
//! A virtual machine's CPUs move about on the host. Figures of two CPUs mean nothing without this one beside them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::cpu;

/// Round trips of one batch: long enough for the clock, short enough to fit in a time slice.
const ROUNDS: u64 = 1000;
/// Batches, of which the best counts: the others were disturbed.
const BATCHES: usize = 40;
/// Empty looks before a side lets another thread of its CPU run: its peer may be that thread.
const LOOKS: u32 = 20_000;

/// Where two CPUs sit, as the time of a round trip tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Below 60 ns: two threads of one core.
    OneCore,
    /// Up to 200 ns: two cores that share their last-level cache.
    OneComplex,
    /// Above 200 ns: no cache in common.
    Apart,
}

impl Placement {
    /// What a round trip of `ns` means.
    pub fn of(ns: f64) -> Self {
        match ns {
            ns if ns < 60.0 => Self::OneCore,
            ns if ns <= 200.0 => Self::OneComplex,
            _ => Self::Apart,
        }
    }
}

impl std::fmt::Display for Placement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::OneCore => "one core",
            Self::OneComplex => "one complex",
            Self::Apart => "apart",
        })
    }
}

/// A line of its own, prefetcher's neighbour included.
#[repr(align(128))]
struct Line(AtomicU64);

/// Nanoseconds of one round trip between two CPUs.
///
/// # Errors
/// There is no such CPU for us, or both are the same.
pub fn measure(first: usize, second: usize) -> Result<f64> {
    ensure!(first != second, "load and target would take turns on CPU {first}: give them a CPU each");
    let line = Line(AtomicU64::new(0));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let echo = scope.spawn(|| echo(second, &line.0, &stop));
        let ping = scope.spawn(|| ping(first, &line.0, &stop));
        let best = ping.join().expect("the pinging thread does not panic");
        stop.store(true, Ordering::Relaxed);
        echo.join().expect("the echoing thread does not panic")?;
        best
    })
}

/// Makes every odd value even.
fn echo(cpu: usize, line: &AtomicU64, stop: &AtomicBool) -> Result<()> {
    cpu::pin(cpu).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
    let mut looks = 0u32;
    while !stop.load(Ordering::Relaxed) {
        let value = line.load(Ordering::Relaxed);
        if value & 1 == 1 {
            line.store(value + 1, Ordering::Relaxed);
            looks = 0;
        } else {
            wait(&mut looks);
        }
    }
    Ok(())
}

fn ping(cpu: usize, line: &AtomicU64, stop: &AtomicBool) -> Result<f64> {
    cpu::pin(cpu)?;
    let mut best = f64::INFINITY;
    for batch in 0..=BATCHES {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            if !round(line, stop) {
                return Ok(best);
            }
        }
        // The first batch waits for the other thread to come up.
        if batch > 0 {
            best = best.min(start.elapsed().as_nanos() as f64 / ROUNDS as f64);
        }
    }
    Ok(best)
}

fn round(line: &AtomicU64, stop: &AtomicBool) -> bool {
    let value = line.load(Ordering::Relaxed);
    line.store(value + 1, Ordering::Relaxed);
    let mut looks = 0u32;
    while line.load(Ordering::Relaxed) == value + 1 {
        if looks == 0 && stop.load(Ordering::Relaxed) {
            return false;
        }
        wait(&mut looks);
    }
    true
}

fn wait(looks: &mut u32) {
    *looks += 1;
    // No pause instruction: it takes longer than a line between two threads of a core.
    if *looks == LOOKS {
        *looks = 0;
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placements_have_their_bounds() {
        for (ns, placement) in [
            (46.0, Placement::OneCore),
            (67.0, Placement::OneComplex),
            (200.0, Placement::OneComplex),
            (485.0, Placement::Apart),
        ] {
            assert_eq!(Placement::of(ns), placement);
        }
    }

    #[test]
    fn both_ends_come_to_an_end_and_say_a_time() {
        let cpus = cpu::allowed().unwrap();
        let (first, last) = (cpus[0], *cpus.last().unwrap());
        match measure(first, last) {
            Ok(ns) => assert!(ns > 1.0 && ns.is_finite(), "{ns}"),
            Err(error) => assert_eq!(first, last, "{error}"),
        }
    }

    #[test]
    fn a_cpu_that_is_not_there_is_an_error() {
        let cpu = cpu::allowed().unwrap()[0];
        assert!(measure(cpu, 1023).is_err());
        assert!(measure(1023, cpu).is_err());
    }
}

//! The threads that make load, and the one that watches them.
//!
//! Each thread owns its lanes and looks at nothing but them and the clock; it tells how far it is through a line of its
//! own, which the watching thread reads a few times a second.

use std::io::IsTerminal;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use indicatif::{HumanFloatCount, ProgressBar, ProgressStyle};

use super::cpu;
use super::lane::{Clock, Lane};
use super::options::LoadOptions;
use super::peer::Peer;
use super::ring::DriverRing;
use super::stats::Stats;

/// A device that gives nothing back for so long has lost something.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// Passes without work between two looks at the clock.
const IDLE_LOOKS: u32 = 256;
/// How often the watching thread looks.
const TICK: Duration = Duration::from_millis(100);

/// A worker's queue: all that a thread needs of it.
pub trait Station: Send {
    /// One pass; the time if there was something to do.
    ///
    /// # Errors
    /// The run cannot go on.
    fn pass(&mut self, clock: Clock) -> Result<Option<u64>>;
    /// From here on it counts.
    fn begin_measuring(&mut self);
    /// From here on nothing counts and nothing new begins.
    fn end_measuring(&mut self, measured_ns: u64);
    /// Requests that ended so far.
    fn completed(&self) -> u64;
    /// Whether nothing is in flight.
    fn is_idle(&self) -> bool;
    /// Whether all that was to be done is.
    fn is_done(&self) -> bool;
    /// What was seen.
    fn stats(&self) -> &Stats;
}

impl<R: DriverRing> Station for Lane<R> {
    #[inline]
    fn pass(&mut self, clock: Clock) -> Result<Option<u64>> {
        Self::pass(self, clock)
    }

    fn begin_measuring(&mut self) {
        Self::begin_measuring(self);
    }

    fn end_measuring(&mut self, measured_ns: u64) {
        Self::end_measuring(self, measured_ns);
    }

    #[inline]
    fn completed(&self) -> u64 {
        Self::completed(self)
    }

    fn is_idle(&self) -> bool {
        Self::is_idle(self)
    }

    #[inline]
    fn is_done(&self) -> bool {
        Self::is_done(self)
    }

    fn stats(&self) -> &Stats {
        Self::stats(self)
    }
}

/// What a run has shown.
#[derive(Debug)]
pub struct Outcome {
    /// All queues together.
    pub stats: Stats,
    /// CPUs' worth of time that the load's own threads used while they measured: 1.0 is one CPU.
    pub load_cpus: f64,
    /// The same of the target or the device loop, if it is known.
    pub target_cpus: Option<f64>,
}

/// How far a thread is, in a line of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Progress(AtomicU64);

/// Deals `stations` to CPUs in turn, and runs them until the time is over and nothing is in flight.
///
/// # Errors
/// A thread failed: a CPU is not there, the device lost or invented something.
pub fn run<S: Station>(stations: &mut [S], options: &LoadOptions, peer: &Peer) -> Result<Outcome> {
    let cpus = options.cpus()?;
    let mut crews: Vec<(usize, Vec<&mut S>)> = cpus.iter().map(|&cpu| (cpu, Vec::new())).collect();
    for (index, station) in stations.iter_mut().enumerate() {
        crews[index % cpus.len()].1.push(station);
    }
    crews.retain(|(_, stations)| !stations.is_empty());
    let progress: Vec<_> = crews.iter().map(|_| Progress::default()).collect();
    let barrier = Barrier::new(crews.len() + 1);
    let is_gone = AtomicBool::new(false);
    let (load_cpus, target_cpus) = std::thread::scope(|scope| {
        let threads: Vec<_> = crews
            .into_iter()
            .zip(&progress)
            .map(|((cpu, mut stations), progress)| {
                let (barrier, is_gone) = (&barrier, &is_gone);
                scope.spawn(move || {
                    let pinned = cpu::pin(cpu);
                    barrier.wait();
                    pinned.and_then(|()| drive(&mut stations, options, (progress, is_gone)))
                })
            })
            .collect();
        barrier.wait();
        let target_cpus = watch(&threads, options, &progress, (peer, &is_gone));
        let ended = threads.into_iter().map(|thread| thread.join().expect("a load thread does not panic"));
        anyhow::Ok((ended.sum::<Result<f64>>()?, target_cpus))
    })?;
    let mut stats = Stats::default();
    stations.iter().for_each(|station| stats.add(station.stats()));
    Ok(Outcome { stats, load_cpus, target_cpus })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Ramp,
    Measure { since_ns: u64 },
    Drain,
}

/// A thread's whole run: tells of its progress, ends early if it shall, and gives up when the peer is gone. Returns which part of
/// the time it had a CPU while it measured.
fn drive<S: Station>(
    stations: &mut [&mut S],
    options: &LoadOptions,
    (progress, is_gone): (&Progress, &AtomicBool),
) -> Result<f64> {
    let clock = Clock::start();
    let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let ramp_end = ns(options.ramp);
    let end = ramp_end.saturating_add(ns(options.runtime));
    let mut phase = Phase::Ramp;
    let (mut worked_at, mut idle_looks) = (0, 0);
    let (mut used, mut share) = (Duration::ZERO, 0.0);
    loop {
        let mut now = None;
        for station in stations.iter_mut() {
            now = station.pass(clock)?.or(now);
        }
        let now = match now {
            Some(now) => {
                (worked_at, idle_looks) = (now, 0);
                progress.0.store(stations.iter().map(|station| station.completed()).sum(), Ordering::Relaxed);
                now
            }
            None if idle_looks < IDLE_LOOKS => {
                idle_looks += 1;
                continue;
            }
            None => {
                idle_looks = 0;
                let now = clock.now_ns();
                check_lost(stations, is_gone, now.saturating_sub(worked_at))?;
                now
            }
        };
        match phase {
            Phase::Ramp if now >= ramp_end => {
                used = cpu::own_time();
                stations.iter_mut().for_each(|station| station.begin_measuring());
                phase = Phase::Measure { since_ns: now };
            }
            Phase::Measure { since_ns }
                if now >= end || options.is_stopped() || stations.iter().all(|station| station.is_done()) =>
            {
                let measured_ns = now - since_ns;
                share = (cpu::own_time() - used).as_secs_f64() * 1e9 / measured_ns.max(1) as f64;
                stations.iter_mut().for_each(|station| station.end_measuring(measured_ns));
                phase = Phase::Drain;
            }
            Phase::Ramp if options.is_stopped() => bail!("interrupted before anything was measured"),
            Phase::Ramp if stations.iter().all(|station| station.is_done()) => {
                bail!("all requests ended before the ramp did: use --ramp 0");
            }
            Phase::Drain if stations.iter().all(|station| station.is_idle()) => return Ok(share),
            Phase::Ramp | Phase::Measure { .. } | Phase::Drain => {}
        }
    }
}

/// Nothing has come for so long: whether what is in flight, if anything is, can still come back. A target that ends after it has
/// given everything back takes nothing from what was measured, even if not all of that has been found yet.
fn check_lost<S: Station>(stations: &[&mut S], is_gone: &AtomicBool, silent_ns: u64) -> Result<()> {
    if stations.iter().all(|station| station.is_idle()) {
        return Ok(());
    }
    ensure!(!is_gone.load(Ordering::Relaxed), "the target has ended");
    let is_late = u128::from(silent_ns) > STALL_LIMIT.as_nanos();
    ensure!(!is_late, "nothing came back for {} s", STALL_LIMIT.as_secs());
    Ok(())
}

/// Shows how far the threads are until they end. CPUs' worth of time of the target, ramp apart, if it is known.
fn watch<T>(
    threads: &[ScopedJoinHandle<'_, T>],
    options: &LoadOptions,
    progress: &[Progress],
    (peer, is_gone): (&Peer, &AtomicBool),
) -> Option<f64> {
    let bar = bar(options);
    let start = Instant::now();
    let end = options.ramp + options.runtime;
    let mut begun = None;
    let mut ended = None;
    let mut last = (start, 0);
    while !threads.iter().all(ScopedJoinHandle::is_finished) {
        let elapsed = start.elapsed();
        let next = if begun.is_none() { options.ramp } else { end };
        std::thread::sleep(next.saturating_sub(elapsed).clamp(Duration::from_millis(1), TICK));
        if peer.has_ended() {
            is_gone.store(true, Ordering::Relaxed);
        }
        let now = Instant::now();
        if begun.is_none() && now - start >= options.ramp {
            begun = Some(Usage::now(peer));
        }
        if ended.is_none() && now - start >= end {
            ended = Some(Usage::now(peer));
        }
        if let Some(bar) = &bar {
            let done: u64 = progress.iter().map(|line| line.0.load(Ordering::Relaxed)).sum();
            let rate = (done - last.1) as f64 / (now - last.0).as_secs_f64();
            last = (now, done);
            bar.set_position((now - start).min(end).as_millis() as u64);
            bar.set_message(format!("{} IOPS", HumanFloatCount(rate.round())));
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let (begun, ended) = (begun?, ended.unwrap_or_else(|| Usage::now(peer)));
    ended.since(&begun)
}

fn bar(options: &LoadOptions) -> Option<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return None;
    }
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} % {msg:>20}").expect("the template is valid");
    Some(ProgressBar::new((options.ramp + options.runtime).as_millis() as u64).with_style(style))
}

/// CPU time that the peer has used so far.
struct Usage {
    at: Instant,
    time: Option<Duration>,
}

impl Usage {
    fn now(peer: &Peer) -> Self {
        Self { at: Instant::now(), time: peer.time() }
    }

    /// CPUs' worth of time since then.
    fn since(&self, begun: &Self) -> Option<f64> {
        let used = self.time?.saturating_sub(begun.time?);
        Some(used.as_secs_f64() / (self.at - begun.at).as_secs_f64().max(1e-9))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::words::RawWords;
    use super::*;

    /// Works until it was measured, and then has so many requests that come back one by one, and such that never do.
    #[derive(Default)]
    struct Fake {
        late: u64,
        lost: u64,
        /// How long each pass sleeps.
        rest: Duration,
        is_over: bool,
        stats: Stats,
    }

    impl Station for Fake {
        fn pass(&mut self, clock: Clock) -> Result<Option<u64>> {
            let works = !self.is_over || self.late > 0;
            self.late -= u64::from(self.is_over && self.late > 0);
            std::thread::sleep(self.rest);
            Ok(works.then(|| clock.now_ns()))
        }

        fn begin_measuring(&mut self) {}

        fn end_measuring(&mut self, measured_ns: u64) {
            (self.is_over, self.stats.measured_ns) = (true, measured_ns);
        }

        fn completed(&self) -> u64 {
            0
        }

        fn is_idle(&self) -> bool {
            self.is_over && self.late + self.lost == 0
        }

        fn is_done(&self) -> bool {
            false
        }

        fn stats(&self) -> &Stats {
            &self.stats
        }
    }

    #[test]
    fn a_target_that_ends_takes_with_it_only_what_is_in_flight() {
        let RawWords { load, .. } = RawWords::parse_from("raw --file f --ramp 0 --runtime 1ms".split_whitespace());
        let ends = |late, lost| {
            let mut station = Fake { late, lost, ..Fake::default() };
            drive(&mut [&mut station], &load, (&Progress::default(), &AtomicBool::new(true)))
        };
        ends(0, 0).expect("all had come back before it ended");
        ends(3, 0).expect("all had come back, and was not found at once");
        assert_eq!(ends(3, 1).unwrap_err().to_string(), "the target has ended");
    }

    #[test]
    fn what_other_threads_of_the_process_use_is_not_the_loads() {
        let RawWords { load, .. } = RawWords::parse_from("raw --file f --ramp 0 --runtime 100ms".split_whitespace());
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop()
                }
            });
            let mut station = Fake { rest: Duration::from_millis(2), ..Fake::default() };
            let outcome = run(std::slice::from_mut(&mut station), &load, &Peer::Unknown);
            over.store(true, Ordering::Relaxed);
            let Outcome { load_cpus, target_cpus, .. } = outcome.unwrap();
            assert!(load_cpus > 0.0 && load_cpus < 0.5, "{load_cpus}");
            assert_eq!(target_cpus, None);
        });
    }

    #[test]
    fn each_thread_of_a_load_counts_up_to_a_cpu() {
        let RawWords { load, .. } = RawWords::parse_from("raw --file f --ramp 0 --runtime 30ms".split_whitespace());
        let mut station = Fake::default();
        let outcome = run(std::slice::from_mut(&mut station), &load, &Peer::Unknown).unwrap();
        assert!(outcome.load_cpus > 0.0 && outcome.load_cpus < 1.05, "{}", outcome.load_cpus);
    }
}

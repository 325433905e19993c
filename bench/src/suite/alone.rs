//! Figures that stand alone: idle controllers' CPU time, memory, start, the way out of sleep.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;

use super::judge::median;
use super::record::{Distance, Figure};
use super::sides::Runner;
use super::target::Target;
use crate::guest::framing::Shape;
use crate::guest::memory::{Gpa, HUGE_PAGE};
use crate::guest::scsi::{Command, Lun};
use crate::guest::{Guest, Options, cdb};
use crate::load::cpu;

/// Controllers whose idling is measured.
const IDLE_CONTROLLERS: usize = 16;
/// Controllers whose memory is measured, queues of each, entries of these.
const MEMORY_CONTROLLERS: usize = 8;
const MEMORY_QUEUES: u16 = 4;
const MEMORY_QUEUE_SIZE: u16 = 256;
/// How long everything is left alone before idling counts.
const SETTLE: Duration = Duration::from_millis(500);
/// How long a reactor is left alone so that it sleeps: it spins for 200 us.
const REST: Duration = Duration::from_millis(3);
/// Unit attentions that a disk can have waiting.
const ATTENTIONS: usize = 8;
/// Longest time that is told apart.
const NS_MAX: u64 = 10_000_000_000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Figures, taken again if the two CPUs moved meanwhile, with where these sat.
fn placed(runner: &mut Runner, take: impl FnMut(&mut Runner) -> Result<Vec<Figure>>) -> Result<Vec<Figure>> {
    let (figures, found) = runner.placed(take)?;
    let pair = found.map(Distance::from);
    Ok(figures.into_iter().map(|figure| Figure { pair: pair.clone(), ..figure }).collect())
}

/// A target with so many controllers, each with a disk of nothing and a guest that has interrupts and rings doorbells.
fn many(runner: &mut Runner, count: usize, queues: u16, queue_size: u16) -> Result<(Target, Vec<Guest>)> {
    let (target_cpu, _) = runner.pairs[0];
    let sockets: Vec<PathBuf> = (0..count).map(|_| runner.launcher.socket()).collect();
    let mut words: Vec<String> =
        ["--cpumask".into(), format!("[{target_cpu}]"), "--idle".into(), "adaptive".into()].into();
    for socket in &sockets {
        let socket = socket.to_str().context("the path is not UTF-8")?;
        words
            .extend(["--socket", socket, "--queues", &queues.to_string(), "--disk", "null:size=1T"].map(str::to_owned));
    }
    let target = runner.launcher.start(&words)?;
    let guests = sockets.iter().map(|socket| {
        let options = Options {
            request_queues: queues,
            queue_size,
            regions: vec![(Gpa(1 << 32), 2 * HUGE_PAGE)],
            limit: PATIENCE,
            ..Options::default()
        };
        let mut guest = Guest::attach(socket, options)?;
        wake_up(&mut guest)?;
        Ok(guest)
    });
    let guests = guests.collect::<Result<_>>()?;
    Ok((target, guests))
}

/// Takes the unit attentions that wait since the reset.
fn wake_up(guest: &mut Guest) -> Result<()> {
    for _ in 0..ATTENTIONS {
        if guest.execute(0, &Command::new(Lun::new(0, 0), cdb::test_unit_ready()))?.is_good() {
            return Ok(());
        }
    }
    anyhow::bail!("the disk does not become ready")
}

/// CPU time of controllers that nobody uses, in percent of one CPU.
///
/// # Errors
/// The target or a guest of it fails.
pub fn idle_cpu(runner: &mut Runner, length: Duration) -> Result<Vec<Figure>> {
    placed(runner, |runner| idle_cpu_once(runner, length))
}

fn idle_cpu_once(runner: &mut Runner, length: Duration) -> Result<Vec<Figure>> {
    let (target, guests) = many(runner, IDLE_CONTROLLERS, 1, MEMORY_QUEUE_SIZE)?;
    std::thread::sleep(SETTLE);
    let (began, before) = (Instant::now(), target.cpu_time()?);
    std::thread::sleep(length);
    let used = target.cpu_time()?.saturating_sub(before);
    let percent = used.as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    drop(guests);
    let text = format!("CPU time of {IDLE_CONTROLLERS} idle controllers, over {:.0} s", length.as_secs_f64());
    Ok(vec![Figure::new("idle-cpu", text, percent, "% of one CPU")])
}

/// Memory that controllers take.
///
/// # Errors
/// As above.
pub fn memory(runner: &mut Runner) -> Result<Vec<Figure>> {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let of = |runner: &mut Runner, count: usize| {
        let (target, mut guests) = many(runner, count, MEMORY_QUEUES, MEMORY_QUEUE_SIZE)?;
        for guest in &mut guests {
            ensure!(guest.request_queues() == MEMORY_QUEUES, "the target has {} queues", guest.request_queues());
            for queue in 0..MEMORY_QUEUES {
                guest.execute(queue, &Command::read(Lun::new(0, 0), 0, 8, 512))?.good()?;
            }
        }
        target.memory()
    };
    let one = of(runner, 1)?;
    let all = of(runner, MEMORY_CONTROLLERS)?;
    let each = all.saturating_sub(one) / (MEMORY_CONTROLLERS as u64 - 1);
    let what = format!("{MEMORY_QUEUES} queues of {MEMORY_QUEUE_SIZE}, guest memory apart");
    Ok(vec![
        Figure::new("memory", format!("memory of a further controller with {what}"), mib(each), "MiB"),
        Figure::new(
            "memory-one",
            format!("memory of the whole target with one controller with {what}"),
            mib(one),
            "MiB",
        ),
    ])
}

/// From the start of the process until it listens.
///
/// # Errors
/// As above.
pub fn start(runner: &mut Runner, rounds: u32) -> Result<Vec<Figure>> {
    let mut times = Vec::new();
    for _ in 0..rounds {
        let socket = runner.launcher.socket();
        let socket = socket.to_str().context("the path is not UTF-8")?.to_owned();
        let words = ["--socket".to_owned(), socket, "--disk".to_owned(), "null:size=1T".to_owned()];
        times.push(runner.launcher.start(&words)?.start_time().as_secs_f64() * 1e3);
    }
    Ok(vec![Figure::new("start", format!("start to listening, median of {rounds}"), median(times), "ms")])
}

/// A read that finds the reactor asleep, from its submission to its completion as a guest that polls sees it; beside it, a
/// register that is read over the socket after the same rest.
///
/// # Errors
/// As above.
pub fn wake(runner: &mut Runner, samples: u32) -> Result<Vec<Figure>> {
    placed(runner, |runner| wake_once(runner, samples))
}

fn wake_once(runner: &mut Runner, samples: u32) -> Result<Vec<Figure>> {
    let (target, mut guests) = many(runner, 1, 1, MEMORY_QUEUE_SIZE)?;
    let guest = &mut guests[0];
    let (_, load_cpu) = runner.pairs[0];
    // In a thread of its own, for the CPU it is kept on.
    let (reads, registers) = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            cpu::pin(load_cpu)?;
            sample(guest, samples)
        });
        thread.join().expect("the sampling thread does not panic")
    })?;
    drop(target);
    let us = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Ok(vec![
        Figure::new("wake-p50", "read that wakes a reactor, p50", us(&reads, 0.5), "us"),
        Figure::new("wake-p99", "read that wakes a reactor, p99", us(&reads, 0.99), "us"),
        Figure::new("socket-p50", "register read over the socket, p50", us(&registers, 0.5), "us"),
        Figure::new("socket-p99", "register read over the socket, p99", us(&registers, 0.99), "us"),
    ])
}

fn sample(guest: &mut Guest, samples: u32) -> Result<(Histogram<u64>, Histogram<u64>)> {
    let histogram = || Histogram::new_with_bounds(1, NS_MAX, 3).expect("the bounds are valid");
    let (mut reads, mut registers) = (histogram(), histogram());
    for _ in 0..samples {
        std::thread::sleep(REST);
        let began = Instant::now();
        guest.submit(0, &Command::read(Lun::new(0, 0), 0, 8, 512), &Shape::default())?;
        let completion = loop {
            if let Some(completion) = guest.poll(0)? {
                break completion;
            }
            ensure!(began.elapsed() < PATIENCE, "a read does not come back");
        };
        reads.saturating_record(began.elapsed().as_nanos() as u64);
        completion.response.good()?;
        std::thread::sleep(REST);
        let began = Instant::now();
        guest.status()?;
        registers.saturating_record(began.elapsed().as_nanos() as u64);
    }
    Ok((reads, registers))
}

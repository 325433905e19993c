//! On which CPU a target polls the queue that is loaded, as far as one can see from outside.
//!
//! Its reactors are threads that may run on one CPU alone. Where there are several, the queue is given something to do for a
//! moment: what they have used since they began tells of other work, maybe of other guests.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::process::Pid;

/// How long the queue is given something to do: many ticks of the kernel, which counts a running thread's time by them.
const MOMENT: Duration = Duration::from_millis(50);

/// CPUs that a process may poll on, and the nanoseconds that its threads there have used so far.
type Pollers = BTreeMap<usize, u64>;

/// The CPU, none of `ours`, that process `pid` polls the queue on which `work` is done; `None` if nobody can tell.
///
/// # Errors
/// Those of `work`, which is repeated for a moment if there are several CPUs to choose from.
pub fn find(pid: Pid, ours: &[usize], mut work: impl FnMut() -> Result<()>) -> Result<Option<usize>> {
    let before = pollers(pid, ours);
    if before.len() <= 1 {
        return Ok(before.into_keys().next());
    }
    let began = Instant::now();
    while began.elapsed() < MOMENT {
        work()?;
    }
    let found = busiest(&before, &pollers(pid, ours));
    if found.is_none() {
        let cpus: Vec<_> = before.keys().collect();
        eprintln!("note: which of the CPUs {cpus:?} serves this cannot be seen: --target-cpu");
    }
    Ok(found)
}

fn pollers(pid: Pid, ours: &[usize]) -> Pollers {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let pinned = tasks.into_iter().flatten().filter_map(|task| {
        let task = task.ok()?.path();
        let cpu = only_cpu(&std::fs::read_to_string(task.join("status")).ok()?)?;
        let is_reactor = std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("reactor"));
        (!ours.contains(&cpu)).then(|| (is_reactor, cpu, time(&task)))
    });
    let pinned: Vec<_> = pinned.collect();
    // Others than reactors count where nobody calls itself one.
    let has_reactors = pinned.iter().any(|&(is_reactor, ..)| is_reactor);
    let mut found = Pollers::new();
    for (_, cpu, ns) in pinned.into_iter().filter(|&(is_reactor, ..)| is_reactor || !has_reactors) {
        *found.entry(cpu).or_default() += ns;
    }
    found
}

/// The CPU that was used between two looks, if no other one was used half as much.
fn busiest(before: &Pollers, after: &Pollers) -> Option<usize> {
    let used = after.iter().map(|(cpu, ns)| (ns.saturating_sub(before.get(cpu).copied().unwrap_or(0)), *cpu));
    let mut used: Vec<_> = used.collect();
    used.sort_unstable();
    let (most, cpu) = used.pop()?;
    let next = used.pop().map_or(0, |(next, _)| next);
    (next < most / 2).then_some(cpu)
}

/// Nanoseconds that a thread has run; 0 where the kernel does not count them.
fn time(task: &Path) -> u64 {
    let spent = std::fs::read_to_string(task.join("schedstat")).ok();
    spent.and_then(|text| text.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The one CPU that a thread may run on, by its `status`; `None` if there are several.
fn only_cpu(status: &str) -> Option<usize> {
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier};

    use super::super::cpu;
    use super::*;

    #[test]
    fn a_thread_of_one_cpu_is_told_from_others() {
        assert_eq!(only_cpu("Name:\tx\nCpus_allowed:\t4\nCpus_allowed_list:\t2\nMems_allowed_list:\t0\n"), Some(2));
        for several in ["0-3", "0,2", ""] {
            assert_eq!(only_cpu(&format!("Cpus_allowed_list:\t{several}\n")), None, "{several}");
        }
    }

    #[test]
    fn what_was_used_before_does_not_count_and_two_alike_tell_nothing() {
        let at = |first, second| Pollers::from([(0, first), (3, second)]);
        let before = at(9_000_000, 1_000);
        assert_eq!(busiest(&before, &at(9_000_100, 2_000)), Some(3));
        assert_eq!(busiest(&before, &at(9_001_000, 1_100)), Some(0));
        assert_eq!(busiest(&before, &at(9_001_000, 1_900)), None, "both poll");
        assert_eq!(busiest(&before, &before), None, "nobody counts");
    }

    /// A thread named like a reactor on each of our CPUs; the one on CPU `busy` spins, the others wait.
    fn beside_reactors(busy: &Arc<AtomicUsize>, look: impl FnOnce()) {
        let cpus = cpu::allowed().unwrap();
        let (begun, over) = (&Barrier::new(cpus.len() + 1), &Barrier::new(cpus.len() + 1));
        std::thread::scope(|scope| {
            for cpu in cpus {
                let spawned =
                    std::thread::Builder::new().name(format!("reactor-{cpu}")).spawn_scoped(scope, move || {
                        cpu::pin(cpu).unwrap();
                        begun.wait();
                        while busy.load(Ordering::Relaxed) != usize::MAX {
                            if busy.load(Ordering::Relaxed) != cpu {
                                std::thread::sleep(Duration::from_millis(1));
                            }
                        }
                        over.wait();
                    });
                spawned.unwrap();
            }
            begun.wait();
            look();
            busy.store(usize::MAX, Ordering::Relaxed);
            over.wait();
        });
    }

    #[test]
    fn the_reactor_that_does_the_work_is_found_whoever_did_more_before() {
        let (cpus, busy) = (cpu::allowed().unwrap(), Arc::new(AtomicUsize::new(usize::MAX - 1)));
        let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
        let us = rustix::process::getpid();
        beside_reactors(&busy, || {
            busy.store(first, Ordering::Relaxed);
            std::thread::sleep(2 * MOMENT);
            busy.store(last, Ordering::Relaxed);
            let nap = || {
                std::thread::sleep(Duration::from_millis(1));
                Ok(())
            };
            assert_eq!(find(us, &[], nap).unwrap(), Some(last));
            // Among those that are not ours there is no other.
            let ours: Vec<_> = cpus.iter().copied().filter(|&cpu| cpu != first).collect();
            let found = find(us, &ours, || panic!("there is nothing to find out"));
            assert_eq!(found.unwrap(), Some(first));
            assert_eq!(find(us, &cpus, nap).unwrap(), None, "all are ours");
        });
    }
}

//! Pins threads, and asks what CPU time others have used, and on which CPU a target polls.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::param::clock_ticks_per_second;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Keeps the calling thread on one CPU.
///
/// # Errors
/// There is no such CPU for us.
pub fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        bail!("there is no CPU {cpu}");
    }
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("cannot run on CPU {cpu}"))
}

/// CPUs that this process may use, in ascending order.
///
/// # Errors
/// The kernel does not say.
pub fn allowed() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("cannot find the CPUs")?;
    Ok((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect())
}

/// User and system time that all threads of a process have used so far. `None` if there is no such process.
pub fn time_of(pid: Pid) -> Option<Duration> {
    stat_time(Path::new(&format!("/proc/{}/stat", pid.as_raw_nonzero())))
}

/// The same of one thread of this process.
pub fn time_of_thread(thread: Pid) -> Option<Duration> {
    stat_time(Path::new(&format!("/proc/self/task/{}/stat", thread.as_raw_nonzero())))
}

fn stat_time(path: &Path) -> Option<Duration> {
    let stat = std::fs::read_to_string(path).ok()?;
    parse_stat(&stat).map(|ticks| Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
}

/// The CPU that a process polls on, as far as one can see from outside: that of a thread which may run on one CPU alone, not
/// on one of `ours`. Best if it calls itself a reactor, then if it has used more time than the others.
pub fn polled_by(pid: Pid, ours: &[usize]) -> Option<usize> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).ok()?;
    let candidates = tasks.filter_map(|task| {
        let task = task.ok()?.path();
        let cpu = only_cpu(&std::fs::read_to_string(task.join("status")).ok()?)?;
        let is_reactor = std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("reactor"));
        let used = stat_time(&task.join("stat")).unwrap_or_default();
        (!ours.contains(&cpu)).then_some((is_reactor, used, std::cmp::Reverse(cpu)))
    });
    candidates.max().map(|(.., cpu)| cpu.0)
}

/// The one CPU that a thread may run on, by its `status`; `None` if there are several.
fn only_cpu(status: &str) -> Option<usize> {
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().parse().ok()
}

/// Fields 14 and 15. The second field is the name in parentheses, which can hold anything.
fn parse_stat(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_found_behind_any_name() {
        let stat = "7 (a ) 1 (b) S 1 2 3 4 5 6 7 8 9 10 100 23 5 6 20 0";
        assert_eq!(parse_stat(stat), Some(123));
        assert_eq!(parse_stat("7 (a) S 1 2"), None);
    }

    #[test]
    fn a_thread_of_one_cpu_is_told_from_others() {
        assert_eq!(only_cpu("Name:\tx\nCpus_allowed:\t4\nCpus_allowed_list:\t2\nMems_allowed_list:\t0\n"), Some(2));
        for several in ["0-3", "0,2", ""] {
            assert_eq!(only_cpu(&format!("Cpus_allowed_list:\t{several}\n")), None, "{several}");
        }
    }

    #[test]
    fn the_cpu_of_a_reactor_is_found_and_ours_is_not() {
        let cpu = *allowed().unwrap().last().unwrap();
        let (begun, over) = (&std::sync::Barrier::new(2), &std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            let reactor = std::thread::Builder::new().name(format!("reactor-{cpu}"));
            let spawned = reactor.spawn_scoped(scope, move || {
                pin(cpu).unwrap();
                begun.wait();
                over.wait();
            });
            spawned.unwrap();
            begun.wait();
            let found = polled_by(rustix::process::getpid(), &[]);
            let but_for_ours = polled_by(rustix::process::getpid(), &allowed().unwrap());
            over.wait();
            assert_eq!((found, but_for_ours), (Some(cpu), None));
        });
    }

    #[test]
    fn a_pinned_thread_may_use_one_cpu() {
        let cpu = *allowed().unwrap().last().unwrap();
        std::thread::spawn(move || {
            pin(cpu).unwrap();
            assert_eq!(allowed().unwrap(), [cpu]);
            assert!(pin(CpuSet::MAX_CPU).is_err());
        })
        .join()
        .unwrap();
    }
}

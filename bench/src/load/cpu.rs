//! Pins threads, and asks what CPU time others have used.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::param::clock_ticks_per_second;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

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

/// CPU time that the calling thread has used so far, to the nanosecond.
pub fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn stat_time(path: &Path) -> Option<Duration> {
    let stat = std::fs::read_to_string(path).ok()?;
    parse_stat(&stat).map(|ticks| Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64))
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

    #[test]
    fn a_thread_that_sleeps_uses_no_time_of_its_own() {
        let before = own_time();
        std::thread::sleep(Duration::from_millis(20));
        assert!(own_time() - before < Duration::from_millis(10));
        while own_time() - before < Duration::from_millis(1) {}
    }
}

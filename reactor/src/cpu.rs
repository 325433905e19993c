//! CPUs: which there are, which this process may use, and pinning a thread to one.
//!
//! Parsing masks that users write is not done here.

use std::fmt;

use rustix::thread::{CpuSet, sched_getaffinity};

/// The number of a CPU, as the kernel counts them from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpu(pub usize);

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU {}", self.0)
    }
}

/// Why a reactor cannot run on a CPU.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CpuError {
    /// The machine has no such CPU, or it is offline.
    #[error("{cpu} does not exist: this machine has {online}")]
    Missing {
        /// The one asked for.
        cpu: Cpu,
        /// Those that are online.
        online: CpuList,
    },
    /// The CPU exists, but this process may not run there.
    #[error("{cpu} is not allowed for this process (cgroup or taskset): allowed are {allowed}")]
    Denied {
        /// The one asked for.
        cpu: Cpu,
        /// Those that are allowed.
        allowed: CpuList,
    },
    /// The kernel did not take the thread's affinity.
    #[error("cannot pin a thread to {0}")]
    Pin(Cpu),
}

/// A list of CPUs, shown the way people write them: `CPUs 0-3,8`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuList(Vec<Cpu>);

impl CpuList {
    /// The CPUs that are online. If the kernel does not tell, those that this process may use.
    pub fn online() -> Self {
        std::fs::read_to_string("/sys/devices/system/cpu/online")
            .ok()
            .and_then(|text| Self::parse(text.trim()))
            .unwrap_or_else(Self::allowed)
    }

    /// The CPUs that this process may use. Asks for the main thread: the calling one may be pinned already.
    pub fn allowed() -> Self {
        let set = sched_getaffinity(Some(rustix::process::getpid())).unwrap_or_else(|_| CpuSet::new());
        Self::from_set(&set)
    }

    /// The CPUs, in rising order.
    pub fn iter(&self) -> impl Iterator<Item = Cpu> {
        self.0.iter().copied()
    }

    /// Whether `cpu` is in the list.
    pub fn contains(&self, cpu: Cpu) -> bool {
        self.0.binary_search(&cpu).is_ok()
    }

    fn from_set(set: &CpuSet) -> Self {
        Self((0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).map(Cpu).collect())
    }

    /// Reads the kernel's form, `0-3,8`. `None` if it is anything else or names a CPU past what an affinity can hold.
    fn parse(text: &str) -> Option<Self> {
        let mut cpus = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
            if last >= CpuSet::MAX_CPU {
                return None;
            }
            cpus.extend((first..=last).map(Cpu));
        }
        cpus.sort();
        Some(Self(cpus))
    }
}

impl FromIterator<Cpu> for CpuList {
    fn from_iter<I: IntoIterator<Item = Cpu>>(cpus: I) -> Self {
        let mut cpus: Vec<_> = cpus.into_iter().collect();
        cpus.sort();
        cpus.dedup();
        Self(cpus)
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.len() == 1 { "CPU " } else { "CPUs " })?;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, run) in self.0.chunk_by(|a, b| a.0 + 1 == b.0).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match run {
                [one] => write!(f, "{comma}{}", one.0)?,
                [first, .., last] => write!(f, "{comma}{}-{}", first.0, last.0)?,
                [] => {}
            }
        }
        Ok(())
    }
}

impl Cpu {
    /// Checks that the CPU exists and that this process may use it.
    ///
    /// # Errors
    /// [`CpuError::Missing`] or [`CpuError::Denied`], which say what there is instead.
    pub fn check(self) -> Result<(), CpuError> {
        self.check_among(CpuList::online, CpuList::allowed)
    }

    fn check_among(self, online: impl Fn() -> CpuList, allowed: impl Fn() -> CpuList) -> Result<(), CpuError> {
        let allowed = allowed();
        if allowed.contains(self) {
            return Ok(());
        }
        let online = online();
        if online.contains(self) {
            Err(CpuError::Denied { cpu: self, allowed })
        } else {
            Err(CpuError::Missing { cpu: self, online })
        }
    }

    /// Pins the calling thread to this CPU, and looks whether that took.
    pub(crate) fn pin_current_thread(self) -> Result<(), CpuError> {
        self.check()?;
        let asked = core_affinity::set_for_current(core_affinity::CoreId { id: self.0 });
        let took = sched_getaffinity(None).is_ok_and(|set| CpuList::from_set(&set) == CpuList(vec![self]));
        if asked && took { Ok(()) } else { Err(CpuError::Pin(self)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> CpuList {
        CpuList::parse(text).expect("a list")
    }

    #[test]
    fn lists_read_and_print_as_the_kernel_writes_them() {
        for (text, shown) in [("0", "CPU 0"), ("0-1", "CPUs 0-1"), ("0-3,8,10-11", "CPUs 0-3,8,10-11")] {
            assert_eq!(list(text).to_string(), shown);
        }
        for wrong in ["", "a", "1-", "0-99999999999", "1024"] {
            assert_eq!(CpuList::parse(wrong), None, "{wrong}");
        }
        assert_eq!([Cpu(2), Cpu(0), Cpu(2)].into_iter().collect::<CpuList>().to_string(), "CPUs 0,2");
        assert_eq!(CpuList::default().to_string(), "CPUs none");
    }

    #[test]
    fn the_error_says_what_there_is() {
        let check = |cpu| Cpu(cpu).check_among(|| list("0-3"), || list("0-1"));
        assert_eq!(check(1), Ok(()));
        assert_eq!(check(7).unwrap_err().to_string(), "CPU 7 does not exist: this machine has CPUs 0-3");
        assert_eq!(
            check(3).unwrap_err().to_string(),
            "CPU 3 is not allowed for this process (cgroup or taskset): allowed are CPUs 0-1"
        );
    }

    #[test]
    fn a_cpu_past_all_sets_is_missing() {
        for cpu in [CpuSet::MAX_CPU, usize::MAX] {
            assert!(matches!(Cpu(cpu).check(), Err(CpuError::Missing { .. })));
        }
    }

    #[test]
    fn pins_the_calling_thread_only() {
        let cpu = CpuList::allowed().iter().last().expect("this test runs somewhere");
        let before = CpuList::allowed();
        std::thread::spawn(move || {
            cpu.pin_current_thread().expect("an allowed CPU");
            assert_eq!(CpuList::from_set(&sched_getaffinity(None).unwrap()), CpuList(vec![cpu]));
        })
        .join()
        .unwrap();
        assert_eq!(CpuList::allowed(), before);
    }
}

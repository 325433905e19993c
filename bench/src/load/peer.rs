//! Who serves the load: what CPU time it takes, and whether it is still there.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::cpu;

/// The other side of a run.
#[derive(Debug)]
pub enum Peer {
    /// The kernel, or nobody knows who.
    Unknown,
    /// A process, and what says that it has ended, where the kernel gives such a thing.
    Process(Pid, Option<OwnedFd>),
    /// A thread of this process.
    Thread(Pid),
}

impl Peer {
    /// The process of this number, if one is known.
    pub fn process(pid: Option<Pid>) -> Self {
        pid.map_or(Self::Unknown, |pid| Self::Process(pid, pidfd_open(pid, PidfdFlags::empty()).ok()))
    }

    /// CPU time that it has used so far.
    pub fn time(&self) -> Option<Duration> {
        match self {
            Self::Unknown => None,
            Self::Process(pid, _) => cpu::time_of(*pid),
            Self::Thread(thread) => cpu::time_of_thread(*thread),
        }
    }

    /// Whether it was a process that has ended.
    pub fn has_ended(&self) -> bool {
        let Self::Process(_, Some(fd)) = self else { return false };
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)) == Ok(1)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_has_ended_is_noticed_though_nobody_waited_for_it() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let peer = Peer::process(Pid::from_raw(child.id() as i32));
        assert!(!peer.has_ended() && peer.time().is_some());
        child.kill().unwrap();
        let Peer::Process(_, Some(fd)) = &peer else { panic!("{peer:?}") };
        poll(&mut [PollFd::new(fd, PollFlags::IN)], None).unwrap();
        assert!(peer.has_ended());
        child.wait().unwrap();
        assert!(peer.has_ended() && peer.time().is_none());
    }

    #[test]
    fn nobody_knows_when_the_kernel_ends() {
        assert!(!Peer::Unknown.has_ended() && Peer::process(None).time().is_none());
    }

    #[test]
    fn a_thread_has_time_of_its_own() {
        let peer = Peer::Thread(rustix::thread::gettid());
        assert!(peer.time().is_some() && !peer.has_ended());
    }
}

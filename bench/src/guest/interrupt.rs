//! An interrupt vector: an eventfd that the device signals.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use super::error::{Error, Result};

/// One vector.
#[derive(Debug)]
pub struct Interrupt(OwnedFd);

impl Interrupt {
    /// A vector that has not fired.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn new() -> Result<Self> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Self).map_err(Error::system("create an eventfd"))
    }

    /// How often it fired since the last call.
    pub fn take(&self) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(8) => u64::from_ne_bytes(count),
            _ => 0,
        }
    }

    /// Waits until it fires or `limit` is over; returns how often it fired.
    ///
    /// # Errors
    /// The system call failed.
    pub fn wait(&self, limit: Duration) -> Result<u64> {
        let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => Ok(self.take()),
            Err(errno) => Err(Error::system("wait for an interrupt")(errno)),
        }
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

//! The rings of one core for NVMe commands, whose entries are twice as long as those of the rings for files; and the way of
//! one command through a ring of its own, when a namespace is opened.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use crate::segment::Segment;
use crate::uring::{CommandRing, Kind, Rings, Target, new_ring};

use super::command::Command;
use super::jobs::{Commands, Part};

/// The rings for commands to namespaces.
pub(crate) type NvmeRing = Rings<Commands>;

/// How long a command may take that is polled for when a namespace is opened.
const POLL_WAIT: Duration = Duration::from_secs(10);

/// Does one command on `file` and waits for it: its result, or why there is none. The command moves its data before it ends.
/// It is in `registered` memory, if there is such.
///
/// # Errors
/// What the kernel says. [`io::ErrorKind::TimedOut`]: the device has the command still, and its memory has to stay for ever.
pub(super) fn ask(
    file: &File,
    request: u32,
    command: Command,
    kind: Kind,
    registered: Option<&Segment>,
) -> io::Result<i32> {
    let mut ring: CommandRing = new_ring(1, kind)?.ring;
    if let Some(memory) = registered {
        let buffer = libc::iovec { iov_base: memory.as_ptr().cast(), iov_len: memory.len() };
        // SAFETY: it is mapped, and the ring is gone before this returns.
        unsafe { ring.submitter().register_buffers(&[buffer]) }?;
    }
    let (target, registered) = (Target::Descriptor(file.as_raw_fd()), registered.map(|_| 0));
    let part = Part { target, user_data: 0, request, command, registered };
    // SAFETY: the caller keeps the command's memory until this returns, and for ever if it says so.
    unsafe { ring.submission().push(&part.entry()) }.map_err(io::Error::other)?;
    let deadline = Instant::now() + POLL_WAIT;
    // A ring that polls would look for the result until it is there, whatever becomes of the device.
    let wait = usize::from(kind == Kind::Interrupt);
    loop {
        match ring.submit_and_wait(wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        if let Some(answer) = ring.completion().next() {
            return Ok(answer.result());
        }
        if kind == Kind::Poll && Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests;

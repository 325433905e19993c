//! Makes a ring that suits one thread which submits in batches, as well as the running kernel can.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use io_uring::types::Fd;
use io_uring::{IoUring, Probe, Submitter, cqueue, opcode, squeue};

use crate::uring::sqe;

/// How a ring is built, best first. Each step down drops what an older kernel does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Linux 6.1: results wait until this thread asks for them, nothing interrupts it.
    DeferTaskrun,
    /// Linux 6.0: one thread submits.
    SingleIssuer,
    /// Linux 5.19: results wait for the next system call of this thread.
    CoopTaskrun,
    /// Linux 5.6.
    Plain,
}

impl Step {
    fn description(self) -> &'static str {
        match self {
            Self::DeferTaskrun => "results when asked for",
            Self::SingleIssuer => "one issuer, cooperative results",
            Self::CoopTaskrun => "cooperative results",
            Self::Plain => "no flags",
        }
    }
}

const STEPS: [Step; 4] = [Step::DeferTaskrun, Step::SingleIssuer, Step::CoopTaskrun, Step::Plain];

/// How a ring learns that a device has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The device interrupts.
    Interrupt,
    /// Each call that asks for results looks into the device's queues. Only reads and writes, with direct I/O, of devices
    /// that have queues for it.
    Poll,
}

/// A ring, and what it can do.
pub(crate) struct Made<S: squeue::EntryMarker, C: cqueue::EntryMarker> {
    pub(crate) ring: IoUring<S, C>,
    pub(crate) step: Step,
    /// Linux 6.15: `READV_FIXED` and `WRITEV_FIXED`.
    pub(crate) vectored_fixed: bool,
}

impl<S: squeue::EntryMarker, C: cqueue::EntryMarker> Made<S, C> {
    /// What it is like, for people.
    pub(crate) fn description(&self, ring_registered: bool, files_registered: bool) -> String {
        let registered = match (ring_registered, files_registered) {
            (true, true) => ", ring and files registered",
            (true, false) => ", ring registered",
            (false, true) => ", files registered",
            (false, false) => "",
        };
        let vectored = if self.vectored_fixed { "" } else { ", registered memory in one piece only" };
        format!("{}{registered}{vectored}", self.step.description())
    }
}

/// A ring with room for `entries` operations in flight, and as many cancel requests. The calling thread is the only one
/// that may submit to it.
///
/// # Errors
/// What the kernel says, with a hint for people.
pub(crate) fn ring<S: squeue::EntryMarker, C: cqueue::EntryMarker>(entries: u32, kind: Kind) -> io::Result<Made<S, C>> {
    let (ring, step) = best(entries, kind)?;
    let vectored_fixed = check_opcodes(&ring.submitter())?;
    tracing::debug!(?step, ?kind, entries, vectored_fixed, "io_uring set up");
    Ok(Made { ring, step, vectored_fixed })
}

/// A ring whose entries have room for a device's own commands, and whose results for their answers: Linux 5.19.
pub(crate) type CommandRing = IoUring<squeue::Entry128, cqueue::Entry32>;

fn best<S: squeue::EntryMarker, C: cqueue::EntryMarker>(entries: u32, kind: Kind) -> io::Result<(IoUring<S, C>, Step)> {
    let mut refusal = io::Error::from_raw_os_error(libc::EINVAL);
    for step in STEPS {
        match build(step, entries, kind) {
            Ok(ring) => return Ok((ring, step)),
            // EINVAL is how a kernel refuses a flag that it does not know.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refusal = error,
            Err(error) => return Err(explain(error)),
        }
    }
    Err(explain(refusal))
}

/// Whether a ring can be had at all.
///
/// # Errors
/// As those of [`ring`].
pub(crate) fn check() -> io::Result<()> {
    ring::<squeue::Entry, cqueue::Entry>(1, Kind::Interrupt).map(drop)
}

/// Whether the ring can discard on the block device `file`: Linux 6.12.
pub(crate) fn can_discard(file: &File) -> bool {
    // A length of 0 is refused by kernels that know the command, and by the others the command is.
    let ask = || {
        let mut ring: IoUring = ring(1, Kind::Interrupt)?.ring;
        let entry = sqe::discard(Fd(file.as_raw_fd()), 0, 0);
        // SAFETY: the entry points to no memory, and the file is open until the answer has come.
        unsafe { ring.submission().push(&entry) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        let answer = ring.completion().next().map(|answer| answer.result());
        io::Result::Ok(answer == Some(-libc::EINVAL))
    };
    ask().unwrap_or(false)
}

fn build<S: squeue::EntryMarker, C: cqueue::EntryMarker>(
    step: Step,
    entries: u32,
    kind: Kind,
) -> io::Result<IoUring<S, C>> {
    let mut builder = IoUring::<S, C>::builder();
    // Every operation in flight has at most one result and one cancel request to answer, so that the completion queue
    // cannot overflow.
    builder.setup_clamp().setup_cqsize(entries * 2);
    match step {
        Step::DeferTaskrun => {
            builder.setup_submit_all().setup_taskrun_flag().setup_single_issuer().setup_defer_taskrun();
        }
        Step::SingleIssuer => {
            builder.setup_submit_all().setup_taskrun_flag().setup_single_issuer().setup_coop_taskrun();
        }
        Step::CoopTaskrun => {
            builder.setup_submit_all().setup_taskrun_flag().setup_coop_taskrun();
        }
        Step::Plain => {}
    }
    if kind == Kind::Poll {
        builder.setup_iopoll();
    }
    builder.build(entries)
}

/// Refuses a ring that cannot do what every operation needs. Tells whether it takes several segments of a registered buffer.
fn check_opcodes(ring: &Submitter<'_>) -> io::Result<bool> {
    let mut probe = Probe::new();
    ring.register_probe(&mut probe).map_err(explain)?;
    let needed = [
        ("READ", opcode::Read::CODE),
        ("WRITE", opcode::Write::CODE),
        ("READV", opcode::Readv::CODE),
        ("WRITEV", opcode::Writev::CODE),
        ("FSYNC", opcode::Fsync::CODE),
        ("FALLOCATE", opcode::Fallocate::CODE),
        ("ASYNC_CANCEL", opcode::AsyncCancel::CODE),
    ];
    match needed.into_iter().find(|(_, code)| !probe.is_supported(*code)) {
        None => Ok([opcode::ReadvFixed::CODE, opcode::WritevFixed::CODE].iter().all(|code| probe.is_supported(*code))),
        Some((name, _)) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("io_uring of this kernel cannot {name}: Linux 5.6 or later is needed"),
        )),
    }
}

fn explain(error: io::Error) -> io::Error {
    let hint = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => {
            "is forbidden here: look at the sysctl kernel.io_uring_disabled and at the container's seccomp profile"
        }
        Some(libc::ENOSYS) => "is not in this kernel: Linux 5.6 or later is needed",
        Some(libc::ENOMEM) => "got no memory: raise the limit of locked memory (ulimit -l) or serve on fewer CPUs",
        Some(libc::EMFILE | libc::ENFILE) => "got no file descriptor: raise the limit of open files (ulimit -n)",
        _ => "could not be set up",
    };
    io::Error::new(error.kind(), format!("io_uring {hint} ({error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_that_this_kernel_knows_gives_the_queues_that_were_asked_for() {
        for (step, kind) in STEPS.into_iter().flat_map(|step| [(step, Kind::Interrupt), (step, Kind::Poll)]) {
            let Ok(ring) = build::<squeue::Entry, cqueue::Entry>(step, 8, kind) else { continue };
            assert_eq!((ring.params().sq_entries(), ring.params().cq_entries()), (8, 16), "{step:?}");
            assert_eq!(ring.params().is_setup_iopoll(), kind == Kind::Poll);
        }
        for kind in [Kind::Interrupt, Kind::Poll] {
            assert!(ring::<squeue::Entry, cqueue::Entry>(8, kind).is_ok());
            assert!(ring::<squeue::Entry128, cqueue::Entry32>(8, kind).is_ok());
        }
    }

    #[test]
    fn a_refusal_says_where_to_look() {
        let said = explain(io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(said.kind(), io::ErrorKind::PermissionDenied);
        assert!(said.to_string().contains("kernel.io_uring_disabled"), "{said}");
    }
}

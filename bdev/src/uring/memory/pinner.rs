//! The thread that pins memory, and the ring that it does it with.
//!
//! Owns the *stage*, a ring in which one chunk at a time is pinned; from there it goes to the *library*, from which cores
//! clone. They are two because the kernel locks a ring while it pins for it, and a core that clones must never wait.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use io_uring::IoUring;
use rustix::mm::{Advice, madvise};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::registry::{Job, SLOTS_MAX};
use super::{Chunk, Shared, Way, table};
use crate::mapping::Mapping;

/// Looks how cores can come by chunks. The ring is the library.
///
/// # Errors
/// As [`Registrar::new`](super::Registrar::new).
pub(super) fn probe() -> io::Result<(Way, IoUring)> {
    let memory = Arc::new(Mapping::new(4096)?);
    let chunk = Chunk { memory: memory.part(0, 4096), slot: 1, _keep: memory };
    let refuse = |error| io::Error::other(refusal(&error, 4096));
    let library = IoUring::new(1).map_err(refuse)?;
    table::make(&library.submitter(), 2).map_err(refuse)?;
    table::put(&library.submitter(), &chunk).map_err(refuse)?;
    let core = IoUring::new(1).map_err(refuse)?;
    let way = match table::take_over(&core.submitter(), library.as_raw_fd(), chunk.slot) {
        Ok(()) => Way::Clone,
        Err(error) => {
            tracing::debug!(%error, "registered buffers cannot be cloned one by one: each CPU registers its own");
            Way::Own
        }
    };
    table::clear(&library.submitter(), chunk.slot)?;
    Ok((way, library))
}

/// Starts the thread. It ends when the last handle is gone, and then does not finish what it is at.
pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<()> {
    let stage = IoUring::new(1)?;
    let run = move || Pinner { shared, stage, pinned_bytes: 0 }.run();
    std::thread::Builder::new().name("registrar".into()).spawn(run).map(drop)
}

struct Pinner {
    shared: Arc<Shared>,
    stage: IoUring,
    /// Bytes that the thread has in the library.
    pinned_bytes: u64,
}

enum Work {
    Pin(Job),
    Unpin(Arc<Chunk>),
    Stop,
}

impl Pinner {
    fn run(&mut self) {
        loop {
            match self.next() {
                Work::Pin(job) => {
                    let pinned = self.pin(&job.chunk);
                    if let Err(error) = &pinned {
                        self.shared.tell_refusal(error, job.chunk.memory.len() as u64);
                    }
                    self.shared.lock().finish(job, pinned.is_ok());
                    self.shared.announce();
                }
                Work::Unpin(chunk) => {
                    self.unpin(&chunk);
                    self.shared.lock().forget(chunk.slot);
                    // Unmaps, perhaps.
                    drop(chunk);
                }
                Work::Stop => return,
            }
        }
    }

    /// Waits for work.
    fn next(&self) -> Work {
        let mut registry = self.shared.lock();
        loop {
            if self.shared.stopped.load(Ordering::Acquire) {
                return Work::Stop;
            }
            let now = Instant::now();
            if let Some(keeps) = registry.expire(now) {
                drop(registry);
                self.shared.announce();
                drop(keeps);
                registry = self.shared.lock();
                continue;
            }
            if let Some(chunk) = registry.next_unused() {
                return Work::Unpin(chunk);
            }
            if let Some(job) = registry.next_job() {
                return Work::Pin(job);
            }
            registry = match registry.next_deadline(now) {
                None => self.shared.wait(registry),
                Some(deadline) => self.shared.wait_until(registry, deadline.saturating_duration_since(now)),
            };
        }
    }

    fn pin(&mut self, chunk: &Chunk) -> io::Result<()> {
        let bytes = chunk.memory.len() as u64;
        // Before the kernel does: it looks at the limit after it has given every page its place.
        if !may_lock(self.pinned_bytes + bytes) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        match self.shared.way {
            Way::Clone => {
                table::make(&self.stage.submitter(), u32::from(chunk.slot) + 1)?;
                let done = table::put(&self.stage.submitter(), chunk).and_then(|()| {
                    table::take_over(&self.shared.library.submitter(), self.stage.as_raw_fd(), chunk.slot)
                });
                self.stage.submitter().unregister_buffers()?;
                done?;
            }
            Way::Own => {
                // SAFETY: gives pages their places and changes no byte.
                unsafe { madvise(chunk.memory.as_ptr().cast(), chunk.memory.len(), Advice::LinuxPopulateWrite) }?;
            }
        }
        self.pinned_bytes += bytes;
        tracing::debug!(bytes, slot = chunk.slot, "memory pinned");
        Ok(())
    }

    fn unpin(&mut self, chunk: &Chunk) {
        self.pinned_bytes -= chunk.memory.len() as u64;
        if self.shared.way == Way::Clone
            && let Err(error) = table::clear(&self.shared.library.submitter(), chunk.slot)
        {
            tracing::warn!(%error, "guest memory stays registered that is not used any more");
        }
        tracing::debug!(bytes = chunk.memory.len(), slot = chunk.slot, "memory unpinned");
    }
}

/// Whether the limit of locked memory lets `bytes` be pinned in all. The kernel may still see it otherwise.
fn may_lock(bytes: u64) -> bool {
    getrlimit(Resource::Memlock).current.is_none_or(|limit| bytes <= limit) || is_privileged()
}

fn is_privileged() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

/// Why memory is not registered, and what to do.
pub(super) fn refusal(error: &io::Error, bytes: u64) -> String {
    let is_limit = error.kind() == io::ErrorKind::OutOfMemory || error.raw_os_error() == Some(libc::EPERM);
    match getrlimit(Resource::Memlock).current {
        Some(limit) if is_limit && !is_privileged() => format!(
            "the limit of locked memory is {} KiB and {} KiB more are to be registered; raise it above the guests' memory \
             (ulimit -l, LimitMEMLOCK= in a systemd unit), give CAP_IPC_LOCK, or say --register off",
            limit >> 10,
            bytes >> 10
        ),
        _ => format!("the kernel refuses ({error}); --register off does not ask for it"),
    }
}

/// Most places of a ring's table.
pub(crate) const TABLE_LEN: u32 = SLOTS_MAX as u32;

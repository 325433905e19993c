//! Memory that the kernel has pinned for the operations of all cores: registered buffers.
//!
//! Owns the thread that pins. Pinning a large guest takes seconds, for it gives every page its place; so it happens behind
//! everybody's back, chunk by chunk, and operations name their memory by address until the chunk that holds it is there.
//! The thread registers a chunk with a ring of its own, and each core clones it from there into its own ring under the
//! same index. Kernels that cannot clone from the middle of a table (before Linux 6.13) make each core register it itself.
//!
//! No core ever waits for the thread. A core learns of changes by a number that it compares once a pass.

mod pinner;
mod registry;
pub(crate) mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use io_uring::IoUring;

use crate::segment::Segment;
use registry::{AreaId, Keep, Registry};

pub(crate) use pinner::TABLE_LEN;

/// Longest buffer that the kernel registers, in bytes.
const CHUNK_LEN_MAX: usize = 1 << 30;
/// Longest chunk that a core registers itself, in bytes: some milliseconds of its time.
const OWN_CHUNK_LEN_MAX: usize = 64 << 20;

/// How a core comes by a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the library, in about a microsecond.
    Clone,
    /// It registers it itself, once the thread has given the memory its pages.
    Own,
}

/// A piece of memory that the kernel has pinned, and its index in every ring.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) memory: Segment,
    pub(crate) slot: u16,
    _keep: Keep,
}

impl Chunk {
    pub(crate) fn start(&self) -> usize {
        self.memory.as_ptr().addr()
    }

    #[cfg(test)]
    pub(crate) fn for_test(memory: Segment, slot: u16) -> Self {
        Self { memory, slot, _keep: Arc::new(()) }
    }
}

/// Registers memory with the rings of all cores. Clones are handles of the same.
#[derive(Debug, Clone)]
pub struct Registrar {
    shared: Arc<Shared>,
    /// Ends the thread with the last handle.
    _life: Arc<Life>,
}

struct Shared {
    registry: Mutex<Registry>,
    changed: Condvar,
    cores: Mutex<Vec<(u64, OwnedFd)>>,
    generation: AtomicU64,
    stopped: AtomicBool,
    way: Way,
    /// The ring from which cores clone.
    library: IoUring,
    /// What refuses memory has been told to the user.
    told: AtomicBool,
}

#[derive(Debug)]
struct Life(Arc<Shared>);

impl Drop for Life {
    fn drop(&mut self) {
        self.0.stopped.store(true, Ordering::Release);
        // Taken so that the thread is either before its look at the flag or waits.
        drop(self.0.lock());
        self.0.changed.notify_all();
    }
}

impl Registrar {
    /// A registrar that cuts memory into chunks of at most `chunk_len_max` bytes, or of 1 GiB. To be called on a thread that
    /// may use any CPU: the one that it starts can use the same ones.
    ///
    /// # Errors
    /// The kernel has no registered buffers that can be replaced (Linux 5.19), or does not let us lock even a page, or the
    /// like: a line for people.
    pub fn new(chunk_len_max: Option<usize>) -> io::Result<Self> {
        let (way, library) = pinner::probe()?;
        Self::of(way, library, chunk_len_max.unwrap_or(CHUNK_LEN_MAX))
    }

    fn of(way: Way, library: IoUring, chunk_len_max: usize) -> io::Result<Self> {
        let kernel_max = match way {
            Way::Clone => CHUNK_LEN_MAX,
            Way::Own => OWN_CHUNK_LEN_MAX,
        };
        let len_max = chunk_len_max.clamp(4096, kernel_max) / 4096 * 4096;
        let shared = Arc::new(Shared {
            registry: Mutex::new(Registry::new(len_max, registry::SLOTS_MAX)),
            changed: Condvar::new(),
            cores: Mutex::default(),
            generation: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            way,
            library,
            told: AtomicBool::new(false),
        });
        pinner::spawn(shared.clone())?;
        Ok(Self { _life: Arc::new(Life(shared.clone())), shared })
    }

    /// Has `memory`, readable and writable, registered when the thread comes to it. `keep` keeps it mapped. As long as the
    /// result lives the memory is worth it; some time after the last one is gone it is given back, and `keep` dropped.
    pub fn register(&self, memory: Segment, keep: Arc<dyn std::any::Any + Send + Sync>) -> Registration {
        let area = self.shared.lock().want(memory, keep);
        self.shared.changed.notify_all();
        Registration { shared: self.shared.clone(), area }
    }

    /// How many bytes are registered.
    pub fn registered_bytes(&self) -> u64 {
        self.shared.lock().published().iter().map(|chunk| chunk.memory.len() as u64).sum()
    }

    /// In what way, for people.
    pub fn description(&self) -> &'static str {
        match self.shared.way {
            Way::Clone => "cloned to each CPU",
            Way::Own => "by each CPU",
        }
    }

    /// A core that wants to know of chunks. Whatever changes makes `bell` readable.
    pub(crate) fn subscribe(&self, bell: OwnedFd) -> Subscription {
        let mut cores = self.shared.cores.lock().unwrap_or_else(PoisonError::into_inner);
        let id = cores.last().map_or(0, |&(id, _)| id + 1);
        cores.push((id, bell));
        drop(cores);
        Subscription { shared: self.shared.clone(), id, seen: 0 }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, registry: MutexGuard<'a, Registry>) -> MutexGuard<'a, Registry> {
        self.changed.wait(registry).unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until<'a>(&self, registry: MutexGuard<'a, Registry>, longest: Duration) -> MutexGuard<'a, Registry> {
        self.changed.wait_timeout(registry, longest).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Says why memory is not registered, the first time.
    fn tell_refusal(&self, error: &io::Error, bytes: u64) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let why = pinner::refusal(error, bytes);
            tracing::warn!("guest memory is not registered with io_uring, which costs some speed: {why}");
        }
    }

    /// Tells every core that what is published has changed.
    fn announce(&self) {
        self.generation.fetch_add(1, Ordering::Release);
        for (_, bell) in self.cores.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // A full counter is a bell that rings already.
            let _ = rustix::io::write(bell, &1_u64.to_ne_bytes());
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("way", &self.way).finish_non_exhaustive()
    }
}

/// Says that registered memory is in use.
#[derive(Debug)]
pub struct Registration {
    shared: Arc<Shared>,
    area: AreaId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let keep = self.shared.lock().release(self.area, Instant::now());
        self.shared.changed.notify_all();
        // Unmaps, perhaps: not under the lock.
        drop(keep);
    }
}

/// One core's view of what is registered.
#[derive(Debug)]
pub(crate) struct Subscription {
    shared: Arc<Shared>,
    id: u64,
    seen: u64,
}

impl Subscription {
    /// Whether [`Subscription::look`] would show something new.
    #[inline]
    pub(crate) fn is_stale(&self) -> bool {
        self.shared.generation.load(Ordering::Acquire) != self.seen
    }

    /// What is registered now, and the number to tell [`Subscription::has_seen`] when all of it was taken over. `None` if
    /// somebody else is looking: a core does not wait.
    pub(crate) fn look(&self) -> Option<(u64, Arc<[Arc<Chunk>]>)> {
        let registry = self.shared.registry.try_lock().ok()?;
        // In this order: what is published later has a later number.
        Some((self.shared.generation.load(Ordering::Acquire), registry.published()))
    }

    pub(crate) fn has_seen(&mut self, generation: u64) {
        self.seen = generation;
        // Chunks may have been let go of.
        self.shared.changed.notify_all();
    }

    /// How a core comes by a chunk.
    pub(crate) fn way(&self) -> Way {
        self.shared.way
    }

    /// A core cannot have what is published. Told once.
    pub(crate) fn refused(&self, error: &io::Error, chunk: &Chunk) {
        self.shared.tell_refusal(error, chunk.memory.len() as u64);
    }

    /// The ring to clone from.
    pub(crate) fn library(&self) -> RawFd {
        self.shared.library.as_raw_fd()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.cores.lock().unwrap_or_else(PoisonError::into_inner).retain(|&(id, _)| id != self.id);
    }
}

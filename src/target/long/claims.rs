//! What long commands of all controllers and reactors share of one disk: memory for their data.
//!
//! Nobody waits here: a claim is granted or not, and whoever is refused tries again in a later pass. A claim is given back
//! when it is dropped, however its command ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::scsi::long::MEMORY_MAX;

use super::super::disk::Disk;

/// Memory that the long commands of one disk have at a time, in bytes: a disk that does not answer holds up no other.
const MEMORY_BYTES_MAX: usize = 16 * MEMORY_MAX;

/// What is claimed of a disk.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    memory_bytes: AtomicUsize,
}

/// A part of the memory.
#[derive(Debug)]
pub(crate) struct Lease {
    disk: Arc<Disk>,
    bytes: usize,
}

impl Lease {
    /// `bytes` of the memory that there is for `disk`, at most [`MEMORY_MAX`]; none if that is used up for now.
    pub(crate) fn take(disk: &Arc<Disk>, bytes: usize) -> Option<Self> {
        assert!(bytes <= MEMORY_MAX, "a task asks for no more than it may");
        let grant = |taken: usize| taken.checked_add(bytes).filter(|&sum| sum <= MEMORY_BYTES_MAX);
        let memory = &disk.claims.memory_bytes;
        memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grant).ok()?;
        Some(Self { disk: disk.clone(), bytes })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.disk.claims.memory_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::disk::DiskIndex;

    fn disk() -> Arc<Disk> {
        Arc::new(Disk::of(Arc::new(bdev::NullBdev::new(1 << 40, 512).unwrap()), DiskIndex(0)))
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let disk = disk();
        let mut leases: Vec<_> = std::iter::from_fn(|| Lease::take(&disk, MEMORY_MAX)).take(100).collect();
        assert_eq!(leases.len(), 16);
        assert!(Lease::take(&disk, 1).is_none() && Lease::take(&disk, 0).is_some());
        leases.pop();
        assert!(Lease::take(&disk, MEMORY_MAX).is_some());
    }
}

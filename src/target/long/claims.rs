//! What long commands of all controllers and reactors share of one disk: memory for their data, and ranges of blocks that one
//! of them has for itself.
//!
//! Nobody waits here: a claim is granted or not, and whoever is refused tries again in a later pass. A claim is given back
//! when it is dropped, however its command ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::scsi::long::MEMORY_MAX;

use super::super::disk::Disk;

/// Memory that the long commands of one disk have at a time, in bytes: a disk that does not answer holds up no other.
const MEMORY_BYTES_MAX: usize = 16 * MEMORY_MAX;

/// Bytes of a stripe. A disk is cut into stripes, and the stripes are dealt to 64 bits in turn: one bit stands for every 64th
/// stripe. Two ranges may share a bit and no byte; then one waits for the other without need.
const STRIPE_BYTES: u64 = 64 << 10;
const STRIPES: u64 = u64::BITS as u64;

/// What is claimed of a disk.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    memory_bytes: AtomicUsize,
    /// Stripes that somebody has for itself.
    locked: AtomicU64,
}

/// A part of the memory.
#[derive(Debug)]
pub(crate) struct Lease {
    disk: Arc<Disk>,
    bytes: usize,
}

/// A range of blocks.
#[derive(Debug)]
pub(crate) struct Lock {
    disk: Arc<Disk>,
    stripes: u64,
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

impl Lock {
    /// The `len` bytes at `offset`; none if somebody has any of them.
    pub(crate) fn take(disk: &Arc<Disk>, offset: u64, len: u64) -> Option<Self> {
        let stripes = stripes(offset, len);
        let grant = |locked: u64| (locked & stripes == 0).then_some(locked | stripes);
        // What the last owner did to the disk comes before what the next one does.
        disk.claims.locked.fetch_update(Ordering::Acquire, Ordering::Relaxed, grant).ok()?;
        Some(Self { disk: disk.clone(), stripes })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.disk.claims.locked.fetch_and(!self.stripes, Ordering::Release);
    }
}

/// The bits of a range.
fn stripes(offset: u64, len: u64) -> u64 {
    let Some(last_byte) = len.checked_sub(1) else { return 0 };
    let (first, last) = (offset / STRIPE_BYTES, offset.saturating_add(last_byte) / STRIPE_BYTES);
    let count = last - first + 1;
    if count >= STRIPES {
        return u64::MAX;
    }
    ((1 << count) - 1_u64).rotate_left((first % STRIPES) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::disk::DiskIndex;

    fn disk() -> Arc<Disk> {
        Arc::new(Disk::of(Arc::new(bdev::NullBdev::new(1 << 40, 512).unwrap()), DiskIndex(0)))
    }

    #[test]
    fn ranges_become_stripes() {
        for (offset, len, expected) in [
            (0, 0, 0),
            (0, 1, 1),
            (65535, 1, 1),
            (65535, 2, 3),
            (65536, 65536, 2),
            (63 * 65536, 65537, 1 << 63 | 1),
            (64 * 65536, 1, 1),
            (5, 63 * 65536, u64::MAX),
            (0, u64::MAX, u64::MAX),
            (u64::MAX, 2, 1 << 63),
        ] {
            assert_eq!(stripes(offset, len), expected, "{len} at {offset}");
        }
    }

    #[test]
    fn a_range_has_one_owner() {
        let disk = disk();
        let lock = Lock::take(&disk, 0, 100_000).unwrap();
        assert!(Lock::take(&disk, 65536, 512).is_none());
        let other = Lock::take(&disk, 131_072, 512).expect("nobody has it");
        drop(lock);
        assert!(Lock::take(&disk, 65536, 512).is_some());
        assert!(Lock::take(&disk, 0, 1 << 30).is_none(), "the other is still there");
        drop(other);
        assert!(Lock::take(&disk, 0, 1 << 30).is_some());
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

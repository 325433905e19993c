//! How a disk that is provisioned thinly counts its space, and when it runs short of it (SBC-4, logical block provisioning
//! thresholds).

use bdev::Info;

/// A soft threshold: an armed decreasing one, of the space that is available.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// THRESHOLD EXPONENT: log2 of the logical blocks of a threshold set.
    pub(super) exponent: u8,
    /// THRESHOLD COUNT, in threshold sets.
    pub(super) count: u32,
    set_bytes: u64,
}

/// A threshold set has at least so many bytes.
const SET_BYTES_MIN: u32 = 1 << 20;
/// The threshold is so many parts of 100 of the disk.
const PERCENT: u64 = 10;

impl Threshold {
    /// That of a disk on a device with `info`.
    pub fn of(info: &Info) -> Self {
        let block_size = info.block_size.max(1);
        let mut exponent = (SET_BYTES_MIN / block_size).max(1).ilog2() as u8;
        while info.blocks >> exponent > u32::MAX.into() {
            exponent += 1;
        }
        let set_bytes = u64::from(block_size).saturating_mul(1 << exponent);
        let count = (info.blocks >> exponent) * PERCENT / 100;
        Self { exponent, count: u32::try_from(count).unwrap_or(u32::MAX).max(1), set_bytes }
    }

    /// So many bytes in threshold sets, those that are not whole left out.
    pub(super) fn sets(&self, bytes: u64) -> u32 {
        u32::try_from(bytes / self.set_bytes).unwrap_or(u32::MAX)
    }

    /// Whether it is reached when no more than this is available, in bytes.
    pub fn is_reached(&self, available: u64) -> bool {
        self.sets(available) <= self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::testing::info;

    #[test]
    fn a_tenth_of_the_disk() {
        let threshold = |blocks, block_size| Threshold::of(&Info { blocks, block_size, ..info() });
        let usual = threshold(1 << 21, 512);
        assert_eq!((usual.exponent, usual.count, usual.set_bytes), (11, 102, 1 << 20));
        assert!(usual.is_reached(102 << 20) && usual.is_reached((103 << 20) - 1) && !usual.is_reached(103 << 20));
        assert_eq!((threshold(1 << 21, 4096).exponent, threshold(1 << 21, 4096).set_bytes), (8, 1 << 20));
        let small = threshold(8, 512);
        assert_eq!((small.count, small.is_reached(0)), (1, true), "never below one");
        let huge = threshold(1 << 55, 512);
        assert_eq!((huge.exponent, huge.count), (24, 214_748_364));
        assert_eq!(huge.sets(u64::MAX), (1 << 31) - 1);
        assert_eq!(usual.sets(u64::MAX), u32::MAX);
    }
}

//! What one command may carry, as the kernel says of the queue of the namespace's block device.

use std::path::Path;

use super::spec::BLOCKS_MAX;

/// Bytes of a command where the kernel does not say.
const TRANSFER_UNKNOWN: u64 = 128 << 10;
/// Pieces of memory of a command where the kernel does not say: as many pages as that has, and one more.
const PIECES_UNKNOWN: usize = 33;
/// The size in which memory is scattered, in bytes.
pub(super) const PAGE: usize = 4096;
/// Most segments of one command (`UIO_MAXIOV`).
pub(super) const SEGMENTS_MAX: usize = 1024;

/// What one command may carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    /// Bytes of a Read or Write: a multiple of 4096, and as many as fit wherever they lie.
    pub(super) transfer_bytes: u64,
    /// Pages that a Read or Write may touch.
    pub(super) pages: usize,
    /// Bytes of a Write Zeroes, 0 if there is to be none.
    pub(super) zeroes_bytes: u64,
    /// Bytes of a range to deallocate, 0 if there is to be none.
    pub(super) deallocate_bytes: u64,
}

impl Limits {
    /// Of the queue in the folder `queue`, with blocks of `block_size`, 512 or 4096.
    pub(super) fn read(queue: &Path, block_size: u64) -> Self {
        let said = |name: &str| -> Option<u64> { std::fs::read_to_string(queue.join(name)).ok()?.trim().parse().ok() };
        let number = |name: &str| said(name).filter(|value| *value > 0);
        let pages = number("max_segments").map_or(PIECES_UNKNOWN, |count| count.clamp(2, SEGMENTS_MAX as u64) as usize);
        let transfer = number("max_hw_sectors_kb").map_or(TRANSFER_UNKNOWN, |kib| kib.saturating_mul(1024));
        // Memory that does not begin with a page touches one more.
        let anywhere = ((pages - 1) * PAGE) as u64;
        let blocks_max = BLOCKS_MAX * block_size;
        // The kernel says 0 of devices that it knows to do a command badly.
        let most = |name: &str, most: u64| match said(name) {
            Some(0) => 0,
            said => (said.unwrap_or(most).min(most) / block_size * block_size).max(block_size),
        };
        Self {
            transfer_bytes: transfer.min(anywhere).min(blocks_max).max(PAGE as u64) / PAGE as u64 * PAGE as u64,
            pages,
            zeroes_bytes: most("write_zeroes_max_bytes", blocks_max),
            deallocate_bytes: most("discard_max_bytes", super::spec::RANGE_BLOCKS_MAX * block_size),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: &[(&str, &str)], block_size: u64) -> Limits {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in said {
            std::fs::write(dir.path().join(name), format!("{value}\n")).unwrap();
        }
        Limits::read(dir.path(), block_size)
    }

    #[test]
    fn what_the_queue_says_holds() {
        let said = [
            ("max_segments", "127"),
            ("max_hw_sectors_kb", "256"),
            ("write_zeroes_max_bytes", "131072"),
            ("discard_max_bytes", "2199023255040"),
        ];
        let limits = Limits {
            transfer_bytes: 256 << 10,
            pages: 127,
            zeroes_bytes: 128 << 10,
            deallocate_bytes: 2_199_023_255_040,
        };
        assert_eq!(read(&said, 512), limits);
        let scattered = read(&[("max_segments", "33"), ("max_hw_sectors_kb", "512")], 512);
        assert_eq!((scattered.transfer_bytes, scattered.pages), (128 << 10, 33), "32 pages and the rest of one");
        let endless = read(&[("max_segments", "65535"), ("max_hw_sectors_kb", "2147483647")], 512);
        assert_eq!((endless.transfer_bytes, endless.pages), (1023 * 4096, 1024));
    }

    #[test]
    fn what_the_kernel_does_not_ask_of_the_device_is_not_done() {
        let limits = read(&[("write_zeroes_max_bytes", "0"), ("discard_max_bytes", "0")], 512);
        assert_eq!((limits.zeroes_bytes, limits.deallocate_bytes), (0, 0));
        let less_than_a_block = read(&[("write_zeroes_max_bytes", "512")], 4096);
        assert_eq!(less_than_a_block.zeroes_bytes, 4096);
    }

    #[test]
    fn where_it_says_nothing_commands_are_small() {
        for said in [&[][..], &[("max_segments", "0"), ("max_hw_sectors_kb", "no")]] {
            let limits = read(said, 4096);
            assert_eq!((limits.transfer_bytes, limits.pages), (128 << 10, 33));
            assert_eq!((limits.zeroes_bytes, limits.deallocate_bytes), (256 << 20, 4096 * 0xffff_ffff));
        }
        let one_page = read(&[("max_hw_sectors_kb", "1")], 512);
        assert_eq!(one_page.transfer_bytes, 4096);
    }
}

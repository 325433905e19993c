//! What one command may carry, as the kernel says of the queue of the namespace's block device.

use std::path::Path;

use crate::sysfs;

use super::identify::Commands;
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
    /// Bytes of a Read or Write whose memory is whole pages: a multiple of 4096.
    pub(super) largest_bytes: u64,
    /// Bytes of a Read or Write: a multiple of 4096, and as many as fit wherever they lie.
    pub(super) transfer_bytes: u64,
    /// Pages that a Read or Write may touch.
    pub(super) pages: usize,
    /// Commands at once, 0 if the kernel does not say.
    pub(super) depth: u32,
    /// Bytes of a Verify.
    pub(super) verify_bytes: u64,
    /// Bytes of a Write Zeroes, 0 if there is to be none.
    pub(super) zeroes_bytes: u64,
    /// Bytes of a range to deallocate, 0 if there is to be none.
    pub(super) deallocate_bytes: u64,
}

impl Limits {
    /// Of the queue in the folder `queue`, with blocks of `block_size`, 512 or 4096.
    pub(super) fn read(queue: &Path, block_size: u64) -> Self {
        let said = |name: &str| sysfs::number::<u64>(&queue.join(name));
        let number = |name: &str| said(name).filter(|value| *value > 0);
        let pages = number("max_segments").map_or(PIECES_UNKNOWN, |count| count.clamp(2, SEGMENTS_MAX as u64) as usize);
        let transfer = number("max_hw_sectors_kb").map_or(TRANSFER_UNKNOWN, |kib| kib.saturating_mul(1024));
        let blocks_max = BLOCKS_MAX * block_size;
        // The kernel says 0 of devices that it knows to do a command badly.
        let most = |name: &str, most: u64| match said(name) {
            Some(0) => 0,
            said => (said.unwrap_or(most).min(most) / block_size * block_size).max(block_size),
        };
        let largest_bytes = whole_pages(transfer.min((pages * PAGE) as u64).min(blocks_max));
        let transfer_bytes = anywhere(largest_bytes, pages);
        Self {
            largest_bytes,
            transfer_bytes,
            pages,
            depth: queue.parent().map_or(0, sysfs::queue_depth),
            verify_bytes: transfer_bytes,
            zeroes_bytes: most("write_zeroes_max_bytes", blocks_max),
            deallocate_bytes: most("discard_max_bytes", super::spec::RANGE_BLOCKS_MAX * block_size),
        }
    }

    /// Those of them for a controller that moves no more than `bytes` in a command (MDTS), if it says so: where the kernel knows
    /// nothing of it, that holds.
    pub(super) fn moving(self, bytes: Option<u64>) -> Self {
        let largest_bytes = bytes.map_or(self.largest_bytes, |bytes| self.largest_bytes.min(whole_pages(bytes)));
        let transfer_bytes = anywhere(largest_bytes, self.pages);
        Self { largest_bytes, transfer_bytes, verify_bytes: self.verify_bytes.min(transfer_bytes), ..self }
    }

    /// Those of them that the controller has no smaller ones for, in whole blocks.
    pub(super) fn within(self, commands: &Commands, block_size: u64) -> Self {
        let blocks = |bytes: u64| (bytes / block_size * block_size).max(block_size);
        let least = |bytes: u64, said: u64| if said == 0 { bytes } else { bytes.min(blocks(said)) };
        let of_blocks = |said: u64| said.saturating_mul(block_size);
        Self {
            // No data moves for it: what is not said otherwise is as much as a command can name. Who says nothing of it
            // may hold it to what it moves.
            verify_bytes: match commands.verify_bytes {
                Some(said) => least(BLOCKS_MAX * block_size, said),
                None => self.transfer_bytes,
            },
            zeroes_bytes: least(self.zeroes_bytes, commands.zeroes_bytes),
            deallocate_bytes: [commands.range_blocks, commands.ranges_blocks]
                .into_iter()
                .fold(self.deallocate_bytes, |bytes, said| least(bytes, of_blocks(said))),
            ..self
        }
    }
}

fn whole_pages(bytes: u64) -> u64 {
    (bytes / PAGE as u64).max(1) * PAGE as u64
}

/// As many of them as touch no more than so many pages, wherever they lie: memory that does not begin with a page touches one more.
fn anywhere(bytes: u64, pages: usize) -> u64 {
    bytes.min(((pages - 1) * PAGE) as u64)
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
            largest_bytes: 256 << 10,
            transfer_bytes: 256 << 10,
            pages: 127,
            depth: 0,
            verify_bytes: 256 << 10,
            zeroes_bytes: 128 << 10,
            deallocate_bytes: 2_199_023_255_040,
        };
        assert_eq!(read(&said, 512), limits);
        let scattered = read(&[("max_segments", "33"), ("max_hw_sectors_kb", "512")], 512);
        assert_eq!((scattered.transfer_bytes, scattered.pages), (128 << 10, 33), "32 pages and the rest of one");
        assert_eq!(scattered.largest_bytes, 132 << 10, "33 whole pages");
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

    #[test]
    fn what_the_controller_moves_at_most_holds_too() {
        let kernels = read(&[("max_segments", "129"), ("max_hw_sectors_kb", "512")], 512);
        assert_eq!(kernels.moving(None), kernels);
        assert_eq!(kernels.moving(Some(1 << 20)), kernels, "it was asked by the kernel");
        let least = |bytes| {
            let limits = kernels.moving(Some(bytes));
            (limits.largest_bytes, limits.transfer_bytes, limits.verify_bytes)
        };
        assert_eq!(least(64 << 10), (64 << 10, 64 << 10, 64 << 10));
        assert_eq!(least(512), (4096, 4096, 4096));
    }

    #[test]
    fn what_the_controller_says_of_a_command_holds_too() {
        let kernels = read(&[], 512);
        let silent = Commands::default();
        assert_eq!(kernels.within(&silent, 512), kernels, "a controller without such limits");
        let none = Commands { verify_bytes: Some(0), ..silent };
        assert_eq!(kernels.within(&none, 512), Limits { verify_bytes: 65536 * 512, ..kernels });
        let all = Commands { verify_bytes: Some(8192), zeroes_bytes: 16384, range_blocks: 100, ranges_blocks: 50 };
        let limits = kernels.within(&all, 512);
        assert_eq!((limits.verify_bytes, limits.zeroes_bytes, limits.deallocate_bytes), (8192, 16384, 25600));
        assert_eq!(kernels.within(&Commands { range_blocks: 10, ..all }, 512).deallocate_bytes, 5120);
        let large = Commands { range_blocks: u64::from(u32::MAX), ranges_blocks: u64::MAX, ..silent };
        assert_eq!(kernels.within(&large, 512), kernels);
        let never = Limits { zeroes_bytes: 0, deallocate_bytes: 0, ..kernels };
        let said = never.within(&all, 512);
        assert_eq!((said.zeroes_bytes, said.deallocate_bytes), (0, 0), "what the kernel does not ask of it");
    }
}

//! Direct I/O: whether a file can do it, what it demands, and switching it on.

use std::fs::File;

use rustix::fs::{AtFlags, OFlags, StatxFlags};

use crate::file::{Alignment, Direct};
use crate::info::Atomic;

/// Turns direct I/O on if that is wanted and can be had; else says why not. `sector` is that of a block device.
pub(super) fn choose(file: &File, direct: Direct, block_size: u32, sector: Option<u32>) -> Result<Alignment, String> {
    if direct == Direct::Off {
        return Err("as asked for".to_owned());
    }
    let alignment = ask_alignment(file, sector).ok_or("the file system does not offer it")?;
    if alignment.offset > block_size {
        let keeper = if sector.is_some() { "device" } else { "file system" };
        return Err(format!(
            "the {keeper} takes multiples of {} bytes, the disk has blocks of {block_size}",
            alignment.offset
        ));
    }
    let flags = rustix::fs::fcntl_getfl(file).map_err(|error| error.to_string())?;
    rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT).map_err(|error| error.to_string())?;
    Ok(alignment)
}

/// `STATX_WRITE_ATOMIC` of `<linux/stat.h>`.
const WRITE_ATOMIC: StatxFlags = StatxFlags::from_bits_retain(0x1_0000);

/// The writes that the file, opened for direct I/O, does as a whole (`RWF_ATOMIC`). Linux 6.11 has them for block devices,
/// 6.13 for files.
pub(super) fn ask_atomic(file: &File, block_size: u32) -> Option<Atomic> {
    let said = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, WRITE_ATOMIC).ok()?;
    let told = said.stx_mask & WRITE_ATOMIC.bits() != 0 && said.stx_atomic_write_segments_max > 0;
    let (min, max) = (said.stx_atomic_write_unit_min, said.stx_atomic_write_unit_max);
    natural(if told { (min, max) } else { (0, 0) }, block_size)
}

/// Those that Linux tells as powers of two from `min` to `max`, for a disk with blocks of `block_size` bytes.
fn natural((min, max): (u32, u32), block_size: u32) -> Option<Atomic> {
    let (unit, max) = (min.max(block_size), max.min(Atomic::MAX));
    let are = min.is_power_of_two() && max.is_power_of_two() && unit <= max;
    are.then_some(Atomic { unit, max, natural: true, boundary: 0 })
}

fn ask_alignment(file: &File, sector: Option<u32>) -> Option<Alignment> {
    let answer = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
    let said = answer.filter(|answer| answer.stx_mask & StatxFlags::DIOALIGN.bits() != 0);
    let (memory, offset) = match (said, sector) {
        (Some(answer), _) => (careful(answer.stx_dio_mem_align, sector), answer.stx_dio_offset_align),
        // A block device of a kernel that does not answer: its sectors are always enough.
        (None, Some(sector)) => (sector, sector),
        (None, None) => return None,
    };
    // 0 means that this file cannot.
    (memory.is_power_of_two() && offset.is_power_of_two()).then_some(Alignment { memory, offset })
}

/// The alignment of memory for a device with such sectors, of what the kernel tells. It tells 512 of a driver that states
/// nothing, which need not mean that this is enough: null_blk with larger blocks goes past the end of its pages.
fn careful(told: u32, sector: Option<u32>) -> u32 {
    match sector {
        Some(sector) if told == 512 => told.max(sector),
        _ => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_for_drivers_that_state_nothing_is_aligned_like_blocks() {
        assert_eq!(careful(512, Some(4096)), 4096);
        assert_eq!((careful(512, Some(512)), careful(512, None)), (512, 512));
        assert_eq!(
            (careful(4, Some(4096)), careful(0, Some(4096))),
            (4, 0),
            "what is stated, or cannot be had, stands"
        );
    }

    #[test]
    fn atomic_writes_are_those_that_the_disk_can_name() {
        let of = |min, max, block_size| natural((min, max), block_size).map(|atomic| (atomic.unit, atomic.max));
        assert_eq!(of(512, 16384, 512), Some((512, 16384)));
        assert_eq!(of(512, 16384, 4096), Some((4096, 16384)));
        assert_eq!(of(4096, 1 << 30, 512), Some((4096, Atomic::MAX)));
        assert_eq!(of(4096, 4096, 4096), Some((4096, 4096)));
        for none in [(0, 0), (512, 2048), (1 << 20, 1 << 21), (768, 4096), (512, 12288)] {
            assert_eq!(natural(none, 4096), None, "{none:?}");
        }
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        assert_eq!(ask_atomic(&file, 512), None, "memory has none");
    }
}

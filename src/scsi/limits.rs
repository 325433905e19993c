//! What a disk can do at most in one command: the limits that commands are checked against, and that the Block Limits page
//! tells (SBC-4, Block Limits VPD page).

use bdev::{Atomic, Discard, Info};

/// Limits of the commands that take several steps. All count logical blocks unless they say otherwise; 0 where the disk
/// cannot do a thing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// MAXIMUM COMPARE AND WRITE LENGTH.
    pub compare_and_write: u8,
    /// MAXIMUM WRITE SAME LENGTH, also of one up to the last block.
    pub write_same: u32,
    /// MAXIMUM UNMAP LBA COUNT: of all descriptors together.
    pub unmap: u32,
    /// MAXIMUM UNMAP BLOCK DESCRIPTOR COUNT, in descriptors.
    pub unmap_descriptors: u32,
    /// OPTIMAL UNMAP GRANULARITY.
    pub unmap_granularity: u32,
    /// UNMAP GRANULARITY ALIGNMENT: where the first piece begins.
    pub unmap_alignment: u32,
    /// The device has a cache that can be filled.
    pub prefetch: bool,
    /// The device anchors blocks.
    pub anchor: bool,
    /// OPTIMAL TRANSFER LENGTH GRANULARITY: whole physical blocks.
    pub transfer_granularity: u16,
    /// Blocks that the device itself verifies in one operation.
    pub verify: u32,
    /// The device itself compares. As much as one transfer moves.
    pub compare: bool,
    /// Writes that are atomic, in bytes.
    pub atomic: Option<Atomic>,
}

/// Bytes that COMPARE AND WRITE compares at most: they are in memory twice.
const COMPARE_BYTES: u32 = 256 << 10;
/// Bytes that one WRITE SAME or UNMAP is about at most where the disk does not move them.
const WITHOUT_DATA_BYTES: u64 = 4 << 30;
/// Bytes that one WRITE SAME writes at most where the disk has to move them.
const WITH_DATA_BYTES: u64 = 64 << 20;
/// Blocks that one WRITE SAME is about at most: initiators try the next larger number of bytes in the field with a transfer
/// of as many blocks, which most of them cannot do.
const WRITE_SAME_BLOCKS: u32 = 0xffff;
/// Blocks that one UNMAP is about at most: initiators take a larger number that is not "no limit" for nonsense.
const UNMAP_BLOCKS: u32 = 1 << 20;
/// Descriptors of one UNMAP.
const DESCRIPTORS: u32 = 256;

impl Limits {
    /// Those of a disk on a device with `info`.
    pub fn new(info: &Info) -> Self {
        let block_size = info.block_size.max(1);
        let blocks = |bytes: u64| u32::try_from(bytes / u64::from(block_size)).unwrap_or(u32::MAX);
        let transfer_bytes = if info.max_transfer > 0 { info.max_transfer } else { u32::MAX };
        let write_same = if info.write_zeroes_max > 0 { WITHOUT_DATA_BYTES } else { WITH_DATA_BYTES };
        let (unmap, unmap_descriptors) = match info.discard {
            Some(_) => (blocks(WITHOUT_DATA_BYTES).min(UNMAP_BLOCKS), DESCRIPTORS),
            None => (0, 0),
        };
        let pieces = |bytes: fn(&Discard) -> u32| info.discard.as_ref().map(|discard| blocks(bytes(discard).into()));
        Self {
            compare_and_write: u8::try_from(COMPARE_BYTES.min(transfer_bytes) / block_size).unwrap_or(u8::MAX).max(1),
            write_same: blocks(write_same).clamp(1, WRITE_SAME_BLOCKS),
            unmap,
            unmap_descriptors,
            unmap_granularity: pieces(|discard| discard.granularity).map_or(0, |blocks| blocks.max(1)),
            unmap_alignment: pieces(|discard| discard.alignment).unwrap_or(0),
            prefetch: info.prefetch,
            anchor: info.anchor && info.discard.is_some(),
            transfer_granularity: transfer_granularity(info, block_size),
            verify: blocks(info.verify_max),
            compare: info.compare,
            atomic: info.atomic.map(|atomic| Atomic { max: atomic.max.min(transfer_bytes), ..atomic }),
        }
    }
}

/// Initiators take no granularity that is not of whole physical blocks.
fn transfer_granularity(info: &Info, block_size: u32) -> u16 {
    let physical = 1_u16.checked_shl(info.physical_exponent.into()).unwrap_or(1);
    let said = u16::try_from(info.transfer_granularity / block_size).unwrap_or(0);
    if said > 0 && said.is_multiple_of(physical) { said } else { physical }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::testing::info;

    const ATOMIC: Atomic = Atomic { unit: 512, max: 65536, natural: false, boundary: 0 };

    #[test]
    fn a_plain_disk_has_those_that_need_nothing() {
        let expected =
            Limits { compare_and_write: 128, write_same: 0xffff, transfer_granularity: 8, ..Limits::default() };
        assert_eq!(Limits::new(&info()), expected);
        let large = Limits::new(&Info { block_size: 4096, ..info() });
        assert_eq!((large.compare_and_write, large.write_same), (16, 16_384));
        let larger = |max_transfer| Limits::new(&Info { max_transfer, ..info() }).compare_and_write;
        assert_eq!([1 << 20, 0, 1 << 16, 512].map(larger), [255, 255, 128, 1], "each is one operation");
    }

    #[test]
    fn what_the_device_can_do_counts() {
        let discard = Some(Discard { granularity: 4096, alignment: 1024, max: 1 << 30, zeroes: true });
        let checked = Info { verify_max: 65536, compare: true, atomic: Some(ATOMIC), ..info() };
        let limits = Limits::new(&Info { discard, write_zeroes_max: 1 << 40, anchor: true, prefetch: true, ..checked });
        let expected = Limits {
            compare_and_write: 128,
            write_same: 0xffff,
            unmap: 1 << 20,
            unmap_descriptors: 256,
            unmap_granularity: 8,
            unmap_alignment: 2,
            prefetch: true,
            anchor: true,
            transfer_granularity: 8,
            verify: 128,
            compare: true,
            atomic: Some(ATOMIC),
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn the_best_transfers_are_of_whole_physical_blocks() {
        let of = |transfer_granularity| Limits::new(&Info { transfer_granularity, ..info() }).transfer_granularity;
        assert_eq!([0, 512, 4096, 65536, 6144, 1 << 31].map(of), [8, 8, 8, 128, 8, 8]);
    }
}

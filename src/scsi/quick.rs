//! What a usual READ or WRITE has to know of its logical unit: so little that a queue can remember it for each of many.

use bdev::OpKind;

use super::cdb::{self, UsualTransfer};
use super::{BlockOp, LogicalUnit};

/// A disk, as far as a usual READ or WRITE needs it. It is right for as long as the [`LogicalUnit`] is there that it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuickUnit {
    blocks: u64,
    blocks_max: u32,
    /// log2 of the bytes of a block.
    block_shift: u8,
    read_only: bool,
}

impl QuickUnit {
    /// One that starts nothing.
    pub const NOTHING: Self = Self { blocks: 0, blocks_max: 0, block_shift: 0, read_only: true };

    /// Decodes and starts the usual READ or WRITE in one step, at a unit that runs and has no attention pending, from the 16
    /// bytes of its CDB as two words, as memory has them: its one operation, with which it ends. `None` says only that
    /// [`Unit::decode`](super::Unit::decode) and [`Unit::start`](super::Unit::start) are to be asked, as it does for a READ
    /// with `data_out` and a WRITE without.
    #[inline(always)]
    pub fn start(&self, cdb: [u64; 2], data_out: bool) -> Option<BlockOp> {
        let UsualTransfer { fua, lba, blocks } = cdb::decode_usual(cdb, data_out)?;
        let is_other = if data_out { self.read_only } else { fua };
        if is_other || blocks.wrapping_sub(1) >= self.blocks_max {
            return None;
        }
        if lba.checked_add(blocks.into())? > self.blocks {
            return None;
        }
        let kind = if data_out { OpKind::Write { fua } } else { OpKind::Read };
        // The bytes of all blocks fit 64 bits, and these are some of them.
        let bytes = |blocks: u64| blocks.wrapping_shl(self.block_shift.into());
        Some(BlockOp { kind, offset: bytes(lba), len: bytes(blocks.into()) })
    }
}

impl LogicalUnit {
    /// What usual READs and WRITEs need of it.
    pub fn quick(&self) -> QuickUnit {
        let blocks_max = self.transfer_blocks_max.unwrap_or(u32::MAX);
        let block_shift = self.block_size.ilog2() as u8;
        debug_assert!(self.block_size.is_power_of_two(), "devices have no other blocks");
        QuickUnit { blocks: self.blocks, blocks_max, block_shift, read_only: self.read_only }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{disk, info, start};
    use super::super::{Opcode, Step, decode};

    fn words(cdb: [u8; 16]) -> [u64; 2] {
        let (words, _) = cdb.as_chunks();
        [u64::from_le_bytes(words[0]), u64::from_le_bytes(words[1])]
    }

    #[test]
    fn what_is_started_is_what_the_long_way_starts() {
        let mut started = 0;
        for read_only in [false, true] {
            let unit = disk(&bdev::Info { read_only, ..info() });
            let starts = [0_u32, 1, 872, 873, 999, 1000, 1001, u32::MAX];
            for (lba, blocks) in starts.iter().flat_map(|&lba| [0_u16, 1, 127, 128, 129].map(|blocks| (lba, blocks))) {
                for (opcode, flags) in [(0x28, 0), (0x2a, 0), (0x88, 0), (0x8a, 0), (0x28, 8), (0x2a, 8), (0x12, 0)] {
                    let mut cdb = [0; 16];
                    (cdb[0], cdb[1]) = (opcode, flags);
                    if opcode & 0x80 == 0 {
                        cdb[2..6].copy_from_slice(&lba.to_be_bytes());
                        cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
                    } else {
                        cdb[6..10].copy_from_slice(&lba.to_be_bytes());
                        cdb[12..14].copy_from_slice(&blocks.to_be_bytes());
                    }
                    let is_write = matches!(Opcode(opcode), Opcode::WRITE_10 | Opcode::WRITE_16);
                    assert_eq!(unit.quick().start(words(cdb), !is_write && opcode != 0x12), None, "the other way");
                    if let Some(op) = unit.quick().start(words(cdb), is_write) {
                        assert!(decode(&cdb).is_ok());
                        assert_eq!(start(&unit, &cdb).0, Step::Block(op), "{cdb:?}");
                        started += 1;
                    }
                }
            }
        }
        // So many of the places have room for 1, 127 and 128 blocks. FUA is usual for writes alone, and those for one of the two.
        assert_eq!(started, (5 + 4 + 3) * (2 + 2 + 1 + 2));
    }
}

//! ORWRITE (16) (SBC-4): the bits that the initiator sends are set, the others stay as they are. Nobody else reads or writes
//! the blocks meanwhile.

use bdev::OpKind;

use super::super::command::CdbForm;
use super::super::outcome::{BlockOp, Outcome};
use super::{Desk, LogicalUnit, LongStep, LongTask, OpMemory, RangeFlags};

/// An ORWRITE in progress.
#[derive(Debug)]
struct OrWrite {
    fua: bool,
    /// Where the first byte is.
    offset: u64,
    /// All bytes, those of a piece, and those that have been written.
    len: u64,
    piece_len: u64,
    done: u64,
    stage: Stage,
}

/// What has been done.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Nothing,
    Locked,
    Read { len: usize },
    Written { len: usize },
}

/// Begins an ORWRITE.
pub(super) fn begin(
    unit: &LogicalUnit,
    flags: RangeFlags,
    (lba, blocks): (u64, u32),
) -> Result<Box<dyn LongTask>, Outcome> {
    unit.check_length(lba, blocks, CdbForm::Sixteen)?;
    if blocks == 0 {
        return Err(Outcome::GOOD);
    }
    unit.check_writable()?;
    let BlockOp { offset, len, .. } = unit.block_op(OpKind::Read, lba, blocks);
    let piece_len = unit.block_op(OpKind::Read, 0, unit.chunk_blocks().min(blocks)).len;
    let fua = flags.contains(RangeFlags::FUA);
    Ok(Box::new(OrWrite { fua, offset, len, piece_len, done: 0, stage: Stage::Nothing }))
}

impl OrWrite {
    fn op(&self, kind: OpKind, len: usize) -> LongStep {
        let op = BlockOp { kind, offset: self.offset + self.done, len: len as u64 };
        LongStep::Block(op, OpMemory::Own { at: 0, len })
    }

    fn read_piece(&mut self) -> LongStep {
        let len = self.piece_len.min(self.len - self.done) as usize;
        if len == 0 {
            return LongStep::GOOD;
        }
        self.stage = Stage::Read { len };
        self.op(OpKind::Read, len)
    }
}

impl LongTask for OrWrite {
    fn data_out_len(&self) -> u64 {
        self.len
    }

    fn memory_len(&self) -> usize {
        2 * self.piece_len as usize
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        match self.stage {
            Stage::Nothing => {
                self.stage = Stage::Locked;
                LongStep::Lock { offset: self.offset, len: self.len }
            }
            Stage::Locked => self.read_piece(),
            Stage::Read { len } => {
                let (blocks, bits) = desk.memory.split_at_mut(self.piece_len as usize);
                let bits = &mut bits[..len];
                desk.data.take(self.done, bits);
                blocks.iter_mut().zip(bits).for_each(|(byte, bits)| *byte |= *bits);
                self.stage = Stage::Written { len };
                self.op(OpKind::Write { fua: self.fua }, len)
            }
            Stage::Written { len } => {
                self.done += len as u64;
                self.read_piece()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bdev::Info;

    use super::*;
    use crate::scsi::Sense;
    use crate::scsi::long::testing::Rig;
    use crate::scsi::spec::{Asc, SenseKey};
    use crate::scsi::testing::info;

    fn cdb(byte_1: u8, lba: u8, blocks: u8) -> [u8; 16] {
        [0x8b, byte_1, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, blocks, 0, 0]
    }

    #[test]
    fn sets_bits_and_clears_none() {
        for (byte_1, fua) in [(0, false), (0x18, true)] {
            let mut rig = Rig::plain();
            rig.good(&cdb(byte_1, 3, 2), &[[0x10; 512], [0x81; 512]].concat());
            assert_eq!(rig.bytes[2 * 512..6 * 512], [[2; 512], [0x13; 512], [0x85; 512], [5; 512]].concat());
            assert_eq!(rig.done(), [(OpKind::Read, 3, 2), (OpKind::Write { fua }, 3, 2)]);
            assert_eq!(rig.locks, [(1536, 1024)]);
        }
    }

    #[test]
    fn large_ranges_go_piece_by_piece_under_one_lock() {
        let mut rig = Rig::new(&Info { max_transfer: 1 << 20, ..info() });
        let mut bits = vec![0; 1000 * 512];
        bits[999 * 512] = 0x0f;
        bits[512] = 0x40;
        let mut expected = rig.bytes.clone();
        expected.iter_mut().zip(&bits).for_each(|(byte, bits)| *byte |= bits);
        rig.good(&[0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 232, 0, 0], &bits);
        assert!(rig.bytes == expected);
        assert_eq!((rig.ops.len(), rig.locks.len()), (4, 1));
    }

    #[test]
    fn refusals() {
        let mut rig = Rig::plain();
        assert_eq!(rig.refused(&cdb(0x40, 0, 1), &[]), Sense::invalid_field(1, Some(7)), "ORPROTECT");
        assert_eq!(rig.refused(&cdb(0, 0, 129), &[]), Sense::invalid_field(10, None));
        let end = [0x8b, 0, 0, 0, 0, 0, 0, 0, 3, 232, 0, 0, 0, 1, 0, 0];
        assert_eq!(rig.refused(&end, &[]), Sense::lba_out_of_range(1000));
        assert_eq!(rig.run(&cdb(0, 9, 0), &[]).outcome, Outcome::GOOD);
        let mut protected = Rig::new(&Info { read_only: true, ..info() });
        assert_eq!(protected.refused(&cdb(0, 0, 1), &[]), Sense::new(SenseKey(7), Asc(0x2700)));
    }
}

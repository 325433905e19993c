//! COMPARE AND WRITE (SBC-4): blocks are written only if they hold what the initiator thinks, and nobody else reads or
//! writes them meanwhile.
//!
//! Data-out is the blocks as they should be, and then those to write.

use bdev::{IoError, OpKind};

use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::verify::first_difference;
use super::{Desk, LogicalUnit, LongStep, LongTask, OpMemory, RangeFlags};

/// First byte of NUMBER OF LOGICAL BLOCKS.
const LENGTH_BYTE: u16 = 13;

/// A compare and write in progress.
#[derive(Debug)]
struct CompareAndWrite {
    offset: u64,
    /// Bytes to compare, and to write.
    len: usize,
    fua: bool,
    /// The device compares; it does not say where the bytes differ.
    compares: bool,
    stage: Stage,
}

/// What has been done.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Nothing,
    Locked,
    Read,
    Compared,
    Written,
}

/// Begins a COMPARE AND WRITE.
pub(super) fn begin(
    unit: &LogicalUnit,
    flags: RangeFlags,
    (lba, blocks): (u64, u32),
) -> Result<Box<dyn LongTask>, Outcome> {
    unit.check_range(lba, blocks)?;
    if blocks > unit.limits.compare_and_write.into() {
        return Err(Sense::invalid_field(LENGTH_BYTE, None).into());
    }
    if blocks == 0 {
        return Err(Outcome::GOOD);
    }
    unit.check_writable()?;
    let BlockOp { offset, len, .. } = unit.block_op(OpKind::Read, lba, blocks);
    let fua = flags.contains(RangeFlags::FUA);
    let compares = unit.limits.compare;
    Ok(Box::new(CompareAndWrite { offset, len: len as usize, fua, compares, stage: Stage::Nothing }))
}

impl LongTask for CompareAndWrite {
    fn data_out_len(&self) -> u64 {
        2 * self.len as u64
    }

    fn memory_len(&self) -> usize {
        2 * self.len
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        let Self { offset, len, fua, compares, stage } = *self;
        let op = |kind| BlockOp { kind, offset, len: len as u64 };
        match stage {
            Stage::Nothing => {
                self.stage = Stage::Locked;
                LongStep::Lock { offset, len: len as u64 }
            }
            Stage::Locked if compares => {
                self.stage = Stage::Compared;
                LongStep::Block(op(OpKind::Compare), OpMemory::Data(0))
            }
            Stage::Locked => {
                self.stage = Stage::Read;
                LongStep::Block(op(OpKind::Read), OpMemory::Own { at: 0, len })
            }
            Stage::Read => {
                let (read, expected) = desk.memory.split_at_mut(len);
                desk.data.take(0, expected);
                if let Some(at) = first_difference(read, expected) {
                    return Sense::miscompare(at as u64).into();
                }
                self.stage = Stage::Compared;
                self.next(desk)
            }
            Stage::Compared => {
                self.stage = Stage::Written;
                LongStep::Block(op(OpKind::Write { fua }), OpMemory::Data(len as u64))
            }
            Stage::Written => LongStep::GOOD,
        }
    }

    fn failed(&mut self, op: &BlockOp, error: IoError, desk: &mut Desk<'_>) -> LongStep {
        if op.kind == OpKind::Compare && error == IoError::Miscompare {
            (self.compares, self.stage) = (false, Stage::Locked);
            return self.next(desk);
        }
        LongStep::Done(Outcome::of_io_error(op.kind, error))
    }
}

#[cfg(test)]
mod tests {
    use bdev::Info;

    use super::*;
    use crate::scsi::long::testing::Rig;
    use crate::scsi::spec::{Asc, SenseKey};
    use crate::scsi::testing::info;

    fn cdb(byte_1: u8, lba: u8, blocks: u8) -> [u8; 16] {
        [0x89, byte_1, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, blocks, 0, 0]
    }

    /// Blocks 5 and 6 as they are, and what they become.
    fn data() -> Vec<u8> {
        [[5; 512], [6; 512], [0xa5; 512], [0x5a; 512]].concat()
    }

    #[test]
    fn writes_what_was_as_expected() {
        for (byte_1, fua) in [(0, false), (0x18, true)] {
            let mut rig = Rig::plain();
            rig.good(&cdb(byte_1, 5, 2), &data());
            assert_eq!(rig.done(), [(OpKind::Read, 5, 2), (OpKind::Write { fua }, 5, 2)]);
            assert_eq!(rig.locks, [(2560, 1024)]);
            assert_eq!(rig.bytes[4 * 512..8 * 512], [&[4; 512][..], &data()[1024..], &[7; 512]].concat());
        }
    }

    #[test]
    fn a_device_that_compares_is_read_only_to_find_the_difference() {
        let mut rig = Rig::new(&Info { compare: true, write_cache: bdev::WriteCache::WriteThrough, ..info() });
        rig.good(&cdb(0, 5, 2), &data());
        assert_eq!(rig.done(), [(OpKind::Compare, 5, 2), (OpKind::Write { fua: false }, 5, 2)]);
        let mut differs = data();
        (differs[0], differs[1], differs[600]) = (0xa5, 0xa5, 0);
        rig.ops.clear();
        assert_eq!(rig.refused(&cdb(0, 5, 2), &differs), Sense::miscompare(2));
        assert_eq!(rig.done(), [(OpKind::Compare, 5, 2), (OpKind::Read, 5, 2)]);
        rig.fails = |op| (op.kind == OpKind::Compare).then_some(IoError::Medium);
        assert_eq!(rig.refused(&cdb(0, 5, 2), &data()).key, SenseKey(3));
    }

    #[test]
    fn writes_nothing_where_a_byte_differs_and_tells_which() {
        for at in [0, 511, 512, 1023] {
            let mut rig = Rig::plain();
            let (mut data, before) = (data(), rig.bytes.clone());
            data[at] ^= 0x10;
            let expected = Sense { information: Some(at as u64), ..Sense::new(SenseKey(0xe), Asc(0x1d00)) };
            assert_eq!(rig.refused(&cdb(0, 5, 2), &data), expected);
            assert!(rig.bytes == before && rig.ops.len() == 1);
        }
    }

    #[test]
    fn refusals() {
        let mut rig = Rig::plain();
        assert_eq!(rig.refused(&cdb(0x20, 0, 1), &[]), Sense::invalid_field(1, Some(7)), "WRPROTECT");
        let end = [0x89, 0, 0, 0, 0, 0, 0, 0, 3, 231, 0, 0, 0, 2, 0, 0];
        assert_eq!(rig.refused(&end, &[]), Sense::lba_out_of_range(1000));
        let mut large = Rig::new(&Info { block_size: 4096, ..info() });
        assert_eq!(large.refused(&cdb(0, 0, 65), &[]), Sense::invalid_field(13, None));
        assert_eq!(large.run(&cdb(0, 0, 0), &[]).outcome, Outcome::GOOD);
        let mut protected = Rig::new(&Info { read_only: true, ..info() });
        assert_eq!(protected.refused(&cdb(0, 0, 1), &[]), Sense::new(SenseKey(7), Asc(0x2700)));
        rig.fails = |op| op.kind.is_change().then_some(IoError::NoSpace);
        assert_eq!(rig.refused(&cdb(0, 5, 2), &data()), Sense::new(SenseKey(7), Asc(0x2707)));
    }
}

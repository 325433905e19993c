//! Writes with something before or after them: WRITE AND VERIFY (10), (12), (16), and WRITE ATOMIC (16) (SBC-4).

use bdev::{AtomicMisfit, IoError, OpKind};

use super::super::command::CdbForm;
use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::verify::{BAD_CHECK, Verify};
use super::{ByteCheck, Desk, LogicalUnit, LongStep, LongTask, OpMemory, RangeFlags};

/// First byte of ATOMIC BOUNDARY.
const BOUNDARY_BYTE: u16 = 10;
/// First byte of LOGICAL BLOCK ADDRESS of the commands of 16 bytes.
const LBA_BYTE: u16 = 2;
/// First byte of TRANSFER LENGTH of WRITE ATOMIC (16).
pub(in crate::scsi) const ATOMIC_LENGTH_BYTE: u16 = 12;

/// A write, then a look at what is on the medium.
#[derive(Debug)]
struct WriteAndVerify {
    len: u64,
    write: Option<BlockOp>,
    verify: Verify,
}

/// A write that the device does as a whole.
#[derive(Debug)]
struct WriteAtomic {
    len: u64,
    /// Still to be done.
    write: Option<BlockOp>,
}

/// Begins a WRITE AND VERIFY.
pub(super) fn begin_and_verify(
    unit: &LogicalUnit,
    check: ByteCheck,
    range: (u64, u32),
    form: CdbForm,
) -> Result<Box<dyn LongTask>, Outcome> {
    let (lba, blocks) = range;
    if check != ByteCheck::NONE && check != ByteCheck::BLOCKS {
        return Err(BAD_CHECK.into());
    }
    unit.check_length(lba, blocks, form)?;
    if blocks == 0 {
        return Err(Outcome::GOOD);
    }
    unit.check_writable()?;
    let op = unit.block_op(OpKind::Write { fua: true }, lba, blocks);
    // What is written is on the medium: no cache need be written first.
    let verify = Verify::new(unit, check, range, false);
    Ok(Box::new(WriteAndVerify { len: op.len, write: Some(op), verify }))
}

/// Begins a WRITE ATOMIC.
pub(super) fn begin_atomic(
    unit: &LogicalUnit,
    flags: RangeFlags,
    (lba, blocks): (u64, u32),
) -> Result<Box<dyn LongTask>, Outcome> {
    if flags.contains(RangeFlags::BOUNDARY) {
        return Err(Sense::invalid_field(BOUNDARY_BYTE, None).into());
    }
    unit.check_range(lba, blocks)?;
    if blocks == 0 {
        return Err(Outcome::GOOD);
    }
    let op = unit.block_op(OpKind::WriteAtomic { fua: flags.contains(RangeFlags::FUA) }, lba, blocks);
    let atomic = unit.limits.atomic.expect("asked only of units that support it");
    let field = |misfit| match misfit {
        AtomicMisfit::Length => ATOMIC_LENGTH_BYTE,
        AtomicMisfit::Offset => LBA_BYTE,
    };
    atomic.check(op.offset, op.len).map_err(|misfit| Sense::invalid_field(field(misfit), None))?;
    unit.check_writable()?;
    Ok(Box::new(WriteAtomic { len: op.len, write: Some(op) }))
}

impl LongTask for WriteAndVerify {
    fn data_out_len(&self) -> u64 {
        self.len
    }

    fn memory_len(&self) -> usize {
        self.verify.memory_len()
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        match self.write.take() {
            Some(op) => LongStep::Block(op, OpMemory::Data(0)),
            None => self.verify.next(desk),
        }
    }

    fn failed(&mut self, op: &BlockOp, error: IoError, desk: &mut Desk<'_>) -> LongStep {
        match op.kind {
            OpKind::Write { .. } => LongStep::Done(Outcome::of_io_error(op.kind, error)),
            _ => self.verify.failed(op, error, desk),
        }
    }
}

impl LongTask for WriteAtomic {
    fn data_out_len(&self) -> u64 {
        self.len
    }

    fn next(&mut self, _desk: &mut Desk<'_>) -> LongStep {
        self.write.take().map_or(LongStep::GOOD, |op| LongStep::Block(op, OpMemory::Data(0)))
    }
}

#[cfg(test)]
mod tests {
    use bdev::{Atomic, Info};

    use super::*;
    use crate::scsi::long::testing::Rig;
    use crate::scsi::spec::{Asc, SenseKey};
    use crate::scsi::testing::info;

    const PROTECTED: Sense = Sense::new(SenseKey(7), Asc(0x2700));
    const FORCED: OpKind = OpKind::Write { fua: true };

    #[test]
    fn every_shape_writes_and_then_reads_what_is_there() {
        let shapes: [&[u8]; 3] = [
            &[0x2e, 0x02, 0, 0, 0, 3, 0, 0, 2, 0],
            &[0xae, 0x12, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0],
            &[0x8e, 0x02, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0],
        ];
        for cdb in shapes {
            let mut rig = Rig::new(&info());
            rig.good(cdb, &[[0xaa; 512], [0xbb; 512]].concat());
            assert_eq!(rig.done(), [(FORCED, 3, 2), (OpKind::Read, 3, 2)]);
            assert_eq!(rig.bytes[2 * 512..6 * 512], [[2; 512], [0xaa; 512], [0xbb; 512], [5; 512]].concat());
        }
    }

    #[test]
    fn write_and_verify_fails_with_either() {
        let cdb = [0x2e, 0, 0, 0, 0, 3, 0, 0, 1, 0];
        let mut rig = Rig::plain();
        rig.fails = |op| (op.kind == OpKind::Read).then_some(IoError::Medium);
        let unreadable = Sense { information: Some(3), ..Sense::new(SenseKey(3), Asc(0x1100)) };
        assert_eq!(rig.refused(&cdb, &[1; 512]), unreadable);
        rig.fails = |op| op.kind.is_change().then_some(IoError::Medium);
        assert_eq!(rig.refused(&cdb, &[1; 512]), Sense::new(SenseKey(3), Asc(0x0c00)));
    }

    #[test]
    fn write_and_verify_refusals() {
        let cdb = |byte_1, blocks| [0x2e, byte_1, 0, 0, 0, 3, 0, 0, blocks, 0];
        let mut rig = Rig::plain();
        for check in [4, 6] {
            assert_eq!(rig.refused(&cdb(check, 1), &[]), Sense::invalid_field(1, Some(2)));
        }
        assert_eq!(rig.refused(&cdb(0x60, 1), &[]), Sense::invalid_field(1, Some(7)), "WRPROTECT");
        assert_eq!(rig.refused(&cdb(0, 129), &[]), Sense::invalid_field(7, None));
        assert_eq!(rig.refused(&[0x2e, 0, 0, 0, 3, 232, 0, 0, 1, 0], &[]), Sense::lba_out_of_range(1000));
        assert_eq!(rig.run(&cdb(0, 0), &[]).outcome, Outcome::GOOD);
        assert_eq!(Rig::new(&Info { read_only: true, ..info() }).refused(&cdb(0, 1), &[]), PROTECTED);
    }

    const ANY: Atomic = Atomic { unit: 512, max: 8 * 512, natural: false, boundary: 0 };

    fn atomic(byte_1: u8, boundary: u8, blocks: u8) -> [u8; 16] {
        [0x9c, byte_1, 0, 0, 0, 0, 0, 0, 0, 3, 0, boundary, 0, blocks, 0, 0]
    }

    #[test]
    fn an_atomic_write_is_one_operation() {
        let info = Info { atomic: Some(ANY), ..info() };
        for (byte_1, fua) in [(0x10, false), (8, true)] {
            let mut rig = Rig::new(&info);
            rig.good(&atomic(byte_1, 0, 8), &[0x77; 4096]);
            assert_eq!(rig.done(), [(OpKind::WriteAtomic { fua }, 3, 8)]);
            assert_eq!(rig.bytes[3 * 512..11 * 512], [0x77; 4096]);
        }
        let mut rig = Rig::new(&info);
        assert_eq!(rig.refused(&atomic(0, 0, 9), &[]), Sense::invalid_field(12, None));
        assert_eq!(rig.refused(&atomic(0, 1, 1), &[]), Sense::invalid_field(10, None), "ATOMIC BOUNDARY");
        assert_eq!(rig.refused(&atomic(0x80, 0, 1), &[]), Sense::invalid_field(1, Some(7)));
        let end = [0x9c, 0, 0, 0, 0, 0, 0, 0, 3, 228, 0, 0, 0, 8, 0, 0];
        assert_eq!(rig.refused(&end, &[]), Sense::lba_out_of_range(1000));
        assert_eq!(rig.run(&atomic(0, 0, 0), &[]).outcome, Outcome::GOOD);
        assert_eq!(Rig::new(&Info { read_only: true, ..info }).refused(&atomic(0, 0, 1), &[]), PROTECTED);
    }

    #[test]
    fn an_atomic_write_that_the_device_does_not_take_is_refused() {
        let natural = Atomic { unit: 1024, max: 4096, natural: true, boundary: 0 };
        let mut rig = Rig::new(&Info { atomic: Some(natural), ..info() });
        let cdb = |lba, blocks| [0x9c, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, blocks, 0, 0];
        rig.good(&cdb(4, 4), &[1; 2048]);
        for (lba, blocks, byte) in [(4, 1, 12), (4, 3, 12), (4, 6, 12), (4, 16, 12), (3, 2, 2), (2, 4, 2)] {
            assert_eq!(rig.refused(&cdb(lba, blocks), &[]), Sense::invalid_field(byte, None), "{blocks} at {lba}");
        }
        assert_eq!(rig.run(&cdb(3, 0), &[]).outcome, Outcome::GOOD, "nothing fits anywhere");
        let mut bounded = Rig::new(&Info { atomic: Some(Atomic { boundary: 4096, ..ANY }), ..info() });
        bounded.good(&cdb(3, 5), &[1; 2560]);
        assert_eq!(bounded.refused(&cdb(3, 6), &[]), Sense::invalid_field(2, None));
        assert_eq!(bounded.ops.len(), 1);
    }

    #[test]
    fn a_disk_without_atomic_writes_does_not_know_the_command() {
        assert_eq!(Rig::plain().refused(&atomic(0, 0, 1), &[]), Sense::illegal(Asc(0x2000)));
    }
}

//! WRITE SAME (10) and (16) (SBC-4): one block, or zeroes, into every block of a range.
//!
//! Zeroes are left to the device where it can make them itself; then with UNMAP it may give the space back, or with ANCHOR keep
//! space for what will be written. All else is written piece by piece from memory that is filled with the block.

use bdev::{IoError, OpKind};

use super::super::command::CdbForm;
use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::super::spec::Asc;
use super::{Desk, LogicalUnit, LongStep, LongTask, OpMemory, RangeFlags};

/// UNMAP.
const UNMAP_BIT: Sense = Sense::invalid_field(1, Some(3));

/// ANCHOR.
const ANCHOR_BIT: Sense = Sense::invalid_field(1, Some(4));

/// A WRITE SAME in progress.
#[derive(Debug)]
struct WriteSame {
    block_size: u64,
    chunk_blocks: u32,
    /// Data-out has the block.
    has_block: bool,
    must_begin: bool,
    /// What is written is on the medium before the command ends.
    fua: bool,
    /// Zeroes that the device can make by itself.
    zeroing: Zeroing,
    /// The first block that is still to be written, how many there are from there on, and how many are being written.
    lba: u64,
    left: u32,
    doing: u32,
}

/// How the device makes zeroes.
#[derive(Debug, Clone, Copy)]
struct Zeroing {
    unmap: bool,
    /// Of what is unmapped the space is kept.
    anchor: bool,
    /// Blocks of one operation; 0 if it does not.
    blocks_max: u32,
}

/// Begins a WRITE SAME.
pub(super) fn begin(
    unit: &LogicalUnit,
    flags: RangeFlags,
    (lba, blocks): (u64, u32),
    form: CdbForm,
) -> Result<Box<dyn LongTask>, Outcome> {
    // First: a disk that cannot be written to has nothing to give back either.
    unit.check_writable()?;
    let unmap = flags.contains(RangeFlags::UNMAP);
    let anchor = flags.contains(RangeFlags::ANCHOR);
    // It says what unmapping comes to, and means nothing without.
    if anchor && !(unmap && unit.limits.anchor) {
        return Err(ANCHOR_BIT.into());
    }
    if unmap && unit.discard.is_none() {
        return Err(UNMAP_BIT.into());
    }
    // A length of 0 means all up to the last block.
    let count = if blocks == 0 { unit.blocks.saturating_sub(lba) } else { blocks.into() };
    let count = u32::try_from(count).ok().filter(|count| *count <= unit.limits.write_same);
    let Some(count) = count else {
        return Err(Sense::invalid_field(form.transfer_length_byte(), None).into());
    };
    unit.check_range(lba, blocks.max(1))?;
    let block_size = u64::from(unit.block_size);
    let blocks_max = u32::try_from(unit.write_zeroes_max / block_size).unwrap_or(u32::MAX);
    Ok(Box::new(WriteSame {
        block_size,
        chunk_blocks: unit.chunk_blocks().min(count),
        has_block: !flags.contains(RangeFlags::NDOB),
        must_begin: true,
        fua: flags.contains(RangeFlags::FUA),
        zeroing: Zeroing { unmap, anchor, blocks_max },
        lba,
        left: count,
        doing: 0,
    }))
}

impl WriteSame {
    /// Fills its memory, unless the device makes all of it.
    fn fill(&mut self, desk: &mut Desk<'_>) {
        if !self.has_block {
            return;
        }
        let (block, copies) = desk.memory.split_at_mut(self.block_size as usize);
        desk.data.take(0, block);
        if block.iter().any(|&byte| byte != 0) {
            self.zeroing.blocks_max = 0;
            copies.chunks_mut(block.len()).for_each(|copy| copy.copy_from_slice(block));
        }
    }

    /// Writes the next blocks.
    fn write(&mut self) -> LongStep {
        let (fua, Zeroing { unmap, anchor, blocks_max }) = (self.fua, self.zeroing);
        self.doing = self.left.min(if blocks_max > 0 { blocks_max } else { self.chunk_blocks });
        let len = u64::from(self.doing) * self.block_size;
        let op = |kind| BlockOp { kind, offset: self.lba * self.block_size, len };
        match (self.doing, blocks_max) {
            (0, _) => LongStep::GOOD,
            (_, 0) => LongStep::Block(op(OpKind::Write { fua }), OpMemory::Own { at: 0, len: len as usize }),
            _ if anchor => LongStep::bare(op(OpKind::Anchor { fua })),
            _ => LongStep::bare(op(OpKind::WriteZeroes { unmap, fua })),
        }
    }
}

impl LongTask for WriteSame {
    /// Some of it: whether it is one block, no more and no less, is looked at in the first step. Another length is a
    /// mistake of the initiator that sense data tells, as other targets do.
    fn data_out_len(&self) -> u64 {
        self.has_block.into()
    }

    fn memory_len(&self) -> usize {
        self.chunk_blocks as usize * self.block_size as usize
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        if std::mem::take(&mut self.must_begin) {
            if self.has_block && desk.data.out_len() != self.block_size {
                return Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR).into();
            }
            self.fill(desk);
        }
        self.lba += u64::from(self.doing);
        self.left -= self.doing;
        self.write()
    }

    /// A device that cannot make zeroes after all is given them.
    fn failed(&mut self, op: &BlockOp, error: IoError, _desk: &mut Desk<'_>) -> LongStep {
        match (op.kind, error) {
            (OpKind::WriteZeroes { .. } | OpKind::Anchor { .. }, IoError::Unsupported) => {
                self.zeroing.blocks_max = 0;
                self.write()
            }
            _ => LongStep::Done(Outcome::of_io_error(op.kind, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use bdev::{Discard, Info};

    use super::*;
    use crate::scsi::long::testing::Rig;
    use crate::scsi::spec::{Asc, SenseKey};
    use crate::scsi::testing::{command, info};
    use crate::scsi::{Condition, ModeState, ModeValues};

    const WRITE: OpKind = OpKind::Write { fua: false };

    fn sixteen(byte_1: u8, lba: u8, blocks: u16) -> [u8; 16] {
        let [high, low] = blocks.to_be_bytes();
        [0x93, byte_1, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, high, low, 0, 0]
    }

    fn zeroes(unmap: bool) -> OpKind {
        OpKind::WriteZeroes { unmap, fua: false }
    }

    /// A device that makes zeroes, 100 blocks at a time, and gives space back.
    fn thin() -> Info {
        let discard = Some(Discard { granularity: 4096, alignment: 0, max: 1 << 30, zeroes: true });
        Info { discard, write_zeroes_max: 51_711, ..info() }
    }

    #[test]
    fn a_block_is_written_everywhere() {
        let shapes: [&[u8]; 2] = [&[0x41, 0, 0, 0, 0, 10, 0, 1, 44, 0], &sixteen(0, 10, 300)];
        let block: Vec<u8> = (0..512).map(|at| at as u8).collect();
        for cdb in shapes {
            let mut rig = Rig::new(&thin());
            rig.good(cdb, &block);
            assert_eq!(rig.done(), [(WRITE, 10, 128), (WRITE, 138, 128), (WRITE, 266, 44)]);
            assert!(rig.bytes[10 * 512..310 * 512].chunks(512).all(|its| its == block));
            assert_eq!((rig.bytes[10 * 512 - 1], rig.bytes[310 * 512]), (9, 54));
        }
    }

    #[test]
    fn the_device_makes_zeroes_by_itself() {
        for (byte_1, data, unmap) in [(0, &[0; 512][..], false), (8, &[0; 512], true), (1, &[], false), (9, &[], true)]
        {
            let mut rig = Rig::new(&thin());
            rig.good(&sixteen(byte_1, 10, 130), data);
            assert_eq!(rig.done(), [(zeroes(unmap), 10, 100), (zeroes(unmap), 110, 30)]);
        }
    }

    #[test]
    fn blocks_are_anchored_where_the_device_can() {
        let anchor = OpKind::Anchor { fua: false };
        let shapes: [(&[u8], &[u8]); 3] = [
            (&[0x41, 0x18, 0, 0, 0, 10, 0, 0, 130, 0], &[0; 512]),
            (&sixteen(0x18, 10, 130), &[0; 512]),
            (&sixteen(0x19, 10, 130), &[]),
        ];
        for (cdb, data) in shapes {
            let mut rig = Rig::new(&Info { anchor: true, ..thin() });
            rig.good(cdb, data);
            assert_eq!(rig.done(), [(anchor, 10, 100), (anchor, 110, 30)]);
        }
        let mut rig = Rig::new(&Info { anchor: true, ..thin() });
        rig.good(&sixteen(0x18, 10, 3), &[7; 512]);
        assert_eq!(rig.done(), [(WRITE, 10, 3)], "what is not zero has to be written");
        let field = Sense::invalid_field(1, Some(4));
        assert_eq!(rig.refused(&sixteen(0x10, 10, 3), &[0; 512]), field, "ANCHOR without UNMAP");
        assert_eq!(Rig::new(&thin()).refused(&sixteen(0x18, 10, 3), &[0; 512]), field);
    }

    #[test]
    fn a_length_of_0_is_all_up_to_the_last_block() {
        let mut rig = Rig::new(&thin());
        rig.good(&[0x41, 0, 0, 0, 3, 100, 0, 0, 0, 0], &[7; 512]);
        assert_eq!(rig.done(), [(WRITE, 868, 128), (WRITE, 996, 4)]);
        assert!(rig.bytes[868 * 512..].iter().all(|&byte| byte == 7) && rig.bytes[868 * 512 - 1] != 7);
        rig.ops.clear();
        rig.good(&[0x93, 9, 0, 0, 0, 0, 0, 0, 3, 231, 0, 0, 0, 0, 0, 0], &[]);
        assert_eq!(rig.done(), [(zeroes(true), 999, 1)]);
    }

    #[test]
    fn a_length_of_0_is_refused_where_it_means_more_than_the_most() {
        // 65,535 blocks are the most.
        let mut rig = Rig::new(&Info { blocks: 65_536, ..thin() });
        assert_eq!(rig.refused(&sixteen(1, 0, 0), &[]), Sense::invalid_field(10, None));
        assert_eq!(rig.refused(&[0x41, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 512]), Sense::invalid_field(7, None));
        let mut huge = Rig::new(&Info { blocks: 1 << 33, ..thin() });
        assert_eq!(huge.refused(&sixteen(1, 0, 0), &[]), Sense::invalid_field(10, None));
        assert_eq!((rig.ops, huge.ops), (vec![], vec![]));
    }

    #[test]
    fn a_device_that_makes_no_zeroes_is_given_them() {
        let mut rig = Rig::plain();
        rig.good(&sixteen(1, 10, 3), &[]);
        assert_eq!((rig.done(), &rig.bytes[10 * 512..13 * 512]), (vec![(WRITE, 10, 3)], &[0; 1536][..]));
        let mut rig = Rig::new(&thin());
        rig.fails = |op| (op.offset > 10 * 512 && !op.kind.moves_data()).then_some(IoError::Unsupported);
        rig.good(&sixteen(8, 10, 130), &[0; 512]);
        assert_eq!(rig.done(), [(zeroes(true), 10, 100), (zeroes(true), 110, 30), (WRITE, 110, 30)]);
        assert!(rig.bytes[10 * 512..140 * 512].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn without_a_write_cache_it_ends_when_all_is_on_the_medium() {
        let mode = ModeState { current: ModeValues::WRITE_THROUGH, saved: ModeValues::DEFAULT };
        for (data, kind) in
            [([7; 512], OpKind::Write { fua: true }), ([0; 512], OpKind::WriteZeroes { unmap: false, fua: true })]
        {
            let (mut rig, command) = (Rig::new(&thin()), command(&sixteen(0, 10, 3)));
            let task = rig.unit.begin(&command, &Condition { mode, ..Condition::default() }).expect("it begins");
            assert_eq!(rig.drive(task, &command, &data).outcome, Outcome::GOOD);
            assert_eq!(rig.done(), [(kind, 10, 3)]);
        }
    }

    #[test]
    fn data_that_are_not_one_block_are_refused() {
        let mut rig = Rig::new(&thin());
        for len in [256, 511, 513, 1024] {
            let sense = rig.refused(&sixteen(8, 10, 1), &vec![0; len]);
            assert_eq!(sense, Sense::new(SenseKey(5), Asc(0x1a00)), "{len}");
        }
        assert_eq!(rig.ops, []);
    }

    #[test]
    fn other_failures_end_it() {
        let mut rig = Rig::new(&thin());
        rig.fails = |_| Some(IoError::NoSpace);
        assert_eq!(rig.refused(&sixteen(1, 0, 1), &[]), Sense::new(SenseKey(7), Asc(0x2707)));
    }

    #[test]
    fn refusals_point_to_the_field() {
        let mut rig = Rig::plain();
        let field = Sense::invalid_field;
        assert_eq!(rig.refused(&sixteen(8, 0, 1), &[]), field(1, Some(3)), "UNMAP, where nothing is given back");
        assert_eq!(rig.refused(&sixteen(0x18, 0, 1), &[]), field(1, Some(4)), "ANCHOR");
        assert_eq!(rig.refused(&sixteen(0x20, 0, 1), &[]), field(1, Some(7)), "WRPROTECT");
        assert_eq!(rig.refused(&[0x41, 1, 0, 0, 0, 0, 0, 0, 1, 0], &[]), field(1, Some(0)), "no NDOB in 10 bytes");
        for behind in [[3, 232], [3, 233], [255, 255]] {
            let cdb = [0x41, 0, 0, 0, behind[0], behind[1], 0, 0, 0, 0];
            assert_eq!(rig.refused(&cdb, &[]), Sense::lba_out_of_range(u64::from(u16::from_be_bytes(behind))));
        }
        let most = [0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(rig.refused(&most, &[]), field(10, None));
        let end = [0x41, 0, 0, 0, 3, 231, 0, 0, 2, 0];
        assert_eq!(rig.refused(&end, &[]), Sense::lba_out_of_range(1000));
        let mut protected = Rig::new(&Info { read_only: true, ..info() });
        assert_eq!(protected.refused(&sixteen(1, 0, 1), &[]), Sense::new(SenseKey(7), Asc(0x2700)));
        assert_eq!((rig.ops, protected.ops), (vec![], vec![]));
    }
}

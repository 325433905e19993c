//! PRE-FETCH (10) and (16) (SBC-4).
//!
//! A file that is served through the page cache has it filled; all others have no cache to put blocks in.

use bdev::OpKind;

use super::logical_unit::{LogicalUnit, STOPPED};
use super::outcome::{Condition, Outcome, Step};

impl LogicalUnit {
    /// No more is fetched than a transfer may have: others share the cache. In any case it ends with GOOD, which says that not
    /// all blocks found room, for CONDITION MET would promise that they have.
    pub(super) fn pre_fetch(&self, lba: u64, blocks: u32, condition: &Condition<'_>) -> Step {
        if condition.stopped {
            return STOPPED.into();
        }
        if let Err(sense) = self.check_range(lba, blocks) {
            return sense.into();
        }
        // A length of 0 means all up to the last block.
        let wanted = if blocks == 0 { self.blocks - lba } else { blocks.into() };
        let most = self.transfer_blocks_max.unwrap_or(u16::MAX.into());
        let blocks = u32::try_from(wanted).unwrap_or(most).min(most);
        if self.limits.prefetch && blocks > 0 {
            Step::Block(self.block_op(OpKind::Prefetch, lba, blocks))
        } else {
            Step::Done(Outcome::GOOD)
        }
    }
}

#[cfg(test)]
mod tests {
    use bdev::{Info, IoError};

    use super::super::testing::{command, disk, info, start};
    use super::super::{BlockOp, Sense};
    use super::*;

    fn ten(byte_1: u8, lba: u16, blocks: u16) -> [u8; 10] {
        let ([a, b], [c, d]) = (lba.to_be_bytes(), blocks.to_be_bytes());
        [0x34, byte_1, 0, 0, a, b, 0, c, d, 0]
    }

    fn step(unit: &LogicalUnit, cdb: &[u8]) -> Step {
        start(unit, cdb).0
    }

    #[test]
    fn where_there_is_no_cache_nothing_is_fetched() {
        let unit = disk(&info());
        for cdb in [ten(0, 0, 0), ten(0x02, 990, 10), ten(0, 1000, 0)] {
            assert_eq!(step(&unit, &cdb), Outcome::GOOD.into());
        }
        assert_eq!(step(&unit, &ten(0, 990, 11)), Sense::lba_out_of_range(1000).into());
        let sixteen = [&[0x90, 0][..], &1001_u64.to_be_bytes(), &[0, 0, 0, 0, 0, 0]].concat();
        assert_eq!(step(&unit, &sixteen), Sense::lba_out_of_range(1001).into());
    }

    #[test]
    fn a_cache_is_filled_with_a_transfer_at_most() {
        let unit = disk(&Info { prefetch: true, ..info() });
        let fetched = |lba: u64, blocks: u64| {
            Step::Block(BlockOp { kind: OpKind::Prefetch, offset: lba * 512, len: blocks * 512 })
        };
        // 128 blocks are the most.
        for (lba, blocks, done) in [(10, 1, 1), (10, 128, 128), (10, 129, 128), (0, 0, 128), (990, 0, 10)] {
            let cdb = ten(0, lba, blocks);
            assert_eq!(step(&unit, &cdb), fetched(lba.into(), done), "{lba}+{blocks}");
            let Step::Block(op) = step(&unit, &cdb) else { panic!("it fetches") };
            assert_eq!(unit.resume(&command(&cdb), &op, Ok(())), Outcome::GOOD.into());
            let failed = unit.resume(&command(&cdb), &op, Err(IoError::Gone));
            assert_eq!(failed, Outcome::of_io_error(OpKind::Prefetch, IoError::Gone).into());
        }
        assert_eq!(step(&unit, &ten(0, 1000, 0)), Outcome::GOOD.into(), "there is nothing behind the last block");
        assert_eq!(step(&unit, &ten(0, 990, 11)), Sense::lba_out_of_range(1000).into());
        let sixteen = [&[0x90, 0x02][..], &5_u64.to_be_bytes(), &[0, 0, 0, 3, 0, 0]].concat();
        assert_eq!(step(&unit, &sixteen), fetched(5, 3));
    }

    #[test]
    fn a_stopped_unit_fetches_nothing() {
        let unit = disk(&Info { prefetch: true, ..info() });
        let condition = Condition { stopped: true, ..Condition::default() };
        assert_eq!(unit.pre_fetch(0, 1, &condition), STOPPED.into());
    }
}

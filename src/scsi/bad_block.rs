//! Which block is bad, where an operation on several has failed (SBC-4: INFORMATION of a medium error is its address). A device does
//! not say; so a READ or VERIFY that failed looks again, at fewer and fewer blocks, each time at the first half of those among which
//! one is bad.
//!
//! Never on the way of what succeeds. A search ends after twice as many looks as the number of blocks has bits.

use bdev::{IoError, OpKind};

use super::command::{CdbForm, Command};
use super::logical_unit::LogicalUnit;
use super::outcome::{BlockOp, Outcome, Step};
use super::spec::{Asc, SenseKey};

/// Blocks: the first, and how many.
pub(super) type Blocks = (u64, u32);

/// What comes of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// The next look, at blocks of the range.
    Look(Blocks),
    /// This block is bad, and none of the range before it.
    Found(u64),
    /// All blocks can be read now.
    Nothing,
}

impl Search {
    /// What comes after a look at some blocks of `range`, the first of which was at all of them and found that one is bad. It needs
    /// to know no more: any later look is at the first half of a range that begins at a multiple of its own size, counted from the
    /// beginning, but for the one block that is left when its neighbour in front can be read.
    pub(super) fn after(range: Blocks, (lba, blocks): Blocks, is_bad: bool) -> Self {
        let (next, end) = (lba + u64::from(blocks), range.0 + u64::from(range.1));
        let is_last = blocks == 1 && !(lba - range.0).is_multiple_of(2);
        match blocks {
            0 | 1 if is_bad => Self::Found(lba),
            _ if is_bad => Self::Look((lba, 1 << (blocks - 1).ilog2())),
            _ if next >= end || is_last => Self::Nothing,
            _ => Self::Look((next, (blocks / 2).max(1).min((end - next) as u32))),
        }
    }
}

/// Whether such a failure is that of some block.
pub(super) fn is_of_a_block(error: IoError) -> bool {
    matches!(error, IoError::Medium | IoError::Unreadable)
}

/// How a command ends whose operation of this kind fails at block `lba`, or where that is not known.
pub(super) fn unreadable(kind: OpKind, lba: Option<u64>) -> Outcome {
    let mut outcome = Outcome::of_io_error(kind, IoError::Unreadable);
    outcome.sense.iter_mut().for_each(|sense| sense.information = lba);
    outcome
}

impl LogicalUnit {
    /// The READ or WRITE whose one operation this is.
    pub fn transfer_of(&self, op: &BlockOp) -> Command {
        let block_size = u64::from(self.block_size);
        let (lba, blocks) = (op.offset / block_size, (op.len / block_size) as u32);
        let (dpo, form) = (false, CdbForm::Sixteen);
        match op.kind {
            OpKind::Write { fua } => Command::Write { lba, blocks, dpo, fua, form },
            _ => Command::Read { lba, blocks, dpo, fua: false, form },
        }
    }

    /// What comes next for a command with an operation that failed.
    #[cold]
    pub(super) fn failed(&self, command: &Command, finished: &BlockOp, error: IoError) -> Step {
        match *command {
            Command::Read { lba, blocks, .. } if finished.kind == OpKind::Read && is_of_a_block(error) => {
                self.look_on((lba, blocks), finished, true)
            }
            _ => Step::Done(self.locate(finished, Outcome::of_io_error(finished.kind, error))),
        }
    }

    /// The next look of a READ of `range` that has failed. What the looks read goes to the front of the initiator's buffer, which
    /// holds nothing after a failure.
    #[cold]
    pub(super) fn look_on(&self, range: Blocks, finished: &BlockOp, is_bad: bool) -> Step {
        let block_size = u64::from(self.block_size);
        let looked_at = (finished.offset / block_size, (finished.len / block_size) as u32);
        match Search::after(range, looked_at, is_bad) {
            Search::Look((lba, blocks)) => Step::Block(self.block_op(OpKind::Read, lba, blocks)),
            Search::Found(lba) => Step::Done(unreadable(OpKind::Read, Some(lba))),
            Search::Nothing => Step::Done(unreadable(OpKind::Read, None)),
        }
    }

    /// How a command ends with an operation that failed: of one block it is known where the medium is bad, or has ended
    /// (INFORMATION).
    pub fn locate(&self, finished: &BlockOp, mut outcome: Outcome) -> Outcome {
        let block_size = u64::from(self.block_size);
        if let Some(sense) = &mut outcome.sense
            && (sense.key == SenseKey::MEDIUM_ERROR || sense.asc == Asc::LBA_OUT_OF_RANGE)
            && finished.len == block_size
        {
            sense.information.get_or_insert(finished.offset / block_size);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{command, disk, info};
    use super::*;

    /// Searches `range`, of which these blocks are bad at first and `later` on the second look: what is found, after how many looks.
    fn search(range: Blocks, later: &[u64]) -> (Search, usize) {
        let (mut look, mut count) = (Search::after(range, range, true), 0);
        while let Search::Look((lba, blocks)) = look {
            assert!(blocks > 0 && lba >= range.0 && lba + u64::from(blocks) <= range.0 + u64::from(range.1));
            let is_bad = later.iter().any(|bad| (lba..lba + u64::from(blocks)).contains(bad));
            look = Search::after(range, (lba, blocks), is_bad);
            count += 1;
        }
        (look, count)
    }

    #[test]
    fn the_first_bad_block_is_found_in_few_looks() {
        for blocks in 1..=70_u32 {
            let most = 2 * (u32::BITS - blocks.leading_zeros()) as usize;
            for (bad, more) in (0..u64::from(blocks)).flat_map(|bad| [(bad, bad), (bad, u64::from(blocks) - 1)]) {
                let (found, looks) = search((1000, blocks), &[1000 + bad, 1000 + more.max(bad)]);
                assert_eq!(found, Search::Found(1000 + bad), "{bad} of {blocks}");
                assert!(looks <= most, "{looks} looks at {blocks} blocks");
            }
            let (found, looks) = search((1000, blocks), &[]);
            let expected = if blocks == 1 { Search::Found(1000) } else { Search::Nothing };
            assert_eq!(found, expected, "all of {blocks} can be read now");
            assert!(looks <= most);
        }
        let huge = (u64::from(u32::MAX), u32::MAX);
        assert_eq!(search(huge, &[huge.0 + 0x8765_4321]).0, Search::Found(huge.0 + 0x8765_4321));
        assert!(search(huge, &[]).1 <= 64);
    }

    #[test]
    fn looks_never_get_longer() {
        for blocks in 2..=70_u32 {
            for bad in 0..u64::from(blocks) {
                let (mut look, mut before) = (Search::after((0, blocks), (0, blocks), true), blocks);
                while let Search::Look((lba, blocks_now)) = look {
                    assert!(blocks_now <= before, "the buffer is cut to each");
                    before = blocks_now;
                    look =
                        Search::after((0, blocks), (lba, blocks_now), lba <= bad && bad < lba + u64::from(blocks_now));
                }
            }
        }
    }

    /// A READ of `blocks` blocks from block 100 on, whose looks fail where `is_bad` says so.
    fn read(blocks: u8, is_bad: impl Fn(u64, u64) -> bool) -> Outcome {
        let (unit, command) = (disk(&info()), command(&[0x28, 0, 0, 0, 0, 100, 0, 0, blocks, 0]));
        let mut step = unit.failed(&command, &unit.block_op(OpKind::Read, 100, blocks.into()), IoError::Medium);
        loop {
            match step {
                Step::Block(op) => {
                    assert_eq!(op.kind, OpKind::Read);
                    let (lba, len) = (op.offset / 512, op.len / 512);
                    let result = if is_bad(lba, len) { Err(IoError::Medium) } else { Ok(()) };
                    step = unit.resume(&command, &op, result);
                }
                Step::Done(outcome) => return outcome,
                Step::Long => panic!("a READ is not long"),
            }
        }
    }

    #[test]
    fn a_read_that_failed_tells_the_first_bad_block() {
        let fixed = |outcome: Outcome| outcome.sense.unwrap().encode_fixed();
        for bad in 100..109 {
            let told = fixed(read(9, |lba, len| lba <= bad && bad < lba + len));
            assert_eq!(told, [0xf0, 0, 3, 0, 0, 0, bad as u8, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0]);
        }
        assert_eq!(fixed(read(9, |_, _| true))[..7], [0xf0, 0, 3, 0, 0, 0, 100]);
        assert_eq!(fixed(read(9, |_, _| false))[..13], [0x70, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x11], "no VALID");
    }

    #[test]
    fn other_failures_and_other_commands_are_not_searched() {
        let unit = disk(&info());
        let op = |kind| unit.block_op(kind, 100, 9);
        let read = command(&[0x28, 0, 0, 0, 0, 100, 0, 0, 9, 0]);
        for error in [IoError::Gone, IoError::BeyondEnd, IoError::Cancelled, IoError::Transfer, IoError::NoSpace] {
            let ended = Step::Done(Outcome::of_io_error(OpKind::Read, error));
            assert_eq!(unit.resume(&read, &op(OpKind::Read), Err(error)), ended);
        }
        let flushed = Step::Done(Outcome::of_io_error(OpKind::Flush, IoError::Medium));
        assert_eq!(unit.resume(&read, &BlockOp::FLUSH, Err(IoError::Medium)), flushed);
        let (write, kind) = (command(&[0x2a, 0, 0, 0, 0, 100, 0, 0, 9, 0]), OpKind::Write { fua: false });
        let ended = Step::Done(Outcome::of_io_error(kind, IoError::Medium));
        assert_eq!(unit.resume(&write, &op(kind), Err(IoError::Medium)), ended, "a second write is no look");
    }

    #[test]
    fn an_operation_is_that_of_its_command() {
        let unit = disk(&info());
        for (cdb, kind) in [(0x28, OpKind::Read), (0x2a, OpKind::Write { fua: false })] {
            let Step::Block(op) = unit.start(
                &command(&[cdb, 0, 0, 0, 0, 7, 0, 0, 9, 0]),
                &Default::default(),
                &mut crate::scsi::Reply::new(),
            ) else {
                panic!("it has one")
            };
            assert_eq!(op.kind, kind);
            let again = unit.start(&unit.transfer_of(&op), &Default::default(), &mut crate::scsi::Reply::new());
            assert_eq!(again, Step::Block(op));
        }
    }
}

//! Zeroes into ranges of the own disk, by the device itself if it can make them.

use bdev::{IoError, OpKind};

use super::super::super::outcome::{BlockOp, Outcome};
use super::super::super::third_party_copy::rods::Range;
use super::super::super::third_party_copy::{Progress, Running};
use super::super::{LogicalUnit, LongStep, OpMemory};
use super::using::{ABORTED, stop};

/// How a disk gets zeroes.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    block_size: u64,
    /// Blocks of one write.
    chunk_blocks: u32,
    /// Blocks that the device makes zero by itself in one operation; 0 if it does not.
    device_blocks: u32,
}

impl How {
    pub(super) fn of(unit: &LogicalUnit) -> Self {
        let block_size = u64::from(unit.block_size);
        let device_blocks = u32::try_from(unit.write_zeroes_max / block_size).unwrap_or(u32::MAX);
        Self { block_size, chunk_blocks: unit.chunk_blocks(), device_blocks }
    }
}

/// Ranges that are being zeroed, one after the other. The task's memory is all zeroes.
#[derive(Debug)]
pub(super) struct Zeroing {
    ranges: Vec<Range>,
    how: How,
    running: Running,
    /// The range that is being zeroed, the blocks of it that have been, and those that are: none between two operations.
    range: usize,
    done: u32,
    doing: u32,
    /// Operations, and blocks that have been zeroed in all.
    operations: u16,
    blocks: u64,
}

impl Zeroing {
    pub(super) fn new(ranges: Vec<Range>, how: How, running: Running) -> Self {
        Self { ranges, how, running, range: 0, done: 0, doing: 0, operations: 0, blocks: 0 }
    }

    /// It lets go of its memory. `is_done`: its last operation was done.
    pub(super) fn rest(&mut self, is_done: bool) {
        if is_done {
            self.count();
        }
        self.doing = 0;
    }

    /// Its last operation, if there was one, was done.
    fn count(&mut self) {
        self.operations = self.operations.wrapping_add(u16::from(self.doing > 0));
        self.done += self.doing;
        self.blocks += u64::from(self.doing);
        self.doing = 0;
    }

    /// The first step, or the next one after a step that succeeded.
    pub(super) fn go_on(&mut self) -> LongStep {
        let How { block_size, chunk_blocks, device_blocks } = self.how;
        self.count();
        while self.ranges.get(self.range).is_some_and(|range| range.blocks == self.done) {
            (self.range, self.done) = (self.range + 1, 0);
        }
        let progress = Progress { operations: self.operations, segments: 0, bytes: self.blocks * block_size };
        if !self.running.tell(progress) {
            return ABORTED.into();
        }
        let Some(range) = self.ranges.get(self.range) else {
            self.running.end();
            return LongStep::GOOD;
        };
        let blocks_max = if device_blocks > 0 { device_blocks } else { chunk_blocks };
        self.doing = (range.blocks - self.done).min(blocks_max);
        let offset = (range.lba + u64::from(self.done)) * block_size;
        let len = u64::from(self.doing) * block_size;
        if device_blocks > 0 {
            return LongStep::bare(BlockOp { kind: OpKind::WriteZeroes { unmap: false, fua: false }, offset, len });
        }
        let op = BlockOp { kind: OpKind::Write { fua: false }, offset, len };
        LongStep::Block(op, OpMemory::Own { at: 0, len: len as usize })
    }

    /// An operation has failed. A device that turns out not to make zeroes has them written.
    pub(super) fn failed(&mut self, op: &BlockOp, error: IoError) -> LongStep {
        if self.how.device_blocks > 0 && error == IoError::Unsupported {
            (self.how.device_blocks, self.doing) = (0, 0);
            return self.go_on();
        }
        let outcome = Outcome::of_io_error(op.kind, error);
        match outcome.sense {
            Some(cause) => stop(&self.running, self.blocks, cause),
            None => LongStep::Done(outcome),
        }
    }
}

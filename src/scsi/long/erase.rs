//! What FORMAT UNIT and SANITIZE do to the medium: every block is written, pass by pass, and then the cache.
//!
//! It goes on in the background of its disk, and nothing ends it but its end or a failure.

use bdev::{IoError, OpKind};

use super::super::outcome::{BlockOp, Outcome};
use super::{CHUNK_BYTES, Desk, LogicalUnit, LongStep, LongTask, OpMemory};

/// Bytes that the device makes zero in one operation at most: progress is seen between two.
const ZEROES_BYTES: u64 = 256 << 20;

/// All blocks of a disk are being written.
#[derive(Debug, Clone)]
pub(super) struct Erase {
    block_size: u32,
    blocks: u64,
    chunk_blocks: u32,
    /// Blocks that the device makes zero by itself in one operation; 0 if they are written.
    zeroes_max: u32,
    /// What each block begins with, again and again up to its end.
    pattern: Vec<u8>,
    passes: u8,
    /// Every other pass writes the complement.
    invert: bool,
    pass: u8,
    /// The first block that is still to be written in this pass, and how many are being written.
    lba: u64,
    doing: u32,
    stage: Stage,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// A pass begins.
    Fill,
    Write,
    Flush,
}

impl Erase {
    /// Every block reads as zeroes afterwards, and its space may be given back.
    pub(super) fn zeroes(unit: &LogicalUnit) -> Self {
        let zeroes = unit.write_zeroes_max.min(ZEROES_BYTES) / u64::from(unit.block_size);
        Self {
            block_size: unit.block_size,
            blocks: unit.blocks,
            chunk_blocks: unit.chunk_blocks(),
            zeroes_max: zeroes as u32,
            pattern: vec![0],
            passes: 1,
            invert: false,
            pass: 0,
            lba: 0,
            doing: 0,
            stage: Stage::Fill,
        }
    }

    /// Every block is written with `pattern` instead, so many times.
    pub(super) fn overwrite(&mut self, pattern: &[u8], passes: u8, invert: bool) {
        self.zeroes_max = 0;
        self.pattern = pattern.to_vec();
        (self.passes, self.invert) = (passes, invert);
    }

    fn fill(&self, memory: &mut [u8]) {
        let complement = if self.invert && self.pass % 2 == 1 { 0xff } else { 0 };
        for block in memory.chunks_mut(self.block_size as usize) {
            block.iter_mut().zip(self.pattern.iter().cycle()).for_each(|(to, from)| *to = from ^ complement);
        }
    }

    /// Writes the next blocks of this pass.
    fn write(&mut self) -> LongStep {
        let most = if self.zeroes_max > 0 { self.zeroes_max } else { self.chunk_blocks };
        self.doing = u32::try_from(self.blocks - self.lba).unwrap_or(u32::MAX).min(most);
        let block_size = u64::from(self.block_size);
        let len = u64::from(self.doing) * block_size;
        let op = |kind| BlockOp { kind, offset: self.lba * block_size, len };
        match self.zeroes_max {
            0 => LongStep::Block(op(OpKind::Write { fua: false }), OpMemory::Own { at: 0, len: len as usize }),
            _ => LongStep::bare(op(OpKind::WriteZeroes { unmap: true, fua: false })),
        }
    }
}

impl LongTask for Erase {
    fn memory_len(&self) -> usize {
        const { assert!(CHUNK_BYTES as usize <= super::MEMORY_MAX) };
        self.chunk_blocks as usize * self.block_size as usize
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        match self.stage {
            Stage::Fill => {
                self.fill(desk.memory);
                self.stage = Stage::Write;
                self.write()
            }
            Stage::Write => {
                self.lba += u64::from(self.doing);
                if self.lba < self.blocks {
                    return self.write();
                }
                (self.pass, self.lba, self.doing, self.stage) = (self.pass + 1, 0, 0, Stage::Fill);
                if self.pass < self.passes {
                    return self.next(desk);
                }
                self.stage = Stage::Flush;
                LongStep::bare(BlockOp::FLUSH)
            }
            Stage::Flush => LongStep::GOOD,
        }
    }

    /// A device that cannot make zeroes after all is given them: the memory is full of them.
    fn failed(&mut self, op: &BlockOp, error: IoError, _desk: &mut Desk<'_>) -> LongStep {
        match (op.kind, error) {
            (OpKind::WriteZeroes { .. }, IoError::Unsupported) => {
                self.zeroes_max = 0;
                self.write()
            }
            _ => LongStep::Done(Outcome::of_io_error(op.kind, error)),
        }
    }

    fn progress(&self) -> u16 {
        let all = u128::from(self.blocks) * u128::from(self.passes);
        let done = u128::from(self.blocks) * u128::from(self.pass) + u128::from(self.lba);
        // Fits: it is less than all of 65,536 parts, or that is what it is made.
        (done * 65_536 / all.max(1)).min(65_535) as u16
    }
}

//! VERIFY (10), (12) and (16) (SBC-4).
//!
//! Blocks are read into memory of its own, piece by piece, and compared with what the initiator sent. What a cache holds and
//! the medium does not is written first: it is the medium that is verified.

use bdev::OpKind;

use super::super::command::CdbForm;
use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::{ByteCheck, Desk, LogicalUnit, LongStep, LongTask, OpMemory};

/// BYTCHK of a value that means nothing.
pub(super) const BAD_CHECK: Sense = Sense::invalid_field(1, Some(2));

/// Blocks that are being verified.
#[derive(Debug)]
pub(super) struct Verify {
    check: ByteCheck,
    block_size: usize,
    chunk_blocks: u32,
    /// The first block that has not been verified, and how many there are from there on.
    lba: u64,
    left: u32,
    /// Blocks that are being read.
    reading: u32,
    /// Data-out that has been compared, in bytes.
    compared: u64,
    must_flush: bool,
}

/// Begins a VERIFY of `blocks` blocks.
pub(super) fn begin(
    unit: &LogicalUnit,
    check: ByteCheck,
    (lba, blocks): (u64, u32),
    form: CdbForm,
) -> Result<Box<dyn LongTask>, Outcome> {
    match check {
        ByteCheck::NONE | ByteCheck::ONE_BLOCK => unit.check_range(lba, blocks)?,
        ByteCheck::BLOCKS => unit.check_length(lba, blocks, form)?,
        _ => return Err(BAD_CHECK.into()),
    }
    if blocks == 0 {
        return Err(Outcome::GOOD);
    }
    Ok(Box::new(Verify::new(unit, check, (lba, blocks), unit.may_cache_writes())))
}

impl Verify {
    /// A look at blocks that exist.
    pub(super) fn new(unit: &LogicalUnit, check: ByteCheck, (lba, blocks): (u64, u32), must_flush: bool) -> Self {
        Self {
            check,
            block_size: unit.block_size as usize,
            chunk_blocks: unit.chunk_blocks().min(blocks),
            lba,
            left: blocks,
            reading: 0,
            compared: 0,
            must_flush,
        }
    }

    /// Compares the blocks that have been read. The first one that differs.
    fn compare(&mut self, desk: &mut Desk<'_>) -> Result<(), Sense> {
        let (read, sent) = desk.memory.split_at_mut(self.chunk_blocks as usize * self.block_size);
        let read = &read[..self.reading as usize * self.block_size];
        let miscompare = |block: usize| Sense::miscompare(self.lba + block as u64);
        match self.check {
            ByteCheck::BLOCKS => {
                let sent = &mut sent[..read.len()];
                desk.data.take(self.compared, sent);
                self.compared += sent.len() as u64;
                match first_difference(read, sent) {
                    Some(at) => Err(miscompare(at / self.block_size)),
                    None => Ok(()),
                }
            }
            ByteCheck::ONE_BLOCK => {
                desk.data.take(0, sent);
                match read.chunks(self.block_size).position(|block| block != sent) {
                    Some(block) => Err(miscompare(block)),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

impl LongTask for Verify {
    fn data_out_len(&self) -> u64 {
        match self.check {
            ByteCheck::BLOCKS => u64::from(self.left) * self.block_size as u64,
            ByteCheck::ONE_BLOCK => self.block_size as u64,
            _ => 0,
        }
    }

    fn memory_len(&self) -> usize {
        let blocks = match self.check {
            ByteCheck::BLOCKS => 2 * self.chunk_blocks,
            ByteCheck::ONE_BLOCK => self.chunk_blocks + 1,
            _ => self.chunk_blocks,
        };
        blocks as usize * self.block_size
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        if std::mem::take(&mut self.must_flush) {
            return LongStep::bare(BlockOp::FLUSH);
        }
        if let Err(sense) = self.compare(desk) {
            return sense.into();
        }
        self.lba += u64::from(self.reading);
        self.left -= self.reading;
        self.reading = self.left.min(self.chunk_blocks);
        if self.reading == 0 {
            return LongStep::GOOD;
        }
        let len = self.reading as usize * self.block_size;
        let op = BlockOp { kind: OpKind::Read, offset: self.lba * self.block_size as u64, len: len as u64 };
        LongStep::Block(op, OpMemory::Own { at: 0, len })
    }
}

/// The first byte at which two pieces of one length differ.
pub(super) fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    if a == b { None } else { a.iter().zip(b).position(|(a, b)| a != b) }
}

#[cfg(test)]
mod tests;

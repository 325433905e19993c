//! VERIFY (10), (12) and (16) (SBC-4).
//!
//! A device that can do so verifies blocks, or compares them with those that the initiator sent, itself. Else they are read
//! into memory of our own, piece by piece, and compared here; so are those with which a device was not content, for it does
//! not say where they differ. What a cache holds and the medium does not is written first: it is the medium that is verified.

use bdev::{IoError, OpKind};

use super::super::bad_block::{Blocks, Search, is_of_a_block, unreadable};
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
    /// What the device does with the blocks.
    kind: OpKind,
    /// Those of them among which one is bad that are being looked at again.
    look: Option<Blocks>,
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
        let (kind, chunk_blocks) = match check {
            ByteCheck::NONE if unit.limits.verify > 0 => (OpKind::Verify, unit.limits.verify),
            ByteCheck::BLOCKS if unit.limits.compare => (OpKind::Compare, unit.chunk_blocks()),
            _ => (OpKind::Read, unit.chunk_blocks()),
        };
        Self {
            check,
            block_size: unit.block_size as usize,
            chunk_blocks: chunk_blocks.min(blocks),
            kind,
            lba,
            left: blocks,
            reading: 0,
            compared: 0,
            must_flush,
            look: None,
        }
    }

    /// The operation on the blocks from the first one that has not been verified on.
    fn step(&self) -> LongStep {
        self.operation((self.lba, self.reading))
    }

    /// The operation on blocks of those.
    fn operation(&self, (lba, blocks): Blocks) -> LongStep {
        let (block_size, len) = (self.block_size as u64, blocks as usize * self.block_size);
        let memory = match self.kind {
            OpKind::Verify => OpMemory::Without,
            OpKind::Compare => OpMemory::Data(self.compared + (lba - self.lba) * block_size),
            _ => OpMemory::Own { at: 0, len },
        };
        LongStep::Block(BlockOp { kind: self.kind, offset: lba * block_size, len: len as u64 }, memory)
    }

    /// The next look for the block that is bad, after one at these.
    fn look_on(&mut self, look: Blocks, is_bad: bool) -> LongStep {
        let lba = match Search::after((self.lba, self.reading), look, is_bad) {
            Search::Look(look) => {
                self.look = Some(look);
                return self.operation(look);
            }
            Search::Found(lba) => Some(lba),
            Search::Nothing => None,
        };
        LongStep::Done(unreadable(self.kind, lba))
    }

    /// Compares the blocks that have been read. The first one that differs.
    fn compare(&mut self, desk: &mut Desk<'_>) -> Result<(), Sense> {
        if self.kind != OpKind::Read {
            self.compared += u64::from(self.reading) * self.block_size as u64;
            return Ok(());
        }
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
            _ if self.kind == OpKind::Verify => 0,
            _ => self.chunk_blocks,
        };
        blocks as usize * self.block_size
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        if std::mem::take(&mut self.must_flush) {
            return LongStep::bare(BlockOp::FLUSH);
        }
        if let Some(look) = self.look {
            return self.look_on(look, false);
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
        self.step()
    }

    fn failed(&mut self, op: &BlockOp, error: IoError, _desk: &mut Desk<'_>) -> LongStep {
        match (op.kind, error) {
            (OpKind::Flush, _) => LongStep::Done(Outcome::of_io_error(op.kind, error)),
            // What differs can be read.
            (OpKind::Compare, IoError::Miscompare) if let Some(look) = self.look => self.look_on(look, false),
            (OpKind::Compare, IoError::Miscompare) => {
                self.kind = OpKind::Read;
                self.step()
            }
            _ if is_of_a_block(error) => self.look_on(self.look.unwrap_or((self.lba, self.reading)), true),
            _ => LongStep::Done(Outcome::of_io_error(op.kind, error)),
        }
    }
}

/// The first byte at which two pieces of one length differ.
pub(super) fn first_difference(a: &[u8], b: &[u8]) -> Option<usize> {
    if a == b { None } else { a.iter().zip(b).position(|(a, b)| a != b) }
}

#[cfg(test)]
mod tests;

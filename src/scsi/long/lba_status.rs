//! GET LBA STATUS (16) (SBC-4): which blocks have space behind them.

use bdev::{Extent, IoError, OpKind, Provision};

use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::{Desk, LogicalUnit, LongStep, LongTask, OpMemory};

/// Extents that the device is asked for.
const EXTENTS: usize = 128;
/// Descriptors of an answer: what does not fit is asked for again, from there on.
const DESCRIPTORS_MAX: usize = 512;
/// Bytes before the descriptors.
const HEADER_LEN: usize = 8;
/// PROVISIONING STATUS of blocks that have space.
const MAPPED: u8 = 0;
/// PROVISIONING STATUS of blocks that have none.
const DEALLOCATED: u8 = 1;
/// PROVISIONING STATUS of blocks whose space waits for what will be written.
const ANCHORED: u8 = 2;

/// A GET LBA STATUS in progress.
#[derive(Debug)]
struct LbaStatus {
    block_size: u64,
    /// The blocks that are asked about: up to the last of the disk.
    first: u64,
    end: u64,
    allocation_length: usize,
    /// The device can tell, and has not been asked.
    must_ask: bool,
    has_asked: bool,
}

/// Descriptors in the order of their blocks.
#[derive(Debug, Default)]
struct Report(Vec<(u64, u64, u8)>);

/// Begins a GET LBA STATUS from block `lba` on.
pub(super) fn begin(unit: &LogicalUnit, lba: u64, allocation_length: u32) -> Result<Box<dyn LongTask>, Outcome> {
    if lba >= unit.blocks {
        return Err(Sense::lba_out_of_range(lba).into());
    }
    Ok(Box::new(LbaStatus {
        block_size: unit.block_size.into(),
        first: lba,
        end: unit.blocks,
        allocation_length: allocation_length as usize,
        // Blocks of a disk that gives none back have space, as far as its initiators are concerned.
        must_ask: unit.discard.is_some(),
        has_asked: false,
    }))
}

impl Report {
    /// Adds the blocks from the last one of the report up to `end`.
    fn push(&mut self, first: u64, end: u64, status: u8) {
        match self.0.last_mut() {
            _ if first >= end => {}
            Some(last) if last.2 == status => last.1 = end,
            _ => self.0.push((first, end, status)),
        }
    }

    /// The whole parameter data, cut off at so many bytes.
    fn encode(&self, allocation_length: usize) -> Vec<u8> {
        let mut data = vec![0; HEADER_LEN];
        let descriptors = self.0.iter().flat_map(|&(first, end, status)| {
            let pieces = (first..end).step_by(u32::MAX as usize);
            pieces.map(move |lba| (lba, u32::try_from(end - lba).unwrap_or(u32::MAX), status))
        });
        for (lba, blocks, status) in descriptors.take(DESCRIPTORS_MAX) {
            data.extend(lba.to_be_bytes());
            data.extend(blocks.to_be_bytes());
            data.extend([status, 0, 0, 0]);
        }
        let len = (data.len() - 4) as u32;
        data[..4].copy_from_slice(&len.to_be_bytes());
        data.truncate(allocation_length);
        data
    }
}

impl LbaStatus {
    /// What the extents in memory say. A block whose parts are not alike, or of which any part was written, is mapped.
    fn report(&self, memory: &[u8]) -> Report {
        let (mut report, mut known) = (Report::default(), self.first);
        let extents = memory.as_chunks().0.iter().map(Extent::from_bytes);
        let mut told = self.first * self.block_size;
        for extent in extents.take_while(|extent| extent.len > 0) {
            // Each begins where the last one ended. Where that is on the device inside, if the disk is a part of one, is
            // not ours to know.
            let offset = told;
            told = told.saturating_add(extent.len);
            let status = match extent.provision {
                Provision::Mapped => continue,
                Provision::Deallocated => DEALLOCATED,
                Provision::Anchored => ANCHORED,
            };
            let first = offset.div_ceil(self.block_size).max(known);
            let end = (told / self.block_size).min(self.end);
            if first < end {
                report.push(known, first, MAPPED);
                report.push(first, end, status);
                known = end;
            }
        }
        report.push(known, (told / self.block_size).min(self.end), MAPPED);
        report
    }

    fn give(&self, mut report: Report, desk: &mut Desk<'_>) -> LongStep {
        if report.0.is_empty() {
            report.push(self.first, self.end, MAPPED);
        }
        desk.data.give(0, &report.encode(self.allocation_length));
        LongStep::GOOD
    }
}

impl LongTask for LbaStatus {
    fn memory_len(&self) -> usize {
        EXTENTS * Extent::LEN
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        if std::mem::take(&mut self.must_ask) {
            self.has_asked = true;
            let offset = self.first * self.block_size;
            let op = BlockOp { kind: OpKind::Extents, offset, len: self.end * self.block_size - offset };
            return LongStep::Block(op, OpMemory::Own { at: 0, len: self.memory_len() });
        }
        let report = if self.has_asked { self.report(desk.memory) } else { Report::default() };
        self.give(report, desk)
    }

    /// A device that cannot tell has space everywhere.
    fn failed(&mut self, op: &BlockOp, error: IoError, desk: &mut Desk<'_>) -> LongStep {
        match error {
            IoError::Unsupported => self.give(Report::default(), desk),
            _ => LongStep::Done(Outcome::of_io_error(op.kind, error)),
        }
    }
}

#[cfg(test)]
mod tests;

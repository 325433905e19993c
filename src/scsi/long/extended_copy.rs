//! EXTENDED COPY with a list identifier of one byte, LID1 (SPC-5): blocks from one logical unit to another of the same device.
//!
//! The whole parameter list is taken apart before the first block is copied. A segment that turns out to name what cannot be
//! copied ends the command when its turn comes: those before it have been copied then, as its number in the sense data says.
//! Only logical units of the initiator's own device can be named, by what their device identification page says.

use bdev::{IoError, OpKind};

use super::super::hindrance::Hindrance;
use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::super::spec::{Asc, SenseKey};
use super::{CHUNK_BYTES, Desk, LogicalUnit, LongStep, LongTask, OpMemory};

mod list;

pub(in super::super) use list::{BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET, IDENTIFICATION};
use list::{List, Segment};

/// Most descriptors of copy sources and copy destinations in one list.
pub(in super::super) const CSCD_MAX: u16 = 16;
/// Most segments in one list.
pub(in super::super) const SEGMENTS_MAX: u16 = 16;
/// Most bytes of both.
pub(in super::super) const DESCRIPTORS_LEN_MAX: u32 =
    CSCD_MAX as u32 * list::CSCD_LEN as u32 + SEGMENTS_MAX as u32 * list::SEGMENT_LEN_MAX as u32;
/// Most bytes that one segment copies.
pub(in super::super) const SEGMENT_BYTES_MAX: u32 = 16 << 20;

/// What a designation descriptor says of a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Designator<'a> {
    /// CODE SET.
    pub code_set: u8,
    /// DESIGNATOR TYPE.
    pub kind: u8,
    /// The designator.
    pub bytes: &'a [u8],
}

/// A name of a logical unit of the same device: what [`LongStep::Elsewhere`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub u64);

/// A logical unit of the same device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name.
    pub place: Place,
    /// Number of logical blocks.
    pub blocks: u64,
    /// Bytes of a logical block.
    pub block_size: u32,
    /// Most bytes of one transfer.
    pub transfer_bytes_max: u64,
    /// It may be written to.
    pub writable: bool,
    /// Why it cannot be reached, for now.
    pub hindered: Option<Hindrance>,
}

/// The logical units of a device.
pub trait Neighbours {
    /// The disk with this designator.
    fn find(&self, designator: &Designator<'_>) -> Option<Neighbour>;
}

/// An EXTENDED COPY in progress.
#[derive(Debug)]
pub(super) struct ExtendedCopy {
    list_len: usize,
    segments: Vec<Segment>,
    /// Why the segment behind them cannot be copied, if there is one.
    fails: Option<Sense>,
    stage: Stage,
    /// The segment that is being copied, and the bytes of it that have been.
    segment: usize,
    done: u64,
    doing: u64,
    has_written: bool,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Parse,
    Read,
    Write,
}

/// Begins an EXTENDED COPY.
pub(super) fn begin(parameter_list_length: u32) -> Result<Box<dyn LongTask>, Outcome> {
    // A length of 0 is no error (SPC-5, EXTENDED COPY command), nor is it a list.
    if parameter_list_length == 0 {
        return Err(Outcome::GOOD);
    }
    if parameter_list_length < list::HEADER_LEN as u32 {
        return Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR).into());
    }
    let list_len = parameter_list_length.min(list::LEN_MAX as u32) as usize;
    let stage = Stage::Parse;
    let (segments, fails, segment, done, doing, has_written) = (Vec::new(), None, 0, 0, 0, false);
    Ok(Box::new(ExtendedCopy { list_len, segments, fails, stage, segment, done, doing, has_written }))
}

impl ExtendedCopy {
    /// Reads the next piece, of this segment or of the next one that has some.
    fn read(&mut self) -> LongStep {
        while let Some(segment) = self.segments.get(self.segment) {
            let left = segment.len - self.done;
            if left == 0 {
                (self.segment, self.done) = (self.segment + 1, 0);
                continue;
            }
            self.doing = left.min(segment.piece_max);
            self.stage = Stage::Write;
            return self.step(OpKind::Read, segment.from);
        }
        self.fails.map_or(LongStep::GOOD, LongStep::from)
    }

    fn write(&mut self) -> LongStep {
        let to = self.segments[self.segment].to;
        self.has_written = true;
        self.stage = Stage::Read;
        self.step(OpKind::Write { fua: false }, to)
    }

    fn step(&self, kind: OpKind, (place, offset): (Place, u64)) -> LongStep {
        let op = BlockOp { kind, offset: offset + self.done, len: self.doing };
        LongStep::Elsewhere(place, op, OpMemory::Own { at: 0, len: self.doing as usize })
    }
}

impl LongTask for ExtendedCopy {
    fn data_out_len(&self) -> u64 {
        self.list_len as u64
    }

    fn memory_len(&self) -> usize {
        const { assert!(list::LEN_MAX <= CHUNK_BYTES as usize) };
        CHUNK_BYTES as usize
    }

    /// One that reads what another segment of it has written would not come to the same.
    fn may_restart(&self) -> bool {
        let overlap = |(a, at): (Place, u64), a_len: u64, (b, b_at): (Place, u64), b_len: u64| {
            a == b && at < b_at + b_len && b_at < at + a_len
        };
        let feeds = |one: &Segment| self.segments.iter().any(|other| overlap(one.to, one.len, other.from, other.len));
        !(self.has_written && self.segments.iter().any(feeds))
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        match self.stage {
            Stage::Parse => {
                let bytes = &mut desk.memory[..self.list_len];
                desk.data.take(0, bytes);
                match List::parse(bytes) {
                    Ok(list) => (self.segments, self.fails) = list.resolve(desk.neighbours),
                    Err(sense) => return sense.into(),
                }
                self.read()
            }
            Stage::Read => {
                self.done += self.doing;
                self.read()
            }
            Stage::Write => self.write(),
        }
    }

    /// The segment is told that failed (SPC-5, errors detected during processing of segment descriptors).
    fn failed(&mut self, _op: &BlockOp, error: IoError, _desk: &mut Desk<'_>) -> LongStep {
        if error == IoError::Busy {
            return LongStep::Done(Outcome::BUSY);
        }
        let sense = Sense::new(SenseKey::COPY_ABORTED, Asc::THIRD_PARTY_DEVICE_FAILURE);
        sense.with_command_specific(self.segment as u64).into()
    }
}

impl LogicalUnit {
    /// As others see it that copy from it or to it.
    pub fn neighbour(&self, place: Place, hindered: Option<Hindrance>) -> Neighbour {
        Neighbour {
            place,
            blocks: self.blocks,
            block_size: self.block_size,
            transfer_bytes_max: self
                .transfer_blocks_max
                .map_or(u64::MAX, |blocks| u64::from(blocks) * u64::from(self.block_size)),
            writable: !self.read_only,
            hindered,
        }
    }

    /// Whether a designator is one of its own.
    pub fn is_designated(&self, designator: &Designator<'_>) -> bool {
        const BINARY: u8 = 1;
        let Designator { code_set, kind, bytes } = *designator;
        match (code_set, kind) {
            (BINARY, 0x03) => bytes == self.identity.naa().as_bytes(),
            (BINARY, 0x02) => self.identity.eui64().is_some_and(|its| its.as_bytes() == bytes),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;

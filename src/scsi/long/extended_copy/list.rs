//! The parameter list of EXTENDED COPY (LID1): header, descriptors of copy sources and destinations (CSCD), segments.

use super::super::super::sense::Sense;
use super::super::super::spec::{Asc, SenseKey};
use super::super::CHUNK_BYTES;
use super::{CSCD_MAX, Designator, Neighbour, Neighbours, Place, SEGMENT_BYTES_MAX, SEGMENTS_MAX};

/// Bytes of the header.
pub(super) const HEADER_LEN: usize = 16;
/// Bytes of a CSCD descriptor.
pub(super) const CSCD_LEN: usize = 32;
/// Bytes of a segment descriptor from block device to block device.
pub(super) const SEGMENT_LEN: usize = 28;
/// Bytes of a list that can be right. There is no inline data.
pub(super) const LEN_MAX: usize = HEADER_LEN + CSCD_MAX as usize * CSCD_LEN + SEGMENTS_MAX as usize * SEGMENT_LEN;

/// Descriptor type of an identification descriptor.
pub(in super::super::super) const IDENTIFICATION: u8 = 0xe4;
/// Descriptor type of a segment from block device to block device.
pub(in super::super::super) const BLOCK_TO_BLOCK: u8 = 0x02;

const NOT_REACHABLE: Sense = Sense::new(SenseKey::COPY_ABORTED, Asc::COPY_TARGET_DEVICE_NOT_REACHABLE);

/// A list whose lengths fit.
#[derive(Debug)]
pub(super) struct List<'a> {
    cscds: &'a [[u8; CSCD_LEN]],
    segments: &'a [[u8; SEGMENT_LEN]],
}

/// What is to be copied, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: (Place, u64),
    pub(super) to: (Place, u64),
    pub(super) len: u64,
    /// Most of it in one operation: whole blocks of both.
    pub(super) piece_max: u64,
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}

impl<'a> List<'a> {
    /// Takes a list apart that has at least its header.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Sense> {
        let (cscd_len, segment_len) = (usize::from(be16(bytes, 2)), be32(bytes, 8) as usize);
        if be32(bytes, 12) > 0 {
            return Err(Sense::illegal(Asc::INLINE_DATA_LENGTH_EXCEEDED));
        }
        if cscd_len > usize::from(CSCD_MAX) * CSCD_LEN {
            return Err(Sense::illegal(Asc::TOO_MANY_TARGET_DESCRIPTORS));
        }
        if segment_len > usize::from(SEGMENTS_MAX) * SEGMENT_LEN {
            return Err(Sense::illegal(Asc::TOO_MANY_SEGMENT_DESCRIPTORS));
        }
        let behind = &bytes[HEADER_LEN..];
        let Some((cscds, rest)) = behind.split_at_checked(cscd_len) else {
            return Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR));
        };
        let segments = rest.get(..segment_len).ok_or(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR))?;
        if cscds.chunks(CSCD_LEN).any(|cscd| cscd[0] != IDENTIFICATION) {
            return Err(Sense::illegal(Asc::UNSUPPORTED_TARGET_DESCRIPTOR));
        }
        if segments.chunks(SEGMENT_LEN).any(|segment| segment[0] != BLOCK_TO_BLOCK) {
            return Err(Sense::illegal(Asc::UNSUPPORTED_SEGMENT_DESCRIPTOR));
        }
        match (cscds.as_chunks(), segments.as_chunks()) {
            ((cscds, []), (segments, [])) => Ok(Self { cscds, segments }),
            ((_, [_, ..]), _) => Err(Sense::invalid_parameter(2, None)),
            _ => Err(Sense::invalid_parameter(8, None)),
        }
    }

    /// Finds out what all of it is about.
    pub(super) fn resolve(&self, neighbours: &dyn Neighbours) -> Result<Vec<Segment>, Sense> {
        (0..self.segments.len()).map(|index| self.segment(index, neighbours)).collect()
    }

    fn segment(&self, index: usize, neighbours: &dyn Neighbours) -> Result<Segment, Sense> {
        let bytes = &self.segments[index];
        let at = (HEADER_LEN + self.cscds.len() * CSCD_LEN + index * SEGMENT_LEN) as u16;
        if usize::from(be16(bytes, 2)) != SEGMENT_LEN - 4 {
            return Err(Sense::invalid_parameter(at + 2, None));
        }
        let source = self.cscd(be16(bytes, 4), neighbours)?;
        let destination = self.cscd(be16(bytes, 6), neighbours)?;
        if !destination.writable {
            return Err(Sense::new(SenseKey::DATA_PROTECT, Asc::WRITE_PROTECTED));
        }
        // DC: the number counts blocks of the destination.
        let counted = if bytes[1] & 0x02 == 0 { source } else { destination };
        let len = u64::from(be16(bytes, 10)) * u64::from(counted.block_size);
        if len > SEGMENT_BYTES_MAX.into() {
            return Err(Sense::invalid_parameter(at + 10, None));
        }
        let from = offset(&source, be64(bytes, 12), len)?;
        let to = offset(&destination, be64(bytes, 20), len)?;
        let block_size = u64::from(source.block_size.max(destination.block_size));
        let most = u64::from(CHUNK_BYTES).min(source.transfer_bytes_max).min(destination.transfer_bytes_max);
        let piece_max = (most / block_size).max(1) * block_size;
        Ok(Segment { from: (source.place, from), to: (destination.place, to), len, piece_max })
    }

    /// The logical unit that a descriptor names.
    fn cscd(&self, id: u16, neighbours: &dyn Neighbours) -> Result<Neighbour, Sense> {
        let cscd = self.cscds.get(usize::from(id)).ok_or(NOT_REACHABLE)?;
        let at = (HEADER_LEN + usize::from(id) * CSCD_LEN) as u16;
        // LU ID TYPE 00b, no NUL, and no designator that is that of a port.
        if cscd[1] & 0xe0 != 0 || cscd[5] & 0x30 != 0 {
            return Err(NOT_REACHABLE);
        }
        if cscd[1] & 0x1f != 0 {
            return Err(Sense::new(SenseKey::COPY_ABORTED, Asc::INCORRECT_COPY_TARGET_DEVICE_TYPE));
        }
        let bytes = cscd[8..28].get(..usize::from(cscd[7])).ok_or(Sense::invalid_parameter(at + 7, None))?;
        let designator = Designator { code_set: cscd[4] & 0x0f, kind: cscd[5] & 0x0f, bytes };
        let neighbour = neighbours.find(&designator).ok_or(NOT_REACHABLE)?;
        if neighbour.hindered.is_some() {
            return Err(NOT_REACHABLE);
        }
        let block_size = be32(cscd, 28) & 0x00ff_ffff;
        if block_size != 0 && block_size != neighbour.block_size {
            return Err(Sense::invalid_parameter(at + 29, None));
        }
        Ok(neighbour)
    }
}

/// Where on a disk a range of `len` bytes begins, if it is there and of whole blocks.
fn offset(neighbour: &Neighbour, lba: u64, len: u64) -> Result<u64, Sense> {
    let block_size = u64::from(neighbour.block_size);
    if !len.is_multiple_of(block_size) {
        return Err(Sense::new(SenseKey::COPY_ABORTED, Asc::UNEXPECTED_INEXACT_SEGMENT));
    }
    match neighbour.blocks.checked_sub(lba) {
        Some(left) if len / block_size <= left => Ok(lba * block_size),
        _ => Err(Sense::lba_out_of_range(lba.max(neighbour.blocks))),
    }
}

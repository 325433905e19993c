//! The parameter list of EXTENDED COPY (LID1) and (LID4): header, descriptors of copy sources and destinations (CSCD), segments.

use super::super::super::sense::{FieldPointer, Sense, SenseKeySpecific};
use super::super::super::spec::{Asc, SenseKey, copy_out};
use super::super::copying::{Segment, piece_max};
use super::{CSCD_MAX, DESCRIPTORS_LEN_MAX, Designator, Neighbour, Neighbours, SEGMENT_BYTES_MAX, SEGMENTS_MAX};

/// Bytes of a CSCD descriptor.
pub(super) const CSCD_LEN: usize = 32;
/// Bytes of the longest segment descriptor that is known.
pub(super) const SEGMENT_LEN_MAX: usize = 32;
/// Which of the two lists it is: of LID1, or of LID4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    One,
    Four,
}

/// What the header of a list says.
#[derive(Debug)]
struct Header {
    id: Option<u32>,
    /// Bytes of CSCD descriptors and of segment descriptors, and where these numbers stand.
    cscds_len: usize,
    cscds_len_at: u16,
    segments_len: usize,
    segments_len_at: u16,
    inline_len: u32,
}

/// Descriptor type of an identification descriptor.
pub(in super::super::super) const IDENTIFICATION: u8 = 0xe4;
/// Descriptor type of a segment from block device to block device, which counts blocks.
pub(in super::super::super) const BLOCK_TO_BLOCK: u8 = 0x02;
/// The same, which counts bytes and has an offset into its first blocks.
pub(in super::super::super) const BLOCK_TO_BLOCK_OFFSET: u8 = 0x0a;

const NOT_REACHABLE: Sense = aborted(Asc::COPY_TARGET_DEVICE_NOT_REACHABLE);

/// What is wrong once the segments are being processed.
const fn aborted(asc: Asc) -> Sense {
    Sense::new(SenseKey::COPY_ABORTED, asc)
}

/// The same with a pointer to the field from byte `at` of the list on.
fn aborted_at(asc: Asc, at: usize) -> Sense {
    let pointer = FieldPointer { in_cdb: false, byte: at as u16, bit: None };
    Sense { specific: Some(SenseKeySpecific::Field(pointer)), ..aborted(asc) }
}

/// A list whose lengths fit, and of which every descriptor is known.
#[derive(Debug)]
pub(super) struct List<'a> {
    /// Its name, if it has one.
    pub(super) id: Option<u32>,
    header_len: usize,
    cscds: &'a [[u8; CSCD_LEN]],
    segments: Vec<Descriptor<'a>>,
}

/// A segment descriptor, and the byte of the list where it begins.
#[derive(Debug, Clone, Copy)]
struct Descriptor<'a> {
    at: usize,
    bytes: &'a [u8],
}

/// What a segment descriptor says.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    /// Bytes to copy, and where the descriptor tells them.
    len: u64,
    len_at: usize,
    /// First block and offset into it, of the source and of the destination, and where they are told.
    from: (u64, u16),
    from_at: usize,
    to: (u64, u16),
    to_at: usize,
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

impl Form {
    /// Bytes of the header.
    pub(super) const fn header_len(self) -> usize {
        match self {
            Self::One => 16,
            Self::Four => 48,
        }
    }

    /// Bytes of a list that can be right. There is no inline data.
    pub(super) const fn len_max(self) -> usize {
        self.header_len() + DESCRIPTORS_LEN_MAX as usize
    }

    pub(super) const fn service_action(self) -> u8 {
        match self {
            Self::One => copy_out::EXTENDED_COPY_LID1,
            Self::Four => copy_out::EXTENDED_COPY_LID4,
        }
    }

    /// Reads a header that is there.
    fn header(self, bytes: &[u8]) -> Result<Header, Sense> {
        Ok(match self {
            Self::One => Header {
                id: list_id(bytes, bytes[0].into(), 0)?,
                cscds_len: be16(bytes, 2).into(),
                cscds_len_at: 2,
                segments_len: be32(bytes, 8) as usize,
                segments_len_at: 8,
                inline_len: be32(bytes, 12),
            },
            Self::Four => {
                check_header_4(bytes)?;
                Header {
                    id: list_id(bytes, be32(bytes, 20), 20)?,
                    cscds_len: be16(bytes, 42).into(),
                    cscds_len_at: 42,
                    segments_len: be16(bytes, 44).into(),
                    segments_len_at: 44,
                    inline_len: be16(bytes, 46).into(),
                }
            }
        })
    }
}

/// The name of a list whose LIST IDENTIFIER, `id`, stands at byte `at`. LIST ID USAGE says whether it has one.
fn list_id(bytes: &[u8], id: u32, at: u16) -> Result<Option<u32>, Sense> {
    match bytes[1] >> 3 & 3 {
        0b00 | 0b10 => Ok(Some(id)),
        0b11 if id == 0 => Ok(None),
        0b11 => Err(Sense::invalid_parameter(at, None)),
        _ => Err(Sense::invalid_parameter(1, Some(4))),
    }
}

/// What a header of LID4 says of itself. Its command does not end before the copy (IMMED), and has no sense data that says that
/// all is well (G_SENSE).
fn check_header_4(bytes: &[u8]) -> Result<(), Sense> {
    const FORMAT: u8 = 0x01;
    const HEADER_CSCD: u8 = 0xff;
    if bytes[0] != FORMAT {
        return Err(Sense::invalid_parameter(0, None));
    }
    if usize::from(be16(bytes, 2)) != CSCD_LEN {
        return Err(Sense::invalid_parameter(2, None));
    }
    match bytes[15] {
        0 => {}
        flags => return Err(Sense::invalid_parameter(15, Some(7 - flags.leading_zeros() as u8))),
    }
    if bytes[16] != HEADER_CSCD {
        return Err(Sense::invalid_parameter(16, None));
    }
    Ok(())
}

impl<'a> List<'a> {
    /// Takes a list apart that has at least its header.
    pub(super) fn parse(bytes: &'a [u8], form: Form) -> Result<Self, Sense> {
        const LENGTH_ERROR: Sense = Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR);
        let (header_len, header) = (form.header_len(), form.header(bytes)?);
        if header.inline_len > 0 {
            return Err(Sense::illegal(Asc::INLINE_DATA_LENGTH_EXCEEDED));
        }
        if header.cscds_len.saturating_add(header.segments_len) > DESCRIPTORS_LEN_MAX as usize {
            return Err(LENGTH_ERROR);
        }
        if header.cscds_len > usize::from(CSCD_MAX) * CSCD_LEN {
            return Err(Sense::illegal(Asc::TOO_MANY_TARGET_DESCRIPTORS));
        }
        let (cscds, rest) = bytes[header_len..].split_at_checked(header.cscds_len).ok_or(LENGTH_ERROR)?;
        let segments = rest.get(..header.segments_len).ok_or(LENGTH_ERROR)?;
        let (cscds, []) = cscds.as_chunks() else { return Err(Sense::invalid_parameter(header.cscds_len_at, None)) };
        cscds.iter().enumerate().try_for_each(|(index, cscd)| check_cscd(cscd, header_len + index * CSCD_LEN))?;
        let segments = segment_descriptors(segments, header_len + header.cscds_len, header.segments_len_at)?;
        Ok(Self { id: header.id, header_len, cscds, segments })
    }

    /// Finds out what all of it is about, up to the first segment that cannot be copied, and why that cannot: those before it
    /// are.
    pub(super) fn resolve(&self, neighbours: &dyn Neighbours) -> (Vec<Segment>, Option<Sense>) {
        let mut segments = Vec::with_capacity(self.segments.len());
        for (index, descriptor) in self.segments.iter().enumerate() {
            match self.segment(descriptor, neighbours) {
                Ok(segment) => segments.push(segment),
                Err(sense) => return (segments, Some(sense.with_command_specific(index as u64))),
            }
        }
        (segments, None)
    }

    fn segment(&self, descriptor: &Descriptor<'_>, neighbours: &dyn Neighbours) -> Result<Segment, Sense> {
        let (source, destination) = (be16(descriptor.bytes, 4), be16(descriptor.bytes, 6));
        let (source, destination) = (self.cscd(source, neighbours)?, self.cscd(destination, neighbours)?);
        if !destination.writable {
            return Err(Sense::new(SenseKey::DATA_PROTECT, Asc::WRITE_PROTECTED));
        }
        let wanted = descriptor.wanted(source.block_size, destination.block_size);
        if wanted.len > SEGMENT_BYTES_MAX.into() {
            return Err(aborted_at(Asc::NO_ADDITIONAL_SENSE, wanted.len_at));
        }
        let from = offset(&source, wanted.from, wanted.len).map_err(|asc| aborted_at(asc, wanted.from_at))?;
        let to = offset(&destination, wanted.to, wanted.len).map_err(|asc| aborted_at(asc, wanted.to_at))?;
        let piece_max = piece_max(&source, &destination);
        Ok(Segment { from: (source.place, from), to: (destination.place, to), len: wanted.len, piece_max })
    }

    /// The logical unit that a descriptor names.
    fn cscd(&self, id: u16, neighbours: &dyn Neighbours) -> Result<Neighbour, Sense> {
        let cscd = self.cscds.get(usize::from(id)).ok_or(NOT_REACHABLE)?;
        let at = self.header_len + usize::from(id) * CSCD_LEN;
        // No NUL, and no designator that is that of a port.
        if cscd[1] & 0x20 != 0 || cscd[5] & 0x30 != 0 {
            return Err(NOT_REACHABLE);
        }
        if cscd[1] & 0x1f != 0 {
            return Err(aborted(Asc::INCORRECT_COPY_TARGET_DEVICE_TYPE));
        }
        let bytes = &cscd[8..8 + usize::from(cscd[7])];
        let designator = Designator { code_set: cscd[4] & 0x0f, kind: cscd[5] & 0x0f, bytes };
        let neighbour = neighbours.find(&designator).ok_or(NOT_REACHABLE)?;
        if neighbour.hindered.is_some() {
            return Err(NOT_REACHABLE);
        }
        let block_size = be32(cscd, 28) & 0x00ff_ffff;
        if block_size != 0 && block_size != neighbour.block_size {
            return Err(aborted_at(Asc::NO_ADDITIONAL_SENSE, at + 29));
        }
        Ok(neighbour)
    }
}

/// Whether a CSCD descriptor, the one from byte `at` of the list on, is of a kind that is known. LU ID TYPE means nothing where
/// a designator names the logical unit.
fn check_cscd(cscd: &[u8; CSCD_LEN], at: usize) -> Result<(), Sense> {
    const DESIGNATOR_LEN_MAX: u8 = 20;
    if cscd[0] != IDENTIFICATION {
        return Err(Sense::illegal(Asc::UNSUPPORTED_TARGET_DESCRIPTOR));
    }
    if cscd[7] > DESIGNATOR_LEN_MAX {
        return Err(Sense::invalid_parameter(at as u16 + 7, None));
    }
    Ok(())
}

/// The segment descriptors in `bytes`, which begin at byte `at` of the list and whose length it tells at `len_at`.
fn segment_descriptors(mut bytes: &[u8], mut at: usize, len_at: u16) -> Result<Vec<Descriptor<'_>>, Sense> {
    let mut segments = Vec::new();
    while let Some(&kind) = bytes.first() {
        let len = match kind {
            BLOCK_TO_BLOCK => 28,
            BLOCK_TO_BLOCK_OFFSET => SEGMENT_LEN_MAX,
            _ => return Err(Sense::illegal(Asc::UNSUPPORTED_SEGMENT_DESCRIPTOR)),
        };
        if segments.len() == usize::from(SEGMENTS_MAX) {
            return Err(Sense::illegal(Asc::TOO_MANY_SEGMENT_DESCRIPTORS));
        }
        let (one, rest) = bytes.split_at_checked(len).ok_or(Sense::invalid_parameter(len_at, None))?;
        if usize::from(be16(one, 2)) != len - 4 {
            return Err(Sense::invalid_parameter(at as u16 + 2, None));
        }
        segments.push(Descriptor { at, bytes: one });
        (bytes, at) = (rest, at + len);
    }
    Ok(segments)
}

impl Descriptor<'_> {
    /// What it says, between disks with blocks of these sizes.
    fn wanted(&self, source_block: u32, destination_block: u32) -> Wanted {
        let (at, bytes) = (self.at, self.bytes);
        if bytes[0] == BLOCK_TO_BLOCK_OFFSET {
            let (from, to) = ((be64(bytes, 12), be16(bytes, 28)), (be64(bytes, 20), be16(bytes, 30)));
            return Wanted { len: be32(bytes, 8).into(), len_at: at + 8, from, from_at: at + 12, to, to_at: at + 20 };
        }
        // DC: the number counts blocks of the destination.
        let block_size = if bytes[1] & 0x02 == 0 { source_block } else { destination_block };
        let len = u64::from(be16(bytes, 10)) * u64::from(block_size);
        let (from, to) = ((be64(bytes, 12), 0), (be64(bytes, 20), 0));
        Wanted { len, len_at: at + 10, from, from_at: at + 12, to, to_at: at + 20 }
    }
}

/// Where on a disk a range of `len` bytes begins, if it is there and of whole blocks.
fn offset(neighbour: &Neighbour, (lba, into): (u64, u16), len: u64) -> Result<u64, Asc> {
    let block_size = u64::from(neighbour.block_size);
    if !len.is_multiple_of(block_size) {
        return Err(Asc::UNEXPECTED_INEXACT_SEGMENT);
    }
    if !u64::from(into).is_multiple_of(block_size) {
        return Err(Asc::COPY_SEGMENT_GRANULARITY_VIOLATION);
    }
    let first = lba.checked_add(u64::from(into) / block_size).ok_or(Asc::NO_ADDITIONAL_SENSE)?;
    match neighbour.blocks.checked_sub(first) {
        Some(left) if len / block_size <= left => Ok(first * block_size),
        _ => Err(Asc::NO_ADDITIONAL_SENSE),
    }
}

//! UNMAP (SBC-4): gives ranges of blocks back to the device, or with ANCHOR has it keep space for what they will hold.
//!
//! The whole parameter list is checked before the first range is given back.

use bdev::OpKind;

use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::super::spec::Asc;
use super::{Desk, LogicalUnit, LongStep, LongTask};

/// Bytes before the descriptors.
const HEADER_LEN: usize = 8;
/// Bytes of a descriptor.
const DESCRIPTOR_LEN: usize = 16;
/// First byte of UNMAP BLOCK DESCRIPTOR DATA LENGTH.
const DESCRIPTORS_LEN_BYTE: usize = 2;
/// First byte of NUMBER OF LOGICAL BLOCKS in a descriptor.
const BLOCKS_BYTE: usize = 8;

const LIST_LENGTH_ERROR: Sense = Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR);

/// An UNMAP in progress.
#[derive(Debug)]
struct Unmap {
    list_len: usize,
    /// What becomes of each range.
    kind: OpKind,
    rules: Rules,
    /// What is still to be given back, the last one first; none before the list has been read.
    ranges: Option<Vec<Range>>,
}

/// What the parameter list is checked against.
#[derive(Debug, Clone, Copy)]
struct Rules {
    block_size: u64,
    blocks: u64,
    blocks_max: u64,
    descriptors_max: usize,
    /// Bytes of one operation.
    len_max: u64,
}

/// Bytes on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range {
    offset: u64,
    len: u64,
}

/// ANCHOR.
const ANCHOR_BIT: Sense = Sense::invalid_field(1, Some(0));

/// Begins an UNMAP with a parameter list of `list_len` bytes.
pub(super) fn begin(unit: &LogicalUnit, anchor: bool, list_len: u16) -> Result<Box<dyn LongTask>, Outcome> {
    if anchor && !unit.limits.anchor {
        return Err(ANCHOR_BIT.into());
    }
    // In write-through mode, too: it is not the data of a write.
    let kind = if anchor { OpKind::Anchor { fua: false } } else { OpKind::Unmap };
    let list_len = usize::from(list_len);
    match list_len {
        0 => return Err(Outcome::GOOD),
        1..HEADER_LEN => return Err(LIST_LENGTH_ERROR.into()),
        _ => unit.check_writable()?,
    }
    let block_size = u64::from(unit.block_size);
    let len_max = unit.discard.map_or(0, |discard| discard.max) / block_size * block_size;
    let rules = Rules {
        block_size,
        blocks: unit.blocks,
        blocks_max: unit.limits.unmap.into(),
        descriptors_max: unit.limits.unmap_descriptors as usize,
        len_max: len_max.max(block_size),
    };
    Ok(Box::new(Unmap { list_len, kind, rules, ranges: None }))
}

impl Rules {
    /// The ranges of a parameter list, in order, those without blocks left out.
    fn parse(&self, list: &[u8]) -> Result<Vec<Range>, Sense> {
        let (header, rest) = list.split_at(HEADER_LEN);
        let len = usize::from(u16::from_be_bytes([header[DESCRIPTORS_LEN_BYTE], header[DESCRIPTORS_LEN_BYTE + 1]]));
        let descriptors = rest.get(..len).ok_or(LIST_LENGTH_ERROR)?;
        // What follows the last whole descriptor is ignored.
        let descriptors = descriptors.as_chunks::<DESCRIPTOR_LEN>().0;
        if descriptors.len() > self.descriptors_max {
            return Err(Sense::invalid_parameter(DESCRIPTORS_LEN_BYTE as u16, None));
        }
        let (mut ranges, mut sum) = (Vec::with_capacity(descriptors.len()), 0);
        for (index, descriptor) in descriptors.iter().enumerate() {
            let (lba, rest) = descriptor.split_first_chunk().expect("a descriptor has 16 bytes");
            let lba = u64::from_be_bytes(*lba);
            let blocks = u64::from(u32::from_be_bytes([rest[0], rest[1], rest[2], rest[3]]));
            if self.blocks.checked_sub(lba).is_none_or(|left| blocks > left) {
                return Err(Sense::lba_out_of_range(lba.max(self.blocks)));
            }
            sum += blocks;
            if sum > self.blocks_max {
                let byte = HEADER_LEN + index * DESCRIPTOR_LEN + BLOCKS_BYTE;
                return Err(Sense::invalid_parameter(byte as u16, None));
            }
            if blocks > 0 {
                ranges.push(Range { offset: lba * self.block_size, len: blocks * self.block_size });
            }
        }
        Ok(ranges)
    }
}

impl LongTask for Unmap {
    fn data_out_len(&self) -> u64 {
        self.list_len as u64
    }

    fn memory_len(&self) -> usize {
        self.list_len
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        let ranges = match &mut self.ranges {
            Some(ranges) => ranges,
            None => {
                desk.data.take(0, desk.memory);
                match self.rules.parse(desk.memory) {
                    Ok(mut ranges) => {
                        ranges.reverse();
                        self.ranges.insert(ranges)
                    }
                    Err(sense) => return sense.into(),
                }
            }
        };
        let Some(range) = ranges.last_mut() else { return LongStep::GOOD };
        let op = BlockOp { kind: self.kind, offset: range.offset, len: range.len.min(self.rules.len_max) };
        (range.offset, range.len) = (range.offset + op.len, range.len - op.len);
        if range.len == 0 {
            ranges.pop();
        }
        LongStep::bare(op)
    }
}

#[cfg(test)]
mod tests {
    use bdev::{Discard, Info, IoError};

    use super::*;
    use crate::scsi::long::testing::Rig;
    use crate::scsi::spec::SenseKey;
    use crate::scsi::testing::info;

    fn thin() -> Info {
        Info {
            discard: Some(Discard { granularity: 4096, alignment: 0, max: 100 * 512 + 511, zeroes: true }),
            ..info()
        }
    }

    fn cdb(list_len: usize) -> [u8; 10] {
        let [high, low] = (list_len as u16).to_be_bytes();
        [0x42, 0, 0, 0, 0, 0, 0, high, low, 0]
    }

    /// A parameter list of these ranges.
    fn list(ranges: &[(u64, u32)]) -> Vec<u8> {
        let len = 16 * ranges.len() as u16;
        let mut list = [&(len + 6).to_be_bytes()[..], &len.to_be_bytes(), &[0; 4]].concat();
        for (lba, blocks) in ranges {
            list.extend([&lba.to_be_bytes()[..], &blocks.to_be_bytes(), &[0; 4]].concat());
        }
        list
    }

    fn refused(rig: &mut Rig, list: &[u8]) -> Sense {
        let sense = rig.refused(&cdb(list.len()), list);
        assert_eq!(rig.ops, [], "nothing is given back of a list with a mistake");
        sense
    }

    #[test]
    fn ranges_are_given_back_in_order() {
        let mut rig = Rig::new(&thin());
        let list = list(&[(8, 16), (500, 0), (700, 130), (999, 1)]);
        rig.good(&cdb(list.len()), &list);
        let unmap = OpKind::Unmap;
        assert_eq!(rig.done(), [(unmap, 8, 16), (unmap, 700, 100), (unmap, 800, 30), (unmap, 999, 1)]);
    }

    #[test]
    fn ranges_are_anchored_where_the_device_can() {
        let mut rig = Rig::new(&Info { anchor: true, ..thin() });
        let list = list(&[(8, 16), (700, 130)]);
        let mut cdb = cdb(list.len());
        cdb[1] = 1;
        rig.good(&cdb, &list);
        let anchor = OpKind::Anchor { fua: false };
        assert_eq!(rig.done(), [(anchor, 8, 16), (anchor, 700, 100), (anchor, 800, 30)]);
        rig.fails = |_| Some(IoError::NoSpace);
        assert_eq!(rig.refused(&cdb, &list), Sense::new(SenseKey(7), Asc(0x2707)), "there is none to keep");
    }

    #[test]
    fn an_empty_list_is_no_error() {
        let mut rig = Rig::new(&thin());
        assert_eq!(rig.run(&cdb(0), &[]).outcome, Outcome::GOOD);
        rig.good(&cdb(8), &list(&[]));
        rig.good(&cdb(24), &list(&[(0, 0)]));
        assert_eq!(rig.ops, []);
    }

    #[test]
    fn lists_that_are_cut_short() {
        let mut rig = Rig::new(&thin());
        let whole = list(&[(0, 1), (8, 1)]);
        for len in [1, 7, 8, 23, 24, 39] {
            assert_eq!(refused(&mut rig, &whole[..len]), Sense::illegal(Asc(0x1a00)), "{len} bytes");
        }
        // Half a descriptor, and bytes behind the last one.
        let mut odd = whole.clone();
        odd[3] = 31;
        rig.good(&cdb(40), &odd);
        odd.extend([0xff; 9]);
        rig.good(&cdb(49), &odd);
        assert_eq!(rig.done(), [(OpKind::Unmap, 0, 1); 2]);
    }

    #[test]
    fn ranges_that_are_wrong() {
        let mut rig = Rig::new(&Info { blocks: 1 << 40, ..thin() });
        assert_eq!(refused(&mut rig, &list(&[(0, 1), (1 << 40, 1)])), Sense::lba_out_of_range(1 << 40));
        assert_eq!(refused(&mut rig, &list(&[(u64::MAX, u32::MAX)])), Sense::lba_out_of_range(u64::MAX));
        assert_eq!(refused(&mut rig, &list(&[((1 << 40) - 1, 2)])), Sense::lba_out_of_range(1 << 40));
        let sum = [(0, 1 << 19), (1 << 30, 1 << 19), (1 << 31, 1)];
        assert_eq!(refused(&mut rig, &list(&sum)), Sense::invalid_parameter(8 + 32 + 8, None));
        assert_eq!(refused(&mut rig, &list(&[(0, 0); 257])), Sense::invalid_parameter(2, None));
        rig.good(&cdb(8 + 16 * 256), &list(&[(0, 0); 256]));
    }

    #[test]
    fn refusals() {
        let mut rig = Rig::new(&thin());
        assert_eq!(rig.refused(&[0x42, 1, 0, 0, 0, 0, 0, 0, 24, 0], &[]), Sense::invalid_field(1, Some(0)), "ANCHOR");
        let one = list(&[(0, 1)]);
        assert_eq!(Rig::plain().refused(&cdb(24), &one), Sense::illegal(Asc(0x2000)), "nothing is given back");
        let mut protected = Rig::new(&Info { read_only: true, ..thin() });
        assert_eq!(protected.refused(&cdb(24), &one), Sense::new(SenseKey(7), Asc(0x2700)));
        rig.fails = |_| Some(IoError::Medium);
        assert_eq!(rig.refused(&cdb(24), &one), Sense::new(SenseKey(3), Asc(0x0c00)));
    }
}

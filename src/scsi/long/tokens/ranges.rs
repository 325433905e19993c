//! The ranges that end the lists of POPULATE TOKEN and WRITE USING TOKEN (SBC-4, block device range descriptors).

use super::super::super::sense::Sense;
use super::super::super::spec::Asc;
use super::super::super::third_party_copy::rods::{RANGES_MAX, Range};
use super::super::super::third_party_copy::transfer_blocks_max;
use super::super::LogicalUnit;
use super::{be32, be64};

/// Bytes of a block device range descriptor.
pub(super) const LEN: usize = 16;

/// What ranges of a disk have to keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Blocks that there are.
    blocks: u64,
    /// Blocks of all ranges together.
    transfer_blocks_max: u64,
}

impl Limits {
    pub(super) fn of(unit: &LogicalUnit) -> Self {
        Self { blocks: unit.blocks, transfer_blocks_max: transfer_blocks_max(unit) }
    }
}

/// The ranges from byte `at` of a list on. Their length stands in the two bytes before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranges {
    pub(super) at: usize,
    pub(super) limits: Limits,
    /// Those that are not wholly in the list do not count. Otherwise there are none such.
    pub(super) shortens: bool,
}

impl Ranges {
    /// Reads them, from a list that has all that is before them. Its first field says how long it is itself.
    pub(super) fn read(self, list: &[u8]) -> Result<Vec<Range>, Sense> {
        let len_at = self.at - 2;
        let number = |at: usize| usize::from(u16::from_be_bytes([list[at], list[at + 1]]));
        let (data_len, len) = (number(0), number(len_at));
        if len < LEN {
            return Err(Sense::invalid_parameter(len_at as u16, None));
        }
        if data_len < self.at - 2 + len {
            return Err(Sense::invalid_parameter(0, None));
        }
        if len / LEN > usize::from(RANGES_MAX) {
            return Err(Sense::illegal(Asc::TOO_MANY_SEGMENT_DESCRIPTORS));
        }
        let there = &list[self.at..];
        if there.len() < len && !(self.shortens && there.len() >= LEN) {
            return Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR));
        }
        let range = |bytes: &[u8; LEN]| Range { lba: be64(bytes, 0), blocks: be32(bytes, 8) };
        let ranges: Vec<_> = there[..len.min(there.len())].as_chunks().0.iter().map(range).collect();
        self.check(&ranges)?;
        Ok(ranges)
    }

    fn check(self, ranges: &[Range]) -> Result<(), Sense> {
        let Limits { blocks, transfer_blocks_max } = self.limits;
        let is_there =
            |range: &Range| blocks.checked_sub(range.lba).is_some_and(|left| u64::from(range.blocks) <= left);
        if let Some(range) = ranges.iter().find(|range| !is_there(range)) {
            return Err(Sense::lba_out_of_range(range.lba.max(blocks)));
        }
        if ranges.iter().map(|range| u64::from(range.blocks)).sum::<u64>() > transfer_blocks_max {
            return Err(Sense::invalid_parameter(self.at as u16, None));
        }
        let mut sorted: Vec<_> = ranges.iter().filter(|range| range.blocks > 0).collect();
        sorted.sort_by_key(|range| range.lba);
        if sorted.windows(2).any(|pair| pair[0].lba + u64::from(pair[0].blocks) > pair[1].lba) {
            return Err(Sense::invalid_parameter(self.at as u16, None));
        }
        Ok(())
    }
}

/// First block in `from`, of which the first `offset` blocks are left out, first block in `to`, and blocks: for all of `to`, or as
/// much of it as there is in `from`. Whether that is less.
pub(super) fn pairs(from: &[Range], offset: u64, to: &[Range]) -> (Vec<(u64, u64, u32)>, bool) {
    let mut pairs = Vec::with_capacity(from.len() + to.len());
    let (mut from, mut skip) = (from.iter().copied(), offset);
    let mut source = Range { lba: 0, blocks: 0 };
    for &(mut target) in to {
        while target.blocks > 0 {
            while u64::from(source.blocks) <= skip {
                skip -= u64::from(source.blocks);
                let Some(next) = from.next() else { return (pairs, true) };
                source = next;
            }
            source = Range { lba: source.lba + skip, blocks: source.blocks - skip as u32 };
            skip = 0;
            let blocks = source.blocks.min(target.blocks);
            pairs.push((source.lba, target.lba, blocks));
            target = Range { lba: target.lba + u64::from(blocks), blocks: target.blocks - blocks };
            source = Range { lba: source.lba + u64::from(blocks), blocks: source.blocks - blocks };
        }
    }
    (pairs, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_paired_block_by_block() {
        let ranges =
            |list: &[(u64, u32)]| -> Vec<Range> { list.iter().map(|&(lba, blocks)| Range { lba, blocks }).collect() };
        let from = ranges(&[(10, 5), (100, 0), (50, 5)]);
        let all = |pairs: &[(u64, u64, u32)]| (pairs.to_vec(), false);
        assert_eq!(pairs(&from, 0, &ranges(&[(0, 10)])), all(&[(10, 0, 5), (50, 5, 5)]));
        assert_eq!(pairs(&from, 3, &ranges(&[(7, 1), (9, 3)])), all(&[(13, 7, 1), (14, 9, 1), (50, 10, 2)]));
        assert_eq!(pairs(&from, 9, &ranges(&[(7, 1)])), all(&[(54, 7, 1)]));
        assert_eq!(pairs(&from, 11, &ranges(&[(7, 0)])), all(&[]), "nothing is asked of it");
        assert_eq!(pairs(&from, 9, &ranges(&[(7, 2)])), (vec![(54, 7, 1)], true));
        assert_eq!(pairs(&from, 4, &ranges(&[(7, 2), (20, 5)])), (vec![(14, 7, 1), (50, 8, 1), (51, 20, 4)], true));
        assert_eq!(pairs(&from, u64::MAX, &ranges(&[(7, 1)])), (vec![], true));
    }
}

//! REASSIGN BLOCKS (SBC-4), of a disk that has no defects: the blocks are where they were.

use super::super::outcome::Outcome;
use super::super::sense::Sense;
use super::super::spec::Asc;
use super::{Desk, LogicalUnit, LongStep, LongTask};

/// Bytes before the list.
const HEADER_LEN: usize = 4;
/// Longest list, in bytes.
const LIST_LEN_MAX: usize = 64 << 10;

/// A REASSIGN BLOCKS in progress.
#[derive(Debug)]
struct Reassign {
    blocks: u64,
    lba_len: usize,
    long_list: bool,
}

/// Begins a REASSIGN BLOCKS.
pub(super) fn begin(unit: &LogicalUnit, long_lba: bool, long_list: bool) -> Result<Box<dyn LongTask>, Outcome> {
    unit.check_writable()?;
    Ok(Box::new(Reassign { blocks: unit.blocks, lba_len: if long_lba { 8 } else { 4 }, long_list }))
}

impl Reassign {
    fn check(&self, desk: &mut Desk<'_>) -> Result<(), Sense> {
        let (header, list) = desk.memory.split_at_mut(HEADER_LEN);
        desk.data.take(0, header);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        // Without LONGLIST the length is in the last two bytes.
        let (first, len) = if self.long_list { (0, number(header)) } else { (2, number(&header[2..])) };
        let len = usize::try_from(len).ok().filter(|&len| len <= LIST_LEN_MAX && len.is_multiple_of(self.lba_len));
        let len = len.ok_or(Sense::invalid_parameter(first, None))?;
        if desk.data.out_len() < (HEADER_LEN + len) as u64 {
            return Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR));
        }
        let list = &mut list[..len];
        desk.data.take(HEADER_LEN as u64, list);
        match list.chunks(self.lba_len).map(number).find(|&lba| lba >= self.blocks) {
            Some(lba) => Err(Sense::lba_out_of_range(lba)),
            None => Ok(()),
        }
    }
}

impl LongTask for Reassign {
    fn data_out_len(&self) -> u64 {
        HEADER_LEN as u64
    }

    fn memory_len(&self) -> usize {
        HEADER_LEN + LIST_LEN_MAX
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        self.check(desk).map_or_else(LongStep::from, |()| LongStep::GOOD)
    }
}

#[cfg(test)]
mod tests {
    use bdev::Info;

    use super::*;
    use crate::scsi::long::testing::Rig;
    use crate::scsi::spec::SenseKey;
    use crate::scsi::testing::info;

    fn cdb(bits: u8) -> [u8; 6] {
        [0x07, bits, 0, 0, 0, 0]
    }

    #[test]
    fn every_shape_of_a_list() {
        let mut rig = Rig::plain();
        rig.good(&cdb(0), &[0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 3, 231]);
        rig.good(&cdb(1), &[0, 0, 0, 4, 0, 0, 0, 5]);
        rig.good(&cdb(2), &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 5]);
        rig.good(&cdb(0), &[0; 4]);
        assert_eq!(rig.ops, []);
    }

    #[test]
    fn refusals() {
        let mut rig = Rig::plain();
        assert_eq!(rig.refused(&cdb(0), &[0, 0, 0, 4, 0, 0, 3, 232]), Sense::lba_out_of_range(1000));
        assert_eq!(rig.refused(&cdb(2), &[0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]), Sense::lba_out_of_range(1 << 32));
        assert_eq!(rig.refused(&cdb(0), &[0, 0, 0, 6, 0, 0, 0, 0, 0, 0]), Sense::invalid_parameter(2, None));
        assert_eq!(rig.refused(&cdb(1), &[1, 0, 0, 0]), Sense::invalid_parameter(0, None));
        assert_eq!(rig.refused(&cdb(0), &[0, 0, 0, 4, 0, 0, 0]), Sense::illegal(Asc(0x1a00)));
        let mut protected = Rig::new(&Info { read_only: true, ..info() });
        assert_eq!(protected.refused(&cdb(0), &[0; 4]), Sense::new(SenseKey(7), Asc(0x2700)));
    }
}

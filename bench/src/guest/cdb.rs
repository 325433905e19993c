//! Command descriptor blocks, built from SPC-5, SBC-4 and nothing else.

/// The bytes of a CDB, as long as the command's own length.
pub type Cdb = Vec<u8>;

/// TEST UNIT READY.
pub fn test_unit_ready() -> Cdb {
    vec![0x00, 0, 0, 0, 0, 0]
}

/// REQUEST SENSE in fixed or descriptor format.
pub fn request_sense(descriptor_format: bool, allocation: u8) -> Cdb {
    vec![0x03, u8::from(descriptor_format), 0, 0, allocation, 0]
}

/// INQUIRY: standard data, or the vital product data page `vpd`.
pub fn inquiry(vpd: Option<u8>, allocation: u16) -> Cdb {
    let [high, low] = allocation.to_be_bytes();
    vec![0x12, u8::from(vpd.is_some()), vpd.unwrap_or(0), high, low, 0]
}

/// READ CAPACITY (10).
pub fn read_capacity_10() -> Cdb {
    let mut cdb = vec![0; 10];
    cdb[0] = 0x25;
    cdb
}

/// READ CAPACITY (16): SERVICE ACTION IN (16), service action 10h.
pub fn read_capacity_16(allocation: u32) -> Cdb {
    let mut cdb = vec![0; 16];
    cdb[..2].copy_from_slice(&[0x9E, 0x10]);
    cdb[10..14].copy_from_slice(&allocation.to_be_bytes());
    cdb
}

/// REPORT LUNS with the given SELECT REPORT.
pub fn report_luns(select: u8, allocation: u32) -> Cdb {
    let mut cdb = vec![0; 12];
    cdb[0] = 0xA0;
    cdb[2] = select;
    cdb[6..10].copy_from_slice(&allocation.to_be_bytes());
    cdb
}

/// MODE SENSE (6) of a page, current values.
pub fn mode_sense_6(page: u8, allocation: u8) -> Cdb {
    vec![0x1A, 0, page, 0, allocation, 0]
}

/// MODE SENSE (10) of a page, current values.
pub fn mode_sense_10(page: u8, allocation: u16) -> Cdb {
    let [high, low] = allocation.to_be_bytes();
    vec![0x5A, 0, page, 0, 0, 0, 0, high, low, 0]
}

/// START STOP UNIT.
pub fn start_stop_unit(start: bool) -> Cdb {
    vec![0x1B, 0, 0, 0, u8::from(start), 0]
}

/// SYNCHRONIZE CACHE (10); 0 blocks mean all that follow.
pub fn synchronize_cache_10(lba: u32, blocks: u16) -> Cdb {
    let mut cdb = vec![0; 10];
    cdb[0] = 0x35;
    cdb[2..6].copy_from_slice(&lba.to_be_bytes());
    cdb[7..9].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

/// SYNCHRONIZE CACHE (16); 0 blocks mean all that follow.
pub fn synchronize_cache_16(lba: u64, blocks: u32) -> Cdb {
    let mut cdb = vec![0; 16];
    cdb[0] = 0x91;
    cdb[2..10].copy_from_slice(&lba.to_be_bytes());
    cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
    cdb
}

/// Whether a READ or WRITE reads or writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the device.
    Read,
    /// To the device.
    Write,
}

/// Which of the READ and WRITE commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 6 bytes: 21 bits of LBA, 8 bits of length of which 0 means 256, no FUA.
    Six,
    /// 10 bytes: 32 bits of LBA, 16 bits of length.
    Ten,
    /// 12 bytes: 32 bits of LBA and of length.
    Twelve,
    /// 16 bytes: 64 bits of LBA, 32 bits of length.
    Sixteen,
}

impl Width {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Six, Self::Ten, Self::Twelve, Self::Sixteen];
}

/// Force unit access, in byte 1 of all but the shortest.
pub const FUA: u8 = 1 << 3;
/// Disable page out, in byte 1 of all but the shortest.
pub const DPO: u8 = 1 << 4;

/// READ or WRITE with `flags` in byte 1. What does not fit the fields is cut off.
pub fn transfer(direction: Direction, width: Width, lba: u64, blocks: u32, flags: u8) -> Cdb {
    let write = |read: u8, write: u8| if direction == Direction::Read { read } else { write };
    match width {
        Width::Six => {
            let lba = lba.to_be_bytes();
            vec![write(0x08, 0x0A), lba[5] & 0x1F, lba[6], lba[7], blocks as u8, 0]
        }
        Width::Ten => {
            let mut cdb = vec![0; 10];
            cdb[..2].copy_from_slice(&[write(0x28, 0x2A), flags]);
            cdb[2..6].copy_from_slice(&(lba as u32).to_be_bytes());
            cdb[7..9].copy_from_slice(&(blocks as u16).to_be_bytes());
            cdb
        }
        Width::Twelve => {
            let mut cdb = vec![0; 12];
            cdb[..2].copy_from_slice(&[write(0xA8, 0xAA), flags]);
            cdb[2..6].copy_from_slice(&(lba as u32).to_be_bytes());
            cdb[6..10].copy_from_slice(&blocks.to_be_bytes());
            cdb
        }
        Width::Sixteen => {
            let mut cdb = vec![0; 16];
            cdb[..2].copy_from_slice(&[write(0x88, 0x8A), flags]);
            cdb[2..10].copy_from_slice(&lba.to_be_bytes());
            cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
            cdb
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::{Read, Write};
    use super::*;

    #[test]
    fn reads_and_writes_are_laid_out_as_sbc_says() {
        assert_eq!(transfer(Read, Width::Six, 0x12_3456, 0, 0), [0x08, 0x12, 0x34, 0x56, 0, 0]);
        assert_eq!(transfer(Write, Width::Six, 1, 255, 0), [0x0A, 0, 0, 1, 255, 0]);
        assert_eq!(
            transfer(Write, Width::Ten, 0x1234_5678, 0x9ABC, FUA),
            [0x2A, 0x08, 0x12, 0x34, 0x56, 0x78, 0, 0x9A, 0xBC, 0]
        );
        assert_eq!(
            transfer(Read, Width::Twelve, 0x1234_5678, 0x9ABC_DEF0, DPO),
            [0xA8, 0x10, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0, 0, 0]
        );
        assert_eq!(
            transfer(Write, Width::Sixteen, 0x0102_0304_0506_0708, 0x090A_0B0C, 0),
            [0x8A, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0]
        );
    }

    #[test]
    fn the_others_are_laid_out_as_spc_and_sbc_say() {
        assert_eq!(inquiry(Some(0x83), 0x1234), [0x12, 1, 0x83, 0x12, 0x34, 0]);
        assert_eq!(inquiry(None, 36), [0x12, 0, 0, 0, 36, 0]);
        assert_eq!(read_capacity_16(32), [0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]);
        assert_eq!(report_luns(2, 0x1_0000), [0xA0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(synchronize_cache_10(1, 2), [0x35, 0, 0, 0, 0, 1, 0, 0, 2, 0]);
        assert_eq!(synchronize_cache_16(1, 2), [0x91, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0]);
        assert_eq!(mode_sense_10(0x3F, 0x0102), [0x5A, 0, 0x3F, 0, 0, 0, 0, 1, 2, 0]);
    }
}

//! Commands as Linux takes them: `struct nvme_uring_cmd` and, with the same layout, `struct nvme_admin_cmd`.

use super::spec::{
    ADMIN_GET_LOG_PAGE, ADMIN_IDENTIFY, ALL_NAMESPACES, ATTRIBUTE_DEALLOCATE, COMMAND_LEN, DEALLOCATE, FUA,
    IDENTIFY_LEN, Opcode, RANGE_LEN,
};

/// Where a command's data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Data {
    /// Address of the bytes, or of a list of `iovec`s.
    pub(super) address: u64,
    /// Number of bytes, or of `iovec`s.
    pub(super) len: u32,
}

impl Data {
    /// For commands that have none.
    pub(super) const NONE: Self = Self { address: 0, len: 0 };
}

/// A command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Command {
    opcode: u8,
    nsid: u32,
    data: Data,
    /// CDW10 to CDW12; all others are 0.
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
}

impl Command {
    fn new(opcode: Opcode, nsid: u32, data: Data) -> Self {
        Self { opcode: opcode as u8, nsid, data, cdw10: 0, cdw11: 0, cdw12: 0 }
    }

    /// A command on `blocks` blocks from `lba` on: from 1 to [`BLOCKS_MAX`](super::spec::BLOCKS_MAX).
    fn on_range(opcode: Opcode, nsid: u32, lba: u64, blocks: u32, data: Data) -> Self {
        Self {
            cdw10: lba as u32,
            cdw11: (lba >> 32) as u32,
            cdw12: (blocks - 1) & 0xffff,
            ..Self::new(opcode, nsid, data)
        }
    }

    /// Read.
    pub(super) fn read(nsid: u32, lba: u64, blocks: u32, data: Data) -> Self {
        Self::on_range(Opcode::Read, nsid, lba, blocks, data)
    }

    /// Compare.
    pub(super) fn compare(nsid: u32, lba: u64, blocks: u32, data: Data) -> Self {
        Self::on_range(Opcode::Compare, nsid, lba, blocks, data)
    }

    /// Verify.
    pub(super) fn verify(nsid: u32, lba: u64, blocks: u32) -> Self {
        Self::on_range(Opcode::Verify, nsid, lba, blocks, Data::NONE)
    }

    /// Write.
    pub(super) fn write(nsid: u32, lba: u64, blocks: u32, data: Data, fua: bool) -> Self {
        let command = Self::on_range(Opcode::Write, nsid, lba, blocks, data);
        Self { cdw12: command.cdw12 | if fua { FUA } else { 0 }, ..command }
    }

    /// Write Zeroes. With `deallocate` the space may be given back.
    pub(super) fn write_zeroes(nsid: u32, lba: u64, blocks: u32, deallocate: bool, fua: bool) -> Self {
        let command = Self::on_range(Opcode::WriteZeroes, nsid, lba, blocks, Data::NONE);
        let flags = if deallocate { DEALLOCATE } else { 0 } | if fua { FUA } else { 0 };
        Self { cdw12: command.cdw12 | flags, ..command }
    }

    /// Flush.
    pub(super) fn flush(nsid: u32) -> Self {
        Self::new(Opcode::Flush, nsid, Data::NONE)
    }

    /// Dataset Management that deallocates one [`range`], which `address` points to.
    pub(super) fn deallocate(nsid: u32, address: u64) -> Self {
        let data = Data { address, len: RANGE_LEN as u32 };
        Self { cdw11: ATTRIBUTE_DEALLOCATE, ..Self::new(Opcode::DatasetManagement, nsid, data) }
    }

    /// The admin command Identify, whose [`IDENTIFY_LEN`] bytes go to `address`.
    pub(super) fn identify(nsid: u32, cns: u32, address: u64) -> Self {
        let data = Data { address, len: IDENTIFY_LEN as u32 };
        Self { opcode: ADMIN_IDENTIFY, nsid, data, cdw10: cns, cdw11: 0, cdw12: 0 }
    }

    /// The admin command Get Log Page for the first `len` bytes, a multiple of 4, of a page of the controller, which go to `address`.
    pub(super) fn get_log_page(page: u8, len: u32, address: u64) -> Self {
        let (data, dwords) = (Data { address, len }, len / 4 - 1);
        let cdw10 = u32::from(page) | (dwords & 0xffff) << 16;
        Self { opcode: ADMIN_GET_LOG_PAGE, nsid: ALL_NAMESPACES, data, cdw10, cdw11: dwords >> 16, cdw12: 0 }
    }

    /// Bytes of data.
    pub(super) fn data_len(&self) -> usize {
        self.data.len as usize
    }

    /// As the kernel takes it, in the machine's own byte order. No time limit of its own: the driver's holds.
    pub(super) fn to_bytes(self) -> [u8; COMMAND_LEN] {
        let mut bytes = [0; COMMAND_LEN];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(0, &[self.opcode]);
        put(4, &self.nsid.to_ne_bytes());
        put(24, &self.data.address.to_ne_bytes());
        put(36, &self.data.len.to_ne_bytes());
        put(40, &self.cdw10.to_ne_bytes());
        put(44, &self.cdw11.to_ne_bytes());
        put(48, &self.cdw12.to_ne_bytes());
        bytes
    }
}

/// A range for Dataset Management, as it lies in memory: little-endian.
pub(super) fn range(lba: u64, blocks: u32) -> [u8; RANGE_LEN] {
    let mut bytes = [0; RANGE_LEN];
    bytes[4..8].copy_from_slice(&blocks.to_le_bytes());
    bytes[8..].copy_from_slice(&lba.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Opcode, nsid, address, data_len, cdw10 to cdw15, and the rest, which must be 0.
    fn fields(command: Command) -> (u8, u32, u64, u32, [u32; 3]) {
        let bytes = command.to_bytes();
        let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let address = u64::from_ne_bytes(bytes[24..32].try_into().unwrap());
        for zero in [1..4, 8..24, 32..36, 52..72] {
            assert!(bytes[zero.clone()].iter().all(|&byte| byte == 0), "{zero:?}");
        }
        (bytes[0], u32_at(4), address, u32_at(36), [u32_at(40), u32_at(44), u32_at(48)])
    }

    #[test]
    fn commands_stand_where_the_kernel_reads_them() {
        let data = Data { address: 0x1234_5678_9abc, len: 8192 };
        let lba = 0x0000_0001_0203_0405;
        let at = [0x0203_0405, 1];
        let on_range = |flags: u32, blocks: u32| [at[0], at[1], flags | (blocks - 1)];
        assert_eq!(fields(Command::read(7, lba, 16, data)), (2, 7, data.address, 8192, on_range(0, 16)));
        assert_eq!(fields(Command::write(7, lba, 16, data, false)), (1, 7, data.address, 8192, on_range(0, 16)));
        assert_eq!(fields(Command::write(7, lba, 1, data, true)), (1, 7, data.address, 8192, on_range(1 << 30, 1)));
        assert_eq!(fields(Command::write_zeroes(7, lba, 65536, false, false)), (8, 7, 0, 0, on_range(0, 65536)));
        assert_eq!(fields(Command::write_zeroes(7, lba, 2, true, true)), (8, 7, 0, 0, on_range(1 << 25 | 1 << 30, 2)));
        assert_eq!(fields(Command::compare(7, lba, 16, data)), (5, 7, data.address, 8192, on_range(0, 16)));
        assert_eq!(fields(Command::verify(7, lba, 16)), (0xc, 7, 0, 0, on_range(0, 16)));
        assert_eq!(fields(Command::flush(7)), (0, 7, 0, 0, [0, 0, 0]));
        assert_eq!(fields(Command::deallocate(7, 0x5000)), (9, 7, 0x5000, 16, [0, 4, 0]));
        assert_eq!(fields(Command::identify(7, 3, 0x5000)), (6, 7, 0x5000, 4096, [3, 0, 0]));
        let log = Command::get_log_page(2, 512, 0x5000);
        assert_eq!(fields(log), (2, u32::MAX, 0x5000, 512, [0x007f_0002, 0, 0]));
        assert_eq!(fields(Command::get_log_page(2, 4 << 17, 0x5000)).4, [0xffff_0002, 1, 0]);
    }

    #[test]
    fn a_range_is_little_endian() {
        let expected = [0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0, 0];
        assert_eq!(range(0x0102_0304, 0x0506_0708), expected);
    }
}

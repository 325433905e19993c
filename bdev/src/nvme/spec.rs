//! Numbers of NVMe (NVM Express Base Specification 2.0, NVM Command Set Specification 1.0) and of Linux' passthrough
//! interface (`<linux/nvme_ioctl.h>`). No logic.

/// Opcode of a command of the NVM command set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Opcode {
    Flush = 0x00,
    Write = 0x01,
    Read = 0x02,
    Compare = 0x05,
    WriteZeroes = 0x08,
    DatasetManagement = 0x09,
    Verify = 0x0c,
}

/// Opcode of the admin command Identify.
pub(super) const ADMIN_IDENTIFY: u8 = 0x06;

/// Opcode of the admin command Get Log Page.
pub(super) const ADMIN_GET_LOG_PAGE: u8 = 0x02;
/// Log page identifier: SMART / Health Information.
pub(super) const LOG_SMART: u8 = 0x02;
/// Bytes of that log page.
pub(super) const SMART_LEN: usize = 512;
/// NSID of what is about the whole controller.
pub(super) const ALL_NAMESPACES: u32 = u32::MAX;

/// CNS of Identify: the namespace.
pub(super) const CNS_NAMESPACE: u32 = 0x00;
/// CNS of Identify: the controller.
pub(super) const CNS_CONTROLLER: u32 = 0x01;
/// CNS of Identify: the list of identifiers of the namespace.
pub(super) const CNS_DESCRIPTORS: u32 = 0x03;
/// CNS of Identify: the controller, as far as one command set is concerned; CSI 0 in CDW11 is the NVM command set.
pub(super) const CNS_COMMAND_SET: u32 = 0x06;
/// Bytes of what Identify returns.
pub(super) const IDENTIFY_LEN: usize = 4096;

/// CDW12 of Read, Write and Write Zeroes: force unit access.
pub(super) const FUA: u32 = 1 << 30;
/// CDW12 of Write Zeroes: the blocks may be deallocated.
pub(super) const DEALLOCATE: u32 = 1 << 25;
/// CDW11 of Dataset Management: deallocate the ranges.
pub(super) const ATTRIBUTE_DEALLOCATE: u32 = 1 << 2;
/// Bytes of a range of Dataset Management.
pub(super) const RANGE_LEN: usize = 16;

/// Blocks of one command at most: NLB is a count less one in 16 bits.
pub(super) const BLOCKS_MAX: u64 = 1 << 16;
/// Blocks of one range of Dataset Management at most.
pub(super) const RANGE_BLOCKS_MAX: u64 = u32::MAX as u64;

/// `NVME_URING_CMD_IO`: `_IOWR('N', 0x80, struct nvme_uring_cmd)`, one buffer.
pub(super) const URING_CMD_IO: u32 = iowr(0x80, COMMAND_LEN);
/// `NVME_URING_CMD_IO_VEC`: the same with a list of buffers.
pub(super) const URING_CMD_IO_VEC: u32 = iowr(0x81, COMMAND_LEN);
/// `NVME_IOCTL_ADMIN_CMD`: `_IOWR('N', 0x41, struct nvme_admin_cmd)`.
pub(super) const IOCTL_ADMIN_CMD: u32 = iowr(0x41, COMMAND_LEN);
/// `NVME_IOCTL_ID`: `_IO('N', 0x40)`. Returns the namespace identifier.
pub(super) const IOCTL_ID: u32 = (b'N' as u32) << 8 | 0x40;

/// Bytes of `struct nvme_uring_cmd` and of `struct nvme_admin_cmd`.
pub(super) const COMMAND_LEN: usize = 72;

const fn iowr(number: u32, len: usize) -> u32 {
    3 << 30 | (len as u32) << 16 | (b'N' as u32) << 8 | number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_those_of_the_kernel() {
        assert_eq!((URING_CMD_IO, URING_CMD_IO_VEC), (0xc048_4e80, 0xc048_4e81));
        assert_eq!((IOCTL_ADMIN_CMD, IOCTL_ID), (0xc048_4e41, 0x4e40));
    }
}

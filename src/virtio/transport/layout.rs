//! Where the virtio structures lie in their BAR.
//!
//! SPDK's initiator reads no capability and expects exactly this; the capabilities tell everyone else.

use super::super::spec::common;

/// Number of the BAR that holds the virtio registers.
pub const BAR: u8 = 4;
/// Its size in bytes.
pub const BAR_LEN: u64 = 0x4000;
/// Offset of the common configuration, bytes.
pub const COMMON_OFFSET: u32 = 0x0000;
/// Length of the common configuration, bytes.
pub const COMMON_LEN: u32 = common::LEN as u32;
/// Offset of the ISR status, bytes.
pub const ISR_OFFSET: u32 = 0x1000;
/// Length of the ISR status, bytes.
pub const ISR_LEN: u32 = 1;
/// Offset of the device configuration, bytes.
pub const DEVICE_OFFSET: u32 = 0x2000;
/// Offset of the doorbells, bytes.
pub const NOTIFY_OFFSET: u32 = 0x3000;
/// Length of the doorbells, bytes.
pub const NOTIFY_LEN: u32 = 0x1000;
/// Bytes from one queue's doorbell to the next. Room for the four bytes that NOTIFICATION_DATA writes.
pub const NOTIFY_MULTIPLIER: u32 = 4;
/// Queues that have a doorbell.
pub const QUEUES_MAX: u16 = (NOTIFY_LEN / NOTIFY_MULTIPLIER) as u16;

/// What an access to the BAR is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Common configuration, at this offset in it.
    Common(u64),
    /// ISR status. Reading it clears it.
    Isr,
    /// Device configuration, at this offset in it.
    DeviceConfig(u64),
    /// Doorbell of this queue, which need not exist.
    Notify(u16),
    /// Nothing: reads zero, writes are dropped.
    None,
}

/// Tells what an access of `len` bytes at `offset` is about. An access that leaves its page of the BAR, or one of no
/// length, is about nothing: no driver makes one, and it must not have half an effect.
pub fn decode(offset: u64, len: usize) -> Register {
    const PAGE: u64 = 0x1000;
    let within = offset % PAGE;
    let leaves = (len as u64).checked_add(within).is_none_or(|end| end > PAGE);
    if len == 0 || leaves || offset >= BAR_LEN {
        return Register::None;
    }
    match (offset - within) as u32 {
        COMMON_OFFSET => Register::Common(within),
        ISR_OFFSET if within == 0 => Register::Isr,
        DEVICE_OFFSET => Register::DeviceConfig(within),
        NOTIFY_OFFSET => Register::Notify((within / u64::from(NOTIFY_MULTIPLIER)) as u16),
        _ => Register::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_structure_is_found_at_its_ends() {
        assert_eq!(decode(0, 4), Register::Common(0));
        assert_eq!(decode(0x3b, 1), Register::Common(0x3b));
        assert_eq!(decode(0x1000, 1), Register::Isr);
        assert_eq!(decode(0x1001, 1), Register::None);
        assert_eq!(decode(0x2024, 4), Register::DeviceConfig(0x24));
        assert_eq!(decode(0x3000, 2), Register::Notify(0));
        assert_eq!(decode(0x3004, 2), Register::Notify(1));
        assert_eq!(decode(0x3ffc, 4), Register::Notify(1023));
    }

    #[test]
    fn accesses_that_are_outside_or_leave_a_structure_are_about_nothing() {
        assert_eq!(decode(0x4000, 1), Register::None);
        assert_eq!(decode(0xffe, 4), Register::None);
        assert_eq!(decode(0x3ffe, 4), Register::None);
        assert_eq!(decode(0, 0), Register::None);
        assert_eq!(decode(u64::MAX, 1), Register::None);
        assert_eq!(decode(0x10, usize::MAX), Register::None);
    }
}

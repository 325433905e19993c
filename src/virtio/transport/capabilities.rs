//! The PCI capabilities that tell a driver where the virtio structures are (4.1.4), as bytes.
//!
//! The link to the next capability is left zero: whoever builds the PCI function fills it in.

use super::super::spec::capability as spec;
use super::layout;

/// Bytes of a capability with one more register behind it.
pub const LONG_LEN: usize = spec::LEN + 4;

/// Common configuration (4.1.4.3).
pub fn common() -> [u8; spec::LEN] {
    structure(spec::COMMON_CFG, layout::COMMON_OFFSET, layout::COMMON_LEN)
}

/// ISR status (4.1.4.5).
pub fn isr() -> [u8; spec::LEN] {
    structure(spec::ISR_CFG, layout::ISR_OFFSET, layout::ISR_LEN)
}

/// Device configuration of `len` bytes (4.1.4.6).
pub fn device(len: u32) -> [u8; spec::LEN] {
    structure(spec::DEVICE_CFG, layout::DEVICE_OFFSET, len)
}

/// Doorbells, with the multiplier (4.1.4.4).
pub fn notify() -> [u8; LONG_LEN] {
    let short = structure(spec::NOTIFY_CFG, layout::NOTIFY_OFFSET, layout::NOTIFY_LEN);
    lengthen(short, layout::NOTIFY_MULTIPLIER)
}

/// The configuration access window (4.1.4.9): bytes, and write mask. The driver sets BAR, offset and length, then reads or
/// writes the data at [`spec::EXTRA`].
pub fn window() -> ([u8; LONG_LEN], [u8; LONG_LEN]) {
    let mut bytes = lengthen(structure(spec::PCI_CFG, 0, 0), 0);
    bytes[spec::BAR] = 0;
    let mut writable = [0; LONG_LEN];
    writable[spec::BAR] = 0xff;
    writable[spec::OFFSET..].fill(0xff);
    (bytes, writable)
}

fn structure(kind: u8, offset: u32, len: u32) -> [u8; spec::LEN] {
    let mut bytes = [0; spec::LEN];
    bytes[0] = spec::ID;
    bytes[2] = spec::LEN as u8;
    bytes[3] = kind;
    bytes[spec::BAR] = layout::BAR;
    bytes[spec::OFFSET..spec::OFFSET + 4].copy_from_slice(&offset.to_le_bytes());
    bytes[spec::LENGTH..spec::LENGTH + 4].copy_from_slice(&len.to_le_bytes());
    bytes
}

fn lengthen(short: [u8; spec::LEN], extra: u32) -> [u8; LONG_LEN] {
    let mut bytes = [0; LONG_LEN];
    bytes[..spec::LEN].copy_from_slice(&short);
    bytes[2] = LONG_LEN as u8;
    bytes[spec::EXTRA..].copy_from_slice(&extra.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        assert_eq!(common(), [9, 0, 16, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0x3c, 0, 0, 0]);
        assert_eq!(isr(), [9, 0, 16, 3, 4, 0, 0, 0, 0, 0x10, 0, 0, 1, 0, 0, 0]);
        assert_eq!(device(0x24), [9, 0, 16, 4, 4, 0, 0, 0, 0, 0x20, 0, 0, 0x24, 0, 0, 0]);
        assert_eq!(notify(), [9, 0, 20, 2, 4, 0, 0, 0, 0, 0x30, 0, 0, 0, 0x10, 0, 0, 4, 0, 0, 0]);
    }

    #[test]
    fn the_window_lets_a_driver_write_only_its_own_registers() {
        let (bytes, writable) = window();
        assert_eq!(bytes, [9, 0, 20, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mask = [0, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(writable, mask);
    }
}

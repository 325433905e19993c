//! Bytes with a write mask: what configuration space is to whoever reads and writes it.
//!
//! Owns no meaning. An access of any offset and length is fine: what lies outside reads as all ones, as on a bus where
//! nobody answers, and is not written.

use super::spec::{CONFIG_LEN, EXTENDED_CONFIG_LEN};

/// The first 256 bytes of configuration space; the extended part behind them is empty and read-only.
#[derive(Debug, Clone)]
pub(super) struct Space {
    bytes: [u8; CONFIG_LEN],
    defaults: [u8; CONFIG_LEN],
    writable: [u8; CONFIG_LEN],
}

impl Space {
    pub(super) fn new() -> Self {
        Self { bytes: [0; CONFIG_LEN], defaults: [0; CONFIG_LEN], writable: [0; CONFIG_LEN] }
    }

    /// Sets what reset gives back. The range must be inside.
    pub(super) fn define(&mut self, at: usize, bytes: &[u8]) {
        self.defaults[at..at + bytes.len()].copy_from_slice(bytes);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Sets the bits that a client may change. The range must be inside.
    pub(super) fn allow(&mut self, at: usize, mask: &[u8]) {
        self.writable[at..at + mask.len()].copy_from_slice(mask);
    }

    pub(super) fn reset(&mut self) {
        self.bytes = self.defaults;
    }

    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        for (index, byte) in data.iter_mut().enumerate() {
            let at = offset.checked_add(index as u64).and_then(|at| usize::try_from(at).ok());
            *byte = match at {
                Some(at) if at < CONFIG_LEN => self.bytes[at],
                Some(at) if at < EXTENDED_CONFIG_LEN => 0,
                _ => 0xff,
            };
        }
    }

    pub(super) fn write(&mut self, offset: u64, data: &[u8]) {
        let start = usize::try_from(offset).unwrap_or(CONFIG_LEN).min(CONFIG_LEN);
        for (at, new) in (start..CONFIG_LEN).zip(data) {
            let mask = self.writable[at];
            self.bytes[at] = (self.bytes[at] & !mask) | (new & mask);
        }
    }

    pub(super) fn u16_at(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    pub(super) fn u32_at(&self, at: usize) -> u32 {
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
    }

    pub(super) fn u8_at(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    /// Sets bytes from our own side, whatever the mask; reset undoes it.
    pub(super) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
}

/// Whether `[offset, offset + len)` touches `[at, at + field_len)`. An access that wraps touches what is before the wrap.
pub(super) fn overlaps(offset: u64, len: usize, at: usize, field_len: usize) -> bool {
    let (at, end) = (at as u64, (at + field_len) as u64);
    len > 0 && offset < end && offset.saturating_add(len as u64) > at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_bits_change_and_reset_brings_them_back() {
        let mut space = Space::new();
        space.define(0x10, &[0xa5, 0x5a]);
        space.allow(0x10, &[0xf0, 0x00]);
        space.write(0x10, &[0x5f, 0xff]);
        assert_eq!(space.u16_at(0x10), 0x5a55);
        space.reset();
        assert_eq!(space.u16_at(0x10), 0x5aa5);
    }

    #[test]
    fn the_extended_part_is_zero_and_outside_is_all_ones() {
        let mut space = Space::new();
        space.define(0xff, &[0x77]);
        let mut data = [0xee; 2];
        space.read(0xff, &mut data);
        assert_eq!(data, [0x77, 0]);
        space.read(0xfff, &mut data);
        assert_eq!(data, [0, 0xff]);
        space.read(u64::MAX, &mut data);
        assert_eq!(data, [0xff, 0xff]);
    }

    #[test]
    fn writes_past_the_end_or_around_it_change_nothing() {
        let mut space = Space::new();
        space.allow(0, &[0xff; CONFIG_LEN]);
        space.write(u64::MAX, &[1, 2, 3]);
        space.write(0x100, &[1, 2, 3]);
        assert_eq!(space.bytes, [0; CONFIG_LEN]);
        space.write(0xff, &[9, 9]);
        assert_eq!(space.u8_at(0xff), 9);
        assert_eq!(space.u8_at(0), 0);
    }

    #[test]
    fn overlap_is_exact() {
        assert!(!overlaps(0, 4, 4, 4));
        assert!(overlaps(0, 5, 4, 4));
        assert!(overlaps(7, 1, 4, 4));
        assert!(!overlaps(8, 1, 4, 4));
        assert!(!overlaps(5, 0, 4, 4));
        assert!(overlaps(0, usize::MAX, 4, 4));
        assert!(!overlaps(u64::MAX, 8, 4, 4));
    }
}

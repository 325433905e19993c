//! The bytes of tokens (SPC-5, generic ROD tokens; SBC-4, block device zero ROD token).

use super::super::capacity;
use super::super::logical_unit::LogicalUnit;
use super::super::long::extended_copy::IDENTIFICATION;

/// Bytes of a token.
pub const TOKEN_LEN: usize = 512;
/// What ROD TOKEN LENGTH says of that.
pub(in super::super) const LENGTH_FIELD: u16 = TOKEN_LEN as u16 - 8;
/// ROD TYPE: the data is that of the time when the token was made; a change of it ends the token.
pub(in super::super) const POINT_IN_TIME_CHANGE_VULNERABLE: u32 = 0x0080_0001;
/// ROD TYPE: zeroes. Such a token is nobody's, it says all by itself.
pub(in super::super) const BLOCK_ZERO: u32 = 0xffff_0001;

/// Where DEVICE TYPE SPECIFIC DATA is, and the descriptor of the target device, and EXTENDED ROD TOKEN DATA, which tells a token
/// from all guesses.
const DEVICE_AT: usize = 96;
const TARGET_AT: usize = 128;
const SECRET_AT: usize = TARGET_AT + 128;

/// A token.
#[derive(Debug, Clone)]
pub(in super::super) struct Token(Box<[u8; TOKEN_LEN]>);

/// What makes tokens of one logical unit.
#[derive(Debug, Clone)]
pub(in super::super) struct Maker(Token);

impl Maker {
    /// With what all tokens of a unit have in common: type, length, the unit's name as EXTENDED COPY knows it, what READ CAPACITY
    /// (16) says of its blocks, and the name of the device, which is that of its port.
    pub(in super::super) fn of(unit: &LogicalUnit) -> Self {
        let mut token = Token(Box::new([0; TOKEN_LEN]));
        let naa = unit.identity.naa();
        token.put(0, &POINT_IN_TIME_CHANGE_VULNERABLE.to_be_bytes());
        token.put(6, &LENGTH_FIELD.to_be_bytes());
        token.put(16, &[IDENTIFICATION, 0, 0, 0, 1, 3, 0, naa.as_bytes().len() as u8]);
        token.put(24, naa.as_bytes());
        token.put(44, &unit.block_size.to_be_bytes());
        token.put(DEVICE_AT, &unit.block_size.to_be_bytes());
        token.put(DEVICE_AT + 5, &[unit.physical_exponent]);
        token.put(DEVICE_AT + 6, &[capacity::provisioning(unit)]);
        token.put(TARGET_AT, &target_device(unit));
        Self(token)
    }

    /// A token, with random bytes, at least 256 bits, that `random` gives.
    pub(in super::super) fn token(&self, random: impl FnOnce(&mut [u8])) -> Token {
        let mut token = self.0.clone();
        random(&mut token.0[SECRET_AT..]);
        token
    }

    /// Whether a token says that the same target device has made it.
    pub(in super::super) fn is_of_device(&self, token: &[u8; TOKEN_LEN]) -> bool {
        token[TARGET_AT..SECRET_AT] == self.0.0[TARGET_AT..SECRET_AT]
    }
}

/// The designation descriptor of the target device: that of its one port.
fn target_device(unit: &LogicalUnit) -> [u8; 12] {
    const TARGET_DEVICE_NAA: u8 = 0x23;
    let mut descriptor = [1, TARGET_DEVICE_NAA, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    descriptor[4..].copy_from_slice(unit.port.naa.as_bytes());
    descriptor
}

impl Token {
    /// All of it.
    pub(in super::super) fn bytes(&self) -> &[u8; TOKEN_LEN] {
        &self.0
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Adds its number and the bytes that it stands for.
    pub(super) fn complete(&mut self, serial: u64, bytes: u64) {
        self.put(8, &serial.to_be_bytes());
        self.put(56, &bytes.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{disk, info};
    use super::*;

    #[test]
    fn a_token_tells_what_it_stands_for() {
        let unit = disk(&info());
        let mut token = Maker::of(&unit).token(|into| into.fill(0x5a));
        token.complete(1, 0x0800);
        let bytes = token.bytes();
        assert_eq!(bytes[..16], [0, 0x80, 0, 1, 0, 0, 0x01, 0xf8, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(bytes[16..24], [0xe4, 0, 0, 0, 1, 3, 0, 8]);
        assert_eq!(&bytes[24..32], unit.identity.naa().as_bytes());
        assert_eq!(bytes[44..64], [0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0]);
        assert_eq!(bytes[96..104], [0, 0, 2, 0, 0, 3, 0, 0]);
        assert_eq!(bytes[128..132], [1, 0x23, 0, 8]);
        assert_eq!(&bytes[132..140], unit.port.naa.as_bytes());
        assert_eq!((&bytes[140..256], &bytes[256..]), (&[0; 116][..], &[0x5a; 256][..]));
    }
}

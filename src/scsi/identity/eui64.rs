//! EUI-64 based identifiers (SPC-5, EUI-64 based designator format).

use super::{IdentityError, read_digits};

/// An EUI-64 based identifier: 8 bytes, 12 with a directory identifier behind them, 16 with an extension before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Eui64 {
    bytes: [u8; 16],
    len: u8,
}

impl Eui64 {
    /// Reads 16, 24 or 32 hexadecimal digits, with or without `0x`.
    ///
    /// # Errors
    /// [`IdentityError::Eui64`].
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::Eui64 { text: text.to_owned() };
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        let len = match digits.len() {
            16 => 8,
            24 => 12,
            32 => 16,
            _ => return Err(wrong()),
        };
        let mut bytes = [0; 16];
        read_digits(digits, &mut bytes).ok_or_else(wrong)?;
        Ok(Self { bytes, len })
    }

    /// Its 8, 12 or 16 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

impl From<[u8; 8]> for Eui64 {
    fn from(eui64: [u8; 8]) -> Self {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&eui64);
        Self { bytes, len: 8 }
    }
}

impl From<[u8; 16]> for Eui64 {
    fn from(bytes: [u8; 16]) -> Self {
        Self { bytes, len: 16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_lengths_are_read() {
        for digits in [16, 24, 32] {
            let text = "0123456789abcdef".repeat(2)[..digits].to_owned();
            let eui64 = Eui64::parse(&text).unwrap();
            assert_eq!(eui64.as_bytes().len(), digits / 2);
            assert_eq!(eui64.as_bytes()[..8], [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
            assert_eq!(Eui64::parse(&format!("0x{text}")), Ok(eui64));
        }
        assert_eq!(Eui64::from([0x12; 8]), Eui64::parse(&"12".repeat(8)).unwrap());
        assert_eq!(Eui64::from([0x12; 16]), Eui64::parse(&"12".repeat(16)).unwrap());
        for text in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef01", "ä23456789abcdef"] {
            assert_eq!(Eui64::parse(text), Err(IdentityError::Eui64 { text: text.into() }));
        }
    }
}

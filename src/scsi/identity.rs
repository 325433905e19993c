//! Who a disk says it is: vendor, product, revision, serial number and NAA identifier.
//!
//! A guest finds its disk again by these, so they never change behind its back: what nobody sets is derived from a
//! string that the caller keeps stable, such as the path of the backing file, by a hash that is fixed for good.

use super::hash::fnv1a_64;

mod eui64;
mod port;

pub use eui64::Eui64;
pub use port::Port;

/// Longest serial number in bytes.
pub const SERIAL_LEN_MAX: usize = 36;

/// Vendor of a disk whose owner sets none.
pub(super) const DEFAULT_VENDOR: &[u8; 8] = b"ANNULUS ";

/// Why an identity was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// A text is empty.
    #[error("{field} is empty")]
    Empty {
        /// Which.
        field: &'static str,
    },
    /// A text does not fit its field.
    #[error("{field} {text:?} has {len} bytes: at most {len_max} fit")]
    TooLong {
        /// Which.
        field: &'static str,
        /// What was given.
        text: String,
        /// Its bytes.
        len: usize,
        /// Bytes that fit.
        len_max: usize,
    },
    /// A text has a character that SCSI does not allow there.
    #[error("{field} {text:?} has a character that is not printable ASCII: SCSI allows 20h to 7Eh")]
    NotPrintable {
        /// Which.
        field: &'static str,
        /// What was given.
        text: String,
    },
    /// A serial number begins or ends with a space, which initiators trim.
    #[error("{field} {text:?} begins or ends with a space, which initiators cut off")]
    OuterSpace {
        /// Which.
        field: &'static str,
        /// What was given.
        text: String,
    },
    /// An EUI-64 based identifier is not one.
    #[error("eui64 {text:?} is not an EUI-64 identifier: 16, 24 or 32 hexadecimal digits")]
    Eui64 {
        /// What was given.
        text: String,
    },
    /// A UUID is not one.
    #[error(
        "uuid {text:?} is not a UUID: 32 hexadecimal digits, with hyphens behind the 8th, 12th, 16th and 20th or without"
    )]
    Uuid {
        /// What was given.
        text: String,
    },
    /// An NAA identifier is not one.
    #[error("naa {text:?} is not an NAA identifier: 16 hexadecimal digits that begin with 2, 3 or 5, or 32 with 6")]
    Naa {
        /// What was given.
        text: String,
    },
}

/// A name address authority identifier (SPC-5, NAA designator format): 8 bytes with NAA 2, 3 or 5, 16 bytes with NAA 6.
///
/// A derived one has NAA 3, *locally assigned*: NAA 2, 5 and 6 contain a company identifier that the IEEE gave to its
/// owner, and this project owns none. Whoever does can set such a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Naa {
    bytes: [u8; 16],
    len: u8,
}

impl Naa {
    /// Locally assigned (NAA 3): the low 60 bits are the value.
    pub const fn local(value: u64) -> Self {
        let name = (value & (u64::MAX >> 4) | 0x3 << 60).to_be_bytes();
        let mut bytes = [0; 16];
        let mut at = 0;
        while at < name.len() {
            bytes[at] = name[at];
            at += 1;
        }
        Self { bytes, len: 8 }
    }

    /// Reads hexadecimal digits, with or without `0x`.
    pub fn parse(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::Naa { text: text.to_owned() };
        let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
        let len = match (digits.len(), digits.first()) {
            (16, Some(b'2' | b'3' | b'5')) => 8,
            (32, Some(b'6')) => 16,
            _ => return Err(wrong()),
        };
        let mut bytes = [0; 16];
        read_digits(digits, &mut bytes).ok_or_else(wrong)?;
        Ok(Self { bytes, len })
    }

    /// Its 8 or 16 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }
}

/// Fills the first of `bytes` from pairs of hexadecimal digits.
fn read_digits(digits: &[u8], bytes: &mut [u8]) -> Option<()> {
    let nibble = |digit: u8| (digit as char).to_digit(16);
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (nibble(pair[0])? << 4 | nibble(pair[1])?) as u8;
    }
    Some(())
}

/// Reads a UUID: 32 hexadecimal digits, with the usual hyphens or without.
///
/// # Errors
/// [`IdentityError::Uuid`].
pub fn parse_uuid(text: &str) -> Result<[u8; 16], IdentityError> {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    let has_hyphens = text.len() == 36 && text.match_indices('-').map(|(at, _)| at).eq(HYPHENS);
    let digits = if has_hyphens { text.replace('-', "") } else { text.to_owned() };
    let mut bytes = [0; 16];
    let read = if digits.len() == 32 { read_digits(digits.as_bytes(), &mut bytes) } else { None };
    read.map(|()| bytes).ok_or_else(|| IdentityError::Uuid { text: text.to_owned() })
}

impl std::fmt::Display for Naa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The names of a disk. Text fields are padded with spaces, as INQUIRY wants them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    vendor: [u8; 8],
    product: [u8; 16],
    revision: [u8; 4],
    serial: String,
    naa: Naa,
    /// A device may have one of 8 bytes and one of 16.
    eui64: [Option<Eui64>; 2],
    uuid: Option<[u8; 16]>,
}

impl Identity {
    /// The default identity of the disk that `stable` names: serial number and NAA identifier are hashes of it. The
    /// same string gives the same identity on every machine and in every version of this program.
    pub fn derive(stable: &str) -> Self {
        Self {
            vendor: *DEFAULT_VENDOR,
            product: *b"ANNULUS DISK    ",
            revision: *b"1.0 ",
            serial: format!("{:016x}", hash(&["serial:", stable])),
            naa: Naa::local(hash(&["naa:", stable])),
            eui64: [None; 2],
            uuid: None,
        }
    }

    /// Sets the T10 vendor identification: 1 to 8 printable ASCII characters.
    pub fn with_vendor(self, vendor: &str) -> Result<Self, IdentityError> {
        Ok(Self { vendor: padded("vendor", vendor)?, ..self })
    }

    /// Sets the product identification: 1 to 16 printable ASCII characters.
    pub fn with_product(self, product: &str) -> Result<Self, IdentityError> {
        Ok(Self { product: padded("product", product)?, ..self })
    }

    /// Sets the product revision level: 1 to 4 printable ASCII characters.
    pub fn with_revision(self, revision: &str) -> Result<Self, IdentityError> {
        Ok(Self { revision: padded("revision", revision)?, ..self })
    }

    /// Sets the serial number: 1 to [`SERIAL_LEN_MAX`] printable ASCII characters, no space at either end.
    pub fn with_serial(self, serial: &str) -> Result<Self, IdentityError> {
        check_text("serial", serial, SERIAL_LEN_MAX)?;
        Ok(Self { serial: serial.to_owned(), ..self })
    }

    /// Sets the NAA identifier.
    pub fn with_naa(self, naa: Naa) -> Self {
        Self { naa, ..self }
    }

    /// Adds an EUI-64 based identifier, as NVMe devices have one of 8 bytes and one of 16. There is room for these two.
    pub fn with_eui64(self, eui64: Eui64) -> Self {
        let [first, second] = self.eui64;
        Self { eui64: [first.or(Some(eui64)), first.and(second.or(Some(eui64)))], ..self }
    }

    /// Sets the only EUI-64 based identifier.
    pub fn with_only_eui64(self, eui64: Eui64) -> Self {
        Self { eui64: [Some(eui64), None], ..self }
    }

    /// Sets a UUID (RFC 4122, in network order).
    pub fn with_uuid(self, uuid: [u8; 16]) -> Self {
        Self { uuid: Some(uuid), ..self }
    }

    /// T10 vendor identification.
    pub fn vendor(&self) -> &[u8; 8] {
        &self.vendor
    }

    /// Product identification.
    pub fn product(&self) -> &[u8; 16] {
        &self.product
    }

    /// Product revision level.
    pub fn revision(&self) -> &[u8; 4] {
        &self.revision
    }

    /// Serial number.
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// NAA identifier.
    pub fn naa(&self) -> Naa {
        self.naa
    }

    /// EUI-64 based identifiers.
    pub fn eui64(&self) -> impl Iterator<Item = Eui64> {
        self.eui64.into_iter().flatten()
    }

    /// UUID.
    pub fn uuid(&self) -> Option<[u8; 16]> {
        self.uuid
    }
}

fn check_text(field: &'static str, text: &str, len_max: usize) -> Result<(), IdentityError> {
    let owned = || text.to_owned();
    if text.is_empty() {
        return Err(IdentityError::Empty { field });
    }
    if text.len() > len_max {
        return Err(IdentityError::TooLong { field, text: owned(), len: text.len(), len_max });
    }
    if !text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return Err(IdentityError::NotPrintable { field, text: owned() });
    }
    if text.trim_matches(' ').len() != text.len() {
        return Err(IdentityError::OuterSpace { field, text: owned() });
    }
    Ok(())
}

fn padded<const N: usize>(field: &'static str, text: &str) -> Result<[u8; N], IdentityError> {
    check_text(field, text, N)?;
    let mut out = [b' '; N];
    out[..text.len()].copy_from_slice(text.as_bytes());
    Ok(out)
}

/// The hash of the parts, one after the other. Guests find their disks by what it gives.
pub(super) fn hash(parts: &[&str]) -> u64 {
    fnv1a_64(parts.iter().flat_map(|part| part.bytes()))
}

#[cfg(test)]
mod tests;

//! Sense data: the one value that says why a command failed, and its two encodings (SPC-5, sense data).
//!
//! Everything that refuses a command makes a [`Sense`]; only this file knows how it looks in memory.

use super::spec::{Asc, SenseKey};

/// Which field of the CDB or of the parameter list is wrong (SPC-5, field pointer sense-key-specific information).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldPointer {
    /// Whether `byte` counts in the CDB; otherwise in the parameter list.
    pub in_cdb: bool,
    /// First byte of the field.
    pub byte: u16,
    /// Most significant bit of the field in that byte, 7 to 0; none if the field is whole bytes.
    pub bit: Option<u8>,
}

/// The sense-key-specific field: what it holds depends on the sense key (SPC-5, sense-key-specific sense data).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SenseKeySpecific {
    /// With ILLEGAL REQUEST: the field in error.
    Field(FieldPointer),
    /// With NOT READY or NO SENSE: how much of an operation is done, in parts of 65,536.
    Progress(u16),
}

/// Why a command ended with CHECK CONDITION, or what is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sense {
    /// Sense key.
    pub key: SenseKey,
    /// Additional sense code and qualifier.
    pub asc: Asc,
    /// The error is that of an earlier command, whose status was GOOD (SPC-5, deferred errors).
    pub deferred: bool,
    /// INFORMATION field: for most of a disk's errors the first LBA concerned.
    pub information: Option<u64>,
    /// COMMAND-SPECIFIC INFORMATION field.
    pub command_specific: Option<u64>,
    /// Sense-key-specific field.
    pub specific: Option<SenseKeySpecific>,
}

/// Bytes of sense data in fixed format, as this target builds it: up to and including the sense-key-specific field.
pub const FIXED_SENSE_LEN: usize = 18;

/// Most bytes of sense data, as this target builds it: in descriptor format header, INFORMATION, COMMAND-SPECIFIC
/// INFORMATION and sense-key specific.
pub const SENSE_LEN_MAX: usize = 8 + 12 + 12 + 8;

/// Sense data as an initiator gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenseBytes {
    bytes: [u8; SENSE_LEN_MAX],
    len: usize,
}

impl SenseBytes {
    const EMPTY: Self = Self { bytes: [0; SENSE_LEN_MAX], len: 0 };

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl FieldPointer {
    /// The three bytes of the sense-key-specific field: SKSV, C/D, BPV and bit pointer, then the field pointer.
    fn encode(self) -> [u8; 3] {
        let cdb = if self.in_cdb { 0x40 } else { 0 };
        let bit = self.bit.map_or(0, |bit| 0x08 | bit & 0x07);
        let byte = self.byte.to_be_bytes();
        [0x80 | cdb | bit, byte[0], byte[1]]
    }
}

impl SenseKeySpecific {
    fn encode(self) -> [u8; 3] {
        match self {
            Self::Field(pointer) => pointer.encode(),
            Self::Progress(done) => {
                let [high, low] = done.to_be_bytes();
                [0x80, high, low]
            }
        }
    }
}

impl Sense {
    /// Nothing to report: what REQUEST SENSE returns when all is well.
    pub const NONE: Self = Self::new(SenseKey::NO_SENSE, Asc::NO_ADDITIONAL_SENSE);

    /// Sense data of a key and a code alone.
    pub const fn new(key: SenseKey, asc: Asc) -> Self {
        Self { key, asc, deferred: false, information: None, command_specific: None, specific: None }
    }

    /// ILLEGAL REQUEST with a code.
    pub const fn illegal(asc: Asc) -> Self {
        Self::new(SenseKey::ILLEGAL_REQUEST, asc)
    }

    /// INVALID FIELD IN CDB for the field that starts at `byte`; `bit` is its most significant bit, if it is smaller
    /// than a byte.
    pub const fn invalid_field(byte: u16, bit: Option<u8>) -> Self {
        let pointer = FieldPointer { in_cdb: true, byte, bit };
        Self { specific: Some(SenseKeySpecific::Field(pointer)), ..Self::illegal(Asc::INVALID_FIELD_IN_CDB) }
    }

    /// INVALID FIELD IN PARAMETER LIST for the field that starts at `byte` of the list; `bit` is its most significant
    /// bit, if it is smaller than a byte.
    pub const fn invalid_parameter(byte: u16, bit: Option<u8>) -> Self {
        let pointer = FieldPointer { in_cdb: false, byte, bit };
        Self { specific: Some(SenseKeySpecific::Field(pointer)), ..Self::illegal(Asc::INVALID_FIELD_IN_PARAMETER_LIST) }
    }

    /// The same error, to be reported with a later command.
    pub const fn deferred(self) -> Self {
        Self { deferred: true, ..self }
    }

    /// With COMMAND-SPECIFIC INFORMATION.
    pub const fn with_command_specific(self, value: u64) -> Self {
        Self { command_specific: Some(value), ..self }
    }

    /// With a progress indication: `done` parts of 65,536.
    pub const fn with_progress(self, done: u16) -> Self {
        Self { specific: Some(SenseKeySpecific::Progress(done)), ..self }
    }

    /// LOGICAL BLOCK ADDRESS OUT OF RANGE, with the first address that is.
    pub const fn lba_out_of_range(first_bad_lba: u64) -> Self {
        Self { information: Some(first_bad_lba), ..Self::illegal(Asc::LBA_OUT_OF_RANGE) }
    }

    /// MISCOMPARE DURING VERIFY OPERATION, with where the bytes differ.
    pub const fn miscompare(at: u64) -> Self {
        let sense = Self::new(SenseKey::MISCOMPARE, Asc::MISCOMPARE_DURING_VERIFY);
        Self { information: Some(at), ..sense }
    }

    /// In the format that the nexus wants: D_SENSE of the control mode page, or DESC of REQUEST SENSE.
    pub fn encode(&self, descriptors: bool) -> SenseBytes {
        if descriptors {
            return self.encode_descriptor();
        }
        let mut out = SenseBytes::EMPTY;
        out.push(&self.encode_fixed());
        out
    }

    /// Fixed format (SPC-5, fixed format sense data). An INFORMATION value that needs more than four bytes is left out
    /// and VALID stays 0, as the format demands; such a COMMAND-SPECIFIC INFORMATION is left out too.
    pub fn encode_fixed(&self) -> [u8; FIXED_SENSE_LEN] {
        const CURRENT: u8 = 0x70;
        const VALID: u8 = 0x80;
        let mut out = [0; FIXED_SENSE_LEN];
        out[0] = CURRENT | u8::from(self.deferred);
        out[2] = self.key.0;
        if let Some(Ok(information)) = self.information.map(u32::try_from) {
            out[0] |= VALID;
            out[3..7].copy_from_slice(&information.to_be_bytes());
        }
        out[7] = (FIXED_SENSE_LEN - 8) as u8;
        if let Some(Ok(value)) = self.command_specific.map(u32::try_from) {
            out[8..12].copy_from_slice(&value.to_be_bytes());
        }
        out[12..14].copy_from_slice(&self.asc.0.to_be_bytes());
        if let Some(specific) = self.specific {
            out[15..18].copy_from_slice(&specific.encode());
        }
        out
    }

    /// Descriptor format (SPC-5, descriptor format sense data).
    pub fn encode_descriptor(&self) -> SenseBytes {
        const CURRENT: u8 = 0x72;
        let mut out = SenseBytes::EMPTY;
        let asc = self.asc.0.to_be_bytes();
        out.push(&[CURRENT | u8::from(self.deferred), self.key.0, asc[0], asc[1], 0, 0, 0, 0]);
        if let Some(information) = self.information {
            out.push(&[0x00, 0x0a, 0x80, 0x00]);
            out.push(&information.to_be_bytes());
        }
        if let Some(value) = self.command_specific {
            out.push(&[0x01, 0x0a, 0x00, 0x00]);
            out.push(&value.to_be_bytes());
        }
        if let Some(specific) = self.specific {
            let [a, b, c] = specific.encode();
            out.push(&[0x02, 0x06, 0x00, 0x00, a, b, c, 0x00]);
        }
        out.bytes[7] = (out.len - 8) as u8;
        out
    }
}

#[cfg(test)]
mod tests;

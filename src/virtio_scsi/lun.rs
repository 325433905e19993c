//! Logical unit addresses: eight bytes, as requests and REPORT LUNS have them.

use super::spec::ResponseCode;

/// The highest logical unit number that eight bytes can name in the forms used here: 14 bits.
pub const LUN_MAX: u16 = 0x3fff;

/// The logical unit number of the well-known logical unit REPORT LUNS (SAM-5, 4.7): above all others.
pub const WELL_KNOWN_LUN: u16 = 0xc101;

/// Address method "flat space", in the two high bits of a LUN's first byte (SAM-5, 4.7).
const FLAT_SPACE: u8 = 0x40;

/// The `lun` field of a request, as it came (virtio 1.2, section 5.6.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct LunAddress(pub [u8; 8]);

/// A logical unit of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Target.
    pub target: u8,
    /// Logical unit number, at most [`LUN_MAX`], or [`WELL_KNOWN_LUN`].
    pub lun: u16,
}

impl Address {
    /// Where task management finds commands for the well-known logical unit of the whole device: they are ended with those
    /// of target 0.
    pub const WHOLE_DEVICE: Self = Self { target: 0, lun: WELL_KNOWN_LUN };
}

/// Whom a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// A logical unit; whether it exists is another question.
    Unit(Address),
    /// The well-known logical unit REPORT LUNS of the whole device.
    ReportLuns,
}

/// An address that can name nothing here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLun {
    /// It names no target.
    #[error("the address names no target")]
    Target,
    /// It names a target, and no logical unit of a single level.
    #[error("the address names no logical unit of target {target}")]
    Lun {
        /// The target.
        target: u8,
    },
}

impl InvalidLun {
    /// The response for a request with this address.
    pub fn response(self) -> ResponseCode {
        match self {
            Self::Target => ResponseCode::BAD_TARGET,
            Self::Lun { .. } => ResponseCode::INCORRECT_LUN,
        }
    }
}

impl LunAddress {
    /// The well-known logical unit REPORT LUNS of the whole device.
    pub const REPORT_LUNS: Self = Self([0xc1, 0x01, 0, 0, 0, 0, 0, 0]);

    /// The address of a logical unit, with the number as REPORT LUNS gives it: that is how drivers expect it in events.
    pub fn of(address: Address) -> Self {
        let [high, low, ..] = encode_lun(address.lun);
        Self([1, address.target, high, low, 0, 0, 0, 0])
    }

    /// Whom it names: 01h, the target, then a single-level LUN by peripheral or flat space addressing or the well-known
    /// one, then zeros.
    ///
    /// # Errors
    /// [`InvalidLun`].
    #[inline]
    pub fn parse(self) -> Result<Destination, InvalidLun> {
        let [kind, target, high, low, rest @ ..] = self.0;
        if kind != 1 {
            return if self == Self::REPORT_LUNS { Ok(Destination::ReportLuns) } else { Err(InvalidLun::Target) };
        }
        let lun = match high {
            // Peripheral addressing with a bus other than 0 means a further level, which there is not.
            0 => u16::from(low),
            _ if high & 0xc0 == FLAT_SPACE => u16::from_be_bytes([high & !FLAT_SPACE, low]),
            _ if [high, low] == WELL_KNOWN_LUN.to_be_bytes() => WELL_KNOWN_LUN,
            _ => return Err(InvalidLun::Lun { target }),
        };
        if rest != [0; 4] {
            return Err(InvalidLun::Lun { target });
        }
        Ok(Destination::Unit(Address { target, lun }))
    }
}

/// The entry of REPORT LUNS for a logical unit: peripheral addressing below 256, flat space above (SAM-5, 4.7).
///
/// # Panics
/// If `lun` is above [`LUN_MAX`]: the configuration does not allow such a one.
pub fn encode_lun(lun: u16) -> [u8; 8] {
    assert!(lun <= LUN_MAX, "a logical unit number has 14 bits");
    let [high, low] = lun.to_be_bytes();
    let high = if high == 0 { 0 } else { FLAT_SPACE | high };
    [high, low, 0, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(target: u8, lun: u16) -> Result<Destination, InvalidLun> {
        Ok(Destination::Unit(Address { target, lun }))
    }

    #[test]
    fn both_forms_of_a_single_level_are_read() {
        for (bytes, expected) in [
            ([1, 0, 0, 0, 0, 0, 0, 0], unit(0, 0)),
            ([1, 63, 0, 0, 0, 0, 0, 0], unit(63, 0)),
            ([1, 255, 0, 255, 0, 0, 0, 0], unit(255, 255)),
            ([1, 7, 0x40, 0, 0, 0, 0, 0], unit(7, 0)),
            ([1, 7, 0x40, 5, 0, 0, 0, 0], unit(7, 5)),
            ([1, 7, 0x41, 2, 0, 0, 0, 0], unit(7, 258)),
            ([1, 7, 0x7f, 0xff, 0, 0, 0, 0], unit(7, LUN_MAX)),
            ([1, 7, 0xc1, 0x01, 0, 0, 0, 0], unit(7, WELL_KNOWN_LUN)),
            ([0xc1, 1, 0, 0, 0, 0, 0, 0], Ok(Destination::ReportLuns)),
        ] {
            assert_eq!(LunAddress(bytes).parse(), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn what_names_nothing_is_told_apart() {
        let lun = Err(InvalidLun::Lun { target: 3 });
        for (bytes, expected) in [
            ([0, 3, 0, 0, 0, 0, 0, 0], Err(InvalidLun::Target)),
            ([2, 3, 0, 0, 0, 0, 0, 0], Err(InvalidLun::Target)),
            ([0xc1, 2, 0, 0, 0, 0, 0, 0], Err(InvalidLun::Target)),
            ([0xc1, 1, 0, 0, 0, 0, 0, 1], Err(InvalidLun::Target)),
            ([1, 3, 1, 0, 0, 0, 0, 0], lun),
            ([1, 3, 0x80, 0, 0, 0, 0, 0], lun),
            ([1, 3, 0xc1, 0, 0, 0, 0, 0], lun),
            ([1, 3, 0xc1, 2, 0, 0, 0, 0], lun),
            ([1, 3, 0xc1, 1, 0, 0, 0, 1], lun),
            ([1, 3, 0, 0, 1, 0, 0, 0], lun),
            ([1, 3, 0x40, 0, 0, 0, 0, 1], lun),
        ] {
            assert_eq!(LunAddress(bytes).parse(), expected, "{bytes:02x?}");
        }
        assert_eq!(InvalidLun::Target.response().0, 3);
        assert_eq!(InvalidLun::Lun { target: 3 }.response().0, 12);
    }

    #[test]
    fn report_luns_entries_change_form_at_256() {
        assert_eq!(encode_lun(0), [0; 8]);
        assert_eq!(encode_lun(255), [0, 255, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode_lun(256), [0x41, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(encode_lun(LUN_MAX), [0x7f, 0xff, 0, 0, 0, 0, 0, 0]);
        assert_eq!(LunAddress::of(Address { target: 9, lun: 1 }).0, [1, 9, 0, 1, 0, 0, 0, 0]);
        assert_eq!(LunAddress::of(Address { target: 9, lun: 300 }).0, [1, 9, 0x41, 0x2c, 0, 0, 0, 0]);
    }
}

//! What a logical unit keeps over a loss of power beside its reservations, as bytes: saved mode pages (SPC-5, mode parameters)
//! and what hosts call it (SPC-5, device identifying information).
//!
//! All numbers are big-endian: a magic number, a version, the saved [`ModeState`], for each kind of [`Identifying`] its length and
//! its bytes, and a checksum over all of that. What does not add up is not believed.

use super::hash::fnv1a_64;
use super::identifying::{Identifying, NAME_LEN_MAX, Names, TEXT_LEN_MAX};
use super::mode::ModeState;

const MAGIC: &[u8; 8] = b"ANNULLU\0";
const VERSION: u32 = 1;
/// Magic number, version and mode pages.
const HEADER_LEN: usize = 8 + 4 + 8;
/// The length of a name.
const LEN_LEN: usize = 2;
const CHECKSUM_LEN: usize = 8;

/// What one unit keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptUnit {
    /// Mode pages, as they are in force after a start.
    pub mode: ModeState,
    /// What hosts call it.
    pub names: Names,
}

impl KeptUnit {
    /// Most bytes of an image.
    pub const IMAGE_LEN_MAX: usize = HEADER_LEN + LEN_LEN + NAME_LEN_MAX + LEN_LEN + TEXT_LEN_MAX + CHECKSUM_LEN;

    /// What is to outlive a loss of power.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut image = [&MAGIC[..], &VERSION.to_be_bytes(), &self.mode.to_bytes()].concat();
        for kind in Identifying::ALL {
            let name = self.names.of(kind);
            image.extend((name.len() as u16).to_be_bytes());
            image.extend(name);
        }
        let checksum = fnv1a_64(image.iter().copied());
        image.extend(checksum.to_be_bytes());
        image
    }

    /// From the bytes of [`to_bytes`](Self::to_bytes); none if they are not such bytes.
    pub fn from_bytes(image: &[u8]) -> Option<Self> {
        let (body, checksum) = image.split_last_chunk::<CHECKSUM_LEN>()?;
        let rest = body.strip_prefix(MAGIC)?.strip_prefix(&VERSION.to_be_bytes())?;
        if u64::from_be_bytes(*checksum) != fnv1a_64(body.iter().copied()) {
            return None;
        }
        let (mode, mut rest) = rest.split_first_chunk()?;
        let mode = ModeState::from_bytes(*mode)?;
        let mut names = Names::default();
        for kind in Identifying::ALL {
            let (len, behind) = rest.split_first_chunk::<LEN_LEN>()?;
            let (name, behind) = behind.split_at_checked(u16::from_be_bytes(*len).into())?;
            kind.check(name).ok().filter(|()| name.len() <= kind.len_max())?;
            names.keep(kind, name);
            rest = behind;
        }
        rest.is_empty().then_some(Self { mode, names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::ModeValues;

    fn kept() -> KeptUnit {
        let mode = ModeState { current: ModeValues::D_SENSE, saved: ModeValues::D_SENSE };
        let mut kept = KeptUnit { mode, ..KeptUnit::default() };
        kept.names.keep(Identifying::Name, b"vm7");
        kept.names.keep(Identifying::Text, b"boot\0");
        kept
    }

    #[test]
    fn the_image_is_as_it_is_described() {
        let image = kept().to_bytes();
        let expected = b"ANNULLU\0\0\0\0\x01\x01\0\0\0\0\0\0\x02\0\x03vm7\0\x05boot\0";
        assert_eq!((&image[..expected.len()], image.len()), (&expected[..], expected.len() + 8));
        assert_eq!(KeptUnit::from_bytes(&image), Some(kept()));
    }

    #[test]
    fn of_the_mode_pages_those_in_force_are_not_kept() {
        let mode = ModeState { current: ModeValues::SWP, saved: ModeValues::D_SENSE };
        let kept = KeptUnit { mode, ..KeptUnit::default() };
        assert_eq!(KeptUnit::from_bytes(&kept.to_bytes()).map(|kept| kept.mode), Some(mode.restored()));
    }

    #[test]
    fn what_does_not_add_up_is_not_believed() {
        let image = kept().to_bytes();
        for byte in 0..image.len() {
            for bit in 0..8 {
                let mut changed = image.clone();
                changed[byte] ^= 1 << bit;
                assert_eq!(KeptUnit::from_bytes(&changed), None, "byte {byte}, bit {bit}");
            }
            assert_eq!(KeptUnit::from_bytes(&image[..byte]), None, "{byte} bytes");
        }
        let with_sum = |mut body: Vec<u8>| {
            body.extend(fnv1a_64(body.iter().copied()).to_be_bytes());
            KeptUnit::from_bytes(&body)
        };
        assert_eq!(with_sum([&image[..19], &[0xff, 0, 0, 0, 0]].concat()), None, "a state that there is not");
        assert_eq!(with_sum([&image[..20], &[2, 1], &[7; 513], &[0, 0]].concat()), None, "too long a name");
        assert_eq!(with_sum([&image[..20], &[0, 0, 0, 1, b'x']].concat()), None, "a text without its end");
        assert_eq!(with_sum([&image[..20], &[0; 5]].concat()), None, "more than there is to tell");
        assert!(with_sum([&image[..20], &[0; 4]].concat()).is_some());
    }

    #[test]
    fn the_longest_image() {
        let mut kept = KeptUnit::default();
        kept.names.keep(Identifying::Name, &[7; NAME_LEN_MAX]);
        kept.names.keep(Identifying::Text, &[&[b'x'; TEXT_LEN_MAX - 1][..], &[0]].concat());
        assert_eq!(kept.to_bytes().len(), KeptUnit::IMAGE_LEN_MAX);
        assert_eq!(KeptUnit::from_bytes(&kept.to_bytes()), Some(kept));
    }
}

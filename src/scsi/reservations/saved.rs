//! A registry as bytes that outlive a loss of power (SPC-5, preserving persistent reservations).
//!
//! All numbers are big-endian: a magic number, a version, the count of registrations, the reservation, the registrations,
//! and a checksum over all of that. What does not add up is not believed.

use super::nexus::{Nexus, SasAddress};
use super::{REGISTRATIONS_MAX, Registration, Registry, Reservation, ReservationType};
use crate::scsi::hash::fnv1a_64;

const MAGIC: &[u8; 8] = b"ANNULPR\0";
const VERSION: u32 = 1;
/// Magic number, version, count, type of the reservation and its holder.
const HEADER_LEN: usize = 8 + 4 + 4 + 2 + NEXUS_LEN;
const NEXUS_LEN: usize = 8 + 2;
/// Nexus, key, ALL_TG_PT.
const REGISTRATION_LEN: usize = NEXUS_LEN + 8 + 2;
const CHECKSUM_LEN: usize = 8;

/// The bytes are not those of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadImage {
    /// Another length than its contents say, or than any registry has.
    #[error("wrong length")]
    Length,
    /// Something else, or a later version.
    #[error("not a registry of persistent reservations that this version knows")]
    Kind,
    /// Changed since it was written.
    #[error("checksum does not match")]
    Checksum,
    /// Contradicts itself.
    #[error("a field has a value that it cannot have")]
    Field,
}

impl Registry {
    /// Most bytes of an image.
    pub const IMAGE_LEN_MAX: usize = HEADER_LEN + REGISTRATIONS_MAX * REGISTRATION_LEN + CHECKSUM_LEN;

    /// What is to outlive a loss of power; `None` if nothing is, so that an image of former days must go.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        if !self.aptpl || self.registrations.is_empty() {
            return None;
        }
        let mut image = Vec::with_capacity(Self::IMAGE_LEN_MAX);
        image.extend(MAGIC);
        image.extend(VERSION.to_be_bytes());
        image.extend((self.registrations.len() as u32).to_be_bytes());
        let none = Nexus { initiator: SasAddress(0), port: 0 };
        let (kind, holder) = self.reservation.map_or((0, none), |held| (held.kind as u16, held.holder));
        image.extend(kind.to_be_bytes());
        put_nexus(&mut image, holder);
        for registration in &self.registrations {
            put_nexus(&mut image, registration.nexus);
            image.extend(registration.key.to_be_bytes());
            image.extend(u16::from(registration.all_ports).to_be_bytes());
        }
        let checksum = fnv1a_64(image.iter().copied());
        image.extend(checksum.to_be_bytes());
        Some(image)
    }

    /// The registry that [`Registry::to_bytes`] made an image of.
    ///
    /// # Errors
    /// [`BadImage`]; see [`Registry::lost`].
    pub fn from_bytes(image: &[u8]) -> Result<Self, BadImage> {
        if image.len() < HEADER_LEN + CHECKSUM_LEN || image.len() > Self::IMAGE_LEN_MAX {
            return Err(BadImage::Length);
        }
        let (body, sum) = image.split_at(image.len() - CHECKSUM_LEN);
        if &body[..8] != MAGIC || number(body, 8, 4) != u64::from(VERSION) {
            return Err(BadImage::Kind);
        }
        if fnv1a_64(body.iter().copied()) != number(sum, 0, 8) {
            return Err(BadImage::Checksum);
        }
        if (body.len() - HEADER_LEN) as u64 != number(body, 12, 4) * REGISTRATION_LEN as u64 {
            return Err(BadImage::Length);
        }
        let registrations = body[HEADER_LEN..].chunks_exact(REGISTRATION_LEN).map(registration).collect();
        let reservation = match number(body, 16, 2) {
            0 => None,
            code => {
                let kind = u8::try_from(code).ok().and_then(ReservationType::from_code).ok_or(BadImage::Field)?;
                Some(Reservation { kind, holder: nexus(body, 18) })
            }
        };
        let registry = Self { registrations, reservation, aptpl: true, ..Self::default() };
        if registry.is_sound() { Ok(registry) } else { Err(BadImage::Field) }
    }

    /// A registry whose image was there and could not be read: who held what is not known any more, so that nothing that
    /// a reservation could forbid is done until REPLACE LOST RESERVATION says it again.
    pub fn lost() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// Whether keys are not 0, no nexus is there twice, and the holder is registered.
    fn is_sound(&self) -> bool {
        let holder_is_there = self.reservation.is_none_or(|held| self.find(held.holder).is_some());
        let all = &self.registrations;
        let is_new = |at: usize| all[..at].iter().all(|other| other.nexus != all[at].nexus);
        holder_is_there && all.iter().all(|registration| registration.key != 0) && (0..all.len()).all(is_new)
    }
}

fn put_nexus(image: &mut Vec<u8>, nexus: Nexus) {
    image.extend(nexus.initiator.0.to_be_bytes());
    image.extend(nexus.port.to_be_bytes());
}

fn number(bytes: &[u8], at: usize, len: usize) -> u64 {
    bytes[at..at + len].iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn nexus(bytes: &[u8], at: usize) -> Nexus {
    Nexus { initiator: SasAddress(number(bytes, at, 8)), port: number(bytes, at + 8, 2) as u16 }
}

fn registration(bytes: &[u8]) -> Registration {
    let key = number(bytes, NEXUS_LEN, 8);
    Registration { nexus: nexus(bytes, 0), key, all_ports: number(bytes, NEXUS_LEN + 8, 2) != 0 }
}

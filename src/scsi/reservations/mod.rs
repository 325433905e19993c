//! Reservations: who may use a disk that several initiators share (SPC-5, reservations).
//!
//! A [`Registry`] is all that one disk knows of them, whatever the number of ports that show it: the registered nexuses,
//! the persistent reservation, the reservation of RESERVE (6) and (10). It is a plain value without locks or I/O. The
//! caller keeps one for each disk, lets one command at a time change it, carries out the [`Changes`] that come back, and
//! keeps its bytes ([`Registry::to_bytes`]) where they outlive a loss of power if the registry asks for that.
//!
//! Reading and writing never come here: for each nexus the caller keeps the [`Rights`] that [`Registry::rights`] gives.

mod nexus;
mod parameters;
mod persistent;
mod preempt;
mod report;
mod rights;
mod saved;
#[cfg(test)]
mod tests;
mod unit;

pub use nexus::{Nexus, SasAddress};
pub use parameters::{OutAction, OutParameters};
pub use rights::{Access, Rights};
pub use saved::BadImage;

use super::attention::Attention;
use super::sense::Sense;

/// Registrations that one disk keeps at most.
pub const REGISTRATIONS_MAX: usize = 256;

/// Kind of a persistent reservation (SPC-5, persistent reservation type codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ReservationType {
    /// Others may read.
    WriteExclusive = 1,
    /// Others may do neither.
    ExclusiveAccess = 3,
    /// Who is not registered may read.
    WriteExclusiveRegistrantsOnly = 5,
    /// Who is not registered may do neither.
    ExclusiveAccessRegistrantsOnly = 6,
    /// The same as for registrants only, and every registrant holds the reservation.
    WriteExclusiveAllRegistrants = 7,
    /// The same as for registrants only, and every registrant holds the reservation.
    ExclusiveAccessAllRegistrants = 8,
}

impl ReservationType {
    /// The type with this code, if there is one.
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::WriteExclusive,
            3 => Self::ExclusiveAccess,
            5 => Self::WriteExclusiveRegistrantsOnly,
            6 => Self::ExclusiveAccessRegistrantsOnly,
            7 => Self::WriteExclusiveAllRegistrants,
            8 => Self::ExclusiveAccessAllRegistrants,
            _ => return None,
        })
    }

    const fn is_all_registrants(self) -> bool {
        matches!(self, Self::WriteExclusiveAllRegistrants | Self::ExclusiveAccessAllRegistrants)
    }

    /// Whether all registrants may use the disk.
    const fn admits_registrants(self) -> bool {
        !matches!(self, Self::WriteExclusive | Self::ExclusiveAccess)
    }

    /// Whether everyone may read.
    const fn admits_readers(self) -> bool {
        matches!(self, Self::WriteExclusive | Self::WriteExclusiveRegistrantsOnly | Self::WriteExclusiveAllRegistrants)
    }
}

/// A nexus that has registered a reservation key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Registration {
    nexus: Nexus,
    /// Never 0.
    key: u64,
    /// It was made for all ports at once.
    all_ports: bool,
}

/// The persistent reservation. Its scope is always the logical unit: there is no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reservation {
    kind: ReservationType,
    /// Who made it; with a type of all registrants, one of its holders.
    holder: Nexus,
}

/// All reservations of one disk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registry {
    /// In the order in which they were made.
    registrations: Vec<Registration>,
    reservation: Option<Reservation>,
    /// Counts what changes registrations (SPC-5, PRGENERATION). Not kept over a loss of power.
    generation: u32,
    /// What is here outlives a loss of power, as the last REGISTER wished.
    aptpl: bool,
    /// What should have outlived a loss of power was not readable.
    lost: bool,
    /// Holder of the reservation that RESERVE (6) and (10) make.
    unit: Option<Nexus>,
}

/// What a command that changed reservations brings about: the caller does it before it answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Unit attentions to raise.
    pub attentions: Vec<(Nexus, Attention)>,
    /// Nexuses whose commands are to be aborted (PREEMPT AND ABORT).
    pub aborts: Vec<Nexus>,
    /// The registry is to be kept over a loss of power, or no longer is: write its bytes, or remove them.
    pub save: bool,
}

/// Why a command about reservations was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// RESERVATION CONFLICT.
    Conflict,
    /// CHECK CONDITION.
    Check(Sense),
}

impl From<Sense> for Refusal {
    fn from(sense: Sense) -> Self {
        Self::Check(sense)
    }
}

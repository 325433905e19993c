//! What a nexus may do while a disk is reserved (SPC-5 and SBC-4, commands that are allowed in the presence of
//! reservations).

use super::Registry;
use super::nexus::Nexus;

/// What a command does to a disk, as far as reservations care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Allowed whoever reserved the disk: INQUIRY, REPORT LUNS, TEST UNIT READY, and what else tells about the target.
    Always,
    /// Takes data from the medium: allowed beside a reservation that excludes writes only.
    Read,
    /// Changes the medium or how the disk works.
    Write,
    /// PERSISTENT RESERVE IN and OUT: in the way of RESERVE (6) and (10) alone. OUT looks at the keys itself.
    Persistent,
    /// RESERVE and RELEASE (6) and (10), which look at both kinds of reservation themselves.
    Unit,
}

/// What one nexus may do: small enough to be looked at for each command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Rights {
    /// Everything.
    #[default]
    All = 0,
    /// Whatever does not change the medium.
    Read = 1,
    /// Nothing that touches the medium.
    None = 2,
    /// Nothing but what is always allowed: RESERVE (6) or (10) of another nexus.
    Reserved = 3,
    /// Reservations that should have outlived a loss of power are lost, and somebody must say what holds instead.
    Lost = 4,
}

impl Rights {
    /// The value of a byte that was made with `as u8`.
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::All,
            1 => Self::Read,
            2 => Self::None,
            3 => Self::Reserved,
            _ => Self::Lost,
        }
    }

    /// Whether a command is in conflict with the reservation of another nexus.
    #[inline]
    pub const fn conflicts(self, access: Access) -> bool {
        let is_allowed = matches!(
            (self, access),
            (Self::All, _)
                | (_, Access::Always | Access::Unit)
                | (Self::Read, Access::Read)
                | (Self::Read | Self::None | Self::Lost, Access::Persistent)
        );
        !is_allowed
    }
}

impl Registry {
    /// What `nexus` may do now.
    pub fn rights(&self, nexus: Nexus) -> Rights {
        if self.lost {
            return Rights::Lost;
        }
        if let Some(holder) = self.unit {
            return if holder == nexus { Rights::All } else { Rights::Reserved };
        }
        let Some(reservation) = self.reservation else { return Rights::All };
        let may_all =
            reservation.holder == nexus || reservation.kind.admits_registrants() && self.find(nexus).is_some();
        match (may_all, reservation.kind.admits_readers()) {
            (true, _) => Rights::All,
            (false, true) => Rights::Read,
            (false, false) => Rights::None,
        }
    }
}

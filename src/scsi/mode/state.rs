//! What MODE SELECT can change, as a value that the caller keeps for each logical unit and hands in with each command.
//!
//! The state is as small as what can be changed, and all zeros is the state that a disk starts with, so that it fits an
//! atomic of 64 bits and a command pays one load for it. The ports of a disk share one (mode page policy "shared"): what one
//! guest sets holds for all that share its disk.

/// Values of the mode pages that differ from the defaults: a set of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ModeValues(u32);

impl ModeValues {
    /// The defaults.
    pub const DEFAULT: Self = Self(0);
    /// WCE is 0 where the device has a write cache: a write ends when its data are on stable storage (SBC-4, caching
    /// mode page).
    pub const WRITE_THROUGH: Self = Self(1 << 0);
    /// D_SENSE: sense data come in descriptor format (SPC-5, control mode page).
    pub const D_SENSE: Self = Self(1 << 1);
    /// SWP: writes are refused (SPC-5, control mode page).
    pub const SWP: Self = Self(1 << 2);

    /// TAS: a command that another initiator ends does so with TASK ABORTED (SPC-5, control mode page).
    pub const TAS: Self = Self(1 << 3);

    /// LBPERE: soft thresholds are told of (SBC-4, read-write error recovery mode page).
    pub const LBPERE: Self = Self(1 << 4);
    /// ENABLED of the threshold of available space (SBC-4, logical block provisioning mode page).
    pub const THRESHOLD: Self = Self(1 << 5);

    /// All that can be changed.
    pub(super) const ALL: Self = Self(0b11_1111);

    /// Whether all of `flags` are set.
    #[inline]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// With `flags` set or cleared.
    pub const fn with(self, flags: Self, set: bool) -> Self {
        if set { Self(self.0 | flags.0) } else { Self(self.0 & !flags.0) }
    }

    /// Both.
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Each flag of it alone.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        (0..u32::BITS).map(|bit| Self(1 << bit)).filter(move |flag| self.has(*flag))
    }
}

/// The mode pages' values in force, and those that are kept for the next start or reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct ModeState {
    /// In force.
    pub current: ModeValues,
    /// Saved by MODE SELECT with SP.
    pub saved: ModeValues,
}

/// What one MODE SELECT changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ModeChange {
    /// The flags that the command's pages hold.
    pub(super) mask: ModeValues,
    /// Their new values.
    pub(super) values: ModeValues,
    /// SP: what is in force afterwards is saved.
    pub(super) save: bool,
}

impl ModeState {
    /// First byte of a saved state: what the other bytes mean.
    const LAYOUT: u8 = 1;

    /// As 64 bits, for an atomic.
    pub const fn to_bits(self) -> u64 {
        (self.saved.0 as u64) << 32 | self.current.0 as u64
    }

    /// From the bits that [`to_bits`](Self::to_bits) gave; those that mean nothing are dropped.
    pub const fn from_bits(bits: u64) -> Self {
        let known = ModeValues::ALL.0;
        Self { current: ModeValues(bits as u32 & known), saved: ModeValues((bits >> 32) as u32 & known) }
    }

    /// What a file that outlives the process has to hold.
    pub const fn to_bytes(self) -> [u8; 8] {
        let [a, b, c, d] = self.saved.0.to_be_bytes();
        [Self::LAYOUT, 0, 0, 0, a, b, c, d]
    }

    /// The state after a start, from the bytes of [`to_bytes`](Self::to_bytes); none if they are not such bytes.
    pub fn from_bytes(bytes: [u8; 8]) -> Option<Self> {
        let [layout, 0, 0, 0, flags @ ..] = bytes else { return None };
        let saved = ModeValues(u32::from_be_bytes(flags));
        (layout == Self::LAYOUT && ModeValues::ALL.has(saved)).then_some(Self { current: saved, saved })
    }

    /// After a reset or a start: what was saved is in force.
    pub const fn restored(self) -> Self {
        Self { current: self.saved, ..self }
    }

    /// After a MODE SELECT.
    pub const fn changed_by(self, change: ModeChange) -> Self {
        let current = self.current.with(change.mask, false).and(change.values);
        Self { current, saved: if change.save { current } else { self.saved } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOME: ModeState = ModeState { current: ModeValues::SWP, saved: ModeValues::D_SENSE };

    #[test]
    fn fits_an_atomic_and_a_file() {
        assert_eq!(ModeState::default().to_bits(), 0);
        assert_eq!(SOME.to_bits(), 2 << 32 | 4);
        assert_eq!(ModeState::from_bits(SOME.to_bits()), SOME);
        assert_eq!(ModeState::from_bits(u64::MAX).current, ModeValues::ALL);
        assert_eq!(SOME.to_bytes(), [1, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(ModeState::from_bytes(SOME.to_bytes()), Some(SOME.restored()));
        for strange in [[0; 8], [2, 0, 0, 0, 0, 0, 0, 2], [1, 0, 0, 1, 0, 0, 0, 2], [1, 0, 0, 0, 0, 0, 0, 64]] {
            assert_eq!(ModeState::from_bytes(strange), None);
        }
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let mask = ModeValues::D_SENSE.and(ModeValues::SWP);
        let change = ModeChange { mask, values: ModeValues::D_SENSE, save: false };
        let before = ModeState { current: ModeValues::WRITE_THROUGH.and(ModeValues::SWP), saved: ModeValues::DEFAULT };
        let after = before.changed_by(change);
        assert_eq!(after.current, ModeValues::WRITE_THROUGH.and(ModeValues::D_SENSE));
        assert_eq!(after.saved, ModeValues::DEFAULT);
        assert_eq!(after.restored().current, ModeValues::DEFAULT);
        let saved = before.changed_by(ModeChange { save: true, ..change });
        assert_eq!(saved.restored().current, after.current);
    }

    #[test]
    fn each_flag_is_given_once() {
        assert_eq!(ModeValues::ALL.each().fold(ModeValues::DEFAULT, ModeValues::and), ModeValues::ALL);
        assert_eq!(ModeValues::ALL.each().count(), 6);
    }
}

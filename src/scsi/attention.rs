//! Unit attention: what happened to a logical unit that an initiator has not been told yet (SAM-5, unit attention
//! conditions).
//!
//! A [`Attentions`] belongs to one initiator and one logical unit. It is a set, so it is bounded by nature: the same
//! thing happening twice is reported once, as SAM-5 allows.

use super::sense::Sense;
use super::spec::{Asc, SenseKey};

/// Something to report, in order of precedence: the first is reported first (SAM-5, unit attention conditions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Attention {
    /// The target has started: POWER ON OCCURRED.
    PowerOn,
    /// The host adapter was reset: SCSI BUS RESET OCCURRED.
    HardReset,
    /// LOGICAL UNIT RESET: BUS DEVICE RESET FUNCTION OCCURRED.
    LogicalUnitReset,
    /// I_T NEXUS RESET: I_T NEXUS LOSS OCCURRED.
    NexusLoss,
    /// COMMANDS CLEARED BY ANOTHER INITIATOR.
    CommandsCleared,
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED: another nexus has loaded the medium.
    MediumChanged,
    /// MODE PARAMETERS CHANGED, by another nexus.
    ModeParametersChanged,
    /// RESERVATIONS PREEMPTED.
    ReservationsPreempted,
    /// RESERVATIONS RELEASED.
    ReservationsReleased,
    /// REGISTRATIONS PREEMPTED.
    RegistrationsPreempted,
    /// ASYMMETRIC ACCESS STATE CHANGED.
    AccessStateChanged,
    /// REPORTED LUNS DATA HAS CHANGED.
    ReportedLunsChanged,
    /// CAPACITY DATA HAS CHANGED.
    CapacityChanged,
    /// TIMESTAMP CHANGED, by another nexus.
    TimestampChanged,
    /// THIN PROVISIONING SOFT THRESHOLD REACHED.
    SoftThresholdReached,
    /// DEVICE IDENTIFIER CHANGED: another nexus calls the disk otherwise.
    IdentifierChanged,
}

/// What a pending unit attention does to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionRule {
    /// The command ends with the attention as its sense data and does nothing else.
    Report,
    /// The command is processed and the attention stays.
    Ignore,
    /// The command (REQUEST SENSE) returns the attention as its data: hand it over in
    /// [`Condition::attention`](super::Condition::attention).
    AsData,
}

impl Attention {
    const ALL: [Self; 16] = [
        Self::PowerOn,
        Self::HardReset,
        Self::LogicalUnitReset,
        Self::NexusLoss,
        Self::CommandsCleared,
        Self::MediumChanged,
        Self::ModeParametersChanged,
        Self::ReservationsPreempted,
        Self::ReservationsReleased,
        Self::RegistrationsPreempted,
        Self::AccessStateChanged,
        Self::ReportedLunsChanged,
        Self::CapacityChanged,
        Self::TimestampChanged,
        Self::SoftThresholdReached,
        Self::IdentifierChanged,
    ];

    /// Those that say "you start anew", of which one is enough.
    const RESETS: u16 =
        Self::PowerOn.bit() | Self::HardReset.bit() | Self::LogicalUnitReset.bit() | Self::NexusLoss.bit();

    const fn bit(self) -> u16 {
        1 << self as u8
    }

    /// Additional sense code.
    pub const fn asc(self) -> Asc {
        match self {
            Self::PowerOn => Asc::POWER_ON_OCCURRED,
            Self::HardReset => Asc::SCSI_BUS_RESET_OCCURRED,
            Self::LogicalUnitReset => Asc::BUS_DEVICE_RESET_OCCURRED,
            Self::NexusLoss => Asc::NEXUS_LOSS_OCCURRED,
            Self::CommandsCleared => Asc::COMMANDS_CLEARED,
            Self::MediumChanged => Asc::MEDIUM_MAY_HAVE_CHANGED,
            Self::ModeParametersChanged => Asc::MODE_PARAMETERS_CHANGED,
            Self::ReservationsPreempted => Asc::RESERVATIONS_PREEMPTED,
            Self::ReservationsReleased => Asc::RESERVATIONS_RELEASED,
            Self::RegistrationsPreempted => Asc::REGISTRATIONS_PREEMPTED,
            Self::AccessStateChanged => Asc::ASYMMETRIC_ACCESS_STATE_CHANGED,
            Self::ReportedLunsChanged => Asc::REPORTED_LUNS_CHANGED,
            Self::CapacityChanged => Asc::CAPACITY_DATA_CHANGED,
            Self::TimestampChanged => Asc::TIMESTAMP_CHANGED,
            Self::SoftThresholdReached => Asc::SOFT_THRESHOLD_REACHED,
            Self::IdentifierChanged => Asc::DEVICE_IDENTIFIER_CHANGED,
        }
    }

    /// Whether it says "you start anew".
    pub const fn is_new_start(self) -> bool {
        self.bit() & Self::RESETS != 0
    }

    /// Whether the nexus, or the port that it was with, began anew.
    pub const fn ends_nexus(self) -> bool {
        matches!(self, Self::PowerOn | Self::HardReset | Self::NexusLoss)
    }

    /// Whether the port began anew, and with it whatever of a unit nobody else works with.
    pub const fn is_port_start(self) -> bool {
        matches!(self, Self::PowerOn | Self::HardReset)
    }

    /// Sense data that reports it.
    pub const fn sense(self) -> Sense {
        Sense::new(SenseKey::UNIT_ATTENTION, self.asc())
    }
}

/// The pending unit attentions of one initiator at one logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attentions(u16);

impl Attentions {
    /// None pending.
    pub const NONE: Self = Self(0);

    /// Whether none is pending.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one.
    pub const fn raise(&mut self, attention: Attention) {
        self.0 |= attention.bit();
    }

    /// Removes one without reporting it, as REPORT LUNS does with REPORTED LUNS DATA HAS CHANGED (SPC-5).
    pub const fn clear(&mut self, attention: Attention) {
        self.0 &= !attention.bit();
    }

    /// Takes the one to report next if that is a reset, or the loss of the nexus: those go before conflicts with reservations
    /// (SAM-5, status precedence).
    pub fn take_reset(&mut self) -> Option<Attention> {
        if self.0 & Attention::RESETS == 0 { None } else { self.take() }
    }

    /// Takes the one to report next. A reset that is reported takes the lesser resets with it (SAM-5, unit attention
    /// conditions): to the initiator they are one event.
    pub fn take(&mut self) -> Option<Attention> {
        let first = Attention::ALL.into_iter().find(|attention| self.0 & attention.bit() != 0)?;
        self.0 &= !first.bit();
        if first.bit() & Attention::RESETS != 0 {
            self.0 &= !Attention::RESETS;
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_in_order_of_precedence() {
        let mut pending = Attentions::NONE;
        for attention in Attention::ALL.into_iter().rev() {
            pending.raise(attention);
        }
        let mut taken = Vec::new();
        while let Some(attention) = pending.take() {
            taken.push(attention);
        }
        let mut expected = vec![Attention::PowerOn];
        expected.extend(&Attention::ALL[4..]);
        assert_eq!(taken, expected, "one reset stands for all, the others follow");
        assert!(pending.is_empty());
    }

    #[test]
    fn twice_is_reported_once() {
        let mut pending = Attentions::default();
        assert!(pending.is_empty());
        pending.raise(Attention::CapacityChanged);
        pending.raise(Attention::CapacityChanged);
        assert!(!pending.is_empty());
        assert_eq!(pending.take(), Some(Attention::CapacityChanged));
        assert_eq!(pending.take(), None);
    }

    #[test]
    fn clear_removes_only_its_own() {
        let mut pending = Attentions::NONE;
        pending.raise(Attention::ReportedLunsChanged);
        pending.raise(Attention::LogicalUnitReset);
        pending.clear(Attention::ReportedLunsChanged);
        assert_eq!(pending.take(), Some(Attention::LogicalUnitReset));
        assert!(pending.is_empty());
    }

    #[test]
    fn sense_of_each() {
        let codes = Attention::ALL.map(|attention| (attention.sense().key.0, attention.sense().asc.0));
        let resets = [0x2901, 0x2902, 0x2903, 0x2907, 0x2f00, 0x2800, 0x2a01];
        let others = [0x2a03, 0x2a04, 0x2a05, 0x2a06, 0x3f0e, 0x2a09, 0x2a10, 0x3807, 0x3f05];
        let expected: Vec<_> = [&resets[..], &others].concat().into_iter().map(|asc| (6, asc)).collect();
        assert_eq!(codes[..], expected);
    }
}

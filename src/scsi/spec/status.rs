//! How a command ended (SAM-5).

/// Status code (SAM-5, status codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub u8);

impl Status {
    /// The command succeeded.
    pub const GOOD: Self = Self(0x00);
    /// Sense data says what happened.
    pub const CHECK_CONDITION: Self = Self(0x02);
    /// The logical unit cannot take the command now; it may be sent again.
    pub const BUSY: Self = Self(0x08);
    /// A reservation of another nexus is in the way.
    pub const RESERVATION_CONFLICT: Self = Self(0x18);
    /// The task set has no room for the command.
    pub const TASK_SET_FULL: Self = Self(0x28);
    /// An auto contingent allegiance exists.
    pub const ACA_ACTIVE: Self = Self(0x30);
    /// Another nexus aborted the command, and the control mode page asks to say so.
    pub const TASK_ABORTED: Self = Self(0x40);
}

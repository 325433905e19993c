//! Service actions of commands that work on a whole medium, or copy for others (SPC-5, SBC-4).

/// Service action of THIRD-PARTY COPY OUT that is EXTENDED COPY (LID1) (SPC-5).
pub const SERVICE_ACTION_EXTENDED_COPY_LID1: u8 = 0x00;
/// Service action of THIRD-PARTY COPY IN that is RECEIVE COPY OPERATING PARAMETERS (SPC-5).
pub const SERVICE_ACTION_OPERATING_PARAMETERS: u8 = 0x03;

/// Service actions of SANITIZE (SBC-4).
pub mod sanitize {
    /// OVERWRITE.
    pub const OVERWRITE: u8 = 0x01;
    /// BLOCK ERASE.
    pub const BLOCK_ERASE: u8 = 0x02;
    /// EXIT FAILURE MODE.
    pub const EXIT_FAILURE_MODE: u8 = 0x1f;
}

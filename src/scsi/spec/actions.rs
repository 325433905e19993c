//! Service actions of commands that work on a whole medium, or copy for others (SPC-5, SBC-4).

/// Service actions of THIRD-PARTY COPY OUT (SPC-5, SBC-4).
pub mod copy_out {
    /// EXTENDED COPY (LID1).
    pub const EXTENDED_COPY_LID1: u8 = 0x00;
    /// EXTENDED COPY (LID4).
    pub const EXTENDED_COPY_LID4: u8 = 0x01;
    /// POPULATE TOKEN.
    pub const POPULATE_TOKEN: u8 = 0x10;
    /// WRITE USING TOKEN.
    pub const WRITE_USING_TOKEN: u8 = 0x11;
    /// COPY OPERATION ABORT.
    pub const COPY_OPERATION_ABORT: u8 = 0x1c;
}

/// Service actions of THIRD-PARTY COPY IN (SPC-5, SBC-4).
pub mod copy_in {
    /// RECEIVE COPY STATUS (LID1).
    pub const COPY_STATUS_LID1: u8 = 0x00;
    /// RECEIVE COPY DATA (LID1).
    pub const COPY_DATA_LID1: u8 = 0x01;
    /// RECEIVE COPY OPERATING PARAMETERS.
    pub const OPERATING_PARAMETERS: u8 = 0x03;
    /// RECEIVE COPY FAILURE DETAILS (LID1).
    pub const FAILURE_DETAILS_LID1: u8 = 0x04;
    /// RECEIVE COPY STATUS (LID4).
    pub const COPY_STATUS_LID4: u8 = 0x05;
    /// RECEIVE ROD TOKEN INFORMATION.
    pub const ROD_TOKEN_INFORMATION: u8 = 0x07;
    /// REPORT ALL ROD TOKENS.
    pub const REPORT_ALL_ROD_TOKENS: u8 = 0x08;
}

/// Service actions of SANITIZE (SBC-4).
pub mod sanitize {
    /// OVERWRITE.
    pub const OVERWRITE: u8 = 0x01;
    /// BLOCK ERASE.
    pub const BLOCK_ERASE: u8 = 0x02;
    /// EXIT FAILURE MODE.
    pub const EXIT_FAILURE_MODE: u8 = 0x1f;
}

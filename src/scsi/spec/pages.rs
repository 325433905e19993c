//! Codes of what is told in pages: version descriptors, vital product data, log pages, mode pages (SPC-5, SBC-4).

/// Version descriptors of standard INQUIRY data, without a revision (SPC-5, annex of numeric order codes).
pub mod version_descriptor {
    /// SAM-5.
    pub const SAM_5: u16 = 0x00a0;
    /// SPC-4.
    pub const SPC_4: u16 = 0x0460;
    /// SBC-3.
    pub const SBC_3: u16 = 0x04c0;
}

/// Vital product data page codes (SPC-5 and SBC-4, vital product data parameters).
pub mod vpd_page {
    /// Supported VPD pages.
    pub const SUPPORTED_PAGES: u8 = 0x00;
    /// Unit serial number.
    pub const UNIT_SERIAL_NUMBER: u8 = 0x80;
    /// Device identification.
    pub const DEVICE_IDENTIFICATION: u8 = 0x83;
    /// Extended INQUIRY data.
    pub const EXTENDED_INQUIRY: u8 = 0x86;
    /// Mode page policy.
    pub const MODE_PAGE_POLICY: u8 = 0x87;
    /// SCSI ports.
    pub const SCSI_PORTS: u8 = 0x88;
    /// Third-party copy.
    pub const THIRD_PARTY_COPY: u8 = 0x8f;
    /// Block limits.
    pub const BLOCK_LIMITS: u8 = 0xb0;
    /// Block device characteristics.
    pub const BLOCK_DEVICE_CHARACTERISTICS: u8 = 0xb1;
    /// Logical block provisioning.
    pub const LOGICAL_BLOCK_PROVISIONING: u8 = 0xb2;
}

/// Log page codes (SPC-5 and SBC-4, log parameters).
pub mod log_page {
    /// Supported log pages.
    pub const SUPPORTED_PAGES: u8 = 0x00;
    /// Write error counters.
    pub const WRITE_ERRORS: u8 = 0x02;
    /// Read error counters.
    pub const READ_ERRORS: u8 = 0x03;
    /// Verify error counters.
    pub const VERIFY_ERRORS: u8 = 0x05;
    /// Logical block provisioning.
    pub const LOGICAL_BLOCK_PROVISIONING: u8 = 0x0c;
    /// Temperature.
    pub const TEMPERATURE: u8 = 0x0d;
    /// Start-stop cycle counter.
    pub const START_STOP_CYCLES: u8 = 0x0e;
    /// Self-test results.
    pub const SELF_TEST_RESULTS: u8 = 0x10;
    /// Solid state media.
    pub const SOLID_STATE_MEDIA: u8 = 0x11;
    /// Background scan.
    pub const BACKGROUND_SCAN: u8 = 0x15;
    /// General statistics and performance.
    pub const GENERAL_STATISTICS: u8 = 0x19;
    /// Informational exceptions.
    pub const INFORMATIONAL_EXCEPTIONS: u8 = 0x2f;
    /// The list of a page's subpages; with page 00h, of all pages and their subpages.
    pub const ALL_SUBPAGES: u8 = 0xff;
}

/// Mode page codes (SPC-5 and SBC-4, mode parameters).
pub mod mode_page {
    /// Read-write error recovery.
    pub const READ_WRITE_ERROR_RECOVERY: u8 = 0x01;
    /// Disconnect-reconnect.
    pub const DISCONNECT_RECONNECT: u8 = 0x02;
    /// Caching.
    pub const CACHING: u8 = 0x08;
    /// Control.
    pub const CONTROL: u8 = 0x0a;
    /// Power condition.
    pub const POWER_CONDITION: u8 = 0x1a;
    /// Informational exceptions control.
    pub const INFORMATIONAL_EXCEPTIONS: u8 = 0x1c;
    /// Subpage of that page: logical block provisioning.
    pub const LOGICAL_BLOCK_PROVISIONING_SUBPAGE: u8 = 0x02;
    /// Not a page: all of them.
    pub const ALL: u8 = 0x3f;
    /// Not a subpage: all of them.
    pub const ALL_SUBPAGES: u8 = 0xff;
}

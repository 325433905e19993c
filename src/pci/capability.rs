//! Capabilities as bytes: what a function shows behind its header, and which bits a client may change.
//!
//! Owns power management and MSI-X, which [`super::Function`] acts upon. Others come ready-made from their own room.

use super::msix::MsixLayout;
use super::spec;

/// Where a configuration access window keeps its registers, in bytes from the start of its capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowFields {
    /// Number of the BAR, one byte.
    pub bar: usize,
    /// Offset within the BAR, 32 bits.
    pub offset: usize,
    /// Length of the access in bytes, 32 bits.
    pub len: usize,
    /// Data, four bytes.
    pub data: usize,
}

impl WindowFields {
    pub(super) const DATA_LEN: usize = 4;
}

/// What the function has to do with a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Plain,
    Power,
    Msix { vectors: u16 },
    Window(WindowFields),
}

/// One capability: bytes from its identifier on, and as many bytes of write mask. The second byte, the link to the next
/// capability, belongs to the function and is filled in by it.
#[derive(Debug, Clone)]
pub struct Capability {
    pub(super) bytes: Vec<u8>,
    pub(super) writable: Vec<u8>,
    pub(super) role: Role,
}

impl Capability {
    /// A capability that the function only shows.
    ///
    /// # Panics
    /// If the mask is not as long as the bytes, lets a client change identifier or link, or the bytes are too short or too
    /// long for a capability.
    pub fn new(bytes: &[u8], writable: &[u8]) -> Self {
        assert_eq!(bytes.len(), writable.len(), "a write mask covers its capability");
        assert!(
            (2..=spec::CONFIG_LEN - spec::HEADER_LEN).contains(&bytes.len()),
            "a capability fits behind the header"
        );
        assert_eq!(writable[..2], [0, 0], "identifier and link are read-only");
        Self { bytes: bytes.to_vec(), writable: writable.to_vec(), role: Role::Plain }
    }

    /// A capability with a window to the BARs: a client selects a place, then reads or writes it through the data field.
    /// The function tells of such accesses; see [`super::Function::window_for_read`] and [`super::Effects::WINDOW_DATA`].
    ///
    /// # Panics
    /// As [`Capability::new`], or if a field lies outside.
    pub fn window(bytes: &[u8], writable: &[u8], fields: WindowFields) -> Self {
        let inside = |at: usize, len: usize| at + len <= bytes.len();
        assert!(
            inside(fields.bar, 1) && inside(fields.offset, 4) && inside(fields.len, 4),
            "window registers are inside"
        );
        assert!(inside(fields.data, WindowFields::DATA_LEN), "window data is inside");
        Self { role: Role::Window(fields), ..Self::new(bytes, writable) }
    }

    /// Power management with D0 and D3hot and no PME (PM 3.2). With `no_soft_reset` a function keeps its state from D3hot
    /// to D0; without, it is reset on the way ([`super::Effects::SOFT_RESET`]).
    pub fn power_management(no_soft_reset: bool) -> Self {
        const VERSION_3: u8 = 0b011;
        let control = if no_soft_reset { spec::POWER_NO_SOFT_RESET } else { 0 };
        let [low, high] = control.to_le_bytes();
        let bytes = [spec::CAPABILITY_POWER, 0, VERSION_3, 0, low, high, 0, 0];
        let writable = [0, 0, 0, 0, spec::POWER_STATE as u8, 0, 0, 0];
        Self { role: Role::Power, ..Self::new(&bytes, &writable) }
    }

    /// MSI-X with table and pending bits in BAR `bar`, laid out as `layout` says (PCI 6.8.2).
    ///
    /// # Panics
    /// If there is no such BAR.
    pub fn msix(layout: MsixLayout, bar: u8) -> Self {
        assert!(usize::from(bar) < spec::BAR_COUNT, "a BAR has a number from 0 to 5");
        let mut bytes = [0; 12];
        bytes[0] = spec::CAPABILITY_MSIX;
        bytes[2..4].copy_from_slice(&(layout.vectors() - 1).to_le_bytes());
        bytes[4..8].copy_from_slice(&(layout.table_offset() | u32::from(bar)).to_le_bytes());
        bytes[8..12].copy_from_slice(&(layout.pba_offset() | u32::from(bar)).to_le_bytes());
        let mut writable = [0; 12];
        writable[2..4].copy_from_slice(&(spec::MSIX_ENABLE | spec::MSIX_FUNCTION_MASK).to_le_bytes());
        Self { role: Role::Msix { vectors: layout.vectors() }, ..Self::new(&bytes, &writable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn power_management_bytes() {
        assert_eq!(Capability::power_management(true).bytes, [0x01, 0, 0x03, 0, 0x08, 0, 0, 0]);
        assert_eq!(Capability::power_management(false).bytes, [0x01, 0, 0x03, 0, 0, 0, 0, 0]);
        assert_eq!(Capability::power_management(true).writable, [0, 0, 0, 0, 0x03, 0, 0, 0]);
    }

    #[test]
    fn msix_bytes() {
        let capability = Capability::msix(MsixLayout::new(6), 1);
        assert_eq!(capability.bytes, [0x11, 0, 0x05, 0x00, 0x01, 0, 0, 0, 0x01, 0x10, 0, 0]);
        assert_eq!(capability.writable, [0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    #[should_panic(expected = "identifier and link")]
    fn the_link_belongs_to_the_function() {
        Capability::new(&[9, 0, 2], &[0, 1, 0]);
    }
}

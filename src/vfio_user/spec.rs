//! The wire format.
/// Regions of a PCI device.
pub const PCI_REGIONS: u32 = 9;

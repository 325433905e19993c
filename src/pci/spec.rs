//! Numbers of the PCI Local Bus Specification 3.0 (PCI), its power management interface 1.2 (PM) and PCI Express Base 5.0
//! (PCIe). No logic.

/// Bytes of configuration space that every function has (PCI 6.1).
pub const CONFIG_LEN: usize = 256;
/// Bytes of configuration space with the extended part (PCIe 7.2.2). Ours holds nothing there and reads as zero.
pub const EXTENDED_CONFIG_LEN: usize = 4096;
/// Base address registers of a type 0 header (PCI 6.2.5).
pub const BAR_COUNT: usize = 6;

/// Vendor identifier (PCI 6.2.1).
pub const VENDOR_ID: usize = 0x00;
/// Device identifier (PCI 6.2.1).
pub const DEVICE_ID: usize = 0x02;
/// Command register (PCI 6.2.2).
pub const COMMAND: usize = 0x04;
/// Status register (PCI 6.2.3).
pub const STATUS: usize = 0x06;
/// Revision identifier (PCI 6.2.1).
pub const REVISION_ID: usize = 0x08;
/// Class code: interface, subclass, class (PCI 6.2.1).
pub const CLASS_CODE: usize = 0x09;
/// Cache line size (PCI 6.2.4).
pub const CACHE_LINE_SIZE: usize = 0x0c;
/// First base address register (PCI 6.2.5.1).
pub const BAR0: usize = 0x10;
/// Subsystem vendor identifier (PCI 6.2.4).
pub const SUBSYSTEM_VENDOR_ID: usize = 0x2c;
/// Subsystem identifier (PCI 6.2.4).
pub const SUBSYSTEM_ID: usize = 0x2e;
/// Offset of the first capability (PCI 6.7).
pub const CAPABILITIES_POINTER: usize = 0x34;
/// Interrupt line: a note of the firmware to the operating system (PCI 6.2.4).
pub const INTERRUPT_LINE: usize = 0x3c;
/// Interrupt pin (PCI 6.2.4).
pub const INTERRUPT_PIN: usize = 0x3d;
/// Where the header ends and capabilities may stand (PCI 6.1).
pub const HEADER_LEN: usize = 0x40;

/// Command: the function answers to memory accesses.
pub const COMMAND_MEMORY_SPACE: u16 = 1 << 1;
/// Command: the function may access memory, and send MSI-X messages, which are memory writes.
pub const COMMAND_BUS_MASTER: u16 = 1 << 2;
/// Command: report parity errors. Kept, without effect.
pub const COMMAND_PARITY_ERROR: u16 = 1 << 6;
/// Command: report system errors. Kept, without effect.
pub const COMMAND_SERR: u16 = 1 << 8;
/// Command: do not assert INTx.
pub const COMMAND_INTX_DISABLE: u16 = 1 << 10;

/// Status: INTx would be asserted, whatever the command register's disable bit says.
pub const STATUS_INTERRUPT: u16 = 1 << 3;
/// Status: there is a list of capabilities.
pub const STATUS_CAPABILITIES: u16 = 1 << 4;

/// Base address register: the next register holds the upper half of the address.
pub const BAR_MEMORY_64: u32 = 0b100;
/// Base address register: reads have no side effect.
pub const BAR_PREFETCHABLE: u32 = 0b1000;

/// Interrupt pin INTA# (PCI 6.2.4).
pub const PIN_INTA: u8 = 1;

/// Class: mass storage controller (PCI appendix D).
pub const CLASS_STORAGE: u8 = 0x01;
/// Subclass of [`CLASS_STORAGE`]: SCSI.
pub const SUBCLASS_SCSI: u8 = 0x00;

/// Capability identifier: power management (PCI appendix H).
pub const CAPABILITY_POWER: u8 = 0x01;
/// Capability identifier: vendor specific (PCI appendix H).
pub const CAPABILITY_VENDOR: u8 = 0x09;
/// Capability identifier: MSI-X (PCI appendix H).
pub const CAPABILITY_MSIX: u8 = 0x11;

/// Control and status register within the power management capability (PM 3.2.4).
pub const POWER_CONTROL: usize = 4;
/// Field of [`POWER_CONTROL`]: power state, 0 is D0 and 3 is D3hot.
pub const POWER_STATE: u16 = 0b11;
/// Field of [`POWER_CONTROL`]: going from D3hot to D0 does not reset the function.
pub const POWER_NO_SOFT_RESET: u16 = 1 << 3;

/// Message control within the MSI-X capability (PCI 6.8.2.3).
pub const MSIX_CONTROL: usize = 2;
/// Field of [`MSIX_CONTROL`]: all vectors are masked.
pub const MSIX_FUNCTION_MASK: u16 = 1 << 14;
/// Field of [`MSIX_CONTROL`]: the function uses MSI-X and not INTx.
pub const MSIX_ENABLE: u16 = 1 << 15;
/// Vectors that a table can hold.
pub const MSIX_VECTORS_MAX: u16 = 2048;
/// Bytes of a table entry: address, upper address, data, vector control (PCI 6.8.2.6 to 6.8.2.9).
pub const MSIX_ENTRY_LEN: usize = 16;
/// Vector control within a table entry; bit 0 masks the vector (PCI 6.8.2.9).
pub const MSIX_VECTOR_CONTROL: usize = 12;

//! Numbers of virtio 1.2, its PCI transport and its SCSI host device. No logic. Sections are those of virtio 1.2.

/// PCI identity (4.1.2).
pub mod pci {
    /// Vendor of every virtio device.
    pub const VENDOR: u16 = 0x1AF4;
    /// A modern virtio-scsi device: 0x1040 plus device type 8.
    pub const DEVICE_SCSI: u16 = 0x1048;
    /// Offset of the command register.
    pub const COMMAND: u64 = 0x04;
    /// Command: answer memory accesses.
    pub const COMMAND_MEMORY: u16 = 1 << 1;
    /// Command: the function may read and write memory by itself.
    pub const COMMAND_BUS_MASTER: u16 = 1 << 2;
    /// Command: no INTx.
    pub const COMMAND_INTX_DISABLE: u16 = 1 << 10;
    /// Offset of the status register.
    pub const STATUS: u64 = 0x06;
    /// Status: there is a capability list.
    pub const STATUS_CAPABILITIES: u16 = 1 << 4;
    /// Offset of the pointer to the first capability.
    pub const CAPABILITIES_POINTER: u64 = 0x34;
    /// Capability: vendor specific, used by virtio.
    pub const CAP_VENDOR: u8 = 0x09;
    /// Capability: MSI-X.
    pub const CAP_MSIX: u8 = 0x11;
    /// MSI-X message control: enable.
    pub const MSIX_ENABLE: u16 = 1 << 15;
}

/// Types of virtio capabilities (4.1.4).
pub mod cfg_type {
    /// Common configuration.
    pub const COMMON: u8 = 1;
    /// Notifications.
    pub const NOTIFY: u8 = 2;
    /// Interrupt status.
    pub const ISR: u8 = 3;
    /// Device specific configuration.
    pub const DEVICE: u8 = 4;
    /// Window to the BARs through configuration space.
    pub const PCI: u8 = 5;
}

/// Offsets in the common configuration (4.1.4.3).
pub mod common {
    /// u32: which half of the device's features to show.
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    /// u32, read-only: that half.
    pub const DEVICE_FEATURE: u64 = 0x04;
    /// u32: which half of the driver's features to write.
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    /// u32: that half.
    pub const DRIVER_FEATURE: u64 = 0x0C;
    /// u16: vector of configuration changes.
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    /// u16, read-only: how many queues there are.
    pub const NUM_QUEUES: u64 = 0x12;
    /// u8: device status.
    pub const DEVICE_STATUS: u64 = 0x14;
    /// u8, read-only: changes with the device configuration.
    pub const CONFIG_GENERATION: u64 = 0x15;
    /// u16: which queue the fields below are of.
    pub const QUEUE_SELECT: u64 = 0x16;
    /// u16: entries of the queue.
    pub const QUEUE_SIZE: u64 = 0x18;
    /// u16: vector of the queue.
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1A;
    /// u16: whether the queue works.
    pub const QUEUE_ENABLE: u64 = 0x1C;
    /// u16, read-only: where the queue's doorbell is, in units of the multiplier.
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1E;
    /// u64: address of the descriptor table.
    pub const QUEUE_DESC: u64 = 0x20;
    /// u64: address of the avail ring.
    pub const QUEUE_DRIVER: u64 = 0x28;
    /// u64: address of the used ring.
    pub const QUEUE_DEVICE: u64 = 0x30;
    /// A vector register that names no vector (4.1.5.1.2).
    pub const NO_VECTOR: u16 = 0xFFFF;
}

/// Device status bits (2.1).
pub mod status {
    /// The guest has seen the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The guest knows how to drive it.
    pub const DRIVER: u8 = 2;
    /// The driver is ready.
    pub const DRIVER_OK: u8 = 4;
    /// The features are agreed.
    pub const FEATURES_OK: u8 = 8;
    /// The device has failed and wants a reset.
    pub const NEEDS_RESET: u8 = 64;
    /// The driver has given up.
    pub const FAILED: u8 = 128;
}

/// Feature bits as masks (6, 5.6.3).
pub mod feature {
    /// Requests that read and write at once.
    pub const SCSI_INOUT: u64 = 1 << 0;
    /// LUNs that come and go.
    pub const SCSI_HOTPLUG: u64 = 1 << 1;
    /// LUN parameters that change.
    pub const SCSI_CHANGE: u64 = 1 << 2;
    /// Indirect descriptor tables.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// used_event and avail_event.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// The device follows virtio 1.0 or later.
    pub const VERSION_1: u64 = 1 << 32;
    /// Packed rings.
    pub const RING_PACKED: u64 = 1 << 34;
}

/// The split ring (2.7).
pub mod ring {
    /// Bytes of a descriptor.
    pub const DESCRIPTOR_LEN: usize = 16;
    /// The chain goes on at `next`.
    pub const DESC_NEXT: u16 = 1;
    /// The device writes the buffer.
    pub const DESC_WRITE: u16 = 2;
    /// The buffer is a table of descriptors.
    pub const DESC_INDIRECT: u16 = 4;
    /// avail flags: do not interrupt.
    pub const AVAIL_NO_INTERRUPT: u16 = 1;
    /// used flags: do not notify.
    pub const USED_NO_NOTIFY: u16 = 1;
}

/// The packed ring (2.8); the flags of [`ring`] below 8 are the same.
pub mod packed {
    /// Descriptor flag: equal to the driver's wrap counter when the driver makes it available.
    pub const DESC_AVAIL: u16 = 1 << 7;
    /// Descriptor flag: not so when available, equal to the other one when used.
    pub const DESC_USED: u16 = 1 << 15;
    /// Bytes of an event suppression structure (2.8.14): descriptor event, flags.
    pub const EVENT_LEN: usize = 4;
    /// Offset of the flags in it.
    pub const EVENT_FLAGS: usize = 2;
    /// Event flags: tell of everything.
    pub const EVENT_ENABLE: u16 = 0;
    /// Event flags: tell of nothing.
    pub const EVENT_DISABLE: u16 = 1;
    /// Event flags: tell when the descriptor of the descriptor event is reached. Only with EVENT_IDX.
    pub const EVENT_DESC: u16 = 2;
    /// Descriptor event: the wrap counter's bit; the others are the descriptor's index.
    pub const EVENT_WRAP: u16 = 1 << 15;
}

/// The SCSI host device (5.6).
pub mod scsi {
    /// Queue that carries task management (5.6.2).
    pub const CONTROL_QUEUE: u16 = 0;
    /// Queue that carries events.
    pub const EVENT_QUEUE: u16 = 1;
    /// First queue that carries commands.
    pub const FIRST_REQUEST_QUEUE: u16 = 2;
    /// CDB bytes in a request after reset.
    pub const CDB_SIZE: usize = 32;
    /// Sense bytes in a response after reset.
    pub const SENSE_SIZE: usize = 96;
    /// Bytes of a request before its CDB.
    pub const REQUEST_HEADER_LEN: usize = 19;
    /// Bytes of a response before its sense.
    pub const RESPONSE_HEADER_LEN: usize = 12;
    /// Bytes of a task management request, its response byte apart.
    pub const TMF_LEN: usize = 24;
    /// Bytes of an event.
    pub const EVENT_LEN: usize = 16;
    /// Control request type: task management.
    pub const TYPE_TMF: u32 = 0;
    /// Control request type: asynchronous notification query.
    pub const TYPE_AN_QUERY: u32 = 1;
    /// Control request type: asynchronous notification subscription.
    pub const TYPE_AN_SUBSCRIBE: u32 = 2;
}

/// Response codes (5.6.6.1, 5.6.6.2).
pub mod response {
    /// The command reached the logical unit: see its status. For a task management function: complete.
    pub const OK: u8 = 0;
    /// More data than the buffers hold.
    pub const OVERRUN: u8 = 1;
    /// Ended by an abort.
    pub const ABORTED: u8 = 2;
    /// No such target.
    pub const BAD_TARGET: u8 = 3;
    /// Ended by a reset.
    pub const RESET: u8 = 4;
    /// Not enough resources.
    pub const BUSY: u8 = 5;
    /// The transport failed.
    pub const TRANSPORT_FAILURE: u8 = 6;
    /// The target failed.
    pub const TARGET_FAILURE: u8 = 7;
    /// The nexus failed.
    pub const NEXUS_FAILURE: u8 = 8;
    /// Anything else.
    pub const FAILURE: u8 = 9;
    /// Task management: function succeeded (query: there is such a task).
    pub const FUNCTION_SUCCEEDED: u8 = 10;
    /// Task management: not supported.
    pub const FUNCTION_REJECTED: u8 = 11;
    /// No such logical unit.
    pub const INCORRECT_LUN: u8 = 12;
}

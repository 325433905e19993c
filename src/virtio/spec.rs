//! Numbers of "Virtual I/O Device (VIRTIO) Version 1.2", common to all devices, and of its PCI transport. No logic.

/// PCI vendor identifier of virtio devices (4.1.2).
pub const PCI_VENDOR_ID: u16 = 0x1af4;
/// PCI device identifier of a modern device of type 0; the device type is added (4.1.2).
pub const PCI_DEVICE_ID_BASE: u16 = 0x1040;
/// Device type: SCSI host (5.6.1).
pub const DEVICE_ID_SCSI: u16 = 8;
/// PCI revision of a device that is no transitional one: 1 or higher (4.1.2.1).
pub const PCI_REVISION: u8 = 1;
/// "No vector" in a vector register (4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;
/// Largest queue (2.7).
pub const QUEUE_SIZE_MAX: u16 = 32768;

/// Bits of the device status (2.1).
pub mod status {
    /// The guest has found the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The guest knows how to drive it.
    pub const DRIVER: u8 = 2;
    /// The driver is ready: the device is live.
    pub const DRIVER_OK: u8 = 4;
    /// Features are agreed upon.
    pub const FEATURES_OK: u8 = 8;
    /// Set by the device: only a reset helps.
    pub const DEVICE_NEEDS_RESET: u8 = 64;
    /// The driver has given up.
    pub const FAILED: u8 = 128;
    /// All that a driver may set.
    pub const DRIVER_BITS: u8 = ACKNOWLEDGE | DRIVER | DRIVER_OK | FEATURES_OK | FAILED;
}

/// Feature bits that belong to no device type (6), as masks.
pub mod feature {
    /// Descriptors may be in a table of their own (2.7.5.3).
    pub const RING_INDIRECT_DESC: u64 = 1 << 28;
    /// Notifications are asked for by index (2.7.7, 2.7.10).
    pub const RING_EVENT_IDX: u64 = 1 << 29;
    /// The device is a modern one. Without it there is no device.
    pub const VERSION_1: u64 = 1 << 32;
    /// Addresses are translated by the platform.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
    /// Packed rings (2.8).
    pub const RING_PACKED: u64 = 1 << 34;
    /// Buffers are used in the order in which they were made available.
    pub const IN_ORDER: u64 = 1 << 35;
    /// Memory accesses are ordered as the platform says.
    pub const ORDER_PLATFORM: u64 = 1 << 36;
    /// Single root I/O virtualization.
    pub const SR_IOV: u64 = 1 << 37;
    /// A doorbell says how far the driver has got.
    pub const NOTIFICATION_DATA: u64 = 1 << 38;
    /// A doorbell's value is the device's choice, in `queue_notify_data`.
    pub const NOTIF_CONFIG_DATA: u64 = 1 << 39;
    /// Single queues can be reset (2.6.1).
    pub const RING_RESET: u64 = 1 << 40;
}

/// Bits of the ISR status (4.1.4.5).
pub mod isr {
    /// A queue has used buffers.
    pub const QUEUE: u8 = 1;
    /// The device's configuration changed.
    pub const CONFIG: u8 = 2;
}

/// Offsets in the common configuration, bytes (4.1.4.3).
pub mod common {
    /// Which 32 feature bits of the device to read.
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    /// Those feature bits.
    pub const DEVICE_FEATURE: u64 = 0x04;
    /// Which 32 feature bits of the driver to access.
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    /// Those feature bits.
    pub const DRIVER_FEATURE: u64 = 0x0c;
    /// Vector of configuration changes.
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    /// Queues of the device.
    pub const NUM_QUEUES: u64 = 0x12;
    /// Device status.
    pub const DEVICE_STATUS: u64 = 0x14;
    /// Changes with the device's configuration.
    pub const CONFIG_GENERATION: u64 = 0x15;
    /// Queue that the registers from here on are about.
    pub const QUEUE_SELECT: u64 = 0x16;
    /// Entries of the queue.
    pub const QUEUE_SIZE: u64 = 0x18;
    /// Vector of the queue.
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    /// Whether the queue is in use.
    pub const QUEUE_ENABLE: u64 = 0x1c;
    /// Where its doorbell is.
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    /// Address of the descriptor area.
    pub const QUEUE_DESC: u64 = 0x20;
    /// Address of the driver area (avail ring).
    pub const QUEUE_DRIVER: u64 = 0x28;
    /// Address of the device area (used ring).
    pub const QUEUE_DEVICE: u64 = 0x30;
    /// What to write to the doorbell, with NOTIF_CONFIG_DATA.
    pub const QUEUE_NOTIFY_DATA: u64 = 0x38;
    /// Resets the queue, with RING_RESET.
    pub const QUEUE_RESET: u64 = 0x3a;
    /// Length of the structure.
    pub const LEN: u64 = 0x3c;
}

/// Types of virtio's PCI capabilities (4.1.4).
pub mod capability {
    /// PCI capability identifier: vendor specific.
    pub const ID: u8 = 0x09;
    /// Common configuration.
    pub const COMMON_CFG: u8 = 1;
    /// Notifications.
    pub const NOTIFY_CFG: u8 = 2;
    /// ISR status.
    pub const ISR_CFG: u8 = 3;
    /// Device specific configuration.
    pub const DEVICE_CFG: u8 = 4;
    /// Configuration access window.
    pub const PCI_CFG: u8 = 5;
    /// Length of `struct virtio_pci_cap`, bytes.
    pub const LEN: usize = 16;
    /// Offset of `bar` in it.
    pub const BAR: usize = 4;
    /// Offset of `offset` in it.
    pub const OFFSET: usize = 8;
    /// Offset of `length` in it.
    pub const LENGTH: usize = 12;
    /// Offset of `pci_cfg_data` (4.1.4.9) and of `notify_off_multiplier` (4.1.4.4), behind it.
    pub const EXTRA: usize = 16;
}

/// Bytes of a split ring's descriptor (2.7.5).
pub const DESC_LEN: u64 = 16;
/// Alignment of a descriptor area, bytes (2.7).
pub const DESC_ALIGN: u64 = 16;
/// Alignment of an avail ring, bytes (2.7).
pub const AVAIL_ALIGN: u64 = 2;
/// Alignment of a used ring, bytes (2.7).
pub const USED_ALIGN: u64 = 4;
/// Length and alignment of a packed ring's event suppression area, bytes (2.8).
pub const EVENT_SUPPRESS_LEN: u64 = 4;

/// Bytes of an avail ring of `size` entries: flags, index, entries, `used_event` (2.7.6).
pub const fn avail_len(size: u16) -> u64 {
    6 + 2 * size as u64
}

/// Bytes of a used ring of `size` entries: flags, index, entries, `avail_event` (2.7.8).
pub const fn used_len(size: u16) -> u64 {
    6 + 8 * size as u64
}

#[cfg(test)]
mod tests {
    use virtio_bindings::{virtio_config, virtio_ring};

    use super::*;

    #[test]
    fn status_and_feature_bits_agree_with_the_kernel_headers() {
        let status_bits = status::ACKNOWLEDGE | status::DRIVER | status::DRIVER_OK | status::FEATURES_OK;
        let theirs = virtio_config::VIRTIO_CONFIG_S_ACKNOWLEDGE
            | virtio_config::VIRTIO_CONFIG_S_DRIVER
            | virtio_config::VIRTIO_CONFIG_S_DRIVER_OK
            | virtio_config::VIRTIO_CONFIG_S_FEATURES_OK;
        assert_eq!(u32::from(status_bits), theirs);
        assert_eq!(u32::from(status::DEVICE_NEEDS_RESET), virtio_config::VIRTIO_CONFIG_S_NEEDS_RESET);
        assert_eq!(u32::from(status::FAILED), virtio_config::VIRTIO_CONFIG_S_FAILED);
        let pairs = [
            (feature::RING_INDIRECT_DESC, virtio_ring::VIRTIO_RING_F_INDIRECT_DESC),
            (feature::RING_EVENT_IDX, virtio_ring::VIRTIO_RING_F_EVENT_IDX),
            (feature::VERSION_1, virtio_config::VIRTIO_F_VERSION_1),
            (feature::ACCESS_PLATFORM, virtio_config::VIRTIO_F_ACCESS_PLATFORM),
            (feature::RING_PACKED, virtio_config::VIRTIO_F_RING_PACKED),
            (feature::IN_ORDER, virtio_config::VIRTIO_F_IN_ORDER),
            (feature::ORDER_PLATFORM, virtio_config::VIRTIO_F_ORDER_PLATFORM),
            (feature::SR_IOV, virtio_config::VIRTIO_F_SR_IOV),
            (feature::NOTIFICATION_DATA, virtio_config::VIRTIO_F_NOTIFICATION_DATA),
            (feature::NOTIF_CONFIG_DATA, virtio_config::VIRTIO_F_NOTIF_CONFIG_DATA),
            (feature::RING_RESET, virtio_config::VIRTIO_F_RING_RESET),
        ];
        for (ours, bit) in pairs {
            assert_eq!(ours, 1 << bit);
        }
    }

    #[test]
    fn the_common_configuration_is_the_structure_of_the_specification() {
        let at = [
            common::DEVICE_FEATURE_SELECT,
            common::DEVICE_FEATURE,
            common::DRIVER_FEATURE_SELECT,
            common::DRIVER_FEATURE,
            common::CONFIG_MSIX_VECTOR,
            common::NUM_QUEUES,
            common::DEVICE_STATUS,
            common::CONFIG_GENERATION,
            common::QUEUE_SELECT,
            common::QUEUE_SIZE,
            common::QUEUE_MSIX_VECTOR,
            common::QUEUE_ENABLE,
            common::QUEUE_NOTIFY_OFF,
            common::QUEUE_DESC,
            common::QUEUE_DRIVER,
            common::QUEUE_DEVICE,
            common::QUEUE_NOTIFY_DATA,
            common::QUEUE_RESET,
            common::LEN,
        ];
        // The widths of its fields in their order: le32 four times, le16 twice, u8 twice, and so on.
        let widths = [4, 4, 4, 4, 2, 2, 1, 1, 2, 2, 2, 2, 2, 8, 8, 8, 2, 2];
        for (pair, width) in at.windows(2).zip(widths) {
            assert_eq!(pair[1] - pair[0], width);
        }
        assert_eq!((at[0], common::LEN), (0, 60));
    }

    #[test]
    fn ring_lengths() {
        assert_eq!((avail_len(256), used_len(256)), (518, 2054));
    }
}

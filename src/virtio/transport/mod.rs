//! The virtio PCI transport: common configuration registers and the status machine of a device (VIRTIO 1.2, 2.1, 3.1, 4.1).
//!
//! Owns what a driver configures: features, queues, vectors, status. Never touches rings, guest memory or interrupts: a
//! write returns an [`Action`] where the device has to follow. One control thread owns a [`Transport`]; reactors hold
//! [`DeviceStatus`] and [`Isr`].

pub mod capabilities;
pub mod layout;
mod machine;
mod queue;
mod registers;
mod status;

pub use queue::QueueConfig;
pub use status::{DeviceStatus, Isr};

use super::spec::{NO_VECTOR, QUEUE_SIZE_MAX, feature};

/// What a device offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportSpec {
    /// Features of device and transport. VERSION_1 is among them.
    pub features: u64,
    /// Those that a driver must accept, beside VERSION_1.
    pub required: u64,
    /// Number of queues, all of them: 1 to [`layout::QUEUES_MAX`].
    pub queues: u16,
    /// Largest number of entries of a queue, a power of two.
    pub queue_size_max: u16,
    /// Number of MSI-X vectors.
    pub vectors: u16,
}

/// What the device has to do after a write to the common configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Stop: end all I/O, take queues back, then call [`Transport::reset_done`]. Until then the status reads non-zero and
    /// writes are ignored.
    Reset,
    /// Features are agreed upon; [`Transport::features`] does not change any more.
    FeaturesOk,
    /// Go live, with all queues that are enabled.
    DriverOk,
    /// The driver has given up on the device: start nothing new.
    DriverFailed,
    /// The driver broke a rule, and the device needs a reset. If it was live, a configuration interrupt is due.
    NeedsReset,
    /// This queue is ready for use, at [`Action::DriverOk`] or at once if the device is live.
    QueueEnabled(u16),
    /// Stop this queue alone, then call [`Transport::queue_reset_done`].
    QueueReset(u16),
    /// The vector of this queue, which is enabled, changed.
    QueueVector(u16),
    /// The vector of configuration changes changed.
    ConfigVector,
}

/// Registers of one queue, with what is in progress.
#[derive(Debug, Clone, Copy)]
struct Queue {
    config: QueueConfig,
    resetting: bool,
}

/// Common configuration and status of one device.
#[derive(Debug)]
pub struct Transport {
    spec: TransportSpec,
    queues: Box<[Queue]>,
    status: DeviceStatus,
    /// The driver wrote 0 and the device is not done.
    resetting: bool,
    device_feature_select: u32,
    driver_feature_select: u32,
    driver_features: u64,
    /// The driver wants a feature above bit 63, of which there are none.
    wants_unknown: bool,
    config_vector: u16,
    config_generation: u8,
    queue_select: u16,
}

impl Transport {
    /// A device in its reset state.
    ///
    /// # Panics
    /// If the spec breaks a bound of [`TransportSpec`].
    pub fn new(spec: TransportSpec) -> Self {
        assert!(spec.features & feature::VERSION_1 != 0, "a modern device offers VERSION_1");
        assert!(spec.required & !spec.features == 0, "what a driver must accept is offered");
        assert!((1..=layout::QUEUES_MAX).contains(&spec.queues), "each queue has a doorbell");
        assert!(
            spec.queue_size_max.is_power_of_two() && spec.queue_size_max <= QUEUE_SIZE_MAX,
            "a queue size is possible"
        );
        let queue = Queue { config: QueueConfig::new(spec.queue_size_max), resetting: false };
        Self {
            spec,
            queues: vec![queue; usize::from(spec.queues)].into(),
            status: DeviceStatus::default(),
            resetting: false,
            device_feature_select: 0,
            driver_feature_select: 0,
            driver_features: 0,
            wants_unknown: false,
            config_vector: NO_VECTOR,
            config_generation: 0,
            queue_select: 0,
        }
    }

    /// The device status, to share with reactors.
    pub fn status(&self) -> &DeviceStatus {
        &self.status
    }

    /// Features that the driver accepted; final once [`Action::FeaturesOk`] or [`Action::DriverOk`] was returned.
    pub fn features(&self) -> u64 {
        self.driver_features
    }

    /// Whether the driver accepted all of `bits`.
    pub fn has(&self, bits: u64) -> bool {
        self.driver_features & bits == bits
    }

    /// Number of queues.
    pub fn queue_count(&self) -> u16 {
        self.spec.queues
    }

    /// Queue `n` as the driver set it up, if there is one.
    pub fn queue(&self, n: u16) -> Option<QueueConfig> {
        self.queues.get(usize::from(n)).map(|queue| queue.config)
    }

    /// Vector of configuration changes, or [`NO_VECTOR`].
    pub fn config_vector(&self) -> u16 {
        self.config_vector
    }

    /// The device configuration changed in more than one register or field: a driver that reads it meanwhile reads again
    /// (2.5.1).
    pub fn config_changed(&mut self) {
        self.config_generation = self.config_generation.wrapping_add(1);
    }

    /// Whether a reset is in progress.
    pub fn is_resetting(&self) -> bool {
        self.resetting
    }
}

#[cfg(test)]
mod proptests;
#[cfg(test)]
mod tests;

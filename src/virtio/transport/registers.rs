//! Reads and writes of the common configuration structure (4.1.4.3).
//!
//! A driver accesses each register at its own width, and 64-bit ones also by halves (4.1.3.1). That is what a write has to
//! be: one that covers only a part, or more than one register, is ignored, as there is no order in which its effects
//! could be right. A read has no effects, so it may have any offset and length; where nothing is, it gives zero.

use super::super::spec::{NO_VECTOR, common, feature};
use super::queue::size_is_valid;
use super::{Action, Queue, QueueConfig, Transport};
use crate::dma::Gpa;

/// Every register: offset and width in bytes.
const REGISTERS: [(u64, usize); 18] = [
    (common::DEVICE_FEATURE_SELECT, 4),
    (common::DEVICE_FEATURE, 4),
    (common::DRIVER_FEATURE_SELECT, 4),
    (common::DRIVER_FEATURE, 4),
    (common::CONFIG_MSIX_VECTOR, 2),
    (common::NUM_QUEUES, 2),
    (common::DEVICE_STATUS, 1),
    (common::CONFIG_GENERATION, 1),
    (common::QUEUE_SELECT, 2),
    (common::QUEUE_SIZE, 2),
    (common::QUEUE_MSIX_VECTOR, 2),
    (common::QUEUE_ENABLE, 2),
    (common::QUEUE_NOTIFY_OFF, 2),
    (common::QUEUE_DESC, 8),
    (common::QUEUE_DRIVER, 8),
    (common::QUEUE_DEVICE, 8),
    (common::QUEUE_NOTIFY_DATA, 2),
    (common::QUEUE_RESET, 2),
];

impl Transport {
    /// Reads `data.len()` bytes at `offset`, any of both.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        for (start, width) in REGISTERS {
            let value = self.value(start).to_le_bytes();
            for (at, byte) in (start..).zip(&value[..width]) {
                let index = at.checked_sub(offset).and_then(|index| usize::try_from(index).ok());
                if let Some(place) = index.and_then(|index| data.get_mut(index)) {
                    *place = *byte;
                }
            }
        }
    }

    /// Writes one register, or one half of a 64-bit register; see the module for other accesses. Ignored while a reset is
    /// in progress.
    #[must_use = "the device has to follow"]
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Option<Action> {
        if self.resetting {
            return None;
        }
        let covers = |&(start, width): &(u64, usize)| {
            let whole = offset == start && data.len() == width;
            let half = width == 8 && data.len() == 4 && (offset == start || offset == start + 4);
            whole || half
        };
        let (start, _) = REGISTERS.into_iter().find(covers)?;
        let mut bytes = self.value(start).to_le_bytes();
        let skip = (offset - start) as usize;
        bytes[skip..skip + data.len()].copy_from_slice(data);
        self.set(start, u64::from_le_bytes(bytes))
    }

    fn selected(&self) -> Option<&Queue> {
        self.queues.get(usize::from(self.queue_select))
    }

    /// The register that starts at `start`. Those of a queue that is not there are 0, which says so (4.1.5.1.3).
    fn value(&self, start: u64) -> u64 {
        let of_queue = |field: fn(&Queue) -> u64| self.selected().map_or(0, field);
        match start {
            common::DEVICE_FEATURE_SELECT => self.device_feature_select.into(),
            common::DEVICE_FEATURE => half_of(self.spec.features, self.device_feature_select),
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select.into(),
            common::DRIVER_FEATURE => half_of(self.driver_features, self.driver_feature_select),
            common::CONFIG_MSIX_VECTOR => self.config_vector.into(),
            common::NUM_QUEUES => self.spec.queues.into(),
            common::DEVICE_STATUS => self.status.get().into(),
            common::CONFIG_GENERATION => self.config_generation.into(),
            common::QUEUE_SELECT => self.queue_select.into(),
            common::QUEUE_SIZE => of_queue(|queue| queue.config.size.into()),
            common::QUEUE_MSIX_VECTOR => self.selected().map_or(NO_VECTOR, |queue| queue.config.vector).into(),
            common::QUEUE_ENABLE => of_queue(|queue| queue.config.enabled.into()),
            common::QUEUE_NOTIFY_OFF => self.selected().map_or(0, |_| self.queue_select.into()),
            common::QUEUE_DESC => of_queue(|queue| queue.config.desc.0),
            common::QUEUE_DRIVER => of_queue(|queue| queue.config.avail.0),
            common::QUEUE_DEVICE => of_queue(|queue| queue.config.used.0),
            // The doorbell takes the queue's number, so that is what this would say.
            common::QUEUE_NOTIFY_DATA if self.negotiated(feature::NOTIF_CONFIG_DATA) => {
                self.selected().map_or(0, |_| self.queue_select.into())
            }
            common::QUEUE_RESET => of_queue(|queue| queue.resetting.into()),
            _ => 0,
        }
    }

    fn set(&mut self, start: u64, value: u64) -> Option<Action> {
        match start {
            common::DEVICE_FEATURE_SELECT => self.device_feature_select = value as u32,
            common::DRIVER_FEATURE_SELECT => self.driver_feature_select = value as u32,
            common::DRIVER_FEATURE => self.set_driver_features(value as u32),
            common::CONFIG_MSIX_VECTOR => {
                self.config_vector = self.vector(value as u16);
                return Some(Action::ConfigVector);
            }
            common::DEVICE_STATUS => return self.write_status(value as u8),
            common::QUEUE_SELECT => self.queue_select = value as u16,
            common::QUEUE_SIZE => {
                let (max, packed) = (self.spec.queue_size_max, self.negotiated(feature::RING_PACKED));
                if size_is_valid(value as u16, max, packed) {
                    self.set_up(|queue| queue.size = value as u16);
                }
            }
            common::QUEUE_MSIX_VECTOR => return self.set_queue_vector(value as u16),
            common::QUEUE_ENABLE if value == 1 => return self.enable_queue(),
            common::QUEUE_DESC => self.set_up(|queue| queue.desc = Gpa(value)),
            common::QUEUE_DRIVER => self.set_up(|queue| queue.avail = Gpa(value)),
            common::QUEUE_DEVICE => self.set_up(|queue| queue.used = Gpa(value)),
            common::QUEUE_RESET if value == 1 => return self.reset_queue(),
            _ => {}
        }
        None
    }

    fn set_driver_features(&mut self, bits: u32) {
        if self.features_are_final() {
            return;
        }
        match self.driver_feature_select {
            0 => self.driver_features = self.driver_features & !0xffff_ffff | u64::from(bits),
            1 => self.driver_features = self.driver_features & 0xffff_ffff | u64::from(bits) << 32,
            // It stays refused until the reset that a driver does anyway.
            _ => self.wants_unknown |= bits != 0,
        }
    }

    /// Changes the selected queue, as long as it is not in use.
    fn set_up(&mut self, change: impl FnOnce(&mut QueueConfig)) {
        let queue = self.queues.get_mut(usize::from(self.queue_select));
        if let Some(queue) = queue.filter(|queue| !queue.config.enabled) {
            change(&mut queue.config);
        }
    }

    /// A vector may change while its queue is in use: drivers move interrupts.
    fn set_queue_vector(&mut self, vector: u16) -> Option<Action> {
        let (n, vector) = (self.queue_select, self.vector(vector));
        let config = &mut self.queues.get_mut(usize::from(n))?.config;
        config.vector = vector;
        config.enabled.then_some(Action::QueueVector(n))
    }

    /// A vector that is not there reads back as none, which tells the driver (4.1.5.1.2.1).
    fn vector(&self, vector: u16) -> u16 {
        if vector < self.spec.vectors { vector } else { NO_VECTOR }
    }
}

/// One of the two 32-bit halves of `bits`; there are no others.
fn half_of(bits: u64, select: u32) -> u64 {
    match select {
        0 => bits & 0xffff_ffff,
        1 => bits >> 32,
        _ => 0,
    }
}

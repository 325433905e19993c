//! The status machine: what the driver may do in which order, and what a reset is (2.1, 2.4, 3.1.1).

use super::super::spec::{NO_VECTOR, feature, status};
use super::queue::QueueConfig;
use super::{Action, Queue, Transport};

impl Transport {
    /// The status register is written. Bits only come; 0 takes them all, once the device is done with its reset.
    pub(super) fn write_status(&mut self, value: u8) -> Option<Action> {
        if value == 0 {
            self.begin_reset();
            return Some(Action::Reset);
        }
        let before = self.status.get();
        let mut new = value & status::DRIVER_BITS & !before;
        if new & status::FEATURES_OK != 0 && !self.features_are_acceptable() {
            new &= !status::FEATURES_OK;
        }
        let after = before | new;
        let dead = after & (status::FAILED | status::DEVICE_NEEDS_RESET) != 0;
        if after & status::FEATURES_OK == 0 || dead {
            new &= !status::DRIVER_OK;
        }
        self.status.set(new);
        match new {
            new if new & status::FAILED != 0 => Some(Action::DriverFailed),
            new if new & status::DRIVER_OK != 0 => Some(Action::DriverOk),
            new if new & status::FEATURES_OK != 0 => Some(Action::FeaturesOk),
            _ => None,
        }
    }

    /// Nothing that was not offered, and never without what is required (6.2).
    fn features_are_acceptable(&self) -> bool {
        self.driver_features & !self.spec.features == 0
            && self.has(feature::VERSION_1 | self.spec.required)
            && !self.wants_unknown
    }

    pub(super) fn features_are_final(&self) -> bool {
        self.status.get() & status::FEATURES_OK != 0
    }

    /// Whether driver and device have agreed on `bit`.
    pub(super) fn negotiated(&self, bit: u64) -> bool {
        self.features_are_final() && self.has(bit)
    }

    /// Starts a reset that does not come from the driver: the client's, or that of the PCI function. As after
    /// [`Action::Reset`], the device then stops and calls [`Transport::reset_done`].
    pub fn begin_reset(&mut self) {
        self.resetting = true;
        if self.status.get() == 0 {
            // A driver that polls for 0 must not find it before the reset is done.
            self.status.set(status::DEVICE_NEEDS_RESET);
        }
    }

    /// The device has stopped: registers go to their defaults, and the status reads 0. Nothing if no reset is in progress.
    pub fn reset_done(&mut self) {
        if !self.resetting {
            return;
        }
        let queue = Queue { config: QueueConfig::new(self.spec.queue_size_max), resetting: false };
        self.queues.fill(queue);
        self.device_feature_select = 0;
        self.driver_feature_select = 0;
        self.driver_features = 0;
        self.wants_unknown = false;
        self.config_vector = NO_VECTOR;
        self.queue_select = 0;
        self.resetting = false;
        self.status.clear();
    }

    /// Queue `n` has stopped after [`Action::QueueReset`]: its registers go to their defaults (2.6.1, 4.1.4.3.1).
    pub fn queue_reset_done(&mut self, n: u16) {
        let default = QueueConfig::new(self.spec.queue_size_max);
        if let Some(queue) = self.queues.get_mut(usize::from(n)).filter(|queue| queue.resetting) {
            *queue = Queue { config: default, resetting: false };
        }
    }

    /// The selected queue is enabled, if features are final: the kind of its ring, and so its rules, depend on them. A ring
    /// that cannot be fails the device, as there is no other way to tell the driver.
    pub(super) fn enable_queue(&mut self) -> Option<Action> {
        let (n, packed, is_final) = (self.queue_select, self.has(feature::RING_PACKED), self.features_are_final());
        let queue = self.queues.get_mut(usize::from(n))?;
        if queue.config.enabled || !is_final {
            return None;
        }
        if !queue.config.is_valid(packed) {
            return self.status.fail().then_some(Action::NeedsReset);
        }
        queue.config.enabled = true;
        Some(Action::QueueEnabled(n))
    }

    pub(super) fn reset_queue(&mut self) -> Option<Action> {
        let (n, negotiated) = (self.queue_select, self.negotiated(feature::RING_RESET));
        let queue = self.queues.get_mut(usize::from(n))?;
        if !negotiated || !queue.config.enabled || queue.resetting {
            return None;
        }
        queue.resetting = true;
        Some(Action::QueueReset(n))
    }
}

//! The two registers that other threads touch: device status and ISR status. Handles are shared, the state is atomic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::super::spec::{isr, status};

/// The device status (2.1). Any thread may read it and fail the device; the rest belongs to the transport.
#[derive(Debug, Clone, Default)]
pub struct DeviceStatus(Arc<AtomicU8>);

impl DeviceStatus {
    /// All bits.
    pub fn get(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }

    /// Whether the driver has made the device live, and neither has failed since.
    pub fn is_live(&self) -> bool {
        let dead = status::DEVICE_NEEDS_RESET | status::FAILED;
        self.get() & (status::DRIVER_OK | dead) == status::DRIVER_OK
    }

    /// Whether the device waits for a reset.
    pub fn needs_reset(&self) -> bool {
        self.get() & status::DEVICE_NEEDS_RESET != 0
    }

    /// Fails the device: it needs a reset from now on (2.1.2). True for the first call since the last reset, whose caller
    /// tells the driver by a configuration interrupt if the device was live.
    pub fn fail(&self) -> bool {
        self.0.fetch_or(status::DEVICE_NEEDS_RESET, Ordering::AcqRel) & status::DEVICE_NEEDS_RESET == 0
    }

    pub(super) fn set(&self, bits: u8) {
        self.0.fetch_or(bits, Ordering::AcqRel);
    }

    pub(super) fn clear(&self) {
        self.0.store(0, Ordering::Release);
    }
}

/// The ISR status (4.1.4.5). Reactors set it, a driver's read takes it.
#[derive(Debug, Clone, Default)]
pub struct Isr(Arc<AtomicU8>);

impl Isr {
    /// A queue has used buffers. Call it before INTx is asserted.
    pub fn set_queue(&self) {
        self.0.fetch_or(isr::QUEUE, Ordering::SeqCst);
    }

    /// The configuration changed. Call it before INTx is asserted.
    pub fn set_config(&self) {
        self.0.fetch_or(isr::CONFIG, Ordering::SeqCst);
    }

    /// Reads and clears. Let go of INTx before, so that a bit set in between asserts it again.
    pub fn take(&self) -> u8 {
        self.0.swap(0, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_the_isr_clears_it() {
        let isr = Isr::default();
        let reactor = isr.clone();
        reactor.set_queue();
        reactor.set_config();
        assert_eq!(isr.take(), 3);
        assert_eq!(isr.take(), 0);
    }

    #[test]
    fn only_the_first_failure_counts_and_ends_the_life_of_the_device() {
        let status = DeviceStatus::default();
        status.set(status::DRIVER_OK);
        assert!(status.is_live());
        assert!(status.clone().fail());
        assert!(!status.fail());
        assert!(status.needs_reset() && !status.is_live());
        status.clear();
        assert!(status.fail());
    }
}

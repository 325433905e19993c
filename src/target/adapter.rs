//! The host adapter that a guest sees: what its control thread and its workers on the reactors share.
//!
//! All of it is read-mostly: a worker touches it when it signals, and when something goes wrong.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::observe::LogLimit;
use crate::pci::Interrupts;
use crate::virtio::transport::{DeviceStatus, Isr};

use super::courier::Outbox;
use super::lun_change::Orders;
use super::lun_map::LunMap;
use super::news::News;
use super::task_set::Tickets;

/// `VIRTIO_MSI_NO_VECTOR` (virtio 1.2, 4.1.4.3).
const NO_VECTOR: u16 = 0xffff;

/// Shared state of one controller.
#[derive(Debug)]
pub(crate) struct Adapter {
    /// The controller's socket, for messages.
    pub(crate) name: String,
    /// What the workers of the next life begin with; each has a snapshot of its own.
    luns: Mutex<Arc<LunMap>>,
    /// Changes of what it serves, for the control thread.
    pub(crate) orders: Orders,
    /// What the driver is to be told of.
    pub(crate) news: Arc<News>,
    pub(crate) interrupts: Arc<Interrupts>,
    pub(crate) tickets: Tickets,
    /// Jobs for the control thread.
    pub(crate) outbox: Outbox,
    status: DeviceStatus,
    isr: Isr,
    config_vector: AtomicU16,
    vectors: Box<[AtomicU16]>,
    faults: LogLimit,
}

impl Adapter {
    /// An adapter with `queues` virtqueues, none of which has a vector. `bell` wakes its control thread.
    pub(crate) fn new(
        name: String,
        luns: LunMap,
        interrupts: Arc<Interrupts>,
        (status, isr): (DeviceStatus, Isr),
        queues: u16,
        bell: Arc<OwnedFd>,
    ) -> Self {
        let no_vector = || AtomicU16::new(NO_VECTOR);
        let news = luns.port.news.clone();
        Self {
            name,
            luns: Mutex::new(Arc::new(luns)),
            orders: Orders::default(),
            news,
            interrupts,
            tickets: Tickets::default(),
            outbox: Outbox::new(bell),
            status,
            isr,
            config_vector: no_vector(),
            vectors: (0..queues).map(|_| no_vector()).collect(),
            faults: LogLimit::new(),
        }
    }

    /// The logical units that there are now.
    pub(crate) fn luns(&self) -> Arc<LunMap> {
        self.luns.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on there are these. Whoever serves a queue has to be told.
    pub(crate) fn set_luns(&self, luns: Arc<LunMap>) {
        *self.luns.lock().unwrap_or_else(PoisonError::into_inner) = luns;
    }

    /// Takes over the vectors that the driver chose.
    pub(crate) fn set_vectors(&self, config: u16, queues: impl Iterator<Item = u16>) {
        self.config_vector.store(config, Ordering::Relaxed);
        for (place, vector) in self.vectors.iter().zip(queues) {
            place.store(vector, Ordering::Relaxed);
        }
    }

    /// Whether the device waits for a reset: its queues rest.
    #[inline]
    pub(crate) fn is_broken(&self) -> bool {
        self.status.needs_reset()
    }

    /// Whether nothing would tell the driver of used buffers in `queue`: it polls, and rings no bell either.
    pub(crate) fn is_polled(&self, queue: u16) -> bool {
        if self.interrupts.uses_msix() { self.vector(queue) == NO_VECTOR } else { !self.interrupts.has_intx() }
    }

    /// Tells the driver of used buffers in `queue`.
    pub(crate) fn signal_queue(&self, queue: u16) {
        if self.interrupts.uses_msix() {
            self.interrupts.signal(self.vector(queue));
        } else {
            self.isr.set_queue();
            self.interrupts.assert_intx();
        }
    }

    /// Fails the device: `DEVICE_NEEDS_RESET` and a configuration interrupt (virtio 1.2, 2.1.2).
    pub(crate) fn fail(&self, why: &dyn std::fmt::Display) {
        if self.status.fail() {
            self.report_failure(why);
        }
    }

    /// The device has just failed: tells the user, and the driver.
    pub(crate) fn report_failure(&self, why: &dyn std::fmt::Display) {
        if let Some(suppressed) = self.faults.allow() {
            tracing::warn!(
                controller = self.name,
                suppressed,
                "device stopped until the guest's driver resets it: {why}"
            );
        }
        self.signal_config();
    }

    /// Tells the driver that the device configuration, or the device status, has changed.
    pub(crate) fn signal_config(&self) {
        if self.interrupts.uses_msix() {
            self.interrupts.signal(self.config_vector.load(Ordering::Relaxed));
        } else {
            self.isr.set_config();
            self.interrupts.assert_intx();
        }
    }

    /// Reads the ISR status, which clears it and lets go of INTx.
    pub(crate) fn take_isr(&self) -> u8 {
        self.interrupts.deassert_intx();
        self.isr.take()
    }

    fn vector(&self, queue: u16) -> u16 {
        self.vectors[usize::from(queue)].load(Ordering::Relaxed)
    }
}

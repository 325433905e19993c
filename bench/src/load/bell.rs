//! Doorbells, and what one costs.
//!
//! A device that sleeps is woken by a write to a register, which goes over the socket: to the device that is a message,
//! and a thread of its that wakes up. Lanes share the connection; they ring so seldom that a lock is in nobody's way.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::guest::spec::common;
use crate::guest::{Guest, Options};

/// Register writes that are timed.
const WRITES: u32 = 300;
/// The first of them are not counted: the device's thread has slept for long.
const WARM_UP: u32 = 20;
/// Longest time that is told apart.
const NS_MAX: u64 = 10_000_000_000;

/// The doorbell of one queue.
#[derive(Debug, Clone)]
pub struct Bell {
    guest: Arc<Mutex<Guest>>,
    /// Number of the virtqueue.
    queue: u16,
}

impl Bell {
    /// The bell of virtqueue `queue`.
    pub fn new(guest: &Arc<Mutex<Guest>>, queue: u16) -> Self {
        Self { guest: Arc::clone(guest), queue }
    }

    /// Rings it: returns when the message is sent, whether the device has seen it or not.
    ///
    /// # Errors
    /// The connection is gone.
    #[cold]
    pub fn ring(&self) -> Result<()> {
        let mut guest = self.guest.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(guest.ring_bell(self.queue)?)
    }
}

/// What it takes to write a register over the socket, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct WriteCost {
    /// Mean.
    pub mean_us: f64,
    /// Half of all took at most this.
    pub p50_us: f64,
    /// 99 %.
    pub p99_us: f64,
    /// The longest.
    pub max_us: f64,
}

impl WriteCost {
    /// Times register writes on a device's socket.
    ///
    /// # Errors
    /// There is no device.
    pub fn of_socket(socket: &Path) -> Result<Self> {
        let guest = Guest::connect(socket, Options { own_client: true, ..Options::polling() });
        Self::measure(&mut guest.with_context(|| format!("cannot use {}", socket.display()))?)
    }

    /// Times writes of a register that nothing happens by, each until its reply has come.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn measure(guest: &mut Guest) -> Result<Self> {
        let mut ns = Histogram::<u64>::new_with_bounds(1, NS_MAX, 3).expect("the bounds are valid");
        let (device, connection) = guest.registers();
        for write in 0..WARM_UP + WRITES {
            let start = Instant::now();
            device.set_common(connection, common::QUEUE_SELECT, &0u16.to_le_bytes())?;
            if write >= WARM_UP {
                ns.saturating_record(start.elapsed().as_nanos() as u64);
            }
        }
        let at = |quantile| ns.value_at_quantile(quantile) as f64 / 1e3;
        Ok(Self { mean_us: ns.mean() / 1e3, p50_us: at(0.5), p99_us: at(0.99), max_us: ns.max() as f64 / 1e3 })
    }
}

impl std::fmt::Display for WriteCost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mean_us, p50_us, p99_us, max_us } = self;
        write!(f, "mean {mean_us:.2}, p50 {p50_us:.2}, p99 {p99_us:.2}, max {max_us:.2}")
    }
}

//! A guest: memory, a virtio-scsi driver, and the connection to the device it drives.
//!
//! [`Guest`] joins the parts for those who want to send commands and see answers. Each part can be used alone: a load
//! generator takes [`queue`] and [`memory`] to threads of its own, a hostile test reaches below any of them.

mod allocator;
mod commands;
mod control;
mod error;

pub mod cdb;
pub mod connection;
pub mod device;
pub mod framing;
pub mod interrupt;
pub mod memory;
pub mod own_client;
pub mod pci;
pub mod queue;
pub mod queue_packed;
pub mod queue_split;
pub mod scsi;
pub mod spec;
pub mod task;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

pub use commands::Completion;
pub use error::{Error, Result};

use connection::{Connection, MSIX_INDEX};
use device::{Device, ScsiConfig};
use framing::Buffers;
use interrupt::Interrupt;
use memory::{Gpa, GuestMemory, Region, Window};
use queue::{Format, Queue};
use queue_split::SplitQueue;
use spec::{common, feature};

/// How to drive the device.
#[derive(Debug, Clone)]
pub struct Options {
    /// Request queues to set up; fewer if the device has fewer.
    pub request_queues: u16,
    /// Entries of each queue, a power of two; fewer if the device allows fewer.
    pub queue_size: u16,
    /// Features to take if they are offered, as masks of [`feature`].
    pub features: u64,
    /// Whether queues have a vector each and the guest sleeps until it fires. Otherwise there is no vector at all and the
    /// guest polls.
    pub interrupts: bool,
    /// Memory regions: where and how long, in whole pages. Requests are laid out in the first that has room.
    pub regions: Vec<(Gpa, usize)>,
    /// How long to wait for a completion, a reset or an answer.
    pub limit: Duration,
    /// Whether the connection is by [our own client](own_client), which posts doorbells, or by rust-vmm's.
    pub own_client: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            request_queues: 1,
            queue_size: 128,
            features: feature::VERSION_1
                | feature::INDIRECT_DESC
                | feature::EVENT_IDX
                | feature::SCSI_INOUT
                | feature::SCSI_HOTPLUG
                | feature::SCSI_CHANGE,
            interrupts: true,
            regions: vec![(Gpa(0x10_0000), 16 << 20)],
            limit: Duration::from_secs(30),
            own_client: false,
        }
    }
}

impl Options {
    /// A guest that polls, with neither vectors nor interrupts.
    pub fn polling() -> Self {
        Self { interrupts: false, ..Self::default() }
    }

    /// The same with packed rings, if the device offers them.
    pub fn packed(self) -> Self {
        Self { features: self.features | feature::RING_PACKED, ..self }
    }
}

/// A queue with what is under way on it.
#[derive(Debug)]
struct Lane {
    queue: Queue,
    /// Where its doorbell is in the notification structure.
    doorbell: u64,
    /// By head.
    in_flight: HashMap<u16, Pending>,
}

/// A request under way.
#[derive(Debug)]
struct Pending {
    id: u64,
    buffers: Buffers,
}

/// A running guest.
#[derive(Debug)]
pub struct Guest {
    connection: Connection,
    device: Device,
    memory: GuestMemory,
    options: Options,
    /// Vector 0 is for configuration changes, vector 1 + n for virtqueue n. Empty if the guest polls.
    vectors: Vec<Interrupt>,
    /// By virtqueue number. Empty while the device is reset.
    lanes: Vec<Lane>,
    /// Event buffers by head.
    events: HashMap<u16, Window>,
    features: u64,
    config: Option<ScsiConfig>,
    next_id: u64,
}

impl Guest {
    /// Connects, shares memory and brings the device up.
    ///
    /// # Errors
    /// The device cannot be reached, or is not as the specification says.
    pub fn attach(socket: &Path, options: Options) -> Result<Self> {
        let mut guest = Self::connect(socket, options)?;
        guest.start()?;
        Ok(guest)
    }

    /// Connects and shares memory; the device is left as reset. [`start`](Self::start) brings it up.
    ///
    /// # Errors
    /// As above.
    pub fn connect(socket: &Path, options: Options) -> Result<Self> {
        let regions = options.regions.iter().map(|&(gpa, len)| Region::new(gpa, len)).collect::<Result<_>>()?;
        let memory = GuestMemory::new(regions);
        let mut connection = match options.own_client {
            true => Connection::open_own(socket, options.limit)?,
            false => Connection::open(socket)?,
        };
        for region in memory.regions() {
            connection.dma_map(region)?;
        }
        let device = Device::find(&mut connection)?;
        device.enable(&mut connection, options.interrupts)?;
        let mut guest = Self {
            connection,
            device,
            memory,
            options,
            vectors: Vec::new(),
            lanes: Vec::new(),
            events: HashMap::new(),
            features: 0,
            config: None,
            next_id: 1 << 32,
        };
        guest.attach_vectors()?;
        Ok(guest)
    }

    /// One vector for configuration changes and one a queue, if the device has so many.
    fn attach_vectors(&mut self) -> Result<()> {
        if !self.options.interrupts {
            return Ok(());
        }
        let wanted = 1 + u32::from(spec::scsi::FIRST_REQUEST_QUEUE) + u32::from(self.options.request_queues);
        let count = self.connection.irq_info(MSIX_INDEX)?.count.min(wanted);
        if count == 0 {
            return Err(Error::Device("no MSI-X vector".into()));
        }
        self.vectors = (0..count).map(|_| Interrupt::new()).collect::<Result<_>>()?;
        self.connection.enable_msix(&self.vectors)
    }

    /// Takes the device from reset to DRIVER_OK (3.1.1).
    ///
    /// # Errors
    /// The device does not do what it should.
    pub fn start(&mut self) -> Result<()> {
        self.negotiate()?;
        self.set_up_queues()?;
        self.device.driver_ok(&mut self.connection)
    }

    /// The first half of [`start`](Self::start): features.
    ///
    /// # Errors
    /// As above.
    pub fn negotiate(&mut self) -> Result<()> {
        self.device.reset(&mut self.connection, self.options.limit)?;
        self.features = self.device.negotiate(&mut self.connection, self.options.features)?;
        self.read_config()
    }

    /// Reads the device specific configuration again, after some of it was changed by hand.
    ///
    /// # Errors
    /// As above.
    pub fn read_config(&mut self) -> Result<()> {
        self.config = Some(self.device.config(&mut self.connection)?);
        Ok(())
    }

    /// The second half of [`start`](Self::start) but for DRIVER_OK: queues.
    ///
    /// # Errors
    /// As above.
    pub fn set_up_queues(&mut self) -> Result<()> {
        let last = self.vectors.len().saturating_sub(1) as u16;
        let vector = |wanted: u16| if self.options.interrupts { wanted.min(last) } else { common::NO_VECTOR };
        self.device.set_config_vector(&mut self.connection, vector(0))?;
        let offered = self.device.num_queues(&mut self.connection)?;
        let wanted = spec::scsi::FIRST_REQUEST_QUEUE + self.options.request_queues;
        let event_idx = self.features & feature::EVENT_IDX != 0;
        let format = if self.features & feature::RING_PACKED != 0 { Format::Packed } else { Format::Split };
        for number in 0..wanted.min(offered) {
            let size = self.device.queue_size(&mut self.connection, number)?.min(self.options.queue_size);
            if !size.is_power_of_two() {
                return Err(Error::Device(format!("queue {number} has {size} entries")));
            }
            let mut queue = Queue::new(&mut self.memory, format, number, size, event_idx)?;
            queue.set_interrupts(self.options.interrupts);
            self.device.enable_queue(&mut self.connection, &queue, vector(1 + number))?;
            let doorbell = self.device.doorbell(&mut self.connection, number)?;
            self.lanes.push(Lane { queue, doorbell, in_flight: HashMap::new() });
        }
        Ok(())
    }

    /// Resets the virtio side and waits for it. What was in flight is forgotten, its memory is free again; returns how
    /// many requests that were. [`start`](Self::start) brings the device back.
    ///
    /// # Errors
    /// As above.
    pub fn reset(&mut self) -> Result<usize> {
        self.device.reset(&mut self.connection, self.options.limit)?;
        Ok(self.forget())
    }

    /// Resets the whole function with DEVICE_RESET, and enables it again. Otherwise as [`reset`](Self::reset).
    ///
    /// # Errors
    /// As above.
    pub fn reset_function(&mut self) -> Result<usize> {
        self.connection.reset()?;
        self.device.enable(&mut self.connection, self.options.interrupts)?;
        Ok(self.forget())
    }

    fn forget(&mut self) -> usize {
        let mut forgotten = 0;
        for lane in self.lanes.drain(..) {
            forgotten += lane.in_flight.len();
            for (_, pending) in lane.in_flight {
                pending.buffers.free(&mut self.memory);
            }
            lane.queue.free(&mut self.memory);
        }
        for (_, window) in self.events.drain() {
            self.memory.free(&window);
        }
        forgotten
    }

    /// Takes memory region number `index` from the device.
    ///
    /// # Errors
    /// The connection is gone, or there is no such region.
    pub fn unmap(&mut self, index: usize) -> Result<()> {
        let region = self.memory.regions().nth(index).ok_or(Error::Full("regions"))?;
        self.connection.dma_unmap(region.gpa().0, region.len() as u64)
    }

    /// Gives memory region number `index` to the device (again).
    ///
    /// # Errors
    /// As above.
    pub fn map(&mut self, index: usize) -> Result<()> {
        let region = self.memory.regions().nth(index).ok_or(Error::Full("regions"))?;
        self.connection.dma_map(region)
    }

    /// The device status.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn status(&mut self) -> Result<u8> {
        self.device.status(&mut self.connection)
    }

    /// Features that both sides have taken.
    pub fn features(&self) -> u64 {
        self.features
    }

    /// Request queues that were set up.
    pub fn request_queues(&self) -> u16 {
        (self.lanes.len() as u16).saturating_sub(spec::scsi::FIRST_REQUEST_QUEUE)
    }

    /// The device specific configuration as it was last read.
    ///
    /// # Panics
    /// Before that.
    pub fn config(&self) -> &ScsiConfig {
        self.config.as_ref().expect("features are agreed")
    }

    /// The guest's memory.
    pub fn memory(&mut self) -> &mut GuestMemory {
        &mut self.memory
    }

    /// Registers and the connection to reach them by.
    pub fn registers(&mut self) -> (&Device, &mut Connection) {
        (&self.device, &mut self.connection)
    }

    /// Virtqueue number `number`: 0 control, 1 events, 2 and up requests.
    ///
    /// # Panics
    /// It was not set up.
    pub fn queue(&mut self, number: u16) -> &mut Queue {
        &mut self.lanes[usize::from(number)].queue
    }

    /// The same, to reach below the orderly way into a split ring.
    ///
    /// # Panics
    /// It was not set up, or is packed.
    pub fn split_queue(&mut self, number: u16) -> &mut SplitQueue {
        self.queue(number).split()
    }

    /// The vector of configuration changes, if the guest has interrupts.
    pub fn config_interrupt(&self) -> Option<&Interrupt> {
        self.vectors.first()
    }

    /// The vector of virtqueue `number`, if the guest has interrupts.
    pub fn queue_interrupt(&self, number: u16) -> Option<&Interrupt> {
        self.vectors.get((usize::from(number) + 1).min(self.vectors.len().saturating_sub(1)))
    }

    /// The time limit of waits.
    pub fn limit(&self) -> Duration {
        self.options.limit
    }

    /// Changes the time limit of waits.
    pub fn set_limit(&mut self, limit: Duration) {
        self.options.limit = limit;
    }
}

//! A client that behaves as SPDK's virtio-scsi initiator does: a polling driver in user space that takes short cuts.
//!
//! It looks at no capability, sets no vector, rings no bell, asks for no interrupt, uses its own addresses as guest
//! addresses, clears the rings after it has enabled the queues, and scans 64 targets. It exists to show that a device
//! serves such a driver; the well-behaved one is [`Guest`](crate::Guest).

mod transport;

use std::path::Path;
use std::time::{Duration, Instant};

pub use transport::{RegionInfo, Transport};

use crate::guest::framing::{Buffers, Shape};
use crate::guest::memory::{GuestMemory, HUGE_PAGE, Region, Window};
use crate::guest::queue_split::SplitQueue;
use crate::guest::scsi::{Command, Lun, Response};
use crate::guest::spec::{common, feature, response, scsi, status};
use crate::guest::{Error, Result, cdb};

/// The BAR that it takes the registers to be in.
const BAR: u32 = 4;
/// Where it takes the device configuration to be.
const DEVICE_CONFIG: u64 = 0x2000;
/// Region index of PCI configuration space.
const CONFIG_SPACE: u32 = 7;
/// What it asks for, VERSION_1 apart.
const FEATURES: u64 = feature::SCSI_INOUT | feature::SCSI_HOTPLUG | feature::EVENT_IDX;
/// Targets that it scans.
const TARGETS: u8 = 64;
/// Room for the answers to a scan.
const SCAN_LEN: u16 = 256;
/// Huge pages for data.
const DATA_PAGES: usize = 2;

/// A disk that the scan found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Its target.
    pub target: u8,
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes of a block.
    pub block_size: u32,
    /// Whether the logical block provisioning page says that UNMAP works.
    pub unmap: bool,
}

/// The initiator.
#[derive(Debug)]
pub struct SpdkInitiator {
    transport: Transport,
    rings: GuestMemory,
    data: GuestMemory,
    queues: Vec<SplitQueue>,
    limit: Duration,
}

impl SpdkInitiator {
    /// Connects, shares memory, resets and starts the device with all of its queues.
    ///
    /// # Errors
    /// The device does not answer as SPDK needs it.
    pub fn attach(socket: &Path, limit: Duration) -> Result<Self> {
        let mut transport = Transport::connect(socket, limit)?;
        match transport.region(BAR) {
            Some(info) if info.size >= 0x4000 && info.flags & 4 == 0 => {}
            info => return Err(Error::Device(format!("BAR {BAR} is {info:?}"))),
        }
        let data = GuestMemory::new(vec![Region::at_own_address(DATA_PAGES * HUGE_PAGE)?]);
        for region in data.regions() {
            transport.dma(region, true)?;
        }
        let command = u16::from_le_bytes(transport.read(CONFIG_SPACE, 4)?) | 0x404;
        transport.write(CONFIG_SPACE, 4, &command.to_le_bytes())?;
        let request_queues = u32::from_le_bytes(transport.read(BAR, DEVICE_CONFIG)?);
        let queues = usize::from(scsi::FIRST_REQUEST_QUEUE) + request_queues as usize;
        // Each ring has a huge page of its own; no device has more queues than fit in so much.
        let rings = GuestMemory::new(vec![Region::at_own_address(queues.clamp(3, 256) * HUGE_PAGE)?]);
        for region in rings.regions() {
            transport.dma(region, true)?;
        }
        let mut initiator = Self { transport, rings, data, queues: Vec::new(), limit };
        initiator.start(queues as u16)?;
        Ok(initiator)
    }

    /// Request queues.
    pub fn request_queues(&self) -> u16 {
        self.queues.len() as u16 - scsi::FIRST_REQUEST_QUEUE
    }

    /// Resets the device, frees the queues the way SPDK does (after the reset), and starts again.
    ///
    /// # Errors
    /// As above.
    pub fn restart(&mut self) -> Result<()> {
        let count = self.queues.len() as u16;
        self.start(count)
    }

    fn start(&mut self, queues: u16) -> Result<()> {
        self.write_status(0)?;
        self.status()?;
        for queue in std::mem::take(&mut self.queues) {
            self.set_common(common::QUEUE_SELECT, &queue.number().to_le_bytes())?;
            self.set_common(common::QUEUE_ENABLE, &0u16.to_le_bytes())?;
            self.rings.free(&whole(&queue, &self.rings)?);
        }
        self.add_status(status::ACKNOWLEDGE)?;
        self.add_status(status::DRIVER)?;
        let offered = self.device_features()?;
        self.set_features(offered & (FEATURES | feature::VERSION_1))?;
        self.add_status(status::FEATURES_OK)?;
        for number in 0..queues {
            let queue = self.set_up(number, offered & feature::EVENT_IDX != 0)?;
            self.queues.push(queue);
        }
        self.add_status(status::DRIVER_OK)
    }

    fn device_features(&mut self) -> Result<u64> {
        let mut features = 0;
        for half in 0..2 {
            self.set_common(common::DEVICE_FEATURE_SELECT, &(half as u32).to_le_bytes())?;
            let bits = u32::from_le_bytes(self.transport.read(BAR, common::DEVICE_FEATURE)?);
            features |= u64::from(bits) << (32 * half);
        }
        Ok(features)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        for half in 0..2 {
            self.set_common(common::DRIVER_FEATURE_SELECT, &(half as u32).to_le_bytes())?;
            self.set_common(common::DRIVER_FEATURE, &((features >> (32 * half)) as u32).to_le_bytes())?;
        }
        Ok(())
    }

    /// Tells the device where a queue is, enables it, and only then clears its memory.
    fn set_up(&mut self, number: u16, event_idx: bool) -> Result<SplitQueue> {
        self.set_common(common::QUEUE_SELECT, &number.to_le_bytes())?;
        let size = u16::from_le_bytes(self.transport.read(BAR, common::QUEUE_SIZE)?);
        if size == 0 || !size.is_power_of_two() {
            return Err(Error::Device(format!("queue {number} has {size} entries")));
        }
        let page = self.rings.allocate(HUGE_PAGE, HUGE_PAGE)?;
        let mut queue = SplitQueue::on(number, size, ring_parts(&page, size), event_idx);
        self.set_common(common::QUEUE_SELECT, &number.to_le_bytes())?;
        let layout = queue.layout();
        for (field, gpa) in [
            (common::QUEUE_DESC, layout.desc),
            (common::QUEUE_DRIVER, layout.driver),
            (common::QUEUE_DEVICE, layout.device),
        ] {
            self.set_common(field, &(gpa.0 as u32).to_le_bytes())?;
            self.set_common(field + 4, &((gpa.0 >> 32) as u32).to_le_bytes())?;
        }
        let _: [u8; 2] = self.transport.read(BAR, common::QUEUE_NOTIFY_OFF)?;
        self.set_common(common::QUEUE_ENABLE, &1u16.to_le_bytes())?;
        queue.clear();
        queue.set_interrupts(false);
        if event_idx {
            queue.set_used_event(u16::MAX);
        }
        Ok(queue)
    }

    fn set_common(&mut self, field: u64, bytes: &[u8]) -> Result<()> {
        self.transport.write(BAR, field, bytes)
    }

    /// The device status.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn status(&mut self) -> Result<u8> {
        Ok(self.transport.read::<1>(BAR, common::DEVICE_STATUS)?[0])
    }

    fn write_status(&mut self, status: u8) -> Result<()> {
        self.set_common(common::DEVICE_STATUS, &[status])
    }

    /// Adds a status bit and looks whether it stays.
    fn add_status(&mut self, bit: u8) -> Result<()> {
        let now = self.status()?;
        self.write_status(now | bit)?;
        match self.status()? {
            status if status & bit != 0 => Ok(()),
            status => Err(Error::Device(format!("status bit {bit:#x} does not stay: {status:#x}"))),
        }
    }

    /// Sends a command on a request queue, counted from 0, rings no bell, and polls for the answer.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; the device gave back something that it does not have.
    pub fn execute(&mut self, queue: u16, command: &Command) -> Result<Response> {
        let request = command.encode(1, scsi::CDB_SIZE);
        let answer = (scsi::RESPONSE_HEADER_LEN + scsi::SENSE_SIZE, command.data_in);
        let buffers = Buffers::new(&mut self.data, &Shape::default(), (&request, &command.data_out), answer)?;
        let queue = &mut self.queues[usize::from(scsi::FIRST_REQUEST_QUEUE + queue)];
        queue.add(buffers.pieces())?;
        queue.publish();
        queue.set_interrupts(false);
        let start = Instant::now();
        let used = loop {
            if let Some(used) = queue.poll()? {
                break used;
            }
            if start.elapsed() > self.limit {
                return Err(Error::TimedOut { what: "completion", limit: self.limit });
            }
            std::thread::yield_now();
        };
        let response = Response::parse(&buffers.response.to_vec(), buffers.data_in.to_vec(), used.len);
        buffers.free(&mut self.data);
        response
    }

    /// The same again while the answer is a unit attention.
    fn execute_settled(&mut self, command: &Command) -> Result<Response> {
        for _ in 0..4 {
            let answer = self.execute(0, command)?;
            if answer.sense_code().is_none_or(|(key, ..)| key != 6) {
                return Ok(answer);
            }
        }
        Err(Error::Command("unit attention without end".into()))
    }

    /// Looks for a disk at LUN 0 of each target.
    ///
    /// # Errors
    /// As above; a missing target is not answered with BAD_TARGET or INCORRECT_LUN; a disk does not say what it is.
    pub fn scan(&mut self) -> Result<Vec<Disk>> {
        let mut disks = Vec::new();
        for target in 0..TARGETS {
            let lun = Lun::peripheral(target, 0);
            let inquiry = Command::data_in(lun, cdb::inquiry(None, SCAN_LEN), SCAN_LEN.into());
            let answer = self.execute_settled(&inquiry)?;
            if matches!(answer.response, response::BAD_TARGET | response::INCORRECT_LUN) {
                continue;
            }
            if answer.good()?.data[0] == 0 {
                disks.push(self.look_at(target)?);
            }
        }
        Ok(disks)
    }

    fn look_at(&mut self, target: u8) -> Result<Disk> {
        let lun = Lun::peripheral(target, 0);
        self.execute_settled(&Command::new(lun, cdb::test_unit_ready()))?.good()?;
        let vpd = |page| Command::data_in(lun, cdb::inquiry(Some(page), SCAN_LEN), SCAN_LEN.into());
        let pages = self.execute_settled(&vpd(0x00))?.good()?.data;
        let listed = &pages[4..][..usize::from(u16::from_be_bytes([pages[2], pages[3]])).min(252)];
        let unmap = listed.contains(&0xB2) && self.execute_settled(&vpd(0xB2))?.good()?.data[5] & 0x80 != 0;
        let short = Command::data_in(lun, cdb::read_capacity_10(), 8);
        let short = self.execute_settled(&short)?.good()?.data;
        let word = |data: &[u8], at: usize| u32::from_be_bytes(data[at..at + 4].try_into().expect("four bytes"));
        let (last, block_size) = (word(&short, 0), word(&short, 4));
        if last != u32::MAX {
            return Ok(Disk { target, blocks: u64::from(last) + 1, block_size, unmap });
        }
        let long = Command::data_in(lun, cdb::read_capacity_16(32), 32);
        let long = self.execute_settled(&long)?.good()?.data;
        let last = u64::from_be_bytes(long[..8].try_into().expect("eight bytes"));
        Ok(Disk { target, blocks: last + 1, block_size: word(&long, 8), unmap })
    }

    /// Takes all memory back, which SPDK does with the file attached, and closes.
    ///
    /// # Errors
    /// As above.
    pub fn release(mut self) -> Result<()> {
        for region in self.data.regions().chain(self.rings.regions()) {
            self.transport.dma(region, false)?;
        }
        Ok(())
    }
}

/// Descriptor table, avail ring and used ring in one huge page: the used ring at the next page boundary.
fn ring_parts(page: &Window, size: u16) -> [Window; 3] {
    let entries = usize::from(size);
    let avail = 16 * entries;
    let used = (avail + 4 + 2 * entries).next_multiple_of(4096);
    // Where the used event index is, there is always room: the used ring begins at a page boundary.
    let used = if used < avail + 6 + 2 * entries { used + 4096 } else { used };
    [page.part(0, avail), page.part(avail, 6 + 2 * entries), page.part(used, 6 + 8 * entries)]
}

fn whole(queue: &SplitQueue, rings: &GuestMemory) -> Result<Window> {
    rings.window(queue.layout().desc, HUGE_PAGE)
}

//! The limit of two CPUs: the same driver, and a device loop that does the least that the protocol allows.
//!
//! The loop takes each chain, reads the request's header, writes the response's header and gives the chain back. It checks
//! nothing and moves no data. It asks for the cache lines of a batch before it needs them, and shows the driver what is
//! done while it goes on, so that both work at a time: no target should be faster with such a ring on these CPUs.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::guest::memory::{GuestMemory, Region, Window};
use crate::guest::queue::Queue;
use crate::guest::scsi::Lun;
use crate::guest::spec::{ring, scsi};

use super::crew::{self, Outcome};
use super::lane::Lane;
use super::options::{LoadOptions, RingOptions};
use super::ring::DriverRing;
use super::session::{self, Builder, Shape};
use super::slots::Slots;

/// Blocks of the disk that is not there: 1 TiB.
const BLOCKS: u64 = 1 << 31;
/// Bytes before the entries of avail and used ring.
const RING: usize = 4;
/// Chains that are taken and shown together.
const BATCH: u16 = 16;

/// Where the device loop runs.
#[derive(Debug, Clone, Args)]
pub struct LimitOptions {
    /// CPU of the device loop [default: the first one that we may use]
    #[arg(long, value_name = "CPU")]
    pub device_cpu: Option<usize>,
}

impl LimitOptions {
    /// CPU of the device loop.
    ///
    /// # Errors
    /// The kernel does not say which there are.
    pub fn device_cpu(&self) -> Result<usize> {
        match self.device_cpu {
            Some(cpu) => Ok(cpu),
            None => super::cpu::allowed()?.first().copied().context("there is no CPU"),
        }
    }
}

/// Queues with a driver on one side and the device loop on the other.
#[derive(Debug)]
pub struct Limit {
    _memory: GuestMemory,
    lanes: Vec<Lane>,
    devices: Vec<DeviceRing>,
}

impl Limit {
    /// Lays everything out.
    ///
    /// # Errors
    /// No memory, or options that do not fit.
    pub fn new(load: &LoadOptions, ring: &RingOptions) -> Result<Self> {
        ensure!(!load.verify, "there is no data to verify in a device that moves none");
        let (gpa, len) = session::memory(load, ring);
        let mut memory = GuestMemory::new(vec![Region::new(gpa, len)?]);
        let all = memory.window(gpa, len)?;
        let shape = Shape { blocks: BLOCKS, block_size: 512, cdb_size: 32, sense_size: 96 };
        let mut builder = Builder::new(load, ring, shape)?;
        let (mut lanes, mut devices) = (Vec::new(), Vec::new());
        for number in 0..ring.queues {
            let mut queue = Queue::new(&mut memory, number, 1 << ring.queue_size.ilog2(), false)?;
            queue.set_interrupts(false);
            let slots = Slots::new(&mut memory, builder.layout, Lun::new(0, 0), false)?;
            devices.push(DeviceRing::new(&queue, all.clone()));
            lanes.push(builder.lane(number, DriverRing::take_over(&queue), slots)?);
        }
        Ok(Self { _memory: memory, lanes, devices })
    }

    /// One run with the device loop on `device_cpu`. Can be repeated.
    ///
    /// # Errors
    /// There is no such CPU.
    pub fn run(&mut self, load: &LoadOptions, device_cpu: usize) -> Result<Outcome> {
        session::arm(&mut self.lanes, load);
        let (lanes, devices) = (&mut self.lanes, &mut self.devices);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let device = scope.spawn(|| serve(devices, device_cpu, &stop));
            let outcome = crew::run(lanes, load, None);
            stop.store(true, Ordering::Relaxed);
            device.join().expect("the device thread does not panic")?;
            outcome
        })
    }
}

fn serve(devices: &mut [DeviceRing], cpu: usize, stop: &AtomicBool) -> Result<()> {
    super::cpu::pin(cpu)?;
    while !stop.load(Ordering::Relaxed) {
        devices.iter_mut().for_each(DeviceRing::pass);
    }
    Ok(())
}

/// The device's side of a ring.
#[derive(Debug)]
struct DeviceRing {
    desc: Window,
    avail: Window,
    used: Window,
    memory: Window,
    mask: u16,
    next: u16,
    /// Sum of what was read, so that it is read.
    seen: u64,
}

/// What a device needs to know of a descriptor.
struct Descriptor {
    /// Offset in guest memory.
    at: usize,
    flags: u16,
    next: u16,
}

impl DeviceRing {
    fn new(queue: &Queue, memory: Window) -> Self {
        let [desc, avail, used] = queue.windows().map(Window::clone);
        used.store_u16(0, ring::USED_NO_NOTIFY, Ordering::Relaxed);
        Self { desc, avail, used, memory, mask: queue.layout().size - 1, next: 0, seen: 0 }
    }

    /// Answers all that is there.
    fn pass(&mut self) {
        let available = self.avail.load_u16(2, Ordering::Acquire);
        if available == self.next {
            return;
        }
        let batch = available.wrapping_sub(self.next).min(BATCH);
        for ahead in 0..batch {
            self.prefetch(self.head(self.next.wrapping_add(ahead)));
        }
        for _ in 0..batch {
            let head = self.head(self.next);
            self.answer(head);
            let element = u64::from(head) | (scsi::RESPONSE_HEADER_LEN as u64) << 32;
            self.used.write(RING + 8 * usize::from(self.next & self.mask), &element.to_le_bytes());
            self.next = self.next.wrapping_add(1);
        }
        self.used.store_u16(2, self.next, Ordering::Release);
    }

    #[inline]
    fn head(&self, position: u16) -> u16 {
        self.avail.load_u16(RING + 2 * usize::from(position & self.mask), Ordering::Relaxed)
    }

    /// Asks for the header and, if it is the second buffer of a direct chain, the response. An indirect table is asked
    /// for itself.
    #[inline]
    fn prefetch(&self, head: u16) {
        let first = self.descriptor(&self.desc, head);
        self.memory.prefetch(first.at);
        if first.flags & ring::DESC_INDIRECT == 0 {
            let second = self.descriptor(&self.desc, first.next);
            if second.flags & ring::DESC_WRITE != 0 {
                self.memory.prefetch_to_write(second.at);
            }
        }
    }

    #[inline]
    fn answer(&mut self, head: u16) {
        let first = self.descriptor(&self.desc, head);
        if first.flags & ring::DESC_INDIRECT == 0 {
            self.follow(&first, |device, index| device.descriptor(&device.desc, index));
        } else {
            let table = first.at;
            let entry = move |device: &Self, index: u16| {
                device.decode(&device.memory, table + usize::from(index) * ring::DESCRIPTOR_LEN)
            };
            let first = entry(self, 0);
            self.follow(&first, entry);
        }
    }

    /// Reads the header and walks to the response.
    #[inline]
    fn follow(&mut self, first: &Descriptor, entry: impl Fn(&Self, u16) -> Descriptor) {
        let mut header = [0; scsi::REQUEST_HEADER_LEN + 16];
        self.memory.read(first.at, &mut header);
        self.seen = header
            .chunks_exact(8)
            .fold(self.seen, |sum, part| sum.wrapping_add(u64::from_le_bytes(part.try_into().expect("eight bytes"))));
        let mut response = entry(self, first.next);
        while response.flags & ring::DESC_WRITE == 0 {
            response = entry(self, response.next);
        }
        self.memory.write(response.at, &[0; scsi::RESPONSE_HEADER_LEN]);
    }

    #[inline]
    fn descriptor(&self, table: &Window, index: u16) -> Descriptor {
        self.decode(table, usize::from(index) * ring::DESCRIPTOR_LEN)
    }

    #[inline]
    fn decode(&self, table: &Window, at: usize) -> Descriptor {
        let mut bytes = [0; ring::DESCRIPTOR_LEN];
        table.read(at, &mut bytes);
        let value = u128::from_le_bytes(bytes);
        let at = (value as u64 - self.memory.gpa().0) as usize;
        Descriptor { at, flags: (value >> 96) as u16, next: (value >> 112) as u16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::work::Io;

    #[test]
    fn the_device_loop_answers_chains_of_both_kinds() {
        for (indirect, write) in [(false, false), (false, true), (true, false), (true, true)] {
            let (gpa, len) = (crate::guest::memory::Gpa(0x10_0000), 1 << 20);
            let mut memory = GuestMemory::new(vec![Region::new(gpa, len).unwrap()]);
            let all = memory.window(gpa, len).unwrap();
            let queue = Queue::new(&mut memory, 0, 16, false).unwrap();
            let layout = crate::load::slots::Layout {
                depth: 2,
                segments: 2,
                indirect,
                block_size: 512,
                max_bytes: 1024,
                cdb_size: 32,
                sense_size: 96,
            };
            // Poisoned responses: only an answer makes them good.
            let slots = Slots::new(&mut memory, layout, Lun::new(0, 0), true).unwrap();
            let mut device = DeviceRing::new(&queue, all);
            let mut driver = DriverRing::take_over(&queue);
            for slot in 0..2 {
                let head = slots.prepare(slot, Io { write, lba: 0, blocks: 2 }, &driver);
                driver.offer(head);
            }
            driver.publish();
            assert!(!driver.look());
            device.pass();
            assert!(driver.look());
            let heads: Vec<_> = std::iter::from_fn(|| driver.take()).map(|(head, _)| slots.slot_of(head)).collect();
            assert_eq!(heads, [Some(0), Some(1)]);
            for slot in 0..2 {
                assert_eq!(slots.outcome(slot), crate::load::slots::Outcome::GOOD, "{indirect} {write}");
            }
        }
    }
}

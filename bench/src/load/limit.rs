//! The limit of two CPUs: the same driver, and a device loop that does the least that the protocol allows.
//!
//! The loop takes each chain, reads the request's header, writes the response's header and gives the chain back. It checks
//! nothing and moves no data. It asks for the cache lines of a batch before it needs them, and shows the driver what is
//! done while it goes on, so that both work at a time: no target should be faster with such a ring on these CPUs.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::guest::memory::{GuestMemory, Region, Window};
use crate::guest::queue::Queue;
use crate::guest::scsi::Lun;
use crate::guest::spec::scsi;

use super::crew::{self, Outcome};
use super::device_packed::PackedDevice;
use super::device_split::SplitDevice;
use super::lane::Lane;
use super::options::{Disk, LoadOptions, RingKind, RingOptions};
use super::peer::Peer;
use super::ring::DriverRing;
use super::ring_packed::PackedRing;
use super::ring_split::SplitRing;
use super::session::{self, Builder, Shape};
use super::slots::Slots;

/// Blocks of each disk, none of which is there: 1 TiB.
const BLOCKS: u64 = 1 << 31;
const BLOCK_SIZE: u32 = 512;
/// Chains that are taken and shown together.
pub(super) const BATCH: u16 = 16;

/// Where the device loop runs, and what it seems to have.
#[derive(Debug, Clone, Args, Serialize)]
pub struct LimitOptions {
    /// CPU of the device loop [default: the first one that we may use]
    #[arg(long, value_name = "CPU")]
    pub device_cpu: Option<usize>,

    /// Name so many logical units in turn, instead of one; all are the same to the device loop
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub luns: Option<u16>,
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

    /// In words: what is unusual, behind a comma.
    pub fn describe(&self) -> String {
        self.luns.map_or_else(String::new, |luns| format!(", {luns} LUNs"))
    }

    /// The logical units that requests name.
    fn units(&self) -> Vec<Lun> {
        (0..self.luns.unwrap_or(1)).map(|lun| Lun::new(0, lun)).collect()
    }
}

/// The device's side of a queue.
pub(super) trait Device: std::fmt::Debug + Send {
    /// Of a queue that nothing was ever put in. All addresses are in `memory`.
    fn new(queue: &Queue, memory: Window) -> Self;
    /// Answers what is there, a batch at most.
    fn pass(&mut self);
}

/// Reads what a device has to read of a request: its header and a CDB. Some number made of it, so that it is read.
#[inline]
pub(super) fn read_header(memory: &Window, at: usize) -> u64 {
    let mut header = [0; scsi::REQUEST_HEADER_LEN + 16];
    memory.read(at, &mut header);
    let words = header.chunks_exact(8).map(|part| u64::from_le_bytes(part.try_into().expect("eight bytes")));
    words.fold(0, u64::wrapping_add)
}

/// Queues with a driver on one side and the device loop on the other.
#[derive(Debug)]
pub struct Limit {
    _memory: GuestMemory,
    pairs: Pairs,
}

#[derive(Debug)]
enum Pairs {
    Split(Vec<Lane<SplitRing>>, Vec<SplitDevice>),
    Packed(Vec<Lane<PackedRing>>, Vec<PackedDevice>),
}

impl Limit {
    /// Lays everything out.
    ///
    /// # Errors
    /// No memory, or options that do not fit.
    pub fn new(limit: &LimitOptions, load: &LoadOptions, ring: &RingOptions) -> Result<Self> {
        ensure!(!load.verify, "there is no data to verify in a device that moves none");
        ring.check(load)?;
        let regions = session::memory(load, ring, 1)?;
        let mut memory = GuestMemory::new(vec![Region::new(regions[0].0, regions[0].1)?]);
        let pairs = match ring.ring {
            RingKind::Split => {
                let (lanes, devices) = lay_out(&mut memory, &limit.units(), load, ring)?;
                Pairs::Split(lanes, devices)
            }
            RingKind::Packed => {
                let (lanes, devices) = lay_out(&mut memory, &limit.units(), load, ring)?;
                Pairs::Packed(lanes, devices)
            }
        };
        Ok(Self { _memory: memory, pairs })
    }

    /// One run with the device loop on `device_cpu`. Can be repeated.
    ///
    /// # Errors
    /// There is no such CPU.
    pub fn run(&mut self, load: &LoadOptions, device_cpu: usize) -> Result<Outcome> {
        match &mut self.pairs {
            Pairs::Split(lanes, devices) => run(lanes, devices, load, device_cpu),
            Pairs::Packed(lanes, devices) => run(lanes, devices, load, device_cpu),
        }
    }
}

fn lay_out<R: DriverRing, D: Device>(
    memory: &mut GuestMemory,
    luns: &[Lun],
    load: &LoadOptions,
    ring: &RingOptions,
) -> Result<(Vec<Lane<R>>, Vec<D>)> {
    let region = memory.regions().next().map(|region| (region.gpa(), region.len())).context("there is memory")?;
    let all = memory.window(region.0, region.1)?;
    let disk = Disk { units: luns.len() as u16, blocks: BLOCKS, block_size: BLOCK_SIZE };
    let builder = Builder::new(load, ring, Shape { disk, cdb_size: 32, sense_size: 96 })?;
    let (mut lanes, mut devices) = (Vec::new(), Vec::new());
    for number in 0..ring.queues {
        let mut queue = Queue::new(memory, ring.ring.into(), number, 1 << ring.queue_size.ilog2(), false)?;
        queue.set_interrupts(false);
        devices.push(D::new(&queue, all.clone()));
        if number < ring.busy() {
            let slots = Slots::new(memory, builder.layout, luns.to_vec(), false)?;
            lanes.push(builder.lane(number, &queue, slots)?);
        }
    }
    Ok((lanes, devices))
}

fn run<R: DriverRing, D: Device>(
    lanes: &mut [Lane<R>],
    devices: &mut [D],
    load: &LoadOptions,
    device_cpu: usize,
) -> Result<Outcome> {
    session::arm(lanes, load);
    let stop = AtomicBool::new(false);
    let stop = &stop;
    std::thread::scope(|scope| {
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let device = scope.spawn(move || {
            // Whoever asked is gone only if it has panicked.
            let _ = tell.send(rustix::thread::gettid());
            serve(devices, device_cpu, stop)
        });
        let peer = told.recv().map_or(Peer::Unknown, Peer::Thread);
        let outcome = crew::run(lanes, load, &peer);
        stop.store(true, Ordering::Relaxed);
        device.join().expect("the device thread does not panic")?;
        outcome
    })
}

fn serve<D: Device>(devices: &mut [D], cpu: usize, stop: &AtomicBool) -> Result<()> {
    super::cpu::pin(cpu)?;
    while !stop.load(Ordering::Relaxed) {
        devices.iter_mut().for_each(D::pass);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::guest::memory::Gpa;
    use crate::guest::queue::Format;
    use crate::load::lane::Clock;
    use crate::load::options::Rw;
    use crate::load::slots::{Layout, Outcome};
    use crate::load::verify::Verifier;
    use crate::load::words::LimitWords;
    use crate::load::work::{Io, Plan, Work};

    /// Several turns of a small ring, in batches of all lengths.
    fn answers_everything<R: DriverRing, D: Device>(format: Format, indirect: bool, write: bool) {
        let (gpa, len) = (Gpa(0x10_0000), 1 << 20);
        let mut memory = GuestMemory::new(vec![Region::new(gpa, len).unwrap()]);
        let all = memory.window(gpa, len).unwrap();
        let queue = Queue::new(&mut memory, format, 0, 16, false).unwrap();
        let layout = Layout { depth: 3, ..Layout::small(2, indirect, 1024) };
        // Poisoned responses: only an answer makes them good.
        let slots = Slots::new(&mut memory, layout, vec![Lun::new(0, 0)], true).unwrap();
        let mut device = D::new(&queue, all);
        let mut driver = R::take_over(&queue, layout.ring_entries() as u16);
        for count in [1, 2, 3].repeat(20) {
            for slot in 0..count {
                let io = Io { unit: 0, write, lba: 0, blocks: 1 + u32::from(slot) % 2 };
                slots.prepare(slot, io, &mut driver);
                assert_ne!(slots.outcome(slot), Outcome::GOOD);
            }
            device.pass();
            assert!(!driver.look(), "nothing was published");
            driver.publish();
            device.pass();
            assert!(driver.look());
            let mut ahead = Vec::new();
            driver.ahead(|slot| ahead.push(slot));
            let taken: Vec<_> = std::iter::from_fn(|| driver.take()).map(Result::unwrap).collect();
            assert_eq!(taken, (0..count).collect::<Vec<_>>());
            assert_eq!(ahead, taken);
            assert!(!driver.look());
            assert!((0..count).all(|slot| slots.outcome(slot) == Outcome::GOOD), "{indirect} {write}");
            assert!(!driver.wants_bell(), "the loop polls");
        }
    }

    #[test]
    fn a_read_that_brings_other_data_has_not_ended_well() {
        let (gpa, len) = (Gpa(0x10_0000), 1 << 20);
        let mut memory = GuestMemory::new(vec![Region::new(gpa, len).unwrap()]);
        let all = memory.window(gpa, len).unwrap();
        let queue = Queue::new(&mut memory, Format::Split, 0, 16, false).unwrap();
        let layout = Layout { depth: 2, ..Layout::small(1, false, 512) };
        let slots = Slots::new(&mut memory, layout, vec![Lun::new(0, 0)], true).unwrap();
        let mut device = SplitDevice::new(&queue, all);
        let split = "512".parse().unwrap();
        let plan =
            Plan { rw: Rw::Read, read_percent: 0, split, units: 1, blocks: 8, block_size: 512, first: 0, seed: 1 };
        // The device loop moves no data: no block holds its pattern.
        let verifier = Verifier::new(1, None, 2, 1, 512);
        let mut lane = Lane::new(SplitRing::take_over(&queue, 3), slots, Work::new(plan), 512, Some(verifier));
        lane.arm(Some(5), None);
        let clock = Clock::start();
        while !lane.is_done() {
            lane.pass(clock).unwrap();
            device.pass();
        }
        let stats = lane.stats();
        assert_eq!((stats.errors, stats.read.ios, stats.verified_blocks), (5, 0, 0));
        assert!(stats.first_error.as_ref().is_some_and(|why| why.contains("block 0")), "{stats:?}");
    }

    /// The logical units that the requests of a limit with these options name, one after the other.
    fn named(words: &str) -> (LimitOptions, Vec<Lun>) {
        let words = format!("limit --iodepth 3 --queue-size 16 {words}");
        let LimitWords { limit, ring, load } = LimitWords::parse_from(words.split_whitespace());
        let (gpa, len) = session::memory(&load, &ring, 1).unwrap()[0];
        let mut memory = GuestMemory::new(vec![Region::new(gpa, len).unwrap()]);
        let (mut lanes, mut devices) =
            lay_out::<SplitRing, SplitDevice>(&mut memory, &limit.units(), &load, &ring).unwrap();
        session::arm(&mut lanes, &load);
        let (clock, mut seen) = (Clock::start(), Vec::new());
        while seen.len() < 9 {
            lanes[0].pass(clock).unwrap();
            seen.extend(devices[0].waiting_luns());
            devices[0].pass();
        }
        (limit, seen)
    }

    #[test]
    fn requests_name_as_many_logical_units_as_they_are_to() {
        let (limit, seen) = named("");
        assert!(limit.describe().is_empty() && seen.iter().all(|&lun| lun == Lun::new(0, 0)), "{seen:?}");
        let (limit, seen) = named("--luns 4");
        let expected: Vec<_> = (0..9).map(|number| Lun::new(0, number % 4)).collect();
        assert_eq!((limit.describe().as_str(), &seen[..]), (", 4 LUNs", &expected[..]));
    }

    #[test]
    fn the_device_loops_answer_chains_of_all_kinds() {
        for (indirect, write) in [(false, false), (false, true), (true, false), (true, true)] {
            answers_everything::<SplitRing, SplitDevice>(Format::Split, indirect, write);
            answers_everything::<PackedRing, PackedDevice>(Format::Packed, indirect, write);
        }
    }
}

//! A device over vfio-user, made ready for load.
//!
//! A [`Guest`] brings it up and asks what the disks are like; then its queues are taken over by [`Lane`]s, and the guest
//! only keeps memory and connection, and rings the bells.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use rustix::process::Pid;
use serde::Serialize;

use crate::guest::memory::{Gpa, HUGE_PAGE};
use crate::guest::queue::Queue;
use crate::guest::scsi::{Command, Lun};
use crate::guest::spec::{feature, scsi};
use crate::guest::{Error, Guest, Options, cdb};

use super::asked;
use super::bell::{Bell, WriteCost};
use super::crew::{self, Outcome};
use super::disks;
use super::lane::Lane;
use super::options::{Disk, LoadOptions, RingKind, RingOptions};
use super::peer::Peer;
use super::poller;
use super::ring::DriverRing;
use super::ring_packed::PackedRing;
use super::ring_split::SplitRing;
use super::slots::{Layout, Slots};
use super::verify::{Verifier, Written};
use super::work::Work;

/// Where the guest's memory begins.
const MEMORY_AT: Gpa = Gpa(1 << 32);
/// Bytes that the guest needs beside rings and slots.
const SPARE: usize = 1 << 20;
/// Bytes of rings for an entry: descriptor, avail, used, and some for alignment.
const RING_BYTES_PER_ENTRY: usize = 64;
/// Most memory that a guest is given.
const MEMORY_MAX: usize = 64 << 30;
/// How long a device may take to come up or answer a question.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which device to drive, and how.
#[derive(Debug, Clone, Args, Serialize)]
pub struct DeviceOptions {
    /// The device's socket
    #[arg(short, long, value_name = "PATH")]
    #[serde(serialize_with = "asked::path")]
    pub socket: PathBuf,

    /// SCSI target
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub target: u8,

    /// Logical unit of the target
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..16384))]
    pub lun: u16,

    /// Use the first so many logical units of all targets in turn, instead of one
    #[arg(long, value_name = "N", conflicts_with_all = ["target", "lun"],
        value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub luns: Option<u16>,

    /// Regions that the guest's memory is mapped in; buffers are spread over them
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub regions: u16,

    /// Neither interrupt vectors nor doorbells, as polling drivers in user space do; a device must not sleep then
    #[arg(long)]
    pub polling: bool,

    /// CPU that the target polls on, to tell how far it is from ours [default: that of its reactor, if it can be seen]
    #[arg(long, value_name = "CPU")]
    pub target_cpu: Option<usize>,

    /// Do not look how far apart the CPUs are, nor repeat a run during which that changed
    #[arg(long, conflicts_with = "target_cpu")]
    pub any_placement: bool,
}

impl DeviceOptions {
    /// Whether the CPU of the target is to be found out.
    fn looks_for_cpu(&self) -> bool {
        self.target_cpu.is_none() && !self.any_placement
    }

    /// In words: what is unusual, each behind a comma.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        if let Some(luns) = self.luns {
            text += &format!(", {luns} LUNs");
        }
        if self.regions > 1 {
            text += &format!(", {} regions", self.regions);
        }
        if self.polling {
            text += ", no doorbells";
        }
        text
    }
}

/// A device and the queues that load it.
#[derive(Debug)]
pub struct Session {
    guest: Arc<Mutex<Guest>>,
    lanes: Lanes,
    target: Peer,
    /// The CPU that the target polls on, if it was looked for and found.
    polled_on: Option<usize>,
}

#[derive(Debug)]
enum Lanes {
    Split(Vec<Lane<SplitRing>>),
    Packed(Vec<Lane<PackedRing>>),
}

impl Session {
    /// Connects and lays everything out.
    ///
    /// # Errors
    /// The device is not there, not ready, or not what the options need.
    pub fn attach(device: &DeviceOptions, load: &LoadOptions, ring: &RingOptions) -> Result<Self> {
        ring.check(load)?;
        let name = device.socket.display();
        let target = peer(&device.socket).with_context(|| format!("cannot connect to {name}"))?;
        let mut guest = connect(device, load, ring).with_context(|| format!("cannot use {name}"))?;
        let polled_on = match target {
            Some(pid) if device.looks_for_cpu() => polled_on(pid, &mut guest, device, &load.cpus()?)?,
            _ => None,
        };
        let guest = Arc::new(Mutex::new(guest));
        let lanes = match ring.ring {
            RingKind::Split => lay_out(&guest, device, load, ring).map(Lanes::Split),
            RingKind::Packed => lay_out(&guest, device, load, ring).map(Lanes::Packed),
        };
        let target = Peer::process(target);
        Ok(Self { guest, lanes: lanes.with_context(|| format!("cannot use {name}"))?, target, polled_on })
    }

    /// The CPUs whose distance its figures depend on: that of the target, as the user says or as it looks from here, and the
    /// first of ours. `None` if nobody can tell, or wants to.
    ///
    /// # Errors
    /// The kernel does not say which CPUs there are.
    pub fn cpus(&self, device: &DeviceOptions, load: &LoadOptions) -> Result<Option<(usize, usize)>> {
        if device.any_placement {
            return Ok(None);
        }
        let ours = load.cpus()?;
        let theirs = device.target_cpu.or_else(|| self.polled_on.filter(|cpu| !ours.contains(cpu)));
        Ok(theirs.zip(ours.first().copied()))
    }

    /// One run. Can be repeated.
    ///
    /// # Errors
    /// The device lost or invented something.
    pub fn run(&mut self, load: &LoadOptions) -> Result<Outcome> {
        match &mut self.lanes {
            Lanes::Split(lanes) => run(lanes, load, &self.target),
            Lanes::Packed(lanes) => run(lanes, load, &self.target),
        }
    }

    /// What a register write over the device's socket takes, bare: a doorbell is one.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn write_cost(&self) -> Result<WriteCost> {
        WriteCost::measure(&mut self.guest.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The CPU that the first request queue is polled on: that of the thread which takes its commands, whatever they are.
fn polled_on(pid: Pid, guest: &mut Guest, device: &DeviceOptions, ours: &[usize]) -> Result<Option<usize>> {
    let ask = Command::new(Lun::new(device.target, device.lun), cdb::test_unit_ready());
    poller::find(pid, ours, || Ok(guest.execute(0, &ask).map(|_| ())?))
}

fn run<R: DriverRing>(lanes: &mut [Lane<R>], load: &LoadOptions, target: &Peer) -> Result<Outcome> {
    arm(lanes, load);
    crew::run(lanes, load, target)
}

fn lay_out<R: DriverRing>(
    shared: &Arc<Mutex<Guest>>,
    device: &DeviceOptions,
    load: &LoadOptions,
    ring: &RingOptions,
) -> Result<Vec<Lane<R>>> {
    let mut guest = shared.lock().unwrap_or_else(PoisonError::into_inner);
    check(&guest, ring)?;
    let luns = match device.luns {
        Some(count) => disks::find(&mut guest, count)?,
        None => vec![Lun::new(device.target, device.lun)],
    };
    let disk = disks::prepare(&mut guest, &luns)?;
    let config = *guest.config();
    let builder = Builder::new(load, ring, Shape { disk, cdb_size: config.cdb_size, sense_size: config.sense_size })?;
    let mut lanes = Vec::new();
    for queue in 0..ring.queues {
        let number = scsi::FIRST_REQUEST_QUEUE + queue;
        guest.queue(number).set_interrupts(false);
        if queue < ring.busy() {
            let slots = Slots::new(guest.memory(), builder.layout, luns.clone(), load.verify)?;
            let lane = builder.lane(queue, guest.queue(number), slots)?;
            lanes.push(if device.polling { lane } else { lane.with_bell(Bell::new(shared, number)) });
        }
    }
    Ok(lanes)
}

/// Whether the device has what the options ask for.
fn check(guest: &Guest, ring: &RingOptions) -> Result<()> {
    ensure!(
        guest.request_queues() >= ring.queues,
        "the device has no more request queues than {}",
        guest.request_queues()
    );
    let packed = guest.features() & feature::RING_PACKED != 0;
    ensure!(packed == (ring.ring == RingKind::Packed), "the device offers no packed rings");
    ensure!(
        !ring.indirect || guest.features() & feature::INDIRECT_DESC != 0,
        "the device offers no indirect descriptor tables"
    );
    if u32::from(ring.segments) > guest.config().seg_max {
        eprintln!("note: the device asks for no more than {} pieces of data", guest.config().seg_max);
    }
    Ok(())
}

/// Readies lanes for a run: each its part of limit and rate.
pub fn arm<R: DriverRing>(lanes: &mut [Lane<R>], load: &LoadOptions) {
    let count = lanes.len() as u64;
    for (index, lane) in lanes.iter_mut().enumerate() {
        let limit = load.number_ios.map(|ios| ios / count + u64::from((index as u64) < ios % count));
        lane.arm(limit, load.rate.map(|rate| rate as f64 / count as f64));
    }
}

/// What the disk and the requests are like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The logical units.
    pub disk: Disk,
    /// Bytes of a CDB in a request.
    pub cdb_size: u32,
    /// Bytes of sense in a response.
    pub sense_size: u32,
}

/// Makes lanes.
#[derive(Debug)]
pub struct Builder<'a> {
    load: &'a LoadOptions,
    queues: u16,
    disk: Disk,
    /// How their slots are laid out.
    pub layout: Layout,
    written: Option<Arc<Written>>,
}

impl<'a> Builder<'a> {
    /// For these options.
    ///
    /// # Errors
    /// They do not fit the disk.
    pub fn new(load: &'a LoadOptions, ring: &RingOptions, shape: Shape) -> Result<Self> {
        let plan = load.plan(shape.disk, 0, 1)?;
        let written = if load.verify && !load.rw.only_reads() {
            Some(Arc::new(Written::none(plan.units, plan.blocks)?))
        } else {
            None
        };
        Ok(Self { load, queues: ring.busy(), layout: layout(load, ring, shape), disk: shape.disk, written })
    }

    /// The lane of busy queue `queue`.
    ///
    /// # Errors
    /// The queue is too short.
    pub fn lane<R: DriverRing>(&self, queue: u16, driver: &Queue, slots: Slots) -> Result<Lane<R>> {
        let each = self.layout.ring_entries();
        let (needed, entries) = (usize::from(self.layout.depth) * each, driver.layout().size);
        ensure!(
            needed <= entries.into(),
            "a queue of {entries} entries cannot hold {} requests of {each} descriptors: use --indirect or a smaller --iodepth",
            self.layout.depth
        );
        let plan = self.load.plan(self.disk, queue, self.queues)?;
        let block_size = self.disk.block_size;
        let verifier = self.load.verify.then(|| {
            let max_blocks = self.layout.max_bytes / block_size;
            Verifier::new(self.load.seed, self.written.clone(), self.layout.depth, max_blocks, block_size)
        });
        let ring = R::take_over(driver, each as u16);
        Ok(Lane::new(ring, slots, Work::new(plan), block_size, verifier))
    }
}

fn layout(load: &LoadOptions, ring: &RingOptions, shape: Shape) -> Layout {
    Layout {
        depth: load.iodepth,
        segments: ring.segments,
        indirect: ring.indirect,
        align_offset: ring.align_offset,
        scatter: ring.scatter,
        block_size: shape.disk.block_size,
        max_bytes: load.max_bytes(),
        cdb_size: shape.cdb_size as usize,
        sense_size: shape.sense_size as usize,
    }
}

/// Guest memory for all queues, in so many regions with room between them.
///
/// # Errors
/// More than there are addresses for.
pub fn memory(load: &LoadOptions, ring: &RingOptions, regions: u16) -> Result<Vec<(Gpa, usize)>> {
    let disk = Disk { units: 1, blocks: 0, block_size: 512 };
    let usual = layout(load, ring, Shape { disk, cdb_size: 32, sense_size: 96 });
    let slots = usize::from(load.iodepth).div_ceil(regions.into());
    let share = usize::from(ring.busy()) * usual.memory(slots);
    let rings = usize::from(ring.queues) * (usize::from(ring.queue_size) * RING_BYTES_PER_ENTRY + 4 * 4096);
    let mut next = MEMORY_AT;
    let lay = |index| {
        let len = (share + if index == 0 { SPARE + rings } else { 0 }).next_multiple_of(HUGE_PAGE);
        let at = next;
        next = next.plus((len + HUGE_PAGE) as u64);
        (at, len)
    };
    let all: Vec<_> = (0..regions).map(lay).collect();
    let total: usize = all.iter().map(|&(_, len)| len).sum();
    ensure!(total <= MEMORY_MAX, "these requests need {} GiB of memory", total >> 30);
    Ok(all)
}

fn connect(device: &DeviceOptions, load: &LoadOptions, ring: &RingOptions) -> Result<Guest> {
    let options = Options {
        request_queues: ring.queues,
        queue_size: 1 << ring.queue_size.ilog2(),
        regions: memory(load, ring, device.regions)?,
        limit: PATIENCE,
        interrupts: !device.polling,
        own_client: true,
        ..Options::default()
    };
    let options = if ring.ring == RingKind::Packed { options.packed() } else { options };
    Guest::attach(&device.socket, options).map_err(explain)
}

/// What is not said by the error itself.
fn explain(error: Error) -> anyhow::Error {
    match error {
        // A device that has a client leaves the next one waiting.
        Error::System { cause, .. } if cause.kind() == ErrorKind::WouldBlock => {
            anyhow!("no answer within {} s: is another client using it?", PATIENCE.as_secs())
        }
        error => error.into(),
    }
}

/// Who serves the socket. It is told when somebody connects, so this does and leaves at once.
fn peer(socket: &Path) -> std::io::Result<Option<Pid>> {
    let stream = UnixStream::connect(socket)?;
    Ok(rustix::net::sockopt::socket_peercred(&stream).ok().map(|credentials| credentials.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gets_no_answer_is_told_what_that_may_mean() {
        let system = |kind: ErrorKind| Error::System { what: "talk to the device", cause: kind.into() };
        assert!(explain(system(ErrorKind::WouldBlock)).to_string().contains("another client"));
        let other = format!("{:#}", explain(system(ErrorKind::ConnectionReset)));
        assert_eq!(other, "talk to the device: connection reset", "once, though causes are told");
    }
}

//! A device over vfio-user, made ready for load.
//!
//! A [`Guest`] brings it up and asks what the disk is like; then its queues are taken over by [`Lane`]s, and the guest
//! only keeps memory and connection alive.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rustix::process::Pid;

use crate::guest::cdb;
use crate::guest::memory::{Gpa, HUGE_PAGE};
use crate::guest::scsi::{Command, Lun};
use crate::guest::spec::scsi;
use crate::guest::{Guest, Options};

use super::crew::{self, Outcome};
use super::lane::Lane;
use super::options::{LoadOptions, RingOptions, Rw};
use super::ring::DriverRing;
use super::slots::{Layout, Slots};
use super::verify::{Verifier, Written};
use super::work::Work;

/// Where the guest's memory begins.
const MEMORY_AT: Gpa = Gpa(1 << 32);
/// Bytes that the guest needs beside rings and slots.
const SPARE: usize = 1 << 20;
/// Bytes of rings for an entry: descriptor, avail, used, and some for alignment.
const RING_BYTES_PER_ENTRY: usize = 64;
/// Unit attentions that a disk can have waiting.
const ATTENTIONS: usize = 8;
/// How long a device may take to come up or answer a question.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which device to drive.
#[derive(Debug, Clone, Args)]
pub struct DeviceOptions {
    /// The device's socket
    #[arg(short, long, value_name = "PATH")]
    pub socket: PathBuf,

    /// SCSI target
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub target: u8,

    /// Logical unit of the target
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..16384))]
    pub lun: u16,

    /// CPU that the target polls on, to tell how far it is from ours
    #[arg(long, value_name = "CPU")]
    pub target_cpu: Option<usize>,
}

/// A device and the queues that load it.
#[derive(Debug)]
pub struct Session {
    /// Keeps the connection open.
    _guest: Guest,
    lanes: Vec<Lane>,
    target: Option<Pid>,
}

impl Session {
    /// Connects and lays everything out.
    ///
    /// # Errors
    /// The device is not there, not ready, or not what the options need.
    pub fn attach(device: &DeviceOptions, load: &LoadOptions, ring: &RingOptions) -> Result<Self> {
        let socket = &device.socket;
        let target = peer(socket).with_context(|| format!("cannot connect to {}", socket.display()))?;
        let guest = connect(socket, load, ring).with_context(|| format!("cannot use {}", socket.display()))?;
        ensure!(guest.request_queues() >= ring.queues, "the device has only {} request queues", guest.request_queues());
        let mut session = Self { _guest: guest, lanes: Vec::new(), target };
        let lun = Lun::new(device.target, device.lun);
        session.lay_out(lun, load, ring).with_context(|| {
            format!("cannot use target {} LUN {} of {}", device.target, device.lun, socket.display())
        })?;
        Ok(session)
    }

    /// One run. Can be repeated.
    ///
    /// # Errors
    /// The device lost or invented something.
    pub fn run(&mut self, load: &LoadOptions) -> Result<Outcome> {
        arm(&mut self.lanes, load);
        crew::run(&mut self.lanes, load, self.target)
    }

    fn lay_out(&mut self, lun: Lun, load: &LoadOptions, ring: &RingOptions) -> Result<()> {
        let guest = &mut self._guest;
        wake_up(guest, lun)?;
        let (blocks, block_size) = capacity(guest, lun)?;
        let config = *guest.config();
        let shape = Shape { blocks, block_size, cdb_size: config.cdb_size, sense_size: config.sense_size };
        ensure!(
            u32::from(ring.segments) <= config.seg_max,
            "the device takes {} pieces of data at most",
            config.seg_max
        );
        let mut builder = Builder::new(load, ring, shape)?;
        for queue in 0..ring.queues {
            let driver = DriverRing::take_over(guest.queue(scsi::FIRST_REQUEST_QUEUE + queue));
            let slots = Slots::new(guest.memory(), builder.layout, lun, load.verify)?;
            self.lanes.push(builder.lane(queue, driver, slots)?);
        }
        Ok(())
    }
}

/// Readies lanes for a run: each its part of limit and rate.
pub fn arm(lanes: &mut [Lane], load: &LoadOptions) {
    let count = lanes.len() as u64;
    for (index, lane) in lanes.iter_mut().enumerate() {
        let limit = load.number_ios.map(|ios| ios / count + u64::from((index as u64) < ios % count));
        lane.arm(limit, load.rate.map(|rate| rate as f64 / count as f64));
    }
}

/// What the disk and the requests are like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Blocks of the disk.
    pub blocks: u64,
    /// Bytes of a block.
    pub block_size: u32,
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
    shape: Shape,
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
        let blocks = load.plan(shape.blocks, shape.block_size, 0, 1)?.blocks;
        let only_reads = matches!(load.rw, Rw::Read | Rw::RandRead);
        let written = if load.verify && !only_reads { Some(Arc::new(Written::none(blocks)?)) } else { None };
        Ok(Self { load, queues: ring.queues, layout: layout(load, ring, shape), shape, written })
    }

    /// The lane of queue `queue`.
    ///
    /// # Errors
    /// The queue is too short.
    pub fn lane(&mut self, queue: u16, driver: DriverRing, slots: Slots) -> Result<Lane> {
        let needed = usize::from(self.layout.depth) * self.layout.ring_entries();
        if needed > usize::from(driver.size()) {
            let each = self.layout.ring_entries();
            bail!(
                "a queue of {} entries cannot hold {} requests of {each} descriptors: use --indirect or a smaller --iodepth",
                driver.size(),
                self.layout.depth
            );
        }
        let plan = self.load.plan(self.shape.blocks, self.shape.block_size, queue, self.queues)?;
        let verifier = self.load.verify.then(|| {
            let max_blocks = self.layout.max_bytes / self.shape.block_size;
            let written = self.written.clone();
            Verifier::new(self.load.seed, written, self.layout.depth, max_blocks, self.shape.block_size)
        });
        Ok(Lane::new(driver, slots, Work::new(plan), self.shape.block_size, verifier))
    }
}

fn layout(load: &LoadOptions, ring: &RingOptions, shape: Shape) -> Layout {
    Layout {
        depth: load.iodepth,
        segments: ring.segments,
        indirect: ring.indirect,
        block_size: shape.block_size,
        max_bytes: load.max_bytes(),
        cdb_size: shape.cdb_size as usize,
        sense_size: shape.sense_size as usize,
    }
}

/// Guest memory for all queues.
pub fn memory(load: &LoadOptions, ring: &RingOptions) -> (Gpa, usize) {
    let usual = Shape { blocks: 0, block_size: 512, cdb_size: 32, sense_size: 96 };
    let rings = usize::from(ring.queue_size) * RING_BYTES_PER_ENTRY + 4 * 4096;
    let queue = layout(load, ring, usual).memory() + rings;
    (MEMORY_AT, (SPARE + usize::from(ring.queues) * queue).next_multiple_of(HUGE_PAGE))
}

fn connect(socket: &Path, load: &LoadOptions, ring: &RingOptions) -> crate::Result<Guest> {
    let options = Options {
        request_queues: ring.queues,
        queue_size: 1 << ring.queue_size.ilog2(),
        regions: vec![memory(load, ring)],
        limit: PATIENCE,
        ..Options::polling()
    };
    Guest::attach(socket, options)
}

/// Who serves the socket. It is told when somebody connects, so this does and leaves at once.
fn peer(socket: &Path) -> std::io::Result<Option<Pid>> {
    let stream = UnixStream::connect(socket)?;
    Ok(rustix::net::sockopt::socket_peercred(&stream).ok().map(|credentials| credentials.pid))
}

/// Takes the unit attentions that wait since the reset.
fn wake_up(guest: &mut Guest, lun: Lun) -> Result<()> {
    let mut last = None;
    for _ in 0..ATTENTIONS {
        let response = guest.execute(0, &Command::new(lun, cdb::test_unit_ready()))?;
        if response.is_good() {
            return Ok(());
        }
        last = Some(response);
    }
    last.context("asked at least once")?.good()?;
    Ok(())
}

/// Blocks and bytes of a block.
fn capacity(guest: &mut Guest, lun: Lun) -> Result<(u64, u32)> {
    let response = guest.execute(0, &Command::data_in(lun, cdb::read_capacity_16(32), 32))?.good()?;
    let data = response.data_sent();
    ensure!(data.len() >= 12, "READ CAPACITY gave {} bytes", data.len());
    let last = u64::from_be_bytes(data[..8].try_into().expect("eight bytes"));
    let block_size = u32::from_be_bytes(data[8..12].try_into().expect("four bytes"));
    ensure!(block_size >= 512 && block_size.is_power_of_two(), "blocks of {block_size} bytes");
    Ok((last.saturating_add(1), block_size))
}

//! The same work straight on io_uring: the limit of a backend.
//!
//! A ring for each queue, set up as a target would: one issuer, deferred task work, registered file, registered buffers
//! if asked for. Its thread polls it and submits what a pass makes in batches. Buffers are memory of ours that lives as
//! long as the ring.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use io_uring::{IoUring, opcode, squeue, types};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use serde::Serialize;

use super::asked;
use super::crew::{self, Outcome, Station};
use super::lane::Clock;
use super::options::{Disk, LoadOptions};
use super::pace::Pace;
use super::peer::Peer;
use super::stats::Stats;
use super::work::{Io, Work};

/// Addresses and lengths are multiples of this, which suits direct I/O on all but a few disks.
const BLOCK: u32 = 512;
const PAGE: usize = 4096;
/// The one registered file.
const FILE: types::Fixed = types::Fixed(0);

/// What to put load on.
#[derive(Debug, Clone, Args, Serialize)]
pub struct RawOptions {
    /// The file or block device; writes change it
    #[arg(short, long, value_name = "PATH")]
    #[serde(serialize_with = "asked::path")]
    pub file: PathBuf,

    /// Use registered buffers
    #[arg(long)]
    pub fixed: bool,

    /// Go through the page cache
    #[arg(long, conflicts_with = "iopoll")]
    pub buffered: bool,

    /// Look into the device's own queues for results: a block device with poll queues
    #[arg(long)]
    pub iopoll: bool,

    /// Offer the CPU to others after so many looks in vain while requests are in flight: threads of the kernel that do the work,
    /// as those of a loop device, may have no other one. 0: never
    #[arg(long = "yield", value_name = "LOOKS", default_value_t = 16)]
    #[serde(rename = "yield")]
    pub yield_after: u32,

    /// Requests that one system call submits at most [default: all that a pass made]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub batch: Option<u16>,

    /// Rings; they are dealt to the CPUs in turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub queues: u16,
}

/// A file and the rings that load it.
#[derive(Debug)]
pub struct Raw {
    rings: Vec<Ring>,
}

impl Raw {
    /// Opens the file and sets rings up.
    ///
    /// # Errors
    /// The file or the kernel does not do what the options ask for.
    pub fn open(raw: &RawOptions, load: &LoadOptions) -> Result<Self> {
        ensure!(!load.verify, "raw load is not verified");
        load.say_idle_cpus(raw.queues)?;
        let path = raw.file.display();
        let (file, bytes) = open(raw, load).with_context(|| format!("cannot open {path}"))?;
        let file = Arc::new(file);
        let rings = (0..raw.queues).map(|queue| {
            let disk = Disk { units: 1, blocks: bytes / u64::from(BLOCK), block_size: BLOCK };
            let plan = load.plan(disk, queue, raw.queues)?;
            Ring::new(Arc::clone(&file), Work::new(plan), raw, load)
        });
        Ok(Self { rings: rings.collect::<Result<_>>()? })
    }

    /// One run. Can be repeated.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn run(&mut self, load: &LoadOptions) -> Result<Outcome> {
        let count = self.rings.len() as u64;
        for (index, ring) in self.rings.iter_mut().enumerate() {
            ring.left = load.number_ios.map_or(u64::MAX, |ios| ios / count + u64::from((index as u64) < ios % count));
            ring.pace = load.rate.map(|rate| Pace::new(rate as f64 / count as f64));
            (ring.completed, ring.recording, ring.stats) = (0, true, Stats::default());
        }
        crew::run(&mut self.rings, load, &Peer::Unknown)
    }
}

fn open(raw: &RawOptions, load: &LoadOptions) -> std::io::Result<(File, u64)> {
    let mut options = OpenOptions::new();
    options.read(true).write(!load.rw.only_reads());
    if !raw.buffered {
        options.custom_flags(OFlags::DIRECT.bits() as i32);
    }
    let mut file = options.open(&raw.file)?;
    let bytes = file.seek(SeekFrom::End(0))?;
    Ok((file, bytes))
}

/// Page-aligned memory that the kernel reads and writes.
#[derive(Debug)]
struct Buffers {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: plain memory; nobody but the kernel touches it.
unsafe impl Send for Buffers {}

impl Buffers {
    fn new(len: usize) -> Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base =
            unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, flags) };
        let base = NonNull::new(base.context("no memory for buffers")?.cast()).expect("a mapping is never at 0");
        Ok(Self { base, len })
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; nothing is in flight, see the ring's own drop.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Flight {
    io: Io,
    begun_ns: u64,
}

/// One ring under load.
struct Ring {
    ring: IoUring,
    buffers: ManuallyDrop<Buffers>,
    _file: Arc<File>,
    stride: usize,
    fixed: bool,
    batch: usize,
    enabled: bool,
    /// Results come to who looks for them: nothing says that there are some.
    iopoll: bool,
    /// Looks in vain until the CPU is offered to others, and how many there were since; 0: it never is.
    yield_after: u32,
    vain_looks: u32,
    work: Work,
    pace: Option<Pace>,
    flights: Vec<Flight>,
    idle: Vec<u16>,
    left: u64,
    completed: u64,
    recording: bool,
    stats: Stats,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("fixed", &self.fixed).field("depth", &self.flights.len()).finish_non_exhaustive()
    }
}

impl Ring {
    fn new(file: Arc<File>, work: Work, raw: &RawOptions, load: &LoadOptions) -> Result<Self> {
        let depth = load.iodepth;
        let stride = (load.max_bytes() as usize).next_multiple_of(PAGE);
        let buffers = ManuallyDrop::new(Buffers::new(stride * usize::from(depth))?);
        let mut builder = IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
        if raw.iopoll {
            builder.setup_iopoll();
        }
        // The thread that enables it is the issuer.
        let ring = builder.setup_r_disabled().build(depth.into()).context("cannot set up io_uring")?;
        ring.submitter().register_files(&[file.as_raw_fd()]).context("cannot register the file")?;
        if raw.fixed {
            let base = buffers.base.as_ptr();
            let slices: Vec<_> =
                (0..usize::from(depth)).map(|index| libc_iovec(base.wrapping_add(index * stride), stride)).collect();
            // SAFETY: the buffers outlive the ring.
            unsafe { ring.submitter().register_buffers(&slices) }
                .context("cannot register buffers; the limit of locked memory (ulimit -l) may be too low")?;
        }
        Ok(Self {
            ring,
            buffers,
            _file: file,
            stride,
            fixed: raw.fixed,
            batch: raw.batch.unwrap_or(depth).into(),
            enabled: false,
            iopoll: raw.iopoll,
            // What is polled for is done by no thread.
            yield_after: if raw.iopoll { 0 } else { raw.yield_after },
            vain_looks: 0,
            work,
            pace: None,
            flights: vec![Flight::default(); depth.into()],
            idle: (0..depth).rev().collect(),
            left: 0,
            completed: 0,
            recording: false,
            stats: Stats::default(),
        })
    }

    fn entry(&self, slot: u16, io: Io) -> squeue::Entry {
        let (len, offset) = (io.blocks * BLOCK, io.lba * u64::from(BLOCK));
        let buffer = self.buffers.base.as_ptr().wrapping_add(usize::from(slot) * self.stride);
        let entry = match (io.write, self.fixed) {
            (false, false) => opcode::Read::new(FILE, buffer, len).offset(offset).build(),
            (true, false) => opcode::Write::new(FILE, buffer, len).offset(offset).build(),
            (false, true) => opcode::ReadFixed::new(FILE, buffer, len, slot).offset(offset).build(),
            (true, true) => opcode::WriteFixed::new(FILE, buffer, len, slot).offset(offset).build(),
        };
        entry.user_data(slot.into())
    }

    /// Puts requests of all idle slots in the ring, and submits every full batch.
    fn make(&mut self, now: u64) -> Result<bool> {
        let mut queued = 0;
        let mut made = false;
        while self.left > 0 && !self.idle.is_empty() {
            if self.pace.as_mut().is_some_and(|pace| !pace.take(now)) {
                break;
            }
            let slot = self.idle.pop().expect("it is not empty");
            self.left -= 1;
            let io = self.work.next_io();
            let entry = self.entry(slot, io);
            self.flights[usize::from(slot)] = Flight { io, begun_ns: now };
            // SAFETY: the slot's buffer has room for the longest request, belongs to this request alone until its
            // completion is reaped, and outlives the ring.
            unsafe { self.ring.submission().push(&entry) }.expect("the ring has an entry for each slot");
            made = true;
            queued += 1;
            if queued == self.batch {
                self.submit()?;
                queued = 0;
            }
        }
        if queued > 0 {
            self.submit()?;
        }
        Ok(made)
    }

    fn submit(&self) -> Result<()> {
        match self.ring.submit() {
            Ok(_) => Ok(()),
            // All of these go away when completions are taken; the entries stay in the ring.
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::BUSY | Errno::INTR) => Ok(()),
                _ => Err(error).context("cannot submit"),
            },
        }
    }

    /// Nothing has ended: whoever is to end it may need this CPU.
    #[inline]
    fn look_in_vain(&mut self) {
        if self.yield_after == 0 || self.is_idle() {
            return;
        }
        self.vain_looks += 1;
        if self.vain_looks == self.yield_after {
            self.vain_looks = 0;
            std::thread::yield_now();
        }
    }

    fn reap(&mut self, now: u64) -> Result<()> {
        let Self { ring, flights, idle, stats, completed, .. } = self;
        for entry in ring.completion() {
            let slot = entry.user_data() as u16;
            let Some(&Flight { io, begun_ns }) = flights.get(usize::from(slot)) else { bail!("unknown completion") };
            idle.push(slot);
            *completed += 1;
            let bytes = io.blocks * BLOCK;
            if entry.result() != bytes as i32 {
                stats.fail(|| format!("{bytes} bytes at block {}: result {}", io.lba, entry.result()));
            } else if self.recording {
                let direction = if io.write { &mut stats.write } else { &mut stats.read };
                direction.record(1, bytes.into(), now - begun_ns);
            }
        }
        Ok(())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.idle.len() == self.flights.len() {
            // SAFETY: dropped here and nowhere else, and not used any more.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        }
        // Else the run failed, and the kernel still works on the buffers: they stay for as long as the process.
    }
}

fn libc_iovec(base: *mut u8, len: usize) -> libc::iovec {
    libc::iovec { iov_base: base.cast(), iov_len: len }
}

impl Station for Ring {
    fn pass(&mut self, clock: Clock) -> Result<Option<u64>> {
        if !self.enabled {
            self.ring.submitter().register_enable_rings().context("cannot enable the ring")?;
            self.enabled = true;
        }
        // Completions wait in the kernel until their issuer comes for them.
        if self.ring.submission().taskrun() || (self.iopoll && !self.is_idle()) {
            self.submit()?;
        }
        let wants_more = self.left > 0 && !self.idle.is_empty();
        if self.ring.completion().is_empty() && !wants_more {
            self.look_in_vain();
            return Ok(None);
        }
        self.vain_looks = 0;
        let now = clock.now_ns();
        let before = self.completed;
        self.reap(now)?;
        let made = self.make(now)?;
        Ok((made || self.completed != before).then_some(now))
    }

    fn begin_measuring(&mut self) {
        self.stats.begin();
    }

    fn end_measuring(&mut self, measured_ns: u64) {
        self.recording = false;
        self.left = 0;
        self.stats.measured_ns = measured_ns;
    }

    fn completed(&self) -> u64 {
        self.completed
    }

    fn is_idle(&self) -> bool {
        self.idle.len() == self.flights.len()
    }

    fn is_done(&self) -> bool {
        self.left == 0 && self.is_idle()
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }
}

#[cfg(test)]
#[path = "uring_tests.rs"]
mod tests;

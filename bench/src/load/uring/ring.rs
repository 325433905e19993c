//! One ring under load: all queues of a CPU.
//!
//! Set up as a target would: one issuer, deferred task work, registered ring and file, registered buffers if asked for. A pass
//! takes what has ended, makes what is to follow, and hands that to the kernel with one call at its end, which also has it run what
//! it has put off; of a file, the first of it early. Buffers are memory of ours that lives as long as the ring.
#![allow(unsafe_code)]

use std::fs::File;
use std::mem::ManuallyDrop;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use io_uring::{IoUring, opcode, squeue, types};
use rustix::io::Errno;

use super::RawOptions;
use super::buffers::Buffers;
use super::enter::Enter;
use crate::load::crew::Station;
use crate::load::lane::Clock;
use crate::load::options::LoadOptions;
use crate::load::pace::Pace;
use crate::load::stats::Stats;
use crate::load::work::{Io, Work};

/// Addresses and lengths are multiples of this, which suits direct I/O on all but a few disks.
pub(super) const BLOCK: u32 = 512;
/// The one registered file.
const FILE: types::Fixed = types::Fixed(0);
/// Requests that a ring can have in flight: entries that the kernel gives one.
const FLIGHTS_MAX: usize = 32768;
/// Buffers that it registers for one (`IORING_MAX_REG_BUFFERS`).
const BUFFERS_MAX: usize = 16384;

/// Fewest entries that are handed over before the end of a pass.
const EARLY_MIN: usize = 2;
/// They are more than so many times those that the kernel has: so each call takes more than the one before.
const EARLY_GROWTH: usize = 2;

/// Requests of one queue: what they are, and how many.
#[derive(Debug)]
pub(super) struct Queue {
    work: Work,
    /// Requests that may still begin.
    left: u64,
    pace: Option<Pace>,
    /// Slots without a request.
    idle: Vec<u16>,
}

impl Queue {
    /// `left` requests of `work`, no faster than `pace`. The ring gives it slots.
    pub(super) fn new(work: Work, left: u64, pace: Option<Pace>) -> Self {
        Self { work, left, pace, idle: Vec::new() }
    }

    fn wants_more(&self) -> bool {
        self.left > 0 && !self.idle.is_empty()
    }

    /// A slot and its request, if there is one to be made now.
    #[inline]
    fn next(&mut self, now: u64) -> Option<(u16, Io)> {
        if !self.wants_more() || self.pace.as_mut().is_some_and(|pace| !pace.take(now)) {
            return None;
        }
        self.left -= 1;
        Some((self.idle.pop()?, self.work.next_io()))
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Flight {
    io: Io,
    begun_ns: u64,
    /// The queue that the slot belongs to.
    queue: u16,
}

/// The queues of a CPU in one ring.
pub(super) struct Ring {
    ring: IoUring,
    /// Once the thread is there that issues.
    enter: Option<Enter>,
    buffers: ManuallyDrop<Buffers>,
    _file: Arc<File>,
    fixed: bool,
    /// Entries that one call hands over at most, if somebody has asked for that.
    batch: Option<usize>,
    /// The first of a pass is handed over early, as the target does with files.
    early: bool,
    /// Results come to who looks for them: nothing says that there are some.
    iopoll: bool,
    /// Looks in vain until the CPU is offered to others, and how many there were since; 0: it never is.
    yield_after: u32,
    vain_looks: u32,
    queues: Vec<Queue>,
    flights: Vec<Flight>,
    in_flight: usize,
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
    /// A ring that the thread which first passes it will issue to, with as many slots as all `queues` have together.
    pub(super) fn new(file: Arc<File>, mut queues: Vec<Queue>, raw: &RawOptions, load: &LoadOptions) -> Result<Self> {
        let depth = load.iodepth;
        let slots = usize::from(depth) * queues.len();
        let (most, how) = if raw.fixed { (BUFFERS_MAX, " with registered buffers") } else { (FLIGHTS_MAX, "") };
        ensure!(slots <= most, "{slots} requests in flight on one CPU are too many: {most} at most{how}");
        let is_file = file.metadata().context("cannot tell what kind of file it is")?.is_file();
        let mut flights = Vec::with_capacity(slots);
        for (number, queue) in (0..).zip(&mut queues) {
            let first = flights.len();
            flights.resize(first + usize::from(depth), Flight { queue: number, ..Flight::default() });
            queue.idle = (first..flights.len()).rev().map(|slot| slot as u16).collect();
        }
        let buffers = ManuallyDrop::new(Buffers::new(slots, load.max_bytes() as usize)?);
        Ok(Self {
            ring: set_up(&file, &buffers, slots as u32, raw)?,
            enter: None,
            buffers,
            _file: file,
            fixed: raw.fixed,
            batch: raw.batch.map(usize::from),
            early: is_file && !raw.iopoll,
            iopoll: raw.iopoll,
            // What is polled for is done by no thread.
            yield_after: if raw.iopoll { 0 } else { raw.yield_after },
            vain_looks: 0,
            queues,
            flights,
            in_flight: 0,
            completed: 0,
            recording: true,
            stats: Stats::default(),
        })
    }

    /// Requests that it can have in flight.
    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.flights.len()
    }

    /// Puts requests of all idle slots in the ring. What is in it at the end is handed over with the pass.
    fn make(&mut self, now: u64) -> Result<bool> {
        let (mut queued, mut was_refused) = (0, false);
        let before = self.in_flight;
        for number in 0..self.queues.len() {
            while let Some((slot, io)) = self.queues[number].next(now) {
                if !was_refused && self.is_due(queued) {
                    was_refused = self.call(queued as u32, false)? == 0;
                    queued = 0;
                }
                let entry = self.entry(slot, io);
                let flight = &mut self.flights[usize::from(slot)];
                (flight.io, flight.begun_ns) = (io, now);
                // SAFETY: the slot's buffer has room for the longest request, belongs to this request alone until its
                // completion is reaped, and outlives the ring.
                unsafe { self.ring.submission().push(&entry) }.expect("the ring has an entry for each slot");
                self.in_flight += 1;
                queued += 1;
            }
        }
        Ok(self.in_flight != before)
    }

    /// Whether `queued` entries are handed over before there are more. Where the kernel begins one request after the other, the
    /// disk hears of none before the last of a call: one that has little to do beside what is queued shall not wait for so many.
    fn is_due(&self, queued: usize) -> bool {
        let begun = self.in_flight - queued;
        match self.batch {
            Some(batch) => queued >= batch,
            None => self.early && queued >= EARLY_MIN.max(EARLY_GROWTH * begun + 1),
        }
    }

    fn entry(&self, slot: u16, io: Io) -> squeue::Entry {
        let (len, offset, buffer) = (io.blocks * BLOCK, io.lba * u64::from(BLOCK), self.buffers.at(slot));
        let entry = match (io.write, self.fixed) {
            (false, false) => opcode::Read::new(FILE, buffer, len).offset(offset).build(),
            (true, false) => opcode::Write::new(FILE, buffer, len).offset(offset).build(),
            (false, true) => opcode::ReadFixed::new(FILE, buffer, len, slot).offset(offset).build(),
            (true, true) => opcode::WriteFixed::new(FILE, buffer, len, slot).offset(offset).build(),
        };
        entry.user_data(slot.into())
    }

    /// One call for all there is for the kernel: entries, work that it has put off, results to look for. False if there is nothing, or
    /// it took nothing.
    fn submit(&mut self) -> Result<bool> {
        let queue = self.ring.submission();
        let (queued, asked) = (queue.len() as u32, queue.taskrun() || queue.cq_overflow());
        let asked = asked || (self.iopoll && self.in_flight > 0);
        drop(queue);
        if queued == 0 && !asked {
            return Ok(false);
        }
        Ok(self.call(queued, asked)? > 0 || asked)
    }

    /// A call that hands `queued` entries over: how many the kernel took.
    fn call(&self, queued: u32, asked: bool) -> Result<usize> {
        let enter = self.enter.as_ref().expect("the ring is enabled");
        // SAFETY: who pushed the entries has promised it, and this is the thread that has enabled the ring.
        match unsafe { enter.call(queued, asked) } {
            Ok(taken) => Ok(taken),
            // All of these go away when completions are taken; the entries stay in the ring.
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::BUSY | Errno::INTR) => Ok(0),
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
        let Self { ring, flights, queues, in_flight, stats, completed, .. } = self;
        for entry in ring.completion() {
            let slot = entry.user_data() as u16;
            let Some(&Flight { io, begun_ns, queue }) = flights.get(usize::from(slot)) else {
                bail!("unknown completion")
            };
            queues[usize::from(queue)].idle.push(slot);
            *in_flight -= 1;
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

    fn enable(&mut self) -> Result<()> {
        self.ring.submitter().register_enable_rings().context("cannot enable the ring")?;
        self.enter = Some(Enter::new(self.ring.as_raw_fd()));
        Ok(())
    }
}

/// A ring that is still to be enabled: the thread that does so is the issuer.
fn set_up(file: &File, buffers: &Buffers, slots: u32, raw: &RawOptions) -> Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().setup_submit_all();
    if raw.iopoll {
        builder.setup_iopoll();
    }
    let ring = builder.setup_r_disabled().build(slots).context("cannot set up io_uring")?;
    ring.submitter().register_files(&[file.as_raw_fd()]).context("cannot register the file")?;
    if raw.fixed {
        // SAFETY: the buffers outlive the ring.
        unsafe { ring.submitter().register_buffers(&buffers.slices()) }
            .context("cannot register buffers; the limit of locked memory (ulimit -l) may be too low")?;
    }
    Ok(ring)
}

impl Drop for Ring {
    fn drop(&mut self) {
        if self.is_idle() {
            // SAFETY: dropped here and nowhere else, and not used any more.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        }
        // Else the run failed, and the kernel still works on the buffers: they stay for as long as the process.
    }
}

impl Station for Ring {
    fn pass(&mut self, clock: Clock) -> Result<Option<u64>> {
        if self.enter.is_none() {
            self.enable()?;
        }
        let mut worked_at = None;
        if !self.ring.completion().is_empty() || self.queues.iter().any(Queue::wants_more) {
            let (now, before) = (clock.now_ns(), self.completed);
            self.reap(now)?;
            let made = self.make(now)?;
            worked_at = (made || self.completed != before).then_some(now);
        }
        // Completions wait in the kernel until their issuer comes for them.
        if self.submit()? || worked_at.is_some() {
            self.vain_looks = 0;
        } else {
            self.look_in_vain();
        }
        Ok(worked_at)
    }

    fn begin_measuring(&mut self) {
        self.stats.begin();
    }

    fn end_measuring(&mut self, measured_ns: u64) {
        self.recording = false;
        self.queues.iter_mut().for_each(|queue| queue.left = 0);
        self.stats.measured_ns = measured_ns;
    }

    fn completed(&self) -> u64 {
        self.completed
    }

    fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    fn is_done(&self) -> bool {
        self.is_idle() && self.queues.iter().all(|queue| queue.left == 0)
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }
}

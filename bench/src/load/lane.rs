//! One queue under load: takes what came back, makes new requests, shows them to the device, all in one pass.
//!
//! Owned by one thread. A pass reads the clock once: what it finds ended at that moment, what it makes begins then, so
//! that a latency includes the driver's own part of it.

use std::time::Instant;

use anyhow::{Result, bail};

use super::bell::Bell;
use super::pace::Pace;
use super::ring::DriverRing;
use super::slots::{Outcome, Slots};
use super::stats::Stats;
use super::verify::Verifier;
use super::work::{Io, Work};

/// Time since the threads of a run began.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// It is 0 now.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since then.
    #[inline]
    pub fn now_ns(self) -> u64 {
        let elapsed = self.0.elapsed();
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }
}

/// A slot's request.
#[derive(Debug, Clone, Copy, Default)]
struct Flight {
    io: Io,
    begun_ns: u64,
    busy: bool,
}

/// Requests that began together and ended together: they count at once.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    write: bool,
    begun_ns: u64,
    ios: u64,
    blocks: u64,
}

/// One queue and the work that goes through it.
#[derive(Debug)]
pub struct Lane<R> {
    ring: R,
    bell: Option<Bell>,
    slots: Slots,
    work: Work,
    block_size: u32,
    verifier: Option<Verifier>,
    pace: Option<Pace>,
    flights: Vec<Flight>,
    idle: Vec<u16>,
    /// Requests that may still begin.
    left: u64,
    /// Requests that ended, ramp included.
    completed: u64,
    recording: bool,
    stats: Stats,
}

impl<R: DriverRing> Lane<R> {
    /// `work` in the slots of a queue. Patterns are made and checked if there is a verifier.
    pub fn new(ring: R, slots: Slots, work: Work, block_size: u32, verifier: Option<Verifier>) -> Self {
        let depth = slots.depth();
        Self {
            ring,
            bell: None,
            slots,
            work,
            block_size,
            verifier,
            pace: None,
            flights: vec![Flight::default(); depth.into()],
            idle: (0..depth).rev().collect(),
            left: 0,
            completed: 0,
            recording: false,
            stats: Stats::default(),
        }
    }

    /// The device may sleep: rings its bell when it asks for that.
    pub fn with_bell(self, bell: Bell) -> Self {
        Self { bell: Some(bell), ..self }
    }

    /// Begins a run of at most `limit` requests, at most `rate` a second. Nothing is in flight.
    pub fn arm(&mut self, limit: Option<u64>, rate: Option<f64>) {
        assert_eq!(self.idle.len(), self.flights.len(), "nothing is in flight");
        self.pace = rate.map(Pace::new);
        self.left = limit.unwrap_or(u64::MAX);
        self.completed = 0;
        self.stats = Stats::default();
        self.recording = true;
    }

    /// What was seen so far is forgotten: from here on it counts.
    pub fn begin_measuring(&mut self) {
        self.stats.begin();
    }

    /// From here on nothing counts; it took `measured_ns`.
    pub fn end_measuring(&mut self, measured_ns: u64) {
        self.recording = false;
        self.left = 0;
        self.stats.measured_ns = measured_ns;
    }

    /// What was seen.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Requests that ended, ramp included.
    #[inline]
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.idle.len() == self.flights.len()
    }

    /// Whether all that was to be done is.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.is_idle()
    }

    /// One pass. The time if there was something to do.
    ///
    /// # Errors
    /// The device gave back what it does not have; the doorbell cannot be rung.
    #[inline]
    pub fn pass(&mut self, clock: Clock) -> Result<Option<u64>> {
        let found = self.ring.look();
        if !found {
            self.mind_bell()?;
        }
        let wants_more = self.left > 0 && !self.idle.is_empty();
        if !found && !wants_more {
            return Ok(None);
        }
        let now = clock.now_ns();
        let before = self.completed;
        if found {
            self.reap(now)?;
        }
        let made = self.make(now);
        self.ring.publish();
        Ok((made || self.completed != before).then_some(now))
    }

    /// Rings if the device asks for it. Only a device that gives nothing back can be asleep: under load nobody looks, and
    /// the fence that the look takes is in nobody's way.
    #[inline]
    fn mind_bell(&mut self) -> Result<()> {
        match &self.bell {
            Some(bell) if self.ring.wants_bell() => {
                self.stats.doorbells += 1;
                bell.ring()
            }
            _ => Ok(()),
        }
    }

    fn reap(&mut self, now: u64) -> Result<()> {
        let mut tally = Tally::default();
        // The device had all these lines last: they come together instead of one after the other.
        let slots = &self.slots;
        self.ring.ahead(|slot| slots.prefetch(slot));
        while let Some(given) = self.ring.take() {
            let slot = match given {
                Ok(slot) if self.flights.get(usize::from(slot)).is_some_and(|flight| flight.busy) => slot,
                Ok(slot) => bail!("the device gave back the request in slot {slot}, which it does not have"),
                Err(head) => bail!("the device gave back chain {head}, and there is none"),
            };
            let flight = &mut self.flights[usize::from(slot)];
            flight.busy = false;
            let Flight { io, begun_ns, .. } = *flight;
            self.idle.push(slot);
            self.completed += 1;
            let outcome = self.slots.outcome(slot);
            if outcome != Outcome::GOOD {
                self.fail(slot, io, outcome);
                continue;
            }
            if !self.check(slot, io) {
                continue;
            }
            if (tally.write, tally.begun_ns) != (io.write, begun_ns) {
                self.record(tally, now);
                tally = Tally { write: io.write, begun_ns, ios: 0, blocks: 0 };
            }
            tally.ios += 1;
            tally.blocks += u64::from(io.blocks);
        }
        self.record(tally, now);
        Ok(())
    }

    #[inline]
    fn record(&mut self, tally: Tally, now: u64) {
        if tally.ios == 0 || !self.recording {
            return;
        }
        let direction = if tally.write { &mut self.stats.write } else { &mut self.stats.read };
        direction.record(tally.ios, tally.blocks * u64::from(self.block_size), now - tally.begun_ns);
    }

    /// Whether the data is right, as far as anybody knows.
    #[inline]
    fn check(&mut self, slot: u16, io: Io) -> bool {
        let Some(verifier) = &mut self.verifier else { return true };
        let (slots, size) = (&self.slots, self.block_size as usize);
        match verifier.end(slot, io, |index, block| slots.read_data(slot, index * size, block)) {
            Ok(blocks) => self.stats.verified_blocks += blocks,
            Err(why) => {
                self.stats.fail(|| why);
                return false;
            }
        }
        true
    }

    #[cold]
    fn fail(&mut self, slot: u16, io: Io, outcome: Outcome) {
        let sense = self.slots.sense(slot);
        self.stats.fail(|| {
            let what = if io.write { "write" } else { "read" };
            let (key, code, qualifier) = sense;
            format!(
                "{what} of {} blocks at {}: response {}, status {:#04x}, sense {key:x}/{code:02x}/{qualifier:02x}, {} bytes missing",
                io.blocks, io.lba, outcome.response, outcome.status, outcome.resid
            )
        });
    }

    /// Makes requests in all idle slots, as far as limit and rate allow. Whether there was one.
    #[inline]
    fn make(&mut self, now: u64) -> bool {
        let mut made = false;
        while self.left > 0 && !self.idle.is_empty() {
            if self.pace.as_mut().is_some_and(|pace| !pace.take(now)) {
                break;
            }
            let slot = self.idle.pop().expect("it is not empty");
            self.left -= 1;
            let io = self.work.next_io();
            if let Some(verifier) = &mut self.verifier {
                let (slots, size) = (&self.slots, self.block_size as usize);
                verifier.begin(slot, io, |index, block| slots.write_data(slot, index * size, block));
            }
            self.slots.prepare(slot, io, &mut self.ring);
            self.flights[usize::from(slot)] = Flight { io, begun_ns: now, busy: true };
            made = true;
        }
        made
    }
}

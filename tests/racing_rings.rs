//! Both sides of a ring on threads that fall asleep: a device that asks for a doorbell and looks again, a driver that asks for
//! an interrupt and looks again. Neither leaves anything lying that the other one does not hear of.
//!
//! As `wake_ups.rs`, without all that is around a ring: so often that its indexes go round, and with many chains at a time.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use annulus::dma::{Gpa, Limits, MapRequest, MemMap, Table};
use annulus::virtio::ring::{Chain, Popped, Ring, RingFeatures, RingLayout};
use annulus_bench::guest::memory::{self, GuestMemory, Region};
use annulus_bench::guest::queue::{Format, Piece, Queue};
use common::aim::{Aim, Random, Tally, pause};

/// Who has waited so long was forgotten.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// Times that each side wins, if it is not too slow.
const WINS: u32 = 8000;
/// So many chains, and each index has been everything.
const ALL_INDEXES: u64 = 1 << 16;
/// Entries of the ring.
const SIZE: u16 = 64;
/// Most chains of a round: all of two rounds have room.
const CHAINS_MAX: u64 = 8;
/// Length of the guest's memory.
const MEMORY_LEN: usize = 1 << 20;
/// Looks of the driver before others may have the CPU.
const LOOKS: u32 = 200;
/// Looks of the device before it sleeps: it takes as long as the driver needs to be there again.
const LOOKS_OF_DEVICE: u32 = 100;

/// Counts like an eventfd: a ring before the wait ends it.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }

    /// Whether it rang in time.
    fn wait(&self, limit: Duration) -> bool {
        let waited = self.heard.wait_timeout_while(self.rung.lock().unwrap(), limit, |rung| !*rung);
        std::mem::take(&mut *waited.unwrap().0)
    }
}

/// What both sides share beside the ring.
#[derive(Default)]
struct Bells {
    doorbell: Bell,
    interrupt: Bell,
    stop: AtomicBool,
}

/// The device: takes what there is, gives it back, and sleeps when it has found nothing for a moment.
fn serve(ring: &mut Ring, map: &MemMap, bells: &Bells) {
    let (mut chain, mut in_vain) = (Chain::new(), 0);
    while !bells.stop.load(Ordering::Relaxed) {
        let found = ring.available().expect("the driver keeps the rules");
        for _ in 0..found {
            let Popped::Chain(head) = ring.pop(map, &mut chain).expect("the driver keeps the rules") else {
                panic!("what was there is gone");
            };
            ring.push(head, 0);
        }
        if ring.publish() {
            bells.interrupt.ring();
        }
        in_vain = if found == 0 { in_vain + 1 } else { 0 };
        if in_vain == LOOKS_OF_DEVICE {
            in_vain = 0;
            if !ring.enable_notify().expect("the driver keeps the rules") {
                // Longer than the driver: it knows more of what was lost.
                bells.doorbell.wait(LOST_AFTER * 3);
            }
            ring.disable_notify();
        }
    }
}

/// The driver.
struct Driver<'a> {
    queue: Queue,
    /// For the device to read and to write.
    pieces: [Piece; 2],
    bells: &'a Bells,
    random: Random,
    /// How many were shown.
    chains: u64,
}

impl Driver<'_> {
    /// Shows chains at the moment when the device falls asleep, and takes them back, by turns awake and asleep.
    fn run(&mut self) -> Result<Tally, String> {
        let (mut aim, mut open) = (Aim::new(Duration::from_micros(3)), 0);
        while !aim.is_done(WINS) || self.chains <= ALL_INDEXES {
            let chains = 1 + self.random.below(CHAINS_MAX);
            for _ in 0..chains {
                let pieces = 1 + self.random.below(2) as usize;
                self.queue.add(&self.pieces[2 - pieces..]).map_err(|error| error.to_string())?;
            }
            match self.random.below(4) {
                0 => self.take_asleep(open),
                _ => self.take_awake(open),
            }
            .map_err(|why| format!("{why}, {:?}", aim.tally()))?;
            pause(aim.next(&mut self.random));
            let rung = self.queue.publish();
            if rung {
                self.bells.doorbell.ring();
            }
            aim.learn(rung);
            self.chains += chains;
            open = chains;
        }
        self.take_awake(open).map(|()| aim.tally())
    }

    fn poll(&mut self) -> bool {
        self.queue.poll().expect("the device keeps the rules").is_some()
    }

    fn take_awake(&mut self, mut open: u64) -> Result<(), String> {
        let (start, mut looks) = (Instant::now(), 0);
        while open > 0 {
            looks += 1;
            if self.poll() {
                open -= 1;
            } else if looks % LOOKS == 0 {
                if start.elapsed() > LOST_AFTER {
                    return Err(format!("{open} chains were left by the device"));
                }
                std::thread::yield_now();
            }
        }
        Ok(())
    }

    fn take_asleep(&mut self, mut open: u64) -> Result<(), String> {
        while open > 0 {
            if self.poll() {
                open -= 1;
            } else if !self.queue.set_interrupts(true) && !self.bells.interrupt.wait(LOST_AFTER) {
                return match self.poll() {
                    true => Err(format!("no interrupt came for any of {open} chains")),
                    false => Err(format!("{open} chains were left by the device, whose driver slept")),
                };
            }
        }
        self.queue.set_interrupts(false);
        Ok(())
    }
}

/// The device's view of a guest's memory.
fn map_of(region: &memory::Region) -> Arc<MemMap> {
    let mut table = Table::new(Limits::default());
    let (gpa, len) = (Gpa(region.gpa().0), region.len() as u64);
    let request = MapRequest { gpa, len, offset: 0, readable: true, writable: true };
    table.map(&request, Some(region.file().try_clone_to_owned().unwrap())).unwrap();
    table.snapshot()
}

fn race(format: Format, event_idx: bool) {
    let mut memory = GuestMemory::new(vec![Region::new(memory::Gpa(0x10_0000), MEMORY_LEN).unwrap()]);
    let map = map_of(memory.regions().next().unwrap());
    let mut queue = Queue::new(&mut memory, format, 0, SIZE, event_idx).unwrap();
    queue.set_interrupts(false);
    let layout = queue.layout();
    let [desc, avail, used] = [layout.desc, layout.driver, layout.device].map(|gpa| Gpa(gpa.0));
    let (layout, features) =
        (RingLayout { size: SIZE, desc, avail, used }, RingFeatures { event_idx, indirect: false });
    let mut ring = match format {
        Format::Split => Ring::split(layout, features, &map).unwrap(),
        Format::Packed => Ring::packed(layout, features, &map).unwrap(),
    };
    ring.start();
    let pieces = [false, true].map(|device_writes| {
        let window = memory.allocate(64, 64).unwrap();
        Piece { gpa: window.gpa(), len: 64, device_writes }
    });
    let bells = Bells::default();
    let tally = std::thread::scope(|scope| {
        scope.spawn(|| serve(&mut ring, &map, &bells));
        let tally = Driver { queue, pieces, bells: &bells, random: Random::new(), chains: 0 }.run();
        bells.stop.store(true, Ordering::Relaxed);
        bells.doorbell.ring();
        tally
    });
    let tally = tally.unwrap_or_else(|why| panic!("{format:?}, event index {event_idx}: {why}"));
    println!("{format:?}, event index {event_idx}: {tally:?}");
    assert!(tally.early.min(tally.late) > 0, "{format:?}, event index {event_idx}: there was no race: {tally:?}");
}

#[test]
fn a_split_ring_leaves_nothing_lying() {
    race(Format::Split, false);
}

#[test]
fn a_split_ring_with_event_indexes_leaves_nothing_lying() {
    race(Format::Split, true);
}

#[test]
fn a_packed_ring_leaves_nothing_lying() {
    race(Format::Packed, false);
}

#[test]
fn a_packed_ring_with_event_indexes_leaves_nothing_lying() {
    race(Format::Packed, true);
}

//! A random life: two guests share disks, with commands of several attributes on several queues against task management,
//! rests, resets, and disks that are slow, full, broken and out of order. With every other seed the first guest's requests lie in memory that is not shared, which its client
//! serves when it likes. Everything comes from one seed, so that a failure can be had again.
//!
//! After each step: each request ends once, a task management function is answered after all that it is about, and commands
//! wait for those that they have to (by the guest's book), reads fit the model, reservations and access states keep out whom
//! they have to and nobody else, memory is let go of when a gate opens, and nothing is written for a life that is
//! over. At the end everything comes to its end.

use bdev::IoError;
use reactor::Gate;

use super::bed::Bed;
use super::book::Book;
use super::guest::{Data, Gates, Left, TEST_UNIT_READY, read_10, write_10};
use super::long::{UNMAP, compare_and_write, unmap_list, verify_block, write_same};
use super::model::{Command, Model};
use super::rights::{Deed, Need};
use super::seed::{SEED_VARIABLE, TellSeed};
use super::sim_disk::{Cancels, SimDisk};
use crate::target::live::Part;
use crate::virtio_scsi::spec::{
    TASK_ATTR_HEAD, TASK_ATTR_ORDERED, TASK_ATTR_SIMPLE, TMF_ABORT_TASK, TMF_ABORT_TASK_SET, TMF_CLEAR_ACA,
    TMF_CLEAR_TASK_SET, TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET, TMF_QUERY_TASK, TMF_QUERY_TASK_SET,
};

/// Seeds that are always run.
const SEEDS: u64 = 20;
const STEPS: usize = 2500;
const CORES: u64 = 2;
/// Request queues of the first guest; the second one has one.
const QUEUES: u64 = 3;
const DISKS: u64 = 2;
/// Requests that a driver has in one queue at most.
const OPEN_MAX: usize = 18;
/// Blocks that each guest uses of each disk.
const BLOCKS: u64 = 6;

#[test]
fn every_life_comes_to_a_good_end() {
    let given = std::env::var(SEED_VARIABLE).ok().map(|text| text.parse().expect("a seed is a number"));
    let fresh = || std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    let seeds: Vec<u64> = given.map_or_else(|| (0..SEEDS).chain([fresh()]).collect(), |seed| vec![seed]);
    for seed in seeds {
        let _told = TellSeed(seed);
        let mut simulation = Simulation::new(seed);
        for _ in 0..STEPS {
            simulation.step();
        }
        simulation.end();
    }
}

/// A generator of random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// Where the first guest's device is.
enum Memory {
    Whole,
    /// The control queue was asked to rest.
    Closing(Gate),
    /// The others were.
    Leaving(Gate),
    /// They rest.
    Gone,
    /// They have no memory for their rings.
    Partial,
}

/// A life that is over.
struct Former {
    number: usize,
    gate: Gates,
    left: Left,
    /// Steps of each core since, and what had been told the driver when both had done one.
    steps: [bool; CORES as usize],
    told: Option<(Vec<u16>, Vec<u8>)>,
}

struct Simulation {
    random: Random,
    bed: Bed,
    disks: Vec<SimDisk>,
    /// By guest.
    models: [Model; 2],
    /// By disk.
    books: Vec<Book>,
    memory: Memory,
    former: Vec<Former>,
    lives: usize,
    next_stamp: u64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let (mut bed, disks) = Bed::simulated(CORES as usize, QUEUES as u16, DISKS as usize);
        bed.add_guest(1);
        if !seed.is_multiple_of(2) {
            let _ = bed.guest().retire();
            bed.run();
            bed.guest().share_no_data().tables = !(seed / 2).is_multiple_of(2);
            bed.guest().start();
        }
        let models = [Model::default(), Model::left_alone()];
        let (memory, former) = (Memory::Whole, Vec::new());
        let books = disks.iter().map(|_| Book::new()).collect();
        Self { random: Random(seed), bed, disks, models, books, memory, former, lives: 0, next_stamp: 1 }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..50 => self.step_core(),
            50..75 => self.send(),
            75..86 => self.answer(),
            86..88 => self.share(),
            88..91 if self.random.one_in(3) => self.change_client(),
            88..91 => self.change_disk(),
            91..96 => self.manage(),
            96..99 => self.change_memory(),
            _ if self.random.one_in(4) => self.reset(),
            _ => {}
        }
    }

    fn step_core(&mut self) {
        let place = self.random.below(CORES) as usize;
        self.bed.step(place);
        self.books.iter_mut().for_each(|book| book.stepped(place));
        self.look(Some(place));
    }

    /// Compares what happened with what may.
    fn look(&mut self, place: Option<usize>) {
        for (number, (guest, model)) in self.bed.guests.iter_mut().zip(&mut self.models).enumerate() {
            for ended in guest.ended.drain(..) {
                let at_risk = self.books.iter_mut().fold(false, |risk, book| risk | book.ended(number, &ended));
                model.ended(&ended, at_risk);
            }
            assert!(!guest.is_broken());
        }
        match &self.memory {
            Memory::Closing(gate) if gate.is_open() => {
                self.memory = Memory::Leaving(self.bed.guests[0].rest(Part::Requests));
            }
            Memory::Leaving(gate) if gate.is_open() => {
                assert!(!self.bed.guests[0].memory_is_held(), "at rest");
                self.memory = Memory::Gone;
            }
            _ => {}
        }
        for former in &mut self.former {
            if let Some(place) = place {
                former.steps[place] = true;
            }
            if former.steps.iter().all(|&stepped| stepped) {
                let told = former.told.get_or_insert_with(|| former.left.told());
                assert!(*told == former.left.told(), "a life that is over tells nothing");
            }
        }
        for former in self.former.extract_if(.., |former| former.gate.is_open()) {
            assert!(!former.left.memory_is_held(), "a life that is gone holds no memory");
            self.models[0].life_is_gone(former.number);
            self.books.iter_mut().for_each(|book| book.life_is_gone(former.number));
        }
    }

    fn send(&mut self) {
        let number = usize::from(self.random.one_in(5));
        let queue = if number == 0 { self.random.below(QUEUES) as usize } else { 0 };
        let (guest, model) = (&mut self.bed.guests[number], &mut self.models[number]);
        if guest.open_in(queue + 2) >= OPEN_MAX {
            return;
        }
        let target = self.random.below(DISKS) as u8;
        let place = (target, (self.random.below(BLOCKS) + BLOCKS * number as u64) as u8);
        let kind = self.random.below(14);
        let is_write = kind < 7;
        if kind < 13 && model.is_in_use(place, is_write) {
            return;
        }
        let stamp = self.next_stamp;
        self.next_stamp += 1;
        // Now and then a stamp that was never there.
        let expected = if self.random.one_in(4) { stamp + (1 << 40) } else { model.guess(place) };
        let (cdb, command) = match kind {
            0..4 => (write_10(place.1, 1).to_vec(), Command::Write(place, stamp)),
            4 => (compare_and_write(place.1).to_vec(), Command::Compare(place, expected, Some(stamp))),
            5 => (write_same(place.1).to_vec(), Command::Write(place, stamp)),
            6 => (UNMAP.to_vec(), Command::Write(place, 0)),
            7 => (verify_block(place.1).to_vec(), Command::Compare(place, expected, None)),
            8..13 => {
                let mut cdb = read_10(place.1, 1);
                // Some go around the cache, which takes two operations.
                cdb[1] = if kind == 8 { 8 } else { 0 };
                (cdb.to_vec(), Command::Read(place))
            }
            _ => (TEST_UNIT_READY.to_vec(), Command::Other),
        };
        let block = |stamp: u64| stamp.to_le_bytes().repeat(64);
        guest.attribute = match self.random.below(24) {
            0 | 1 => TASK_ATTR_ORDERED,
            2 => TASK_ATTR_HEAD,
            _ => TASK_ATTR_SIMPLE,
        };
        let id = match command {
            Command::Write(_, 0) => guest.send(queue, target, &cdb, Data::Out(&unmap_list(place.1))),
            Command::Write(_, stamp) => guest.send(queue, target, &cdb, Data::Out(&block(stamp))),
            Command::Compare(_, expected, None) => guest.send(queue, target, &cdb, Data::Out(&block(expected))),
            Command::Compare(_, expected, Some(stamp)) => {
                guest.send(queue, target, &cdb, Data::Out(&[block(expected), block(stamp)].concat()))
            }
            Command::Read(_) => guest.send(queue, target, &cdb, Data::In(512)),
            Command::Other => guest.send(queue, target, &cdb, Data::Without),
        };
        model.sent(id, command);
        let need = match command {
            Command::Write(..) | Command::Compare(_, _, Some(_)) => Need::Write,
            Command::Read(_) | Command::Compare(_, _, None) => Need::Read,
            Command::Other => Need::Nothing,
        };
        self.books[usize::from(target)].sent(number, id, need);
    }

    /// A guest changes what both share of a disk.
    fn share(&mut self) {
        let number = self.random.below(2) as usize;
        let queue = if number == 0 { self.random.below(QUEUES) as usize } else { 0 };
        let target = self.random.below(DISKS) as u8;
        if self.bed.guests[number].open_in(queue + 2) >= OPEN_MAX || self.books[usize::from(target)].is_busy() {
            return;
        }
        let deed = self.deed();
        let (cdb, list) = deed.encode();
        let guest = &mut self.bed.guests[number];
        guest.attribute = TASK_ATTR_SIMPLE;
        let id = guest.send(queue, target, &cdb, if list.is_empty() { Data::Without } else { Data::Out(&list) });
        self.models[number].sent(id, Command::Other);
        self.books[usize::from(target)].sent_deed(number, id, deed);
    }

    /// Mostly what may be done, and more that ends a reservation than makes one: else nothing else would be seen.
    fn deed(&mut self) -> Deed {
        let random = &mut self.random;
        let kind = [1, 3, 5, 6, 7, 8][random.below(6) as usize];
        let (key, other) = (random.below(3) as u8, random.below(3) as u8);
        match random.below(16) {
            0 | 1 => Deed::Register { key, new: other },
            2 | 3 => Deed::RegisterAndIgnore { new: other },
            4..7 => Deed::Reserve { key, kind },
            7 => Deed::Release { key, kind },
            8 | 9 => Deed::Clear { key },
            10 | 11 => Deed::Preempt { key, other, kind, abort: random.one_in(2) },
            12 => Deed::ReserveUnit,
            13 => Deed::ReleaseUnit,
            _ => Deed::SetState { group: random.below(2) as u8, state: [0, 0, 0, 2, 3][random.below(5) as usize] },
        }
    }

    fn answer(&mut self) {
        let disk = &self.disks[self.random.below(DISKS) as usize];
        let held = disk.held() as u64;
        if held > 0 {
            let result = if self.random.one_in(12) { Err(IoError::Medium) } else { Ok(()) };
            disk.answer(self.random.below(held) as usize, result);
        }
    }

    fn change_disk(&mut self) {
        let disk = &self.disks[self.random.below(DISKS) as usize];
        match self.random.below(5) {
            0 | 1 => disk.hold(),
            2 => disk.go(),
            3 => disk.set_room([0, 1, 3, usize::MAX][self.random.below(4) as usize]),
            _ => disk.set_cancels([Cancels::Work, Cancels::Fail][self.random.below(2) as usize]),
        }
    }

    fn change_client(&mut self) {
        let waits = self.random.one_in(2);
        if let Some(far) = &mut self.bed.guest().far {
            far.client.waits = waits;
        }
    }

    fn manage(&mut self) {
        let guest = &mut self.bed.guests[0];
        if guest.open_in(0) >= OPEN_MAX {
            return;
        }
        let functions = [
            TMF_ABORT_TASK,
            TMF_ABORT_TASK,
            TMF_ABORT_TASK_SET,
            TMF_CLEAR_ACA,
            TMF_CLEAR_TASK_SET,
            TMF_LOGICAL_UNIT_RESET,
            TMF_I_T_NEXUS_RESET,
            TMF_QUERY_TASK,
            TMF_QUERY_TASK_SET,
        ];
        let function = functions[self.random.below(functions.len() as u64) as usize];
        let open = self.models[0].under_way();
        let id = if open.is_empty() { 0 } else { open[self.random.below(open.len() as u64) as usize] };
        let target = self.random.below(DISKS) as u8;
        let tmf = guest.manage(function, target, id);
        if matches!(function, TMF_LOGICAL_UNIT_RESET | TMF_I_T_NEXUS_RESET) {
            self.books[usize::from(target)].sent_reset(tmf, function == TMF_LOGICAL_UNIT_RESET);
        }
    }

    /// Takes memory away, whole or in part, and gives it back.
    fn change_memory(&mut self) {
        let guest = &mut self.bed.guests[0];
        self.memory = match &self.memory {
            Memory::Whole => Memory::Closing(guest.rest(Part::Control)),
            Memory::Closing(_) | Memory::Leaving(_) => return,
            Memory::Gone if self.random.one_in(3) => {
                let map = guest.show(false, true);
                guest.live.as_mut().expect("it lives").go_on(&map);
                Memory::Partial
            }
            Memory::Gone => {
                guest.go_on();
                Memory::Whole
            }
            Memory::Partial if self.random.one_in(2) => Memory::Closing(guest.rest(Part::Control)),
            Memory::Partial => {
                let map = guest.show(true, true);
                guest.live.as_ref().expect("it lives").add_memory(&map);
                Memory::Whole
            }
        };
    }

    /// Ends the first guest's life, at whatever point it is, and begins a new one.
    fn reset(&mut self) {
        let guest = &mut self.bed.guests[0];
        let (gate, left) = (guest.retire(), guest.leave());
        self.models[0].life_ended(self.lives);
        self.books.iter_mut().for_each(|book| book.life_ended(self.lives));
        self.former.push(Former { number: self.lives, gate, left, steps: Default::default(), told: None });
        self.lives += 1;
        guest.start();
        self.memory = Memory::Whole;
    }

    /// Lets everything come to its end.
    fn end(mut self) {
        for disk in &self.disks {
            disk.set_room(usize::MAX);
            disk.go();
        }
        if let Some(far) = &mut self.bed.guest().far {
            far.client.waits = false;
        }
        for _ in 0..2 {
            self.bed.run();
            self.look(None);
        }
        match &self.memory {
            Memory::Whole => {}
            Memory::Closing(_) | Memory::Leaving(_) => unreachable!("nothing is in flight"),
            Memory::Gone | Memory::Partial => self.bed.guests[0].go_on(),
        }
        self.bed.run();
        self.look(None);
        assert!(self.former.is_empty(), "every former life has come to its end");
        for guest in &mut self.bed.guests {
            assert_eq!(guest.open(), 0, "every request has come to its end");
        }
        for guest in 0..2 {
            let gate = self.bed.guests[guest].retire();
            self.bed.run();
            assert!(gate.is_open() && !self.bed.guests[guest].memory_is_held());
        }
        assert!(self.bed.drained());
    }
}

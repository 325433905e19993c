//! A random life: two guests share disks, and a third one now and then, with commands of several attributes on several queues
//! against task management of both, memory that is taken away and given back, resets, auto contingent allegiances, reservations,
//! copies from disk to disk, tokens, disks that are formatted or sanitized, logical units that go, come
//! again and get their disks anew, and disks that are slow, late, full, broken and out of order, or behind a wrapper. Time is
//! what the simulation says. With every other seed the first guest's requests lie in memory that is not shared, which its client
//! serves when it likes. Most blocks belong to one guest; to some of them both write. Everything comes from one seed, so that a
//! failure can be had again.
//!
//! After each step: each request ends once, none early but for a function that is about it, a task management function is
//! answered after all that it is about, those of other guests included, and then each nexus is told; commands wait for those
//! that they have to (by the guest's book), reads fit the model, reservations and access states keep out whom they have to and
//! nobody else, nothing is served by a unit that has gone, memory is let go of when a gate opens, and nothing is written for a
//! life that is over. At the end everything comes to its end.

use bdev::IoError;
use reactor::Gate;

use super::bed::Bed;
use super::book::Book;
use super::copies::{COPY, copy};
use super::guest::{Data, Ended, Gates, Guest, Left, TASK_ABORTED, TEST_UNIT_READY, read_10, write_10};
use super::long::{UNMAP, compare_and_write, unmap_list, verify_block, write_same};
use super::model::{Command, Model};
use super::rights::{Deed, Need};
use super::seed::with_seeds;
use super::sim_disk::{Cancels, SimDisk};
use aborts::Aborts;
use allegiance::Allegiance;
use functions::Functions;
use meeting::Meeting;
use tokens::Token;
use units::{Turn, Units};
use work::Work;

mod aborts;
mod allegiance;
mod functions;
mod meeting;
mod requests;
mod tokens;
mod units;
mod work;
mod world;

use crate::target::live::Part;
use crate::virtio_scsi::spec::{
    TASK_ATTR_ACA, TASK_ATTR_HEAD, TASK_ATTR_ORDERED, TASK_ATTR_SIMPLE, TMF_ABORT_TASK, TMF_ABORT_TASK_SET,
    TMF_CLEAR_ACA, TMF_CLEAR_TASK_SET, TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET, TMF_QUERY_TASK, TMF_QUERY_TASK_SET,
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
/// The guest whose controller comes and goes.
const VISITOR: usize = 2;
/// Blocks that each guest uses of each disk.
const BLOCKS: u64 = 6;
/// All blocks of a disk: work on the whole of it takes several operations.
const DISK_BLOCKS: u64 = 2048;

#[test]
fn every_life_comes_to_a_good_end() {
    with_seeds(SEEDS, |seed| {
        let mut simulation = Simulation::new(seed);
        for _ in 0..STEPS {
            simulation.step();
        }
        simulation.end();
    });
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
    guest: usize,
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
    models: [Model; 3],
    /// By disk.
    books: Vec<Book>,
    functions: Functions,
    /// By disk: those of the first guest.
    allegiances: Vec<Allegiance>,
    /// By disk.
    work: Vec<Work>,
    /// By disk.
    aborts: Vec<Aborts>,
    meeting: Meeting,
    /// By guest.
    tokens: [Token; 3],
    next_list: u8,
    memory: Memory,
    /// The first guest's.
    units: Units,
    former: Vec<Former>,
    lives: usize,
    next_stamp: u64,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let (mut bed, disks) =
            Bed::wrapped(CORES as usize, QUEUES as u16, (DISKS as usize, DISK_BLOCKS), world::wrapper(seed));
        bed.add_guest(1);
        let units = Units::new(&mut bed, CORES as usize);
        if !seed.is_multiple_of(2) {
            let _ = bed.guest().retire();
            bed.run();
            bed.guest().share_no_data().tables = !(seed / 2).is_multiple_of(2);
            bed.guest().start();
        }
        let books = disks.iter().map(|_| Book::new()).collect();
        let allegiances = disks.iter().map(|_| Allegiance::default()).collect();
        Self {
            random: Random(seed),
            bed,
            models: Default::default(),
            books,
            functions: Functions::default(),
            allegiances,
            work: disks.iter().map(|_| Work::default()).collect(),
            aborts: disks.iter().map(|_| Aborts::default()).collect(),
            meeting: Meeting::default(),
            tokens: Default::default(),
            next_list: 0,
            memory: Memory::Whole,
            units,
            disks,
            former: Vec::new(),
            lives: 0,
            next_stamp: 1,
        }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..50 => self.step_core(),
            50..69 => self.send(),
            69..74 => self.meet(),
            74 => self.go_on_with_token(),
            75..86 => self.answer(),
            86..88 => self.share(),
            88..91 if self.random.one_in(3) => self.change_client(),
            88..91 => self.change_disk(),
            91..96 => self.manage(),
            96..98 => self.change_memory(),
            98 => self.change_units(),
            _ if self.random.one_in(4) => self.reset(),
            _ if self.random.one_in(3) => self.visit(),
            _ if self.random.one_in(2) => self.format(),
            _ if self.random.one_in(2) => self.choose_status(),
            _ => self.ask_progress(),
        }
    }

    fn step_core(&mut self) {
        self.let_time_pass();
        let place = self.random.below(CORES) as usize;
        self.bed.step(place);
        self.books.iter_mut().for_each(|book| book.stepped(place));
        self.functions.stepped(place);
        self.look(Some(place));
    }

    /// Compares what happened with what may.
    fn look(&mut self, place: Option<usize>) {
        for (number, (guest, model)) in self.bed.guests.iter_mut().zip(&mut self.models).enumerate() {
            let ended = std::mem::take(&mut guest.ended);
            let mut at_risk = Vec::new();
            for ended in &ended {
                let books = self.books.iter_mut().filter(|_| number != VISITOR);
                if books.fold(false, |risk, book| risk | book.ended(number, ended)) {
                    at_risk.push(ended.id);
                }
                model.ended(ended);
                self.meeting.ended(number, ended);
                self.tokens[number].ended(ended);
                for (work, disk) in self.work.iter_mut().zip(&self.bed.disks) {
                    work.ended((number, ended.id), ended, disk.hold.is_busy());
                }
                if number != VISITOR {
                    self.allegiances.iter_mut().for_each(|allegiance| allegiance.ended(number, ended));
                }
            }
            for ended in &ended {
                self.aborts.iter_mut().for_each(|aborts| aborts.change_ended((number, ended.id), ended));
            }
            let tells = |id: &u64| self.aborts.iter().any(|aborts| aborts.tells((number, *id)));
            let silently: Vec<u64> = at_risk.iter().copied().filter(|id| !tells(id)).collect();
            let is_seen = guest.far.is_none();
            let is_watched = |target: u8| is_seen && (number != 0 || !self.units.may_be_away(target.into()));
            self.functions.ended(number, &ended, is_watched, &silently);
            for ended in &ended {
                let by_another = at_risk.contains(&ended.id);
                self.aborts.iter_mut().for_each(|aborts| aborts.ended((number, ended.id), ended, by_another));
            }
            assert!(!guest.is_broken());
        }
        self.functions.looked();
        self.look_at_work();
        let is_far = self.bed.guests[0].far.is_some();
        for target in self.units.tell() {
            self.books[target].is_gone();
            // What has ended may lie for a while in memory that is not shared before the driver sees it.
            if !is_far {
                self.models[0].unit_is_gone(target as u8);
            }
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
        self.look_at_former(place);
    }

    /// Lives that are over tell nothing, hold no memory when they are gone, and then nothing of them comes any more.
    fn look_at_former(&mut self, place: Option<usize>) {
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
            self.models[former.guest].life_is_gone(former.number);
            self.functions.life_is_gone(former.number);
            self.meeting.life_is_gone(former.number);
            self.work.iter_mut().for_each(|work| work.life_is_gone(former.number));
            if former.guest == 0 {
                self.books.iter_mut().for_each(|book| book.life_is_gone(former.number));
            }
        }
    }

    /// Ends the allegiances that there are, and those that come of what they held back.
    fn clear_allegiances(&mut self) {
        for _ in 0..OPEN_MAX * QUEUES as usize {
            if self.bed.guests[0].open() == 0 {
                return;
            }
            (0..DISKS).for_each(|target| self.end_allegiance(target as u8));
            self.bed.run_out();
            self.look(None);
        }
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
            self.bed.run_out();
            self.look(None);
        }
        match &self.memory {
            Memory::Whole => {}
            Memory::Closing(_) | Memory::Leaving(_) => unreachable!("nothing is in flight"),
            Memory::Gone | Memory::Partial => self.bed.guests[0].go_on(),
        }
        self.bed.run_out();
        self.look(None);
        assert!(self.former.is_empty(), "every former life has come to its end");
        self.clear_allegiances();
        for _ in 0..4 {
            self.units.settle(&mut self.bed);
            self.bed.run_out();
            self.units.tell();
        }
        assert!(self.units.is_settled(), "nothing is on units that went, and their disks are closed");
        for guest in &mut self.bed.guests {
            assert_eq!(guest.open(), 0, "every request has come to its end");
        }
        for guest in 0..self.bed.guests.len() {
            let gate = self.bed.guests[guest].retire();
            self.bed.run_out();
            assert!(gate.is_open() && !self.bed.guests[guest].memory_is_held());
        }
        assert!(self.bed.drained());
    }
}

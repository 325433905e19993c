//! Blocks to which two guests write without knowing of each other: whatever order their writes are done in, a block holds one of
//! them as a whole, and none that another one has overwritten before somebody looked.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::target::tests::guest::TASK_ABORTED;
use crate::target::tests::model::Place;

/// The first of those blocks, and how many there are.
const FIRST: u64 = 40;
const COUNT: u64 = 2;
const MISCOMPARE: (u8, u16) = (0xe, 0x1d00);

/// A write to a block. Times count what has happened.
#[derive(Debug, Clone, Copy)]
struct Write {
    stamp: u64,
    /// The command, or what fills a whole disk with zeros.
    by: Option<(usize, u64)>,
    begun: u64,
    ended: Option<u64>,
    /// It was done for sure.
    is_done: bool,
}

impl Write {
    /// What a new disk holds.
    const FIRST: Self = Self { stamp: 0, by: None, begun: 0, ended: Some(0), is_done: true };
}

/// What a command does to the blocks from a place on.
#[derive(Debug, Clone, Copy)]
enum What {
    Read,
    Write,
    /// It compares first.
    Exchange(u64),
}

#[derive(Debug, Clone, Copy)]
struct Open {
    place: Place,
    blocks: u8,
    what: What,
    begun: u64,
}

/// What is known of the blocks where guests meet.
#[derive(Debug, Default)]
pub(super) struct Meeting {
    now: u64,
    writes: BTreeMap<Place, Vec<Write>>,
    open: BTreeMap<(usize, u64), Open>,
    /// Commands of lives that are over, which disks may still do.
    haunting: Vec<(usize, (usize, u64))>,
    /// What COMPARE AND WRITE has found and replaced: no other one may find it.
    replaced: BTreeSet<(Place, u64)>,
}

impl Meeting {
    fn writes(&mut self, place: Place) -> &mut Vec<Write> {
        self.writes.entry(place).or_insert_with(|| vec![Write::FIRST])
    }

    fn places(open: Open) -> impl Iterator<Item = Place> {
        (0..open.blocks).map(move |n| (open.place.0, open.place.1 + n))
    }

    /// A stamp that was written to a block lately.
    fn guess(&mut self, place: Place) -> u64 {
        self.writes(place).last().expect("at least the first").stamp
    }

    fn sent(&mut self, name: (usize, u64), (place, blocks): (Place, u8), what: What, stamp: u64) {
        self.now += 1;
        let open = Open { place, blocks, what, begun: self.now };
        self.open.insert(name, open);
        if !matches!(what, What::Read) {
            let write = Write { stamp, by: Some(name), begun: self.now, ended: None, is_done: false };
            Self::places(open).for_each(|place| self.writes(place).push(write));
        }
    }

    /// A request of a guest has ended.
    pub(super) fn ended(&mut self, guest: usize, ended: &Ended) {
        let name = (guest, ended.id);
        let Some(open) = self.open.remove(&name) else { return };
        self.now += 1;
        let is_good = ended.response == 0 && ended.status == 0;
        match open.what {
            What::Read if is_good => self.check_read(open, ended),
            What::Read => {}
            What::Exchange(expected) if is_good => {
                self.check(open.place, expected, open.begun);
                let is_first = expected == 0 || self.replaced.insert((open.place, expected));
                assert!(is_first, "two have found {expected} on {:?} and replaced it: {ended:?}", open.place);
                self.settle(name, open, Some(true));
            }
            What::Exchange(_) if ended.sense == Some(MISCOMPARE) => self.settle(name, open, None),
            // RESERVATION CONFLICT, ACA ACTIVE, UNIT ATTENTION.
            _ if matches!(ended.status, 0x18 | 0x30) || ended.sense.is_some_and(|(key, _)| key == 6) => {
                self.settle(name, open, None);
            }
            What::Write | What::Exchange(_) => self.settle(name, open, Some(is_good)),
        }
        assert!(ended.status != TASK_ABORTED || ended.sense.is_none(), "{ended:?}");
    }

    /// A write has ended: it was done, or perhaps; or not, for sure.
    fn settle(&mut self, name: (usize, u64), open: Open, done: Option<bool>) {
        let now = self.now;
        for place in Self::places(open) {
            let writes = self.writes(place);
            match done {
                None => writes.retain(|write| write.by != Some(name)),
                Some(is_done) => {
                    let own = writes.iter_mut().filter(|write| write.by == Some(name));
                    // Its guest's next life uses the same names.
                    own.for_each(|write| (write.by, write.ended, write.is_done) = (None, Some(now), is_done));
                }
            }
        }
    }

    fn check_read(&mut self, open: Open, ended: &Ended) {
        for (place, block) in Self::places(open).zip(ended.data.chunks(512)) {
            let stamp = u64::from_le_bytes(block[..8].try_into().expect("eight bytes"));
            assert!(block.chunks(8).all(|chunk| chunk == stamp.to_le_bytes()), "{place:?} is torn: {ended:?}");
            self.check(place, stamp, open.begun);
        }
    }

    /// A block was seen to have a stamp by a command that was sent at `begun`.
    fn check(&mut self, place: Place, stamp: u64, begun: u64) {
        let is_looked_at = self.open.values().any(|other| Self::places(*other).any(|its| its == place));
        let writes = self.writes(place);
        let is_over = |write: &Write| {
            let after = |other: &Write| {
                other.is_done
                    && write.ended.is_some_and(|end| other.begun > end)
                    && other.ended.is_some_and(|end| end < begun)
            };
            writes.iter().any(after)
        };
        let fits = |write: &&Write| write.stamp == stamp && !is_over(write);
        let Some(found) = writes.iter().rfind(fits).copied() else {
            panic!("{place:?} has {stamp}, seen by who began at {begun}: {writes:?}");
        };
        // Nobody writes any more, nor looks: what was seen is there.
        if !is_looked_at && writes.iter().all(|write| write.ended.is_some_and(|end| end < begun)) {
            *writes = vec![found];
        }
    }

    /// A guest's life has ended.
    pub(super) fn life_ended(&mut self, guest: usize, life: usize) {
        let over: Vec<_> = self.open.extract_if(.., |&(its, _), _| its == guest).collect();
        for (name, open) in over.into_iter().filter(|(_, open)| !matches!(open.what, What::Read)) {
            // Its guest's next life uses the same names.
            let (renamed, all) = ((usize::MAX - life, name.1), Self::places(open));
            for place in all {
                let own = self.writes(place).iter_mut().filter(|write| write.by == Some(name));
                own.for_each(|write| write.by = Some(renamed));
            }
            self.haunting.push((life, renamed));
        }
    }

    /// Nothing of a former life is left.
    pub(super) fn life_is_gone(&mut self, life: usize) {
        self.now += 1;
        let now = self.now;
        let gone: BTreeSet<_> = self.haunting.extract_if(.., |(its, _)| *its == life).map(|(_, name)| name).collect();
        let all = self.writes.values_mut().flatten();
        let its = all.filter(|write| write.by.is_some_and(|name| gone.contains(&name)));
        its.for_each(|write| (write.by, write.ended) = (None, Some(now)));
    }

    /// From now on a target's blocks may all become zeros.
    pub(super) fn work_begins(&mut self, target: u8) {
        self.now += 1;
        let begun = self.now;
        for lba in FIRST..FIRST + COUNT {
            let zeros = Write { stamp: 0, by: None, begun, ended: None, is_done: false };
            self.writes((target, lba as u8)).push(zeros);
        }
    }

    /// What was to fill them with zeros has ended.
    pub(super) fn work_is_over(&mut self, target: u8) {
        self.now += 1;
        let now = self.now;
        let its = self.writes.iter_mut().filter(|(place, _)| place.0 == target).flat_map(|(_, writes)| writes);
        let zeros = its.filter(|write| write.by.is_none() && write.ended.is_none());
        zeros.for_each(|write| write.ended = Some(now));
    }
}

impl Simulation {
    /// One of two guests writes or reads where they meet.
    pub(super) fn meet(&mut self) {
        let number = self.random.below(2) as usize;
        let queue = if number == 0 { self.random.below(QUEUES) as usize } else { 0 };
        if self.bed.guests[number].open_in(queue + 2) >= OPEN_MAX {
            return;
        }
        let place = (self.random.below(DISKS) as u8, (FIRST + self.random.below(COUNT)) as u8);
        let both = (place.0, FIRST as u8);
        let stamp = self.next_stamp;
        self.next_stamp += 1;
        let expected = self.meeting.guess(place);
        let block = |stamp: u64, blocks: usize| stamp.to_le_bytes().repeat(64 * blocks);
        let (cdb, what, stamp, at) = match self.random.below(10) {
            0 | 1 => (write_10(place.1, 1).to_vec(), What::Write, stamp, (place, 1)),
            2 | 3 => (write_10(both.1, COUNT as u8).to_vec(), What::Write, stamp, (both, COUNT as u8)),
            4 => (write_same(place.1).to_vec(), What::Write, stamp, (place, 1)),
            5 => (compare_and_write(place.1).to_vec(), What::Exchange(expected), stamp, (place, 1)),
            6 => (UNMAP.to_vec(), What::Write, 0, (place, 1)),
            7 => (read_10(place.1, 1).to_vec(), What::Read, 0, (place, 1)),
            _ => (read_10(both.1, COUNT as u8).to_vec(), What::Read, 0, (both, COUNT as u8)),
        };
        let bytes = match what {
            What::Exchange(expected) => [block(expected, 1), block(stamp, 1)].concat(),
            What::Write if cdb[0] == UNMAP[0] => unmap_list(place.1).to_vec(),
            What::Write if cdb[0] == write_same(0)[0] => block(stamp, 1),
            _ => block(stamp, at.1.into()),
        };
        let (data, need) = match what {
            What::Read => (Data::In(512 * u32::from(at.1)), Need::Read),
            _ => (Data::Out(&bytes), Need::Write),
        };
        let guest = &mut self.bed.guests[number];
        guest.attribute = if self.random.one_in(12) { TASK_ATTR_ORDERED } else { TASK_ATTR_SIMPLE };
        let id = guest.send(queue, place.0, &cdb, data);
        self.meeting.sent((number, id), at, what, stamp);
        self.sent((number, queue), place.0, id, (Command::Other, need), false);
    }
}

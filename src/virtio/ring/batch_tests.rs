//! A batch of chains is what the same chains are one by one: two devices serve the same ring, whatever the driver writes into
//! it, the one as many chains at a time as it finds, the other each alone.

use std::sync::Arc;

use proptest::prelude::*;

use super::testing::packed::*;
use super::testing::*;
use super::*;
use crate::dma::testing;

const PASSES: usize = 4;
const BATCH: usize = 16;
/// Entries of a ring.
const SIZE: u16 = 64;
/// Where tables are, one every 80 bytes and none aligned.
const TABLES_AT: u64 = DATA_AT + 8;
/// Memory behind that of the ring: more of it, and some that cannot be written.
const MORE_AT: u64 = 0x100_0000;
const READABLE_AT: u64 = 0x200_0000;
const MORE_LEN: u64 = 0x4000;

const FEATURES: RingFeatures = RingFeatures { event_idx: true, indirect: true };

/// A chain, often of three and often right.
#[derive(Debug, Clone)]
struct Cut {
    buffers: Vec<Buffer>,
    in_table: bool,
    /// Its id or head, if that is not the next one.
    id: Option<u16>,
    /// Bits that one of its descriptors has otherwise: in the flags, and in the link or id.
    twist: Option<(usize, u16, u16)>,
    /// The same of the descriptor that points to its table, beside its length.
    pointer: Option<(u16, u32)>,
}

/// What a driver does before the devices look: the chains that it adds, and which of those that the devices took before come
/// back first, if not all.
type Pass = (Vec<Cut>, Option<usize>);

fn bit() -> impl Strategy<Value = u16> {
    prop_oneof![3 => (0..3_u32).prop_map(|bit| 1 << bit), 1 => (0..16_u32).prop_map(|bit| 1 << bit), 1 => Just(0)]
}

fn cut() -> impl Strategy<Value = Cut> {
    let gpa = prop_oneof![
        400 => 0..MEMORY_LEN as u64 - 0x1000,
        200 => (0..MORE_LEN - 0x1000).prop_map(|at| MORE_AT + at),
        4 => (0..MORE_LEN - 0x1000).prop_map(|at| READABLE_AT + at),
        2 => (0..0x1000_u64).prop_map(|back| MORE_AT + MORE_LEN - back),
        1 => any::<u64>(),
    ];
    let len = prop_oneof![400 => 1..0x1000_u32, 1 => Just(0), 1 => any::<u32>()];
    let count = prop_oneof![12 => Just(3_usize), 2 => 1..=5_usize];
    let buffers = (prop::collection::vec((gpa, len), 5), count, prop_oneof![8 => 1..3_usize, 1 => 0..5_usize]);
    let buffers = buffers.prop_map(|(places, count, readable)| {
        let buffer = |(index, (gpa, len))| Buffer { gpa, len, writable: index >= readable };
        places.into_iter().take(count).enumerate().map(buffer).collect()
    });
    let id = prop_oneof![90 => Just(None), 1 => any::<u16>().prop_map(Some), 3 => (0..SIZE).prop_map(Some)];
    let link = prop_oneof![2 => Just(0), 1 => bit()];
    let twist = prop_oneof![40 => Just(None), 1 => (0..5_usize, bit(), link).prop_map(Some)];
    let len = prop_oneof![2 => Just(0), 1 => any::<u8>().prop_map(u32::from)];
    let pointer = prop_oneof![40 => Just(None), 1 => (bit(), len).prop_map(Some)];
    (buffers, any::<bool>(), id, twist, pointer).prop_map(|(buffers, in_table, id, twist, pointer)| Cut {
        buffers,
        in_table,
        id,
        twist,
        pointer,
    })
}

/// Runs of chains of a kind, for it is those that are taken in one loop.
fn pass() -> impl Strategy<Value = Pass> {
    let run = (prop::collection::vec(cut(), 1..20), any::<bool>(), prop_oneof![3 => Just(false), 1 => Just(true)]);
    let run = run.prop_map(|(mut cuts, in_table, mixed)| {
        cuts.iter_mut().filter(|_| !mixed).for_each(|cut| cut.in_table = in_table);
        cuts
    });
    (prop::collection::vec(run, 1..3).prop_map(|runs| runs.concat()), prop::option::of(0..BATCH))
}

/// The memory that the chains are in.
fn memory() -> Arc<MemMap> {
    let mut readable = testing::region(READABLE_AT, MORE_LEN as usize);
    readable.writable = false;
    let more = testing::region(MORE_AT, MORE_LEN as usize);
    Arc::new(MemMap::new(vec![testing::region(0, MEMORY_LEN), more, readable]))
}

/// Two devices that serve one ring, and what they have both taken.
struct Twins {
    rings: [Ring; 2],
    map: Arc<MemMap>,
    taken: Vec<[Head; 2]>,
    /// Descriptors that they have taken since the beginning.
    descriptors: u64,
}

impl Twins {
    fn new(ring: impl Fn() -> Ring, map: &Arc<MemMap>) -> Self {
        Self { rings: [ring(), ring()], map: map.clone(), taken: Vec::new(), descriptors: 0 }
    }

    /// Both take everything. False if the ring is broken: both have found the same fault.
    fn take(&mut self) -> bool {
        let mut batch = [const { UsualChain::empty() }; BATCH];
        let [many, single] = &mut self.rings;
        let looked = many.look();
        assert_eq!(looked, single.look());
        if looked.is_err() {
            return false;
        }
        let [mut careful, mut chain] = [Chain::new(), Chain::new()];
        loop {
            let count = self.rings[0].pop_usual(&self.map, &mut batch);
            for usual in &batch[..count] {
                let head = pop_one(&mut self.rings[1], &self.map, &mut chain);
                assert_eq!((usual.readable(), usual.writable()), (chain.readable(), chain.writable()));
                assert_eq!(usual.total_len(), chain.readable_len() + chain.writable_len());
                self.keep([usual.take_head(), head]);
            }
            self.check_positions();
            if count == BATCH {
                continue;
            }
            let [many, single] = &mut self.rings;
            let popped = [many.pop(&self.map, &mut careful), single.pop(&self.map, &mut chain)];
            assert_eq!(popped[0], popped[1]);
            match popped {
                [Ok(Popped::Chain(one)), Ok(Popped::Chain(other))] => self.keep([one, other]),
                [one, _] => return one == Ok(Popped::Empty),
            }
            assert_eq!((careful.readable(), careful.writable()), (chain.readable(), chain.writable()));
            self.check_positions();
        }
    }

    fn keep(&mut self, heads: [Head; 2]) {
        assert_eq!(heads[0], heads[1]);
        self.descriptors += u64::from(heads[0].descriptors());
        self.taken.push(heads);
    }

    fn check_positions(&mut self) {
        let state = |ring: &Ring| (ring.position(), ring.in_flight(), ring.has_new());
        assert_eq!(state(&self.rings[0]), state(&self.rings[1]));
        assert_eq!(usize::from(self.rings[0].in_flight()), self.taken.len());
        assert!(self.rings[0].in_flight() <= SIZE);
    }

    /// Both describe what they have taken again, and give back all or so many. What they write is the same.
    fn give_back(&mut self, count: Option<usize>) {
        let [mut one, mut other] = [Chain::new(), Chain::new()];
        let [many, single] = &mut self.rings;
        for heads in &self.taken {
            let walked = [many.walk(&self.map, &mut one, &heads[0]), single.walk(&self.map, &mut other, &heads[1])];
            assert_eq!(walked[0], walked[1]);
            assert_eq!((one.readable(), one.writable()), (other.readable(), other.writable()));
        }
        let count = count.unwrap_or(self.taken.len()).min(self.taken.len());
        for [one, other] in self.taken.drain(..count) {
            many.push(one, 7);
            single.push(other, 7);
        }
        assert_eq!(many.publish(), single.publish());
    }
}

/// The flags and links of a cut: each descriptor's buffer, its flags but for the direction, and what twists its link.
fn twisted(cut: &Cut) -> Vec<(Buffer, u16, u16)> {
    let last = cut.buffers.len() - 1;
    let flags = |index| if index < last { NEXT } else { 0 };
    let mut all: Vec<_> = (0..).zip(&cut.buffers).map(|(index, buffer)| (*buffer, flags(index), 0)).collect();
    if let Some((index, bits, link)) = cut.twist {
        let (buffer, flags, twist) = &mut all[index % cut.buffers.len()];
        buffer.writable ^= bits & WRITE != 0;
        (*flags, *twist) = (*flags ^ bits & !WRITE, link);
    }
    all
}

/// What points to the table of a cut, and its flags.
fn pointer(cut: &Cut, table: u64) -> (Buffer, u16) {
    let (bits, len) = cut.pointer.unwrap_or_default();
    (Buffer::readable(table, (16 * cut.buffers.len() as u32) ^ len), INDIRECT ^ bits)
}

/// Writes chains into a split ring from descriptor `first` on, over whatever is there, and makes as many available as there
/// is room for.
fn add_split(driver: &mut FakeDriver, cuts: &[Cut], (first, room): (u16, u16)) {
    let mut next = first;
    for (number, cut) in (0..).zip(cuts).take(room.into()) {
        let (head, table) = (next % SIZE, TABLES_AT + 80 * number);
        next += if cut.in_table { 1 } else { cut.buffers.len() as u16 };
        if next > first + SIZE {
            return;
        }
        for (index, (buffer, flags, twist)) in (0..).zip(twisted(cut)) {
            if cut.in_table {
                driver.write_descriptor(table, index, buffer, flags, (index + 1) ^ twist);
            } else {
                driver.descriptor((head + index) % SIZE, buffer, flags, ((head + index + 1) % SIZE) ^ twist);
            }
        }
        if cut.in_table {
            let (buffer, flags) = pointer(cut, table);
            driver.descriptor(head, buffer, flags, 0);
        }
        driver.offer(cut.id.unwrap_or(head));
    }
}

/// Writes chains into a packed ring from where the devices are, over whatever is there.
fn add_packed(driver: &mut PackedDriver, cuts: &[Cut], (at, first_id): (u64, u16)) {
    driver.made = at;
    for (number, cut) in (0..).zip(cuts) {
        let id = cut.id.unwrap_or((first_id + number) % SIZE);
        let table = TABLES_AT + 80 * u64::from(number);
        let mut descriptors = twisted(cut);
        if cut.in_table {
            for (index, (buffer, flags, _)) in (0..).zip(descriptors.drain(..)) {
                driver.write_descriptor(table, index, buffer, id, flags);
            }
            let (buffer, flags) = pointer(cut, table);
            descriptors.push((buffer, flags, 0));
        }
        if driver.made + descriptors.len() as u64 > at + u64::from(SIZE) {
            return;
        }
        driver
            .offer(&descriptors.iter().map(|(buffer, flags, twist)| (*buffer, id ^ twist, *flags)).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn a_split_batch_takes_what_pop_takes_one_by_one(passes in prop::collection::vec(pass(), PASSES)) {
        let map = memory();
        let mut driver = FakeDriver::in_map(map.clone(), FakeDriver::layout_at(RING_AT, SIZE), FEATURES);
        let mut twins = Twins::new(|| driver.ring(), &map);
        for (cuts, back) in passes {
            let room = SIZE - twins.rings[0].in_flight();
            add_split(&mut driver, &cuts, (twins.rings[0].position() % SIZE, room));
            if !twins.take() {
                return Ok(());
            }
            twins.give_back(back);
        }
    }

    #[test]
    fn a_packed_batch_takes_what_pop_takes_one_by_one(passes in prop::collection::vec(pass(), PASSES)) {
        let map = memory();
        let mut driver = PackedDriver::in_map(map.clone(), SIZE, FEATURES);
        let (mut twins, mut first_id) = (Twins::new(|| driver.ring(), &map), 0);
        for (cuts, back) in passes {
            add_packed(&mut driver, &cuts, (twins.descriptors, first_id));
            if !twins.take() {
                return Ok(());
            }
            first_id = twins.rings[0].position() % SIZE;
            twins.give_back(back);
        }
    }
}

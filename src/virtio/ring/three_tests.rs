//! Chains of three in batches, where they go to the end of something: of ids, of the ring, of four gibibytes.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use super::testing::packed::*;
use super::testing::*;
use super::*;
use crate::dma::{Mapping, Region, testing};

const FEATURES: RingFeatures = RingFeatures { event_idx: false, indirect: true };
const BATCH: usize = 16;
/// Where tables are, one every 48 bytes.
const TABLES_AT: u64 = DATA_AT + 0x1_0000;

/// Buffers that differ from those of any other `number`; two of them are readable, or one.
fn buffers(number: u64, readable: usize) -> [Buffer; 3] {
    let at = DATA_AT + 0x400 * number;
    [0, 1, 2].map(|index| Buffer {
        gpa: at + 0x100 * index as u64,
        len: 51 + index as u32 + number as u32,
        writable: index >= readable,
    })
}

/// Offers such a chain with this id, of the ring's own descriptors or in a table.
fn offer(driver: &mut PackedDriver, in_table: bool, (number, id): (u64, u16)) {
    let buffers = buffers(number, 1 + number as usize % 2);
    if !in_table {
        let [first, second, third] = buffers;
        return driver.offer(&[(first, !id, NEXT), (second, !id, NEXT), (third, id, 0)]);
    }
    let table = TABLES_AT + 48 * number;
    (0..).zip(buffers).for_each(|(index, buffer)| driver.write_descriptor(table, index, buffer, 0, 0));
    driver.offer(&[(Buffer::readable(table, 48), id, INDIRECT)]);
}

fn batch() -> [UsualChain; BATCH] {
    [const { UsualChain::empty() }; BATCH]
}

/// Where a segment is, and its length.
fn places(map: &MemMap, segments: &[bdev::Segment]) -> Vec<(u64, u32)> {
    segments.iter().map(|one| (map.locate(one).expect("it is in the map").0, one.len() as u32)).collect()
}

/// Where such a chain is: its readable part and its writable part.
fn expected(number: u64) -> [Vec<(u64, u32)>; 2] {
    let all = buffers(number, 1 + number as usize % 2);
    [false, true]
        .map(|writable| all.iter().filter(|one| one.writable == writable).map(|one| (one.gpa, one.len)).collect())
}

#[test]
fn an_id_that_comes_twice_in_a_batch_ends_it() {
    for in_table in [false, true] {
        let mut driver = PackedDriver::new(24, FEATURES);
        let (mut ring, mut batch, mut chain) = (driver.ring(), batch(), Chain::new());
        (0..).zip([4, 7, 2, 7, 1]).for_each(|chain| offer(&mut driver, in_table, chain));
        assert_eq!(ring.look(), Ok(24));
        assert_eq!(ring.pop_usual(driver.map(), &mut batch), 3);
        assert_eq!(ring.pop_usual(driver.map(), &mut batch[3..]), 0, "and the next does not begin with it");
        assert_eq!(ring.pop(driver.map(), &mut chain), Err(RingError::IdInUse(7)));
        assert_eq!((ring.position(), ring.in_flight()), (3, 3));
        let heads: Vec<_> = batch[..3].iter().map(UsualChain::take_head).collect();
        assert_eq!(heads.iter().map(Head::id).collect::<Vec<_>>(), [4, 7, 2]);
        heads.into_iter().for_each(|head| ring.push(head, 0));
        assert_eq!(ring.pop_usual(driver.map(), &mut batch), 2, "it is free again");
        assert_eq!([0, 1].map(|at| batch[at].take_head().id()), [7, 1]);
    }
}

#[test]
fn a_three_may_be_walked_again() {
    let mut driver = PackedDriver::new(8, FEATURES);
    let (mut ring, mut batch, mut chain) = (driver.ring(), batch(), Chain::new());
    let numbers = [(0, 3, false), (1, 5, false), (2, 6, true), (3, 0, true)];
    let mut heads = Vec::new();
    for in_table in [false, true] {
        for (number, id, _) in numbers.iter().filter(|one| one.2 == in_table) {
            offer(&mut driver, in_table, (*number, *id));
        }
        assert_eq!(ring.pop_usual(driver.map(), &mut batch), 2);
        heads.extend(batch[..2].iter().map(UsualChain::take_head));
    }
    // The driver may do with the ring's descriptors what it wants to.
    driver.write(driver.layout().desc.0, &[0xff; 16 * 8]);
    for (head, (number, id, in_table)) in heads.iter().zip(numbers) {
        assert_eq!((head.id(), head.descriptors()), (id, if in_table { 1 } else { 3 }));
        assert_eq!(ring.walk(driver.map(), &mut chain, head), Ok(Walked::Chain));
        let found = [chain.readable(), chain.writable()].map(|segments| places(driver.map(), segments));
        assert_eq!(found, expected(number));
    }
    assert_eq!((ring.position(), ring.in_flight()), (4, 4));
}

#[test]
fn threes_are_not_taken_again_before_they_are_used() {
    // The size, and the chains of one descriptor that were used before, which is where the threes begin. There is room for
    // less than one more, before the end of the ring or around it.
    let rings = [(9, 0), (9, 1), (9, 3), (9, 5), (7, 0), (7, 1), (7, 4), (8, 0), (8, 1), (8, 2), (8, 5)];
    for (size, before) in rings {
        let mut driver = PackedDriver::new(size, FEATURES);
        let (mut ring, mut batch, mut chain) = (driver.ring(), batch(), Chain::new());
        for _ in 0..before {
            driver.add(&[buffers(0, 1)[0]]).expect("the descriptors came back");
            let head = pop_one(&mut ring, driver.map(), &mut chain);
            ring.push(head, 0);
            let _ = ring.publish();
            driver.take_used().expect("it was used");
        }
        let fit = size / 3;
        (0..fit).for_each(|id| offer(&mut driver, false, (id.into(), id)));
        assert_eq!(ring.pop_usual(driver.map(), &mut batch[..1]), 1);
        // Its descriptors have the marks of the next turn.
        offer(&mut driver, false, (9, fit));
        let count = ring.pop_usual(driver.map(), &mut batch[1..]);
        assert_eq!(count, usize::from(fit) - 1, "size {size}, {before} before");
        let error = match size % 3 {
            0 => RingError::Overrun(before),
            _ => RingError::Chain { head: (before + 3 * fit) % size, fault: ChainFault::TooLong },
        };
        assert_eq!(ring.pop(driver.map(), &mut chain), Err(error), "size {size}, {before} before");
        assert_eq!((ring.in_flight(), ring.position()), (fit, before + fit));
        ring.push_usual(&batch[..usize::from(fit)], 0);
        let _ = ring.publish();
        assert_eq!((ring.in_flight(), ring.look()), (0, Ok(if size % 3 == 0 { 0 } else { size })));
    }
}

#[test]
fn tables_are_not_taken_again_before_they_are_used() {
    for size in [1, 2, 5] {
        let mut driver = PackedDriver::new(size, FEATURES);
        let (mut ring, mut batch, mut chain) = (driver.ring(), batch(), Chain::new());
        (0..size).for_each(|id| offer(&mut driver, true, (id.into(), id)));
        let first = ring.pop_usual(driver.map(), &mut batch[..1]);
        // Given back, but not yet shown to the driver: the id is free, the descriptor is not.
        ring.push_usual(&batch[..first], 0);
        offer(&mut driver, true, (size.into(), 0));
        let count = ring.pop_usual(driver.map(), &mut batch);
        assert_eq!((count, ring.in_flight()), (usize::from(size) - 1, size - 1));
        assert_eq!(ring.pop(driver.map(), &mut chain), Err(RingError::Overrun(0)));
    }
}

/// Addresses that nobody may touch.
#[derive(Debug)]
struct Untouched(NonNull<u8>);

impl Untouched {
    const LEN: usize = 1 << 31;
}

// SAFETY: nobody reads or writes there.
unsafe impl Send for Untouched {}
// SAFETY: as above.
unsafe impl Sync for Untouched {}

impl Mapping for Untouched {
    fn base(&self) -> NonNull<u8> {
        self.0
    }
    fn is_shared(&self) -> bool {
        true
    }
}

impl Drop for Untouched {
    fn drop(&mut self) {
        // SAFETY: mapped by `untouched`, and gone with the last map that shows it.
        unsafe { munmap(self.0.as_ptr().cast(), Self::LEN).expect("it was mapped") };
    }
}

/// Two gibibytes at this address.
fn untouched(start: u64) -> Region {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: a new mapping, at an address that the kernel chooses.
    let base = unsafe { mmap_anonymous(std::ptr::null_mut(), Untouched::LEN, ProtFlags::empty(), flags) };
    let base = NonNull::new(base.expect("addresses cost nothing").cast()).expect("not at 0");
    let len = Untouched::LEN as u64;
    Region { start: Gpa(start), len, readable: true, writable: true, mapping: Arc::new(Untouched(base)) }
}

#[test]
fn three_buffers_of_four_gibibytes_go_the_long_way() {
    let start = 1 << 32;
    let map = Arc::new(MemMap::new(vec![testing::region(0, MEMORY_LEN), untouched(start)]));
    let half = (1 << 31) - 1;
    for (header, readable, in_table) in
        [1, 2, 3].into_iter().flat_map(|len| [(len, 1, false), (len, 2, false), (len, 1, true), (len, 2, true)])
    {
        let [first, second, third] = buffers(0, readable);
        let three = [
            Buffer { gpa: start, len: header, ..first },
            Buffer { gpa: start + 1, len: half, ..second },
            Buffer { gpa: start + 1, len: half, ..third },
        ];
        let mut split = FakeDriver::in_map(map.clone(), FakeDriver::layout_at(RING_AT, 4), FEATURES);
        let head = if in_table { split.add_indirect(TABLES_AT, &[], &three) } else { split.add(&three) };
        check_total(split.ring(), &map, (header, head.expect("the ring has room")));
        let mut packed = PackedDriver::in_map(map.clone(), 4, FEATURES);
        if in_table { packed.add_indirect(TABLES_AT, &three) } else { packed.add(&three) }.expect("the ring has room");
        check_total(packed.ring(), &map, (header, 0));
    }
}

/// The chain of this ring has four gibibytes, but for two bytes and those of its `header`.
fn check_total(mut ring: Ring, map: &MemMap, (header, head): (u32, u16)) {
    let (mut batch, mut chain) = (batch(), Chain::new());
    let total = (1 << 32) - 2 + u64::from(header);
    assert!(ring.look().expect("the ring is sound") > 0);
    let popped = ring.pop_usual(map, &mut batch);
    if total > 1 << 32 {
        assert_eq!(popped, 0, "it has too many bytes");
        let fault = ChainFault::TotalLength;
        assert_eq!(ring.pop(map, &mut chain), Err(RingError::Chain { head, fault }));
        return;
    }
    assert_eq!((popped, batch[0].total_len()), (1, total));
    chain.describe(&batch[0]);
    assert_eq!(chain.readable_len() + chain.writable_len(), total);
}

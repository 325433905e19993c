//! Every way to break a packed ring has its name, and none does more harm than to its own device. What chains and tables
//! have in common with those of split rings is tested there.

use super::testing::packed::*;
use super::testing::*;
use super::*;
use crate::dma::{TranslateError, testing};

const FEATURES: RingFeatures = RingFeatures { event_idx: false, indirect: true };
const SIZE: u16 = 4;

fn data() -> Buffer {
    Buffer::readable(DATA_AT, 16)
}

/// What popping gives when the driver has offered these descriptors: buffer, id, flags.
fn error_of(descriptors: &[(Buffer, u16, u16)]) -> RingError {
    let mut driver = PackedDriver::new(SIZE, FEATURES);
    driver.offer(descriptors);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.look(), Ok(SIZE));
    let error = ring.pop(driver.map(), &mut chain).expect_err("the chain is broken");
    assert_eq!((ring.in_flight(), chain.readable().len(), chain.writable().len()), (0, 0, 0), "nothing was taken");
    error
}

fn fault(head: u16, fault: ChainFault) -> RingError {
    RingError::Chain { head, fault }
}

#[test]
fn a_buffer_id_names_one_chain_of_the_ring() {
    for id in [SIZE, 0x8000, 0xffff] {
        assert_eq!(error_of(&[(data(), id, 0)]), RingError::IdOutOfRange { id, size: SIZE });
    }
    let mut driver = PackedDriver::new(SIZE, FEATURES);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    driver.offer(&[(data(), 3, 0), (data(), 3, 0)]);
    let first = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!(ring.pop(driver.map(), &mut chain), Err(RingError::IdInUse(3)));
    assert_eq!((ring.in_flight(), chain.readable().len()), (1, 0));
    ring.push(first, 0);
    assert_eq!(pop_one(&mut ring, driver.map(), &mut chain).id(), 3, "it is free again");
}

#[test]
fn a_chain_ends_within_the_ring() {
    let whole: Vec<_> = (0..SIZE).map(|place| (data(), 0, if place + 1 < SIZE { NEXT } else { 0 })).collect();
    let mut driver = PackedDriver::new(SIZE, FEATURES);
    driver.offer(&whole);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(pop_one(&mut ring, driver.map(), &mut chain).descriptors(), SIZE);
    assert_eq!(error_of(&[(data(), 0, NEXT); SIZE as usize]), fault(0, ChainFault::TooLong));
}

#[test]
fn a_chain_goes_on_in_available_descriptors() {
    assert_eq!(error_of(&[(data(), 0, NEXT)]), fault(0, ChainFault::NotAvailable(1)));
    assert_eq!(error_of(&[(data(), 0, NEXT), (data(), 0, NEXT)]), fault(0, ChainFault::NotAvailable(2)));
    // Over the end of the ring into a descriptor of the turn before.
    let mut driver = PackedDriver::new(SIZE, FEATURES);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    for id in 0..SIZE - 1 {
        driver.offer(&[(data(), id, 0)]);
        let head = pop_one(&mut ring, driver.map(), &mut chain);
        ring.push(head, 0);
    }
    let _ = ring.publish();
    driver.write_descriptor(driver.layout().desc.0, 0, data(), 0, AVAIL);
    driver.offer(&[(data(), 0, NEXT)]);
    assert_eq!(ring.pop(driver.map(), &mut chain), Err(fault(3, ChainFault::NotAvailable(0))));
}

#[test]
fn a_descriptor_is_not_offered_again_before_it_is_used() {
    let mut driver = PackedDriver::new(SIZE, FEATURES);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    let one = |id| [(data(), id, 0)];
    (0..SIZE).for_each(|id| driver.offer(&one(id)));
    let heads: Vec<_> = (0..SIZE).map(|_| pop_one(&mut ring, driver.map(), &mut chain)).collect();
    assert_eq!(ring.look(), Ok(0));
    // The next turn's marks on a descriptor that is with the device.
    driver.offer(&one(0));
    assert_eq!(ring.look(), Err(RingError::Overrun(0)));
    assert_eq!(ring.enable_notify(), Err(RingError::Overrun(0)));
    assert_eq!(ring.pop(driver.map(), &mut chain), Err(RingError::Overrun(0)));
    // Given back, but not yet shown to the driver.
    heads.into_iter().for_each(|head| ring.push(head, 0));
    assert_eq!(ring.look(), Err(RingError::Overrun(0)));
    let _ = ring.publish();
    assert_eq!(ring.look(), Ok(0), "the used descriptor took its place");
}

#[test]
fn a_chain_does_not_go_on_in_descriptors_that_are_with_the_device() {
    let mut driver = PackedDriver::new(SIZE, FEATURES);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    driver.offer(&[(data(), 0, 0)]);
    let _head = pop_one(&mut ring, driver.map(), &mut chain);
    driver.offer(&[(data(), 1, NEXT); SIZE as usize]);
    assert_eq!(ring.pop(driver.map(), &mut chain), Err(fault(1, ChainFault::TooLong)));
}

#[test]
fn a_turn_that_was_not_reached_is_not_available() {
    let driver = PackedDriver::new(SIZE, FEATURES);
    let mut ring = driver.ring();
    for marks in [0, USED, AVAIL | USED] {
        driver.write_descriptor(driver.layout().desc.0, 0, data(), 0, marks);
        assert_eq!(ring.look(), Ok(0));
        assert_eq!(ring.pop(driver.map(), &mut Chain::new()), Ok(Popped::Empty));
    }
}

#[test]
fn an_indirect_descriptor_stands_alone() {
    let table = Buffer::readable(DATA_AT + 0x100, 32);
    let chained = error_of(&[(data(), 0, NEXT), (table, 0, INDIRECT)]);
    assert_eq!(chained, fault(0, ChainFault::IndirectInChain));
    let continued = error_of(&[(table, 0, INDIRECT | NEXT), (data(), 0, 0)]);
    assert_eq!(continued, fault(0, ChainFault::IndirectAndNext));
}

#[test]
fn indirect_tables_have_rules() {
    let table = DATA_AT + 0x100;
    let cap = 16 * MAX_SEGMENTS as u32;
    let end = Gpa(MEMORY_LEN as u64);
    for (gpa, len, expected) in [
        (table, 0, ChainFault::TableLength(0)),
        (table, 33, ChainFault::TableLength(33)),
        (table, cap + 16, ChainFault::TableTooLong(cap + 16)),
        (end.0 - 16, 32, ChainFault::Memory(TranslateError::Unmapped(end))),
    ] {
        assert_eq!(error_of(&[(Buffer::readable(gpa, len), 0, INDIRECT)]), fault(0, expected));
    }
    let mut driver = PackedDriver::new(SIZE, RingFeatures::default());
    driver.add_indirect(table, &[data()]).unwrap();
    let error = driver.ring().pop(driver.map(), &mut Chain::new());
    assert_eq!(error, Err(fault(0, ChainFault::IndirectNotNegotiated)));
}

#[test]
fn readable_comes_before_writable() {
    let writable = Buffer::writable(DATA_AT, 1);
    let order = fault(0, ChainFault::ReadableAfterWritable);
    assert_eq!(error_of(&[(writable, 0, NEXT), (data(), 0, 0)]), order);
    let mut driver = PackedDriver::new(SIZE, FEATURES);
    driver.add_indirect(DATA_AT + 0x100, &[writable, data()]).unwrap();
    assert_eq!(driver.ring().pop(driver.map(), &mut Chain::new()), Err(order));
}

#[test]
fn reserved_flags_mean_nothing() {
    let mut driver = PackedDriver::new(SIZE, FEATURES);
    driver.offer(&[(data(), 0, 0x7f78)]);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    ring.push(head, 0);
    let _ = ring.publish();
    assert_eq!(driver.bytes(0)[8..], [0, 0, 0, 0, 0, 0, 0x80, 0x80], "and do not come back");
}

#[test]
fn areas_must_be_aligned_and_mapped_whole() {
    let driver = PackedDriver::new(SIZE, FEATURES);
    let good = driver.layout();
    let end = MEMORY_LEN as u64;
    let error_of = |layout| Ring::packed(layout, FEATURES, driver.map()).expect_err("the layout is not legal");
    for (layout, area) in [
        (RingLayout { desc: Gpa(good.desc.0 + 8), ..good }, Area::Desc),
        (RingLayout { avail: Gpa(good.avail.0 + 2), ..good }, Area::Avail),
        (RingLayout { used: Gpa(good.used.0 + 2), ..good }, Area::Used),
    ] {
        assert!(matches!(error_of(layout), RingError::Misaligned { area: found, .. } if found == area), "{area}");
    }
    for (layout, area) in [
        (RingLayout { desc: Gpa(end - 48), ..good }, Area::Desc),
        (RingLayout { avail: Gpa(end), ..good }, Area::Avail),
        (RingLayout { used: Gpa(end), ..good }, Area::Used),
    ] {
        assert_eq!(error_of(layout), RingError::Unreachable { area, error: TranslateError::Unmapped(Gpa(end)) });
    }
    for size in [0, 0x8001, 0xffff] {
        assert_eq!(error_of(RingLayout { size, ..good }), RingError::Size(size));
    }
}

#[test]
fn a_ring_is_read_and_written() {
    let layout = PackedDriver::layout_at(0, SIZE);
    for (readable, writable) in [(true, false), (false, true)] {
        let mut region = testing::region(0, 0x1000);
        (region.readable, region.writable) = (readable, writable);
        let error = Ring::packed(layout, FEATURES, &MemMap::new(vec![region])).expect_err("no way");
        assert_eq!(error, RingError::Unreachable { area: Area::Desc, error: TranslateError::Denied(Gpa(0)) });
    }
    let private = MemMap::new(vec![testing::region_with(0, 0x1000, false)]);
    let error = Ring::packed(layout, FEATURES, &private).expect_err("not shared");
    assert_eq!(error, RingError::Unreachable { area: Area::Desc, error: TranslateError::NotShared(Gpa(0)) });
}

#[test]
fn areas_that_overlap_hurt_only_their_owner() {
    let driver = PackedDriver::new(SIZE, FEATURES);
    let at = Gpa(RING_AT);
    let layout = RingLayout { size: SIZE, desc: at, avail: at, used: at };
    let (mut ring, mut chain) = (Ring::packed(layout, FEATURES, driver.map()).unwrap(), Chain::new());
    ring.start();
    driver.write_descriptor(RING_AT, 0, data(), 1, AVAIL);
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    ring.push(head, 7);
    let _ = ring.publish();
    ring.disable_notify();
    assert_eq!(driver.read(0, RING_AT as usize), [0; RING_AT as usize]);
    assert!(driver.read(RING_AT + 16, 0x1000).iter().all(|byte| *byte == 0));
}

#[test]
fn a_chain_that_changes_meanwhile_was_fetched_once() {
    let mut driver = PackedDriver::new(SIZE, FEATURES);
    driver.add_indirect(DATA_AT, &[data()]).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    let before = chain.readable()[0];
    driver.write(DATA_AT, &[0xff; 16]);
    // Nor does the id that is given back come from the ring.
    driver.write(driver.layout().desc.0, &[0xff; 64]);
    assert_eq!((chain.readable(), chain.writable().len()), (&[before][..], 0));
    ring.push(head, 0);
    let _ = ring.publish();
    assert_eq!(driver.take_used(), Some((0, 0, 0)));
}

#[test]
fn a_remote_table_is_fetched_first() {
    let at = MEMORY_LEN as u64;
    let regions = vec![testing::region(0, MEMORY_LEN), testing::region_with(at, 0x1000, false)];
    let mut driver = PackedDriver::in_map(std::sync::Arc::new(MemMap::new(regions)), SIZE, FEATURES);
    driver.add_indirect(at, &[data(), Buffer::writable(DATA_AT, 1)]).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    let needs = Ok(Popped::NeedsFetch { gpa: Gpa(at), len: 32 });
    assert_eq!(ring.pop(driver.map(), &mut chain), needs);
    assert_eq!((ring.pop(driver.map(), &mut chain), ring.in_flight()), (needs, 0));
    let table = driver.read(at, 32);
    driver.write(at, &[0xff; 32]);
    ring.table_fetched(Gpa(at), table.into());
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!((chain.readable_len(), chain.writable_len(), chain.remote().len()), (16, 1, 0));
    let needs = Ok(Walked::NeedsFetch { gpa: Gpa(at), len: 32 });
    assert_eq!(ring.walk(driver.map(), &mut chain, &head), needs);
}

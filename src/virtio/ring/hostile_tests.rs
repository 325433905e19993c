//! Every way to break a ring has its name, and none does more harm than to its own device.

use super::testing::*;
use super::*;
use crate::dma::{Access, TranslateError, testing};

const FEATURES: RingFeatures = RingFeatures { event_idx: false, indirect: true };
const SIZE: u16 = 8;

/// What popping the one chain that `set_up` offered gives.
fn fault_of(set_up: impl FnOnce(&mut FakeDriver)) -> RingError {
    let mut driver = FakeDriver::new(SIZE, FEATURES);
    set_up(&mut driver);
    let mut ring = driver.ring();
    assert_eq!(ring.available(), Ok(1));
    let error = ring.pop(driver.map(), &mut Chain::new()).expect_err("the chain is broken");
    assert_eq!(ring.in_flight(), 0, "nothing was taken");
    error
}

fn chain_fault_of(set_up: impl FnOnce(&mut FakeDriver)) -> ChainFault {
    match fault_of(set_up) {
        RingError::Chain { fault, .. } => fault,
        other => panic!("a fault of the chain was expected, not {other}"),
    }
}

fn data() -> Buffer {
    Buffer::readable(DATA_AT, 16)
}

#[test]
fn avail_index_may_not_jump() {
    let mut driver = FakeDriver::new(SIZE, FEATURES);
    let mut ring = driver.ring();
    driver.set_avail_idx(SIZE + 1);
    assert_eq!(ring.available(), Err(RingError::AvailJump { ahead: 9, room: 8 }));
    driver.set_avail_idx(0xffff);
    assert_eq!(ring.available(), Err(RingError::AvailJump { ahead: 0xffff, room: 8 }));
    assert_eq!(ring.pop(driver.map(), &mut Chain::new()), Ok(Popped::Empty));
}

#[test]
fn chains_in_flight_take_room_from_the_ring() {
    let mut driver = FakeDriver::new(SIZE, FEATURES);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    driver.descriptor(0, data(), 0, 0);
    (0..SIZE).for_each(|_| driver.offer(0));
    assert_eq!(ring.available(), Ok(8));
    let heads: Vec<_> = (0..SIZE).map(|_| pop_one(&mut ring, driver.map(), &mut chain)).collect();
    driver.offer(0);
    assert_eq!(ring.available(), Err(RingError::AvailJump { ahead: 1, room: 0 }));
    heads.into_iter().for_each(|head| ring.push(head, 0));
    assert_eq!(ring.available(), Ok(1));
}

#[test]
fn head_and_next_must_be_in_the_table() {
    assert_eq!(fault_of(|driver| driver.offer(8)), RingError::HeadOutOfRange { head: 8, size: 8 });
    assert_eq!(fault_of(|driver| driver.offer(0xffff)), RingError::HeadOutOfRange { head: 0xffff, size: 8 });
    let error = fault_of(|driver| {
        driver.descriptor(3, data(), NEXT, 8);
        driver.offer(3);
    });
    assert_eq!(error, RingError::Chain { head: 3, fault: ChainFault::NextOutOfRange { next: 8, entries: 8 } });
}

#[test]
fn loops_end() {
    let own_successor = chain_fault_of(|driver| {
        driver.descriptor(0, data(), NEXT, 0);
        driver.offer(0);
    });
    let circle = chain_fault_of(|driver| {
        (0..SIZE).for_each(|index| driver.descriptor(index, data(), NEXT, (index + 1) % SIZE));
        driver.offer(2);
    });
    let circle_in_a_table = chain_fault_of(|driver| {
        let table = DATA_AT + 0x100;
        driver.write_descriptor(table, 0, data(), NEXT, 1);
        driver.write_descriptor(table, 1, data(), NEXT, 0);
        driver.descriptor(0, Buffer::readable(table, 32), INDIRECT, 0);
        driver.offer(0);
    });
    assert_eq!([own_successor, circle, circle_in_a_table], [ChainFault::Loop; 3]);
}

#[test]
fn a_chain_as_long_as_the_ring_is_served() {
    let mut driver = FakeDriver::new(SIZE, FEATURES);
    driver.add(&[data(); SIZE as usize]).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(1));
    assert_eq!(pop_one(&mut ring, driver.map(), &mut chain).descriptors(), SIZE);
    assert_eq!((chain.readable().len(), chain.readable_len()), (8, 128));
}

#[test]
fn indirect_tables_have_rules() {
    let table = DATA_AT + 0x100;
    let with_table = |buffer: Buffer, flags: u16| {
        chain_fault_of(move |driver| {
            driver.table(table, &[data(); 2]);
            driver.descriptor(0, buffer, flags, 1);
            driver.offer(0);
        })
    };
    let cap = 16 * MAX_SEGMENTS as u32;
    let unmapped = Buffer::readable(MEMORY_LEN as u64 - 16, 32);
    for (buffer, flags, fault) in [
        (Buffer::readable(table, 0), INDIRECT, ChainFault::TableLength(0)),
        (Buffer::readable(table, 33), INDIRECT, ChainFault::TableLength(33)),
        (Buffer::readable(table, cap + 16), INDIRECT, ChainFault::TableTooLong(cap + 16)),
        (Buffer::readable(table, 0xffff_fff0), INDIRECT, ChainFault::TableTooLong(0xffff_fff0)),
        (Buffer::readable(table, 32), INDIRECT | NEXT, ChainFault::IndirectAndNext),
        (unmapped, INDIRECT, ChainFault::Memory(TranslateError::Unmapped(Gpa(MEMORY_LEN as u64)))),
        (Buffer::readable(u64::MAX - 15, 32), INDIRECT, {
            ChainFault::Memory(TranslateError::Wraps(Gpa(u64::MAX - 15)))
        }),
    ] {
        assert_eq!(with_table(buffer, flags), fault);
    }
}

#[test]
fn indirect_tables_are_not_nested_and_hold_their_links() {
    let table = DATA_AT + 0x100;
    let with_entry = |flags, next| {
        chain_fault_of(move |driver| {
            driver.write_descriptor(table, 0, data(), flags, next);
            driver.descriptor(0, Buffer::readable(table, 32), INDIRECT, 0);
            driver.offer(0);
        })
    };
    assert_eq!(with_entry(INDIRECT, 0), ChainFault::NestedIndirect);
    assert_eq!(with_entry(NEXT, 2), ChainFault::NextOutOfRange { next: 2, entries: 2 });
}

#[test]
fn an_indirect_table_needs_the_feature() {
    let mut driver = FakeDriver::new(SIZE, RingFeatures::default());
    driver.add_indirect(DATA_AT + 0x100, &[], &[data()]).unwrap();
    let mut ring = driver.ring();
    assert_eq!(ring.available(), Ok(1));
    let error = ring.pop(driver.map(), &mut Chain::new());
    assert_eq!(error, Err(RingError::Chain { head: 0, fault: ChainFault::IndirectNotNegotiated }));
}

#[test]
fn readable_comes_before_writable() {
    let add = |buffers: [Buffer; 2]| move |driver: &mut FakeDriver| assert!(driver.add(&buffers).is_some());
    let (readable, writable) = (data(), Buffer::writable(DATA_AT, 1));
    assert_eq!(chain_fault_of(add([writable, readable])), ChainFault::ReadableAfterWritable);
    // No bytes, and still in the wrong place.
    assert_eq!(chain_fault_of(add([writable, Buffer::readable(0, 0)])), ChainFault::ReadableAfterWritable);
    assert_eq!(chain_fault_of(add([Buffer::writable(0, 0), readable])), ChainFault::ReadableAfterWritable);
}

#[test]
fn a_chain_has_at_most_four_gibibytes() {
    // The same four mebibytes again and again: what counts is the sum.
    let len = 4 << 20;
    let map = std::sync::Arc::new(MemMap::new(vec![testing::region(0, len)]));
    let mut driver = FakeDriver::in_map(map, FakeDriver::layout_at(RING_AT, SIZE), FEATURES);
    let mut buffers = vec![Buffer::readable(0, len as u32); 1024];
    driver.add_indirect(DATA_AT, &[], &buffers).unwrap();
    buffers.push(Buffer::writable(0, 1));
    driver.add_indirect(DATA_AT + 0x8000, &[], &buffers).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(2));
    let _ = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!(chain.readable_len(), 1 << 32);
    let error = ring.pop(driver.map(), &mut chain);
    assert_eq!(error, Err(RingError::Chain { head: 1, fault: ChainFault::TotalLength }));
}

#[test]
fn pieces_are_counted_also_when_buffers_cross_regions() {
    let mut regions = vec![testing::region(0, MEMORY_LEN)];
    regions.extend((0..MAX_SEGMENTS as u64 + 1).map(|index| testing::region(MEMORY_LEN as u64 + index, 1)));
    let map = std::sync::Arc::new(MemMap::new(regions));
    let mut driver = FakeDriver::in_map(map, FakeDriver::layout_at(RING_AT, SIZE), FEATURES);
    let at = MEMORY_LEN as u64;
    driver.add(&[Buffer::writable(at, MAX_SEGMENTS as u32)]).unwrap();
    driver.add(&[Buffer::writable(at, MAX_SEGMENTS as u32 + 1)]).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(2));
    let _ = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!(chain.writable().len(), MAX_SEGMENTS);
    let error = ring.pop(driver.map(), &mut chain);
    assert_eq!(error, Err(RingError::Chain { head: 1, fault: ChainFault::TooManySegments }));
}

#[test]
fn more_segments_than_promised_are_served() {
    // One known driver ignores seg_max and sends 513.
    let mut driver = FakeDriver::new(SIZE, FEATURES);
    let buffers: Vec<_> = (0..MAX_SEGMENTS as u64).map(|index| Buffer::readable(DATA_AT + index, 1)).collect();
    driver.add_indirect(DATA_AT + 0x1000, &[], &buffers).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(1));
    assert_eq!(pop_one(&mut ring, driver.map(), &mut chain).descriptors(), 1);
    assert_eq!(chain.readable().len(), MAX_SEGMENTS);
}

#[test]
fn buffers_must_be_mapped_for_their_use() {
    let end = MEMORY_LEN as u64;
    let add = |buffer: Buffer| move |driver: &mut FakeDriver| assert!(driver.add(&[buffer]).is_some());
    let memory = ChainFault::Memory;
    for (buffer, error) in [
        (Buffer::readable(end, 1), TranslateError::Unmapped(Gpa(end))),
        (Buffer::writable(end - 4, 5), TranslateError::Unmapped(Gpa(end))),
        (Buffer::readable(u64::MAX, 2), TranslateError::Wraps(Gpa(u64::MAX))),
    ] {
        assert_eq!(chain_fault_of(add(buffer)), memory(error));
    }
    let mut rom = testing::region(end, 0x1000);
    rom.writable = false;
    let map = std::sync::Arc::new(MemMap::new(vec![testing::region(0, MEMORY_LEN), rom]));
    let mut driver = FakeDriver::in_map(map, FakeDriver::layout_at(RING_AT, SIZE), FEATURES);
    driver.add(&[Buffer::readable(end, 16), Buffer::writable(end, 16)]).unwrap();
    let mut ring = driver.ring();
    assert_eq!(ring.available(), Ok(1));
    let fault = ChainFault::Memory(TranslateError::Denied(Gpa(end)));
    assert_eq!(ring.pop(driver.map(), &mut Chain::new()), Err(RingError::Chain { head: 0, fault }));
}

#[test]
fn areas_must_be_aligned_and_mapped_whole() {
    let driver = FakeDriver::new(SIZE, RingFeatures { event_idx: true, indirect: false });
    let good = driver.layout();
    let end = MEMORY_LEN as u64;
    let event_idx = RingFeatures { event_idx: true, indirect: false };
    let error_of = |layout| Ring::split(layout, event_idx, driver.map()).expect_err("the layout is not legal");
    for (layout, area) in [
        (RingLayout { desc: Gpa(good.desc.0 + 8), ..good }, Area::Desc),
        (RingLayout { avail: Gpa(good.avail.0 + 1), ..good }, Area::Avail),
        (RingLayout { used: Gpa(good.used.0 + 2), ..good }, Area::Used),
    ] {
        assert!(matches!(error_of(layout), RingError::Misaligned { area: found, .. } if found == area), "{area}");
    }
    let unmapped = TranslateError::Unmapped(Gpa(end));
    for (layout, area) in [
        (RingLayout { desc: Gpa(end - 112), ..good }, Area::Desc),
        (RingLayout { avail: Gpa(end - 20), ..good }, Area::Avail),
        (RingLayout { used: Gpa(end - 68), ..good }, Area::Used),
    ] {
        assert_eq!(error_of(layout), RingError::Unreachable { area, error: unmapped });
    }
    let wraps = RingLayout { desc: Gpa(u64::MAX - 15), ..good };
    assert!(matches!(error_of(wraps), RingError::Unreachable { area: Area::Desc, .. }));
    for size in [0, 3, 0x8001] {
        assert_eq!(error_of(RingLayout { size, ..good }), RingError::Size(size));
    }
    // Without event indexes the ring ends before them.
    let shorter = RingLayout { avail: Gpa(end - 20), ..good };
    assert!(Ring::split(shorter, RingFeatures::default(), driver.map()).is_ok());
}

#[test]
fn rings_in_memory_that_is_not_shared_or_read_only_are_refused() {
    let layout = FakeDriver::layout_at(0, SIZE);
    let private = MemMap::new(vec![testing::region_with(0, 0x1000, false)]);
    let error = Ring::split(layout, FEATURES, &private).expect_err("not shared");
    assert_eq!(error, RingError::Unreachable { area: Area::Desc, error: TranslateError::NotShared(Gpa(0)) });
    let mut region = testing::region(0, 0x1000);
    region.writable = false;
    let error = Ring::split(layout, FEATURES, &MemMap::new(vec![region])).expect_err("read-only");
    assert_eq!(error, RingError::Unreachable { area: Area::Used, error: TranslateError::Denied(layout.used) });
}

#[test]
fn areas_that_overlap_hurt_only_their_owner() {
    let driver = FakeDriver::new(SIZE, FEATURES);
    let at = Gpa(RING_AT);
    let layout = RingLayout { size: SIZE, desc: at, avail: at, used: at };
    let (mut ring, mut chain) = (Ring::split(layout, FEATURES, driver.map()).unwrap(), Chain::new());
    ring.start();
    // One chain is available: its own index is the high half of its first descriptor's address.
    driver.write(RING_AT, &[0, 0, 1, 0, 0, 0, 0, 0]);
    assert_eq!(ring.available(), Ok(1));
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    ring.push(head, 7);
    assert!(ring.publish());
    assert_eq!(ring.in_flight(), 0);
    // The used ring has grown over the descriptor table and the available entries, and over nothing else.
    assert_eq!(driver.read(RING_AT, 16), [0, 0, 1, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(driver.read(0, RING_AT as usize), [0; RING_AT as usize]);
    assert!(driver.read(RING_AT + 128, 0x1000).iter().all(|byte| *byte == 0));
}

#[test]
fn a_table_that_changes_meanwhile_was_fetched_once() {
    let mut driver = FakeDriver::new(SIZE, FEATURES);
    driver.add_indirect(DATA_AT, &[], &[Buffer::readable(DATA_AT + 0x100, 16)]).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(1));
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    let before = chain.readable()[0];
    driver.table(DATA_AT, &[Buffer::writable(u64::MAX, u32::MAX)]);
    driver.descriptor(head.id(), Buffer::writable(u64::MAX, u32::MAX), 0, 0);
    assert_eq!((chain.readable(), chain.writable().len()), (&[before][..], 0));
}

#[test]
fn remote_buffers_are_listed() {
    let at = MEMORY_LEN as u64;
    let regions = vec![
        testing::region(0, MEMORY_LEN),
        testing::region_with(at, 16, false),
        testing::region_with(at + 16, 16, false),
    ];
    let map = std::sync::Arc::new(MemMap::new(regions));
    let mut driver = FakeDriver::in_map(map, FakeDriver::layout_at(RING_AT, SIZE), FEATURES);
    driver.add(&[Buffer::readable(at - 8, 12), Buffer::writable(at + 8, 16)]).unwrap();
    driver.add(&[data()]).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(2));
    let _ = pop_one(&mut ring, driver.map(), &mut chain);
    let range = |gpa, len, access, place| RemoteRange { gpa: Gpa(gpa), len, access, place };
    let (read, write) = (Access::Read, Access::Write);
    assert_eq!(chain.remote(), [range(at, 4, read, 1), range(at + 8, 8, write, 2), range(at + 16, 8, write, 3)]);
    let _ = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!(chain.remote(), []);
}

#[test]
fn a_remote_table_is_fetched_first() {
    let at = MEMORY_LEN as u64;
    let regions = vec![testing::region(0, MEMORY_LEN), testing::region_with(at, 0x1000, false)];
    let map = std::sync::Arc::new(MemMap::new(regions));
    let mut driver = FakeDriver::in_map(map, FakeDriver::layout_at(RING_AT, SIZE), FEATURES);
    driver.add_indirect(at, &[], &[data(), Buffer::writable(DATA_AT, 1)]).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(1));
    let needs = Ok(Popped::NeedsFetch { gpa: Gpa(at), len: 32 });
    assert_eq!(ring.pop(driver.map(), &mut chain), needs);
    assert_eq!(ring.pop(driver.map(), &mut chain), needs);
    let table = driver.read(at, 32);
    // What is in the place that translation gives it is not looked at.
    driver.write(at, &[0xff; 32]);
    // What was fetched is not what the descriptor says by now.
    for (gpa, len) in [(at, 16), (at + 16, 32)] {
        ring.table_fetched(Gpa(gpa), table[..len].into());
        assert_eq!(ring.pop(driver.map(), &mut chain), needs);
    }
    assert_eq!(ring.in_flight(), 0);
    ring.table_fetched(Gpa(at), table.clone().into());
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!((chain.readable_len(), chain.writable_len(), chain.remote().len()), (16, 1, 0));
    // It serves once, and not after memory has changed.
    let needs = Ok(Walked::NeedsFetch { gpa: Gpa(at), len: 32 });
    assert_eq!(ring.walk(driver.map(), &mut chain, &head), needs);
    ring.table_fetched(Gpa(at), table.clone().into());
    ring.rebind(driver.map()).unwrap();
    assert_eq!(ring.walk(driver.map(), &mut chain, &head), needs);
    ring.table_fetched(Gpa(at), table.into());
    assert_eq!(ring.walk(driver.map(), &mut chain, &head), Ok(Walked::Chain));
    assert_eq!((chain.readable_len(), ring.in_flight()), (16, 1));
}

#[test]
fn a_fetched_table_is_no_more_trusted_than_another() {
    let at = MEMORY_LEN as u64;
    let regions = vec![testing::region(0, MEMORY_LEN), testing::region_with(at, 0x1000, false)];
    let map = std::sync::Arc::new(MemMap::new(regions));
    let mut driver = FakeDriver::in_map(map, FakeDriver::layout_at(RING_AT, SIZE), FEATURES);
    driver.add_indirect(at, &[], &[data(), data()]).unwrap();
    let good = driver.read(at, 32);
    // Flags and next of the first descriptor.
    for (flags, next, fault) in [
        (NEXT, 2_u16, ChainFault::NextOutOfRange { next: 2, entries: 2 }),
        (NEXT, 0, ChainFault::Loop),
        (INDIRECT, 0, ChainFault::NestedIndirect),
    ] {
        let (mut ring, mut chain, mut table) = (driver.ring(), Chain::new(), good.clone());
        table[12..14].copy_from_slice(&flags.to_le_bytes());
        table[14..16].copy_from_slice(&next.to_le_bytes());
        assert_eq!(ring.available(), Ok(1));
        ring.table_fetched(Gpa(at), table.into());
        let head = driver.read(driver.layout().avail.0 + 4, 1)[0].into();
        assert_eq!(ring.pop(driver.map(), &mut chain), Err(RingError::Chain { head, fault }));
    }
}

#[test]
fn a_chain_that_was_taken_may_be_walked_again() {
    let mut driver = FakeDriver::new(SIZE, FEATURES);
    (1..=3).for_each(|len| _ = driver.add(&[Buffer::readable(DATA_AT, len)]).unwrap());
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(3));
    let [first, second] = [(); 2].map(|()| pop_one(&mut ring, driver.map(), &mut chain));
    for (head, len) in [(&first, 1), (&second, 2), (&first, 1)] {
        assert_eq!(ring.walk(driver.map(), &mut chain, head), Ok(Walked::Chain));
        assert_eq!((chain.readable_len(), ring.position(), ring.in_flight()), (len, 2, 2));
    }
    // The driver may have changed it.
    driver.descriptor(first.id(), data(), NEXT, SIZE);
    let fault = ChainFault::NextOutOfRange { next: SIZE, entries: SIZE };
    let error = RingError::Chain { head: first.id(), fault };
    assert_eq!(ring.walk(driver.map(), &mut chain, &first), Err(error));
    assert_eq!(chain.readable_len(), 0);
    ring.unbind();
    assert_eq!(ring.walk(driver.map(), &mut chain, &second), Ok(Walked::Chain));
    assert_eq!(chain.readable_len(), 0, "there is no memory");
}

#[test]
fn another_segment_may_stand_in_for_a_remote_one() {
    let at = MEMORY_LEN as u64;
    let map = MemMap::new(vec![testing::region(0, MEMORY_LEN), testing::region_with(at, 0x1000, false)]);
    let mut driver = FakeDriver::in_map(std::sync::Arc::new(map), FakeDriver::layout_at(RING_AT, SIZE), FEATURES);
    driver.add(&[data(), Buffer::readable(at, 16), Buffer::writable(at, 16)]).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(1));
    let _ = pop_one(&mut ring, driver.map(), &mut chain);
    let (stand_in, before) = (driver.map().contiguous(Gpa(0), 16, Access::Write).unwrap(), chain.readable()[0]);
    let places: Vec<_> = chain.remote().iter().map(|range| range.place).collect();
    places.into_iter().for_each(|place| chain.replace(place, stand_in));
    assert_eq!((chain.readable(), chain.writable()), (&[before, stand_in][..], &[stand_in][..]));
}

#[test]
fn a_table_may_cross_regions() {
    for offset in [16, 8, 1] {
        let at = MEMORY_LEN as u64;
        let map = std::sync::Arc::new(MemMap::new(vec![testing::region(0, MEMORY_LEN), testing::region(at, 0x1000)]));
        let mut driver = FakeDriver::in_map(map, FakeDriver::layout_at(RING_AT, SIZE), FEATURES);
        let buffers = [data(), Buffer::readable(DATA_AT, 5), Buffer::writable(DATA_AT, 7)];
        driver.add_indirect(at - offset, &[], &buffers).unwrap();
        let (mut ring, mut chain) = (driver.ring(), Chain::new());
        assert_eq!(ring.available(), Ok(1));
        let _ = pop_one(&mut ring, driver.map(), &mut chain);
        assert_eq!((chain.readable_len(), chain.writable_len()), (21, 7), "offset {offset}");
    }
}

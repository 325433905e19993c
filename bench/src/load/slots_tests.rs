use super::*;
use crate::guest::cdb::{Direction, Width, transfer};
use crate::guest::memory::{Gpa, Region};
use crate::guest::queue::{Format, Queue};
use crate::load::ring_packed::PackedRing;
use crate::load::ring_split::SplitRing;

impl Layout {
    /// Of a few small requests, for the tests of load.
    pub fn small(segments: u16, indirect: bool, max_bytes: u32) -> Self {
        Self {
            depth: 4,
            segments,
            indirect,
            align_offset: 0,
            scatter: false,
            block_size: 512,
            max_bytes,
            cdb_size: 32,
            sense_size: 96,
        }
    }
}

fn set_up<R: DriverRing>(format: Format, layout: Layout) -> (GuestMemory, Queue, R, Slots) {
    let regions = [0x10_0000, 0x100_0000].map(|gpa| Region::new(Gpa(gpa), 1 << 20).unwrap());
    let mut memory = GuestMemory::new(regions.into());
    let queue = Queue::new(&mut memory, format, 2, 16, false).unwrap();
    let ring = R::take_over(&queue, layout.ring_entries() as u16);
    let slots = Slots::new(&mut memory, layout, vec![Lun::new(0, 0), Lun::new(1, 2)], true).unwrap();
    (memory, queue, ring, slots)
}

fn split(layout: Layout) -> (GuestMemory, Queue, SplitRing, Slots) {
    set_up(Format::Split, layout)
}

const READ: Io = Io { unit: 1, write: false, lba: 0x1234, blocks: 8 };

/// Address, length, flags and next of descriptor `index` of a table.
fn descriptor_at(memory: &GuestMemory, table: Gpa, index: u16) -> (u64, u32, u16, u16) {
    let mut bytes = [0; 16];
    memory.window(table.plus(16 * u64::from(index)), 16).unwrap().read(0, &mut bytes);
    let half = |at| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
    let len = u32::from_le_bytes(bytes[8..12].try_into().unwrap());
    (u64::from_le_bytes(bytes[..8].try_into().unwrap()), len, half(12), half(14))
}

fn chain(memory: &GuestMemory, table: Gpa, mut index: u16) -> Vec<(u64, u32, u16)> {
    let mut found = Vec::new();
    loop {
        let (addr, len, flags, next) = descriptor_at(memory, table, index);
        found.push((addr, len, flags & ring::DESC_WRITE));
        if flags & ring::DESC_NEXT == 0 {
            return found;
        }
        index = next;
    }
}

#[test]
fn a_read_is_request_response_data() {
    let (memory, queue, mut ring, slots) = split(Layout::small(1, false, 4096));
    slots.prepare(3, READ, &mut ring);
    let found = chain(&memory, queue.layout().desc, 9);
    let lens: Vec<_> = found.iter().map(|&(_, len, write)| (len, write)).collect();
    assert_eq!(lens, [(51, 0), (108, 2), (4096, 2)]);
    let request = memory.window(Gpa(found[0].0), 51).unwrap().to_vec();
    assert_eq!(request[..16], [1, 1, 0x40, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(request[19..29], [0x28, 0, 0, 0, 0x12, 0x34, 0, 0, 8, 0]);
}

#[test]
fn a_packed_chain_lies_where_the_ring_has_come_to() {
    let (memory, queue, mut ring, slots) = set_up::<PackedRing>(Format::Packed, Layout::small(1, false, 4096));
    for slot in [2, 3] {
        slots.prepare(slot, READ, &mut ring);
    }
    ring.publish();
    let bytes = memory.window(queue.layout().desc, 16 * 6).unwrap().to_vec();
    let found: Vec<_> = bytes.chunks(16).map(|bytes| (bytes[8], bytes[12], bytes[14], bytes[15])).collect();
    // The low bytes of length, id and flags: NEXT 1, WRITE 2, AVAIL 0x80.
    let chain = |id| [(51, id, 0x81, 0), (108, id, 0x83, 0), (0, id, 0x82, 0)];
    assert_eq!(found, [chain(2), chain(3)].concat());
}

#[test]
fn a_write_in_pieces_is_request_data_response() {
    let (memory, _, mut ring, slots) = split(Layout::small(3, true, 4096));
    slots.prepare(2, Io { unit: 0, write: true, lba: 0, blocks: 8 }, &mut ring);
    let (table, len, flags, _) = descriptor_at(&memory, Gpa(0x10_0000), 2);
    assert_eq!((len, flags), (5 * 16, ring::DESC_INDIRECT));
    let found = chain(&memory, Gpa(table), 0);
    let lens: Vec<_> = found.iter().map(|&(_, len, write)| (len, write)).collect();
    assert_eq!(lens, [(51, 0), (1536, 0), (1536, 0), (1024, 0), (108, 2)]);
    assert_eq!((found[1].0 - 1536, found[2].0 - 1536), (found[2].0, found[3].0), "no two pieces are one run");
}

#[test]
fn bytes_are_in_the_pieces_that_the_device_is_told_of() {
    let layout = Layout { align_offset: 24, ..Layout::small(3, true, 4096) };
    let (memory, _, mut ring, slots) = split(layout);
    for block in 0..8 {
        slots.write_data(1, block * 512, &[block as u8; 512]);
    }
    slots.prepare(1, Io { unit: 0, write: true, lba: 0, blocks: 7 }, &mut ring);
    let (table, ..) = descriptor_at(&memory, Gpa(0x10_0000), 1);
    let found = chain(&memory, Gpa(table), 0);
    assert_eq!(found[3].0 % 4096, 24);
    let pieces = found[1..4].iter().flat_map(|&(gpa, len, _)| memory.window(Gpa(gpa), len as usize).unwrap().to_vec());
    assert_eq!(pieces.step_by(512).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    let mut block = [0; 512];
    slots.read_data(1, 6 * 512, &mut block);
    assert_eq!(block, [6; 512]);
}

#[test]
fn scattered_requests_share_no_page_and_begin_at_different_places() {
    let (memory, queue, mut ring, slots) = split(Layout { scatter: true, ..Layout::small(1, false, 4096) });
    let mut begins = Vec::new();
    for slot in 0..4 {
        slots.prepare(slot, READ, &mut ring);
        let found = chain(&memory, queue.layout().desc, slot * 3);
        assert_eq!(found[0].0 / 4096, found[1].0 / 4096, "request and response are neighbours");
        begins.push(found[0].0);
    }
    for (index, one) in begins.iter().enumerate() {
        let others = || begins[..index].iter();
        assert!(others().all(|other| one / 4096 != other / 4096 && one % 4096 != other % 4096), "{begins:x?}");
    }
}

#[test]
fn buffers_are_dealt_out_over_the_regions() {
    let (memory, queue, mut ring, slots) = split(Layout::small(1, false, 4096));
    for slot in 0..4 {
        slots.prepare(slot, READ, &mut ring);
        let found = chain(&memory, queue.layout().desc, slot * 3);
        let regions: Vec<_> = found.iter().map(|&(gpa, ..)| gpa >= 0x100_0000).collect();
        let odd = slot % 2 == 1;
        assert_eq!(regions, [odd, odd, !odd]);
    }
}

#[test]
fn an_answer_that_never_came_is_not_good() {
    let (memory, queue, mut ring, slots) = split(Layout::small(1, false, 4096));
    slots.prepare(0, READ, &mut ring);
    assert_ne!(slots.outcome(0), Outcome::GOOD);
    let response = chain(&memory, queue.layout().desc, 0)[1].0;
    memory.window(Gpa(response), 12).unwrap().fill(0);
    assert_eq!(slots.outcome(0), Outcome::GOOD);
}

/// What the ring makes of used element `head`.
fn given_back(layout: Layout, head: u32) -> Result<u16, u32> {
    let (_, queue, mut ring, _) = split(layout);
    let used = queue.windows()[2];
    used.write(4, &head.to_le_bytes());
    used.write(2, &[1, 0]);
    assert!(ring.look());
    ring.take().unwrap()
}

#[test]
fn heads_that_begin_no_chain_have_no_slot() {
    for (head, slot) in [(0, Ok(0)), (3, Ok(1)), (9, Ok(3)), (1, Err(1)), (18, Err(18)), (u32::MAX, Err(u32::MAX))] {
        assert_eq!(given_back(Layout::small(1, false, 4096), head), slot);
    }
    for (head, slot) in [(3, Ok(3)), (16, Err(16)), (1 << 16, Err(1 << 16))] {
        assert_eq!(given_back(Layout::small(1, true, 4096), head), slot);
    }
}

#[test]
fn an_id_that_is_not_with_the_device_is_noticed() {
    let (memory, queue, mut ring, slots) = set_up::<PackedRing>(Format::Packed, Layout::small(1, true, 4096));
    slots.prepare(1, READ, &mut ring);
    ring.publish();
    for (id, expected) in [(1u16, Ok(1)), (1, Err(1)), (700, Err(700))] {
        // Used, on the first turn: the next in the ring.
        let at = if expected == Ok(1) { 0 } else { 16 };
        let window = memory.window(queue.layout().desc.plus(at), 16).unwrap();
        window.write(12, &[id.to_le_bytes(), [0x80, 0x80]].concat());
        assert!(ring.look());
        let mut ahead = Vec::new();
        ring.ahead(|slot| ahead.push(slot));
        assert_eq!(ahead.len(), usize::from(expected.is_ok()));
        assert_eq!(ring.take(), Some(expected));
    }
}

#[test]
fn bells_are_rung_once_for_what_was_published() {
    let (_, queue, mut ring, slots) = split(Layout::small(1, false, 4096));
    assert!(!ring.wants_bell(), "nothing was published");
    slots.prepare(0, READ, &mut ring);
    assert!(!ring.wants_bell(), "nor yet");
    ring.publish();
    assert!(ring.wants_bell() && !ring.wants_bell());
    queue.windows()[2].write(0, &[1, 0]);
    slots.prepare(1, READ, &mut ring);
    ring.publish();
    assert!(!ring.wants_bell(), "the device has said no");

    let (_, queue, mut ring, slots) = set_up::<PackedRing>(Format::Packed, Layout::small(1, false, 4096));
    // DESC: descriptor 4 of the first turn, which is in the second chain.
    queue.windows()[2].write(0, &[4, 0x80, 2, 0]);
    for rings in [false, true, false] {
        slots.prepare(0, READ, &mut ring);
        ring.publish();
        assert_eq!(ring.wants_bell(), rings);
    }
}

#[test]
fn many_publications_between_two_looks_count_together() {
    let mut memory = GuestMemory::new(vec![Region::new(Gpa(0x10_0000), 1 << 20).unwrap()]);
    let queue = Queue::new(&mut memory, Format::Split, 2, 16, true).unwrap();
    let mut ring = SplitRing::take_over(&queue, 1);
    for (publications, event, rings) in [(10, 3u16, true), (5, 3, false), (70_000, 9, true)] {
        queue.windows()[2].write(4 + 8 * 16, &event.to_le_bytes());
        for _ in 0..publications {
            ring.offer(0, 1);
            ring.publish();
        }
        assert_eq!(ring.wants_bell(), rings, "{publications}");
    }
}

#[test]
fn commands_are_those_of_the_standard() {
    for (lba, blocks, width) in [
        (u64::from(u32::MAX), 0xFFFF, Width::Ten),
        (1 << 32, 1, Width::Sixteen),
        (0x0102_0304_0506_0708, 0x1234_5678, Width::Sixteen),
    ] {
        for (write, direction) in [(false, Direction::Read), (true, Direction::Write)] {
            let expected = transfer(direction, width, lba, blocks, 0);
            let found = cdb(Io { unit: 0, write, lba, blocks });
            assert_eq!(found[..expected.len()], expected, "{lba:#x}");
            assert!(found[expected.len()..].iter().all(|&byte| byte == 0));
        }
    }
}

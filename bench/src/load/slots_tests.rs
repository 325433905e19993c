use super::*;
use crate::guest::cdb::{Direction, Width, transfer};
use crate::guest::memory::{Gpa, Region};
use crate::guest::queue::Queue;

fn layout(segments: u16, indirect: bool, max_bytes: u32) -> Layout {
    Layout { depth: 4, segments, indirect, block_size: 512, max_bytes, cdb_size: 32, sense_size: 96 }
}

fn set_up(layout: Layout) -> (GuestMemory, Queue, DriverRing, Slots) {
    let mut memory = GuestMemory::new(vec![Region::new(Gpa(0x10_0000), 1 << 20).unwrap()]);
    let queue = Queue::new(&mut memory, 2, 16, false).unwrap();
    let ring = DriverRing::take_over(&queue);
    let slots = Slots::new(&mut memory, layout, Lun::new(1, 2), true).unwrap();
    (memory, queue, ring, slots)
}

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
    let (memory, queue, ring, slots) = set_up(layout(1, false, 4096));
    let head = slots.prepare(3, Io { write: false, lba: 0x1234, blocks: 8 }, &ring);
    assert_eq!(head, 9);
    let found = chain(&memory, queue.layout().desc, head);
    let lens: Vec<_> = found.iter().map(|&(_, len, write)| (len, write)).collect();
    assert_eq!(lens, [(51, 0), (108, 2), (4096, 2)]);
    let request = memory.window(Gpa(found[0].0), 51).unwrap().to_vec();
    assert_eq!(request[..16], [1, 1, 0x40, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(request[19..29], [0x28, 0, 0, 0, 0x12, 0x34, 0, 0, 8, 0]);
}

#[test]
fn a_write_in_pieces_is_request_data_response() {
    let (memory, _, ring, slots) = set_up(layout(3, true, 4096));
    let head = slots.prepare(2, Io { write: true, lba: 0, blocks: 8 }, &ring);
    assert_eq!(head, 2);
    let (table, len, flags, _) = descriptor_at(&memory, Gpa(0x10_0000), 2);
    assert_eq!((len, flags), (5 * 16, ring::DESC_INDIRECT));
    let found = chain(&memory, Gpa(table), 0);
    let lens: Vec<_> = found.iter().map(|&(_, len, write)| (len, write)).collect();
    assert_eq!(lens, [(51, 0), (1536, 0), (1536, 0), (1024, 0), (108, 2)]);
    assert_eq!(found[1].0 + 1536, found[2].0, "the pieces are the buffer");
}

#[test]
fn an_answer_that_never_came_is_not_good() {
    let (memory, queue, ring, slots) = set_up(layout(1, false, 4096));
    let head = slots.prepare(0, Io { write: false, lba: 0, blocks: 8 }, &ring);
    assert_ne!(slots.outcome(0), Outcome::GOOD);
    let response = chain(&memory, queue.layout().desc, head)[1].0;
    memory.window(Gpa(response), 12).unwrap().fill(0);
    assert_eq!(slots.outcome(0), Outcome::GOOD);
}

#[test]
fn heads_that_begin_no_chain_have_no_slot() {
    let (_, _, _, slots) = set_up(layout(1, false, 4096));
    assert_eq!([0, 3, 9].map(|head| slots.slot_of(head)), [Some(0), Some(1), Some(3)]);
    assert_eq!([1, 12, u32::MAX].map(|head| slots.slot_of(head)), [None; 3]);
    let (_, _, _, slots) = set_up(layout(1, true, 4096));
    assert_eq!([3, 4, 1 << 16].map(|head| slots.slot_of(head)), [Some(3), None, None]);
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
            let found = cdb(Io { write, lba, blocks });
            assert_eq!(found[..expected.len()], expected, "{lba:#x}");
            assert!(found[expected.len()..].iter().all(|&byte| byte == 0));
        }
    }
}

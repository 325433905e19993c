use super::*;
use crate::guest::memory::{Gpa, Region};

fn memory() -> GuestMemory {
    GuestMemory::new(vec![Region::new(Gpa(0x10_0000), 0x10_0000).unwrap()])
}

fn piece(gpa: u64, len: u32, device_writes: bool) -> Piece {
    Piece { gpa: Gpa(gpa), len, device_writes }
}

fn queue(size: u16, event_idx: bool) -> PackedQueue {
    PackedQueue::new(&mut memory(), 2, size, event_idx).unwrap()
}

/// What a device keeps: where it takes the next chain, where it gives one back, on which turn of the ring each is.
/// Counts descriptors since the beginning, so that its arithmetic is not the driver's.
struct Model {
    desc: Window,
    size: u64,
    taken: u64,
    given: u64,
}

impl Model {
    fn of(queue: &PackedQueue) -> Self {
        Self { desc: queue.windows()[0].clone(), size: queue.layout().size.into(), taken: 0, given: 0 }
    }

    fn bytes(&self, count: u64) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.desc.read((count % self.size) as usize * 16, &mut bytes);
        bytes
    }

    /// Id and descriptor count of the next available chain.
    fn take(&mut self) -> Option<(u16, u64)> {
        let begin = self.taken;
        loop {
            let bytes = self.bytes(self.taken);
            // Flags: AVAIL is bit 7 of the low byte, USED bit 7 of the high byte.
            let marks = (bytes[14] & 0x80 != 0, bytes[15] & 0x80 != 0);
            let first_turn = (self.taken / self.size).is_multiple_of(2);
            if marks != (first_turn, !first_turn) {
                assert_eq!(begin, self.taken, "a chain becomes available as a whole");
                return None;
            }
            self.taken += 1;
            if bytes[14] & 1 == 0 {
                return Some((u16::from_le_bytes([bytes[12], bytes[13]]), self.taken - begin));
            }
        }
    }

    /// Gives a chain of `descriptors` back.
    fn give(&mut self, id: u16, descriptors: u64, len: u32) {
        let marks = if (self.given / self.size).is_multiple_of(2) { 0x8080u16 } else { 0 };
        let at = (self.given % self.size) as usize * 16;
        self.desc.write(at + 8, &len.to_le_bytes());
        self.desc.write(at + 12, &id.to_le_bytes());
        self.desc.store_u16(at + 14, marks, Ordering::Release);
        self.given += descriptors;
    }
}

#[test]
fn a_chain_is_laid_out_as_the_specification_says() {
    let mut queue = queue(4, false);
    let id = queue.add(&[piece(0x1122_3344_5566_7788, 51, false), piece(0x2000, 108, true)]).unwrap();
    let table = || queue.windows()[0].to_vec();
    let first = [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 51, 0, 0, 0, 0, 0, 0, 0];
    let second = [0, 0x20, 0, 0, 0, 0, 0, 0, 108, 0, 0, 0, 0, 0, 0x82, 0];
    assert_eq!((id, &table()[..32]), (0, &[first, second].concat()[..]), "not available yet");
    assert!(queue.publish());
    // NEXT and AVAIL; the first turn's wrap counter is 1.
    assert_eq!(queue.windows()[0].to_vec()[14..16], [0x81, 0]);
    assert_eq!(queue.windows()[0].to_vec()[32..], [0; 32]);
}

#[test]
fn the_second_turn_has_the_other_marks() {
    let mut queue = queue(2, false);
    let mut model = Model::of(&queue);
    for turn in [[0x81, 0x00, 0x82, 0x00], [0x01, 0x80, 0x02, 0x80]] {
        queue.add(&[piece(1, 2, false), piece(3, 4, true)]).unwrap();
        queue.publish();
        let bytes = queue.windows()[0].to_vec();
        assert_eq!([bytes[14], bytes[15], bytes[30], bytes[31]], turn);
        let (id, count) = model.take().unwrap();
        model.give(id, count, 4);
        assert_eq!(queue.poll().unwrap(), Some(Used { head: id, len: 4 }));
        assert_eq!(queue.poll().unwrap(), None);
    }
}

#[test]
fn an_indirect_table_takes_one_descriptor() {
    let mut memory = memory();
    let mut queue = PackedQueue::new(&mut memory, 2, 4, false).unwrap();
    let table = memory.allocate(32, 16).unwrap();
    queue.add_indirect(&table, &[piece(1, 2, false), piece(3, 4, true)]).unwrap();
    assert_eq!(queue.free_descriptors(), 3);
    queue.publish();
    let at = table.gpa().0.to_le_bytes();
    assert_eq!(queue.windows()[0].to_vec()[..16], [&at[..], &[32, 0, 0, 0, 0, 0, 0x84, 0]].concat());
    // In a table only WRITE means anything (2.8.7).
    assert_eq!(table.to_vec()[14..16], [0, 0]);
    assert_eq!(table.to_vec()[30..32], [2, 0]);
    assert!(queue.add_indirect(&table, &[piece(1, 2, false); 3]).is_err());
}

#[test]
fn what_is_added_is_seen_all_at_once() {
    let mut queue = queue(8, false);
    let mut model = Model::of(&queue);
    let ids: Vec<_> = (0..3).map(|_| queue.add(&[piece(0, 1, false), piece(0, 1, true)]).unwrap()).collect();
    assert_eq!(model.take(), None);
    queue.publish();
    let seen: Vec<_> = std::iter::from_fn(|| model.take()).collect();
    assert_eq!(seen, ids.iter().map(|&id| (id, 2)).collect::<Vec<_>>());
}

#[test]
fn chains_of_all_lengths_come_back_in_any_order_over_many_turns() {
    for size in [2u16, 5, 16] {
        let mut queue = queue(size, true);
        let mut model = Model::of(&queue);
        let mut with_device = Vec::new();
        let mut random = crate::load::work::Random::new(size.into());
        let mut sent = 0;
        for _ in 0..20_000 {
            let len = 1 + random.below(size.min(4).into()) as usize;
            let pieces = vec![piece(0, 1, false); len];
            match queue.add(&pieces) {
                Ok(_) => sent += 1,
                Err(_) => assert!(queue.free_descriptors() < len),
            }
            queue.publish();
            with_device.extend(std::iter::from_fn(|| model.take()));
            if with_device.len() > random.below(4) as usize {
                let (id, count) = with_device.swap_remove(random.below(with_device.len() as u64) as usize);
                model.give(id, count, u32::from(id) + 7);
                assert_eq!(queue.poll().unwrap(), Some(Used { head: id, len: u32::from(id) + 7 }));
            }
            assert_eq!(queue.poll().unwrap(), None);
        }
        assert!(sent > 5_000, "{sent}");
    }
}

#[test]
fn an_id_that_is_not_in_flight_is_noticed() {
    let mut queue = queue(4, false);
    let mut model = Model::of(&queue);
    let id = queue.add(&[piece(0, 1, false)]).unwrap();
    queue.add(&[piece(0, 1, false)]).unwrap();
    queue.publish();
    model.give(id, 1, 0);
    model.give(id, 1, 0);
    assert!(queue.poll().unwrap().is_some());
    assert!(matches!(queue.poll(), Err(Error::UnknownHead { queue: 2, head: 0 })));
    model.given = 1;
    model.give(4, 1, 0);
    assert!(matches!(queue.poll(), Err(Error::UnknownHead { head: 4, .. })));
}

#[test]
fn the_doorbell_follows_the_devices_event_suppression() {
    let mut queue = queue(4, true);
    let mut model = Model::of(&queue);
    // Descriptor event (index, wrap counter in bit 15) and flags, and whether the descriptor added then rings. The first
    // goes to index 0.
    let cases: [([u8; 4], bool); 9] = [
        ([0, 0x00, 0, 0], true),
        ([0, 0x00, 1, 0], false),
        ([2, 0x80, 2, 0], true),
        ([0, 0x00, 2, 0], false),
        // The second turn: its wrap counter is 0.
        ([0, 0x00, 2, 0], true),
        ([2, 0x00, 2, 0], false),
        ([2, 0x80, 2, 0], false),
        ([0, 0x80, 2, 0], false),
        ([0, 0x80, 2, 0], true),
    ];
    assert!(!queue.publish(), "nothing was added");
    for (index, (event, rings)) in cases.into_iter().enumerate() {
        queue.windows()[2].write(0, &event);
        queue.add(&[piece(0, 1, false)]).unwrap();
        assert_eq!(queue.publish(), rings, "case {index}");
        let (id, count) = model.take().unwrap();
        model.give(id, count, 0);
        queue.poll().unwrap();
    }
}

#[test]
fn a_batch_rings_if_any_of_its_descriptors_is_the_one() {
    for (event, rings) in [(0u16, true), (2, true), (3, false)] {
        let mut queue = queue(8, true);
        queue.windows()[2].write(0, &(event | 0x8000).to_le_bytes());
        queue.windows()[2].write(2, &[2, 0]);
        for _ in 0..3 {
            queue.add(&[piece(0, 1, false)]).unwrap();
        }
        assert_eq!(queue.publish(), rings, "{event}");
    }
}

#[test]
fn interrupts_are_asked_for_and_declined() {
    let mut flags = queue(4, false);
    assert!(!flags.set_interrupts(false));
    assert_eq!(flags.windows()[1].to_vec()[2..], [1, 0]);
    let mut model = Model::of(&flags);
    let id = flags.add(&[piece(0, 1, false)]).unwrap();
    flags.publish();
    model.give(id, 1, 0);
    assert!(flags.set_interrupts(true), "one has come already");
    assert_eq!(flags.windows()[1].to_vec()[2..], [0, 0]);

    let mut events = queue(2, true);
    let mut model = Model::of(&events);
    events.set_interrupts(true);
    assert_eq!(events.windows()[1].to_vec(), [0, 0x80, 2, 0]);
    for expected in [[1, 0x80, 2, 0], [0, 0x00, 2, 0], [1, 0x00, 2, 0]] {
        let id = events.add(&[piece(0, 1, false)]).unwrap();
        events.publish();
        model.give(id, 1, 0);
        events.poll().unwrap();
        assert_eq!(events.windows()[1].to_vec(), expected);
    }
}

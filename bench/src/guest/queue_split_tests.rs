use super::*;
use crate::guest::memory::{Gpa, Region};

fn memory() -> GuestMemory {
    GuestMemory::new(vec![Region::new(Gpa(0x10_0000), 0x10_0000).unwrap()])
}

fn piece(gpa: u64, len: u32, device_writes: bool) -> Piece {
    Piece { gpa: Gpa(gpa), len, device_writes }
}

/// Does what a device does to give a head back.
fn give_back(queue: &SplitQueue, index: u16, head: u32, len: u32) {
    let [_, _, used] = queue.windows();
    let slot = 4 + 8 * usize::from(index % queue.layout().size);
    used.write(slot, &head.to_le_bytes());
    used.write(slot + 4, &len.to_le_bytes());
    used.store_u16(2, index.wrapping_add(1), Ordering::Release);
}

#[test]
fn a_chain_is_laid_out_as_the_specification_says() {
    let mut queue = SplitQueue::new(&mut memory(), 2, 4, false).unwrap();
    let head = queue.add(&[piece(0x1122_3344_5566_7788, 51, false), piece(0x2000, 108, true)]).unwrap();
    assert!(queue.publish());
    let [desc, avail, _] = queue.windows();
    let first = [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 51, 0, 0, 0, 1, 0, 1, 0];
    let second = [0, 0x20, 0, 0, 0, 0, 0, 0, 108, 0, 0, 0, 2, 0, 0, 0];
    assert_eq!(head, 0);
    assert_eq!(desc.to_vec()[..32], [first, second].concat());
    assert_eq!(avail.to_vec()[..6], [0, 0, 1, 0, 0, 0]);
}

#[test]
fn an_indirect_table_takes_one_descriptor() {
    let mut memory = memory();
    let mut queue = SplitQueue::new(&mut memory, 2, 4, false).unwrap();
    let table = memory.allocate(48, 16).unwrap();
    queue.add_indirect(&table, &[piece(1, 2, false), piece(3, 4, true), piece(5, 6, true)]).unwrap();
    assert_eq!(queue.free_descriptors(), 3);
    let [desc, ..] = queue.windows();
    let at = table.gpa().0.to_le_bytes();
    assert_eq!(desc.to_vec()[..16], [&at[..], &[48, 0, 0, 0, 4, 0, 0, 0]].concat());
    let table = table.to_vec();
    assert_eq!(table[12..16], [1, 0, 1, 0]);
    assert_eq!(table[28..32], [3, 0, 2, 0]);
    assert_eq!(table[44..48], [2, 0, 0, 0]);
}

#[test]
fn descriptors_come_back_with_the_chain() {
    let mut queue = SplitQueue::new(&mut memory(), 0, 4, false).unwrap();
    let heads: Vec<_> = (0..2).map(|_| queue.add(&[piece(0, 1, false), piece(0, 1, true)]).unwrap()).collect();
    assert!(matches!(queue.add(&[piece(0, 1, false)]), Err(Error::Full(_))));
    queue.publish();
    give_back(&queue, 0, heads[1].into(), 108);
    assert_eq!(queue.poll().unwrap(), Some(Used { head: heads[1], len: 108 }));
    assert_eq!(queue.poll().unwrap(), None);
    assert_eq!(queue.free_descriptors(), 2);
    assert!(queue.add(&[piece(0, 1, false)]).is_ok());
}

#[test]
fn a_head_given_back_twice_is_noticed() {
    let mut queue = SplitQueue::new(&mut memory(), 3, 4, false).unwrap();
    let head = queue.add(&[piece(0, 1, false)]).unwrap();
    queue.publish();
    give_back(&queue, 0, head.into(), 0);
    give_back(&queue, 1, head.into(), 0);
    assert!(queue.poll().unwrap().is_some());
    assert!(matches!(queue.poll(), Err(Error::UnknownHead { queue: 3, head: 0 })));
    give_back(&queue, 2, 4, 0);
    assert!(matches!(queue.poll(), Err(Error::UnknownHead { head: 4, .. })));
}

#[test]
fn indices_wrap_past_65535() {
    let mut queue = SplitQueue::new(&mut memory(), 0, 2, true).unwrap();
    for index in 0..=u16::MAX {
        let head = queue.add(&[piece(0, 1, false)]).unwrap();
        queue.publish();
        give_back(&queue, index, head.into(), u32::from(index));
        assert_eq!(queue.poll().unwrap().map(|used| used.len), Some(u32::from(index)));
    }
    let head = queue.add(&[piece(0, 1, false)]).unwrap();
    queue.publish();
    give_back(&queue, 0, head.into(), 7);
    assert_eq!(queue.poll().unwrap().map(|used| used.len), Some(7));
    assert_eq!(queue.avail_idx(), 1);
}

#[test]
fn the_doorbell_follows_the_flag() {
    let mut queue = SplitQueue::new(&mut memory(), 0, 4, false).unwrap();
    assert!(!queue.publish(), "nothing was added");
    queue.add(&[piece(0, 1, false)]).unwrap();
    queue.windows()[2].store_u16(0, 1, Ordering::Relaxed);
    assert!(!queue.publish());
    queue.add(&[piece(0, 1, false)]).unwrap();
    queue.windows()[2].store_u16(0, 0, Ordering::Relaxed);
    assert!(queue.publish());
}

#[test]
fn the_doorbell_follows_the_event_index() {
    let mut queue = SplitQueue::new(&mut memory(), 0, 4, true).unwrap();
    queue.windows()[2].store_u16(4 + 8 * 4, 1, Ordering::Relaxed);
    queue.add(&[piece(0, 1, false)]).unwrap();
    assert!(!queue.publish());
    queue.add(&[piece(0, 1, false)]).unwrap();
    assert!(queue.publish());
    queue.add(&[piece(0, 1, false)]).unwrap();
    assert!(!queue.publish());
}

#[test]
fn interrupts_are_asked_for_and_declined() {
    let mut flags = SplitQueue::new(&mut memory(), 0, 4, false).unwrap();
    assert!(!flags.set_interrupts(false));
    assert_eq!(flags.windows()[1].load_u16(0, Ordering::Relaxed), 1);
    let head = flags.add(&[piece(0, 1, false)]).unwrap();
    give_back(&flags, 0, head.into(), 0);
    assert!(flags.set_interrupts(true), "one has come already");
    assert_eq!(flags.windows()[1].load_u16(0, Ordering::Relaxed), 0);

    let mut events = SplitQueue::new(&mut memory(), 0, 4, true).unwrap();
    events.set_interrupts(false);
    assert_eq!(events.windows()[1].load_u16(12, Ordering::Relaxed), u16::MAX);
    events.set_interrupts(true);
    let head = events.add(&[piece(0, 1, false)]).unwrap();
    give_back(&events, 0, head.into(), 0);
    events.poll().unwrap();
    assert_eq!(events.windows()[1].load_u16(12, Ordering::Relaxed), 1);
}

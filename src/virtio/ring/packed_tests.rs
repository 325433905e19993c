//! What a driver sees of a packed ring that both sides use as they should.

use super::testing::packed::*;
use super::testing::*;
use super::*;
use crate::dma::testing::region as dma_region;
use std::sync::Arc;

const FLAGS: RingFeatures = RingFeatures { event_idx: false, indirect: true };
const EVENTS: RingFeatures = RingFeatures { event_idx: true, indirect: true };

fn request() -> [Buffer; 2] {
    [Buffer::readable(DATA_AT, 51), Buffer::writable(DATA_AT + 0x100, 108)]
}

/// Serves everything that is available, and tells whether the driver wants an interrupt.
fn serve(ring: &mut Ring, driver: &PackedDriver, chain: &mut Chain) -> bool {
    for _ in 0..ring.look().expect("the ring is sound") {
        match ring.pop(driver.map(), chain).expect("the ring is sound") {
            Popped::Chain(head) => ring.push(head, chain.writable_len() as u32),
            Popped::Empty => break,
            other => panic!("{other:?}"),
        }
    }
    ring.publish()
}

#[test]
fn the_bytes_of_a_request_and_its_answer() {
    let driver = PackedDriver::new(4, FLAGS);
    let at = driver.layout().desc.0;
    let mut ring = Ring::packed(driver.layout(), FLAGS, driver.map()).unwrap();
    driver.write(at, &[0x33, 2, 1, 0, 0, 0, 0, 0, 51, 0, 0, 0, 0xee, 0xee, 0x81, 0]);
    driver.write(at + 16, &[0, 4, 1, 0, 0, 0, 0, 0, 108, 0, 0, 0, 3, 0, 0x82, 0]);
    assert_eq!((ring.look(), ring.available()), (Ok(4), Ok(1)));
    let mut chain = Chain::new();
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!((head.id(), head.descriptors(), ring.in_flight()), (3, 2, 1));
    let host = |gpa| driver.map().contiguous(Gpa(gpa), 1, crate::dma::Access::Read).unwrap().as_ptr();
    assert_eq!((chain.readable()[0].as_ptr(), chain.readable_len()), (host(0x1_0233), 51));
    assert_eq!((chain.writable()[0].as_ptr(), chain.writable_len()), (host(0x1_0400), 108));
    assert_eq!(ring.pop(driver.map(), &mut chain), Ok(Popped::Empty));
    ring.push(head, 0x0102);
    assert!(ring.publish());
    // Length, id, and flags: USED, AVAIL, and WRITE for there is something to read. The address means nothing.
    assert_eq!(driver.bytes(0)[8..], [2, 1, 0, 0, 3, 0, 0x82, 0x80]);
    // Skipped.
    assert_eq!(driver.bytes(1), [0, 4, 1, 0, 0, 0, 0, 0, 108, 0, 0, 0, 3, 0, 0x82, 0]);
    assert_eq!((ring.in_flight(), driver.read(at + 32, 32)), (0, vec![0; 32]));
    assert!(!ring.publish(), "nothing is new");
}

#[test]
fn a_batch_is_seen_when_it_is_published_and_not_before() {
    let mut driver = PackedDriver::new(8, FLAGS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!((ring.look(), ring.available(), ring.publish()), (Ok(0), Ok(0), false));
    let first = driver.add(&request()).unwrap();
    let second = driver.add_indirect(DATA_AT + 0x1000, &request()).unwrap();
    assert_eq!((ring.look(), ring.available()), (Ok(8), Ok(2)));
    let one = pop_one(&mut ring, driver.map(), &mut chain);
    let two = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!(((one.id(), one.descriptors()), (two.id(), two.descriptors())), ((first, 2), (second, 1)));
    assert_eq!((chain.readable_len(), chain.writable_len(), ring.in_flight()), (51, 108, 2));
    // Out of order is as good: the second one's descriptor goes where the first one was.
    let before = driver.bytes(0);
    ring.push(two, 12);
    ring.push(one, 0);
    assert_eq!((driver.bytes(0), driver.take_used()), (before, None), "held back");
    assert_eq!(driver.bytes(1)[8..], [0, 0, 0, 0, first as u8, 0, 0x80, 0x80], "behind the first one");
    assert!(ring.publish());
    assert_eq!(driver.take_used(), Some((second, 12, WRITE)));
    assert_eq!(driver.take_used(), Some((first, 0, 0)));
    assert_eq!((driver.take_used(), ring.in_flight()), (None, 0));
}

#[test]
fn rings_of_any_size_go_around() {
    for size in [1, 2, 3, 5, 64, 250] {
        let mut driver = PackedDriver::new(size, EVENTS);
        let (mut ring, mut chain) = (driver.ring(), Chain::new());
        for round in 0..1000_u64 {
            driver.set_event(DESC, driver.back);
            let made = driver.made;
            let buffers = &request()[..1 + usize::from(size > 1 && round % 3 == 0)];
            let id = driver.add(buffers).expect("the descriptors came back");
            assert!(!driver.must_ring(driver.made - made), "a polled ring needs no doorbell");
            assert!(serve(&mut ring, &driver, &mut chain), "size {size} round {round}");
            assert_eq!(driver.take_used().map(|used| used.0), Some(id), "size {size} round {round}");
        }
    }
}

#[test]
fn a_chain_that_was_taken_may_be_walked_again() {
    let mut driver = PackedDriver::new(4, FLAGS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    driver.add(&request()).unwrap();
    let table = DATA_AT + 0x1000;
    driver.add_indirect(table, &[Buffer::readable(DATA_AT, 7)]).unwrap();
    driver.add(&request()[..1]).unwrap();
    let [direct, indirect, last] = [(); 3].map(|()| pop_one(&mut ring, driver.map(), &mut chain));
    // The last one ends first, so that its used descriptor takes the place of another's, and the driver goes on there.
    ring.push(last, 0);
    let _ = ring.publish();
    driver.take_used().unwrap();
    driver.add(&request()[..1]).unwrap();
    let newer = pop_one(&mut ring, driver.map(), &mut chain);
    let lens = [(&direct, 51, 108), (&indirect, 7, 0), (&newer, 51, 0), (&direct, 51, 108)];
    for (head, readable, writable) in lens {
        assert_eq!(ring.walk(driver.map(), &mut chain, head), Ok(Walked::Chain));
        assert_eq!((chain.readable_len(), chain.writable_len()), (readable, writable));
        assert_eq!((ring.position(), ring.in_flight(), ring.available()), (4, 3, Ok(0)));
    }
    let elsewhere = MemMap::new(vec![crate::dma::testing::region(0x100_0000, 0x1000)]);
    assert!(ring.rebind(&elsewhere).is_err());
    assert_eq!(ring.walk(&elsewhere, &mut chain, &direct), Ok(Walked::Chain));
    assert_eq!(chain.readable_len(), 0, "there is no memory");
    ring.rebind(driver.map()).unwrap();
    assert_eq!(ring.walk(driver.map(), &mut chain, &direct), Ok(Walked::Chain));
    assert_eq!((chain.readable_len(), chain.writable_len()), (51, 108));
}

#[test]
fn the_driver_is_told_at_driver_ok_that_the_ring_is_polled() {
    for features in [FLAGS, EVENTS] {
        let driver = PackedDriver::new(8, features);
        let mut ring = Ring::packed(driver.layout(), features, driver.map()).unwrap();
        assert_eq!(driver.device_event(), [0; 4], "not before");
        ring.start();
        assert_eq!(driver.device_event(), [0, 0, 1, 0]);
    }
}

#[test]
fn going_to_sleep_loses_no_doorbell() {
    for features in [FLAGS, EVENTS] {
        let mut driver = PackedDriver::new(3, features);
        let (mut ring, mut chain) = (driver.ring(), Chain::new());
        for round in 0..10 {
            // Made available while nobody looked: seen by the look that follows.
            driver.add(&request()).unwrap();
            assert_eq!(ring.enable_notify(), Ok(true));
            serve(&mut ring, &driver, &mut chain);
            driver.take_used().unwrap();
            assert_eq!(ring.enable_notify(), Ok(false));
            // From now on the driver rings for the next one.
            driver.add(&request()).unwrap();
            assert!(driver.must_ring(2), "round {round}");
            ring.disable_notify();
            assert!(!driver.must_ring(2));
            serve(&mut ring, &driver, &mut chain);
            driver.take_used().unwrap();
        }
    }
}

#[test]
fn the_place_to_ring_at_is_the_next_one_with_its_turn() {
    let mut driver = PackedDriver::new(3, EVENTS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.enable_notify(), Ok(false));
    assert_eq!(driver.device_event(), [0, 0x80, 2, 0]);
    for event in [[2, 0x80, 2, 0], [1, 0, 2, 0], [0, 0x80, 2, 0]] {
        driver.add(&request()).unwrap();
        serve(&mut ring, &driver, &mut chain);
        driver.take_used().unwrap();
        assert_eq!(ring.enable_notify(), Ok(false));
        assert_eq!(driver.device_event(), event);
    }
}

#[test]
fn interrupts_are_asked_for_by_flag() {
    for (features, flags, wanted) in [
        (FLAGS, ENABLE, true),
        (FLAGS, DISABLE, false),
        (FLAGS, DESC, true),
        (FLAGS, 3, true),
        (EVENTS, ENABLE, true),
        (EVENTS, DISABLE, false),
        (EVENTS, 3, true),
    ] {
        let mut driver = PackedDriver::new(8, features);
        let (mut ring, mut chain) = (driver.ring(), Chain::new());
        // A place that will not be passed.
        driver.set_event(flags, 7);
        driver.add(&request()).unwrap();
        assert_eq!(serve(&mut ring, &driver, &mut chain), wanted, "{features:?} {flags}");
    }
}

#[test]
fn interrupts_are_asked_for_by_place_over_the_whole_batch() {
    let mut driver = PackedDriver::new(5, EVENTS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    // The places are counted since the beginning, each chain has two descriptors: the second one counts as well.
    for (batch, event, wanted) in
        [(1, 0, true), (2, 7, false), (1, 7, true), (2, 8, true), (1, 11, false), (1, 16, false), (1, 17, true)]
    {
        driver.set_event(DESC, event);
        let published = driver.back;
        (0..batch).for_each(|_| assert!(driver.add(&request()).is_some()));
        assert_eq!(serve(&mut ring, &driver, &mut chain), wanted, "from {published}, event {event}");
        while driver.take_used().is_some() {}
    }
}

#[test]
fn only_the_direction_means_anything_in_a_table() {
    let mut driver = PackedDriver::new(4, FLAGS);
    let table = DATA_AT + 0x1000;
    driver.add_indirect(table, &[request()[0]; 3]).unwrap();
    for (index, buffer, flags) in [(0, request()[0], INDIRECT), (1, request()[0], !WRITE), (2, request()[1], 0x7ff9)] {
        driver.write_descriptor(table, index, buffer, 0xffff, flags);
    }
    // Nor does the direction of the descriptor that names it.
    let at = driver.layout().desc.0;
    driver.write(at + 14, &(WRITE | INDIRECT | AVAIL).to_le_bytes());
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    let _ = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!((chain.readable_len(), chain.writable_len()), (102, 108));
}

#[test]
fn memory_may_go_and_come_back_under_a_live_ring() {
    for features in [FLAGS, EVENTS] {
        let mut driver = PackedDriver::new(5, features);
        let (mut ring, mut chain) = (driver.ring(), Chain::new());
        for _ in 0..3 {
            driver.add(&request()).unwrap();
            serve(&mut ring, &driver, &mut chain);
            driver.take_used().unwrap();
        }
        driver.add(&request()).unwrap();
        ring.unbind();
        assert!(!ring.is_bound());
        // Paused: nothing is seen, nothing is written.
        driver.write(driver.layout().used.0, &[0; 4]);
        assert_eq!(ring.pop(driver.map(), &mut chain), Ok(Popped::Empty));
        assert_eq!((ring.look(), ring.available(), ring.enable_notify()), (Ok(0), Ok(0), Ok(false)));
        ring.disable_notify();
        assert!(!ring.publish());
        let elsewhere = MemMap::new(vec![crate::dma::testing::region(0x100_0000, 0x1000)]);
        assert!(ring.rebind(&elsewhere).is_err() && !ring.is_bound());
        assert_eq!(driver.device_event(), [0; 4]);

        ring.rebind(driver.map()).unwrap();
        assert_eq!(driver.device_event(), [0, 0, 1, 0], "still polled");
        assert!(serve(&mut ring, &driver, &mut chain));
        assert!(driver.take_used().is_some());
    }
}

#[test]
fn what_was_not_published_before_memory_went_is_published_after_it_came_back() {
    let mut driver = PackedDriver::new(4, FLAGS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    let id = driver.add(&request()).unwrap();
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    ring.push(head, 1);
    ring.unbind();
    assert!(!ring.publish());
    ring.rebind(driver.map()).unwrap();
    assert!(ring.publish());
    assert_eq!(driver.take_used(), Some((id, 1, WRITE)));
}

#[test]
fn a_chain_given_back_to_an_unbound_ring_is_lost_and_counted() {
    let mut driver = PackedDriver::new(8, FLAGS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    driver.add(&request()).unwrap();
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    ring.unbind();
    ring.push(head, 108);
    assert_eq!((ring.in_flight(), ring.publish(), driver.take_used()), (0, false, None));
}

#[test]
fn usual_chains_are_taken_in_whatever_regions_they_are() {
    // More than a ring remembers, so that most are met for the first time again and again.
    let place = |region: u64| 0x100_0000 + region % 200 * 0x4000;
    let regions = (0..200).map(|region| dma_region(place(region), 0x2000));
    let map = Arc::new(MemMap::new(regions.chain([dma_region(0, MEMORY_LEN)]).collect()));
    let mut driver = PackedDriver::in_map(map.clone(), 64, FLAGS);
    let (mut ring, mut batch) = (driver.ring(), [const { UsualChain::empty() }; 8]);
    for first in (0..200).step_by(8) {
        for region in (first..first + 8).map(|turn| turn * 7) {
            let (header, response) = (Buffer::readable(place(region), 51), Buffer::writable(place(region) + 51, 108));
            let data = Buffer::writable(place(region + 90) + 0x1000, 0x1000);
            match region % 3 {
                0 => driver.add(&[header, response, data]),
                1 => driver.add(&[header, response, data, Buffer::writable(place(region + 20), 512)]),
                _ => driver.add_indirect(place(region) + 0x200, &[header, response, data]),
            };
        }
        let _ = ring.look().expect("the ring is sound");
        assert_eq!(ring.pop_usual(&map, &mut batch), 8);
        for chain in &mut batch {
            assert_eq!((chain.readable().len(), chain.readable()[0].len()), (1, 51));
            let places = [&chain.readable()[0], &chain.writable()[0]].map(|segment| map.locate(segment).unwrap().0);
            assert_eq!((places[1] - places[0], chain.writable()[1].len()), (51, 0x1000));
            ring.push(chain.take_head(), 108);
        }
        let _ = ring.publish();
        (0..8).for_each(|_| assert!(driver.take_used().is_some()));
    }
}

#[test]
fn chains_of_three_go_around_rings_of_any_size() {
    let buffers = |at| [Buffer::readable(at, 51), Buffer::writable(at + 64, 108), Buffer::writable(at + 0x1000, 4096)];
    for (size, regions) in (1..20).map(|size| (size, 1)).chain([(7, 2), (16, 2)]) {
        let place = |turn: u64| if regions == 1 { DATA_AT } else { 0x100_0000 + turn % 2 * 0x10_0000 };
        let more = [0x100_0000, 0x110_0000].map(|start| dma_region(start, 0x4000));
        let map = Arc::new(MemMap::new(more.into_iter().chain([dma_region(0, MEMORY_LEN)]).collect()));
        let mut driver = PackedDriver::in_map(map.clone(), size, FLAGS);
        let (mut ring, mut batch) = (driver.ring(), [const { UsualChain::empty() }; 3]);
        for round in 0..4 * u64::from(size) {
            let ids: Vec<_> = (0..3).map_while(|turn| driver.add(&buffers(place(round + turn)))).collect();
            assert_eq!(ids.len(), usize::from(size / 3).min(3), "size {size} round {round}");
            assert_eq!(ring.pop_usual(&map, &mut batch), ids.len(), "size {size} round {round}");
            for (turn, chain) in (0..).zip(&batch[..ids.len()]) {
                let at = [&chain.readable()[0], &chain.writable()[1]].map(|one| map.locate(one).unwrap().0);
                assert_eq!(at, [place(round + turn), place(round + turn) + 0x1000]);
                assert_eq!((chain.total_len(), chain.writable()[0].len()), (51 + 108 + 4096, 108));
            }
            // As many at once as there are, or one after the other.
            match round % 2 {
                0 => ring.push_usual(&batch[..ids.len()], 4204),
                _ => batch[..ids.len()].iter().for_each(|chain| ring.push(chain.take_head(), 4204)),
            }
            let _ = ring.publish();
            let used: Vec<_> = std::iter::from_fn(|| driver.take_used()).collect();
            assert_eq!(
                used.iter().map(|used| (used.0, used.1)).collect::<Vec<_>>(),
                ids.iter().map(|id| (*id, 4204)).collect::<Vec<_>>()
            );
            assert_eq!((ring.in_flight(), ring.available()), (0, Ok(0)));
        }
    }
}

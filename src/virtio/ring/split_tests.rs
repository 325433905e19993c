//! What a driver sees of a ring that both sides use as they should.

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
fn serve(ring: &mut Ring, driver: &FakeDriver, chain: &mut Chain) -> bool {
    for _ in 0..ring.available().expect("the ring is sound") {
        let head = pop_one(ring, driver.map(), chain);
        ring.push(head, chain.writable_len() as u32);
    }
    ring.publish()
}

#[test]
fn a_batch_is_seen_when_it_is_published_and_not_before() {
    let mut driver = FakeDriver::new(8, FLAGS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(0));
    assert!(!ring.publish(), "there is nothing to interrupt for");
    let first = driver.add(&request()).unwrap();
    assert_eq!(ring.pop(driver.map(), &mut chain), Ok(Popped::Empty), "the batch was looked up before");
    let second = driver.add_indirect(DATA_AT + 0x1000, &[], &request()).unwrap();
    assert_eq!(ring.available(), Ok(2));
    let one = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!((one.id(), one.descriptors()), (first, 2));
    assert_eq!((chain.readable_len(), chain.writable_len()), (51, 108));
    let two = pop_one(&mut ring, driver.map(), &mut chain);
    assert_eq!((two.id(), two.descriptors(), ring.in_flight()), (second, 1, 2));
    assert_eq!((chain.readable_len(), chain.writable_len()), (51, 108));
    // Out of order is as good.
    ring.push(two, 12);
    ring.push(one, 108);
    assert_eq!((driver.used_idx(), ring.in_flight()), (0, 0));
    assert!(ring.publish());
    assert_eq!(driver.used_idx(), 2);
    assert_eq!(driver.take_used(), Some((second, 12)));
    assert_eq!(driver.take_used(), Some((first, 108)));
    assert_eq!(driver.take_used(), None);
    assert!(!ring.publish(), "nothing is new");
}

#[test]
fn segments_are_the_guests_own_memory() {
    let mut driver = FakeDriver::new(8, FLAGS);
    driver.write(DATA_AT, b"from the driver");
    driver.add(&[Buffer::readable(DATA_AT, 15), Buffer::readable(0, 0), Buffer::writable(DATA_AT + 0x100, 4)]).unwrap();
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(1));
    let _ = pop_one(&mut ring, driver.map(), &mut chain);
    let mut bytes = [0; 15];
    chain.readable()[0].read(0, &mut bytes);
    assert_eq!(&bytes, b"from the driver");
    chain.writable()[0].write(1, &[1, 2, 3]);
    assert_eq!(driver.read(DATA_AT + 0x100, 5), [0, 1, 2, 3, 0]);
    assert_eq!((chain.readable().len(), chain.writable().len()), (1, 1), "a buffer of no bytes adds nothing");
}

#[test]
fn indexes_go_around_at_65536() {
    let mut driver = FakeDriver::new(2, EVENTS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    for round in 0..70_000_u32 {
        let head = driver.add(&request()).expect("the descriptors came back");
        let old = (round as u16, round.wrapping_add(1) as u16);
        assert!(!driver.must_ring(old.0, old.1), "a polled ring needs no doorbell, not in round {round} either");
        driver.set_used_event(round as u16);
        assert!(serve(&mut ring, &driver, &mut chain));
        assert_eq!(driver.take_used(), Some((head, 108)));
    }
    assert_eq!(driver.used_idx(), 70_000_u32 as u16);
}

#[test]
fn the_driver_is_told_at_driver_ok_that_the_ring_is_polled() {
    for features in [FLAGS, EVENTS] {
        let driver = FakeDriver::new(8, features);
        let mut ring = Ring::split(driver.layout(), features, driver.map()).unwrap();
        let untouched = (driver.used_flags(), driver.avail_event());
        assert_eq!(untouched, (0, 0), "not before");
        ring.start();
        assert!(!driver.must_ring(0, 1));
        // With event indexes the flags stay 0.
        assert_eq!(driver.used_flags(), u16::from(!features.event_idx));
    }
}

#[test]
fn going_to_sleep_loses_no_doorbell() {
    for features in [FLAGS, EVENTS] {
        let mut driver = FakeDriver::new(8, features);
        let (mut ring, mut chain) = (driver.ring(), Chain::new());
        driver.add(&request()).unwrap();
        serve(&mut ring, &driver, &mut chain);
        driver.take_used();
        // Made available while nobody looked: seen by the look that follows.
        driver.add(&request()).unwrap();
        assert_eq!(ring.enable_notify(), Ok(true));
        serve(&mut ring, &driver, &mut chain);
        assert_eq!(ring.enable_notify(), Ok(false));
        // From now on the driver rings for the next one.
        assert!(driver.must_ring(2, 3));
        ring.disable_notify();
        assert!(!driver.must_ring(2, 3) && !driver.must_ring(2, 10));
    }
}

#[test]
fn a_broken_index_is_seen_on_the_way_to_sleep() {
    let mut driver = FakeDriver::new(8, FLAGS);
    let mut ring = driver.ring();
    driver.set_avail_idx(9);
    assert_eq!(ring.enable_notify(), Err(RingError::AvailJump { ahead: 9, room: 8 }));
}

#[test]
fn interrupts_are_asked_for_by_flag() {
    let mut driver = FakeDriver::new(8, FLAGS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    for no_interrupt in [false, true, false] {
        driver.set_no_interrupt(no_interrupt);
        driver.add(&request()).unwrap();
        assert_eq!(serve(&mut ring, &driver, &mut chain), !no_interrupt);
        driver.take_used();
    }
}

#[test]
fn interrupts_are_asked_for_by_index_over_the_whole_batch() {
    let mut driver = FakeDriver::new(8, EVENTS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    // The flag means nothing here.
    driver.set_no_interrupt(true);
    let mut published = 0;
    for (batch, used_event, wanted) in [(1, 0, true), (2, 3, false), (1, 3, true), (4, 5, true), (3, 7, false)] {
        driver.set_used_event(used_event);
        for _ in 0..batch {
            driver.add(&request()[..1]).unwrap();
        }
        assert_eq!(serve(&mut ring, &driver, &mut chain), wanted, "from {published}, event {used_event}");
        published += batch;
        while driver.take_used().is_some() {}
    }
}

#[test]
fn memory_may_go_and_come_back_under_a_live_ring() {
    for features in [FLAGS, EVENTS] {
        let mut driver = FakeDriver::new(8, features);
        let (mut ring, mut chain) = (driver.ring(), Chain::new());
        for _ in 0..3 {
            driver.add(&request()).unwrap();
            serve(&mut ring, &driver, &mut chain);
        }
        while driver.take_used().is_some() {}
        driver.add(&request()).unwrap();
        assert_eq!(ring.available(), Ok(1));
        ring.unbind();
        assert!(!ring.is_bound());
        // Paused: nothing is seen, nothing is written.
        driver.write(driver.layout().used.0, &[0; 2]);
        assert_eq!(ring.pop(driver.map(), &mut chain), Ok(Popped::Empty));
        assert_eq!((ring.available(), ring.enable_notify()), (Ok(0), Ok(false)));
        ring.disable_notify();
        assert!(!ring.publish());
        let elsewhere = MemMap::new(vec![crate::dma::testing::region(0x100_0000, 0x1000)]);
        assert!(ring.rebind(&elsewhere).is_err() && !ring.is_bound());
        assert_eq!(driver.used_flags(), 0);

        ring.rebind(driver.map()).unwrap();
        assert!(!driver.must_ring(3, 4), "still polled");
        assert_eq!(ring.available(), Ok(1));
        serve(&mut ring, &driver, &mut chain);
        assert_eq!((driver.used_idx(), driver.take_used().is_some()), (4, true));
    }
}

#[test]
fn a_chain_given_back_to_an_unbound_ring_is_lost_and_counted() {
    let mut driver = FakeDriver::new(8, FLAGS);
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    driver.add(&request()).unwrap();
    assert_eq!(ring.available(), Ok(1));
    let head = pop_one(&mut ring, driver.map(), &mut chain);
    ring.unbind();
    ring.push(head, 108);
    assert_eq!((ring.in_flight(), ring.publish(), driver.used_idx()), (0, false, 0));
}

#[test]
fn usual_chains_are_taken_in_whatever_regions_they_are() {
    // More than a ring remembers, so that most are met for the first time again and again.
    let place = |region: u64| 0x100_0000 + region % 200 * 0x4000;
    let regions = (0..200).map(|region| dma_region(place(region), 0x2000));
    let map = Arc::new(MemMap::new(regions.chain([dma_region(0, MEMORY_LEN)]).collect()));
    let mut driver = FakeDriver::in_map(map.clone(), FakeDriver::layout_at(RING_AT, 64), FLAGS);
    let (mut ring, mut batch) = (driver.ring(), [const { UsualChain::empty() }; 8]);
    for first in (0..200).step_by(8) {
        for region in (first..first + 8).map(|turn| turn * 7) {
            let (header, response) = (Buffer::readable(place(region), 51), Buffer::writable(place(region) + 51, 108));
            let data = Buffer::writable(place(region + 90) + 0x1000, 0x1000);
            match region % 3 {
                0 => driver.add(&[header, response, data]),
                1 => driver.add(&[header, response, data, Buffer::writable(place(region + 20), 512)]),
                _ => driver.add_indirect(place(region) + 0x200, &[], &[header, response, data]),
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

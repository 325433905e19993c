//! A packed ring against a model of what it should do: a driver that keeps book of every chain, a device that ends them in
//! any order and publishes when it likes.

use proptest::prelude::*;

use super::testing::packed::*;
use super::testing::*;
use super::*;

const STEPS: usize = 60;

#[derive(Debug, Clone)]
enum Step {
    /// The driver makes a chain available, if there is room.
    Add { readable: usize, writable: usize, indirect: bool },
    /// The device takes a chain, if there is one.
    Pop,
    /// The device ends the chain that is so far on in those that it has.
    Push { place: usize, written: u32 },
    /// The device shows what it has ended; before, the driver says when it wants an interrupt.
    Publish { flags: u16, event: u64 },
    /// The driver takes back so many chains at most.
    Collect { most: usize },
    /// The memory goes and comes back.
    Rebind,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..3_usize, 0..3_usize, any::<bool>())
            .prop_map(|(readable, writable, indirect)| Step::Add { readable, writable, indirect }),
        6 => Just(Step::Pop),
        6 => (0..8_usize, 0..300_u32).prop_map(|(place, written)| Step::Push { place, written }),
        3 => (0..3_u16, 0..12_u64).prop_map(|(flags, event)| Step::Publish { flags, event }),
        3 => (1..4_usize).prop_map(|most| Step::Collect { most }),
        1 => Just(Step::Rebind),
    ]
}

/// A chain as the driver made it: id, descriptors in the ring, bytes of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Made {
    id: u16,
    descriptors: u16,
    lens: (u64, u64),
}

fn add(driver: &mut PackedDriver, readable: usize, writable: usize, indirect: bool) -> Option<Made> {
    let (r, w) = ((0..readable).map(|n| 10 + n as u32), (0..writable).map(|n| 100 + n as u32));
    let lens = (r.clone().map(u64::from).sum(), w.clone().map(u64::from).sum());
    let buffers: Vec<_> =
        r.map(|len| Buffer::readable(DATA_AT, len)).chain(w.map(|len| Buffer::writable(DATA_AT, len))).collect();
    let (made, id) = (driver.made, driver.free_id()?);
    let id_added = if indirect {
        driver.add_indirect(DATA_AT + 0x1000 + 0x100 * u64::from(id), &buffers)?
    } else {
        driver.add(&buffers)?
    };
    assert_eq!(id, id_added);
    Some(Made { id, descriptors: (driver.made - made) as u16, lens })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn every_chain_comes_once_and_goes_once(
        steps in prop::collection::vec(step(), STEPS),
        (size, event_idx) in (1..9_u16, any::<bool>()),
    ) {
        let mut driver = PackedDriver::new(size, RingFeatures { event_idx, indirect: true });
        let (mut ring, mut chain) = (driver.ring(), Chain::new());
        // Where each chain is: with the driver's offers, with the device, ended, shown.
        let (mut offered, mut held, mut ended, mut shown) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut published = 0;
        for step in steps {
            match step {
                Step::Add { readable, writable, indirect } => {
                    offered.extend(add(&mut driver, readable, writable, indirect));
                }
                Step::Pop => {
                    prop_assert_eq!(usize::from(ring.available().expect("the ring is sound")), offered.len());
                    match ring.pop(driver.map(), &mut chain).expect("the ring is sound") {
                        Popped::Chain(head) => {
                            let lens = (chain.readable_len(), chain.writable_len());
                            let found = Made { id: head.id(), descriptors: head.descriptors(), lens };
                            prop_assert_eq!(found, offered.remove(0));
                            held.push(head);
                        }
                        other => {
                            prop_assert_eq!(other, Popped::Empty);
                            prop_assert!(offered.is_empty());
                        }
                    }
                }
                Step::Push { place, written } if !held.is_empty() => {
                    let head = held.remove(place % held.len());
                    ended.push((head.id(), written, head.descriptors()));
                    ring.push(head, written);
                }
                Step::Push { .. } => {}
                Step::Publish { flags, event } => {
                    let event = published + event % (2 * u64::from(size));
                    driver.set_event(flags, event);
                    let count: u64 = ended.iter().map(|end| u64::from(end.2)).sum();
                    let wanted = match flags {
                        DISABLE => false,
                        DESC if event_idx => (published..published + count).contains(&event),
                        _ => count > 0,
                    };
                    prop_assert_eq!(ring.publish(), wanted);
                    published += count;
                    shown.append(&mut ended);
                }
                Step::Collect { most } => {
                    for _ in 0..most {
                        let expected = (!shown.is_empty()).then(|| shown.remove(0));
                        let expected = expected.map(|(id, len, _)| (id, len, if len > 0 { WRITE } else { 0 }));
                        prop_assert_eq!(driver.take_used(), expected);
                    }
                }
                Step::Rebind => {
                    ring.unbind();
                    ring.rebind(driver.map()).expect("the memory is there");
                }
            }
            prop_assert_eq!(usize::from(ring.in_flight()), held.len());
        }
    }
}

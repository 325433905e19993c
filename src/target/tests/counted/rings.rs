//! Taking chains from a ring and giving them back.

use super::measure;
use crate::virtio::ring::testing::packed::PackedDriver;
use crate::virtio::ring::testing::{Buffer, DATA_AT, FakeDriver};
use crate::virtio::ring::{Chain, Head, Popped, Ring, RingFeatures};

const FEATURES: RingFeatures = RingFeatures { event_idx: true, indirect: true };
const SIZE: u16 = 64;
/// Chains in each batch.
const BATCH: usize = 16;
/// Where the tables of indirect chains are.
const TABLES_AT: u64 = DATA_AT + 0x8000;

/// The driver of a ring of either format.
enum Driver {
    Split(FakeDriver),
    Packed(PackedDriver),
}

struct State {
    driver: Driver,
    ring: Ring,
    chain: Chain,
    heads: Vec<Head>,
    indirect: bool,
}

pub(super) fn measure_all() {
    for (name, packed, indirect) in [
        ("ring: a chain of a split ring, taken and given back", false, false),
        ("ring: the same with an indirect table", false, true),
        ("ring: a chain of a packed ring, taken and given back", true, false),
        ("ring: the same with an indirect table, packed", true, true),
    ] {
        measure(name, BATCH, State::new(packed, indirect), State::prepare, State::step);
    }
}

/// A read of 4 KiB: request header, response, data.
fn request() -> [Buffer; 3] {
    let (header, response) = (Buffer::readable(DATA_AT, 51), Buffer::writable(DATA_AT + 0x100, 108));
    [header, response, Buffer::writable(DATA_AT + 0x1000, 4096)]
}

impl State {
    fn new(packed: bool, indirect: bool) -> Self {
        let (driver, ring) = if packed {
            let driver = PackedDriver::new(SIZE, FEATURES);
            let ring = driver.ring();
            (Driver::Packed(driver), ring)
        } else {
            let driver = FakeDriver::new(SIZE, FEATURES);
            let ring = driver.ring();
            (Driver::Split(driver), ring)
        };
        Self { driver, ring, chain: Chain::new(), heads: Vec::with_capacity(BATCH), indirect }
    }

    fn prepare(&mut self) {
        match &mut self.driver {
            Driver::Split(driver) => while driver.take_used().is_some() {},
            Driver::Packed(driver) => while driver.take_used().is_some() {},
        }
        for turn in 0..BATCH as u64 {
            let (table, request) = (TABLES_AT + turn * 0x100, request());
            let added = match (&mut self.driver, self.indirect) {
                (Driver::Split(driver), false) => driver.add(&request),
                (Driver::Split(driver), true) => driver.add_indirect(table, &[], &request),
                (Driver::Packed(driver), false) => driver.add(&request),
                (Driver::Packed(driver), true) => driver.add_indirect(table, &request),
            };
            added.expect("there is room");
        }
    }

    fn step(&mut self) {
        let Self { driver, ring, chain, heads, .. } = self;
        let map = match driver {
            Driver::Split(driver) => driver.map(),
            Driver::Packed(driver) => driver.map(),
        };
        let _ = ring.look().expect("the ring is sound");
        while heads.len() < BATCH {
            match ring.pop(map, chain) {
                Ok(Popped::Chain(head)) => heads.push(head),
                other => panic!("a chain was expected, not {other:?}"),
            }
        }
        heads.drain(..).for_each(|head| ring.push(head, 4204));
        let _ = ring.publish();
    }
}

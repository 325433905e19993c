//! Taking chains from a ring and giving them back.

use std::sync::Arc;

use super::measure;
use crate::dma::{MemMap, testing};
use crate::virtio::ring::testing::either::EitherDriver;
use crate::virtio::ring::testing::{Buffer, DATA_AT, MEMORY_LEN, RING_AT};
use crate::virtio::ring::{Ring, RingFeatures, UsualChain};

const FEATURES: RingFeatures = RingFeatures { event_idx: true, indirect: true };
const SIZE: u16 = 64;
/// Chains in each batch.
const BATCH: usize = 16;
/// Where the tables of indirect chains are.
const TABLES_AT: u64 = DATA_AT + 0x8000;

struct State {
    driver: EitherDriver,
    ring: Ring,
    batch: [UsualChain; BATCH],
    indirect: bool,
    regions: u64,
}

pub(super) fn measure_all() {
    for (name, packed, indirect, regions) in [
        ("ring: a chain of a split ring, taken and given back", false, false, 1),
        ("ring: the same with an indirect table", false, true, 1),
        ("ring: the same in 32 regions", false, false, 32),
        ("ring: a chain of a packed ring, taken and given back", true, false, 1),
        ("ring: the same with an indirect table, packed", true, true, 1),
    ] {
        measure(name, BATCH, State::new(packed, indirect, regions), State::prepare, State::step);
    }
}

/// From here on there are regions, as far from each other as they are long.
const REGIONS_AT: u64 = 1 << 32;
const REGION_LEN: u64 = 0x2000;

/// A read of 4 KiB: request header, response, data in another region, if there are several.
fn request(turn: u64, regions: u64) -> [Buffer; 3] {
    let place = |turn| if regions == 1 { DATA_AT } else { REGIONS_AT + turn % regions * 2 * REGION_LEN };
    let at = place(turn * 7);
    let data = Buffer::writable(place(turn * 7 + 1) + 0x1000, 4096);
    [Buffer::readable(at, 51), Buffer::writable(at + 0x100, 108), data]
}

impl State {
    fn new(packed: bool, indirect: bool, regions: u64) -> Self {
        let more = (0..regions).map(|place| testing::region(REGIONS_AT + place * 2 * REGION_LEN, REGION_LEN as usize));
        let map = Arc::new(MemMap::new(more.chain([testing::region(0, MEMORY_LEN)]).collect()));
        let driver = EitherDriver::in_map(map, RING_AT, SIZE, FEATURES, packed);
        let mut ring = driver.ring_in(driver.map(), FEATURES);
        ring.start();
        Self { driver, ring, batch: [const { UsualChain::empty() }; BATCH], indirect, regions }
    }

    fn prepare(&mut self) {
        while self.driver.take_used().is_some() {}
        for turn in 0..BATCH as u64 {
            let (table, request) = (TABLES_AT + turn * 0x100, request(turn, self.regions));
            let added =
                if self.indirect { self.driver.add_indirect(table, &request) } else { self.driver.add(&request) };
            added.expect("there is room");
        }
    }

    fn step(&mut self) {
        let Self { driver, ring, batch, .. } = self;
        let _ = ring.look().expect("the ring is sound");
        assert_eq!(ring.pop_usual(driver.map(), batch), BATCH, "chains as they are usual");
        ring.push_usual(batch, 4204);
        let _ = ring.publish();
    }
}

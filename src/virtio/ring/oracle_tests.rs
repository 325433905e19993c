//! The same requests through `virtio-queue`, an independent device side: both must see the same chains, write the same
//! used ring and want the same interrupts.

use std::ptr::NonNull;
use std::sync::Arc;

use proptest::prelude::*;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

use super::testing::*;
use super::*;
use crate::dma::{Mapping, Region};

/// Guest memory is in two regions that touch, and a third behind a hole.
const REGIONS: [(u64, usize); 3] = [(0, 0x2_0000), (0x2_0000, 0x2_0000), (0x10_0000, 0x2_0000)];
const ROUNDS: usize = 6;

/// One region of memory that `vm-memory` made.
#[derive(Debug)]
struct Foreign(Arc<GuestMemoryMmap>, u64);

impl Mapping for Foreign {
    fn base(&self) -> NonNull<u8> {
        NonNull::new(self.0.get_host_address(GuestAddress(self.1)).expect("mapped")).expect("mapped")
    }
    fn is_shared(&self) -> bool {
        true
    }
}

/// A driver with memory that both implementations can work on.
fn driver(size: u16, features: RingFeatures) -> (FakeDriver, Arc<GuestMemoryMmap>) {
    let ranges = REGIONS.map(|(start, len)| (GuestAddress(start), len));
    let memory = Arc::new(GuestMemoryMmap::<()>::from_ranges(&ranges).expect("there is memory"));
    let region = |(start, len): (u64, usize)| Region {
        start: Gpa(start),
        len: len as u64,
        readable: true,
        writable: true,
        mapping: Arc::new(Foreign(memory.clone(), start)),
    };
    let map = Arc::new(MemMap::new(REGIONS.map(region).into()));
    (FakeDriver::in_map(map, FakeDriver::layout_at(RING_AT, size), features), memory)
}

fn oracle(layout: RingLayout, features: RingFeatures) -> Queue {
    let mut queue = Queue::new(layout.size).expect("the size is legal");
    queue.try_set_desc_table_address(GuestAddress(layout.desc.0)).expect("aligned");
    queue.try_set_avail_ring_address(GuestAddress(layout.avail.0)).expect("aligned");
    queue.try_set_used_ring_address(GuestAddress(layout.used.0)).expect("aligned");
    queue.set_event_idx(features.event_idx);
    queue.set_ready(true);
    queue
}

#[derive(Debug, Clone)]
struct Request {
    direct: Vec<Buffer>,
    indirect: Vec<Buffer>,
    written: u32,
}

fn buffer(writable: bool) -> impl Strategy<Value = Buffer> {
    // Some cross from the first region to the second, some have no bytes.
    let gpa =
        prop_oneof![0x1_0000..0x1_f000_u64, 0x1_f000..0x2_0000_u64, 0x2_0000..0x2_f000_u64, 0x10_0000..0x11_f000_u64];
    let len = prop_oneof![1 => Just(0), 9 => 1..0x1000_u32];
    (gpa, len).prop_map(move |(gpa, len)| Buffer { gpa, len, writable })
}

fn request() -> impl Strategy<Value = Request> {
    let buffers = (prop::collection::vec(buffer(false), 1..4), prop::collection::vec(buffer(true), 0..4));
    (buffers, 0..8_usize, any::<u32>()).prop_map(|((readable, writable), direct, written)| {
        let mut direct_part = readable;
        direct_part.extend(writable);
        let indirect = direct_part.split_off(direct.min(direct_part.len()));
        Request { direct: direct_part, indirect, written }
    })
}

/// Makes as many requests available as the ring has room for. Each has a table of its own.
fn offer<'a>(driver: &mut FakeDriver, requests: &'a [Request]) -> Vec<(u16, &'a Request)> {
    let mut offered = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let head = if request.indirect.is_empty() {
            driver.add(&request.direct)
        } else {
            driver.add_indirect(0x3_0000 + 0x100 * index as u64, &request.direct, &request.indirect)
        };
        let Some(head) = head else { break };
        offered.push((head, request));
    }
    offered
}

/// Cuts a guest range at the borders of regions, as a translation has to.
fn cut(gpa: u64, len: u32) -> Vec<(u64, usize)> {
    let border = REGIONS[1].0;
    let parts = if gpa < border && gpa + u64::from(len) > border {
        vec![(gpa, (border - gpa) as usize), (border, (gpa + u64::from(len) - border) as usize)]
    } else {
        vec![(gpa, len as usize)]
    };
    parts.into_iter().filter(|part| part.1 > 0).collect()
}

/// Segments as guest ranges.
fn ranges(memory: &GuestMemoryMmap, segments: &[bdev::Segment]) -> Vec<(u64, usize)> {
    let host = |gpa| memory.get_host_address(GuestAddress(gpa)).expect("mapped") as usize;
    let to_gpa = |at: usize| {
        let region = REGIONS.iter().find(|(start, len)| at.wrapping_sub(host(*start)) < *len);
        let start = region.expect("a segment is inside a region").0;
        start + (at - host(start)) as u64
    };
    segments.iter().map(|segment| (to_gpa(segment.as_ptr() as usize), segment.len())).collect()
}

/// What one side saw of a chain: head, readable ranges, writable ranges.
type Seen = (u16, Vec<(u64, usize)>, Vec<(u64, usize)>);

fn pass(ring: &mut Ring, driver: &FakeDriver, memory: &GuestMemoryMmap, written: &[u32]) -> (Vec<Seen>, bool) {
    let (mut chain, mut seen) = (Chain::new(), Vec::new());
    let count = ring.available().expect("the ring is sound");
    for written in &written[..usize::from(count)] {
        let head = pop_one(ring, driver.map(), &mut chain);
        seen.push((head.id(), ranges(memory, chain.readable()), ranges(memory, chain.writable())));
        ring.push(head, *written);
    }
    (seen, ring.publish())
}

fn oracle_pass(queue: &mut Queue, memory: &GuestMemoryMmap, written: &[u32]) -> (Vec<Seen>, bool) {
    let chains: Vec<_> = queue.iter(memory).expect("the ring is sound").collect();
    let mut seen = Vec::new();
    for (chain, written) in chains.into_iter().zip(written) {
        let (head, mut readable, mut writable) = (chain.head_index(), Vec::new(), Vec::new());
        for descriptor in chain {
            let part = if descriptor.is_write_only() { &mut writable } else { &mut readable };
            part.extend(cut(descriptor.addr().raw_value(), descriptor.len()));
        }
        seen.push((head, readable, writable));
        queue.add_used(memory, head, *written).expect("the ring is sound");
    }
    let wanted = !seen.is_empty() && queue.needs_notification(memory).expect("the ring is sound");
    (seen, wanted)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn both_see_and_write_the_same(
        rounds in prop::collection::vec((prop::collection::vec(request(), 0..12), -3..3_i16), ROUNDS),
        (size_log2, event_idx) in (2..6_u32, any::<bool>()),
    ) {
        let features = RingFeatures { event_idx, indirect: true };
        let size = 1 << size_log2;
        let ((mut ours, our_memory), (mut theirs, their_memory)) = (driver(size, features), driver(size, features));
        let mut ring = ours.ring();
        let mut queue = oracle(theirs.layout(), features);
        for (requests, event_offset) in &rounds {
            let offered = offer(&mut ours, requests);
            offer(&mut theirs, requests);
            let event = ours.used_idx().wrapping_add_signed(*event_offset);
            ours.set_used_event(event);
            theirs.set_used_event(event);

            let written: Vec<_> = offered.iter().map(|(_, request)| request.written).collect();
            let (seen, wanted) = pass(&mut ring, &ours, &our_memory, &written);
            prop_assert_eq!(&(seen, wanted), &oracle_pass(&mut queue, &their_memory, &written));
            prop_assert_eq!(ours.used_idx(), theirs.used_idx());
            for (head, request) in offered {
                let used = ours.take_used();
                prop_assert_eq!(used, Some((head, request.written)));
                prop_assert_eq!(used, theirs.take_used());
            }
        }
    }
}

//! Whatever bytes a ring is made of: nothing panics, nothing goes on for ever, no segment leaves the guest's memory.

use proptest::prelude::*;

use super::testing::*;
use super::*;

const SIZE: u16 = 16;
const PASSES: usize = 8;

/// A descriptor, often nearly right.
fn descriptor() -> impl Strategy<Value = (Buffer, u16, u16)> {
    let gpa = prop_oneof![
        6 => 0..MEMORY_LEN as u64,
        2 => (0..64_u64).prop_map(|back| MEMORY_LEN as u64 - back),
        1 => any::<u64>(),
    ];
    let len = prop_oneof![6 => (0..64_u32).prop_map(|count| 16 * count), 3 => 0..0x4000_u32, 1 => any::<u32>()];
    let flags = prop_oneof![5 => Just(0), 5 => Just(NEXT), 4 => Just(INDIRECT), 1 => any::<u16>()];
    let next = prop_oneof![9 => 0..SIZE, 1 => any::<u16>()];
    (gpa, len, any::<bool>(), flags, next)
        .prop_map(|(gpa, len, writable, flags, next)| (Buffer { gpa, len, writable }, flags, next))
}

/// The segments of a chain are in the memory of [`FakeDriver::new`], and its lengths are theirs.
pub(super) fn check_inside(map: &MemMap, chain: &Chain) {
    let memory = map.contiguous(Gpa(0), MEMORY_LEN as u64, crate::dma::Access::Read).expect("it is there");
    let (start, end) = (memory.as_ptr() as usize, memory.as_ptr() as usize + memory.len());
    for segment in chain.readable().iter().chain(chain.writable()) {
        let at = segment.as_ptr() as usize;
        assert!(at >= start && segment.len() <= end - at && !segment.is_empty());
    }
    let len = |segments: &[bdev::Segment]| bdev::segment::total_len(segments);
    assert_eq!((len(chain.readable()), len(chain.writable())), (chain.readable_len(), chain.writable_len()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn nothing_leaves_the_map(
        table in prop::collection::vec(descriptor(), SIZE as usize),
        elsewhere in prop::collection::vec(descriptor(), 64),
        elsewhere_at in 0..MEMORY_LEN as u64 - 1024,
        heads in prop::collection::vec(prop_oneof![15 => 0..SIZE, 1 => any::<u16>()], SIZE as usize),
        (ahead, event_idx) in (0..=SIZE + 1, any::<bool>()),
    ) {
        let mut driver = FakeDriver::new(SIZE, RingFeatures { event_idx, indirect: true });
        for (index, (buffer, flags, next)) in (0..).zip(elsewhere) {
            driver.write_descriptor(elsewhere_at, index, buffer, flags, next);
        }
        for (index, (mut buffer, flags, next)) in (0..).zip(table) {
            if flags & INDIRECT != 0 && buffer.gpa % 3 != 0 {
                buffer.gpa = elsewhere_at;
            }
            driver.descriptor(index, buffer, flags, next);
        }
        let (mut ring, mut chain) = (driver.ring(), Chain::new());
        heads.iter().for_each(|head| driver.offer(*head));
        driver.set_avail_idx(ahead);
        for _ in 0..PASSES {
            let Ok(count) = ring.available() else { return Ok(()) };
            prop_assert!(count <= SIZE);
            for _ in 0..count {
                match ring.pop(driver.map(), &mut chain) {
                    Ok(Popped::Chain(head)) => {
                        prop_assert!(head.id() < SIZE && (1..=SIZE).contains(&head.descriptors()));
                        check_inside(driver.map(), &chain);
                        ring.push(head, 0);
                    }
                    Ok(other) => panic!("{other:?} before the end of the batch"),
                    Err(RingError::Chain { .. } | RingError::HeadOutOfRange { .. }) => return Ok(()),
                    Err(other) => panic!("{other} is no fault of a chain"),
                }
            }
            let _ = ring.publish();
            driver.set_avail_idx(driver.used_idx().wrapping_add(ahead));
        }
    }

    #[test]
    fn random_bytes_break_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0x1000),
        layout_at in 0..0x80_u64,
    ) {
        let driver = FakeDriver::new(SIZE, RingFeatures::default());
        driver.write(RING_AT, &bytes);
        let layout = FakeDriver::layout_at(RING_AT + 16 * layout_at, SIZE);
        let features = RingFeatures { event_idx: true, indirect: true };
        let mut ring = Ring::split(layout, features, driver.map()).expect("aligned and mapped");
        ring.start();
        driver.write(layout.avail.0 + 2, &[SIZE as u8, 0]);
        prop_assert_eq!(ring.available(), Ok(SIZE));
        let mut chain = Chain::new();
        while let Ok(Popped::Chain(head)) = ring.pop(driver.map(), &mut chain) {
            check_inside(driver.map(), &chain);
            ring.push(head, u32::MAX);
        }
        let _ = ring.publish();
        let _ = ring.enable_notify();
    }
}

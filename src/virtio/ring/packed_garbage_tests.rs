//! Whatever bytes a packed ring is made of: nothing panics, nothing goes on for ever, no segment leaves the guest's memory.

use proptest::prelude::*;

use super::garbage_tests::check_inside;
use super::testing::packed::*;
use super::testing::*;
use super::*;

const SIZE: u16 = 12;
const PASSES: usize = 8;

/// A descriptor, often nearly right.
fn descriptor() -> impl Strategy<Value = (Buffer, u16, u16)> {
    let gpa = prop_oneof![
        6 => 0..MEMORY_LEN as u64,
        2 => (0..64_u64).prop_map(|back| MEMORY_LEN as u64 - back),
        1 => any::<u64>(),
    ];
    let len = prop_oneof![6 => (0..64_u32).prop_map(|count| 16 * count), 3 => 0..0x4000_u32, 1 => any::<u32>()];
    let marks = prop_oneof![9 => Just(AVAIL), 3 => Just(USED), 1 => Just(0), 1 => Just(AVAIL | USED)];
    let flags = prop_oneof![8 => Just(0), 5 => Just(NEXT), 4 => Just(INDIRECT), 1 => any::<u16>()];
    let id = prop_oneof![15 => 0..SIZE, 1 => any::<u16>()];
    (gpa, len, any::<bool>(), id, (marks, flags))
        .prop_map(|(gpa, len, writable, id, (marks, flags))| (Buffer { gpa, len, writable }, id, marks | flags))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn nothing_leaves_the_map(
        passes in prop::collection::vec(prop::collection::vec(descriptor(), SIZE as usize), PASSES),
        elsewhere in prop::collection::vec(descriptor(), 64),
        events in prop::collection::vec(any::<u32>(), PASSES),
        keep in any::<u8>(),
    ) {
        let driver = PackedDriver::new(SIZE, RingFeatures { event_idx: true, indirect: true });
        let (mut ring, mut chain, mut heads) = (driver.ring(), Chain::new(), Vec::new());
        for (index, (buffer, id, flags)) in (0..).zip(elsewhere) {
            driver.write_descriptor(DATA_AT, index, buffer, id, flags);
        }
        for (descriptors, event) in passes.into_iter().zip(events) {
            for (index, (mut buffer, id, flags)) in (0..).zip(descriptors) {
                if flags & INDIRECT != 0 && buffer.gpa % 3 != 0 {
                    buffer.gpa = DATA_AT;
                }
                driver.write_descriptor(driver.layout().desc.0, index, buffer, id, flags);
            }
            driver.write(driver.layout().avail.0, &event.to_le_bytes());
            let Ok(count) = ring.look() else { return Ok(()) };
            prop_assert!(ring.available().expect("looked at") <= count && count <= SIZE);
            for _ in 0..count {
                match ring.pop(driver.map(), &mut chain) {
                    Ok(Popped::Chain(head)) => {
                        prop_assert!(head.id() < SIZE && (1..=SIZE).contains(&head.descriptors()));
                        check_inside(driver.map(), &chain);
                        heads.push(head);
                    }
                    Ok(Popped::Empty) => break,
                    Ok(other) => panic!("{other:?}: all memory is shared"),
                    Err(_) => return Ok(()),
                }
            }
            heads.drain(usize::from(keep % 3).min(heads.len())..).for_each(|head| ring.push(head, u32::MAX));
            let _ = ring.publish();
            let _ = ring.enable_notify();
        }
    }
}

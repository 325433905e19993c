use super::*;
use crate::virtio::ring::testing::chain_of;

const UNIT: Address = Address { target: 5, lun: 258 };

#[test]
fn events_are_sixteen_bytes() {
    let lun = [1, 5, 0x41, 2, 0, 0, 0, 0];
    for (event, missed, kind, lun, reason) in [
        (Event::Added(UNIT), false, [1, 0, 0, 0], lun, [1, 0, 0, 0]),
        (Event::Removed(UNIT), false, [1, 0, 0, 0], lun, [2, 0, 0, 0]),
        (Event::Reset(UNIT), true, [1, 0, 0, 0x80], lun, [0; 4]),
        (Event::Changed { unit: UNIT, asc: 0x2a, ascq: 0x09 }, false, [3, 0, 0, 0], lun, [0x2a, 0x09, 0, 0]),
        (Event::Notify { unit: UNIT, events: spec::ASYNC_MEDIA_CHANGE }, false, [2, 0, 0, 0], lun, [16, 0, 0, 0]),
        (Event::None, true, [0, 0, 0, 0x80], [0; 8], [0; 4]),
    ] {
        let (driver, chain, at) = chain_of(&[], &[3, 17]);
        assert_eq!(write_event(chain.writable(), event, missed), 16);
        let expected = [&kind[..], &lun, &reason, &[0xaa; 4]].concat();
        assert_eq!(driver.read(at, 20), expected, "{event:?}");
    }
}

#[test]
fn a_short_buffer_takes_what_it_can() {
    let (driver, chain, at) = chain_of(&[], &[15]);
    assert_eq!(write_event(chain.writable(), Event::Added(UNIT), false), 15);
    assert_eq!(driver.read(at + 15, 1), [0]);
}

use super::*;
use crate::target::disk::DiskIndex;

const AT: Address = Address { target: 2, lun: 0 };

fn shared_disk() -> [LunMap; 2] {
    let disk = Arc::new(Disk::of(Arc::new(bdev::NullBdev::new(1 << 20, 512).unwrap()), DiskIndex(0)));
    [(); 2].map(|()| LunMap::new(vec![Placement { address: AT, disk: disk.clone() }]))
}

#[test]
fn missing_units_and_targets_are_told_apart() {
    let [map, _] = shared_disk();
    assert!(map.find(Address { target: 0, lun: 0 }).is_none());
    assert!(map.find(Address { target: 3, lun: 0 }).is_none());
    let missing = map.entry(map.find(Address { target: 2, lun: 1 }).unwrap());
    assert!(missing.disk.is_none());
    assert_eq!(map.report(missing), [[0; 8]]);
    assert_eq!(map.max_target(), 2);
}

#[test]
fn well_known_units_report_a_target_or_all() {
    let disk = Arc::new(Disk::of(Arc::new(bdev::NullBdev::new(1 << 20, 512).unwrap()), DiskIndex(0)));
    let place = |target, lun| Placement { address: Address { target, lun }, disk: disk.clone() };
    let map = LunMap::new(vec![place(3, 300), place(0, 0), place(3, 1)]);
    let of_target = map.entry(map.find(Address { target: 3, lun: WELL_KNOWN_LUN }).unwrap());
    assert!(matches!(of_target.unit, Unit::WellKnown(_)));
    assert_eq!(map.report(of_target), [[0, 1, 0, 0, 0, 0, 0, 0], [0x41, 0x2c, 0, 0, 0, 0, 0, 0]]);
    assert!(map.find(Address { target: 1, lun: WELL_KNOWN_LUN }).is_none());
    let of_all = map.entry(map.well_known());
    let expected = [[1, 0, 0, 0, 0, 0, 0, 0], [1, 3, 0, 1, 0, 0, 0, 0], [1, 3, 0x41, 0x2c, 0, 0, 0, 0]];
    assert_eq!(map.report(of_all), expected);
    let mut fewer = map.clone();
    assert!(fewer.remove(Address { target: 3, lun: 1 }) && !fewer.remove(Address { target: 3, lun: 1 }));
    assert_eq!(fewer.report(fewer.entry(fewer.well_known())), [expected[0], expected[2]]);
    assert!(fewer.remove(Address { target: 3, lun: 300 }));
    assert_eq!((fewer.report(fewer.entry(fewer.well_known())), fewer.max_target()), (&expected[..1], 0));
    let none = LunMap::new(vec![]);
    assert!(none.report(none.entry(none.well_known())).is_empty());
}

#[test]
fn an_attention_is_taken_once() {
    let [map, _] = shared_disk();
    map.raise(Attention::PowerOn, |address| address == AT);
    let standing = &map.entry(map.find(AT).unwrap()).standing;
    assert!(standing.is_in_the_way());
    assert_eq!(standing.take_attention(), Some(Attention::PowerOn));
    assert!(!standing.is_in_the_way() && standing.take_attention().is_none());
}

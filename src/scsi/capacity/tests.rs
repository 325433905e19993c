use crate::scsi::testing::{data, disk, info};
use bdev::{Discard, Info};

const READ_CAPACITY_10: [u8; 10] = [0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn read_capacity_16(allocation_length: u8) -> [u8; 16] {
    [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, allocation_length, 0, 0]
}

#[test]
fn ten() {
    assert_eq!(data(&disk(&info()), &READ_CAPACITY_10), [0, 0, 0x03, 0xe7, 0, 0, 0x02, 0]);
    let large = Info { blocks: 0x1_0000_0000, block_size: 4096, ..info() };
    assert_eq!(data(&disk(&large), &READ_CAPACITY_10), [0xff, 0xff, 0xff, 0xff, 0, 0, 0x10, 0]);
    let larger = Info { blocks: 0x1_0000_0001, ..large };
    assert_eq!(data(&disk(&larger), &READ_CAPACITY_10)[..4], [0xff, 0xff, 0xff, 0xff]);
    let almost = Info { blocks: 0xffff_ffff, ..larger };
    assert_eq!(data(&disk(&almost), &READ_CAPACITY_10)[..4], [0xff, 0xff, 0xff, 0xfe]);
}

#[test]
fn sixteen() {
    let large = disk(&Info { blocks: 0x0001_0203_0405_0607, ..info() });
    let mut expected = vec![0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x06, 0, 0, 2, 0, 0, 0x03];
    expected.resize(32, 0);
    assert_eq!(data(&large, &read_capacity_16(32)), expected);
    assert_eq!(data(&large, &read_capacity_16(255)), expected);
    assert_eq!(data(&large, &read_capacity_16(12)), expected[..12]);
    assert_eq!(data(&large, &read_capacity_16(0)), [0_u8; 0]);
}

#[test]
fn space_that_can_be_given_back() {
    let management = |discard| data(&disk(&Info { discard, ..info() }), &read_capacity_16(32))[14];
    let discard = |zeroes| Some(Discard { granularity: 4096, alignment: 0, max: 1 << 30, zeroes });
    assert_eq!([None, discard(false), discard(true)].map(management), [0, 0x80, 0xc0]);
}

#[test]
fn the_exponent_fits_its_field() {
    let odd = disk(&Info { physical_exponent: 200, ..info() });
    assert_eq!(data(&odd, &read_capacity_16(32))[13], 0x0f);
}

#[test]
fn a_disk_without_blocks_does_not_wrap() {
    let empty = disk(&Info { blocks: 0, ..info() });
    assert_eq!(data(&empty, &read_capacity_16(8)), [0; 8]);
}

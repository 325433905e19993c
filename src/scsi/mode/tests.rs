use bdev::{Info, WriteCache};

use super::*;
use crate::scsi::testing::{data, disk, info, refused};

/// Behind the header of MODE SENSE (6): 1,000 blocks of 512 bytes.
const SHORT: [u8; 8] = [0, 0, 0x03, 0xe8, 0, 0, 0x02, 0];
const CACHING: [u8; 20] = [0x08, 0x12, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CONTROL: [u8; 12] = [0x0a, 0x0a, 0x02, 0x10, 0, 0, 0, 0, 0, 0, 0, 0];

fn six(byte_1: u8, page: u8, subpage: u8) -> [u8; 6] {
    [0x1a, byte_1, page, subpage, 255, 0]
}

fn ten(byte_1: u8, page: u8, subpage: u8) -> [u8; 10] {
    [0x5a, byte_1, page, subpage, 0, 0, 0, 0x10, 0, 0]
}

#[test]
fn six_with_all_pages() {
    let expected = [&[43, 0, 0x10, 8][..], &SHORT, &CACHING, &CONTROL].concat();
    let unit = disk(&info());
    assert_eq!(data(&unit, &six(0, 0x3f, 0)), expected);
    assert_eq!(data(&unit, &six(0, 0x3f, 0xff)), expected);
}

#[test]
fn one_page_without_block_descriptor() {
    let unit = disk(&info());
    assert_eq!(data(&unit, &six(0x08, 0x08, 0)), [&[23, 0, 0x10, 0][..], &CACHING].concat());
    assert_eq!(data(&unit, &six(0x08, 0x0a, 0)), [&[15, 0, 0x10, 0][..], &CONTROL].concat());
    assert_eq!(data(&unit, &six(0x08, 0x0a, 0xff)), [&[15, 0, 0x10, 0][..], &CONTROL].concat());
    assert_eq!(data(&unit, &ten(0x18, 0x0a, 0)), [&[0, 18, 0, 0x10, 0, 0, 0, 0][..], &CONTROL].concat());
}

#[test]
fn block_descriptors() {
    let unit = disk(&Info { blocks: 0x1_0000_0002, block_size: 4096, ..info() });
    let saturated = [0xff, 0xff, 0xff, 0xff, 0, 0, 0x10, 0];
    let short = [&[0, 26, 0, 0x10, 0, 0, 0, 8][..], &saturated, &CONTROL].concat();
    assert_eq!(data(&unit, &ten(0, 0x0a, 0)), short);
    let long = [0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0x10, 0];
    let long = [&[0, 34, 0, 0x10, 1, 0, 0, 16][..], &long, &CONTROL].concat();
    assert_eq!(data(&unit, &ten(0x10, 0x0a, 0)), long);
}

#[test]
fn nothing_can_be_changed() {
    let zeros = [&[0x08, 0x12][..], &[0; 18], &[0x0a, 0x0a], &[0; 10]].concat();
    assert_eq!(data(&disk(&info()), &six(0x08, 0x7f, 0)), [&[35, 0, 0x10, 0][..], &zeros].concat());
}

#[test]
fn defaults_are_what_is_in_force() {
    let unit = disk(&info());
    assert_eq!(data(&unit, &six(0, 0xbf, 0)), data(&unit, &six(0, 0x3f, 0)));
}

#[test]
fn nothing_is_saved() {
    let unit = disk(&info());
    for page in [0xff, 0xc8, 0xca] {
        assert_eq!(refused(&unit, &six(0, page, 0)), Sense::illegal(Asc(0x3900)));
        assert_eq!(refused(&unit, &ten(0, page, 0)), Sense::illegal(Asc(0x3900)));
    }
}

#[test]
fn write_protection_and_write_cache() {
    let unit = disk(&Info { read_only: true, write_cache: WriteCache::WriteThrough, ..info() });
    let bytes = data(&unit, &six(0x08, 0x08, 0));
    assert_eq!(bytes[..7], [23, 0, 0x90, 0, 0x08, 0x12, 0x00]);
    assert_eq!(data(&unit, &ten(0x08, 0x08, 0))[3], 0x90);
}

#[test]
fn unknown_pages_are_refused() {
    let unit = disk(&info());
    for page in (0..0x3f).filter(|page| ![0x08, 0x0a].contains(page)) {
        assert_eq!(refused(&unit, &six(0, page, 0)), Sense::invalid_field(2, Some(5)));
        assert_eq!(refused(&unit, &ten(0, page, 0xff)), Sense::invalid_field(2, Some(5)));
    }
    for page in [0x08, 0x0a, 0x3f] {
        for subpage in 1..0xff {
            assert_eq!(refused(&unit, &six(0, page, subpage)), Sense::invalid_field(3, None));
        }
    }
}

#[test]
fn the_data_length_is_that_of_the_whole() {
    let unit = disk(&info());
    assert_eq!(data(&unit, &[0x1a, 0, 0x3f, 0, 4, 0]), [43, 0, 0x10, 8]);
    assert_eq!(data(&unit, &[0x1a, 0, 0x3f, 0, 0, 0]), [0_u8; 0]);
    assert_eq!(data(&unit, &[0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 2, 0]), [0, 46]);
}

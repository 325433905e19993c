use bdev::{Info, WriteCache};

use super::*;
use crate::scsi::ModeValues;
use crate::scsi::testing::{disk, info};

const CACHING: [u8; 20] = [0x08, 0x12, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CONTROL: [u8; 12] = [0x0a, 0x0a, 0x22, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0];
const EXTENSION: [u8; 5] = [0x4a, 0x01, 0, 28, 0x06];

fn page<const N: usize>(mut bytes: [u8; N], changes: &[(usize, u8)]) -> Vec<u8> {
    changes.iter().for_each(|&(at, byte)| bytes[at] = byte);
    bytes.to_vec()
}

fn asked(ten: bool, sp: bool, list: &[u8]) -> Result<ModeChange, Sense> {
    let request = ModeSelect { ten, pf: true, sp, parameter_list_length: list.len() as u16 };
    select(&disk(&info()).medium(), &request, ModeState::default(), list)
}

fn six(pages: &[&[u8]]) -> Result<ModeChange, Sense> {
    asked(false, false, &[&[0; 4][..], &pages.concat()].concat())
}

fn ten(pages: &[&[u8]]) -> Result<ModeChange, Sense> {
    asked(true, false, &[&[0; 8][..], &pages.concat()].concat())
}

#[test]
fn what_can_be_changed_is_changed() {
    let control = ModeValues::D_SENSE.and(ModeValues::SWP).and(ModeValues::TAS);
    let cases = [
        (page(CACHING, &[(2, 0)]), ModeValues::WRITE_THROUGH, ModeValues::WRITE_THROUGH),
        (page(CACHING, &[]), ModeValues::WRITE_THROUGH, ModeValues::DEFAULT),
        (page(CONTROL, &[(2, 0x26)]), control, ModeValues::D_SENSE),
        (page(CONTROL, &[(4, 0x08)]), control, ModeValues::SWP),
        (page(CONTROL, &[(5, 0x40)]), control, ModeValues::TAS),
    ];
    for (bytes, mask, values) in cases {
        let expected = Ok(ModeChange::of(mask, values, false));
        assert_eq!(six(&[&bytes]), expected, "{bytes:x?}");
        assert_eq!(ten(&[&bytes]), expected, "{bytes:x?}");
        let ps = [&[bytes[0] | 0x80][..], &bytes[1..]].concat();
        assert_eq!(six(&[&ps]), expected, "PS as MODE SENSE gave it");
    }
    let both = six(&[&page(CACHING, &[(2, 0)]), &page(CONTROL, &[(2, 0x26), (4, 0x08), (5, 0x40)])]);
    let usual = [ModeValues::WRITE_THROUGH, ModeValues::D_SENSE, ModeValues::SWP, ModeValues::TAS];
    let usual = usual.into_iter().fold(ModeValues::DEFAULT, ModeValues::and);
    assert_eq!(both, Ok(ModeChange::of(usual, usual, false)));
}

#[test]
fn what_is_there_already_is_taken() {
    let unit = disk(&info()).medium();
    let state = ModeState { current: ModeValues::ALL, saved: ModeValues::DEFAULT };
    let all: Vec<u8> = pages(&unit).flat_map(|page| page.with(&unit, state.current).as_bytes().to_vec()).collect();
    let list = [&[0; 8][..], &all].concat();
    let request = ModeSelect { ten: true, pf: true, sp: false, parameter_list_length: list.len() as u16 };
    let change = select(&unit, &request, state, &list).unwrap();
    assert!(change.is_idle(state));
    assert!(!change.is_idle(ModeState::default()));
}

#[test]
fn saving() {
    let list = [&[0; 4][..], &page(CONTROL, &[(4, 0x08)])].concat();
    let change = asked(false, true, &list).unwrap();
    let state = ModeState::default().changed_by(change);
    assert_eq!((state.current, state.saved), (ModeValues::SWP, ModeValues::SWP));
    assert_eq!(asked(false, true, &[]), Ok(ModeChange::of(ModeValues::DEFAULT, ModeValues::DEFAULT, true)));
    assert_eq!(asked(true, false, &[]), Ok(ModeChange::default()));
}

#[test]
fn what_cannot_be_changed_is_pointed_to() {
    let cases: [(Vec<u8>, u16, u8); 6] = [
        (page(CACHING, &[(2, 0x05)]), 2, 0),
        (page(CACHING, &[(12, 0x60)]), 12, 6),
        (page(CONTROL, &[(3, 0x00)]), 3, 4),
        (page(CONTROL, &[(2, 0x02)]), 2, 5),
        (page(CONTROL, &[(5, 0x80)]), 5, 7),
        ([&EXTENSION[..], &[0x01], &[0; 26]].concat(), 5, 0),
    ];
    for (bytes, byte, bit) in cases {
        assert_eq!(six(&[&bytes]), Err(Sense::invalid_parameter(4 + byte, Some(bit))), "{bytes:x?}");
        let second = ten(&[&page(CACHING, &[(2, 0)]), &bytes]);
        assert_eq!(second, Err(Sense::invalid_parameter(28 + byte, Some(bit))), "{bytes:x?}");
    }
}

#[test]
fn a_device_without_a_cache_has_none_to_enable() {
    let unit = disk(&Info { write_cache: WriteCache::WriteThrough, ..info() }).medium();
    let ask = |wce| {
        let list = [&[0; 4][..], &page(CACHING, &[(2, wce)])].concat();
        let request = ModeSelect { ten: false, pf: true, sp: false, parameter_list_length: list.len() as u16 };
        select(&unit, &request, ModeState::default(), &list)
    };
    assert_eq!(ask(0x00), Ok(ModeChange::default()));
    assert_eq!(ask(0x04), Err(Sense::invalid_parameter(6, Some(2))));
}

#[test]
fn pages_that_are_not_there() {
    assert_eq!(six(&[&[0x03, 0]]), Err(Sense::invalid_parameter(4, Some(5))));
    assert_eq!(six(&[&[0x3f, 0]]), Err(Sense::invalid_parameter(4, Some(5))), "all pages cannot be selected");
    assert_eq!(six(&[&[0x4a, 0x02, 0, 28]]), Err(Sense::invalid_parameter(5, None)));
    assert_eq!(six(&[&[0x48, 0x01, 0, 28]]), Err(Sense::invalid_parameter(5, None)));
}

#[test]
fn page_lengths() {
    assert_eq!(six(&[&page(CACHING, &[(1, 0x11)])]), Err(Sense::invalid_parameter(5, None)));
    assert_eq!(six(&[&page(CONTROL, &[(1, 0xff)])]), Err(Sense::invalid_parameter(5, None)));
    let extension = [&[0x4a, 0x01, 0xff, 28][..], &[0; 28]].concat();
    assert_eq!(six(&[&extension]), Err(Sense::invalid_parameter(6, None)));
}

/// Every list that ends too early is told so, and never more than that.
#[test]
fn truncated_lists() {
    let pages = [&page(CACHING, &[])[..], &page(CONTROL, &[]), &EXTENSION, &[0; 27]].concat();
    let descriptor = [0, 0, 0, 0, 0, 0, 2, 0];
    let whole = [&[0, 0, 0, 8][..], &descriptor, &pages].concat();
    let between = [0, 12, 32, 44, 76];
    for len in 0..=whole.len() {
        let expected = if between.contains(&len) { None } else { Some(TOO_SHORT) };
        assert_eq!(asked(false, false, &whole[..len]).err(), expected, "{len} bytes");
    }
    let long = [&[0, 0, 0, 0, 1, 0, 0, 16][..], &[0; 16], &pages].concat();
    let between = [0, 24, 44, 56, 88];
    for len in 0..=long.len() {
        let expected = if between.contains(&len) { None } else { Some(TOO_SHORT) };
        assert_eq!(asked(true, false, &long[..len]).err(), expected, "{len} bytes");
    }
}

#[test]
fn headers_and_block_descriptors() {
    let descriptor = |blocks: [u8; 4], size: [u8; 3]| [&[0, 0, 0, 8][..], &blocks, &[0], &size].concat();
    for (blocks, size) in [([0; 4], [0; 3]), ([0, 0, 0x03, 0xe8], [0, 2, 0]), ([0xff; 4], [0, 2, 0])] {
        assert_eq!(asked(false, false, &descriptor(blocks, size)), Ok(ModeChange::default()));
    }
    assert_eq!(asked(false, false, &descriptor([0, 0, 0, 9], [0; 3])), Err(Sense::invalid_parameter(4, None)));
    assert_eq!(asked(false, false, &descriptor([0; 4], [0, 16, 0])), Err(Sense::invalid_parameter(9, None)));
    assert_eq!(asked(false, false, &[0, 1, 0, 0]), Err(Sense::invalid_parameter(1, None)));
    assert_eq!(asked(false, false, &[0, 0, 0, 7]), Err(Sense::invalid_parameter(3, None)));
    assert_eq!(asked(true, false, &[0, 0, 1, 0, 0, 0, 0, 0]), Err(Sense::invalid_parameter(2, None)));
    assert_eq!(asked(true, false, &[0, 0, 0, 0, 1, 0, 0, 8]), Err(Sense::invalid_parameter(6, None)));
    assert_eq!(asked(false, false, &[77, 0, 0x90, 0]), Ok(ModeChange::default()), "as MODE SENSE gave it");
    let long = |blocks: u64, size: u32| {
        [&[0, 0, 0, 0, 1, 0, 0, 16][..], &blocks.to_be_bytes(), &[0; 4], &size.to_be_bytes()].concat()
    };
    assert_eq!(asked(true, false, &long(1000, 512)), Ok(ModeChange::default()));
    assert_eq!(asked(true, false, &long(1001, 512)), Err(Sense::invalid_parameter(8, None)));
    assert_eq!(asked(true, false, &long(1000, 4096)), Err(Sense::invalid_parameter(20, None)));
}

#[test]
fn lists_in_another_format_are_refused() {
    let request = ModeSelect { ten: false, pf: false, sp: false, parameter_list_length: 4 };
    let unit = disk(&info()).medium();
    assert_eq!(select(&unit, &request, ModeState::default(), &[0; 4]), Err(Sense::invalid_field(1, Some(4))));
    let nothing = ModeSelect { parameter_list_length: 0, ..request };
    assert_eq!(select(&unit, &nothing, ModeState::default(), &[]), Ok(ModeChange::default()));
}

#[test]
fn any_byte_anywhere_is_survived() {
    let whole = [&[0, 0, 0, 0][..], &page(CACHING, &[]), &page(CONTROL, &[]), &EXTENSION, &[0; 27]].concat();
    for at in 0..whole.len() {
        for byte in 0..=255 {
            let mut list = whole.clone();
            list[at] = byte;
            if let Err(sense) = asked(false, false, &list) {
                assert!([0x1a00, 0x2600].contains(&sense.asc.0), "{list:x?}");
            }
        }
    }
}

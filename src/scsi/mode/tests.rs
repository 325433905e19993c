use bdev::{Discard, Info, WriteCache};

use super::*;
use crate::scsi::testing::{command, data, disk, info, refused};
use crate::scsi::{Condition, LogicalUnit, Naa, Outcome, Port, Step};

/// Behind the header of MODE SENSE (6): 1,000 blocks of 512 bytes.
const SHORT: [u8; 8] = [0, 0, 0x03, 0xe8, 0, 0, 0x02, 0];
const ERROR_RECOVERY: [u8; 12] = [0x01, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const DISCONNECT: [u8; 16] = [0x02, 0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CACHING: [u8; 20] = [0x88, 0x12, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const CONTROL: [u8; 12] = [0x8a, 0x0a, 0x22, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0];
const EXCEPTIONS: [u8; 12] = [0x1c, 0x0a, 0x08, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn extension() -> Vec<u8> {
    [&[0x4a, 0x01, 0, 0x1c, 0x06][..], &[0; 27]].concat()
}

fn power_condition() -> Vec<u8> {
    [&[0x1a, 0x26][..], &[0; 38]].concat()
}

fn six(byte_1: u8, page: u8, subpage: u8) -> [u8; 6] {
    [0x1a, byte_1, page, subpage, 255, 0]
}

fn ten(byte_1: u8, page: u8, subpage: u8) -> [u8; 10] {
    [0x5a, byte_1, page, subpage, 0, 0, 0, 0x10, 0, 0]
}

#[test]
fn six_with_all_pages() {
    let ends = [&power_condition()[..], &EXCEPTIONS].concat();
    let front = [&SHORT[..], &ERROR_RECOVERY, &DISCONNECT, &CACHING, &CONTROL].concat();
    let unit = disk(&info());
    let expected = [&[123, 0, 0x10, 8][..], &front, &ends].concat();
    assert_eq!(data(&unit, &six(0, 0x3f, 0)), expected);
    let expected = [&[155, 0, 0x10, 8][..], &front, &extension(), &ends].concat();
    assert_eq!(data(&unit, &six(0, 0x3f, 0xff)), expected);
}

#[test]
fn each_page_alone() {
    let unit = disk(&info());
    let pages: [(u8, u8, Vec<u8>); 7] = [
        (0x01, 0, ERROR_RECOVERY.into()),
        (0x02, 0, DISCONNECT.into()),
        (0x08, 0, CACHING.into()),
        (0x0a, 0, CONTROL.into()),
        (0x0a, 1, extension()),
        (0x1a, 0, power_condition()),
        (0x1c, 0, EXCEPTIONS.into()),
    ];
    for (page, subpage, bytes) in pages {
        let len = bytes.len() as u8;
        assert_eq!(data(&unit, &six(0x08, page, subpage)), [&[len + 3, 0, 0x10, 0][..], &bytes].concat());
    }
}

#[test]
fn one_page_without_block_descriptor() {
    let unit = disk(&info());
    assert_eq!(data(&unit, &six(0x08, 0x08, 0)), [&[23, 0, 0x10, 0][..], &CACHING].concat());
    assert_eq!(data(&unit, &six(0x08, 0x0a, 0)), [&[15, 0, 0x10, 0][..], &CONTROL].concat());
    let both = [&[47, 0, 0x10, 0][..], &CONTROL, &extension()].concat();
    assert_eq!(data(&unit, &six(0x08, 0x0a, 0xff)), both);
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
fn what_can_be_changed() {
    let zeros = |first: u8, len: u8| [&[first, len][..], &vec![0; len.into()]].concat();
    let caching = [&[0x88, 0x12, 0x04][..], &[0; 17]].concat();
    let control = [0x8a, 0x0a, 0x04, 0, 0x08, 0x40, 0, 0, 0, 0, 0, 0];
    let (extension, ends) = ([&[0x4a, 0x01, 0, 0x1c][..], &[0; 28]].concat(), [zeros(0x1a, 38), zeros(0x1c, 10)]);
    let pages = [zeros(0x01, 10), zeros(0x02, 14), caching, control.into(), extension, ends.concat()].concat();
    let expected = [&[147, 0, 0x10, 0][..], &pages].concat();
    assert_eq!(data(&disk(&info()), &six(0x08, 0x7f, 0xff)), expected);
    let through = disk(&Info { write_cache: WriteCache::WriteThrough, ..info() });
    assert_eq!(data(&through, &six(0x08, 0x48, 0))[4..], zeros(0x88, 18), "no cache to turn on or off");
}

/// MODE SENSE of a unit with `mode`.
fn sensed(mode: ModeState, cdb: &[u8]) -> Vec<u8> {
    let (mut reply, condition) = (Reply::new(), Condition { mode, ..Condition::default() });
    let unit = disk(&info());
    assert_eq!(unit.start(&command(cdb), &condition, &mut reply), Step::Done(Outcome::GOOD));
    reply.as_bytes().to_vec()
}

#[test]
fn current_default_and_saved_values() {
    let saved = ModeValues::WRITE_THROUGH;
    let mode = ModeState { current: ModeValues::D_SENSE.with(ModeValues::SWP, true), saved };
    let control = |first, d_sense, swp| [11 + 4, 0, first, 0, 0x8a, 0x0a, d_sense, 0x10, swp];
    let page = |control: u8| sensed(mode, &six(0x08, control << 6 | 0x0a, 0))[..9].to_vec();
    assert_eq!(page(0), control(0x90, 0x26, 0x08), "SWP is told in the header too");
    assert_eq!(page(2), control(0x90, 0x22, 0x00));
    assert_eq!(page(3), control(0x90, 0x22, 0x00));
    let wce = |control: u8| sensed(mode, &ten(0x08, control << 6 | 0x08, 0))[10];
    assert_eq!([wce(0), wce(2), wce(3)], [0x04, 0x04, 0x00]);
    assert_eq!(sensed(mode.restored(), &six(0x08, 0x08, 0))[..7], [23, 0, 0x10, 0, 0x88, 0x12, 0x00]);
}

#[test]
fn defaults_are_in_force_at_first() {
    let unit = disk(&info());
    for control in [0xbf, 0xff] {
        assert_eq!(data(&unit, &six(0, control, 0)), data(&unit, &six(0, 0x3f, 0)));
    }
}

#[test]
fn write_protection_and_write_cache() {
    let unit = disk(&Info { read_only: true, write_cache: WriteCache::WriteThrough, ..info() });
    let bytes = data(&unit, &six(0x08, 0x08, 0));
    assert_eq!(bytes[..7], [23, 0, 0x90, 0, 0x88, 0x12, 0x00]);
    assert_eq!(data(&unit, &ten(0x08, 0x08, 0))[3], 0x90);
}

#[test]
fn unknown_pages_are_refused() {
    let unit = disk(&info());
    let known = [0x01, 0x02, 0x08, 0x0a, 0x1a, 0x1c];
    for page in (0..0x3f).filter(|page| !known.contains(page)) {
        assert_eq!(refused(&unit, &six(0, page, 0)), Sense::invalid_field(2, Some(5)));
        assert_eq!(refused(&unit, &ten(0, page, 0xff)), Sense::invalid_field(2, Some(5)));
    }
    for page in known {
        for subpage in (1..0xff).filter(|subpage| (page, *subpage) != (0x0a, 1)) {
            assert_eq!(refused(&unit, &six(0, page, subpage)), Sense::invalid_field(3, None));
        }
    }
    for subpage in 1..0xff {
        assert_eq!(refused(&unit, &six(0, 0x3f, subpage)), Sense::invalid_field(3, None));
    }
}

#[test]
fn access_states_change_by_themselves_where_there_are_port_groups() {
    let unit = |group| disk(&info()).at_port(Port { relative: 1, group, naa: Naa::local(0x55) });
    let byte_4 = |unit: &LogicalUnit, control: u8| data(unit, &six(0x08, control << 6 | 0x0a, 1))[8];
    assert_eq!([0, 1, 2, 3].map(|control| byte_4(&unit(None), control)), [0x06, 0, 0x06, 0x06]);
    assert_eq!([0, 1, 2, 3].map(|control| byte_4(&unit(Some(3)), control)), [0x07, 0, 0x07, 0x07]);
}

/// Of 1,000 blocks, which are less than one threshold set.
#[test]
fn pages_of_a_disk_with_a_threshold() {
    let thin =
        Info { discard: Some(Discard { granularity: 4096, alignment: 0, max: 1 << 30, zeroes: true }), ..info() };
    let unit = disk(&thin).with_threshold(Some(Threshold::of(&thin)));
    let provisioning = |first: u8, enabled: u8| {
        let descriptor = [enabled, 0x01, 0, 0, 0, 0, 0, 1];
        [&[first, 0x02, 0, 20][..], &[0; 12], &descriptor].concat()
    };
    let page = |control: u8, subpage| data(&unit, &six(0x08, control << 6 | 0x1c, subpage))[4..].to_vec();
    assert_eq!(page(0, 2), provisioning(0xdc, 0));
    assert_eq!(page(1, 2), [&[0xdc, 0x02, 0, 20][..], &[0; 12], &[0x80], &[0; 7]].concat());
    assert_eq!((page(2, 2), page(3, 2)), (provisioning(0xdc, 0), provisioning(0xdc, 0)));
    assert_eq!(page(0, 0xff), [&EXCEPTIONS[..], &provisioning(0xdc, 0)].concat());
    let recovery = |lbpere: u8| [0x81, 0x0a, 0, 0, 0, 0, 0, lbpere, 0, 0, 0, 0];
    let page = |control: u8| data(&unit, &six(0x08, control << 6 | 0x01, 0))[4..].to_vec();
    assert_eq!([page(0), page(1), page(2)], [0, 0x80, 0].map(|lbpere| recovery(lbpere).to_vec()));
    let current = ModeValues::LBPERE.and(ModeValues::THRESHOLD);
    let condition = Condition { mode: ModeState { current, ..ModeState::default() }, ..Condition::default() };
    let mut reply = Reply::new();
    unit.start(&command(&six(0x08, 0x3f, 0xff)), &condition, &mut reply);
    assert_eq!(reply.as_bytes()[4..16], recovery(0x80));
    assert!(reply.as_bytes().ends_with(&provisioning(0xdc, 0x80)));
    assert_eq!(refused(&disk(&thin), &six(0, 0x1c, 2)), Sense::invalid_field(3, None), "nobody looks");
}

#[test]
fn the_data_length_is_that_of_the_whole() {
    let unit = disk(&info());
    let whole = data(&unit, &six(0, 0x3f, 0xff));
    for allocation_length in 0..=whole.len() as u8 {
        let cut = data(&unit, &[0x1a, 0, 0x3f, 0xff, allocation_length, 0]);
        assert_eq!(cut, whole[..allocation_length.into()]);
    }
    assert_eq!(data(&unit, &[0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 2, 0]), [0, 126]);
}

#[test]
fn without_a_place_nothing_can_be_saved_and_no_page_says_so() {
    let unit = disk(&info()).saving_modes(false);
    assert_eq!(data(&unit, &six(0x08, 0x08, 0))[4..7], [0x08, 0x12, 0x04], "no PS");
    assert_eq!(data(&unit, &six(0x08, 0x4a, 0))[4..7], [0x0a, 0x0a, 0x04], "nor in the mask");
    assert_eq!(data(&unit, &six(0x08, 0x8a, 0))[4..7], [0x0a, 0x0a, 0x22], "nor in the defaults");
    for page in [0x08, 0x0a, 0x01, 0x3f] {
        let not_supported = Sense::illegal(Asc(0x3900));
        assert_eq!(refused(&unit, &six(0x08, 0xc0 | page, 0)), not_supported);
        assert_eq!(refused(&unit, &ten(0x08, 0xc0 | page, 0)), not_supported);
    }
}

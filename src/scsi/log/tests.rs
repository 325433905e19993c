use bdev::{Discard, Health, Info};

use super::*;
use crate::scsi::long::testing::Rig;
use crate::scsi::testing::{command, disk, info};
use crate::scsi::{Condition, Effect, Facts, Outcome, Step, Threshold};

const IO: IoStatistics = IoStatistics {
    reads: 1,
    writes: 2,
    read_blocks: 3,
    written_blocks: 4,
    verified_blocks: 5,
    read_errors: 8,
    write_errors: 9,
    verify_errors: 10,
};

const COUNTED: Statistics =
    Statistics { power_on_minutes: 0x0102_0304, start_stop_cycles: 0x11, io: IO, space: None, health: None };

fn sensed(unit: &LogicalUnit, statistics: Statistics, cdb: &[u8; 10]) -> Result<Vec<u8>, Sense> {
    let facts = Facts { statistics, ..Facts::default() };
    let condition = Condition { facts: Some(&facts), ..Condition::default() };
    let mut reply = Reply::new();
    match unit.start(&command(cdb), &condition, &mut reply) {
        Step::Done(Outcome { sense: Some(sense), .. }) => Err(sense),
        step => {
            assert_eq!(step, Step::Done(Outcome::GOOD));
            Ok(reply.as_bytes().to_vec())
        }
    }
}

/// Cumulative values of a page of a disk that counts.
fn page(code: u8) -> Vec<u8> {
    sensed(&disk(&info()), COUNTED, &cdb(1, code, 0)).unwrap()
}

fn cdb(control: u8, page: u8, subpage: u8) -> [u8; 10] {
    [0x4d, 0, control << 6 | page, subpage, 0, 0, 0, 2, 0, 0]
}

#[test]
fn supported_pages() {
    let all = [0x00, 0x02, 0x03, 0x05, 0x0d, 0x0e, 0x10, 0x11, 0x15, 0x19, 0x2f];
    assert_eq!(page(0x00), [&[0x00, 0, 0, 11][..], &all].concat());
    let rotating = disk(&Info { solid_state: false, ..info() });
    let fewer = [0x00, 0x02, 0x03, 0x05, 0x0d, 0x0e, 0x10, 0x15, 0x19, 0x2f];
    let expected = [&[0x00, 0, 0, 10][..], &fewer].concat();
    assert_eq!(sensed(&rotating, Statistics::default(), &cdb(1, 0, 0)), Ok(expected));
    let subpages = fewer.iter().flat_map(|&code| [code, 0, code, 0xff]);
    let expected: Vec<u8> = [0x40, 0xff, 0, 40].into_iter().chain(subpages).collect();
    assert_eq!(sensed(&rotating, Statistics::default(), &cdb(1, 0, 0xff)), Ok(expected));
}

#[test]
fn supported_subpages_of_one_page() {
    let unit = disk(&info());
    for control in 0..=3 {
        let list = Ok(vec![0x4d, 0xff, 0, 4, 0x0d, 0, 0x0d, 0xff]);
        assert_eq!(sensed(&unit, COUNTED, &cdb(control, 0x0d, 0xff)), list, "PC means nothing");
    }
    assert_eq!(sensed(&unit, COUNTED, &cdb(1, 0x19, 0xff)), Ok(vec![0x59, 0xff, 0, 4, 0x19, 0, 0x19, 0xff]));
    let pointed = [0x4d, 0, 0x4d, 0xff, 0, 0, 1, 2, 0, 0];
    assert_eq!(sensed(&unit, COUNTED, &pointed), Err(Sense::invalid_field(5, None)), "it has no parameters");
    assert_eq!(sensed(&unit, COUNTED, &cdb(1, 0x0c, 0xff)), Err(Sense::invalid_field(2, Some(5))), "no such page");
    let list = sensed(&unit, COUNTED, &cdb(1, 0, 0xff)).unwrap();
    for page in list[4..].chunks(2) {
        let bytes = sensed(&unit, COUNTED, &cdb(1, page[0], page[1])).unwrap();
        assert_eq!((bytes[0] & 0x3f, bytes[1], bytes[0] & 0x40 != 0), (page[0], page[1], page[1] != 0));
    }
}

#[test]
fn every_page_that_is_listed_is_there_and_no_other() {
    for statistics in [COUNTED, Statistics::default()] {
        let unit = disk(&info());
        let listed = sensed(&unit, statistics, &cdb(1, 0, 0)).unwrap()[4..].to_vec();
        for code in 0..0x40 {
            match sensed(&unit, statistics, &cdb(1, code, 0)) {
                Ok(bytes) => {
                    assert!(listed.contains(&code));
                    assert_eq!(bytes[0] & 0x3f, code);
                    assert_eq!(usize::from(bytes[2]) << 8 | usize::from(bytes[3]), bytes.len() - 4);
                }
                Err(sense) => {
                    assert!(!listed.contains(&code));
                    assert_eq!(sense, Sense::invalid_field(2, Some(5)));
                }
            }
        }
    }
}

#[test]
fn pages_of_lists() {
    assert_eq!(page(0x0d), [0x8d, 0, 0, 12, 0, 0, 3, 2, 0, 0xff, 0, 1, 3, 2, 0, 0xff]);
    assert_eq!(page(0x0e), [0x8e, 0, 0, 8, 0, 4, 3, 4, 0, 0, 0, 0x11]);
    assert_eq!(page(0x11), [0x91, 0, 0, 8, 0, 1, 3, 4, 0, 0, 0, 0]);
    assert_eq!(page(0x15), [0x95, 0, 0, 16, 0, 0, 3, 12, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(page(0x2f), [0xaf, 0, 0, 8, 0, 0, 3, 4, 0, 0, 0xff, 0xff]);
    let tests = page(0x10);
    assert_eq!((tests.len(), &tests[..8]), (404, &[0x90, 0, 0x01, 0x90, 0, 1, 3, 16][..]));
    assert_eq!(tests[384..], [&[0, 20, 3, 16][..], &[0; 16]].concat());
}

#[test]
fn what_a_device_tells_of_its_condition() {
    let sound = Health { temperature: Some(50), temperature_max: Some(70), percentage_used: 3, ..Health::default() };
    let page = |health, code| sensed(&disk(&info()), Statistics { health: Some(health), ..COUNTED }, &cdb(1, code, 0));
    assert_eq!(page(sound, 0x0d), Ok(vec![0x8d, 0, 0, 12, 0, 0, 3, 2, 0, 50, 0, 1, 3, 2, 0, 70]));
    assert_eq!(page(sound, 0x11), Ok(vec![0x91, 0, 0, 8, 0, 1, 3, 4, 0, 0, 0, 3]));
    let exceptions = |health| page(health, 0x2f).unwrap()[4..].to_vec();
    assert_eq!(exceptions(sound), [0, 0, 3, 4, 0, 0, 50, 70]);
    let hot = Health { is_out_of_range: true, temperature: Some(90), ..sound };
    assert_eq!(exceptions(hot), [0, 0, 3, 4, 0x0b, 0x01, 90, 70]);
    assert_eq!(exceptions(Health { is_failing: true, ..hot }), [0, 0, 3, 4, 0x5d, 0x00, 90, 70], "what is worse");
    assert_eq!(page(Health::default(), 0x0d).unwrap()[9], 0xff, "it does not say");
}

#[test]
fn self_tests_that_were_done() {
    let mut rig = Rig::plain();
    let mut record = |code: u8, power_on_hours| {
        let outcome = rig.run(&[0x1d, code << 5, 0, 0, 0, 0], &[]).outcome;
        let Some(Effect::SelfTest(result)) = outcome.effect else { panic!("{outcome:?}") };
        SelfTestRecord { result, power_on_hours }
    };
    let facts = Facts { self_tests: &[record(5, 0x0203), record(1, 0x0102)], ..Facts::default() };
    let condition = Condition { facts: Some(&facts), ..Condition::default() };
    let mut reply = Reply::new();
    let step = disk(&info()).start(&command(&cdb(1, 0x10, 0)), &condition, &mut reply);
    assert_eq!(step, Step::Done(Outcome::GOOD));
    let latest = [&[0, 1, 3, 16, 0xa0, 0, 2, 3][..], &[0xff; 8], &[0; 4]].concat();
    let before = [&[0, 2, 3, 16, 0x20, 0, 1, 2][..], &[0xff; 8], &[0; 4]].concat();
    let none = [&[0, 3, 3, 16][..], &[0; 16]].concat();
    assert_eq!(reply.as_bytes()[..64], [&[0x90, 0, 0x01, 0x90][..], &latest, &before, &none].concat());
    assert_eq!(reply.as_bytes().len(), 404);
}

#[test]
fn space_in_threshold_sets() {
    let thin =
        Info { discard: Some(Discard { granularity: 4096, alignment: 0, max: 1 << 30, zeroes: true }), ..info() };
    let unit = disk(&thin).with_threshold(Some(Threshold::of(&thin)));
    let page = |space| sensed(&unit, Statistics { space, ..COUNTED }, &cdb(1, 0x0c, 0)).unwrap();
    let available = [0, 1, 3, 8, 0, 0, 1, 2, 2, 0, 0, 0];
    let space = Space { used: Some((3 << 20) - 1), available: 0x102 << 20 };
    let expected = [&[0x8c, 0, 0, 24][..], &available, &[0, 2, 3, 8, 0, 0, 0, 2, 1, 0, 0, 0]].concat();
    assert_eq!(page(Some(space)), expected);
    assert_eq!(page(Some(Space { used: None, ..space })), [&[0x8c, 0, 0, 12][..], &available].concat());
    assert_eq!(page(None), [0x8c, 0, 0, 0], "nobody has looked yet");
    let listed = sensed(&unit, COUNTED, &cdb(1, 0, 0)).unwrap();
    assert!(listed[4..].contains(&0x0c));
}

#[test]
fn pages_of_counters() {
    let counter = |value: u64| value.to_be_bytes();
    let errors = |head: [u8; 4], bytes, errors| {
        [&head[..], &[0, 5, 2, 8], &counter(bytes), &[0, 6, 2, 8], &counter(errors)].concat()
    };
    assert_eq!(page(0x02), errors([0x82, 0, 0, 24], 4 * 512, 9));
    assert_eq!(page(0x03), errors([0x83, 0, 0, 24], 3 * 512, 8));
    assert_eq!(page(0x05), errors([0x85, 0, 0, 24], 5 * 512, 10));
    let access = [1, 2, 4, 3, 0, 0, 0, 0].map(counter);
    let times = &[0, 2, 2, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 3, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(page(0x19), [&[0x99, 0, 0, 92, 0, 1, 2, 64][..], access.as_flattened(), times].concat());
}

#[test]
fn page_control_is_for_counters() {
    let unit = disk(&info());
    for control in [0, 2] {
        assert_eq!(sensed(&unit, COUNTED, &cdb(control, 0x19, 0)), Err(Sense::invalid_field(2, Some(7))));
        assert_eq!(sensed(&unit, COUNTED, &cdb(control, 0x0e, 0)), Ok(page(0x0e)));
    }
    let defaults = sensed(&unit, COUNTED, &cdb(3, 0x02, 0)).unwrap();
    assert_eq!(defaults[8..16], [0; 8], "counters begin with zero");
    assert_eq!(defaults.len(), page(0x02).len());
}

#[test]
fn the_parameter_pointer_skips() {
    let unit = disk(&info());
    let from = |code: u8, pointer: [u8; 2]| {
        let [high, low] = pointer;
        sensed(&unit, COUNTED, &[0x4d, 0, 0x40 | code, 0, 0, high, low, 2, 0, 0])
    };
    assert_eq!(from(0x0d, [0, 1]), Ok(vec![0x8d, 0, 0, 6, 0, 1, 3, 2, 0, 0xff]));
    assert_eq!(from(0x0e, [0, 1]), Ok(page(0x0e)), "parameters that are not there are passed over");
    assert_eq!(from(0x10, [0, 20]).unwrap()[..6], [0x90, 0, 0, 20, 0, 20]);
    for (code, pointer) in [(0x0d, [0, 2]), (0x10, [0, 21]), (0x19, [0xff, 0xff]), (0x00, [0, 1])] {
        assert_eq!(from(code, pointer), Err(Sense::invalid_field(5, None)));
    }
}

#[test]
fn subpages_and_savings_that_are_not_there() {
    let unit = disk(&info());
    for subpage in 1..=254 {
        assert_eq!(sensed(&unit, COUNTED, &cdb(1, 0x0d, subpage)), Err(Sense::invalid_field(3, None)));
    }
    let saving = [0x4d, 1, 0x4d, 0, 0, 0, 0, 2, 0, 0];
    assert_eq!(crate::scsi::decode(&saving), Err(Sense::invalid_field(1, Some(0))));
}

#[test]
fn the_page_length_is_that_of_the_whole_page() {
    let whole = page(0x19);
    for room in 0..=whole.len() as u8 {
        let cut = sensed(&disk(&info()), COUNTED, &[0x4d, 0, 0x59, 0, 0, 0, 0, 0, room, 0]);
        assert_eq!(cut, Ok(whole[..room.into()].to_vec()));
    }
}

//! SYNCHRONIZE CACHE and START STOP UNIT with IMMED: their flush goes on behind them.

use bdev::IoError;
use reactor::Context;

use super::bed::Bed;
use super::guest::{Data, TEST_UNIT_READY};
use super::sim_disk::SimDisk;

const OK: u8 = 0;

const FLUSH_AT_ONCE: [u8; 10] = [0x35, 2, 0, 0, 0, 0, 0, 0, 0, 0];
const FLUSH: [u8; 10] = [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const STOP_AT_ONCE: [u8; 6] = [0x1b, 1, 0, 0, 0, 0];
const START: [u8; 6] = [0x1b, 0, 0, 0, 1, 0];

/// One core, one queue, a disk that answers when it is told.
fn bed() -> (Bed, SimDisk) {
    let (bed, mut disks) = Bed::simulated(1, 1, 1);
    let disk = disks.pop().expect("one");
    disk.hold();
    (bed, disk)
}

/// A command without data that ends now: its sense data, if there are some.
fn sense(bed: &mut Bed, cdb: &[u8]) -> Option<(u8, u16)> {
    bed.guest().send(0, 0, cdb, Data::Without);
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!(ended.response, OK);
    ended.sense
}

#[test]
fn the_command_ends_before_its_flush() {
    let (mut bed, disk) = bed();
    let id = bed.guest().send(0, 0, &FLUSH, Data::Without);
    bed.run();
    assert_eq!((disk.held(), bed.guest().is_open(id)), (1, true), "without IMMED it waits");
    disk.release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, OK)]);
    assert_eq!((sense(&mut bed, &FLUSH_AT_ONCE), disk.held()), (None, 1));
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!((sense(&mut bed, &TEST_UNIT_READY), disk.accepted().len()), (None, 2));
    assert!(bed.core(0).may_sleep());
}

#[test]
fn any_number_of_them_has_one_flush_in_flight_and_one_behind_it() {
    let (mut bed, disk) = bed();
    (0..10).for_each(|_| assert_eq!(sense(&mut bed, &FLUSH_AT_ONCE), None));
    assert_eq!((disk.held(), disk.accepted().len()), (1, 1));
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!((disk.held(), disk.accepted().len()), (1, 2), "for the nine that came while the first was in flight");
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!((disk.held(), disk.accepted().len()), (0, 2));
}

#[test]
fn a_failure_is_a_deferred_error() {
    let (mut bed, disk) = bed();
    assert_eq!(sense(&mut bed, &FLUSH_AT_ONCE), None);
    disk.answer(0, Err(IoError::Medium));
    bed.run();
    bed.guest().send(0, 0, &TEST_UNIT_READY, Data::Without);
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.sense, ended.sense_bytes[0] & 0x7f), (Some((3, 0x0c00)), 0x71));
    assert_eq!(sense(&mut bed, &TEST_UNIT_READY), None, "told once");
}

#[test]
fn one_that_finds_no_room_waits_for_it() {
    let (mut bed, disk) = bed();
    disk.set_room(0);
    assert_eq!((sense(&mut bed, &FLUSH_AT_ONCE), disk.held()), (None, 0));
    assert!(!bed.core(0).may_sleep());
    disk.set_room(1);
    bed.run();
    assert_eq!(disk.held(), 1);
}

#[test]
fn a_unit_is_stopped_at_once_and_flushed_behind() {
    let (mut bed, disk) = bed();
    assert_eq!((sense(&mut bed, &STOP_AT_ONCE), disk.held()), (None, 1));
    assert_eq!(sense(&mut bed, &TEST_UNIT_READY), Some((2, 0x0402)));
    assert_eq!(sense(&mut bed, &START), None);
    disk.go();
    bed.run();
    assert_eq!(sense(&mut bed, &TEST_UNIT_READY), None);
}

#[test]
fn a_reset_and_the_end_of_all_do_not_wait_for_it_for_ever() {
    let (mut bed, disk) = bed();
    assert_eq!(sense(&mut bed, &FLUSH_AT_ONCE), None);
    let gate = bed.guest().retire();
    bed.run();
    assert!(gate.is_open(), "it is no request of the device");
    disk.go();
    assert!(bed.drained());
}

//! FORMAT UNIT and SANITIZE: work that goes on whatever becomes of the command that began it.

use bdev::IoError;

use super::bed::Bed;
use super::guest::{Data, TEST_UNIT_READY, read_10, write_10};
use super::sim_disk::{Cancels, SimDisk};
use crate::virtio_scsi::spec::{TMF_ABORT_TASK, TMF_LOGICAL_UNIT_RESET};

const OK: u8 = 0;
const ABORTED: u8 = 2;

const FORMAT: [u8; 6] = [0x04, 0, 0, 0, 0, 0];
/// With a list, which has IMMED.
const FORMAT_AT_ONCE: [u8; 6] = [0x04, 0x10, 0, 0, 0, 0];
const IMMED: Data<'static> = Data::Out(&[0, 2, 0, 0]);
/// BLOCK ERASE with IMMED, and with AUSE too.
const ERASE_AT_ONCE: [u8; 10] = [0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0];
const ERASE_MAY_EXIT: [u8; 10] = [0x48, 0xa2, 0, 0, 0, 0, 0, 0, 0, 0];
const EXIT_FAILURE_MODE: [u8; 10] = [0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0];
const REQUEST_SENSE: [u8; 6] = [0x03, 0, 0, 0, 18, 0];

const FORMATTING: Option<(u8, u16)> = Some((2, 0x0404));
const SANITIZING: Option<(u8, u16)> = Some((2, 0x041b));

/// Two cores with a guest on each, and one disk for both that holds 2,048 blocks of ones. An erasure of it is four writes
/// and a flush.
fn bed() -> (Bed, SimDisk) {
    let disk = SimDisk::new(2048);
    let mut bed = Bed::of(2, vec![std::sync::Arc::new(disk.clone())]);
    bed.add_guest(2);
    bed.add_guest(2);
    bed.guests[0].write(0, 0, 1, 1);
    bed.guests[0].write(0, 200, 1, 1);
    bed.run();
    bed.guests[0].ended.clear();
    (bed, disk)
}

/// Sense of a command without data.
fn sense(bed: &mut Bed, guest: usize, cdb: &[u8]) -> Option<(u8, u16)> {
    bed.guests[guest].send(0, 0, cdb, Data::Without);
    bed.run();
    bed.guests[guest].take_one().sense
}

/// What REQUEST SENSE gives: key, code, and progress.
fn requested(bed: &mut Bed, guest: usize) -> (u8, u16, Option<u16>) {
    bed.guests[guest].send(1, 0, &REQUEST_SENSE, Data::In(18));
    bed.run();
    let data = bed.guests[guest].take_one().data;
    let word = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
    (data[2], word(12), (data[15] & 0x80 != 0).then(|| word(16)))
}

fn is_zero(disk: &SimDisk) -> bool {
    [0, 200].iter().all(|&lba| disk.block(lba) == [0; 512])
}

#[test]
fn the_command_that_waits_ends_with_the_work_and_everybody_else_is_not_ready() {
    let (mut bed, disk) = bed();
    disk.hold();
    let id = bed.guests[0].send(0, 0, &FORMAT, Data::Without);
    bed.run();
    for guest in [0, 1] {
        assert_eq!(sense(&mut bed, guest, &TEST_UNIT_READY), FORMATTING);
        bed.guests[guest].send(1, 0, &read_10(0, 1), Data::In(512));
        bed.run();
        assert_eq!(bed.guests[guest].take_one().sense, FORMATTING);
        assert_eq!(requested(&mut bed, guest), (2, 0x0404, Some(0)));
        assert_eq!(sense(&mut bed, guest, &FORMAT), FORMATTING);
        assert_eq!(sense(&mut bed, guest, &ERASE_AT_ONCE), FORMATTING);
    }
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(requested(&mut bed, 1), (2, 0x0404, Some(0x4000)), "a quarter");
    assert!(bed.guests[0].is_open(id));
    disk.go();
    bed.run();
    assert_eq!((bed.guests[0].take_ended(), is_zero(&disk)), (vec![(id, OK)], true));
    for guest in [0, 1] {
        assert_eq!(sense(&mut bed, guest, &TEST_UNIT_READY), None);
        assert_eq!(requested(&mut bed, guest), (0, 0, None));
    }
}

#[test]
fn with_immed_it_goes_on_without_its_command() {
    for (cdb, data, expected) in [(&FORMAT_AT_ONCE[..], IMMED, FORMATTING), (&ERASE_AT_ONCE, Data::Without, SANITIZING)]
    {
        let (mut bed, disk) = bed();
        disk.hold();
        bed.guests[1].send(0, 0, cdb, data);
        bed.run();
        let ended = bed.guests[1].take_one();
        assert_eq!((ended.response, ended.status), (OK, 0));
        assert_eq!([sense(&mut bed, 0, &TEST_UNIT_READY), sense(&mut bed, 1, &TEST_UNIT_READY)], [expected; 2]);
        disk.go();
        bed.run();
        assert!(is_zero(&disk));
        assert_eq!([sense(&mut bed, 0, &TEST_UNIT_READY), sense(&mut bed, 1, &TEST_UNIT_READY)], [None; 2]);
    }
}

#[test]
fn begins_when_no_operation_is_left() {
    let (mut bed, disk) = bed();
    disk.hold();
    let write = bed.guests[1].send(0, 0, &write_10(0, 1), Data::Out(&[7; 512]));
    bed.run();
    bed.guests[0].send(0, 0, &ERASE_AT_ONCE, Data::Without);
    bed.run();
    assert_eq!(bed.guests[0].take_one().status, 0);
    assert_eq!(disk.held(), 1, "the write of the other guest");
    assert_eq!(sense(&mut bed, 1, &TEST_UNIT_READY), SANITIZING);
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!((bed.guests[1].take_ended(), disk.held()), (vec![(write, OK)], 1));
    disk.go();
    bed.run();
    assert!(is_zero(&disk));
}

#[test]
fn no_task_management_ends_it() {
    let (mut bed, disk) = bed();
    disk.hold();
    disk.set_cancels(Cancels::Work);
    let id = bed.guests[0].send(0, 0, &FORMAT, Data::Without);
    bed.run();
    let tmf = bed.guests[0].manage(TMF_ABORT_TASK, 0, id);
    bed.run();
    assert_eq!(bed.guests[0].take_ended(), [(id, ABORTED), (tmf, OK)]);
    let tmf = bed.guests[1].manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    assert_eq!((bed.guests[1].take_ended(), disk.cancelled()), (vec![(tmf, OK)], 0));
    assert!(requested(&mut bed, 1).0 == 6 && requested(&mut bed, 1).1 == 0x0404);
    disk.go();
    bed.run();
    assert!(is_zero(&disk));
}

#[test]
fn its_command_waits_on_after_a_rest_and_a_reset_leaves_it_alone() {
    let (mut bed, disk) = bed();
    disk.hold();
    let id = bed.guests[0].send(0, 0, &FORMAT, Data::Without);
    bed.run();
    let gate = bed.rest();
    bed.run();
    assert!(gate.is_open() && !bed.guests[0].memory_is_held(), "it does not hold up a rest");
    bed.guests[0].go_on();
    bed.run();
    assert!(bed.guests[0].is_open(id));
    disk.answer(0, Ok(()));
    bed.run();
    let accepted = disk.accepted().len();
    assert_eq!(requested(&mut bed, 1).2, Some(0x4000), "it has not begun again");
    let gate = bed.guests[0].retire();
    bed.run();
    assert!(gate.is_open());
    disk.go();
    bed.run();
    assert_eq!((is_zero(&disk), disk.accepted().len()), (true, accepted + 3), "two writes and a flush");
    let gate = bed.guests[1].retire();
    bed.run();
    assert!(gate.is_open() && bed.drained());
}

/// A FORMAT UNIT that the first guest waits for fails.
fn fail_format(bed: &mut Bed, disk: &SimDisk) {
    disk.hold();
    bed.guests[0].send(0, 0, &FORMAT, Data::Without);
    bed.run();
    disk.answer(0, Err(IoError::Medium));
    bed.run();
    assert_eq!(bed.guests[0].take_one().sense, Some((3, 0x3101)));
    disk.go();
}

#[test]
fn a_format_that_fails_leaves_a_medium_that_has_to_be_formatted() {
    let (mut bed, disk) = bed();
    fail_format(&mut bed, &disk);
    assert_eq!([sense(&mut bed, 0, &TEST_UNIT_READY), sense(&mut bed, 1, &TEST_UNIT_READY)], [Some((3, 0x3100)); 2]);
    assert_eq!(sense(&mut bed, 1, &EXIT_FAILURE_MODE), None);
    assert_eq!(sense(&mut bed, 1, &TEST_UNIT_READY), Some((3, 0x3100)));
    assert_eq!(sense(&mut bed, 1, &FORMAT), None);
    assert_eq!(sense(&mut bed, 0, &TEST_UNIT_READY), None);
}

#[test]
fn a_sanitize_that_fails_is_left_only_by_who_may() {
    for (cdb, may_exit) in [(ERASE_AT_ONCE, false), (ERASE_MAY_EXIT, true)] {
        let (mut bed, disk) = bed();
        disk.hold();
        assert_eq!(sense(&mut bed, 0, &cdb), None);
        disk.answer(0, Err(IoError::Medium));
        bed.run();
        disk.go();
        assert_eq!(sense_bytes(&mut bed, 0, &ERASE_AT_ONCE), DEFERRED_SANITIZE, "and nothing is begun");
        assert_eq!([sense(&mut bed, 0, &TEST_UNIT_READY), sense(&mut bed, 1, &FORMAT)], [Some((3, 0x3103)); 2]);
        assert_eq!(requested(&mut bed, 1), (3, 0x3103, None));
        let (exit, then) = if may_exit { (None, None) } else { (Some((5, 0x2400)), Some((3, 0x3103))) };
        assert_eq!((sense(&mut bed, 1, &EXIT_FAILURE_MODE), sense(&mut bed, 0, &TEST_UNIT_READY)), (exit, then));
        assert_eq!(sense(&mut bed, 1, &ERASE_AT_ONCE), None, "another one is welcome");
        bed.run();
        assert_eq!((sense(&mut bed, 0, &TEST_UNIT_READY), is_zero(&disk)), (None, true));
    }
}

/// Fixed format sense data of SANITIZE COMMAND FAILED, as a deferred error and a current one: 71h and 70h, MEDIUM ERROR, 10
/// bytes more, 31h/03h.
const DEFERRED_SANITIZE: [u8; 18] = [0x71, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x31, 3, 0, 0, 0, 0];
const FAILED_SANITIZE: [u8; 18] = [0x70, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x31, 3, 0, 0, 0, 0];

/// The sense data of a command that fails.
fn sense_bytes<const LEN: usize>(bed: &mut Bed, guest: usize, cdb: &[u8]) -> [u8; LEN] {
    bed.guests[guest].send(0, 0, cdb, Data::Without);
    bed.run();
    let ended = bed.guests[guest].take_one();
    assert_eq!((ended.response, ended.status), (OK, 2));
    ended.sense_bytes.try_into().expect("as many as expected")
}

/// MODE SELECT (6) of the control page with this for its third byte, where D_SENSE is.
fn select_control(bed: &mut Bed, byte: u8) {
    let list = [0, 0, 0, 0, 0x0a, 0x0a, byte, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0];
    bed.guests[0].send(0, 0, &[0x15, 0x10, 0, 0, 16, 0], Data::Out(&list));
    bed.run();
    assert_eq!(bed.guests[0].take_one().status, 0);
}

/// Work that guest 0 has begun and does not wait for has failed.
fn failed_behind(control: u8) -> (Bed, SimDisk) {
    let (mut bed, disk) = bed();
    select_control(&mut bed, control);
    disk.hold();
    assert_eq!(sense(&mut bed, 0, &ERASE_AT_ONCE), None);
    disk.answer(0, Err(IoError::Medium));
    bed.run();
    disk.go();
    (bed, disk)
}

#[test]
fn who_did_not_wait_is_told_of_a_failure_once_by_the_next_command() {
    let (mut bed, _disk) = failed_behind(0x22);
    // These say nothing of it, and leave it for the next one.
    for cdb in [[0x12, 0, 0, 0, 36, 0], REQUEST_SENSE] {
        bed.guests[0].send(1, 0, &cdb, Data::In(36));
        bed.run();
        assert_eq!(bed.guests[0].take_one().status, 0);
    }
    assert_eq!(sense_bytes(&mut bed, 0, &TEST_UNIT_READY), DEFERRED_SANITIZE);
    assert_eq!(sense_bytes(&mut bed, 0, &TEST_UNIT_READY), FAILED_SANITIZE, "the medium is as it is");
    assert_eq!(sense_bytes(&mut bed, 1, &TEST_UNIT_READY), FAILED_SANITIZE, "to the other it is no deferred error");
    // With D_SENSE: 73h, MEDIUM ERROR, 31h/03h, no descriptors.
    let (mut bed, _disk) = failed_behind(0x26);
    assert_eq!(sense_bytes(&mut bed, 0, &TEST_UNIT_READY), [0x73, 3, 0x31, 3, 0, 0, 0, 0]);
}

#[test]
fn a_reset_or_a_format_that_was_waited_for_leaves_no_deferred_error() {
    let (mut bed, _disk) = failed_behind(0x22);
    let tmf = bed.guests[0].manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    assert_eq!(bed.guests[0].take_ended(), [(tmf, OK)]);
    assert_eq!(sense(&mut bed, 0, &TEST_UNIT_READY), Some((6, 0x2903)));
    assert_eq!(sense_bytes(&mut bed, 0, &TEST_UNIT_READY), FAILED_SANITIZE);
    let (mut bed, disk) = self::bed();
    fail_format(&mut bed, &disk);
    assert_eq!(sense_bytes::<18>(&mut bed, 0, &TEST_UNIT_READY)[..3], [0x70, 0, 3]);
}

#[test]
fn the_end_of_the_process_waits_for_its_operation_alone() {
    let (mut bed, disk) = bed();
    disk.hold();
    assert_eq!(sense(&mut bed, 0, &ERASE_AT_ONCE), None);
    for guest in 0..2 {
        let gate = bed.guests[guest].retire();
        bed.run();
        assert!(gate.is_open());
    }
    let ended = [bed.drain(0), bed.drain(1)];
    assert!(ended.contains(&false), "an operation is in flight");
    disk.release_all();
    let accepted = disk.accepted().len();
    disk.go();
    assert!(bed.drained());
    assert_eq!(disk.accepted().len(), accepted, "nothing but the flushes of the end, which were asked for before");
}

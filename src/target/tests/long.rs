//! Commands in several steps: what may come between two of them.

use bdev::IoError;

use super::bed::Bed;
use super::guest::Data;
use super::sim_disk::{Cancels, SimDisk};
use crate::virtio_scsi::spec::{TMF_ABORT_TASK, TMF_LOGICAL_UNIT_RESET};

const OK: u8 = 0;
const OVERRUN: u8 = 1;
const ABORTED: u8 = 2;
const RESET: u8 = 4;

/// VERIFY (10) of so many blocks from block 0 on.
fn verify(blocks: u8) -> [u8; 10] {
    [0x2f, 0, 0, 0, 0, 0, 0, 0, blocks, 0]
}

/// One core, one queue, a disk that answers when it is told. VERIFY is a flush and then a read.
fn bed() -> (Bed, SimDisk) {
    let (bed, mut disks) = Bed::simulated(1, 1, 1);
    let disk = disks.pop().expect("one");
    disk.hold();
    (bed, disk)
}

#[test]
fn goes_from_step_to_step() {
    let (mut bed, disk) = bed();
    let id = bed.guest().send(0, 0, &verify(3), Data::Without);
    bed.run();
    assert_eq!((disk.held(), disk.accepted()), (1, vec![0]));
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!((disk.held(), bed.guest().is_open(id)), (1, true));
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, OK)]);
}

#[test]
fn compares_with_the_data_of_the_guest() {
    let (mut bed, disk) = bed();
    disk.go();
    bed.guest().write(0, 0, 1, 7);
    bed.run();
    bed.guest().ended.clear();
    let check = [0x2f, 2, 0, 0, 0, 1, 0, 0, 2, 0];
    let mut data = [[7; 512], [0; 512]].concat();
    bed.guest().send(0, 0, &check, Data::Out(&data));
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.response, ended.status, ended.resid), (OK, 0, 0));
    data[600] = 1;
    bed.guest().send(0, 0, &check, Data::Out(&data));
    bed.run();
    assert_eq!(bed.guest().take_one().sense, Some((0xe, 0x1d00)));
    // A byte too few, none at all, and a buffer that goes the other way.
    let accepted = disk.accepted();
    for data in [Data::Out(&data[..1023]), Data::Without, Data::In(1024)] {
        bed.guest().send(0, 0, &check, data);
        bed.run();
        assert_eq!(bed.guest().take_one().response, OVERRUN);
    }
    assert_eq!(disk.accepted(), accepted);
}

#[test]
fn a_failed_step_ends_it() {
    let (mut bed, disk) = bed();
    bed.guest().send(0, 0, &verify(1), Data::Without);
    bed.run();
    disk.answer(0, Ok(()));
    bed.run();
    disk.answer(0, Err(IoError::Medium));
    bed.run();
    assert_eq!(bed.guest().take_one().sense, Some((3, 0x1100)));
    assert_eq!((disk.held(), bed.guest().open()), (0, 0));
}

#[test]
fn is_aborted_within_a_step_and_between_two() {
    for cancels in [Cancels::Work, Cancels::Fail] {
        let (mut bed, disk) = bed();
        disk.set_cancels(cancels);
        let id = bed.guest().send(0, 0, &verify(1), Data::Without);
        bed.run();
        let tmf = bed.guest().manage(TMF_ABORT_TASK, 0, id);
        bed.run();
        if cancels == Cancels::Fail {
            assert_eq!((bed.guest().take_ended(), disk.held()), (vec![], 1));
            disk.answer(0, Ok(()));
            bed.run();
        }
        assert_eq!(bed.guest().take_ended(), [(id, ABORTED), (tmf, OK)], "{cancels:?}");
        assert_eq!(disk.accepted().len(), 1, "no further step");
    }
    let (mut bed, disk) = bed();
    let id = bed.guest().send(0, 0, &verify(1), Data::Without);
    bed.run();
    disk.set_room(0);
    disk.answer(0, Ok(()));
    bed.run();
    let tmf = bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, RESET), (tmf, OK)], "it waited for room");
    assert_eq!((disk.cancelled(), disk.accepted().len()), (0, 1));
}

#[test]
fn begins_again_after_a_rest() {
    let (mut bed, disk) = bed();
    let id = bed.guest().send(0, 0, &verify(1), Data::Without);
    bed.run();
    let gate = bed.rest();
    bed.run();
    assert!(!gate.is_open(), "an operation is in flight");
    disk.answer(0, Ok(()));
    bed.run();
    assert!(gate.is_open() && !bed.guest().memory_is_held());
    assert_eq!((disk.accepted().len(), bed.guest().is_open(id)), (1, true));
    bed.guest().go_on();
    disk.go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, OK)]);
    assert_eq!(disk.accepted().len(), 3, "from its first step on");
}

#[test]
fn is_found_by_task_management_after_a_rest_too() {
    let (mut bed, disk) = bed();
    let id = bed.guest().send(0, 0, &verify(1), Data::Without);
    bed.run();
    let gate = bed.rest();
    disk.answer(0, Ok(()));
    bed.run();
    assert!(gate.is_open());
    bed.guest().go_on();
    let tmf = bed.guest().manage(TMF_ABORT_TASK, 0, id);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, ABORTED), (tmf, OK)]);
}

#[test]
fn a_reset_ends_it() {
    let (mut bed, disk) = bed();
    disk.set_cancels(Cancels::Fail);
    bed.guest().send(0, 0, &verify(1), Data::Without);
    bed.run();
    let gate = bed.guest().retire();
    bed.run();
    assert!(!gate.is_open());
    disk.answer(0, Ok(()));
    bed.run();
    assert!(gate.is_open() && !bed.guest().memory_is_held());
    assert_eq!(disk.accepted().len(), 1);
    disk.go();
    assert!(bed.drained());
}

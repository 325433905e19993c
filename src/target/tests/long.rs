//! Commands in several steps: what may come between two of them.

use std::sync::Arc;

use bdev::{Bdev, IoError, NullBdev};

use super::bed::Bed;
use super::guest::Data;
use super::sim_disk::{Cancels, SimDisk};
use crate::target::live::Part;
use crate::virtio_scsi::spec::{TMF_ABORT_TASK, TMF_ABORT_TASK_SET, TMF_LOGICAL_UNIT_RESET};

const OK: u8 = 0;
const OVERRUN: u8 = 1;
const ABORTED: u8 = 2;
const RESET: u8 = 4;

/// VERIFY (10) of so many blocks from block 0 on.
fn verify(blocks: u8) -> [u8; 10] {
    [0x2f, 0, 0, 0, 0, 0, 0, 0, blocks, 0]
}

/// VERIFY (10) of one block with what is sent.
pub(super) fn verify_block(lba: u8) -> [u8; 10] {
    [0x2f, 2, 0, 0, 0, lba, 0, 0, 1, 0]
}

/// WRITE SAME (10) of one block.
pub(super) fn write_same(lba: u8) -> [u8; 10] {
    [0x41, 0, 0, 0, 0, lba, 0, 0, 1, 0]
}

/// UNMAP of one range.
pub(super) const UNMAP: [u8; 10] = [0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0];

/// Its parameter list for one block.
pub(super) fn unmap_list(lba: u8) -> [u8; 24] {
    let mut list = [0; 24];
    (list[1], list[3], list[15], list[19]) = (22, 16, lba, 1);
    list
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
    let ended = bed.guest().take_one();
    assert_eq!(
        (ended.sense, &ended.sense_bytes[..7]),
        (Some((3, 0x1100)), &[0xf0, 0, 3, 0, 0, 0, 0][..]),
        "it is block 0"
    );
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

/// COMPARE AND WRITE of one block.
pub(super) fn compare_and_write(lba: u8) -> [u8; 16] {
    [0x89, 0, 0, 0, 0, 0, 0, 0, 0, lba, 0, 0, 0, 1, 0, 0]
}

/// Its data: a block that holds `from` becomes one that holds `to`.
pub(super) fn change(from: u8, to: u8) -> Vec<u8> {
    [[from; 512], [to; 512]].concat()
}

/// Two cores with a guest on each, and one disk for both.
pub(super) fn shared() -> (Bed, SimDisk) {
    let (mut bed, mut disks) = Bed::simulated(2, 2, 1);
    bed.add_guest(2);
    (bed, disks.pop().expect("one"))
}

#[test]
fn blocks_have_one_owner_over_all_cores_and_guests() {
    let (mut bed, disk) = shared();
    disk.hold();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(0, 1)));
    bed.run();
    assert_eq!(disk.held(), 1);
    // On the other core, of the other guest.
    bed.guests[1].send(1, 0, &compare_and_write(1), Data::Out(&change(0, 2)));
    bed.run();
    assert_eq!((disk.accepted(), disk.held()), (vec![1], 1), "the other one waits");
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(disk.held(), 1);
    assert_eq!(disk.accepted(), [1, 1], "the write of the first one");
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(disk.held(), 1);
    assert_eq!(bed.guests[0].take_one().status, 0);
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guests[1].take_one().sense, Some((0xe, 0x1d00)), "it saw the write of the first one");
    assert_eq!((disk.block(1), disk.accepted().len()), (vec![1; 512], 3));
}

#[test]
fn an_owner_that_is_aborted_gives_its_blocks_back_when_the_disk_lets_go() {
    let (mut bed, disk) = shared();
    disk.hold();
    disk.set_cancels(Cancels::Fail);
    let first = bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(0, 1)));
    bed.run();
    assert_eq!(disk.held(), 1);
    let second = bed.guests[1].send(1, 0, &compare_and_write(1), Data::Out(&change(0, 2)));
    bed.run();
    let tmf = bed.guests[0].manage(TMF_ABORT_TASK, 0, first);
    bed.run();
    assert_eq!((bed.guests[0].take_ended(), disk.held()), (vec![], 1));
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guests[0].take_ended(), [(first, ABORTED), (tmf, OK)]);
    disk.go();
    bed.run();
    assert_eq!((bed.guests[1].take_ended(), disk.block(1)), (vec![(second, OK)], vec![2; 512]));
}

#[test]
fn one_that_waits_for_its_blocks_is_aborted_at_once() {
    let (mut bed, disk) = shared();
    disk.hold();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(0, 1)));
    bed.run();
    assert_eq!(disk.held(), 1);
    let second = bed.guests[1].send(1, 0, &compare_and_write(1), Data::Out(&change(0, 2)));
    bed.run();
    let tmf = bed.guests[1].manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    assert_eq!(bed.guests[1].take_ended(), [(second, ABORTED), (tmf, OK)]);
    disk.go();
    bed.run();
    assert_eq!((bed.guests[0].take_one().status, disk.block(1)), (0, vec![1; 512]));
}

#[test]
fn an_owner_ends_before_a_rest_and_others_after_it() {
    let (mut bed, disk) = shared();
    disk.hold();
    let first = bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(0, 1)));
    bed.run();
    assert_eq!(disk.held(), 1);
    let second = bed.guests[0].send(1, 0, &compare_and_write(1), Data::Out(&change(1, 2)));
    bed.run();
    let gate = bed.rest();
    bed.run();
    assert!(!gate.is_open());
    disk.go();
    bed.run();
    assert!(gate.is_open() && !bed.guests[0].memory_is_held());
    assert_eq!((disk.block(1), bed.guests[0].is_open(second)), (vec![1; 512], true));
    bed.guests[0].go_on();
    bed.run();
    assert_eq!(bed.guests[0].take_ended(), [(first, OK), (second, OK)]);
    assert_eq!(disk.block(1), [2; 512]);
}

#[test]
fn a_huge_range_leaves_the_core_to_others() {
    let mut bed = Bed::of(1, vec![Arc::new(NullBdev::new(1 << 40, 512).unwrap())]);
    bed.add_guest(1);
    let huge = [0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0];
    let id = bed.guest().send(0, 0, &huge, Data::Without);
    bed.passes(100);
    bed.guest().read(0, 0, 0);
    bed.passes(2);
    assert_eq!((bed.guest().take_one().response, bed.guest().is_open(id)), (OK, true));
    // It ends by a rest, as far as its memory goes, and by a reset for good.
    bed.guest().rest(Part::Control);
    bed.passes(4);
    let gate = bed.guest().rest(Part::Requests);
    bed.passes(4);
    assert!(gate.is_open() && !bed.guest().memory_is_held());
    bed.guest().go_on();
    bed.passes(100);
    let gate = bed.guest().retire();
    bed.passes(4);
    assert!(gate.is_open() && bed.drained());
}

#[test]
fn commands_beyond_the_memory_of_a_disk_wait_for_it() {
    let (disk, other) = (SimDisk::new(1024), SimDisk::new(1024));
    let disks = [&disk, &other].map(|disk| Arc::new(disk.clone()) as Arc<dyn Bdev>);
    let mut bed = Bed::of(1, disks.into());
    bed.add_guest(4);
    disk.hold();
    // 256 KiB each, of 16 MiB.
    let large = [0x2f, 0, 0, 0, 0, 0, 0, 2, 0, 0];
    let ids: Vec<_> = (0..72).map(|turn| bed.guest().send(turn % 4, 0, &large, Data::Without)).collect();
    let elsewhere = bed.guest().send(0, 1, &large, Data::Without);
    bed.run();
    assert_eq!((disk.held(), bed.guest().take_ended()), (64, vec![(elsewhere, OK)]), "another disk has its own");
    disk.go();
    bed.run();
    let ended = bed.guest().take_ended();
    assert_eq!(ended.len(), ids.len());
    assert!(ended.iter().all(|&(id, response)| ids.contains(&id) && response == OK));
}

//! Long commands that are put back because memory is away: what was allowed still is, and a copy goes on where it was.

use super::bed::Bed;
use super::copies::{COPY, copy, two_disks};
use super::guest::Data;
use super::live_luns::change;
use super::long::{change as changed, compare_and_write, write_same};
use super::sim_disk::SimDisk;
use crate::target::lun_map::Placement;
use crate::virtio_scsi::Address;
use crate::virtio_scsi::spec::{TASK_ATTR_HEAD, TASK_ATTR_ORDERED, TMF_ABORT_TASK};

const OK: u8 = 0;
const ABORTED: u8 = 2;
const TRANSPORT_FAILURE: u8 = 6;
const UNIT: Address = Address { target: 0, lun: 0 };
const RESERVE: [u8; 6] = [0x16, 0, 0, 0, 0, 0];
const GOOD: u8 = 0;
const CHECK_CONDITION: u8 = 2;
const RESERVATION_CONFLICT: u8 = 0x18;

/// Two guests, a disk for both, and a WRITE SAME of the first one that was put back after its operation.
fn put_back() -> (Bed, SimDisk, u64) {
    let (mut bed, mut disks) = Bed::simulated(1, 1, 1);
    bed.add_guest(1);
    let disk = disks.pop().expect("one");
    disk.hold();
    let id = bed.guest().send(0, 0, &write_same(1), Data::Out(&[7; 512]));
    bed.run();
    come_to_rest(&mut bed, &disk);
    assert!(bed.guest().is_open(id));
    disk.go();
    (bed, disk, id)
}

/// The memory goes while a command waits for the operation that `disk` holds: it is put back once that has ended.
fn come_to_rest(bed: &mut Bed, disk: &SimDisk) {
    let gate = bed.rest();
    disk.answer(0, Ok(()));
    bed.run();
    assert!(gate.is_open());
}

fn reserve(bed: &mut Bed) {
    bed.guests[1].send(0, 0, &RESERVE, Data::Without);
    bed.run();
    assert_eq!(bed.guests[1].take_one().status, 0);
}

/// Status of another WRITE SAME.
fn another(bed: &mut Bed) -> u8 {
    bed.guest().send(0, 0, &write_same(1), Data::Out(&[8; 512]));
    bed.run();
    bed.guest().take_one().status
}

#[test]
fn a_reservation_that_comes_meanwhile_is_for_others() {
    let (mut bed, disk, id) = put_back();
    reserve(&mut bed);
    bed.guest().go_on();
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.id, ended.status, disk.block(1)), (id, 0, vec![7; 512]));
    assert_eq!(another(&mut bed), RESERVATION_CONFLICT, "this one was not begun before");
    assert_eq!(disk.block(1), [7; 512]);
}

/// Two guests on one core, each with a disk, of which the second keeps two ORDERED commands open.
fn beside_a_busy_one() -> (Bed, SimDisk) {
    let (mut bed, mut disks) = Bed::simulated(1, 1, 2);
    bed.add_guest(1);
    disks.iter().for_each(SimDisk::hold);
    let _ = [0, 1].map(|lba| bed.guests[1].read_as(TASK_ATTR_ORDERED, 0, 1, lba));
    bed.run();
    (bed, disks.swap_remove(0))
}

#[test]
fn one_is_put_back_whatever_another_guest_has_others_wait_for() {
    let (mut bed, disk) = beside_a_busy_one();
    let id = bed.guest().send(0, 0, &write_same(1), Data::Out(&[7; 512]));
    bed.run();
    come_to_rest(&mut bed, &disk);
    assert!(bed.guest().is_open(id) && bed.guests[1].open() == 2);
}

#[test]
fn one_that_waits_for_a_range_is_put_back_whatever_another_guest_has_others_wait_for() {
    let (mut bed, disk) = beside_a_busy_one();
    let other = bed.add_guest(1);
    bed.guests[other].send(0, 0, &compare_and_write(1), Data::Out(&changed(0, 1)));
    bed.run();
    let id = bed.guest().write(0, 0, 1, 9);
    bed.run();
    assert_eq!(disk.accepted(), [1], "the block is the other's");
    let gate = bed.rest();
    bed.run();
    assert!(gate.is_open() && bed.guest().is_open(id));
}

#[test]
fn one_that_is_aborted_lends_its_rights_to_no_other() {
    let (mut bed, disk, id) = put_back();
    bed.guest().go_on();
    let tmf = bed.guest().manage(TMF_ABORT_TASK, 0, id);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, ABORTED), (tmf, OK)]);
    reserve(&mut bed);
    assert_eq!(another(&mut bed), RESERVATION_CONFLICT, "in the same chain");
    assert_eq!(disk.block(1), [7; 512]);
}

#[test]
fn one_that_is_put_back_twice_keeps_its_rights() {
    let (mut bed, disk, id) = put_back();
    reserve(&mut bed);
    disk.hold();
    bed.guest().go_on();
    bed.run();
    come_to_rest(&mut bed, &disk);
    assert!(bed.guest().is_open(id));
    disk.go();
    bed.guest().go_on();
    bed.run();
    assert_eq!(bed.guest().take_one().status, 0);
}

/// The logical unit goes, and comes again if it is to.
fn unplug(bed: &mut Bed, comes_again: bool) {
    change(bed, |luns| assert!(luns.remove(UNIT)));
    if comes_again {
        let disk = bed.disks[0].clone();
        change(bed, |luns| luns.add(Placement { address: UNIT, disk }));
    }
}

#[test]
fn one_whose_unit_was_removed_meanwhile_is_lost_whoever_is_there_now() {
    for comes_again in [false, true] {
        let (mut bed, disk, id) = put_back();
        unplug(&mut bed, comes_again);
        bed.guest().go_on();
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(id, TRANSPORT_FAILURE)], "nobody can say whether it was done");
        assert_eq!(disk.block(1), [7; 512], "it was");
    }
}

#[test]
fn one_that_waits_for_its_turn_to_go_on_is_lost_with_its_unit() {
    let (mut bed, mut disks) = Bed::simulated(2, 2, 1);
    let disk = disks.pop().expect("one");
    disk.hold();
    let id = bed.guest().send(0, 0, &write_same(1), Data::Out(&[7; 512]));
    bed.run();
    come_to_rest(&mut bed, &disk);
    bed.guest().go_on();
    // This one starts on the other core before anybody looks at the chain that was put back.
    let head = bed.guest().read_as(TASK_ATTR_HEAD, 1, 0, 0);
    bed.step(1);
    bed.run();
    assert_eq!((disk.held(), bed.guest().open()), (1, 2), "it is held back");
    unplug(&mut bed, true);
    disk.go();
    bed.run();
    let mut ended = bed.guest().take_ended();
    ended.sort_unstable();
    assert_eq!(ended, [(id, TRANSPORT_FAILURE), (head, TRANSPORT_FAILURE)]);
}

#[test]
fn one_that_has_begun_goes_on_whatever_allegiance_comes_meanwhile() {
    // READ (10) of a block that is not there, and the WRITE SAME, with NACA.
    const FAULT: [u8; 10] = [0x28, 0, 0, 0, 0, 200, 0, 0, 1, 4];
    const WRITE: [u8; 10] = [0x41, 0, 0, 0, 0, 1, 0, 0, 1, 4];
    let (mut bed, mut disks) = Bed::simulated(2, 2, 1);
    let disk = disks.pop().expect("one");
    disk.hold();
    let id = bed.guest().send(0, 0, &WRITE, Data::Out(&[7; 512]));
    bed.run();
    come_to_rest(&mut bed, &disk);
    disk.go();
    bed.guest().go_on();
    // On the other core, before anybody looks at the chain that was put back.
    let fault = bed.guest().send(1, 0, &FAULT, Data::In(512));
    bed.step(1);
    bed.run();
    let ended: Vec<_> = bed.guest().ended.drain(..).map(|ended| (ended.id, ended.status)).collect();
    assert_eq!(ended, [(fault, CHECK_CONDITION), (id, GOOD)]);
}

/// A list of copies of a block from the first disk to one of both.
fn copies(bed: &Bed, segments: &[(u8, usize, u8)]) -> Vec<u8> {
    let mut list = copy(bed, (0, 0), (1, 0));
    let one = list.split_off(80);
    for &(from, disk, to) in segments {
        let mut segment = one.clone();
        (segment[7], segment[19], segment[27]) = (disk as u8, from, to);
        list.extend(segment);
    }
    list[11] = 28 * segments.len() as u8;
    list
}

fn begin(bed: &mut Bed, list: &[u8]) -> u64 {
    let mut cdb = COPY;
    cdb[13] = list.len() as u8;
    let id = bed.guest().send(0, 0, &cdb, Data::Out(list));
    bed.run();
    id
}

/// The memory goes, `disk` answers meanwhile, and the memory comes again.
fn rest(bed: &mut Bed, disk: &SimDisk) {
    come_to_rest(bed, disk);
    bed.guest().go_on();
    bed.run();
}

#[test]
fn a_copy_goes_on_with_the_next_piece() {
    let (mut bed, first, second) = two_disks();
    let list = copies(&bed, &[(3, 1, 5), (4, 1, 6)]);
    let id = begin(&mut bed, &list);
    first.answer(0, Ok(()));
    bed.run();
    rest(&mut bed, &second);
    assert_eq!((first.accepted(), second.accepted()), (vec![3, 3, 4], vec![5]), "the first segment was done");
    // What was read and not written is read again.
    rest(&mut bed, &first);
    assert_eq!((first.accepted(), second.accepted()), (vec![3, 3, 4, 4], vec![5]));
    first.go();
    second.go();
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.id, ended.status, ended.resid), (id, 0, 0), "and all of its list was used");
    assert_eq!((second.block(5), second.accepted()), (vec![7; 512], vec![5, 6]));
}

#[test]
fn a_copy_does_nothing_twice() {
    let (mut bed, disk, _) = two_disks();
    disk.go();
    bed.guest().write(0, 0, 4, 8);
    bed.run();
    bed.guest().ended.clear();
    disk.hold();
    // What the second segment writes is what the first one has read.
    let list = copies(&bed, &[(4, 0, 5), (3, 0, 4)]);
    begin(&mut bed, &list);
    for _ in 0..3 {
        disk.answer(0, Ok(()));
        bed.run();
    }
    rest(&mut bed, &disk);
    assert_eq!((bed.guest().take_one().status, disk.held()), (0, 0));
    assert_eq!((disk.block(5), disk.block(4)), (vec![8; 512], vec![7; 512]));
}

//! EXTENDED COPY: operations on the disks of several logical units.

use super::bed::Bed;
use super::guest::Data;
use super::sim_disk::SimDisk;
use crate::virtio_scsi::spec::TMF_ABORT_TASK;

const OK: u8 = 0;
const ABORTED: u8 = 2;

/// EXTENDED COPY of a block, from disk to disk.
fn copy(bed: &Bed, from: (usize, u8), to: (usize, u8)) -> Vec<u8> {
    let mut list = vec![0; 16 + 2 * 32 + 28];
    (list[3], list[11]) = (64, 28);
    for (at, disk) in [(16, from.0), (48, to.0)] {
        list[at] = 0xe4;
        (list[at + 4], list[at + 5], list[at + 7]) = (1, 3, 8);
        list[at + 8..at + 16].copy_from_slice(bed.disks[disk].identity.naa().as_bytes());
    }
    (list[80], list[83], list[87], list[91]) = (2, 24, 1, 1);
    (list[99], list[107]) = (from.1, to.1);
    list
}

/// EXTENDED COPY with such a list.
const COPY: [u8; 16] = [0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 108, 0, 0];

/// One core, one guest, and two disks that answer when they are told.
fn two_disks() -> (Bed, SimDisk, SimDisk) {
    let (mut bed, mut disks) = Bed::simulated(1, 1, 2);
    let (second, first) = (disks.pop().expect("two"), disks.pop().expect("two"));
    bed.guest().write(0, 0, 3, 7);
    bed.run();
    bed.guest().ended.clear();
    first.hold();
    second.hold();
    (bed, first, second)
}

#[test]
fn copies_from_one_disk_to_another() {
    let (mut bed, first, second) = two_disks();
    let list = copy(&bed, (0, 3), (1, 5));
    let id = bed.guest().send(0, 1, &COPY, Data::Out(&list));
    bed.run();
    assert_eq!((first.held(), second.held()), (1, 0), "it reads first, whichever unit was asked");
    first.answer(0, Ok(()));
    bed.run();
    assert_eq!((first.held(), second.held()), (0, 1));
    second.answer(0, Ok(()));
    bed.run();
    assert_eq!((bed.guest().take_ended(), second.block(5)), (vec![(id, OK)], vec![7; 512]));
}

#[test]
fn a_copy_is_aborted_on_the_disk_where_it_is() {
    for disk in [0, 1] {
        let (mut bed, first, second) = two_disks();
        let list = copy(&bed, (0, 3), (1, 5));
        let id = bed.guest().send(0, 0, &COPY, Data::Out(&list));
        bed.run();
        if disk == 1 {
            first.answer(0, Ok(()));
            bed.run();
        }
        let tmf = bed.guest().manage(TMF_ABORT_TASK, 0, id);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(id, ABORTED), (tmf, OK)]);
        assert_eq!([first.cancelled(), second.cancelled()], if disk == 0 { [1, 0] } else { [0, 1] });
        assert_eq!(second.block(5), [0; 512]);
    }
}

#[test]
fn a_copy_has_no_more_rights_to_a_disk_than_its_guest() {
    const FAILURE: (u8, u16) = (0xa, 0x0d01);
    for disk in [0, 1] {
        let (mut bed, mut disks) = Bed::simulated(1, 1, 2);
        bed.add_guest(1);
        let reserve = bed.guests[1].send(0, disk, &[0x16, 0, 0, 0, 0, 0], Data::Without);
        bed.run();
        assert_eq!(bed.guests[1].take_ended(), [(reserve, OK)]);
        let list = copy(&bed, (usize::from(disk), 3), (usize::from(1 - disk), 5));
        bed.guest().send(0, 1 - disk, &COPY, Data::Out(&list));
        bed.run();
        assert_eq!(bed.guest().take_one().sense, Some(FAILURE), "its source is reserved for another");
        let list = copy(&bed, (usize::from(1 - disk), 3), (usize::from(disk), 5));
        bed.guest().send(0, 1 - disk, &COPY, Data::Out(&list));
        bed.run();
        assert_eq!(bed.guest().take_one().sense, Some(FAILURE), "its destination is");
        assert_eq!(disks.remove(usize::from(disk)).block(5), [0; 512]);
    }
}

#[test]
fn a_copy_begins_again_after_a_rest() {
    let (mut bed, first, second) = two_disks();
    let list = copy(&bed, (0, 3), (1, 5));
    let id = bed.guest().send(0, 0, &COPY, Data::Out(&list));
    bed.run();
    let gate = bed.rest();
    first.answer(0, Ok(()));
    bed.run();
    assert!(gate.is_open() && second.held() == 0);
    bed.guest().go_on();
    first.go();
    second.go();
    bed.run();
    assert_eq!((bed.guest().take_ended(), second.block(5)), (vec![(id, OK)], vec![7; 512]));
}

#[test]
fn a_copy_and_work_on_a_whole_disk_keep_out_of_each_others_way() {
    let (mut bed, first, second) = two_disks();
    let list = copy(&bed, (0, 3), (1, 5));
    bed.guest().send(0, 0, &COPY, Data::Out(&list));
    bed.run();
    // While it reads, the disk that it is to write is sanitized.
    bed.guest().send(0, 1, &[0x48, 0x82, 0, 0, 0, 0, 0, 0, 0, 0], Data::Without);
    bed.run();
    assert_eq!((bed.guest().take_one().status, second.held()), (0, 1));
    first.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_one().sense, Some((0xa, 0x0d01)));
    bed.guest().send(0, 0, &COPY, Data::Out(&list));
    bed.run();
    assert_eq!(bed.guest().take_one().sense, Some((0xa, 0x0d02)), "it cannot be reached");
    second.go();
    bed.run();
    bed.guest().send(0, 0, &COPY, Data::Out(&list));
    first.go();
    bed.run();
    assert_eq!((bed.guest().take_one().status, second.block(5)), (0, vec![7; 512]));
}

#[test]
fn a_disk_of_another_device_is_not_reachable() {
    let (mut bed, _, _) = two_disks();
    let mut list = copy(&bed, (0, 3), (1, 5));
    list[48 + 15] ^= 1;
    bed.guest().send(0, 0, &COPY, Data::Out(&list));
    bed.run();
    assert_eq!(bed.guest().take_one().sense, Some((0xa, 0x0d02)));
}

//! EXTENDED COPY: operations on the disks of several logical units.

use bdev::OpKind;

use super::bed::Bed;
use super::guest::{Data, Ended};
use super::live_luns::{change, open};
use super::sim_disk::SimDisk;
use crate::scsi::Attention;
use crate::target::lun_map::Placement;
use crate::virtio_scsi::Address;
use crate::virtio_scsi::spec::TMF_ABORT_TASK;

const OK: u8 = 0;
const ABORTED: u8 = 2;

/// EXTENDED COPY of a block, from disk to disk.
pub(super) fn copy(bed: &Bed, from: (usize, u8), to: (usize, u8)) -> Vec<u8> {
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
pub(super) const COPY: [u8; 16] = [0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 108, 0, 0];

/// Sends a command, and waits for its end.
pub(super) fn execute(bed: &mut Bed, target: u8, cdb: &[u8], data: Data<'_>) -> Ended {
    bed.guest().send(0, target, cdb, data);
    bed.run();
    bed.guest().take_one()
}

/// One core, one guest, and two disks that answer when they are told.
pub(super) fn two_disks() -> (Bed, SimDisk, SimDisk) {
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

/// MODE SELECT (6), and its list with WCE = 0, and with SWP = 1.
pub(super) const SELECT: [u8; 6] = [0x15, 0x10, 0, 0, 24, 0];
pub(super) const CACHE_OFF: [u8; 24] = [0, 0, 0, 0, 0x08, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
const SELECT_CONTROL: [u8; 6] = [0x15, 0x10, 0, 0, 16, 0];
const PROTECT: [u8; 16] = [0, 0, 0, 0, 0x0a, 0x0a, 0x22, 0x10, 8, 0, 0, 0, 0xff, 0xff, 0, 0];

/// A copy that has read its block, and not written it.
fn copying() -> (Bed, SimDisk, SimDisk) {
    let (mut bed, first, second) = two_disks();
    second.go();
    let list = copy(&bed, (0, 3), (1, 5));
    bed.guest().send(0, 0, &COPY, Data::Out(&list));
    bed.run();
    assert_eq!(first.held(), 1);
    (bed, first, second)
}

#[test]
fn a_copy_to_a_disk_whose_writes_are_not_cached_is_on_its_medium() {
    for is_off in [false, true] {
        let (mut bed, first, second) = copying();
        if is_off {
            assert_eq!(execute(&mut bed, 1, &SELECT, Data::Out(&CACHE_OFF)).status, 0, "while it reads");
        }
        first.answer(0, Ok(()));
        bed.run();
        assert_eq!(bed.guest().take_one().status, 0);
        assert_eq!((second.kinds().pop(), second.block(5)), (Some(OpKind::Write { fua: is_off }), vec![7; 512]));
    }
}

#[test]
fn a_copy_does_not_go_on_to_write_a_disk_that_is_protected_meanwhile() {
    let (mut bed, first, second) = copying();
    assert_eq!(execute(&mut bed, 1, &SELECT_CONTROL, Data::Out(&PROTECT)).status, 0);
    first.answer(0, Ok(()));
    bed.run();
    assert_eq!((bed.guest().take_one().sense, second.block(5)), (Some((0xa, 0x0d01)), vec![0; 512]));
    let list = copy(&bed, (1, 5), (0, 3));
    first.go();
    assert_eq!(execute(&mut bed, 0, &COPY, Data::Out(&list)).sense, None, "it is read all the same");
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

/// The list of LID4 with the same content, and a name.
fn with_name(name: u8, list: &[u8]) -> Vec<u8> {
    let mut header = [0; 48];
    (header[0], header[3], header[16], header[23]) = (1, 32, 0xff, name);
    (header[43], header[45]) = (list[3], list[11]);
    [&header[..], &list[16..]].concat()
}

/// EXTENDED COPY (LID4) of so many bytes of list.
fn copy_4(len: usize) -> [u8; 16] {
    [0x83, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, len as u8, 0, 0]
}

/// RECEIVE COPY STATUS (LID4) of the name 9.
const STATUS: [u8; 16] = [0x84, 5, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
const UNKNOWN: Option<(u8, u16)> = Some((5, 0x2400));

#[test]
fn a_copy_with_a_name_can_be_asked_about_and_aborted() {
    let (mut bed, first, second) = two_disks();
    let list = with_name(9, &copy(&bed, (0, 3), (1, 5)));
    let id = bed.guest().send(0, 0, &copy_4(list.len()), Data::Out(&list));
    bed.run();
    let told = execute(&mut bed, 0, &STATUS, Data::In(64)).data;
    assert_eq!((&told[..8], &told[8..16]), (&[0, 0, 0, 28, 1, 0x11, 0, 0][..], &[0, 0, 0, 100, 0, 0, 0, 0][..]));
    assert_eq!((&told[16..24], &told[24..26]), (&[0; 8][..], &[0, 1][..]), "a segment has begun");
    assert_eq!(execute(&mut bed, 1, &STATUS, Data::In(64)).sense, UNKNOWN, "it was asked of the other unit");
    let again = execute(&mut bed, 0, &copy_4(list.len()), Data::Out(&list));
    assert_eq!(again.sense, Some((5, 0x0016)), "its name is taken");
    let abort = [0x83, 0x1c, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(execute(&mut bed, 0, &abort, Data::Without).status, 0);
    first.answer(0, Ok(()));
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.id, ended.sense, second.held()), (id, Some((0xa, 0x2f02)), 0));
    let told = execute(&mut bed, 0, &STATUS, Data::In(64)).data;
    assert_eq!(told[4..16], [1, 0x60, 0, 1, 0xff, 0xff, 0xff, 0xfe, 0x40, 0, 0, 0], "TASK ABORTED");
    assert_eq!(execute(&mut bed, 0, &abort, Data::Without).sense, UNKNOWN);
}

#[test]
fn what_became_of_a_copy_is_known_until_the_unit_is_reset_or_the_nexus_lost() {
    for (attention, target, is_known) in [
        (Attention::LogicalUnitReset, 0, false),
        (Attention::HardReset, 0, false),
        (Attention::NexusLoss, 0, false),
        (Attention::LogicalUnitReset, 1, true),
        (Attention::CapacityChanged, 0, true),
    ] {
        let (mut bed, first, second) = two_disks();
        first.go();
        second.go();
        let list = with_name(9, &copy(&bed, (0, 3), (1, 5)));
        assert_eq!(execute(&mut bed, 0, &copy_4(list.len()), Data::Out(&list)).status, 0);
        bed.guest().adapter.luns().raise(attention, |address| address.target == target);
        let status = execute(&mut bed, 0, &STATUS, Data::In(64));
        let status = if target == 0 { execute(&mut bed, 0, &STATUS, Data::In(64)) } else { status };
        assert_eq!(status.sense, if is_known { None } else { UNKNOWN }, "{attention:?}");
        assert!(!is_known || status.data[4..6] == [1, 1]);
    }
}

#[test]
fn a_copy_that_task_management_ends_is_known_as_aborted() {
    let (mut bed, first, _) = two_disks();
    let list = with_name(9, &copy(&bed, (0, 3), (1, 5)));
    let id = bed.guest().send(0, 0, &copy_4(list.len()), Data::Out(&list));
    bed.run();
    bed.guest().manage(TMF_ABORT_TASK, 0, id);
    bed.run();
    assert_eq!((bed.guest().take_ended().len(), first.cancelled()), (2, 1));
    assert_eq!(execute(&mut bed, 0, &STATUS, Data::In(64)).data[5], 0x60);
}

#[test]
fn what_became_of_a_copy_is_known_when_its_disk_has_another_size() {
    let (mut bed, first, second) = two_disks();
    first.go();
    second.go();
    let list = with_name(9, &copy(&bed, (0, 3), (1, 5)));
    assert_eq!(execute(&mut bed, 0, &copy_4(list.len()), Data::Out(&list)).status, 0);
    let larger = SimDisk::new(200);
    let disk = open(&mut bed, 1, 2, &larger);
    let address = Address { target: 0, lun: 0 };
    let left = change(&mut bed, |luns| assert!(luns.replace(Placement { address, disk })));
    assert!(left.is_open());
    assert_eq!(execute(&mut bed, 0, &STATUS, Data::In(64)).data[4..6], [1, 1]);
}

//! Logical units that leave, come and change under requests: each request ends once, on the disk where it began.

use std::sync::{Arc, mpsc};

use bdev::{Bdev, NullBdev};
use reactor::{Context, Gate};

use super::bed::Bed;
use super::guest::{Data, TEST_UNIT_READY};
use super::sim_disk::{Cancels, SimDisk};
use crate::scsi::Attention;
use crate::target::disk::{Disk, DiskIndex};
use crate::target::lun_map::{LunMap, Placement};
use crate::target::message::Message;
use crate::virtio_scsi::Address;
use crate::virtio_scsi::spec::{TASK_ATTR_ORDERED, TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET};

const OK: u8 = 0;
const BAD_TARGET: u8 = 3;
const RESET: u8 = 4;
const TRANSPORT_FAILURE: u8 = 6;
const UNIT: Address = Address { target: 1, lun: 0 };

/// Changes the logical units of the only guest. The gate opens when nothing is on those that left.
pub(super) fn change(bed: &mut Bed, edit: impl FnOnce(&mut LunMap)) -> Gate {
    let guest = bed.guest();
    let mut luns = LunMap::clone(&guest.adapter.luns());
    edit(&mut luns);
    let luns = Arc::new(luns);
    guest.adapter.set_luns(luns.clone());
    let (seen, left) = guest.live.as_ref().expect("it lives").change_luns(&luns);
    bed.run();
    assert!(seen.is_open());
    left
}

/// A disk that is new on all of `cores` cores.
pub(super) fn open(bed: &mut Bed, cores: usize, index: usize, disk: &SimDisk) -> Arc<Disk> {
    let disk = Arc::new(Disk::of(Arc::new(disk.clone()), DiskIndex(index)));
    for core in 0..cores {
        let (reply, answer) = mpsc::channel();
        bed.core(core).message(Message::OpenDisk { disk: disk.clone(), reply });
        answer.recv().expect("it answers").expect("there is room");
    }
    disk
}

/// Closes the channels of `cores` cores to a disk; the gate opens when all of them have.
pub(super) fn close(bed: &mut Bed, cores: usize, disk: DiskIndex) -> Gate {
    let (gate, passes) = Gate::new(cores);
    for (core, pass) in passes.into_iter().enumerate() {
        bed.core(core).message(Message::CloseDisk { disk, pass });
    }
    bed.run();
    gate
}

#[test]
fn requests_on_a_unit_that_is_removed_end_when_their_disk_gives_them_back() {
    for cancels in [Cancels::Work, Cancels::Fail] {
        let (mut bed, disks) = Bed::simulated(2, 4, 2);
        disks[1].hold();
        disks[1].set_cancels(cancels);
        let ids = [0, 1, 2, 3].map(|queue| bed.guest().read(queue, 1, 0));
        bed.run();
        let left = change(&mut bed, |luns| assert!(luns.remove(UNIT)));
        assert_eq!((left.is_open(), disks[1].cancelled()), (cancels == Cancels::Work, 4));
        let late = bed.guest().read(0, 1, 0);
        let other = bed.guest().read(1, 0, 0);
        bed.run();
        let wait = close(&mut bed, 2, DiskIndex(1));
        assert!(!wait.is_open(), "its flush is held, or its operations are");
        disks[1].go();
        bed.run();
        assert!(left.is_open() && wait.is_open());
        let mut ended = bed.guest().take_ended();
        ended.sort_unstable();
        let mut expected: Vec<_> = ids.map(|id| (id, TRANSPORT_FAILURE)).to_vec();
        expected.extend([(late, BAD_TARGET), (other, OK)]);
        assert_eq!(ended, expected);
    }
}

#[test]
fn a_disk_that_finds_no_room_for_its_last_flush_is_not_slept_over() {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    let left = change(&mut bed, |luns| assert!(luns.remove(UNIT)));
    assert!(left.is_open() && bed.core(0).may_sleep());
    disks[1].set_room(0);
    let wait = close(&mut bed, 1, DiskIndex(1));
    assert!(!wait.is_open() && !bed.core(0).may_sleep());
    disks[1].set_room(1);
    bed.run();
    assert!(wait.is_open() && bed.core(0).may_sleep());
}

#[test]
fn requests_that_wait_for_room_end_at_once() {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    disks[1].hold();
    disks[1].set_room(1);
    disks[1].set_cancels(Cancels::Fail);
    let ids = [0, 1, 2].map(|lba| bed.guest().read(0, 1, lba));
    bed.run();
    let left = change(&mut bed, |luns| assert!(luns.remove(UNIT)));
    assert_eq!(bed.guest().take_ended(), [(ids[1], TRANSPORT_FAILURE), (ids[2], TRANSPORT_FAILURE)]);
    assert!(!left.is_open());
    disks[1].release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(ids[0], TRANSPORT_FAILURE)]);
    assert!(left.is_open());
}

#[test]
fn requests_on_a_unit_that_changed_end_on_the_old_disk_and_new_ones_on_the_new() {
    let (mut bed, disks) = Bed::simulated(2, 2, 2);
    disks[1].hold();
    let before = [0, 1].map(|queue| bed.guest().read(queue, 1, 5));
    bed.run();
    let larger = SimDisk::new(200);
    let disk = open(&mut bed, 2, 2, &larger);
    let left = change(&mut bed, |luns| assert!(luns.replace(Placement { address: UNIT, disk })));
    let after = bed.guest().read(0, 1, 150);
    bed.run();
    assert_eq!((bed.guest().take_ended(), larger.accepted()), (vec![(after, OK)], vec![150]));
    assert_eq!((left.is_open(), disks[1].cancelled()), (false, 0));
    disks[1].go();
    bed.run();
    let mut ended = bed.guest().take_ended();
    ended.sort_unstable();
    assert_eq!(ended, before.map(|id| (id, OK)));
    assert!(left.is_open());
    let _ = change(&mut bed, LunMap::forget_leaving);
    assert!(close(&mut bed, 2, DiskIndex(1)).is_open());
    // The index, and the place in the map, are for the next disk.
    let next = SimDisk::new(8);
    let disk = open(&mut bed, 2, 1, &next);
    let address = Address { target: 3, lun: 0 };
    let _ = change(&mut bed, |luns| luns.add(Placement { address, disk }));
    bed.guest().read(1, 3, 7);
    bed.guest().read(0, 1, 199);
    bed.run();
    assert_eq!((next.accepted(), larger.accepted()), (vec![7], vec![150, 199]));
    assert!(bed.guest().take_ended().iter().all(|&(_, response)| response == OK));
}

#[test]
fn a_unit_that_has_gone_and_come_again_is_on_the_disk_that_it_came_with() {
    // A disk that is done with at once, and then one that makes requests wait, of the same name in the core.
    let null = || Arc::new(NullBdev::new(1 << 20, 512).expect("a legal size")) as Arc<dyn Bdev>;
    let mut bed = Bed::of(1, vec![null(), null()]);
    bed.add_guest(1);
    let before = bed.guest().read(0, 1, 0);
    bed.run();
    assert!(change(&mut bed, |luns| assert!(luns.remove(UNIT))).is_open());
    let missing = bed.guest().read(0, 1, 0);
    bed.run();
    assert!(close(&mut bed, 1, DiskIndex(1)).is_open());
    let after = SimDisk::new(64);
    let disk = open(&mut bed, 1, 1, &after);
    after.hold();
    change(&mut bed, |luns| luns.add(Placement { address: UNIT, disk }));
    let late = [1, 2].map(|lba| bed.guest().read(0, 1, lba));
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(before, OK), (missing, BAD_TARGET)]);
    assert_eq!(after.held(), 2);
    after.go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), late.map(|id| (id, OK)));
}

#[test]
fn requests_on_a_disk_that_a_unit_had_before_go_with_the_unit() {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    disks[1].hold();
    disks[1].set_cancels(Cancels::Fail);
    let id = bed.guest().read(0, 1, 5);
    bed.run();
    let disk = open(&mut bed, 1, 2, &SimDisk::new(200));
    let replaced = change(&mut bed, |luns| assert!(luns.replace(Placement { address: UNIT, disk })));
    let removed = change(&mut bed, |luns| assert!(luns.remove(UNIT)));
    assert!(!replaced.is_open() && !removed.is_open());
    disks[1].go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, TRANSPORT_FAILURE)]);
    assert!(replaced.is_open() && removed.is_open());
}

#[test]
fn what_task_management_holds_back_finds_that_its_unit_has_gone() {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    disks[1].hold();
    disks[1].set_cancels(Cancels::Fail);
    let first = bed.guest().read(0, 1, 0);
    bed.run();
    let function = bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 1, 0);
    bed.run();
    let held_back = bed.guest().send(0, 1, &[0; 6], Data::Without);
    bed.run();
    let left = change(&mut bed, |luns| assert!(luns.remove(UNIT)));
    assert!(bed.guest().take_ended().is_empty() && !left.is_open());
    disks[1].release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(first, RESET), (function, OK), (held_back, BAD_TARGET)]);
    assert!(left.is_open());
}

#[test]
fn a_life_that_has_ended_keeps_its_disk_until_that_answers() {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    disks[1].hold();
    disks[1].set_cancels(Cancels::Fail);
    bed.guest().read(0, 1, 0);
    bed.run();
    let retired = bed.guest().retire();
    bed.run();
    let closed = close(&mut bed, 1, DiskIndex(1));
    assert!(!retired.is_open() && !closed.is_open());
    disks[1].go();
    bed.run();
    assert!(retired.is_open() && closed.is_open());
}

#[test]
fn a_function_waits_for_the_answer_of_a_command_that_found_no_target() {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    let _ = bed.guest().retire();
    bed.run();
    bed.guest().share_no_data();
    bed.guest().start();
    bed.run();
    let _ = change(&mut bed, |luns| assert!(luns.remove(UNIT)));
    let late = bed.guest().send(0, 1, &TEST_UNIT_READY, Data::Without);
    // Its request is fetched, and its answer is not stored.
    bed.step(0);
    bed.step(0);
    bed.guest().far().client.waits = true;
    bed.run();
    let disk = bed.disks[1].clone();
    let _ = change(&mut bed, |luns| luns.add(Placement { address: UNIT, disk }));
    bed.guest().share_next();
    let function = bed.guest().manage(TMF_I_T_NEXUS_RESET, 1, 0);
    bed.run();
    assert!(bed.guest().take_ended().is_empty(), "the command is open");
    bed.guest().far().client.waits = false;
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(late, BAD_TARGET), (function, OK)]);
    drop(disks);
}

#[test]
fn an_ordered_command_is_one_on_a_unit_that_came_while_it_was_held_back() {
    const HERE: Address = Address { target: 0, lun: 0 };
    let (mut bed, disks) = Bed::simulated(1, 2, 1);
    let neighbour = open(&mut bed, 1, 1, &SimDisk::new(8));
    let _ = change(&mut bed, |luns| luns.add(Placement { address: Address { target: 0, lun: 1 }, disk: neighbour }));
    disks[0].hold();
    disks[0].set_cancels(Cancels::Fail);
    // A reset that waits for a disk holds back what comes for the target, whose unit goes and comes.
    let first = bed.guest().read(0, 0, 0);
    bed.run();
    let reset = bed.guest().manage(TMF_I_T_NEXUS_RESET, 0, 0);
    bed.run();
    let _ = change(&mut bed, |luns| assert!(luns.remove(HERE)));
    // The first one hears of the reset.
    let [told, ordered] = [1, 1].map(|lba| bed.guest().read_as(TASK_ATTR_ORDERED, 0, 0, lba));
    let behind = bed.guest().read(0, 0, 2);
    bed.run();
    let disk = bed.disks[0].clone();
    let _ = change(&mut bed, |luns| luns.add(Placement { address: HERE, disk }));
    disks[0].answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(first, RESET), (reset, OK), (told, OK)]);
    assert_eq!(disks[0].accepted(), [0, 1], "what is behind it waits");
    disks[0].go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(ordered, OK), (behind, OK)]);
}

#[test]
fn a_reset_reaches_those_who_share_the_disk_though_the_unit_goes_meanwhile() {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    let other = bed.add_guest(1);
    disks[1].hold();
    disks[1].set_cancels(Cancels::Fail);
    let theirs = bed.guests[other].read(0, 1, 0);
    bed.run();
    let reset = bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 1, 0);
    bed.run();
    change(&mut bed, |luns| assert!(luns.remove(UNIT)));
    disks[1].go();
    bed.run();
    assert_eq!((bed.guest().take_ended(), bed.guests[other].take_ended()), (vec![(reset, OK)], vec![(theirs, RESET)]));
    bed.guests[other].send(0, 1, &TEST_UNIT_READY, Data::Without);
    bed.run();
    assert_eq!(bed.guests[other].take_one().sense, Some((6, 0x2903)), "its nexus is told why");
}

#[test]
fn report_luns_tells_of_the_change_for_all_of_its_target() {
    const REPORT_LUNS: [u8; 12] = [0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    const CHANGED: Option<(u8, u16)> = Some((6, 0x3f0e));
    let sense = |bed: &mut Bed, target: u8, cdb: &[u8], data| {
        bed.guest().send(0, target, cdb, data);
        bed.run();
        bed.guest().take_one().sense
    };
    for (reported_by, told) in [(0, [None, CHANGED]), (1, [CHANGED, None])] {
        let (mut bed, _disks) = Bed::simulated(1, 1, 2);
        let luns = bed.guest().adapter.luns();
        luns.raise(Attention::ReportedLunsChanged, |_| true);
        // A bad field neither tells nor takes it.
        let mut bad = REPORT_LUNS;
        bad[2] = 0xff;
        assert_eq!(sense(&mut bed, reported_by, &bad, Data::In(256)), Some((5, 0x2400)));
        let bad = [0x12, 0x02, 0, 0, 36, 0];
        assert_eq!(sense(&mut bed, reported_by, &bad, Data::In(36)), Some((5, 0x2400)));
        assert_eq!(sense(&mut bed, reported_by, &REPORT_LUNS, Data::In(256)), None);
        let units = [0, 1].map(|target| sense(&mut bed, target, &TEST_UNIT_READY, Data::Without));
        assert_eq!(units, told);
    }
}

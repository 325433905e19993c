//! Auto contingent allegiance over two cores, several queues and two guests: what a fault stops, what may look into it, and
//! each way in which it ends.

use bdev::IoError;
use reactor::Context;

use super::bed::Bed;
use super::guest::Data;
use super::live_luns::change;
use super::sim_disk::{Cancels, SimDisk};
use crate::scsi::Attention;
use crate::target::lun_map::Placement;
use crate::virtio_scsi::Address;
use crate::virtio_scsi::spec::{
    TASK_ATTR_ACA, TASK_ATTR_HEAD, TASK_ATTR_ORDERED, TASK_ATTR_SIMPLE, TMF_ABORT_TASK_SET, TMF_CLEAR_ACA,
    TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET,
};

const OK: u8 = 0;
const ABORTED: u8 = 2;
const BAD_TARGET: u8 = 3;
const RESET: u8 = 4;
const TRANSPORT_FAILURE: u8 = 6;
const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;
const ACA_ACTIVE: u8 = 0x30;
const RESERVATION_CONFLICT: u8 = 0x18;

/// READ(10) of a block that is not there, without NACA and with.
const FAULT: [u8; 10] = [0x28, 0, 0, 0, 0, 200, 0, 0, 1, 0];
const FAULT_WITH_NACA: [u8; 10] = [0x28, 0, 0, 0, 0, 200, 0, 0, 1, 0x04];

/// Two cores, four request queues, two disks of which the first holds all that it gets.
fn bed() -> (Bed, SimDisk) {
    let (bed, mut disks) = Bed::simulated(2, 4, 2);
    let disk = disks.swap_remove(0);
    disk.hold();
    disk.set_cancels(Cancels::Fail);
    (bed, disk)
}

/// Sends a command with a task attribute.
fn send(bed: &mut Bed, guest: usize, attribute: u8, queue: usize, cdb: &[u8]) -> u64 {
    let guest = &mut bed.guests[guest];
    guest.attribute = attribute;
    let id = guest.send(queue, 0, cdb, Data::In(512));
    guest.attribute = TASK_ATTR_SIMPLE;
    id
}

/// The same, and the status and sense of its end.
fn told(bed: &mut Bed, attribute: u8, queue: usize, cdb: &[u8]) -> (u8, Option<(u8, u16)>) {
    send(bed, 0, attribute, queue, cdb);
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!(ended.response, OK);
    (ended.status, ended.sense)
}

fn fault(bed: &mut Bed) {
    assert_eq!(told(bed, TASK_ATTR_SIMPLE, 3, &FAULT_WITH_NACA), (CHECK_CONDITION, Some((5, 0x2100))));
}

fn clear(bed: &mut Bed) -> u64 {
    bed.guest().manage(TMF_CLEAR_ACA, 0, 0)
}

/// Whether a usual command is taken again.
fn is_clear(bed: &mut Bed) -> bool {
    told(bed, TASK_ATTR_SIMPLE, 0, &[0; 6]).0 != ACA_ACTIVE
}

#[test]
fn a_fault_stops_all_that_is_not_its_own() {
    let (mut bed, disk) = bed();
    let running = bed.guest().read(0, 0, 0);
    bed.run();
    fault(&mut bed);
    let tasks = [(TASK_ATTR_SIMPLE, 0), (TASK_ATTR_ORDERED, 1), (TASK_ATTR_HEAD, 2), (TASK_ATTR_SIMPLE, 3)];
    for (attribute, queue) in tasks {
        for cdb in [&[0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0][..], &[0x12, 0, 0, 0, 36, 0], &FAULT_WITH_NACA, &[0xff; 16]] {
            assert_eq!(told(&mut bed, attribute, queue, cdb), (ACA_ACTIVE, None), "{attribute} {cdb:02x?}");
        }
    }
    bed.guest().read(1, 1, 0);
    bed.run();
    assert_eq!(bed.guest().take_one().status, GOOD, "another logical unit");
    disk.go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(running, OK)], "what had started goes on");
    let cleared = clear(&mut bed);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(cleared, OK)]);
    assert!(is_clear(&mut bed));
    let again = clear(&mut bed);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(again, OK)], "where there is none it is as good");
}

#[test]
fn a_fault_concerns_its_own_nexus() {
    let (mut bed, disk) = bed();
    disk.go();
    let other = bed.add_guest(2);
    fault(&mut bed);
    let id = send(&mut bed, other, TASK_ATTR_SIMPLE, 0, &[0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0]);
    bed.run();
    let ended = bed.guests[other].take_one();
    assert_eq!((ended.id, ended.status), (id, GOOD), "TST is 001b");
    assert!(!is_clear(&mut bed));
}

#[test]
fn a_reset_by_another_guest_lets_go_on_what_was_held_back() {
    let (mut bed, disk) = bed();
    let other = bed.add_guest(2);
    bed.guest().read(0, 0, 0);
    bed.run();
    bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    // What the other guest had sent has ended, and the reset waits for the read.
    let faulty = send(&mut bed, other, TASK_ATTR_SIMPLE, 0, &[0x28, 0, 0, 0, 0, 1, 0, 0, 1, 4]);
    bed.run();
    let ordered = send(&mut bed, other, TASK_ATTR_ORDERED, 1, &[0x28, 0, 0, 0, 0, 2, 0, 0, 1, 0]);
    bed.run();
    disk.answer(1, Err(IoError::Medium));
    bed.run();
    let ended = bed.guests[other].take_one();
    assert_eq!((ended.id, ended.status), (faulty, CHECK_CONDITION));
    assert!(bed.guests[other].is_open(ordered));
    disk.go();
    bed.run();
    assert_eq!((bed.guests[other].take_one().id, bed.guests[other].open()), (ordered, 0));
}

#[test]
fn only_naca_and_a_fault_together_are_one() {
    let (mut bed, disk) = bed();
    disk.go();
    assert_eq!(told(&mut bed, TASK_ATTR_SIMPLE, 0, &FAULT).0, CHECK_CONDITION);
    assert_eq!(told(&mut bed, TASK_ATTR_SIMPLE, 0, &[0x28, 0, 0, 0, 0, 1, 0, 0, 1, 4]).0, GOOD);
    assert!(is_clear(&mut bed));
    // A CDB that means nothing, a field that is wrong, a unit attention, an attribute that has no place.
    let invalid = [(TASK_ATTR_SIMPLE, &[0x01, 0, 0, 0, 0, 4][..], (5, 0x2000)), (0, &[0, 1, 0, 0, 0, 4], (5, 0x2400))];
    for (attribute, cdb, sense) in invalid.into_iter().chain([(TASK_ATTR_ACA, &[0, 0, 0, 0, 0, 4][..], (5, 0x4900))]) {
        assert_eq!(told(&mut bed, attribute, 1, cdb), (CHECK_CONDITION, Some(sense)));
        assert!(!is_clear(&mut bed), "{cdb:02x?}");
        clear(&mut bed);
        bed.run();
        bed.guest().take_ended();
        assert!(is_clear(&mut bed));
    }
    bed.guest().adapter.luns().raise(Attention::CapacityChanged, |_| true);
    assert_eq!(told(&mut bed, TASK_ATTR_SIMPLE, 0, &[0, 0, 0, 0, 0, 4]).1, Some((6, 0x2a09)));
    assert!(!is_clear(&mut bed));
}

#[test]
fn where_no_disk_is_naca_is_none() {
    let (mut bed, _) = bed();
    let inquiry = [0x12, 0, 0, 0, 36, 4];
    bed.guest().send_to(0, [0xc1, 1, 0, 0, 0, 0, 0, 0], &inquiry, Data::In(36));
    bed.run();
    assert_eq!(bed.guest().take_one().sense, Some((5, 0x2400)));
    bed.guest().send_to(0, [1, 0, 0x40, 9, 0, 0, 0, 0], &inquiry, Data::In(36));
    bed.run();
    assert_eq!(bed.guest().take_one().sense, Some((5, 0x2500)));
}

#[test]
fn one_command_at_a_time_looks_into_it() {
    let (mut bed, disk) = bed();
    fault(&mut bed);
    let read = [0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0];
    let look = send(&mut bed, 0, TASK_ATTR_ACA, 1, &read);
    bed.run();
    assert_eq!(disk.held(), 1);
    assert_eq!(told(&mut bed, TASK_ATTR_ACA, 2, &read), (ACA_ACTIVE, None));
    disk.go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(look, OK)]);
    for (cdb, status) in [(&[0x03, 0, 0, 0, 18, 0][..], GOOD), (&read, GOOD), (&FAULT_WITH_NACA, CHECK_CONDITION)] {
        assert_eq!(told(&mut bed, TASK_ATTR_ACA, 0, cdb).0, status);
        assert!(!is_clear(&mut bed), "it ends in none of these ways");
    }
    assert_eq!(told(&mut bed, TASK_ATTR_ACA, 0, &FAULT).0, CHECK_CONDITION);
    assert!(is_clear(&mut bed), "its own fault without NACA ends it");
    assert_eq!(told(&mut bed, TASK_ATTR_ACA, 0, &read), (CHECK_CONDITION, Some((5, 0x4900))));
}

/// A read that runs, an ORDERED one that waits for it, one that waits for that, and a fault.
fn blocked() -> (Bed, SimDisk, [u64; 3]) {
    let (mut bed, disk) = bed();
    let running = bed.guest().read(0, 0, 0);
    bed.run();
    // The fault is taken before there is an ORDERED command that it would have to wait for.
    send(&mut bed, 0, TASK_ATTR_SIMPLE, 3, &FAULT_WITH_NACA);
    let ordered = {
        let guest = bed.guest();
        guest.read_as(TASK_ATTR_ORDERED, 2, 0, 1)
    };
    let behind = bed.guest().read(2, 0, 2);
    // The core of queue 2 first.
    bed.step(0);
    bed.run();
    assert_eq!(bed.guest().take_one().status, CHECK_CONDITION);
    assert_eq!(bed.guest().open(), 3);
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!((bed.guest().take_ended(), disk.held()), (vec![(running, OK)], 0));
    (bed, disk, [running, ordered, behind])
}

#[test]
fn what_had_not_started_waits_for_its_end() {
    let (mut bed, disk, [_, ordered, behind]) = blocked();
    disk.go();
    let cleared = clear(&mut bed);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(cleared, OK), (ordered, OK), (behind, OK)]);
    assert!(bed.core(0).may_sleep() && bed.core(1).may_sleep());
}

#[test]
fn what_had_not_started_goes_on_when_a_fault_of_its_own_command_ends_it() {
    // One that fails as it is carried out, and two that nobody understands.
    for cdb in [&FAULT[..], &[0x01, 0, 0, 0, 0, 0], &[0xff; 16]] {
        let (mut bed, disk, [_, ordered, behind]) = blocked();
        disk.go();
        assert_eq!(send(&mut bed, 0, TASK_ATTR_ACA, 1, cdb), behind + 1);
        bed.run();
        let ended: Vec<_> = bed.guest().take_ended().iter().map(|&(id, _)| id).collect();
        assert_eq!(ended, [behind + 1, ordered, behind], "{cdb:02x?}");
        assert!(bed.core(0).may_sleep() && bed.core(1).may_sleep());
    }
}

#[test]
fn functions_end_what_it_holds_back() {
    for (function, response, ends) in [
        (TMF_ABORT_TASK_SET, ABORTED, false),
        (TMF_LOGICAL_UNIT_RESET, RESET, true),
        (TMF_I_T_NEXUS_RESET, RESET, true),
    ] {
        let (mut bed, disk, [_, ordered, behind]) = blocked();
        let id = bed.guest().manage(function, 0, 0);
        bed.run();
        let mut ended = bed.guest().take_ended();
        assert_eq!(ended.pop(), Some((id, OK)));
        ended.sort_unstable();
        assert_eq!(ended, [(ordered, response), (behind, response)]);
        assert_eq!(is_clear(&mut bed), ends, "{function}");
        assert_eq!(disk.held(), 0);
    }
}

#[test]
fn clear_aca_ends_its_command_before_it_is_answered() {
    let (mut bed, disk) = bed();
    fault(&mut bed);
    let look = send(&mut bed, 0, TASK_ATTR_ACA, 1, &[0x28, 0, 0, 0, 0, 7, 0, 0, 1, 0]);
    bed.run();
    let cleared = clear(&mut bed);
    bed.run();
    assert_eq!(bed.guest().open(), 2, "the disk does not let it go");
    disk.go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(look, ABORTED), (cleared, OK)]);
    assert!(is_clear(&mut bed));
}

#[test]
fn a_reset_of_the_device_ends_it() {
    let (mut bed, disk, _) = blocked();
    let gate = bed.guest().retire();
    bed.run();
    bed.guest().adapter.luns().raise(Attention::HardReset, |_| true);
    bed.guest().start();
    assert!(gate.is_open());
    disk.go();
    assert_eq!(told(&mut bed, TASK_ATTR_SIMPLE, 0, &[0; 6]).1, Some((6, 0x2902)));
    assert!(is_clear(&mut bed));
}

#[test]
fn another_that_preempts_and_aborts_ends_it() {
    let (mut bed, _disk, [_, ordered, behind]) = blocked();
    let other = bed.add_guest(2);
    let mut out = |guest: usize, attribute: u8, action: u8, keys: [u8; 2]| {
        let mut list = [0; 24];
        (list[7], list[15]) = (keys[0], keys[1]);
        let its = &mut bed.guests[guest];
        its.attribute = attribute;
        let id = its.send(0, 0, &[0x5f, action, 3, 0, 0, 0, 0, 0, 24, 0], Data::Out(&list));
        its.attribute = TASK_ATTR_SIMPLE;
        bed.run();
        let ended: Vec<_> = bed.guests[guest].ended.drain(..).map(|ended| (ended.id, ended.status)).collect();
        ended.into_iter().find(|(its, _)| *its == id).expect("it ends").1
    };
    assert_eq!(out(0, TASK_ATTR_ACA, 0, [0, 1]), GOOD);
    assert_eq!(out(other, TASK_ATTR_SIMPLE, 0, [0, 2]), GOOD);
    assert_eq!(out(other, TASK_ATTR_SIMPLE, 5, [2, 1]), GOOD);
    let ended = bed.guest().take_ended();
    assert!(ended.contains(&(ordered, ABORTED)) && ended.contains(&(behind, ABORTED)), "{ended:?}");
    let (status, sense) = told(&mut bed, TASK_ATTR_SIMPLE, 0, &[0; 6]);
    assert_eq!((status, sense.map(|(key, _)| key)), (CHECK_CONDITION, Some(6)));
    assert_ne!(status, RESERVATION_CONFLICT);
    assert!(is_clear(&mut bed));
}

#[test]
fn it_goes_with_its_unit() {
    let (mut bed, _disk, [_, ordered, behind]) = blocked();
    super::live_luns::change(&mut bed, |luns| {
        assert!(luns.remove(crate::virtio_scsi::Address { target: 0, lun: 0 }));
    });
    bed.run();
    let mut ended = bed.guest().take_ended();
    ended.sort_unstable();
    assert_eq!(ended, [(ordered, BAD_TARGET), (behind, BAD_TARGET)]);
    assert!(bed.core(0).may_sleep() && bed.core(1).may_sleep());
}

#[test]
fn a_fault_for_want_of_a_unit_is_none() {
    let (mut bed, disk) = bed();
    let neighbour = Placement { address: Address { target: 0, lun: 1 }, disk: bed.disks[1].clone() };
    change(&mut bed, |luns| luns.add(neighbour));
    let first = send(&mut bed, 0, TASK_ATTR_HEAD, 0, &[0x28, 0, 0, 0, 0, 1, 0, 0, 1, 0]);
    bed.run();
    let held_back = send(&mut bed, 0, TASK_ATTR_SIMPLE, 1, &FAULT_WITH_NACA);
    bed.run();
    change(&mut bed, |luns| assert!(luns.remove(Address { target: 0, lun: 0 })));
    disk.go();
    bed.run();
    let ended: Vec<_> = bed.guest().ended.drain(..).map(|ended| (ended.id, ended.response, ended.sense)).collect();
    assert_eq!(ended, [(first, TRANSPORT_FAILURE, None), (held_back, OK, Some((5, 0x2500)))]);
    assert_eq!(
        told(&mut bed, TASK_ATTR_SIMPLE, 0, &[0; 6]),
        (CHECK_CONDITION, Some((5, 0x2500))),
        "and not ACA ACTIVE"
    );
}

//! Two guests on one disk, each at a port of its own: reservations, port states and resets, and what they do to each other.

use std::sync::Arc;

use bdev::Bdev;

use super::bed::Bed;
use super::guest::{Data, Ended, TEST_UNIT_READY, read_10, write_10};
use super::sim_disk::{Cancels, SimDisk};
use crate::scsi::port_groups::AccessState;
use crate::target::lun_map::LunMap;
use crate::target::sharing::account::ORDERS_MAX;
use crate::virtio_scsi::Address;
use crate::virtio_scsi::spec::{TMF_ABORT_TASK, TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET};

const GOOD: u8 = 0;
const BUSY: u8 = 8;
const CONFLICT: u8 = 0x18;
const OK: u8 = 0;
const ABORTED: u8 = 2;
const RESET: u8 = 4;

/// Service actions of PERSISTENT RESERVE OUT.
const REGISTER: u8 = 0;
const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const CLEAR: u8 = 3;
const PREEMPT: u8 = 4;
const PREEMPT_AND_ABORT: u8 = 5;

/// Two cores and two guests with two queues each, on one disk.
fn bed() -> (Bed, SimDisk) {
    let disk = SimDisk::new(64);
    let mut bed = Bed::of(2, vec![Arc::new(disk.clone()) as Arc<dyn Bdev>]);
    bed.add_guest(2);
    bed.add_guest(2);
    (bed, disk)
}

/// Guest `guest` does this, and ends it.
fn execute(bed: &mut Bed, guest: usize, cdb: &[u8], data: Data<'_>) -> Ended {
    let id = bed.guests[guest].send(1, 0, cdb, data);
    bed.run();
    let ended = bed.guests[guest].take_one();
    assert_eq!((ended.id, ended.response), (id, OK));
    ended
}

fn out(action: u8, kind: u8, key: u8, action_key: u8) -> ([u8; 10], [u8; 24]) {
    let mut list = [0; 24];
    (list[7], list[15]) = (key, action_key);
    ([0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], list)
}

/// PERSISTENT RESERVE OUT: its status.
fn persistent(bed: &mut Bed, guest: usize, (action, kind): (u8, u8), key: u8, action_key: u8) -> u8 {
    let (cdb, list) = out(action, kind, key, action_key);
    execute(bed, guest, &cdb, Data::Out(&list)).status
}

/// Both guests are registered, with the keys 1 and 2, and guest 0 holds a reservation of this type.
fn reserved(kind: u8) -> (Bed, SimDisk) {
    let (mut bed, disk) = bed();
    for guest in [0, 1] {
        assert_eq!(persistent(&mut bed, guest, (REGISTER, 0), 0, guest as u8 + 1), GOOD);
    }
    assert_eq!(persistent(&mut bed, 0, (RESERVE, kind), 1, 0), GOOD);
    (bed, disk)
}

/// Status of a READ and of a WRITE.
fn access(bed: &mut Bed, guest: usize) -> [u8; 2] {
    let read = execute(bed, guest, &read_10(0, 1), Data::In(512)).status;
    [read, execute(bed, guest, &write_10(0, 1), Data::Out(&[7; 512])).status]
}

/// What TEST UNIT READY tells.
fn attention(bed: &mut Bed, guest: usize) -> Option<u16> {
    execute(bed, guest, &TEST_UNIT_READY, Data::Without).sense.map(|(_, asc)| asc)
}

#[test]
fn reservations_of_each_type_keep_others_out() {
    let (all, none, read) = ([GOOD, GOOD], [CONFLICT, CONFLICT], [GOOD, CONFLICT]);
    for (kind, registered, stranger) in
        [(1, read, read), (3, none, none), (5, all, read), (6, all, none), (7, all, read), (8, all, none)]
    {
        let (mut bed, _) = reserved(kind);
        assert_eq!((access(&mut bed, 0), access(&mut bed, 1)), (all, registered), "type {kind}");
        assert_eq!(persistent(&mut bed, 1, (REGISTER, 0), 2, 0), GOOD);
        assert_eq!(access(&mut bed, 1), stranger, "type {kind}");
        assert_eq!(persistent(&mut bed, 0, (RELEASE, kind), 1, 0), GOOD);
        assert_eq!(access(&mut bed, 1), all, "type {kind}");
    }
}

#[test]
fn a_command_before_the_reservation_ends_and_one_after_it_does_not_begin() {
    let (mut bed, disk) = reserved(5);
    assert_eq!(persistent(&mut bed, 1, (REGISTER, 0), 2, 0), GOOD);
    assert_eq!(persistent(&mut bed, 0, (RELEASE, 5), 1, 0), GOOD);
    disk.hold();
    let id = bed.guests[1].write(0, 0, 0, 9);
    bed.run();
    assert_eq!(persistent(&mut bed, 0, (RESERVE, 3), 1, 0), GOOD, "it waits for no command");
    assert_eq!(execute(&mut bed, 1, &read_10(0, 1), Data::In(512)).status, CONFLICT);
    disk.release_all();
    bed.run();
    assert_eq!(bed.guests[1].take_ended(), [(id, OK)]);
}

#[test]
fn the_other_is_told() {
    let (mut bed, _) = reserved(5);
    assert_eq!(persistent(&mut bed, 0, (RELEASE, 5), 1, 0), GOOD);
    assert_eq!((attention(&mut bed, 1), attention(&mut bed, 1), attention(&mut bed, 0)), (Some(0x2a04), None, None));
    assert_eq!(persistent(&mut bed, 1, (CLEAR, 0), 2, 0), GOOD);
    assert_eq!(attention(&mut bed, 0), Some(0x2a03));
    let (mut bed, _) = reserved(1);
    assert_eq!(persistent(&mut bed, 1, (PREEMPT, 1), 2, 1), GOOD);
    assert_eq!(access(&mut bed, 1), [GOOD, GOOD]);
    // A conflict goes before this attention, which waits for a command that is allowed.
    let write = execute(&mut bed, 0, &write_10(0, 1), Data::Out(&[7; 512]));
    assert_eq!((write.status, write.sense), (CONFLICT, None));
    assert_eq!((attention(&mut bed, 0), attention(&mut bed, 1)), (Some(0x2a05), None));
    assert_eq!(execute(&mut bed, 0, &write_10(0, 1), Data::Out(&[7; 512])).status, CONFLICT);
}

#[test]
fn preempt_and_abort_ends_the_commands_of_the_other_before_it_is_answered() {
    for cancels in [Cancels::Work, Cancels::Fail] {
        let (mut bed, disk) = reserved(7);
        disk.hold();
        disk.set_cancels(cancels);
        let own = bed.guests[0].read(0, 0, 3);
        let ids = [bed.guests[1].read(0, 0, 0), bed.guests[1].read(1, 0, 1)];
        bed.run();
        assert_eq!(disk.held(), 3);
        let (cdb, list) = out(PREEMPT_AND_ABORT, 1, 1, 0);
        let preempt = bed.guests[0].send(1, 0, &cdb, Data::Out(&list));
        bed.run();
        if cancels == Cancels::Fail {
            assert!(bed.guests[0].is_open(preempt), "two are with the disk");
            disk.answer(1, Ok(()));
            disk.answer(1, Ok(()));
            bed.run();
        }
        let mut ended = bed.guests[1].take_ended();
        ended.sort_unstable();
        assert_eq!(ended, ids.map(|id| (id, ABORTED)));
        assert_eq!(bed.guests[0].take_ended(), [(preempt, OK)]);
        disk.release_all();
        disk.go();
        bed.run();
        assert_eq!(bed.guests[0].take_ended(), [(own, OK)], "those of others go on");
        assert_eq!((attention(&mut bed, 1), attention(&mut bed, 1)), (Some(0x2f00), Some(0x2a05)));
        assert_eq!(access(&mut bed, 1), [GOOD, CONFLICT]);
    }
}

/// SAM-5: TASK ABORTED instead of the unit attention, where TAS says so.
#[test]
fn those_who_want_it_are_told_of_each_command() {
    const TASK_ABORTED: u8 = 0x40;
    let (mut bed, disk) = reserved(7);
    let control = [0, 0, 0, 0, 0x0a, 0x0a, 0x22, 0x10, 0, 0x40, 0, 0, 0xff, 0xff, 0, 0];
    assert_eq!(execute(&mut bed, 1, &[0x15, 0x10, 0, 0, 16, 0], Data::Out(&control)).sense, None);
    assert_eq!(attention(&mut bed, 0), Some(0x2a01));
    disk.hold();
    let ids = [0, 1].map(|queue| bed.guests[1].read(queue, 0, queue as u8));
    bed.run();
    assert_eq!(persistent(&mut bed, 0, (PREEMPT_AND_ABORT, 1), 1, 0), GOOD);
    let mut ended = std::mem::take(&mut bed.guests[1].ended);
    ended.sort_unstable_by_key(|ended| ended.id);
    let told = |ended: &Ended| (ended.id, ended.response, ended.status, ended.sense, ended.resid);
    assert_eq!(ended.iter().map(told).collect::<Vec<_>>(), ids.map(|id| (id, OK, TASK_ABORTED, None, 512)));
    disk.go();
    assert_eq!((attention(&mut bed, 1), attention(&mut bed, 1)), (Some(0x2a05), None));
}

#[test]
fn ports_are_known_to_each_other() {
    let (mut bed, _) = bed();
    let page = execute(&mut bed, 1, &[0x12, 1, 0x88, 0, 64, 0], Data::In(64)).data;
    assert_eq!((page[3], page[7], page[31]), (48, 1, 2), "two descriptors, by their relative identifiers");
}

#[test]
fn two_that_preempt_each_other_both_end() {
    let (mut bed, disk) = reserved(8);
    disk.hold();
    disk.set_cancels(Cancels::Fail);
    let reads = [0, 1].map(|guest| bed.guests[guest].read(0, 0, guest as u8));
    bed.run();
    for guest in [0, 1] {
        let (cdb, list) = out(PREEMPT_AND_ABORT, 3, guest as u8 + 1, 0);
        bed.guests[guest].send(1, 0, &cdb, Data::Out(&list));
    }
    bed.run();
    disk.release_all();
    disk.go();
    bed.run();
    let ended: Vec<_> = [0, 1].map(|guest| std::mem::take(&mut bed.guests[guest].ended)).concat();
    assert_eq!(ended.len(), 4, "{ended:?}");
    let winner = usize::from(access(&mut bed, 0) != [GOOD, GOOD]);
    assert_eq!(access(&mut bed, winner), [GOOD, GOOD]);
    assert_eq!(access(&mut bed, 1 - winner), [CONFLICT, CONFLICT]);
    let of_loser = ended.iter().filter(|ended| ended.id == reads[1 - winner] && ended.response == ABORTED).count();
    assert!(of_loser >= 1);
}

#[test]
fn nobody_waits_for_a_guest_that_is_gone_or_rests() {
    let (mut bed, disk) = reserved(8);
    disk.hold();
    bed.guests[1].read(0, 0, 0);
    bed.run();
    let gate = bed.guests[1].retire();
    bed.run();
    assert!(gate.is_open());
    assert_eq!(persistent(&mut bed, 0, (PREEMPT_AND_ABORT, 8), 1, 0), GOOD);
}

#[test]
fn reserve_ends_with_its_nexus_and_with_a_reset() {
    let (mut bed, _) = bed();
    let reserve = |bed: &mut Bed, guest| execute(bed, guest, &[0x16, 0, 0, 0, 0, 0], Data::Without).status;
    assert_eq!((reserve(&mut bed, 0), reserve(&mut bed, 1)), (GOOD, CONFLICT));
    assert_eq!(access(&mut bed, 1), [CONFLICT, CONFLICT]);
    assert_eq!(execute(&mut bed, 1, &[0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0], Data::Without).status, GOOD);
    assert_eq!(access(&mut bed, 1), [CONFLICT, CONFLICT], "it is not his to release");
    for subtype in [TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET] {
        bed.guests[0].manage(subtype, 0, 0);
        bed.run();
        bed.guests[0].take_ended();
        attention(&mut bed, 0);
        attention(&mut bed, 1);
        assert_eq!(access(&mut bed, 1), [GOOD, GOOD]);
        assert_eq!(reserve(&mut bed, 0), GOOD);
    }
    assert_eq!(execute(&mut bed, 0, &[0x17, 0, 0, 0, 0, 0], Data::Without).status, GOOD);
    assert_eq!(access(&mut bed, 1), [GOOD, GOOD]);
}

/// Between the change of the map and the moment when no request is on the unit, which its reactor decides.
#[test]
fn a_unit_that_leaves_keeps_to_reservations_and_has_none_itself() {
    let reserve = |bed: &mut Bed, guest| execute(bed, guest, &[0x16, 0, 0, 0, 0, 0], Data::Without).status;
    let (mut bed, _) = self::bed();
    let mut luns = LunMap::clone(&bed.guests[1].adapter.luns());
    assert!(luns.remove(Address { target: 0, lun: 0 }));
    assert_eq!((reserve(&mut bed, 0), access(&mut bed, 1)), (GOOD, [CONFLICT, CONFLICT]));
    assert_eq!(bed.disks[0].sharing.look(|shared| shared.ports.len()), 1);
    let (mut bed, _) = self::bed();
    assert_eq!((reserve(&mut bed, 1), access(&mut bed, 0)), (GOOD, [CONFLICT, CONFLICT]));
    let mut luns = LunMap::clone(&bed.guests[1].adapter.luns());
    assert!(luns.remove(Address { target: 0, lun: 0 }));
    assert_eq!(access(&mut bed, 0), [GOOD, GOOD]);
    assert_eq!((reserve(&mut bed, 1), access(&mut bed, 0)), (BUSY, [GOOD, GOOD]), "nobody would release it");
}

#[test]
fn a_reset_of_the_unit_is_one_for_all_who_show_it() {
    let (mut bed, disk) = reserved(7);
    disk.hold();
    let [a, b] = [0, 1].map(|guest| bed.guests[guest].read(0, 0, 0));
    bed.run();
    let reset = bed.guests[0].manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    assert_eq!(bed.guests[0].take_ended(), [(a, RESET), (reset, OK)]);
    assert_eq!(bed.guests[1].take_ended(), [(b, RESET)]);
    disk.go();
    for guest in [0, 1] {
        assert_eq!((attention(&mut bed, guest), attention(&mut bed, guest)), (Some(0x2903), None));
    }
    assert_eq!(persistent(&mut bed, 0, (RELEASE, 7), 1, 0), GOOD, "persistent ones stay");
}

#[test]
fn port_groups() {
    let (mut bed, _) = bed();
    let report = [0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    let groups = |ended: &Ended| ended.data[4..28].to_vec();
    let told = execute(&mut bed, 0, &report, Data::In(64));
    let group = |state, id, origin| [state, 0x0f, 0, id, 0, origin, 0, 1, 0, 0, 0, id];
    assert_eq!(groups(&told), [group(0, 1, 0), group(0, 2, 0)].concat());
    let mut extended = report;
    extended[1] = 0x2a;
    assert_eq!(execute(&mut bed, 0, &extended, Data::In(64)).data[..8], [0, 0, 0, 28, 0x10, 0, 0, 0]);
    extended[1] = 0x4a;
    assert_eq!(execute(&mut bed, 0, &extended, Data::In(64)).sense, Some((5, 0x2400)));
    let inquiry = execute(&mut bed, 0, &[0x12, 0, 0, 0, 36, 0], Data::In(36));
    assert_eq!(inquiry.data[5] & 0x30, 0x30);

    let set = [0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0];
    let ended = execute(&mut bed, 0, &set, Data::Out(&[0, 0, 0, 0, 2, 0, 0, 2]));
    assert_eq!(ended.status, GOOD);
    assert_eq!((attention(&mut bed, 1), attention(&mut bed, 0)), (Some(0x2a06), None));
    assert_eq!(execute(&mut bed, 1, &read_10(0, 1), Data::In(512)).sense, Some((2, 0x040b)));
    assert_eq!(access(&mut bed, 0), [GOOD, GOOD]);
    let told = execute(&mut bed, 1, &report, Data::In(64));
    assert_eq!(groups(&told), [group(0, 1, 0), group(2, 2, 1)].concat());

    let sharing = bed.disks[0].sharing.clone();
    assert!(sharing.set_state(2, AccessState::Unavailable) && !sharing.set_state(3, AccessState::Standby));
    assert_eq!((attention(&mut bed, 1), attention(&mut bed, 0)), (Some(0x2a06), Some(0x2a06)));
    assert_eq!(attention(&mut bed, 1), Some(0x040c));
    assert!(sharing.set_state(2, AccessState::ActiveNonOptimized));
    assert_eq!(attention(&mut bed, 1), Some(0x2a06));
    assert_eq!(access(&mut bed, 1), [GOOD, GOOD]);
}

#[test]
fn what_cannot_be_kept_is_not_promised() {
    let (mut bed, _) = bed();
    let (cdb, mut list) = out(REGISTER, 0, 0, 1);
    list[20] = 1;
    assert_eq!(execute(&mut bed, 0, &cdb, Data::Out(&list)).sense, Some((5, 0x2600)));
    let capabilities = execute(&mut bed, 0, &[0x5e, 2, 0, 0, 0, 0, 0, 0, 8, 0], Data::In(8));
    assert_eq!(capabilities.data[2] & 1, 0);
    let keys = execute(&mut bed, 0, &[0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0], Data::In(8));
    assert_eq!(keys.data, [0; 8], "nothing has changed");
}

#[test]
fn nothing_comes_of_a_change_after_its_command_was_aborted() {
    for has_begun in [false, true] {
        let (mut bed, _) = bed();
        let disk = bed.disks[0].clone();
        let mut clerk = disk.clerk.lock().expect("no test poisons it").take().expect("it has one");
        let (cdb, list) = out(REGISTER, 0, 0, 1);
        let id = bed.guests[0].send(1, 0, &cdb, Data::Out(&list));
        bed.run();
        assert!(bed.guests[0].is_open(id));
        assert!(!has_begun || clerk.begin() == 1);
        let tmf = bed.guests[0].manage(TMF_ABORT_TASK, 0, id);
        bed.run();
        assert_eq!(bed.guests[0].is_open(id), has_begun, "what is being done is waited for");
        clerk.pass();
        bed.run();
        assert_eq!(bed.guests[0].take_ended(), [(id, ABORTED), (tmf, OK)]);
        let keys = execute(&mut bed, 0, &[0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0], Data::In(8)).data;
        assert_eq!(keys[7], if has_begun { 8 } else { 0 }, "bytes of keys");
    }
}

#[test]
fn guests_are_served_in_turn() {
    let (mut bed, _) = bed();
    let mut clerk = bed.disks[0].clerk.lock().expect("no test poisons it").take().expect("it has one");
    let (reserve, release) = ([0x16, 0, 0, 0, 0, 0], [0x17, 0, 0, 0, 0, 0]);
    let mut send = |guest: usize, cdb: &[u8]| {
        let id = bed.guests[guest].send(1, 0, cdb, Data::Without);
        bed.run();
        id
    };
    let [released, late, other] = [send(0, &release), send(0, &reserve), send(1, &reserve)];
    clerk.pass();
    bed.run();
    let statuses = [0, 1].map(|guest| {
        let ended = std::mem::take(&mut bed.guests[guest].ended);
        ended.iter().map(|ended| (ended.id, ended.status)).collect::<Vec<_>>()
    });
    assert_eq!(statuses, [vec![(released, GOOD), (late, CONFLICT)], vec![(other, GOOD)]]);
}

/// Whatever the clerk waits for meanwhile.
#[test]
fn orders_that_were_given_up_are_bounded() {
    let (mut bed, _) = bed();
    let mut clerk = bed.disks[0].clerk.lock().expect("no test poisons it").take().expect("it has one");
    let release = |bed: &mut Bed, guest: usize| {
        let id = bed.guests[guest].send(1, 0, &[0x17, 0, 0, 0, 0, 0], Data::Without);
        bed.run();
        id
    };
    for _ in 0..ORDERS_MAX {
        let id = release(&mut bed, 0);
        let tmf = bed.guests[0].manage(TMF_ABORT_TASK, 0, id);
        bed.run();
        assert_eq!(bed.guests[0].take_ended(), [(id, ABORTED), (tmf, OK)]);
    }
    let refused = release(&mut bed, 0);
    let ended = bed.guests[0].take_one();
    assert_eq!((ended.id, ended.status), (refused, BUSY));
    let other = release(&mut bed, 1);
    assert!(bed.guests[1].is_open(other), "the account of another is empty");
    clerk.pass();
    let again = release(&mut bed, 0);
    assert!(bed.guests[0].is_open(again));
    clerk.pass();
    bed.run();
    assert_eq!((bed.guests[0].take_one().status, bed.guests[1].take_one().status), (GOOD, GOOD));
}

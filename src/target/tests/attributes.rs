//! Task attributes over two cores and several queues: what starts before what. The guest's book checks the order of every
//! command that ends.

use reactor::Context;

use super::bed::Bed;
use super::guest::{Data, TASK_SET_FULL, read_10};
use super::sim_disk::{Cancels, SimDisk};
use crate::virtio_scsi::spec::{
    TASK_ATTR_ACA, TASK_ATTR_HEAD, TASK_ATTR_ORDERED, TMF_ABORT_TASK, TMF_ABORT_TASK_SET, TMF_QUERY_TASK,
};

const OK: u8 = 0;
const ABORTED: u8 = 2;
const FAILURE: u8 = 9;
const SUCCEEDED: u8 = 10;

/// Two cores, four request queues, two disks of which the first holds all that it gets.
fn bed() -> (Bed, SimDisk, SimDisk) {
    let (bed, mut disks) = Bed::simulated(2, 4, 2);
    let other = disks.pop().expect("two");
    let disk = disks.pop().expect("two");
    disk.hold();
    disk.set_cancels(Cancels::Fail);
    (bed, disk, other)
}

fn ended(ids: &[u64]) -> Vec<(u64, u8)> {
    ids.iter().map(|&id| (id, OK)).collect()
}

#[test]
fn an_ordered_command_waits_for_all_before_it_and_all_after_it_wait() {
    for queue in 0..4 {
        let (mut bed, disk, _) = bed();
        let before: Vec<_> = (0..4).map(|queue| bed.guest().read(queue, 0, queue as u8)).collect();
        let ordered = bed.guest().read_as(TASK_ATTR_ORDERED, queue, 0, 10);
        // In its queue at once, in the others when the barrier is up.
        let behind = bed.guest().read(queue, 0, 20);
        let elsewhere = bed.guest().read(1, 1, 0);
        bed.run();
        let after: Vec<_> = (0..4).map(|queue| bed.guest().read(queue, 0, 21 + queue as u8)).collect();
        bed.run();
        assert_eq!(bed.guest().take_ended(), ended(&[elsewhere]), "another disk is not concerned");
        assert_eq!(disk.held(), 4);
        for _ in 0..4 {
            assert!(!disk.accepted().contains(&10));
            disk.answer(0, Ok(()));
            bed.run();
        }
        let done: Vec<_> = bed.guest().take_ended();
        assert!(done.len() == 4 && before.iter().all(|&id| done.contains(&(id, OK))), "{done:?}");
        assert_eq!((disk.held(), disk.accepted()[4..].to_vec()), (1, vec![10]), "it runs alone");
        disk.go();
        bed.run();
        let done = bed.guest().take_ended();
        assert_eq!((done.len(), done[0]), (6, (ordered, OK)));
        assert!(after.iter().chain([&behind]).all(|&id| done.contains(&(id, OK))));
        assert!(bed.core(0).may_sleep() && bed.core(1).may_sleep());
    }
}

#[test]
fn ordered_commands_of_all_queues_run_one_at_a_time() {
    let (mut bed, disk, _) = bed();
    let ids: Vec<_> = (0..8).map(|n| bed.guest().read_as(TASK_ATTR_ORDERED, n % 4, 0, n as u8)).collect();
    for done in 0..8 {
        bed.run();
        assert_eq!((bed.guest().take_ended().len(), disk.held()), (usize::from(done > 0), 1));
        disk.answer(0, Ok(()));
    }
    bed.run();
    assert_eq!(bed.guest().take_ended().len(), 1);
    assert_eq!((bed.guest().open(), ids.len()), (0, 8));
    let simple = [0, 1].map(|queue| bed.guest().read(queue, 0, 9));
    bed.run();
    assert_eq!(disk.held(), 2, "nothing is held back any more");
    disk.release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), ended(&simple));
}

#[test]
fn a_head_of_queue_command_goes_before_all_that_has_not_started() {
    let (mut bed, disk, _) = bed();
    let first = bed.guest().read(0, 0, 0);
    bed.run();
    let ordered = bed.guest().read_as(TASK_ATTR_ORDERED, 1, 0, 1);
    bed.run();
    let behind = bed.guest().read(1, 0, 2);
    bed.run();
    let head = bed.guest().read_as(TASK_ATTR_HEAD, 1, 0, 3);
    bed.run();
    assert_eq!(disk.accepted(), [0, 3]);
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), ended(&[first]));
    assert_eq!(disk.held(), 1, "the ordered one waits for it, too");
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), ended(&[head]));
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), ended(&[ordered]));
    disk.go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), ended(&[behind]));
    assert_eq!(disk.accepted(), [0, 3, 1, 2]);
}

#[test]
fn simple_commands_on_every_queue_wait_for_a_head_of_queue_command() {
    let (mut bed, disk, _) = bed();
    let head = bed.guest().read_as(TASK_ATTR_HEAD, 0, 0, 0);
    bed.run();
    let after: Vec<_> = (0..4).map(|queue| bed.guest().read(queue, 0, 1)).collect();
    bed.run();
    assert_eq!(disk.held(), 1);
    disk.go();
    bed.run();
    let done = bed.guest().take_ended();
    assert_eq!((done[0], done.len()), ((head, OK), 1 + after.len()));
}

#[test]
fn functions_end_what_waits_and_those_behind_it_go_on() {
    let (mut bed, disk, _) = bed();
    let first = bed.guest().read(0, 0, 0);
    let ordered = [0, 3].map(|queue| bed.guest().read_as(TASK_ATTR_ORDERED, queue, 0, 1));
    let behind = [0, 3].map(|queue| bed.guest().read(queue, 0, 2));
    bed.run();
    let query = bed.guest().manage(TMF_QUERY_TASK, 0, behind[1]);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(query, SUCCEEDED)]);
    for id in ordered {
        let abort = bed.guest().manage(TMF_ABORT_TASK, 0, id);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(id, ABORTED), (abort, OK)]);
    }
    assert_eq!(disk.held(), 3);
    disk.go();
    bed.run();
    assert_eq!(bed.guest().take_ended().len(), 3);
    disk.hold();
    let running = bed.guest().read_as(TASK_ATTR_ORDERED, 1, 0, 3);
    bed.run();
    let waiting = bed.guest().read(0, 0, 4);
    bed.run();
    let abort = bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(waiting, ABORTED)]);
    disk.go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(running, ABORTED), (abort, OK)]);
    assert!(bed.guest().open() == 0 && first != running);
    let next = bed.guest().read(2, 0, 5);
    bed.run();
    assert_eq!(bed.guest().take_ended(), ended(&[next]));
}

#[test]
fn a_reset_forgets_what_waits_and_the_next_life_knows_nothing_of_it() {
    let (mut bed, disk, _) = bed();
    bed.guest().read(0, 0, 0);
    bed.run();
    let _ = [0, 1].map(|queue| bed.guest().read_as(TASK_ATTR_ORDERED, queue, 0, 1));
    bed.guest().read(1, 0, 2);
    bed.run();
    let gate = bed.guest().retire();
    bed.run();
    bed.guest().start();
    let ordered = bed.guest().read_as(TASK_ATTR_ORDERED, 1, 0, 3);
    bed.run();
    assert_eq!((disk.accepted(), gate.is_open()), (vec![0, 3], false));
    disk.go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), ended(&[ordered]));
    assert!(gate.is_open());
}

#[test]
fn order_outlasts_a_rest() {
    let (mut bed, disk, _) = bed();
    let first = bed.guest().read(0, 0, 0);
    bed.run();
    let ordered = bed.guest().read_as(TASK_ATTR_ORDERED, 1, 0, 1);
    let behind = bed.guest().read(1, 0, 2);
    bed.run();
    let gate = bed.rest();
    bed.run();
    assert!(!gate.is_open());
    disk.answer(0, Ok(()));
    bed.run();
    assert!(gate.is_open());
    bed.guest().go_on();
    bed.run();
    assert_eq!((bed.guest().take_ended(), disk.held()), (ended(&[first]), 1));
    disk.go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), ended(&[ordered, behind]));
}

#[test]
fn aca_is_no_attribute_without_the_condition_and_others_are_none_at_all() {
    let (mut bed, disk, _) = bed();
    bed.guest().read_as(TASK_ATTR_ACA, 0, 0, 0);
    bed.run();
    let told = bed.guest().take_one();
    assert_eq!((told.response, told.status, told.sense), (OK, 2, Some((5, 0x4900))));
    for attribute in [4, 0xff] {
        let id = bed.guest().read_as(attribute, 0, 0, 0);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(id, FAILURE)]);
    }
    bed.guest().attribute = TASK_ATTR_ORDERED;
    bed.guest().send_to(0, [1, 0, 0x40, 9, 0, 0, 0, 0], &read_10(0, 1), Data::In(512));
    bed.run();
    assert_eq!(bed.guest().take_one().sense, Some((5, 0x2500)), "where there is no disk there is no order");
    assert_eq!(disk.held(), 0);
}

#[test]
fn too_many_that_others_wait_for_find_the_task_set_full() {
    const MAX: usize = 64;
    for attribute in [TASK_ATTR_ORDERED, TASK_ATTR_HEAD] {
        let (mut bed, mut disks) = Bed::simulated(1, 4, 1);
        let other = bed.add_guest(1);
        let disk = disks.pop().expect("one");
        disk.hold();
        let ids: Vec<_> = (0..MAX).map(|n| bed.guest().read_as(attribute, n % 4, 0, n as u8)).collect();
        bed.run();
        assert_eq!(bed.guest().take_ended(), []);
        for queue in 0..4 {
            for attribute in [TASK_ATTR_ORDERED, TASK_ATTR_HEAD] {
                let id = bed.guest().read_as(attribute, queue, 0, 0);
                bed.run();
                let told = bed.guest().take_one();
                assert_eq!((told.id, told.response, told.status, told.sense), (id, OK, TASK_SET_FULL, None));
            }
        }
        let simple = bed.guest().read(0, 0, 1);
        let others = bed.guests[other].read_as(attribute, 0, 0, 2);
        bed.run();
        assert!(bed.guest().is_open(simple) && bed.guests[other].is_open(others), "this is for others");
        disk.answer(0, Ok(()));
        bed.run();
        let ended = bed.guest().take_ended();
        assert_eq!(ended.len(), 1, "there is room for another one");
        let another = bed.guest().read_as(attribute, 1, 0, 3);
        bed.run();
        assert!(bed.guest().is_open(another));
        disk.go();
        bed.run();
        assert_eq!((bed.guest().take_ended().len(), bed.guests[other].take_ended().len()), (ids.len() + 1, 1));
    }
}

//! Task management over two cores and several queues: what it is about ends before it is answered, the rest is left alone,
//! and what comes meanwhile waits.
//!
//! That nothing of a function's scope is open when it is answered is checked for every answer, by the guest's book.

use super::bed::Bed;
use super::guest::{Data, TEST_UNIT_READY};
use super::sim_disk::{Cancels, SimDisk};
use crate::virtio_scsi::spec::{
    TMF_ABORT_TASK, TMF_ABORT_TASK_SET, TMF_CLEAR_ACA, TMF_CLEAR_TASK_SET, TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET,
    TMF_QUERY_TASK, TMF_QUERY_TASK_SET,
};

const OK: u8 = 0;
const ABORTED: u8 = 2;
const BAD_TARGET: u8 = 3;
const RESET: u8 = 4;
const SUCCEEDED: u8 = 10;
const REJECTED: u8 = 11;

/// Two cores, four request queues, two disks of which the first holds all that it gets.
fn bed() -> (Bed, SimDisk, SimDisk) {
    let (bed, mut disks) = Bed::simulated(2, 4, 2);
    let other = disks.pop().expect("two");
    let disk = disks.pop().expect("two");
    disk.hold();
    (bed, disk, other)
}

/// Commands of target 0 on all queues: two in flight, two that wait for room, two that no core has seen.
fn commands_everywhere(bed: &mut Bed, disk: &SimDisk) -> Vec<u64> {
    let mut ids = vec![bed.guest().read(0, 0, 0), bed.guest().read(1, 0, 1)];
    bed.run();
    disk.set_room(2);
    ids.extend([bed.guest().read(0, 0, 2), bed.guest().read(3, 0, 3)]);
    bed.run();
    assert_eq!((disk.held(), bed.guest().open()), (2, 4));
    ids.extend([bed.guest().read(2, 0, 4), bed.guest().read(3, 0, 5)]);
    ids
}

#[test]
fn a_function_ends_what_is_not_seen_waits_and_is_in_flight_on_every_queue() {
    for (subtype, response, attention) in [
        (TMF_ABORT_TASK_SET, ABORTED, None),
        (TMF_CLEAR_TASK_SET, ABORTED, None),
        (TMF_LOGICAL_UNIT_RESET, RESET, Some((6, 0x2903))),
        (TMF_I_T_NEXUS_RESET, RESET, Some((6, 0x2907))),
    ] {
        for cancels in [Cancels::Work, Cancels::Fail] {
            let (mut bed, disk, other) = bed();
            disk.set_cancels(cancels);
            let ids = commands_everywhere(&mut bed, &disk);
            other.hold();
            let outside = [bed.guest().read(0, 1, 0), bed.guest().read(1, 1, 0)];
            let tmf = bed.guest().manage(subtype, 0, 0);
            bed.run();
            if cancels == Cancels::Fail {
                assert!(bed.guest().is_open(tmf), "two are with the disk");
                assert_eq!(bed.guest().take_ended().len(), 4);
                disk.answer(1, Ok(()));
                bed.run();
                assert_eq!(bed.guest().take_ended(), [(ids[1], response)]);
                disk.answer(0, Ok(()));
                bed.run();
                assert_eq!(bed.guest().take_ended(), [(ids[0], response), (tmf, OK)]);
            } else {
                let ended = bed.guest().take_ended();
                assert_eq!((ended.len(), ended.last()), (7, Some(&(tmf, OK))));
                assert!(ended[..6].iter().all(|&(id, code)| ids.contains(&id) && code == response), "{ended:?}");
            }
            assert!(outside.into_iter().all(|id| bed.guest().is_open(id)), "commands outside go on");
            other.release_all();
            bed.run();
            assert_eq!(bed.guest().take_ended(), outside.map(|id| (id, OK)));
            bed.guest().send(0, 0, &TEST_UNIT_READY, Data::Without);
            bed.run();
            assert_eq!(bed.guest().take_one().sense, attention);
            bed.guest().send(0, 1, &TEST_UNIT_READY, Data::Without);
            bed.run();
            assert_eq!(bed.guest().take_one().sense, None, "the other disk knows nothing of it");
        }
    }
}

#[test]
fn abort_task_ends_the_one_that_it_names() {
    let (mut bed, disk, _) = bed();
    let ids = commands_everywhere(&mut bed, &disk);
    for (turn, id) in ids.iter().enumerate() {
        let tmf = bed.guest().manage(TMF_ABORT_TASK, 0, *id);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(*id, ABORTED), (tmf, OK)], "turn {turn}");
    }
    assert_eq!(bed.guest().open(), 0);
    let tmf = bed.guest().manage(TMF_ABORT_TASK, 0, ids[0]);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(tmf, OK)], "one that has ended is no error");
    bed.guest().send(0, 0, &TEST_UNIT_READY, Data::Without);
    bed.run();
    assert_eq!(bed.guest().take_one().sense, None, "the driver knows what it aborted");
}

#[test]
fn abort_task_looks_at_the_logical_unit_too() {
    let (mut bed, disk, other) = bed();
    other.hold();
    let id = bed.guest().read(0, 1, 0);
    let tmf = bed.guest().manage(TMF_ABORT_TASK, 0, id);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(tmf, OK)]);
    assert_eq!((disk.cancelled(), other.cancelled(), other.held()), (0, 0, 1));
}

#[test]
fn an_abort_that_races_with_the_completion_answers_once() {
    for before in [true, false] {
        let (mut bed, disk, _) = bed();
        let id = bed.guest().read(1, 0, 0);
        bed.run();
        let tmf = bed.guest().manage(TMF_ABORT_TASK, 0, id);
        if before {
            // The core that has the control queue sends the word; the disk answers before the other hears of it.
            bed.step(0);
            disk.answer(0, Ok(()));
        } else {
            disk.answer(0, Ok(()));
            bed.step(0);
        }
        bed.run();
        let ended = bed.guest().take_ended();
        assert_eq!(ended.len(), 2);
        assert_eq!((ended[0].0, ended[1]), (id, (tmf, OK)));
    }
}

#[test]
fn new_commands_wait_for_the_end_of_the_function_and_then_run_in_order() {
    let (mut bed, disk, other) = bed();
    disk.set_cancels(Cancels::Fail);
    let old = bed.guest().read(0, 0, 0);
    bed.run();
    let tmf = bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    // Ended requests leave free places behind, in an order that is not that of the new ones.
    for _ in 0..3 {
        bed.guest().read(0, 1, 9);
        bed.guest().read(0, 1, 9);
        bed.run();
    }
    bed.guest().ended.clear();
    let new: Vec<_> = (1..5).map(|lba| bed.guest().read(0, 0, lba)).collect();
    let elsewhere = bed.guest().read(0, 1, 1);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(elsewhere, OK)]);
    assert_eq!((disk.held(), bed.guest().open()), (1, 6));
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(old, ABORTED), (tmf, OK)]);
    assert_eq!(disk.accepted(), [0, 1, 2, 3, 4]);
    disk.release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), new.into_iter().map(|id| (id, OK)).collect::<Vec<_>>());
    assert_eq!(other.accepted().len(), 7);
}

#[test]
fn functions_that_overlap_hold_back_each_its_own() {
    let (mut bed, disk, other) = bed();
    other.hold();
    disk.set_cancels(Cancels::Fail);
    other.set_cancels(Cancels::Fail);
    let old = [0, 1].map(|target| bed.guest().read(1, target, 0));
    bed.run();
    let tmfs = [0, 1].map(|target| bed.guest().manage(TMF_ABORT_TASK_SET, target, 0));
    bed.run();
    let new = [0, 1].map(|target| bed.guest().read(0, target, 1));
    bed.run();
    assert_eq!((disk.held(), other.held()), (1, 1), "both are held back");
    other.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(old[1], ABORTED), (tmfs[1], OK)]);
    assert_eq!((disk.held(), other.held()), (1, 1), "the first function goes on");
    other.release_all();
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(new[1], OK), (old[0], ABORTED), (tmfs[0], OK)]);
    disk.release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(new[0], OK)]);
}

#[test]
fn a_reset_ends_what_an_earlier_function_held_back() {
    let (mut bed, disk, _) = bed();
    disk.set_cancels(Cancels::Fail);
    let old = bed.guest().read(1, 0, 0);
    bed.run();
    let first = bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    let held_back = bed.guest().read(0, 0, 1);
    bed.run();
    let second = bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(held_back, RESET)]);
    disk.answer(0, Ok(()));
    bed.run();
    let ended = bed.guest().take_ended();
    assert_eq!(ended[0], (old, ABORTED), "by the function that came first");
    assert_eq!((ended.len(), disk.cancelled()), (3, 1));
    assert!(ended.contains(&(first, OK)) && ended.contains(&(second, OK)));
    let next = bed.guest().send(0, 0, &TEST_UNIT_READY, Data::Without);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(next, OK)], "nothing is held back any more");
}

#[test]
fn a_rest_does_not_wait_for_functions_nor_for_what_they_hold_back() {
    let (mut bed, disk, other) = bed();
    other.hold();
    disk.set_cancels(Cancels::Fail);
    let ids = [bed.guest().read(1, 0, 0), bed.guest().read(0, 1, 0)];
    bed.run();
    let tmf = bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    let held_back = [1, 2].map(|lba| bed.guest().read(0, 0, lba));
    bed.run();
    let gate = bed.rest();
    bed.run();
    other.release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(ids[1], OK)]);
    assert!(!gate.is_open() && bed.guest().memory_is_held(), "a disk still has a command");
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(ids[0], RESET)]);
    assert!(gate.is_open() && !bed.guest().memory_is_held());
    // The rings, but not where the answer goes.
    let map = bed.guest().show(true, false);
    bed.guest().live.as_mut().unwrap().go_on(&map);
    drop(map);
    bed.run();
    assert!(bed.guest().is_open(tmf) && !bed.guest().is_broken());
    let map = bed.guest().show(true, true);
    bed.guest().live.as_mut().unwrap().add_memory(&map);
    bed.run();
    disk.release_all();
    bed.run();
    let [a, b] = held_back.map(|id| (id, OK));
    assert_eq!(bed.guest().take_ended(), [(tmf, OK), a, b]);
}

#[test]
fn a_function_is_answered_after_the_rest_and_what_it_held_back_goes_on_in_order() {
    let (mut bed, disk, _) = bed();
    disk.set_cancels(Cancels::Fail);
    let id = bed.guest().read(1, 0, 0);
    bed.run();
    let tmf = bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    let held_back = [1, 2].map(|lba| bed.guest().read(0, 0, lba));
    bed.run();
    let gate = bed.rest();
    bed.run();
    disk.answer(0, Ok(()));
    bed.run();
    assert!(gate.is_open());
    assert_eq!(bed.guest().take_ended(), [(id, ABORTED)]);
    bed.guest().go_on();
    bed.run();
    disk.release_all();
    bed.run();
    let [a, b] = held_back.map(|id| (id, OK));
    assert_eq!(bed.guest().take_ended(), [(tmf, OK), a, b]);
    assert_eq!(disk.accepted(), [0, 1, 2]);
}

#[test]
fn a_function_that_comes_during_a_rest_finds_what_was_there_before() {
    let (mut bed, disk, _) = bed();
    let id = bed.guest().read(1, 0, 0);
    bed.run();
    let gate = bed.rest();
    bed.run();
    let late = bed.guest().read(3, 0, 1);
    let tmf = bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    assert!(!gate.is_open());
    disk.answer(0, Ok(()));
    bed.run();
    assert!(gate.is_open());
    assert_eq!(bed.guest().take_ended(), [(id, OK)]);
    bed.guest().go_on();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(late, RESET), (tmf, OK)]);
}

#[test]
fn functions_that_end_nothing_are_answered_at_once() {
    let (mut bed, disk, _) = bed();
    let id = bed.guest().read(0, 0, 0);
    bed.run();
    for (subtype, target, response) in [
        (TMF_CLEAR_ACA, 0, OK),
        (TMF_QUERY_TASK, 0, SUCCEEDED),
        (TMF_QUERY_TASK, 1, OK),
        (TMF_QUERY_TASK_SET, 0, SUCCEEDED),
        (TMF_QUERY_TASK_SET, 1, OK),
        (99, 0, REJECTED),
        (TMF_LOGICAL_UNIT_RESET, 7, BAD_TARGET),
        (TMF_QUERY_TASK, 7, BAD_TARGET),
        (TMF_CLEAR_ACA, 7, BAD_TARGET),
        (TMF_I_T_NEXUS_RESET, 7, BAD_TARGET),
    ] {
        let tmf = bed.guest().manage(subtype, target, id);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(tmf, response)], "{subtype}");
    }
    assert_eq!((disk.held(), disk.cancelled()), (1, 0));
}

#[test]
fn functions_beyond_the_most_in_progress_wait_in_the_ring() {
    let (mut bed, disk, _) = bed();
    disk.set_cancels(Cancels::Fail);
    let id = bed.guest().read(0, 0, 0);
    bed.run();
    let mut tmfs = Vec::new();
    // More than fit a ring of direct chains at a time come in two parts.
    for _ in 0..30 {
        tmfs.push(bed.guest().manage(TMF_ABORT_TASK, 0, id));
    }
    bed.run();
    assert_eq!((bed.guest().take_ended(), disk.cancelled()), (vec![], 1), "one try to cancel is enough");
    disk.answer(0, Ok(()));
    bed.run();
    let ended = bed.guest().take_ended();
    assert_eq!((ended.len(), ended[0]), (31, (id, ABORTED)));
    assert!(tmfs.iter().all(|&tmf| ended.contains(&(tmf, OK))));
}

#[test]
fn a_query_finds_what_is_not_seen_waits_is_in_flight_or_held_back_and_ends_nothing() {
    let (mut bed, disk, _) = bed();
    disk.set_cancels(Cancels::Fail);
    let ids = commands_everywhere(&mut bed, &disk);
    for &id in &ids {
        let tmf = bed.guest().manage(TMF_QUERY_TASK, 0, id);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(tmf, SUCCEEDED)], "{id}");
    }
    let abort = bed.guest().manage(TMF_ABORT_TASK, 0, ids[0]);
    bed.run();
    let held_back = bed.guest().manage(TMF_QUERY_TASK, 0, ids[0]);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(held_back, SUCCEEDED)], "one that is being ended is there");
    disk.set_room(usize::MAX);
    disk.go();
    bed.run();
    let ended = bed.guest().take_ended();
    assert_eq!(ended.len(), 7);
    assert!(ended.contains(&(abort, OK)) && ended.contains(&(ids[0], ABORTED)) && ended.contains(&(ids[1], OK)));
    for subtype in [TMF_QUERY_TASK, TMF_QUERY_TASK_SET] {
        let tmf = bed.guest().manage(subtype, 0, ids[0]);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(tmf, OK)]);
    }
}

#[test]
fn a_function_does_not_take_a_command_of_the_next_life_for_one_of_its_own() {
    let (mut bed, disk, other) = bed();
    disk.set_cancels(Cancels::Fail);
    // Two queues of one core. The one whose command is looked at last ends first, and leaves its place to another.
    bed.guest().read(3, 0, 0);
    bed.run();
    bed.guest().read(1, 0, 1);
    bed.run();
    bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    let gate = bed.guest().retire();
    bed.run();
    disk.answer(0, Ok(()));
    bed.run();
    assert!(!gate.is_open());
    other.hold();
    bed.guest().start();
    bed.run();
    bed.guest().read(3, 1, 0);
    bed.run();
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!(other.held(), 1, "the same place, slot and generation");
    assert!(gate.is_open(), "the function, and with it the former life, has ended");
    other.release_all();
    bed.run();
}

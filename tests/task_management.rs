//! Task management functions end commands, and are answered only after every command they ended is.

mod common;

use annulus_bench::guest::cdb;
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::guest::spec::response;
use annulus_bench::guest::task::{Function, TaskManagement};
use annulus_bench::{Guest, Options};
use common::io::{LUN, pattern, settle};
use common::{SOCKET, Target};

/// A disk whose commands do not end within any test.
const SLOW: &str = "mem:size=1M,delay=3600s";
const OTHER: Lun = Lun::new(1, 0);

fn slow_read(guest: &mut Guest, queue: u16, lun: Lun, id: u64) {
    guest.submit(queue, &Command::read(lun, 0, 8, 512).with_id(id), &Shape::default()).unwrap();
}

/// Carries out a function; what has completed by the time of its answer, as (identifier, response code).
fn manage(guest: &mut Guest, request: TaskManagement) -> (u8, Vec<(u64, u8)>) {
    let answer = guest.task_management(&request).unwrap();
    let mut ended = Vec::new();
    for queue in 0..guest.request_queues() {
        while let Some(completion) = guest.poll(queue).unwrap() {
            ended.push((completion.id, completion.response.response));
        }
    }
    ended.sort_unstable();
    (answer, ended)
}

fn start(disks: &[&str], queues: u16) -> (Target, Guest) {
    start_on(disks, queues, Options::default())
}

fn start_on(disks: &[&str], queues: u16, options: Options) -> (Target, Guest) {
    let queues_text = queues.to_string();
    let mut args = vec!["--queues", &queues_text];
    for disk in disks {
        args.extend(["--disk", disk]);
    }
    let target = Target::start(&args);
    let mut guest = target.guest_on(SOCKET, Options { request_queues: queues, ..options });
    for number in 0..disks.len() {
        settle(&mut guest, Lun::new(number as u8, 0));
    }
    (target, guest)
}

#[test]
fn abort_task_ends_one_command_and_no_other() {
    let (target, mut guest) = start(&[SLOW], 1);
    for id in 1..=3 {
        slow_read(&mut guest, 0, LUN, id);
    }
    let abort = |id| TaskManagement { function: Function::AbortTask, lun: LUN, id };
    assert_eq!(manage(&mut guest, abort(2)), (response::OK, vec![(2, response::ABORTED)]));
    assert_eq!(guest.in_flight(0), 2);
    assert_eq!(manage(&mut guest, abort(2)), (response::OK, vec![]), "there is no such command any more");
    assert_eq!(manage(&mut guest, abort(1)), (response::OK, vec![(1, response::ABORTED)]));
    assert_eq!(manage(&mut guest, abort(3)), (response::OK, vec![(3, response::ABORTED)]));
    target.abandon();
}

#[test]
fn abort_task_set_ends_all_of_one_unit() {
    let (target, mut guest) = start(&[SLOW, SLOW], 2);
    for id in 1..=6 {
        slow_read(&mut guest, (id % 2) as u16, LUN, id);
    }
    slow_read(&mut guest, 0, OTHER, 7);
    let (answer, ended) = manage(&mut guest, TaskManagement::on(Function::AbortTaskSet, LUN));
    assert_eq!(answer, response::OK);
    assert_eq!(ended, (1..=6).map(|id| (id, response::ABORTED)).collect::<Vec<_>>());
    assert_eq!(guest.in_flight(0), 1, "the other unit's command is not touched");
    settle(&mut guest, LUN);
    target.abandon();
}

#[test]
fn logical_unit_reset_ends_all_of_one_unit_and_is_told() {
    let (target, mut guest) = start(&[SLOW, SLOW], 2);
    for id in 1..=6 {
        slow_read(&mut guest, (id % 2) as u16, LUN, id);
    }
    slow_read(&mut guest, 1, OTHER, 7);
    let (answer, ended) = manage(&mut guest, TaskManagement::on(Function::LogicalUnitReset, LUN));
    assert_eq!(answer, response::OK);
    assert_eq!(ended, (1..=6).map(|id| (id, response::RESET)).collect::<Vec<_>>());
    let ready = Command::new(LUN, cdb::test_unit_ready());
    let told = guest.execute(0, &ready).unwrap();
    assert!(matches!(told.sense_code(), Some((6, 0x29, _))), "{told:?}");
    guest.execute(0, &ready).unwrap().good().unwrap();
    let other = guest.execute(0, &Command::new(OTHER, cdb::test_unit_ready())).unwrap();
    other.good().unwrap();
    assert_eq!(guest.in_flight(1), 1);
    target.abandon();
}

#[test]
fn nexus_reset_ends_all_of_a_target() {
    let (target, mut guest) = start(&[SLOW], 2);
    for id in 1..=4 {
        slow_read(&mut guest, (id % 2) as u16, LUN, id);
    }
    let (answer, ended) = manage(&mut guest, TaskManagement::on(Function::NexusReset, LUN));
    assert_eq!(answer, response::OK);
    let ids: Vec<_> = ended.iter().map(|&(id, _)| id).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
    assert!(ended.iter().all(|&(_, response)| matches!(response, response::RESET | response::ABORTED)), "{ended:?}");
    settle(&mut guest, LUN);
    target.abandon();
}

#[test]
fn commands_are_served_after_a_function() {
    let (target, mut guest) = start(&["mem:size=1M,delay=20ms"], 1);
    for round in 0..10u64 {
        for id in 1..=8 {
            slow_read(&mut guest, 0, LUN, round * 100 + id);
        }
        let (answer, ended) = manage(&mut guest, TaskManagement::on(Function::LogicalUnitReset, LUN));
        assert_eq!((answer, guest.in_flight(0)), (response::OK, 0));
        assert_eq!(ended.len(), 8);
        settle(&mut guest, LUN);
        let data = pattern(round, 512);
        guest.execute(0, &Command::write(LUN, round, 512, data.clone())).unwrap().good().unwrap();
        let read = guest.execute(0, &Command::read(LUN, round, 1, 512)).unwrap().good().unwrap();
        assert!(read.data == data);
    }
    target.stop();
}

#[test]
fn an_abort_that_races_with_the_end_answers_once() {
    let (target, mut guest) = start(&["mem:size=1M"], 1);
    for id in 1..=300u64 {
        slow_read(&mut guest, 0, LUN, id);
        let request = TaskManagement { function: Function::AbortTask, lun: LUN, id };
        let (answer, ended) = manage(&mut guest, request);
        assert_eq!(answer, response::OK);
        // A second completion would be an error of the queue: that head is not in flight.
        assert!(matches!(ended[..], [(ended, response::OK | response::ABORTED)] if ended == id), "{ended:?}");
    }
    target.stop();
}

#[test]
fn units_that_are_not_there_and_functions_that_are_not_known() {
    let (target, mut guest) = start(&[SLOW], 1);
    let absent = guest.task_management(&TaskManagement::on(Function::LogicalUnitReset, Lun::new(9, 0))).unwrap();
    assert!(matches!(absent, response::BAD_TARGET | response::INCORRECT_LUN), "{absent}");
    slow_read(&mut guest, 0, LUN, 1);
    let mut unknown = TaskManagement::on(Function::AbortTask, LUN).encode();
    unknown[4] = 0x77;
    guest.submit_control(&unknown, 1, &Shape::default()).unwrap();
    assert_eq!(guest.wait_control().unwrap(), [response::FUNCTION_REJECTED]);
    assert_eq!(guest.in_flight(0), 1);
    target.abandon();
}

#[test]
fn clear_task_set_ends_all_of_one_unit() {
    let (target, mut guest) = start(&[SLOW], 2);
    for id in 1..=4 {
        slow_read(&mut guest, (id % 2) as u16, LUN, id);
    }
    let (answer, ended) = manage(&mut guest, TaskManagement::on(Function::ClearTaskSet, LUN));
    assert_eq!(answer, response::OK);
    assert_eq!(ended, (1..=4).map(|id| (id, response::ABORTED)).collect::<Vec<_>>());
    settle(&mut guest, LUN);
    target.abandon();
}

#[test]
fn queries_find_commands_on_every_queue_and_end_none() {
    let (target, mut guest) = start(&[SLOW, SLOW], 2);
    for id in 1..=4 {
        slow_read(&mut guest, (id % 2) as u16, LUN, id);
    }
    let query = |id| TaskManagement { function: Function::QueryTask, lun: LUN, id };
    for id in 1..=4 {
        assert_eq!(manage(&mut guest, query(id)), (response::FUNCTION_SUCCEEDED, vec![]), "{id}");
    }
    assert_eq!(manage(&mut guest, query(5)), (response::OK, vec![]));
    let set = |lun| TaskManagement::on(Function::QueryTaskSet, lun);
    assert_eq!(manage(&mut guest, set(LUN)), (response::FUNCTION_SUCCEEDED, vec![]));
    assert_eq!(manage(&mut guest, set(OTHER)), (response::OK, vec![]));
    let other = TaskManagement { function: Function::QueryTask, lun: OTHER, id: 1 };
    assert_eq!(manage(&mut guest, other), (response::OK, vec![]), "names are those of a unit");
    target.abandon();
}

#[test]
fn functions_are_answered_with_their_codes() {
    answers_each_function(Options::default());
}

#[test]
fn functions_on_packed_queues_are_answered_with_their_codes() {
    answers_each_function(Options::default().packed());
}

/// Every function on every kind of address, as bytes.
fn answers_each_function(options: Options) {
    let (target, mut guest) = start_on(&[SLOW], 1, options);
    slow_read(&mut guest, 0, LUN, 0x0102_0304_0506_0708);
    let (unit, missing) = ([1, 0, 0x40, 0, 0, 0, 0, 0], [1, 0, 0x40, 5, 0, 0, 0, 0]);
    let (absent, two_levels, no_target) =
        ([1, 9, 0x40, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0x40, 1, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0]);
    let id = [8, 7, 6, 5, 4, 3, 2, 1];
    for (subtype, lun, code) in [
        (2, unit, response::OK),
        (6, unit, response::FUNCTION_SUCCEEDED),
        (7, unit, response::FUNCTION_SUCCEEDED),
        (8, unit, response::FUNCTION_REJECTED),
        (0, missing, response::INCORRECT_LUN),
        (1, missing, response::INCORRECT_LUN),
        (2, missing, response::INCORRECT_LUN),
        (3, missing, response::INCORRECT_LUN),
        (5, missing, response::INCORRECT_LUN),
        (6, missing, response::INCORRECT_LUN),
        (7, missing, response::INCORRECT_LUN),
        (5, two_levels, response::INCORRECT_LUN),
        (0, absent, response::BAD_TARGET),
        (1, absent, response::BAD_TARGET),
        (2, absent, response::BAD_TARGET),
        (3, absent, response::BAD_TARGET),
        (4, absent, response::BAD_TARGET),
        (5, absent, response::BAD_TARGET),
        (6, absent, response::BAD_TARGET),
        (7, absent, response::BAD_TARGET),
        (7, no_target, response::BAD_TARGET),
        (0, unit, response::OK),
        (1, unit, response::OK),
        (3, unit, response::OK),
        (4, missing, response::OK),
        (4, unit, response::OK),
        (5, unit, response::OK),
        (6, unit, response::OK),
        (7, unit, response::OK),
    ] {
        let request = [&[0, 0, 0, 0, subtype, 0, 0, 0], &lun[..], &id].concat();
        guest.submit_control(&request, 1, &Shape::default()).unwrap();
        assert_eq!(guest.wait_control().unwrap(), [code], "{subtype} {lun:02x?}");
    }
    assert_eq!(
        guest.poll(0).unwrap().map(|ended| ended.response.response),
        Some(response::ABORTED),
        "by the first one"
    );
    target.abandon();
}

#[test]
fn notifications_are_those_that_a_disk_has() {
    let (target, mut guest) = start(&["mem:size=1M", "mem:size=1M,removable"], 1);
    for kind in [1, 2] {
        // Power management and device busy; and media change, where there is a medium.
        for (lun, asked, code, there) in [
            ([1, 0, 0x40, 0, 0, 0, 0, 0], 0x7e, response::OK, 0x44),
            ([1, 1, 0x40, 0, 0, 0, 0, 0], 0x7e, response::OK, 0x54),
            ([1, 1, 0x40, 0, 0, 0, 0, 0], 0x3a, response::OK, 0x10),
            ([1, 0, 0x40, 5, 0, 0, 0, 0], 0x7e, response::INCORRECT_LUN, 0),
            ([1, 9, 0x40, 0, 0, 0, 0, 0], 0x7e, response::BAD_TARGET, 0),
        ] {
            let request = [&[kind, 0, 0, 0], &lun[..], &[asked, 0, 0, 0]].concat();
            guest.submit_control(&request, 5, &Shape::default()).unwrap();
            assert_eq!(guest.wait_control().unwrap(), [there, 0, 0, 0, code]);
        }
    }
    target.stop();
}

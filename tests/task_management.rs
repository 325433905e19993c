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
    let queues_text = queues.to_string();
    let mut args = vec!["--queues", &queues_text];
    for disk in disks {
        args.extend(["--disk", disk]);
    }
    let target = Target::start(&args);
    let mut guest = target.guest_on(SOCKET, Options { request_queues: queues, ..Options::default() });
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
    let aca = guest.task_management(&TaskManagement::on(Function::ClearAca, LUN)).unwrap();
    assert_eq!(aca, response::FUNCTION_REJECTED);
    let mut unknown = TaskManagement::on(Function::AbortTask, LUN).encode();
    unknown[4] = 0x77;
    guest.submit_control(&unknown, 1, &Shape::default()).unwrap();
    assert_eq!(guest.wait_control().unwrap(), [response::FUNCTION_REJECTED]);
    assert_eq!(guest.in_flight(0), 1);
    target.abandon();
}

#[test]
fn notification_queries_are_answered() {
    let (target, mut guest) = start(&["mem:size=1M"], 1);
    for kind in [1u32, 2] {
        let mut request = kind.to_le_bytes().to_vec();
        request.extend_from_slice(&LUN.0);
        request.extend_from_slice(&0u32.to_le_bytes());
        guest.submit_control(&request, 5, &Shape::default()).unwrap();
        let answer = guest.wait_control().unwrap();
        assert_eq!(answer[..4], [0; 4], "no event can be asked for");
        assert_ne!(answer[4], 0xFF, "there is a response code");
    }
    target.stop();
}

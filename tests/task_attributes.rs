//! Task attributes on the real binary: what ends before what, over several queues.

mod common;

use annulus_bench::guest::cdb::{self, Direction, Width};
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Response, TaskAttr};
use annulus_bench::guest::spec::response;
use annulus_bench::guest::task::{Function, TaskManagement};
use annulus_bench::{Guest, Options};
use common::io::{LUN, settle};
use common::{SOCKET, Target};

const QUEUES: u16 = 3;
/// Long enough for all commands of a round to be there before the first of them ends.
const DISK: &str = "mem:size=1M,delay=30ms";

fn start() -> (Target, Guest) {
    let target = Target::start(&["--queues", "3", "--disk", DISK]);
    let mut guest = target.guest_on(SOCKET, Options { request_queues: QUEUES, ..Options::default() });
    settle(&mut guest, LUN);
    (target, guest)
}

fn read_as(guest: &mut Guest, task_attr: TaskAttr, queue: u16, id: u64) {
    let command = Command { task_attr, ..Command::read(LUN, 0, 8, 512).with_id(id) };
    guest.submit(queue, &command, &Shape::default()).unwrap();
}

/// Collects so many completions of all queues, in the order in which they are seen.
fn collect(guest: &mut Guest, count: usize) -> Vec<u64> {
    let mut ended = Vec::new();
    while ended.len() < count {
        for queue in 0..QUEUES {
            while let Some(completion) = guest.poll(queue).unwrap() {
                assert_eq!(completion.response.response, response::OK);
                ended.push(completion.id);
            }
        }
    }
    ended
}

#[test]
fn an_ordered_command_ends_after_those_before_it_and_before_those_after_it() {
    let (target, mut guest) = start();
    for round in 0..5 {
        for queue in 0..QUEUES {
            read_as(&mut guest, TaskAttr::Simple, queue, u64::from(queue) + 1);
        }
        read_as(&mut guest, TaskAttr::Ordered, round % QUEUES, 10);
        read_as(&mut guest, TaskAttr::Simple, round % QUEUES, 20);
        read_as(&mut guest, TaskAttr::Ordered, round % QUEUES, 30);
        let mut ended = collect(&mut guest, 6);
        ended[..3].sort_unstable();
        assert_eq!(ended, [1, 2, 3, 10, 20, 30], "round {round}");
    }
    target.stop();
}

#[test]
fn a_head_of_queue_command_does_not_wait_for_an_ordered_one() {
    let (target, mut guest) = start();
    read_as(&mut guest, TaskAttr::Simple, 0, 1);
    read_as(&mut guest, TaskAttr::Ordered, 0, 2);
    read_as(&mut guest, TaskAttr::Simple, 0, 3);
    read_as(&mut guest, TaskAttr::HeadOfQueue, 0, 4);
    let mut ended = collect(&mut guest, 4);
    ended[..2].sort_unstable();
    assert_eq!(ended, [1, 4, 2, 3]);
    target.stop();
}

/// Each attribute, and what is answered: status, sense key with code.
#[test]
fn each_attribute_alone() {
    let (target, mut guest) = start();
    for (task_attr, status, sense) in [
        (TaskAttr::Simple, 0, None),
        (TaskAttr::Ordered, 0, None),
        (TaskAttr::HeadOfQueue, 0, None),
        (TaskAttr::Aca, 2, Some((5, 0x49, 0))),
    ] {
        let ended = guest.execute(0, &Command { task_attr, ..Command::read(LUN, 0, 1, 512) }).unwrap();
        assert_eq!((ended.response, ended.status, ended.sense_code()), (response::OK, status, sense), "{task_attr:?}");
    }
    target.stop();
}

/// READ (10) of a block that is not there, with NACA.
fn fault(guest: &mut Guest, queue: u16) -> Response {
    let mut cdb = cdb::transfer(Direction::Read, Width::Ten, 0xffff_0000, 1, 0);
    cdb[9] = 0x04;
    guest.execute(queue, &Command::data_in(LUN, cdb, 512)).unwrap()
}

#[test]
fn a_fault_with_naca_stops_all_queues_until_it_is_cleared() {
    const ACA_ACTIVE: u8 = 0x30;
    let target = Target::start(&["--queues", "3", "--disk", "mem:size=1M"]);
    let mut guest = target.guest_on(SOCKET, Options { request_queues: QUEUES, ..Options::default() });
    settle(&mut guest, LUN);
    let inquiry = guest.execute(0, &Command::data_in(LUN, cdb::inquiry(None, 36), 36)).unwrap();
    assert_eq!(inquiry.data[3] & 0x20, 0x20, "NORMACA");
    for round in 0..3 {
        assert_eq!(fault(&mut guest, round % QUEUES).sense_code(), Some((5, 0x21, 0)));
        let read = |task_attr| Command { task_attr, ..Command::read(LUN, 0, 1, 512) };
        for queue in 0..QUEUES {
            for task_attr in [TaskAttr::Simple, TaskAttr::Ordered, TaskAttr::HeadOfQueue] {
                let ended = guest.execute(queue, &read(task_attr)).unwrap();
                assert_eq!((ended.response, ended.status), (response::OK, ACA_ACTIVE), "{queue} {task_attr:?}");
            }
            assert!(guest.execute(queue, &read(TaskAttr::Aca)).unwrap().is_good());
        }
        let clear = TaskManagement::on(Function::ClearAca, LUN);
        assert_eq!(guest.task_management(&clear).unwrap(), response::OK);
        (0..QUEUES).for_each(|queue| assert!(guest.execute(queue, &read(TaskAttr::Simple)).unwrap().is_good()));
    }
    target.stop();
}

//! Guest memory that comes without a file is reached by messages: requests work there as anywhere else, if slower; and a
//! client that does not serve it hurts nobody but itself.

mod common;

use annulus_bench::between::{Between, Mode};
use annulus_bench::guest::cdb;
use annulus_bench::guest::framing::{Framing, Shape};
use annulus_bench::guest::memory::{Gpa, Window};
use annulus_bench::guest::scsi::{Command, Response};
use annulus_bench::guest::spec::response;
use annulus_bench::guest::task::{Function, TaskManagement};
use annulus_bench::{Guest, Options};
use common::io::{LUN, alive, needs_reset, pattern, revive, settle};
use common::{SOCKET, STEP_LIMIT, Target, directory, image};

const RINGS: (Gpa, usize) = (Gpa(0x10_0000), 1 << 20);
const HIDDEN: (Gpa, usize) = (Gpa(0x100_0000), 32 << 20);
const NEAR: &str = "between.sock";

/// A guest that shares the memory of its rings and nothing else.
fn guest_of(target: &Target, socket: &str, request_queues: u16) -> (Guest, Between) {
    let between = Between::start(&target.path(NEAR), &target.path(socket), &[HIDDEN.0.0]).unwrap();
    let options = Options { regions: vec![RINGS, HIDDEN], queue_size: 256, request_queues, ..Options::default() };
    let mut guest = target.guest_on(NEAR, options);
    fill(&mut guest);
    (guest, between)
}

/// Leaves no room in shared memory.
fn fill(guest: &mut Guest) -> Vec<Window> {
    let mut taken = Vec::new();
    for len in (0..=20).rev().map(|bits| 1 << bits) {
        taken.extend(std::iter::from_fn(|| guest.memory().allocate_in(0, len, 1).ok()));
    }
    taken
}

fn there_and_back(guest: &mut Guest, seed: u64, blocks: u32, shape: &Shape) {
    let data = pattern(seed, blocks as usize * 512);
    let what = |error| panic!("{shape:?}, {blocks} blocks: {error}");
    let write = Command::write(LUN, 40, 512, data.clone());
    guest.execute_shaped(0, &write, shape).and_then(Response::good).unwrap_or_else(what);
    let read = Command::read(LUN, 40, blocks, 512);
    let read = guest.execute_shaped(0, &read, shape).and_then(Response::good).unwrap_or_else(what);
    assert!(read.data == data, "{shape:?}, {blocks} blocks");
    // The response without sense data alone; where memory of our own stands in, all that is stored.
    assert!(read.resid == 0 && [12, 108 + data.len()].contains(&(read.used_len as usize)), "{shape:?}");
}

fn all_shapes(guest: &mut Guest) {
    let cut = |readable: &[usize], writable: &[usize]| {
        let (readable, writable) = (readable.to_vec(), writable.to_vec());
        Shape::of(Framing::Cut { readable, writable })
    };
    let shapes = [
        Shape::default(),
        Shape::of(Framing::Whole),
        Shape::of(Framing::Segments(512)),
        Shape::of(Framing::Segments(1000)),
        Shape { data_offset: 24, ..Shape::default() },
        cut(&[1, 50, 100], &[7, 102, 1]),
        cut(&[51, 512, 1], &[108, 100]),
    ];
    for (seed, shape) in shapes.into_iter().enumerate() {
        there_and_back(guest, seed as u64, 16, &shape);
        there_and_back(guest, seed as u64 + 100, 16, &shape.indirect());
    }
    there_and_back(guest, 200, 2048, &Shape::default());
    there_and_back(guest, 201, 2048, &Shape::of(Framing::Segments(8192)).indirect());
}

#[test]
fn requests_work_in_memory_that_is_not_shared() {
    let dir = directory();
    image(dir.path(), "disk.img", 4 << 20);
    let target = Target::start_in(dir, &["--disk", "disk.img"]);
    let (mut guest, between) = guest_of(&target, SOCKET, 1);
    settle(&mut guest, LUN);
    all_shapes(&mut guest);
    let inquiry = Command::data_in(LUN, cdb::inquiry(None, 255), 255);
    let inquiry = guest.execute(0, &inquiry).unwrap().good().unwrap();
    assert_eq!(inquiry.data[8..15], *b"ANNULUS");
    let sense = guest.execute(0, &Command::new(LUN, vec![0xFE; 6])).unwrap();
    assert_eq!(sense.sense_code(), Some((5, 0x20, 0)));
    let asked = between.asked();
    assert!(asked.reads > 20 && asked.writes > 20, "{asked:?}");
    target.stop();
}

#[test]
fn requests_may_lie_in_both_kinds_of_memory() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    let between = Between::start(&target.path(NEAR), &target.path(SOCKET), &[HIDDEN.0.0]).unwrap();
    let regions = vec![RINGS, HIDDEN];
    let mut guest = target.guest_on(NEAR, Options { regions, queue_size: 256, ..Options::default() });
    // Room for headers and responses, not for data.
    let hole = guest.memory().allocate_in(0, 1024, 8).unwrap();
    fill(&mut guest);
    guest.memory().free(&hole);
    settle(&mut guest, LUN);
    assert_eq!(between.asked().reads, 0, "a request without data is all shared");
    there_and_back(&mut guest, 1, 8, &Shape::default());
    let asked = between.asked();
    assert_eq!((asked.reads, asked.writes), (1, 1), "data of a write is read, that of a read is written");
    there_and_back(&mut guest, 2, 8, &Shape::of(Framing::Segments(700)));
    there_and_back(&mut guest, 3, 64, &Shape::of(Framing::Segments(512)).indirect());
    target.stop();
}

#[test]
fn many_commands_on_several_queues() {
    let target = Target::start(&["--queues", "2", "--disk", "mem:size=4M"]);
    let (mut guest, _between) = guest_of(&target, SOCKET, 2);
    settle(&mut guest, LUN);
    for kind in 0..2 {
        for n in 0..64_u64 {
            let data = pattern(n, 4096);
            let command =
                if kind == 0 { Command::write(LUN, n * 8, 512, data) } else { Command::read(LUN, n * 8, 8, 512) };
            let shape = if n % 3 == 0 { Shape::default().indirect() } else { Shape::default() };
            guest.submit((n % 2) as u16, &command.with_id(n), &shape).unwrap();
        }
        for n in 0..64_u64 {
            let completion = guest.wait((n % 2) as u16).unwrap();
            let answer = completion.response.good().unwrap();
            assert!(kind == 0 || answer.data == pattern(completion.id, 4096), "command {}", completion.id);
        }
    }
    target.stop();
}

#[test]
fn memory_may_go_while_the_client_owes_an_answer() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    let (mut guest, between) = guest_of(&target, SOCKET, 1);
    settle(&mut guest, LUN);
    for indirect in [false, true] {
        between.set_mode(Mode::Hold);
        let (data, held) = (pattern(7, 4096), between.asked().held);
        let shape = Shape { indirect, ..Shape::default() };
        guest.submit(0, &Command::write(LUN, 0, 512, data.clone()), &shape).unwrap();
        target.until("the device's request", || between.asked().held > held);
        // The client takes the memory away, and answers after that. Both are answered in time, or it would be cut off.
        guest.unmap(1).unwrap();
        between.set_mode(Mode::Serve);
        assert!(!needs_reset(&mut guest));
        guest.map(1).unwrap();
        guest.wait(0).unwrap().response.good().unwrap();
        let read = guest.execute(0, &Command::read(LUN, 0, 8, 512)).unwrap();
        assert!(read.good().unwrap().data == data);
    }
    target.stop();
}

#[test]
fn memory_may_come_and_go_at_any_moment_of_a_command() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    let (mut guest, between) = guest_of(&target, SOCKET, 1);
    settle(&mut guest, LUN);
    for turn in 0..60_u64 {
        let (data, shape) = (pattern(turn, 4096), Shape { indirect: turn % 2 == 0, ..Shape::default() });
        for command in [Command::write(LUN, 0, 512, data.clone()), Command::read(LUN, 0, 8, 512)] {
            let reads = between.asked().reads;
            guest.submit(0, &command, &shape).unwrap();
            target.until("the device's request", || between.asked().reads > reads);
            guest.unmap(1).unwrap();
            guest.map(1).unwrap();
            let answer = guest.wait(0).unwrap().response.good().unwrap();
            assert!(command.data_in == 0 || answer.data == data, "turn {turn}");
        }
    }
    target.stop();
}

#[test]
fn a_client_that_refuses_is_told_that_its_device_has_failed() {
    let target = Target::start_two(&["--disk", "mem:size=1M"], &["--disk", "mem:size=1M"]);
    let mut neighbour = target.guest_on("b.sock", Options::default());
    let (mut guest, between) = guest_of(&target, "a.sock", 1);
    settle(&mut guest, LUN);
    guest.config_interrupt().expect("the guest has interrupts").take();
    between.set_mode(Mode::Refuse(5));
    guest.submit(0, &Command::read(LUN, 0, 8, 512), &Shape::default()).unwrap();
    target.until("the failure", || needs_reset(&mut guest));
    assert!(guest.config_interrupt().expect("as above").wait(STEP_LIMIT).unwrap() > 0);
    target.until("word of it", || target.output().contains("does not serve it either"));
    alive(&mut neighbour);
    between.set_mode(Mode::Serve);
    revive(&mut guest);
    target.stop();
}

#[test]
fn a_client_that_never_answers_is_let_go_and_the_next_one_is_served() {
    let target = Target::start_two(&["--disk", "mem:size=1M"], &["--disk", "mem:size=1M"]);
    let mut neighbour = target.guest_on("b.sock", Options::default());
    let (mut guest, between) = guest_of(&target, "a.sock", 1);
    settle(&mut guest, LUN);
    between.set_mode(Mode::Hold);
    guest.submit(0, &Command::read(LUN, 0, 8, 512), &Shape::default()).unwrap();
    alive(&mut neighbour);
    target.until("the end of its patience", || target.output().contains("client gone"));
    assert!(guest.status().is_err(), "the connection is closed");
    alive(&mut target.guest_on("a.sock", Options::default()));
    alive(&mut neighbour);
    target.stop();
}

#[test]
fn a_reset_does_not_wait_for_a_client_that_owes_an_answer() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let (mut guest, between) = guest_of(&target, SOCKET, 1);
    settle(&mut guest, LUN);
    between.set_mode(Mode::Hold);
    guest.submit(0, &Command::read(LUN, 0, 8, 512), &Shape::default()).unwrap();
    assert_eq!(guest.reset().unwrap(), 1);
    between.set_mode(Mode::Serve);
    guest.start().unwrap();
    alive(&mut guest);
    target.stop();
}

#[test]
fn task_management_works_in_memory_that_is_not_shared() {
    let target = Target::start(&["--disk", "mem:size=1M,delay=3600s", "--disk", "mem:size=1M"]);
    let (mut guest, _between) = guest_of(&target, SOCKET, 1);
    settle(&mut guest, LUN);
    guest.submit(0, &Command::read(LUN, 0, 8, 512).with_id(1), &Shape::default()).unwrap();
    let answer = guest.task_management(&TaskManagement::on(Function::AbortTaskSet, LUN)).unwrap();
    assert_eq!(answer, response::OK);
    let ended = guest.poll(0).unwrap().expect("it ends before the answer");
    assert_eq!((ended.id, ended.response.response), (1, response::ABORTED));
    target.abandon();
}

#[test]
fn rings_have_to_be_shared() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let between = Between::start(&target.path(NEAR), &target.path(SOCKET), &[RINGS.0.0]).unwrap();
    let mut guest = target.connect_on(NEAR, Options { regions: vec![RINGS], ..Options::default() });
    guest.start().unwrap();
    assert!(needs_reset(&mut guest));
    target.until("word of it", || {
        target.output().lines().any(|line| line.contains("does not share") && line.contains("share=on"))
    });
    assert_eq!(between.asked().reads, 0);
    drop(guest);
    alive(&mut target.guest());
    target.stop();
}

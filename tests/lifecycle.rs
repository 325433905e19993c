//! Clients come, go, reset and die; memory goes and comes back; the target ends. Nobody else notices.

mod common;

use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::guest::spec::status;
use annulus_bench::wire::{self, command};
use annulus_bench::{Guest, Options};
use common::io::{LUN, alive, pattern, revive, settle, verify_on};
use common::{SOCKET, STEP_LIMIT, Target, directory, image};
use rustix::process::Signal;

/// A disk whose commands do not end within any test.
const SLOW: &str = "mem:size=1M,delay=3600s";
/// The same, and it does not let go of them either.
const DEAF: &str = "mem:size=1M,delay=3600s,cancel=no";
/// QEMU gives up after 5 s; the promise is that no reply is later than this.
const REPLY_LIMIT: Duration = Duration::from_secs(4);

fn submit_reads(guest: &mut Guest, count: u64) {
    for lba in 0..count {
        guest.submit(0, &Command::read(LUN, lba, 8, 512), &Shape::default()).unwrap();
    }
}

#[test]
fn the_next_client_may_attach_when_one_has_gone() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let open = (0..8).map(|_| {
        let mut guest = target.guest();
        alive(&mut guest);
        drop(guest);
        target.open_files()
    });
    let open: Vec<_> = open.collect();
    // The last client's files may still be open when it counts, no more than one client's.
    let (first, last) = (open[0], open[7]);
    assert!(last <= first + 8, "open files after each client: {open:?}");
    target.stop();
}

#[test]
fn a_client_may_go_with_commands_in_flight() {
    let target = Target::start_two(&["--disk", SLOW], &["--disk", "mem:size=1M"]);
    let mut neighbour = target.guest_on("b.sock", Options::default());
    for _ in 0..3 {
        let mut guest = target.guest_on("a.sock", Options::default());
        settle(&mut guest, LUN);
        submit_reads(&mut guest, 20);
        drop(guest);
        alive(&mut neighbour);
    }
    let mut guest = target.guest_on("a.sock", Options::default());
    settle(&mut guest, LUN);
    target.abandon();
}

#[test]
fn a_reset_under_load_leaves_nothing_behind() {
    let target = Target::start(&["--disk", "mem:size=4M", "--queues", "2"]);
    let mut guest = target.guest_on(SOCKET, Options { request_queues: 2, ..Options::default() });
    for round in 0..20 {
        settle(&mut guest, LUN);
        for queue in [0, 1] {
            for lba in 0..30 {
                let write = Command::write(LUN, lba, 512, pattern(lba, 4096));
                guest.enqueue(queue, &write, &Shape::default()).unwrap();
            }
            guest.flush(queue).unwrap();
        }
        if round % 2 == 0 {
            guest.reset().unwrap()
        } else {
            guest.reset_function().unwrap()
        };
        assert_eq!(guest.status().unwrap(), 0);
        guest.start().unwrap();
    }
    alive(&mut guest);
    verify_on(&mut guest, 1, 9, 9);
    target.stop();
}

#[test]
fn nothing_is_written_once_a_reset_is_over() {
    let target = Target::start(&["--disk", "mem:size=1M,delay=200ms", "--disk", "mem:size=1M,target=1,delay=1s"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    submit_reads(&mut guest, 16);
    guest.reset().unwrap();
    // The commands had their buffers in the lower half. Keep whatever comes next out of it.
    let (gpa, len) = guest.memory().regions().next().map(|region| (region.gpa(), region.len())).unwrap();
    let low = guest.memory().allocate(len / 2, 4096).unwrap();
    assert_eq!(low.gpa(), gpa);
    low.fill(0xEE);
    // Let more time pass than the commands would have taken.
    guest.start().unwrap();
    let lun = Lun::new(1, 0);
    settle(&mut guest, lun);
    guest.execute(0, &Command::read(lun, 0, 1, 512)).unwrap().good().unwrap();
    assert!(low.to_vec().iter().all(|&byte| byte == 0xEE), "a command from before the reset wrote to memory");
    target.stop();
}

#[test]
fn a_reset_ends_slow_commands_in_time() {
    let target = Target::start(&["--disk", SLOW]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    submit_reads(&mut guest, 8);
    let start = Instant::now();
    guest.reset_function().unwrap();
    assert!(start.elapsed() < REPLY_LIMIT, "DEVICE_RESET took {:?}", start.elapsed());
    guest.reset().unwrap();
    guest.start().unwrap();
    settle(&mut guest, LUN);
    target.abandon();
}

#[test]
fn a_killed_client_leaves_the_other_controller_alone() {
    let target = Target::start_two(&["--disk", "mem:size=4M,delay=1ms"], &["--disk", "mem:size=1M"]);
    let mut neighbour = target.guest_on("b.sock", Options::default());
    for _ in 0..3 {
        let ready = target.path("victim-is-ready");
        let mut victim = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--ignored"])
            .env("ANNULUS_VICTIM_SOCKET", target.path("a.sock"))
            .env("ANNULUS_VICTIM_READY", &ready)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        target.until("victim at work", || ready.exists());
        victim.kill().unwrap();
        victim.wait().unwrap();
        std::fs::remove_file(ready).unwrap();
        alive(&mut neighbour);
        let mut next = target.guest_on("a.sock", Options::default());
        alive(&mut next);
    }
    target.stop();
}

/// The client that is killed, in a process of its own: keeps many writes in flight for ever.
#[test]
#[ignore = "run by a_killed_client_leaves_the_other_controller_alone"]
fn victim() {
    let Some(socket) = std::env::var_os("ANNULUS_VICTIM_SOCKET") else { return };
    let ready = std::env::var_os("ANNULUS_VICTIM_READY").unwrap();
    let mut guest = Guest::attach(socket.as_ref(), Options::default()).unwrap();
    settle(&mut guest, LUN);
    for round in 0u64.. {
        let write = Command::write(LUN, round % 1000 * 8, 512, pattern(round, 4096));
        guest.submit(0, &write, &Shape::default()).unwrap();
        if round >= 30 {
            std::fs::write(&ready, "").unwrap();
            guest.wait(0).unwrap();
        }
    }
}

#[test]
fn sigterm_drains_and_removes_the_sockets() {
    for signal in [Signal::TERM, Signal::INT] {
        let dir = directory();
        let path = image(dir.path(), "disk.img", 4 << 20);
        let target = Target::start_in(dir, &["--disk", "disk.img"]);
        let mut guest = target.guest();
        settle(&mut guest, LUN);
        for index in 0..16 {
            guest.execute(0, &Command::write(LUN, index * 8, 512, pattern(index, 4096))).unwrap().good().unwrap();
        }
        target.signal(signal);
        assert!(target.wait().success());
        assert!(!target.path(SOCKET).exists());
        let file = std::fs::read(path).unwrap();
        for index in 0..16 {
            assert!(file[index as usize * 4096..][..4096] == pattern(index, 4096));
        }
    }
}

#[test]
fn sigterm_does_not_wait_for_a_disk_that_never_answers() {
    let target = Target::start(&["--disk", SLOW]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    submit_reads(&mut guest, 8);
    target.signal(Signal::TERM);
    assert_eq!(target.wait().code(), Some(1), "its disk was not flushed");
    assert!(!target.path(SOCKET).exists());
}

#[test]
fn a_second_signal_ends_a_target_whose_disk_never_answers() {
    let target = Target::start(&["--disk", SLOW]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    submit_reads(&mut guest, 8);
    target.signal(Signal::TERM);
    target.until("word of the first signal", || target.output().contains("stopping"));
    target.signal(Signal::TERM);
    assert!(!target.wait().success());
}

#[test]
fn memory_may_go_and_come_back_under_a_live_ring() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    for round in 0..20 {
        guest.unmap(0).unwrap();
        guest.map(0).unwrap();
        verify_on(&mut guest, 0, round, 8);
    }
    assert_eq!(guest.status().unwrap() & status::NEEDS_RESET, 0);
    target.stop();
}

#[test]
fn memory_may_come_back_in_pieces() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    guest.unmap(0).unwrap();
    let region = guest.memory().regions().next().unwrap().clone();
    let (_, connection) = guest.registers();
    // Pages of rings and data in regions of their own, the lowest last.
    let piece = 0x4_0000;
    for at in (0..region.len()).step_by(piece).rev().map(|at| at as u64) {
        connection.dma_map_file(region.file(), at, region.gpa().0 + at, piece as u64).unwrap();
    }
    for round in 0..20 {
        verify_on(&mut guest, 0, round, 64);
    }
    target.stop();
}

#[test]
fn a_command_sent_while_memory_is_away_is_served_when_it_is_back() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    for lba in 0..5 {
        guest.unmap(0).unwrap();
        guest.submit(0, &Command::read(LUN, lba, 8, 512), &Shape::default()).unwrap();
        assert_eq!(guest.poll(0).unwrap(), None, "the device reads memory that it was told to forget");
        guest.map(0).unwrap();
        guest.wait(0).unwrap().response.good().unwrap();
    }
    target.stop();
}

#[test]
fn an_unmap_is_answered_in_time_whatever_the_disk_does() {
    let target = Target::start_two(&["--disk", "mem:size=1M,delay=60s"], &["--disk", "mem:size=1M"]);
    let mut neighbour = target.guest_on("b.sock", Options::default());
    let mut guest = target.guest_on("a.sock", Options::default());
    settle(&mut guest, LUN);
    submit_reads(&mut guest, 8);
    let start = Instant::now();
    guest.unmap(0).unwrap();
    assert!(start.elapsed() < REPLY_LIMIT, "DMA_UNMAP took {:?}", start.elapsed());
    alive(&mut neighbour);
    let start = Instant::now();
    guest.status().unwrap();
    let (device, connection) = guest.registers();
    device.set_status(connection, 0).unwrap();
    assert!(start.elapsed() < REPLY_LIMIT, "register accesses took {:?}", start.elapsed());
    drop(guest);
    alive(&mut neighbour);
    let mut next = target.guest_on("a.sock", Options::default());
    settle(&mut next, LUN);
    target.abandon();
}

#[test]
fn a_disk_that_never_lets_go_delays_no_reply_past_its_limit() {
    for disk in [DEAF, "mem:size=1M,delay=60s,cancel=no"] {
        let target = Target::start_two(&["--disk", disk], &["--disk", "mem:size=1M"]);
        let mut neighbour = target.guest_on("b.sock", Options::default());
        let mut guest = target.guest_on("a.sock", Options { own_client: true, ..Options::default() });
        settle(&mut guest, LUN);
        guest.submit(0, &Command::write(LUN, 0, 512, pattern(0, 4096)), &Shape::default()).unwrap();
        let (gpa, len) = guest.memory().regions().next().map(|region| (region.gpa(), region.len())).unwrap();
        // All of them are there before the first is answered.
        let socket = guest.registers().1.raw();
        let unmap = wire::message(1, command::DMA_UNMAP, &wire::dma_unmap(0, gpa.0, len as u64));
        let resets = [2, 3].map(|id| wire::message(id, command::DEVICE_RESET, &[]));
        let start = Instant::now();
        socket.send(&[unmap, resets.concat()].concat(), &[]).unwrap();
        for id in 1..=3 {
            let reply = socket.receive().unwrap();
            assert_eq!((reply.header.message_id, reply.error()), (id, None));
        }
        assert!(start.elapsed() < REPLY_LIMIT, "DMA_UNMAP and two DEVICE_RESETs took {:?}", start.elapsed());
        alive(&mut neighbour);
        drop(guest);
        let mut next = target.guest_on("a.sock", Options::default());
        settle(&mut next, LUN);
        alive(&mut neighbour);
        target.abandon();
    }
}

#[test]
fn a_device_whose_disk_never_lets_go_is_failed_and_the_other_disks_go_on() {
    const OTHER: Lun = Lun::new(1, 0);
    let deaf = "mem:size=1M,delay=60s,cancel=no";
    let target = Target::start_two(&["--disk", deaf, "--disk", "mem:size=1M,target=1"], &["--disk", "mem:size=1M"]);
    let mut neighbour = target.guest_on("b.sock", Options::default());
    let mut guest = target.guest_on("a.sock", Options::default());
    settle(&mut guest, LUN);
    settle(&mut guest, OTHER);
    submit_reads(&mut guest, 4);
    // Nothing is wrong yet: the disk beside it answers.
    for lba in 0..20 {
        let id = guest.submit(0, &Command::read(OTHER, lba, 8, 512), &Shape::default()).unwrap();
        assert_eq!(guest.wait(0).unwrap().id, id);
    }
    guest.config_interrupt().unwrap().take();
    let start = Instant::now();
    guest.unmap(0).unwrap();
    let took = start.elapsed();
    assert!(took < REPLY_LIMIT, "DMA_UNMAP took {took:?}");
    assert_ne!(guest.status().unwrap() & status::NEEDS_RESET, 0, "after {took:?} the device had failed");
    assert!(guest.config_interrupt().unwrap().wait(STEP_LIMIT).unwrap() > 0, "and says so");
    alive(&mut neighbour);
    // A new client has the other disk at once, though the old operations are still there.
    drop(guest);
    let mut next = target.guest_on("a.sock", Options::default());
    settle(&mut next, OTHER);
    for lba in 0..20 {
        let write = Command::write(OTHER, lba, 512, pattern(lba, 4096));
        next.execute(0, &write).unwrap().good().unwrap();
        let read = next.execute(0, &Command::read(OTHER, lba, 8, 512)).unwrap().good().unwrap();
        assert!(read.data == pattern(lba, 4096));
    }
    alive(&mut neighbour);
    target.abandon();
}

#[test]
fn an_unmap_under_load_loses_nothing() {
    let target = Target::start(&["--disk", "mem:size=1M,delay=1ms"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    for _ in 0..20 {
        submit_reads(&mut guest, 30);
        guest.unmap(0).unwrap();
        guest.map(0).unwrap();
        for _ in 0..30 {
            guest.wait(0).unwrap().response.good().unwrap();
        }
    }
    target.stop();
}

#[test]
fn a_client_that_waits_its_turn_is_served_when_the_first_has_gone() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut first = target.guest();
    alive(&mut first);
    let path = target.path(SOCKET);
    let second = std::thread::spawn(move || {
        let start = Instant::now();
        // Refused or kept waiting while the first is there: either is fine.
        loop {
            match Guest::attach(&path, Options { limit: STEP_LIMIT, ..Options::default() }) {
                Ok(mut guest) => return alive(&mut guest),
                Err(error) => assert!(start.elapsed() < STEP_LIMIT, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    for _ in 0..10 {
        alive(&mut first);
    }
    drop(first);
    second.join().unwrap();
    target.stop();
}

#[test]
fn a_device_can_be_revived_as_often_as_one_likes() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    for _ in 0..30 {
        revive(&mut guest);
    }
    target.stop();
}

//! Guest memory that is registered with io_uring, and guest memory that cannot be: the guest sees no difference.

mod common;

use annulus_bench::guest::cdb;
use annulus_bench::guest::framing::{Framing, Shape};
use annulus_bench::guest::memory::Gpa;
use annulus_bench::guest::scsi::{Command, Lun, Response};
use annulus_bench::{Guest, Options};
use common::io::{LUN, alive, pattern, settle, verify_on};
use common::placed::{across, execute_at};
use common::{SOCKET, Target, cpumask, directory, image};
use rustix::process::Signal;

/// What the log says of each piece of memory that has been registered.
const REGISTERED: &str = "memory pinned";
/// What it says if memory cannot be.
const REFUSED: &str = "guest memory is not registered with io_uring";

/// A target with one disk file, on [`SOCKET`].
fn target(args: &[&str]) -> Target {
    let dir = directory();
    image(dir.path(), "disk.img", 16 << 20);
    let mask = cpumask(1);
    Target::serve_verbose(dir, &[&["--cpumask", &mask, "--socket", SOCKET, "--disk", "disk.img"], args].concat())
}

fn count(target: &Target, line: &str) -> usize {
    target.output().matches(line).count()
}

fn await_registered(target: &Target, pieces: usize) {
    target.until("registered memory", || count(target, REGISTERED) >= pieces);
}

fn there_and_back(guest: &mut Guest, seed: u64, blocks: u32, shape: &Shape) {
    let data = pattern(seed, blocks as usize * 512);
    let what = |error| panic!("{shape:?}, {blocks} blocks: {error}");
    let write = Command::write(LUN, seed, 512, data.clone());
    guest.execute_shaped(0, &write, shape).and_then(Response::good).unwrap_or_else(what);
    let read = Command::read(LUN, seed, blocks, 512);
    let read = guest.execute_shaped(0, &read, shape).and_then(Response::good).unwrap_or_else(what);
    assert!(read.data == data, "{shape:?}, {blocks} blocks");
}

/// How many parts of operations used registered memory, once the target has ended.
fn fixed_parts(output: &str) -> u64 {
    let parts = output.rsplit_once("fixed: ").expect("a core says what it has done").1;
    parts.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn requests_may_lie_in_registered_memory_in_any_way() {
    let target = target(&["--register-chunk", "64K"]);
    let mut guest = target.guest_on(SOCKET, Options { queue_size: 256, ..Options::default() });
    await_registered(&target, (16 << 20) / (64 << 10));
    settle(&mut guest, LUN);
    for (seed, blocks, shape) in [
        (1, 1, Shape::default()),
        (2, 8, Shape::default()),
        (3, 24, Shape { data_offset: 512, ..Shape::default() }),
        (4, 24, Shape { data_offset: 8, ..Shape::default() }),
        (5, 24, Shape { data_offset: 1, ..Shape::default() }),
        // Past the end of a chunk, and of many.
        (6, 200, Shape::default()),
        (7, 2048, Shape::default()),
        (8, 2048, Shape { data_offset: 24, ..Shape::default() }),
        (9, 64, Shape::of(Framing::Segments(512))),
        (10, 64, Shape::of(Framing::Segments(1000)).indirect()),
        // About as many segments as one request can have.
        (11, 1000, Shape::of(Framing::Segments(512)).indirect()),
        (12, 2048, Shape::of(Framing::Segments(4096)).indirect()),
    ] {
        there_and_back(&mut guest, seed, blocks, &shape);
    }
    drop(guest);
    let ended = target.end();
    assert!(fixed_parts(&ended) >= 10, "{ended}");
}

#[test]
fn a_buffer_may_cross_from_one_registered_region_into_the_next() {
    let target = target(&[]);
    let (first, second) = (Gpa(0x10_0000), Gpa(0x20_0000));
    let regions = vec![(first, 0x10_0000), (second, 0x10_0000)];
    let mut guest = target.guest_on(SOCKET, Options { regions, ..Options::default() });
    await_registered(&target, 2);
    settle(&mut guest, LUN);
    // Nothing is allocated at the end of the first region, nor in the second.
    let data = pattern(1, 8192);
    let [low, high] = across(&mut guest, second, 4096, data.len());
    low.write(0, &data[..4096]);
    high.write(0, &data[4096..]);
    let write = Command::new(LUN, cdb::transfer(cdb::Direction::Write, cdb::Width::Ten, 9, 16, 0));
    execute_at(&mut guest, &write, low.gpa(), data.len(), true);
    let read = guest.execute(0, &Command::read(LUN, 9, 16, 512)).unwrap().good().unwrap();
    assert!(read.data == data);
    target.stop();
}

#[test]
fn memory_that_goes_and_comes_back_under_load_is_registered_once() {
    const ROUNDS: u64 = 50;
    let target = target(&[]);
    let mut guest = target.guest();
    await_registered(&target, 1);
    settle(&mut guest, LUN);
    for round in 0..ROUNDS {
        for lba in 0..20 {
            let write = Command::write(LUN, lba * 8, 512, pattern(round * 100 + lba, 4096));
            guest.enqueue(0, &write, &Shape::default()).unwrap();
        }
        guest.flush(0).unwrap();
        guest.unmap(0).unwrap();
        guest.map(0).unwrap();
        for _ in 0..20 {
            guest.wait(0).unwrap().response.good().unwrap();
        }
    }
    for lba in 0..20 {
        let read = guest.execute(0, &Command::read(LUN, lba * 8, 8, 512)).unwrap().good().unwrap();
        assert!(read.data == pattern((ROUNDS - 1) * 100 + lba, 4096), "block {}", lba * 8);
    }
    // On a machine that stands still for a second it may be more than one.
    assert!(count(&target, REGISTERED) < ROUNDS as usize / 2, "registered {} times", count(&target, REGISTERED));
    drop(guest);
    target.until("the end of a registration", || count(&target, "memory unpinned") > 0);
    target.stop();
}

#[test]
fn the_next_client_finds_nothing_of_the_last_one() {
    let target = target(&[]);
    for client in 1..=3 {
        let mut guest = target.guest();
        alive(&mut guest);
        await_registered(&target, client);
        verify_on(&mut guest, 0, client as u64 * 8, 8);
    }
    target.until("the end of registrations", || count(&target, "memory unpinned") == 3);
    target.stop();
}

#[test]
fn memory_is_registered_when_the_first_disk_comes_that_has_something_of_it() {
    let dir = directory();
    image(dir.path(), "disk.img", 16 << 20);
    let configure = |disks: &str| {
        let text = format!("[[controller]]\nsocket = \"{SOCKET}\"\ncpumask = \"{}\"\ndisks = [{disks}]", cpumask(1));
        std::fs::write(dir.path().join("annulus.toml"), text).unwrap();
    };
    configure("\"null:size=1M,target=1\"");
    let target = Target::serve_verbose(dir.clone(), &["--config", "annulus.toml"]);
    let mut guest = target.guest();
    settle(&mut guest, Lun::new(1, 0));
    assert_eq!(count(&target, REGISTERED), 0, "an empty disk has nothing of it");
    configure("\"null:size=1M,target=1\", \"disk.img\"");
    target.signal(Signal::HUP);
    await_registered(&target, 1);
    alive(&mut guest);
    there_and_back(&mut guest, 1, 8, &Shape::default());
    drop(guest);
    let ended = target.end();
    assert!(fixed_parts(&ended) > 0, "{ended}");
}

#[test]
fn a_limit_of_locked_memory_is_said_once_and_costs_no_more_than_speed() {
    // Enough for rings, which count, too; for two guests of whom the second has a region that is small enough.
    let large = [(Gpa(0x10_0000), 16 << 20), (Gpa(0x2000_0000), 16 << 20)];
    for (pieces, small) in [(0, None), (1, Some((Gpa(0x1000_0000), 256 << 10)))] {
        let dir = directory();
        image(dir.path(), "disk.img", 16 << 20);
        let mask = cpumask(1);
        let args = ["--cpumask", &mask, "--socket", SOCKET, "--disk", "disk.img"];
        let target = Target::serve_within_memory_lock_limit(dir, "4194304:4194304", &args);
        let regions = large.into_iter().chain(small).collect();
        let mut guest = target.guest_on(SOCKET, Options { regions, ..Options::default() });
        alive(&mut guest);
        target.until("word of it", || count(&target, REFUSED) > 0);
        await_registered(&target, pieces);
        for seed in 0..20 {
            there_and_back(&mut guest, seed, 24, &Shape { data_offset: seed as usize, ..Shape::default() });
        }
        assert_eq!((count(&target, REFUSED), count(&target, REGISTERED)), (1, pieces), "{}", target.output());
        assert!(target.output().contains("ulimit -l"), "it says what to set");
        target.stop();
    }
}

#[test]
fn nothing_is_registered_if_that_is_not_wanted() {
    let target = target(&["--register", "off"]);
    let mut guest = target.guest();
    alive(&mut guest);
    drop(guest);
    let output = target.end();
    assert_eq!(fixed_parts(&output), 0);
    assert!(output.contains("not registered, as asked for") && !output.contains(REFUSED), "{output}");
}

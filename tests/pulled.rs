//! Devices and files that are taken away while guests work on them: what is gone is an error, what is left is right, and the
//! neighbours go on.

mod common;

use std::fs::File;

use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::{Guest, Options};
use common::io::{LUN, good, pattern, settle};
use common::loops::Loop;
use common::neighbour::Neighbour;
use common::{SOCKET, Target, directory, image, until};
use rustix::process::Signal;

const MIB: u64 = 1 << 20;
const BLOCKS: u64 = MIB / 512;
/// Requests in flight while something is taken away.
const DEPTH: u64 = 32;
/// Requests of the neighbour that end after all of these have.
const ENOUGH: usize = 100;
const NEIGHBOUR: Lun = Lun::new(1, 0);
/// UNRECOVERED READ ERROR and LOGICAL BLOCK ADDRESS OUT OF RANGE, as key, code and qualifier.
const READ_ERROR: (u8, u8, u8) = (3, 0x11, 0);
const OUT_OF_RANGE: (u8, u8, u8) = (5, 0x21, 0);

/// Reads all over the disk, many at a time; `pull` is done while they are on their way. Each ends once, with its own data or
/// with `error`. Gives how many have failed. The neighbour works before, meanwhile and afterwards.
fn read_while(guest: &mut Guest, whole: &[u8], error: (u8, u8, u8), pull: impl FnOnce()) -> usize {
    let mut pull = Some(pull);
    let (mut failed, mut started) = (0, Vec::new());
    let mut neighbour = Neighbour::start(guest, NEIGHBOUR, 1);
    for number in 0..DEPTH * 8 {
        if number == DEPTH * 4 {
            pull.take().expect("it is done once")();
        }
        let lba = (number * 8 * 37) % BLOCKS;
        let id = guest.submit(0, &Command::read(LUN, lba, 8, 512), &Shape::default()).expect("a place in the queue");
        started.push((id, lba));
        if number + 1 >= DEPTH {
            failed += usize::from(ends_well(guest, &mut started, whole, error).is_none());
        }
        neighbour.pass(guest);
    }
    while !started.is_empty() {
        failed += usize::from(ends_well(guest, &mut started, whole, error).is_none());
    }
    neighbour.end(guest, ENOUGH);
    failed
}

/// Waits for one of the reads: `Some` if it has brought its data, `None` if it has failed as it may.
fn ends_well(guest: &mut Guest, started: &mut Vec<(u64, u64)>, whole: &[u8], error: (u8, u8, u8)) -> Option<()> {
    let ended = guest.wait(0).expect("nothing hangs");
    let place = started.iter().position(|(id, _)| *id == ended.id).expect("each ends once");
    let (_, lba) = started.swap_remove(place);
    match ended.response.sense_code() {
        None => {
            let start = lba as usize * 512;
            assert!(ended.response.data == whole[start..start + 8 * 512], "{lba}: other data");
            Some(())
        }
        Some(code) => {
            assert_eq!(code, error, "{lba}");
            None
        }
    }
}

/// Reads and writes all over the disk, whose blocks from `end` are gone. What is gone fails, and nothing else
/// does.
fn work_on_the_rest(guest: &mut Guest, whole: &[u8], end: u64) {
    let mut started = Vec::new();
    let take = |guest: &mut Guest, started: &mut Vec<(u64, u64, bool)>| {
        let ended = guest.wait(0).expect("nothing hangs");
        let place = started.iter().position(|(id, ..)| *id == ended.id).expect("each ends once");
        let (_, lba, read) = started.swap_remove(place);
        let gone = lba + 8 > end;
        assert_eq!(ended.response.sense_code(), gone.then_some(OUT_OF_RANGE), "{lba}");
        if read && !gone {
            let start = lba as usize * 512;
            assert!(ended.response.data == whole[start..start + 8 * 512], "{lba}: other data");
        }
    };
    for number in 0..DEPTH * 16 {
        let lba = (number * 8 * 37) % BLOCKS;
        let start = lba as usize * 512;
        let read = number % 2 == 0;
        let command = match read {
            true => Command::read(LUN, lba, 8, 512),
            false => Command::write(LUN, lba, 512, whole[start..start + 8 * 512].to_vec()),
        };
        let id = guest.submit(0, &command, &Shape::default()).expect("a place in the queue");
        started.push((id, lba, read));
        if started.len() as u64 == DEPTH {
            take(guest, &mut started);
        }
    }
    while !started.is_empty() {
        take(guest, &mut started);
    }
}

/// With a request queue for the neighbour.
fn guest_of(target: &Target) -> Guest {
    let mut guest = target.guest_on(SOCKET, Options { request_queues: 2, ..Options::default() });
    settle(&mut guest, LUN);
    settle(&mut guest, NEIGHBOUR);
    guest
}

#[test]
fn a_file_that_is_cut_off_ends_reads_with_errors_and_its_neighbour_goes_on() {
    let dir = directory();
    let path = image(dir.path(), "disk.img", MIB);
    let whole = pattern(5, MIB as usize);
    std::fs::write(&path, &whole).unwrap();
    let target = Target::start_in(dir, &["--disk", "disk.img", "--disk", "mem:size=1M", "--queues", "2"]);
    let mut guest = guest_of(&target);
    assert_eq!(read_while(&mut guest, &whole, OUT_OF_RANGE, || {}), 0);
    let cut = || File::options().write(true).open(&path).unwrap().set_len(MIB / 2).unwrap();
    assert!(read_while(&mut guest, &whole, OUT_OF_RANGE, cut) > 0);
    for lba in [1020, 1024, 2040] {
        let read = guest.execute(0, &Command::read(LUN, lba, 8, 512)).unwrap();
        assert_eq!(read.sense_code(), Some(OUT_OF_RANGE), "{lba}: zeroes would be a lie");
    }
    assert!(good(&mut guest, &Command::read(LUN, 1016, 8, 512)).data == whole[1016 * 512..1024 * 512]);
    // A write would make it grow again, and zeroes of what lies between.
    work_on_the_rest(&mut guest, &whole, 1024);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), MIB / 2);
    // As large as it was, and not what it was, until somebody says that it is to be taken as it is.
    File::options().write(true).open(&path).unwrap().set_len(MIB).unwrap();
    work_on_the_rest(&mut guest, &whole, 1024);
    target.signal(Signal::HUP);
    target.until("the new size", || target.output().contains("has 1048576 now"));
    settle(&mut guest, LUN);
    assert!(good(&mut guest, &Command::read(LUN, 1024, 8, 512)).data == [0; 8 * 512]);
    good(&mut guest, &Command::write(LUN, 2040, 512, pattern(7, 8 * 512)));
    assert!(good(&mut guest, &Command::read(LUN, 2040, 8, 512)).data == pattern(7, 8 * 512));
}

/// The kernel takes a loop device away when its last user has gone: until then it serves on, however often it is told.
#[test]
fn a_loop_device_that_is_detached_under_load_serves_on_and_goes_with_the_target() {
    let dir = directory();
    let path = image(dir.path(), "disk.img", MIB);
    let whole = pattern(5, MIB as usize);
    std::fs::write(&path, &whole).unwrap();
    let Some(device) = Loop::over(&path) else {
        eprintln!("skipped: a loop device needs root");
        return;
    };
    let target = Target::start_in(dir.clone(), &["--disk", device.path(), "--disk", "mem:size=1M", "--queues", "2"]);
    let mut guest = guest_of(&target);
    assert_eq!(read_while(&mut guest, &whole, READ_ERROR, || device.detach()), 0, "it has an owner");
    // What its file loses, it loses.
    let empty = || File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert!(read_while(&mut guest, &whole, READ_ERROR, empty) > 0);
    let read = guest.execute(0, &Command::read(LUN, 1024, 8, 512)).unwrap();
    assert_eq!(read.sense_code(), Some(READ_ERROR), "zeroes would be a lie");
    drop(guest);
    target.stop();
    // The kernel puts the end of it off.
    until("the end of the device", || !device.is_there());
}

//! Large requests in many pieces, at odd addresses, across regions of memory: the file has what was written.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use annulus_bench::guest::cdb::{self, Direction, Width};
use annulus_bench::guest::framing::{Framing, Shape};
use annulus_bench::guest::memory::Gpa;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::{Guest, Options};
use common::io::{LUN, pattern, settle};
use common::placed::{across, execute_at};
use common::{SOCKET, Target, directory, image};

const FILE_LEN: u64 = 64 << 20;
const MEMORY_LEN: usize = 64 << 20;

/// A target with a file disk, opened for direct I/O if the file system can.
fn with_file() -> (Target, PathBuf) {
    let dir = directory();
    let path = image(dir.path(), "disk.img", FILE_LEN);
    (Target::start_in(Arc::clone(&dir), &["--disk", "disk.img"]), path)
}

/// A guest with enough memory for a few large requests, split or packed.
fn large_guest(target: &Target, packed: bool) -> Guest {
    let options = Options { queue_size: 256, regions: vec![(Gpa(0x10_0000), MEMORY_LEN)], ..Options::default() };
    let mut guest = target.guest_on(SOCKET, if packed { options.packed() } else { options });
    settle(&mut guest, LUN);
    guest
}

/// Writes through the device and reads in the file, and the other way round.
fn there_and_back(guest: &mut Guest, file: &File, shape: &Shape, (lba, len): (u64, usize)) {
    let data = pattern(lba ^ len as u64, len);
    guest.execute_shaped(0, &Command::write(LUN, lba, 512, data.clone()), shape).unwrap().good().unwrap();
    assert!(in_file(file, lba, len) == data, "the file has other data than was written: {len} at {lba}, {shape:?}");
    let other = pattern(!lba, len);
    file.write_all_at(&other, lba * 512).unwrap();
    let read = Command::read(LUN, lba, (len / 512) as u32, 512);
    let read = guest.execute_shaped(0, &read, shape).unwrap().good().unwrap();
    assert!(read.data == other, "other data was read than the file has: {len} at {lba}, {shape:?}");
    assert_eq!(read.resid, 0);
}

fn in_file(file: &File, lba: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, lba * 512).unwrap();
    bytes
}

fn open(path: &PathBuf) -> File {
    File::options().read(true).write(true).open(path).unwrap()
}

#[test]
fn requests_of_megabytes_move_every_byte() {
    let (target, path) = with_file();
    let file = open(&path);
    for packed in [false, true] {
        let mut guest = large_guest(&target, packed);
        for len in [1 << 20, 4 << 20, (4 << 20) - 512, (1 << 20) + 512] {
            let shapes = [
                Shape::default(),
                Shape::of(Framing::Segments(64 << 10)),
                Shape::of(Framing::Segments(32 << 10)).indirect(),
                Shape::of(Framing::Whole),
            ];
            for (index, shape) in shapes.iter().enumerate() {
                there_and_back(&mut guest, &file, shape, (index as u64 * 9001 + 3, len));
            }
        }
    }
    target.stop();
}

#[test]
fn a_request_may_be_in_a_thousand_pieces() {
    let (target, path) = with_file();
    let file = open(&path);
    for packed in [false, true] {
        let mut guest = large_guest(&target, packed);
        // More than an iovec list may have, too.
        for (pieces, piece) in [(1000, 512), (1000, 4096), (1020, 1024)] {
            let shape = Shape::of(Framing::Segments(piece)).indirect();
            there_and_back(&mut guest, &file, &shape, (77, pieces * piece));
        }
        // All that the ring has.
        there_and_back(&mut guest, &file, &Shape::of(Framing::Segments(512)), (5, 254 * 512));
    }
    target.stop();
}

#[test]
fn pieces_need_not_be_aligned_for_direct_io() {
    let (target, path) = with_file();
    let file = open(&path);
    let mut guest = large_guest(&target, false);
    for data_offset in [1, 8, 24, 511, 513, 4095] {
        for (segment, len) in [(usize::MAX, 4096), (usize::MAX, 1 << 20), (1000, 64 << 10), (513, 128 << 10)] {
            let shape = Shape { data_offset, ..Shape::of(Framing::Segments(segment)).indirect() };
            there_and_back(&mut guest, &file, &shape, (12_345, len));
        }
    }
    // Header, data and response in one run, cut anywhere.
    let cut = || vec![19, 33, 511, 1, 4096, 7];
    let shape = Shape::of(Framing::Cut { readable: cut(), writable: cut() }).indirect();
    there_and_back(&mut guest, &file, &shape, (9, 256 << 10));
    target.stop();
}

#[test]
fn one_buffer_may_cross_from_one_region_into_the_next() {
    let (target, path) = with_file();
    let file = open(&path);
    let border = Gpa(0x1000_0000 + (32 << 20));
    let regions = vec![(Gpa(0x1000_0000), 32 << 20), (border, 32 << 20)];
    for packed in [false, true] {
        let options = Options { regions: regions.clone(), ..Options::default() };
        let mut guest = target.guest_on(SOCKET, if packed { options.packed() } else { options });
        settle(&mut guest, LUN);
        for (before, len) in [(4096, 8192), (512, 1 << 20), ((1 << 20) - 512, 1 << 20), (1, 4096), (4095, 4 << 20)] {
            let [low, high] = across(&mut guest, border, before, len);
            let (lba, blocks) = (4096, (len / 512) as u32);
            let data = pattern(before as u64, len);
            low.write(0, &data[..before]);
            high.write(0, &data[before..]);
            let write = Command::new(LUN, cdb::transfer(Direction::Write, Width::Sixteen, lba, blocks, 0));
            execute_at(&mut guest, &write, low.gpa(), len, true);
            assert!(in_file(&file, lba, len) == data, "{before} bytes below the border of {len}");
            let other = pattern(len as u64, len);
            file.write_all_at(&other, lba * 512).unwrap();
            execute_at(&mut guest, &Command::read(LUN, lba, blocks, 512), low.gpa(), len, false);
            assert!([low.to_vec(), high.to_vec()].concat() == other, "{before} bytes below the border of {len}");
        }
    }
    target.stop();
}

#[test]
fn large_requests_do_not_get_into_each_others_way() {
    let (target, path) = with_file();
    let file = open(&path);
    let mut guest = large_guest(&target, true);
    let shape = Shape { data_offset: 24, ..Shape::of(Framing::Segments(4096)).indirect() };
    let requests: Vec<_> = (0..12u64).map(|index| (index * 4096, pattern(index, 2 << 20))).collect();
    for (lba, data) in &requests {
        guest.submit(0, &Command::write(LUN, *lba, 512, data.clone()), &shape).unwrap();
    }
    for _ in &requests {
        guest.wait(0).unwrap().response.good().unwrap();
    }
    for (lba, data) in &requests {
        assert!(in_file(&file, *lba, data.len()) == *data, "LBA {lba}");
    }
    target.stop();
}

#[test]
fn a_disk_in_memory_takes_them_too() {
    let target = Target::start(&["--disk", "mem:size=16M,target=2"]);
    let lun = Lun::new(2, 0);
    let mut guest = large_guest_on(&target, lun);
    let shape = Shape { data_offset: 3, ..Shape::of(Framing::Segments(4000)).indirect() };
    let data = pattern(1, 4 << 20);
    for lba in [0, 8191] {
        guest.execute_shaped(0, &Command::write(lun, lba, 512, data.clone()), &shape).unwrap().good().unwrap();
        let read = guest.execute_shaped(0, &Command::read(lun, lba, 8192, 512), &shape).unwrap().good().unwrap();
        assert!(read.data == data);
    }
    target.stop();
}

fn large_guest_on(target: &Target, lun: Lun) -> Guest {
    let options = Options { regions: vec![(Gpa(0x10_0000), MEMORY_LEN)], ..Options::default() };
    let mut guest = target.guest_on(SOCKET, options);
    settle(&mut guest, lun);
    guest
}

//! Requests lie in memory and in descriptors in every way that virtio allows (virtio 1.2, 2.7.4.2): all mean the same.

mod common;

use annulus_bench::guest::cdb;
use annulus_bench::guest::framing::{Framing, Shape};
use annulus_bench::guest::memory::Gpa;
use annulus_bench::guest::scsi::{Command, Response};
use annulus_bench::guest::spec::scsi;
use annulus_bench::{Guest, Options};
use common::io::{LUN, pattern, settle};
use common::placed::{across, execute_at};
use common::{SOCKET, Target, directory, image};

fn there_and_back(guest: &mut Guest, seed: u64, blocks: u32, shape: &Shape) {
    let data = pattern(seed, blocks as usize * 512);
    let what = |error| panic!("{shape:?}, {blocks} blocks: {error}");
    let write = Command::write(LUN, 40, 512, data.clone());
    guest.execute_shaped(0, &write, shape).and_then(Response::good).unwrap_or_else(what);
    let read = Command::read(LUN, 40, blocks, 512);
    let read = guest.execute_shaped(0, &read, shape).and_then(Response::good).unwrap_or_else(what);
    assert!(read.data == data, "{shape:?}, {blocks} blocks");
    assert_eq!((read.resid, read.used_len), (0, 12), "{shape:?}");
}

fn both_ways(guest: &mut Guest, seed: u64, blocks: u32, shape: Shape) {
    there_and_back(guest, seed, blocks, &shape);
    there_and_back(guest, seed + 1, blocks, &shape.indirect());
}

/// A disk in memory and a guest with room for long chains.
fn guest() -> (Target, Guest) {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    let mut guest = target.guest_on(SOCKET, Options { queue_size: 1024, ..Options::default() });
    settle(&mut guest, LUN);
    (target, guest)
}

#[test]
fn header_and_data_may_share_a_descriptor() {
    let (target, mut guest) = guest();
    both_ways(&mut guest, 1, 8, Shape::of(Framing::Whole));
    both_ways(&mut guest, 3, 8, Shape::of(Framing::Parts));
    target.stop();
}

#[test]
fn the_request_header_may_be_cut_anywhere() {
    let (target, mut guest) = guest();
    for at in 1..scsi::REQUEST_HEADER_LEN + scsi::CDB_SIZE + 2 {
        both_ways(&mut guest, at as u64, 2, Shape::of(Framing::Cut { readable: vec![at], writable: vec![] }));
    }
    let bytes = Framing::Cut { readable: vec![1; 51], writable: vec![] };
    both_ways(&mut guest, 99, 2, Shape::of(bytes));
    target.stop();
}

#[test]
fn the_response_may_be_cut_anywhere() {
    let (target, mut guest) = guest();
    for at in 1..scsi::RESPONSE_HEADER_LEN + scsi::SENSE_SIZE + 2 {
        both_ways(&mut guest, at as u64, 2, Shape::of(Framing::Cut { readable: vec![], writable: vec![at] }));
    }
    let bytes = Framing::Cut { readable: vec![], writable: vec![1; 108] };
    both_ways(&mut guest, 99, 2, Shape::of(bytes));
    target.stop();
}

#[test]
fn sense_comes_through_a_cut_response() {
    let (target, mut guest) = guest();
    for at in [1, 4, 11, 12, 13, 29, 107] {
        let shape = Shape::of(Framing::Cut { readable: vec![20], writable: vec![at] });
        let answer = guest.execute_shaped(0, &Command::new(LUN, vec![0xFE; 6]), &shape).unwrap();
        assert_eq!(answer.sense_code(), Some((5, 0x20, 0)), "cut at {at}");
    }
    target.stop();
}

#[test]
fn data_may_be_in_segments_of_any_length() {
    let (target, mut guest) = guest();
    for segment in [1, 7, 511, 512, 513, 4095, 4096] {
        let blocks = if segment < 16 { 1 } else { 16 };
        let shape = Shape::of(Framing::Segments(segment));
        // A chain longer than the ring is not for the ring itself.
        if 512 * blocks / segment + 3 < usize::from(guest.queue(2).layout().size) {
            both_ways(&mut guest, segment as u64, blocks as u32, shape);
        }
    }
    target.stop();
}

#[test]
fn data_may_begin_anywhere_in_a_page() {
    let dir = directory();
    image(dir.path(), "disk.img", 4 << 20);
    let target = Target::start_in(dir, &["--disk", "disk.img"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    for data_offset in [0, 1, 2, 8, 511, 512, 1000, 4095] {
        let shape = Shape { data_offset, ..Shape::default() };
        both_ways(&mut guest, data_offset as u64, 24, shape.clone());
        both_ways(&mut guest, data_offset as u64 + 50, 24, Shape { framing: Framing::Segments(1000), ..shape });
    }
    target.stop();
}

#[test]
fn more_segments_than_seg_max_are_served() {
    let (target, mut guest) = guest();
    // Some drivers ignore seg_max and send 512 pages and one more.
    let room = usize::from(guest.queue(2).layout().size) - 3;
    let segments = room.min(513);
    let blocks = segments as u32;
    there_and_back(&mut guest, 5, blocks, &Shape::of(Framing::Segments(512)).indirect());
    there_and_back(&mut guest, 6, blocks, &Shape::of(Framing::Segments(512)));
    target.stop();
}

#[test]
fn one_megabyte_in_one_command() {
    let dir = directory();
    image(dir.path(), "disk.img", 4 << 20);
    let target = Target::start_in(dir, &["--disk", "disk.img"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    both_ways(&mut guest, 1, 2048, Shape::default());
    there_and_back(&mut guest, 2, 2048, &Shape::of(Framing::Segments(8192)).indirect());
    there_and_back(&mut guest, 3, 2048, &Shape { data_offset: 24, ..Shape::default() });
    target.stop();
}

#[test]
fn a_descriptor_may_cross_from_one_region_into_the_next() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    let (first, second) = (Gpa(0x10_0000), Gpa(0x20_0000));
    let regions = vec![(first, 0x10_0000), (second, 0x10_0000)];
    let mut guest = target.guest_on(SOCKET, Options { regions, ..Options::default() });
    settle(&mut guest, LUN);
    // Nothing is allocated at the end of the first region, nor in the second.
    let data = pattern(1, 8192);
    let [low, high] = across(&mut guest, second, 4196, data.len());
    low.write(0, &data[..4196]);
    high.write(0, &data[4196..]);
    let write = Command::new(LUN, cdb::transfer(cdb::Direction::Write, cdb::Width::Ten, 9, 16, 0));
    execute_at(&mut guest, &write, low.gpa(), data.len(), true);
    let read = guest.execute(0, &Command::read(LUN, 9, 16, 512)).unwrap().good().unwrap();
    assert!(read.data == data);
    target.stop();
}

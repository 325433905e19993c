//! A guest with packed rings: what it writes is what it reads, however often the rings turn and however its chains lie.

mod common;

use annulus_bench::guest::framing::{Framing, Shape};
use annulus_bench::guest::scsi::Command;
use annulus_bench::guest::spec::feature;
use annulus_bench::{Guest, Options};
use common::io::{LUN, pattern, settle, verify_on};
use common::{SOCKET, Target};

/// A guest that agreed on packed rings.
fn packed_guest(target: &Target, options: Options) -> Guest {
    let mut guest = target.guest_on(SOCKET, options.packed());
    assert_ne!(guest.features() & feature::RING_PACKED, 0, "packed rings are offered");
    settle(&mut guest, LUN);
    guest
}

/// Writes and reads `blocks` blocks at `lba`, laid out so.
fn there_and_back(guest: &mut Guest, shape: &Shape, lba: u64, blocks: u32) {
    let data = pattern(lba ^ u64::from(blocks) << 32, blocks as usize * 512);
    let write = Command::write(LUN, lba, 512, data.clone());
    guest.execute_shaped(0, &write, shape).unwrap().good().unwrap();
    let read = guest.execute_shaped(0, &Command::read(LUN, lba, blocks, 512), shape).unwrap().good().unwrap();
    assert!(read.data == data, "other data came back from LBA {lba}, {shape:?}");
    assert_eq!(read.used_len, 12);
}

#[test]
fn rings_of_all_sizes_turn_many_times() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    for (queue_size, turns) in [(4, 400), (16, 100), (256, 8)] {
        let mut guest = packed_guest(&target, Options { queue_size, ..Options::default() });
        // Three descriptors a command, two commands a round.
        for round in 0..u64::from(queue_size) * turns / 6 {
            verify_on(&mut guest, 0, round % 500 * 8, 1 + (round % 5) as u32);
        }
    }
    target.stop();
}

#[test]
fn chains_may_have_any_length_and_cross_the_end_of_the_ring() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    let mut guest = packed_guest(&target, Options { queue_size: 64, ..Options::default() });
    for blocks in 1..=61u32 {
        // One descriptor for each block, request and response: up to all 63 but one of the ring.
        there_and_back(&mut guest, &Shape::of(Framing::Segments(512)), u64::from(blocks), blocks);
    }
    for shape in
        [Shape::of(Framing::Whole), Shape::of(Framing::Cut { readable: vec![1, 50, 1], writable: vec![107, 2, 511] })]
    {
        for round in 0..40 {
            there_and_back(&mut guest, &shape, round, 7);
        }
    }
    target.stop();
}

#[test]
fn indirect_tables_and_direct_chains_may_be_mixed() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    let mut guest = packed_guest(&target, Options { queue_size: 16, ..Options::default() });
    for round in 0..100u64 {
        there_and_back(&mut guest, &Shape::default().indirect(), round, 3);
        there_and_back(&mut guest, &Shape::of(Framing::Segments(512)).indirect(), round, 1 + (round % 100) as u32);
        there_and_back(&mut guest, &Shape::of(Framing::Segments(1024)), round, 1 + (round % 16) as u32);
    }
    target.stop();
}

#[test]
fn queues_are_full_of_commands_that_end_in_any_order() {
    let disks = ["--disk", "mem:size=4M", "--disk", "mem:size=4M,target=1,delay=2ms", "--queues", "3"];
    let target = Target::start(&disks);
    let options = Options { request_queues: 3, queue_size: 64, ..Options::default() };
    let mut guest = packed_guest(&target, options);
    let slow = annulus_bench::guest::scsi::Lun::new(1, 0);
    settle(&mut guest, slow);
    for round in 0..20u64 {
        for queue in 0..3u16 {
            for index in 0..20u64 {
                let (lun, lba) = (if index % 3 == 0 { slow } else { LUN }, (u64::from(queue) * 20 + index) * 8);
                let write = Command::write(lun, lba, 512, pattern(lba + round, 4096));
                let shape = if index % 4 == 0 { Shape::default().indirect() } else { Shape::default() };
                guest.enqueue(queue, &write.with_id(lba), &shape).unwrap();
            }
            guest.flush(queue).unwrap();
        }
        for queue in 0..3 {
            for _ in 0..20 {
                guest.wait(queue).unwrap().response.good().unwrap();
            }
            assert_eq!((guest.in_flight(queue), guest.poll(queue).unwrap()), (0, None));
        }
        let lba = (round % 60) * 8;
        let lun = if lba / 8 % 20 % 3 == 0 { slow } else { LUN };
        let read = guest.execute(0, &Command::read(lun, lba, 8, 512)).unwrap().good().unwrap();
        assert!(read.data == pattern(lba + round, 4096));
    }
    target.stop();
}

#[test]
fn interrupts_come_when_they_are_asked_for_and_only_then() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    for features in [Options::default().features, Options::default().features & !feature::EVENT_IDX] {
        let mut guest = packed_guest(&target, Options { features, queue_size: 16, ..Options::default() });
        // Each command waits for its interrupt, and says so if one is missing.
        for lba in 0..50 {
            verify_on(&mut guest, 0, lba, 2);
        }
        guest.queue(2).set_interrupts(false);
        guest.queue_interrupt(2).unwrap().take();
        for _ in 0..50 {
            guest.submit(0, &Command::read(LUN, 0, 8, 512), &Shape::default()).unwrap();
            target.until("completion", || guest.poll(0).unwrap().is_some());
        }
        assert_eq!(guest.queue_interrupt(2).unwrap().take(), 0, "nobody asked");
        verify_on(&mut guest, 0, 5, 5);
    }
    target.stop();
}

#[test]
fn a_guest_that_polls_is_served_with_packed_rings_alone() {
    let target = Target::start(&["--disk", "mem:size=4M", "--ring", "packed"]);
    let features = feature::VERSION_1;
    let mut guest = packed_guest(&target, Options { features, ..Options::polling() });
    assert_eq!(guest.features(), feature::VERSION_1 | feature::RING_PACKED);
    for lba in 0..200 {
        verify_on(&mut guest, 0, lba, 3);
    }
    guest.reset().unwrap();
    guest.start().unwrap();
    settle(&mut guest, LUN);
    verify_on(&mut guest, 0, 1, 1);
    target.stop();
}

#[test]
fn memory_may_go_and_come_back_under_a_packed_ring() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    let mut guest = packed_guest(&target, Options { queue_size: 8, ..Options::default() });
    for round in 0..30 {
        guest.unmap(0).unwrap();
        guest.submit(0, &Command::read(LUN, round, 8, 512), &Shape::default()).unwrap();
        guest.map(0).unwrap();
        guest.wait(0).unwrap().response.good().unwrap();
        verify_on(&mut guest, 0, round, 8);
    }
    target.stop();
}

//! A guest finds its disks and reads what it wrote.

mod common;

use annulus_bench::Options;
use annulus_bench::guest::cdb::{self, Direction, Width};
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::guest::spec::{feature, response};
use common::io::{LUN, good, pattern, settle, verify_on};
use common::{Target, cpumask, directory, image};

#[test]
fn a_guest_sees_what_was_configured() {
    let target = Target::start(&["--disk", "mem:size=16M,serial=A1", "--queues", "2"]);
    let mut guest = target.guest();
    assert_eq!(guest.config().num_queues, 2);
    assert!(guest.config().seg_max >= 254, "seg_max is {}", guest.config().seg_max);
    assert_eq!((guest.config().sense_size, guest.config().cdb_size), (96, 32));
    let wanted = feature::VERSION_1 | feature::INDIRECT_DESC | feature::EVENT_IDX;
    assert_eq!(guest.features() & wanted, wanted);
    settle(&mut guest, LUN);

    let inquiry = good(&mut guest, &Command::data_in(LUN, cdb::inquiry(None, 96), 96));
    assert_eq!(inquiry.data[0], 0, "a connected disk");
    let pages = good(&mut guest, &Command::data_in(LUN, cdb::inquiry(Some(0), 255), 255)).data;
    let listed = &pages[4..4 + usize::from(pages[3])];
    for page in [0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2] {
        assert!(listed.contains(&page), "page {page:#04x} is not in {listed:02x?}");
        let data = good(&mut guest, &Command::data_in(LUN, cdb::inquiry(Some(page), 255), 255)).data;
        assert_eq!(data[1], page);
    }
    let serial = good(&mut guest, &Command::data_in(LUN, cdb::inquiry(Some(0x80), 255), 255)).data;
    let serial = String::from_utf8_lossy(&serial[4..4 + usize::from(serial[3])]).trim().to_owned();
    assert_eq!(serial, "A1");
    target.stop();
}

#[test]
fn capacity_is_told_for_both_block_sizes() {
    let target = Target::start(&[
        "--disk",
        "mem:size=16M",
        "--disk",
        "null:size=1T,block-size=4096,target=1",
        "--disk",
        "null:size=4T,target=2",
    ]);
    let mut guest = target.guest();
    let cases = [(0u8, 32_768u64, 512u32), (1, 1 << 28, 4096), (2, 1 << 33, 512)];
    for (number, blocks, block_size) in cases {
        let lun = Lun::new(number, 0);
        settle(&mut guest, lun);
        let short = good(&mut guest, &Command::data_in(lun, cdb::read_capacity_10(), 8)).data;
        let last = u32::try_from(blocks - 1).unwrap_or(u32::MAX);
        assert_eq!(short, [last.to_be_bytes(), block_size.to_be_bytes()].concat());
        let long = good(&mut guest, &Command::data_in(lun, cdb::read_capacity_16(32), 32)).data;
        assert_eq!(long[..8], (blocks - 1).to_be_bytes());
        assert_eq!(long[8..12], block_size.to_be_bytes());
    }
    target.stop();
}

#[test]
fn luns_are_where_they_were_put() {
    let disk = |serial: &str, address: &str| format!("mem:size=1M,serial={serial},{address}");
    let disks = [disk("AA", "target=0,lun=0"), disk("BB", "target=0,lun=7"), disk("CC", "target=3,lun=0")];
    let target = Target::start(&["--disk", &disks[0], "--disk", &disks[1], "--disk", &disks[2]]);
    let mut guest = target.guest();
    assert!(guest.config().max_target >= 3 && guest.config().max_lun >= 7);
    for (lun, serial) in [(Lun::new(0, 0), "AA"), (Lun::new(0, 7), "BB"), (Lun::new(3, 0), "CC")] {
        settle(&mut guest, lun);
        let page = good(&mut guest, &Command::data_in(lun, cdb::inquiry(Some(0x80), 255), 255)).data;
        let text = String::from_utf8_lossy(&page[4..4 + usize::from(page[3])]).trim().to_owned();
        assert_eq!(text, serial);
    }
    let report = good(&mut guest, &Command::data_in(LUN, cdb::report_luns(0, 256), 256)).data;
    let len = u32::from_be_bytes(report[..4].try_into().unwrap());
    let numbers: Vec<_> = report[8..8 + len as usize].chunks(8).map(|lun| lun[1]).collect();
    assert_eq!(numbers, [0, 7]);
    let absent = guest.execute(0, &Command::new(Lun::new(9, 0), cdb::test_unit_ready())).unwrap();
    assert!(matches!(absent.response, response::BAD_TARGET | response::INCORRECT_LUN), "{absent:?}");
    target.stop();
}

#[test]
fn every_read_and_write_moves_the_right_blocks() {
    let dir = directory();
    image(dir.path(), "small.img", 16 << 20);
    image(dir.path(), "large.img", 16 << 20);
    let target = Target::start_in(
        dir,
        &[
            ["--disk", "path=small.img", "--disk", "path=large.img,block-size=4096,target=1"],
            ["--disk", "mem:size=16M,target=2", "--disk", "mem:size=16M,block-size=4096,target=3"],
        ]
        .concat(),
    );
    let mut guest = target.guest();
    for (number, block_size) in [(0u8, 512u32), (1, 4096), (2, 512), (3, 4096)] {
        let lun = Lun::new(number, 0);
        settle(&mut guest, lun);
        for (index, width) in Width::ALL.into_iter().enumerate() {
            for (lba, blocks) in [(0u64, 1u32), (17 + index as u64, 3), (64, 64)] {
                let data = pattern(lba + index as u64 * 1000, (blocks * block_size) as usize);
                let cdb = cdb::transfer(Direction::Write, width, lba, blocks, 0);
                good(&mut guest, &Command::data_out(lun, cdb, data.clone()));
                let cdb = cdb::transfer(Direction::Read, width, lba, blocks, 0);
                let read = good(&mut guest, &Command::data_in(lun, cdb, data.len()));
                assert!(read.data == data, "{width:?} of {blocks} blocks at {lba} of target {number}");
                assert_eq!((read.resid, read.used_len), (0, 12));
            }
        }
    }
    // The first write of the last width, as the file has it.
    let file = std::fs::read(target.path("small.img")).unwrap();
    assert!(file[..512] == pattern(3000, 512));
    target.stop();
}

#[test]
fn queues_work_side_by_side_with_many_commands_in_flight() {
    let mask = cpumask(2);
    let args = ["--cpumask", &mask, "--idle", "adaptive", "--socket", "vm0.sock"];
    let target = Target::serve(directory(), &[&args[..], &["--disk", "mem:size=16M", "--queues", "4"]].concat());
    let mut guest = target.guest_on("vm0.sock", Options { request_queues: 4, queue_size: 256, ..Options::default() });
    assert_eq!(guest.request_queues(), 4);
    settle(&mut guest, LUN);
    for queue in 0..4u16 {
        for index in 0..48u64 {
            let lba = u64::from(queue) * 1024 + index * 8;
            let write = Command::write(LUN, lba, 512, pattern(lba, 4096)).with_id(lba);
            guest.submit(queue, &write, &Shape::default()).unwrap();
        }
    }
    for queue in 0..4 {
        for _ in 0..48 {
            guest.wait(queue).unwrap().response.good().unwrap();
        }
    }
    // Each queue reads what its neighbour wrote.
    for queue in 0..4u16 {
        for index in 0..48u64 {
            let lba = u64::from((queue + 1) % 4) * 1024 + index * 8;
            guest.submit(queue, &Command::read(LUN, lba, 8, 512).with_id(lba), &Shape::default()).unwrap();
        }
    }
    for queue in 0..4 {
        for _ in 0..48 {
            let completion = guest.wait(queue).unwrap();
            assert!(completion.response.good().unwrap().data == pattern(completion.id, 4096));
        }
        assert_eq!(guest.poll(queue).unwrap(), None);
    }
    target.stop();
}

#[test]
fn a_guest_without_indirect_or_event_index_is_served() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    for features in [feature::VERSION_1, feature::VERSION_1 | feature::EVENT_IDX] {
        for interrupts in [true, false] {
            let options = Options { features, interrupts, ..Options::default() };
            let mut guest = target.guest_on("vm0.sock", options);
            assert_eq!(guest.features(), features);
            settle(&mut guest, LUN);
            for lba in 0..20 {
                verify_on(&mut guest, 0, lba, 5);
            }
        }
    }
    target.stop();
}

#[test]
fn the_smallest_ring_wraps_often() {
    let target = Target::start(&["--disk", "mem:size=4M"]);
    let mut guest = target.guest_on("vm0.sock", Options { queue_size: 4, ..Options::default() });
    settle(&mut guest, LUN);
    for lba in 0..300 {
        verify_on(&mut guest, 0, lba, 1);
    }
    target.stop();
}

#[test]
fn flushes_and_forced_writes_are_served() {
    let dir = directory();
    image(dir.path(), "disk.img", 4 << 20);
    let mask = cpumask(1);
    let target =
        Target::serve(dir, &["--cpumask", &mask, "--idle", "adaptive", "--socket", "vm0.sock", "--disk", "disk.img"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    for width in [Width::Ten, Width::Twelve, Width::Sixteen] {
        for flags in [cdb::FUA, cdb::DPO, cdb::FUA | cdb::DPO] {
            let data = pattern(flags.into(), 1024);
            let cdb = cdb::transfer(Direction::Write, width, 3, 2, flags);
            good(&mut guest, &Command::data_out(LUN, cdb, data.clone()));
            let cdb = cdb::transfer(Direction::Read, width, 3, 2, flags);
            assert!(good(&mut guest, &Command::data_in(LUN, cdb, 1024)).data == data);
        }
    }
    good(&mut guest, &Command::new(LUN, cdb::synchronize_cache_10(0, 0)));
    good(&mut guest, &Command::new(LUN, cdb::synchronize_cache_16(1, 2)));
    target.stop();
}

#[test]
fn event_buffers_are_kept_until_there_is_an_event() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    guest.post_event_buffers(8).unwrap();
    settle(&mut guest, LUN);
    verify_on(&mut guest, 0, 0, 8);
    assert_eq!(guest.poll_event().unwrap(), None);
    guest.reset().unwrap();
    guest.start().unwrap();
    guest.post_event_buffers(8).unwrap();
    settle(&mut guest, LUN);
    assert_eq!(guest.poll_event().unwrap(), None);
    target.stop();
}

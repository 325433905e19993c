//! Commands in several steps, on the real binary: on memory, on a file, and from two controllers that show one disk.

mod common;

use annulus_bench::Guest;
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::guest::spec::response;
use common::io::{LUN, good, pattern, settle, sixteen};
use common::{Target, directory, image};

fn verify(check: u8, lba: u64, blocks: u32) -> Vec<u8> {
    sixteen(0x8f, check << 1, lba, blocks)
}

fn compare_and_write(lba: u64, blocks: u8) -> Vec<u8> {
    sixteen(0x89, 0, lba, blocks.into())
}

fn read(guest: &mut Guest, lba: u64, blocks: u32) -> Vec<u8> {
    good(guest, &Command::read(LUN, lba, blocks, 512)).data
}

/// A target with one disk, and a guest on it.
fn start(disk: &str) -> (Target, Guest) {
    let target = Target::start(&["--disk", disk]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    (target, guest)
}

/// Runs `test` on a disk in memory and on one in a file, 4 MiB each.
fn on_each(test: impl Fn(&mut Guest)) {
    let directory = directory();
    let file = image(directory.path(), "disk.img", 4 << 20);
    for disk in ["mem:size=4M", file.to_str().expect("a plain path")] {
        let (target, mut guest) = start(disk);
        test(&mut guest);
        target.stop();
    }
}

#[test]
fn verify_sees_each_byte() {
    on_each(|guest| {
        // More than goes through memory at a time, and not a multiple of it.
        let mut data = pattern(1, 1111 * 512);
        good(guest, &Command::write(LUN, 7, 512, data.clone()));
        good(guest, &Command::new(LUN, verify(0, 0, 0)));
        good(guest, &Command::new(LUN, verify(0, 0, 8192)));
        good(guest, &Command::data_out(LUN, verify(1, 7, 1111), data.clone()));
        for at in [0, 511, 256 << 10, data.len() - 1] {
            data[at] ^= 4;
            let answer = guest.execute(0, &Command::data_out(LUN, verify(1, 7, 1111), data.clone())).unwrap();
            assert_eq!(answer.sense_code(), Some((0xe, 0x1d, 0)), "byte {at}");
            data[at] ^= 4;
        }
        let short = Command::data_out(LUN, verify(1, 7, 1111), data[..1110 * 512].to_vec());
        assert_eq!(guest.execute(0, &short).unwrap().response, response::OVERRUN);
    });
}

#[test]
fn write_same_fills_a_range_and_nothing_beside_it() {
    on_each(|guest| {
        good(guest, &Command::write(LUN, 0, 512, vec![0xff; 1024 * 512]));
        let block = pattern(2, 512);
        good(guest, &Command::data_out(LUN, sixteen(0x93, 0, 3, 1000), block.clone()));
        good(guest, &Command::data_out(LUN, [&verify(3, 3, 1000)[..]].concat(), block));
        assert_eq!(read(guest, 2, 1), [0xff; 512]);
        assert_eq!(read(guest, 1003, 1), [0xff; 512]);
        // Zeroes without a block of them.
        good(guest, &Command::new(LUN, sixteen(0x93, 1, 5, 700)));
        good(guest, &Command::data_out(LUN, verify(3, 5, 700), vec![0; 512]));
        assert_ne!(read(guest, 4, 1), [0; 512]);
        assert_ne!(read(guest, 705, 1), [0; 512]);
    });
}

#[test]
fn writes_with_conditions() {
    on_each(|guest| {
        let (old, new) = (pattern(3, 40 * 512), pattern(4, 40 * 512));
        let write_and_verify = Command::data_out(LUN, sixteen(0x8e, 2, 100, 40), old.clone());
        good(guest, &write_and_verify);
        let change = Command::data_out(LUN, compare_and_write(100, 40), [old.clone(), new.clone()].concat());
        good(guest, &change);
        assert!(read(guest, 100, 40) == new);
        let answer = guest.execute(0, &change).unwrap();
        assert_eq!(answer.sense_code(), Some((0xe, 0x1d, 0)));
        assert!(read(guest, 100, 40) == new, "nothing is written where a byte differs");
        good(guest, &Command::data_out(LUN, sixteen(0x8b, 0, 100, 40), old.clone()));
        let either: Vec<_> = new.iter().zip(&old).map(|(a, b)| a | b).collect();
        assert!(read(guest, 100, 40) == either);
    });
}

/// Waits until the disk is ready; how often it was not, and with which sense each time.
fn await_ready(guest: &mut Guest, expected: (u8, u8, u8)) -> usize {
    let test_unit_ready = Command::new(LUN, vec![0; 6]);
    let mut count = 0;
    loop {
        let answer = guest.execute(0, &test_unit_ready).unwrap();
        if answer.is_good() {
            return count;
        }
        assert_eq!(answer.sense_code(), Some(expected));
        count += 1;
    }
}

#[test]
fn a_format_and_a_sanitize_leave_zeroes_or_the_pattern() {
    on_each(|guest| {
        let ones = || Command::write(LUN, 4000, 512, vec![0xff; 512]);
        good(guest, &ones());
        good(guest, &Command::new(LUN, vec![4, 0, 0, 0, 0, 0]));
        assert_eq!(read(guest, 4000, 1), [0; 512]);
        good(guest, &ones());
        good(guest, &Command::data_out(LUN, vec![4, 0x10, 0, 0, 0, 0], vec![0, 2, 0, 0]));
        await_ready(guest, (2, 4, 4));
        assert_eq!(read(guest, 4000, 1), [0; 512]);
        let overwrite = vec![0x48, 0x81, 0, 0, 0, 0, 0, 0, 8, 0];
        good(guest, &Command::data_out(LUN, overwrite, vec![2, 0, 0, 4, 0xde, 0xad, 0xbe, 0xef]));
        await_ready(guest, (2, 4, 0x1b));
        assert_eq!(read(guest, 8191, 1), [0xde, 0xad, 0xbe, 0xef].repeat(128));
        good(guest, &Command::new(LUN, vec![0x48, 0x02, 0, 0, 0, 0, 0, 0, 0, 0]));
        good(guest, &Command::data_out(LUN, verify(3, 0, 8192), vec![0; 512]));
    });
}

#[test]
fn blocks_are_copied_from_disk_to_disk() {
    const OTHER: Lun = Lun::new(1, 0);
    let dir = directory();
    let file = image(dir.path(), "disk.img", 4 << 20);
    let target = Target::start(&["--disk", "mem:size=4M", "--disk", file.to_str().expect("a plain path")]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    settle(&mut guest, OTHER);
    let data = pattern(9, 2048 * 512);
    good(&mut guest, &Command::write(LUN, 100, 512, data.clone()));
    // Two identification descriptors, and a segment of 2,048 blocks.
    let mut list = vec![0; 16 + 2 * 32 + 28];
    (list[3], list[11]) = (64, 28);
    for (at, lun) in [(16, LUN), (48, OTHER)] {
        let names = good(&mut guest, &Command::data_in(lun, vec![0x12, 1, 0x83, 0, 16, 0], 16)).data;
        list[at] = 0xe4;
        list[at + 4..at + 16].copy_from_slice(&names[4..16]);
    }
    list[80..92].copy_from_slice(&[2, 0, 0, 24, 0, 0, 0, 1, 0, 0, 8, 0]);
    (list[99], list[107]) = (100, 7);
    let cdb = vec![0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 108, 0, 0];
    good(&mut guest, &Command::data_out(OTHER, cdb, list));
    assert!(good(&mut guest, &Command::read(OTHER, 7, 2048, 512)).data == data);
    assert_eq!(good(&mut guest, &Command::read(OTHER, 6, 1, 512)).data, [0; 512]);
    assert_eq!(good(&mut guest, &Command::read(OTHER, 2055, 1, 512)).data, [0; 512]);
    target.stop();
}

#[test]
fn a_sanitize_ends_with_the_process() {
    let (target, mut guest) = start("null:size=8T");
    good(&mut guest, &Command::data_out(LUN, vec![0x48, 0x81, 0, 0, 0, 0, 0, 0, 5, 0], vec![31, 0, 0, 1, 7]));
    guest.reset().expect("a reset does not wait for it");
    guest.start().expect("start");
    let test_unit_ready = Command::new(LUN, vec![0; 6]);
    let codes: Vec<_> = (0..3).map(|_| guest.execute(0, &test_unit_ready).unwrap().sense_code()).collect();
    assert!(codes.contains(&Some((2, 4, 0x1b))), "{codes:?}");
    target.stop();
}

#[test]
fn what_a_disk_cannot_do_is_not_there() {
    let (target, mut guest) = start("mem:size=1M");
    let answer = guest.execute(0, &Command::data_out(LUN, sixteen(0x9c, 0, 0, 1), vec![0; 512])).unwrap();
    assert_eq!(answer.sense_code(), Some((5, 0x20, 0)), "WRITE ATOMIC");
    target.stop();
}

#[test]
fn a_counter_of_two_guests_misses_no_step() {
    const STEPS: u64 = 300;
    let dir = directory();
    let file = image(dir.path(), "disk.img", 1 << 20);
    let (disk, a, b) = (file.to_str().expect("a plain path"), common::cpumask(1), common::cpumask(2));
    let target = Target::serve(
        dir,
        &["--disk", disk, "--socket", "a.sock", "--cpumask", &a, "--socket", "b.sock", "--cpumask", &b],
    );
    let mut guests = ["a.sock", "b.sock"].map(|socket| target.guest_on(socket, annulus_bench::Options::default()));
    guests.iter_mut().for_each(|guest| settle(guest, LUN));
    let count = |guest: &mut Guest, steps: u64| {
        let block = |value: u64| value.to_le_bytes().repeat(64);
        let (mut value, mut done) = (0, 0);
        while done < steps {
            let data = [block(value), block(value + 1)].concat();
            let answer = guest.execute(0, &Command::data_out(LUN, compare_and_write(9, 1), data)).unwrap();
            if answer.is_good() {
                done += 1;
            } else {
                assert_eq!(answer.sense_code(), Some((0xe, 0x1d, 0)));
            }
            let now = read(guest, 9, 1);
            value = u64::from_le_bytes(now[..8].try_into().unwrap());
            assert!(now == block(value), "a block is that of one guest or of the other");
        }
        value
    };
    let [a, b] = &mut guests;
    std::thread::scope(|scope| {
        scope.spawn(|| count(a, STEPS));
        scope.spawn(|| count(b, STEPS));
    });
    assert_eq!(read(a, 9, 1)[..8], (2 * STEPS).to_le_bytes());
    drop(guests);
    target.stop();
}

#[test]
fn a_command_without_end_is_aborted_by_a_reset() {
    let (target, mut guest) = start("null:size=8T");
    guest.submit(0, &Command::new(LUN, verify(0, 0, u32::MAX)), &Shape::default()).unwrap();
    // Others go on meanwhile.
    for lba in 0..10 {
        guest.submit(0, &Command::read(LUN, lba, 1, 512).with_id(1000 + lba), &Shape::default()).unwrap();
    }
    let mut ended = 0;
    while ended < 10 {
        if let Some(completion) = guest.poll(0).unwrap() {
            assert!(completion.id >= 1000, "the long one is under way");
            ended += 1;
        }
    }
    guest.reset().expect("a reset does not wait for it");
    guest.start().expect("start");
    settle(&mut guest, Lun::new(0, 0));
    target.stop();
}

#[test]
fn self_tests_read_the_disk_and_are_in_the_log() {
    // The block in the middle, 4095, is bad.
    let (target, mut guest) = start("mem:size=4M,error=medium@1M-2M");
    let mut told = |cdb: &[u8], len| guest.execute(0, &Command::data_in(LUN, cdb.to_vec(), len)).unwrap();
    let (background, foreground) = ([0x1d, 0x20, 0, 0, 0, 0], [0x1d, 0xa0, 0, 0, 0, 0]);
    assert!(told(&background, 0).is_good());
    assert_eq!(told(&foreground, 0).sense_code(), Some((4, 0x3e, 0x03)));
    let results = [0x4d, 0, 0x50, 0, 0, 0, 0, 2, 0, 0];
    let parameter = |number, code| [0, number, 3, 16, code, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0xff, 3, 0x11, 0, 0];
    let log = told(&results, 512).data;
    assert_eq!(log[4..44], [parameter(1, 0xa6), parameter(2, 0x26)].concat());
    assert_eq!((log[44..48].to_vec(), &log[48..64]), (vec![0, 3, 3, 16], &[0; 16][..]), "no others were done");
    for _ in 0..19 {
        assert!(told(&background, 0).is_good());
    }
    let log = told(&results, 512).data;
    assert_eq!((&log[384..404], log.len() >= 404), (&parameter(20, 0xa6)[..], true), "the last of twenty");
    assert!(told(&background, 0).is_good());
    assert_eq!(told(&results, 512).data[384..404], parameter(20, 0x26), "older ones are forgotten");
    target.stop();
}

#[test]
fn a_medium_is_ejected_and_loaded() {
    let (target, mut guest) = start("mem:size=1M,removable");
    let (eject, load) = (vec![0x1b, 0, 0, 0, 2, 0], vec![0x1b, 0, 0, 0, 3, 0]);
    let mut told = |cdb: &[u8]| guest.execute(0, &Command::data_in(LUN, cdb.to_vec(), 512)).unwrap();
    let read = [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(told(&[0x12, 0, 0, 0, 36, 0]).data[1], 0x80, "RMB");
    assert!(told(&[0x1e, 0, 0, 0, 1, 0]).is_good() && told(&read).is_good());
    assert_eq!(told(&eject).sense_code(), Some((5, 0x53, 0x02)));
    assert!(told(&[0x1e, 0, 0, 0, 0, 0]).is_good() && told(&eject).is_good());
    for cdb in [&read[..], &[0; 6], &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(told(cdb).sense_code(), Some((2, 0x3a, 0)), "{cdb:02x?}");
    }
    assert_eq!(told(&[0x03, 0, 0, 0, 18, 0]).data[..13][12], 0x3a, "REQUEST SENSE knows");
    assert!(told(&load).is_good() && told(&read).is_good());
    target.stop();
}

//! What LOG SENSE tells of a disk's work: all that its controllers and cores did, by whatever way.

mod common;

use annulus_bench::guest::scsi::Command;
use annulus_bench::{Guest, Options};
use common::io::{LUN, good, settle};
use common::{Target, cpumask, directory, image};
use rustix::process::Signal;

/// Counters of a log page, by code of their parameter, each of 8 bytes.
fn counters(guest: &mut Guest, page: u8) -> Vec<(u16, Vec<u64>)> {
    let cdb = vec![0x4d, 0, 0x40 | page, 0, 0, 0, 0, 1, 0, 0];
    let data = good(guest, &Command::data_in(LUN, cdb, 256)).data;
    let len = usize::from(u16::from_be_bytes([data[2], data[3]]));
    let (mut rest, mut counters) = (&data[4..4 + len], Vec::new());
    while let [high, low, _, len, values @ ..] = rest {
        let (values, next) = values.split_at(usize::from(*len));
        let values = values.as_chunks().0.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect();
        counters.push((u16::from_be_bytes([*high, *low]), values));
        rest = next;
    }
    counters
}

/// Reads, writes, blocks written and blocks read.
fn accesses(guest: &mut Guest) -> Vec<u64> {
    counters(guest, 0x19)[0].1[..4].to_vec()
}

#[test]
fn reads_writes_and_verifications_are_counted_on_every_way() {
    let dir = directory();
    image(dir.path(), "disk.img", 4 << 20);
    // On a short way and with a slot each, and through two controllers.
    for disk in ["mem:size=4M", "disk.img"] {
        let mask = cpumask(2);
        let args = ["--cpumask", &mask, "--disk", disk, "--socket", "a.sock", "--socket", "b.sock"];
        let target = Target::serve(dir.clone(), &args);
        let [mut a, mut b] = ["a.sock", "b.sock"].map(|socket| {
            let mut guest = target.guest_on(socket, Options::default());
            settle(&mut guest, LUN);
            guest
        });
        let before = accesses(&mut a);
        for lba in 0..5 {
            good(&mut a, &Command::write(LUN, 8 * lba, 512, vec![1; 8 * 512]));
        }
        for lba in 0..3 {
            good(&mut b, &Command::read(LUN, lba, 7, 512));
        }
        // Two blocks are compared, and one of them is written: COMPARE AND WRITE.
        let compare = vec![0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        good(&mut b, &Command::data_out(LUN, compare, vec![1; 1024]));
        good(&mut a, &Command::new(LUN, vec![0x2f, 0, 0, 0, 0, 0, 0, 0, 9, 0]));
        let after = accesses(&mut b);
        let more: Vec<u64> = after.iter().zip(&before).map(|(after, before)| after - before).collect();
        assert_eq!(more, [3, 6, 41, 21], "{disk}");
        for (page, bytes) in [(0x02, after[2] * 512), (0x03, after[3] * 512), (0x05, 9 * 512)] {
            assert_eq!(counters(&mut a, page), [(5, vec![bytes]), (6, vec![0])], "page {page:02x}h of {disk}");
        }
        target.stop();
    }
}

#[test]
fn failures_are_counted() {
    for disk in ["mem:size=1M,error=medium@0-512", "path=disk.img,error=medium@0-512"] {
        let dir = directory();
        image(dir.path(), "disk.img", 1 << 20);
        let target = Target::start_in(dir, &["--disk", disk]);
        let mut guest = target.guest();
        settle(&mut guest, LUN);
        for _ in 0..2 {
            assert_eq!(guest.execute(0, &Command::read(LUN, 0, 1, 512)).unwrap().sense_code(), Some((3, 0x11, 0)));
        }
        guest.execute(0, &Command::write(LUN, 0, 512, vec![1; 512])).unwrap();
        let errors = |guest: &mut Guest, page| counters(guest, page)[1].1[0];
        assert_eq!([errors(&mut guest, 0x03), errors(&mut guest, 0x02), errors(&mut guest, 0x05)], [2, 1, 0], "{disk}");
        target.stop();
    }
}

#[test]
fn a_signal_has_the_work_of_each_disk_told() {
    let dir = directory();
    image(dir.path(), "disk.img", 1 << 20);
    let target = Target::start_in(dir, &["--disk", "disk.img", "--disk", "mem:size=1M,target=1"]);
    let told = || {
        let before = target.output().len();
        target.signal(Signal::USR1);
        target.until("what was done", || target.output()[before..].contains("counted\n"));
        target.output()[before..].to_owned()
    };
    assert_eq!(told().matches(": 0 reads of 0 B, 0 writes of 0 B, 0 B verified\n").count(), 2);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    good(&mut guest, &Command::write(LUN, 0, 512, vec![1; 8 * 512]));
    (0..3).for_each(|lba| _ = good(&mut guest, &Command::read(LUN, lba, 2, 512)));
    let told = told();
    assert!(told.contains("disk disk.img: 3 reads of 3 KiB, 1 writes of 4 KiB, 0 B verified\n"), "{told}");
    assert!(told.contains("disk mem:size=1M,target=1: 0 reads of 0 B"), "{told}");
    target.stop();
}

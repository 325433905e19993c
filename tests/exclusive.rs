//! Two guests change the same block of a disk of the real binary at the same time, one of them with COMPARE AND WRITE: no plain
//! WRITE of the other is lost between the comparison and the write.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use annulus_bench::guest::scsi::{Command, Lun, Response};
use annulus_bench::guest::spec::response;
use annulus_bench::{Guest, Options};
use common::io::{good, settle};
use common::{Target, directory, image};

const BLOCK: usize = 512;
const LBA: u64 = 77;
const ROUNDS: u64 = 300;

/// A number, and whether the other guest has marked it.
fn block(number: u64, is_marked: bool) -> Vec<u8> {
    let mut bytes = vec![u8::from(is_marked); BLOCK];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn read(guest: &mut Guest, queue: u16, lun: Lun) -> Vec<u8> {
    let answer = guest.execute(queue, &Command::read(lun, LBA, 1, BLOCK as u32)).expect("an answer");
    assert_eq!((answer.response, answer.status), (response::OK, 0));
    answer.data
}

fn number(block: &[u8]) -> u64 {
    u64::from_le_bytes(block[..8].try_into().expect("eight bytes"))
}

/// COMPARE AND WRITE of the block.
fn change(guest: &mut Guest, lun: Lun, from: &[u8], to: &[u8]) -> Response {
    let cdb = [&[0x89, 0][..], &LBA.to_be_bytes(), &[0, 0, 0, 1, 0, 0]].concat();
    guest.execute(0, &Command::data_out(lun, cdb, [from, to].concat())).expect("an answer")
}

/// Sets it at its end, whatever that is: the other guest waits for that.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Marks what it finds, until `is_over`.
fn mark(guest: &mut Guest, lun: Lun, is_over: &AtomicBool) {
    while !is_over.load(Ordering::Relaxed) {
        let found = read(guest, 0, lun);
        let answer = change(guest, lun, &found, &block(number(&found), true));
        assert!(answer.status == 0 || answer.sense_code() == Some((0xe, 0x1d, 0)), "MISCOMPARE is the only error");
    }
}

#[test]
fn no_write_of_another_guest_is_lost() {
    let (dir, mask) = (directory(), common::cpumask(2));
    for name in ["0.img", "1.img"] {
        image(dir.path(), name, 1 << 20);
    }
    let disks = ["mem:size=1M", "uring:0.img", "threads:1.img"].map(|disk| ["--disk", disk]).concat();
    let rest = ["--cpumask", &mask, "--queues", "2", "--idle", "adaptive", "--socket", "a.sock", "--socket", "b.sock"];
    let target = Target::serve(dir, &[&disks[..], &rest].concat());
    let options = || Options { request_queues: 2, ..Options::default() };
    let [mut marker, mut writer] = ["a.sock", "b.sock"].map(|socket| target.guest_on(socket, options()));
    for place in 0..3 {
        let lun = Lun::new(place, 0);
        settle(&mut marker, lun);
        settle(&mut writer, lun);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| mark(&mut marker, lun, &is_over));
            let _over = Over(&is_over);
            for round in 1..=ROUNDS {
                // On a core of its own, or on that of the other guest.
                let queue = (round % 2) as u16;
                let command = Command::write(lun, LBA, BLOCK as u32, block(round, false));
                assert_eq!(writer.execute(queue, &command).expect("an answer").status, 0);
                assert_eq!(number(&read(&mut writer, queue, lun)), round, "disk {place}");
            }
        });
        good(&mut writer, &Command::write(lun, LBA, BLOCK as u32, block(0, false)));
        assert_eq!(change(&mut marker, lun, &block(0, false), &block(0, true)).status, 0);
        assert_eq!(read(&mut writer, 0, lun), block(0, true));
    }
    target.stop();
}

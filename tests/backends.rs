//! One disk of every kind and with every wrapper, all behind one target: commands at random, those in several steps among
//! them, against a model. The suite of `bdev` does the same one floor below, without SCSI.

mod common;

use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use annulus_bench::Guest;
use annulus_bench::guest::cdb;
use annulus_bench::guest::scsi::{Command, Lun};
use common::io::{good, pattern, settle, sixteen, unmap};
use common::loops::{Loop, Mounted};
use common::{Target, directory, image};
use tempfile::TempDir;

const SIZE: usize = 2 << 20;
const COMMANDS: usize = 400;
/// Enough for the least that any of them wants to be on.
const FILE_SYSTEM: u64 = 512 << 20;
/// Most blocks of a command; COMPARE AND WRITE takes as many.
const BLOCKS_MAX: u64 = 60;

/// Disk strings and their block sizes. Each file is of its own: two disks cannot be one.
const DISKS: [(&str, usize); 12] = [
    ("mem:size=2M", 512),
    ("mem:size=2M,block-size=4096", 4096),
    ("0.img", 512),
    ("1.img,block-size=4096,direct=off", 4096),
    ("uring:2.img", 512),
    ("threads:3.img", 512),
    ("threads:4.img,block-size=4096", 4096),
    ("5.img,split=64K+2M", 512),
    ("mem:size=4M,split=4K+2M", 512),
    ("6.img,error=medium,error-rate=0", 512),
    ("mem:size=2M,delay=1ms", 512),
    ("threads:7.img,split=1M+2M,error=gone,error-rate=0,delay=1ms,block-size=4096", 4096),
];

/// Numbers that are the same in every run (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What a disk ought to hold, and how to ask it.
struct Subject<'a> {
    guest: &'a mut Guest,
    lun: Lun,
    block: usize,
    name: &'a str,
    /// It anchors blocks.
    anchors: bool,
    model: Vec<u8>,
}

impl Subject<'_> {
    fn sense(&mut self, command: &Command) -> Option<(u8, u8, u8)> {
        self.guest.execute(0, command).expect("an answer").sense_code()
    }

    /// A command at random on a range, and what it does to the model.
    fn step(&mut self, number: usize, random: &mut Random) {
        let (lun, block) = (self.lun, self.block);
        let count = 1 + random.below(BLOCKS_MAX) as u32;
        let lba = random.below((SIZE / block) as u64 - u64::from(count) + 1);
        let range = lba as usize * block..(lba as usize + count as usize) * block;
        let new = pattern(number as u64 + 1, range.len());
        let mut holds = new.clone();
        match random.below(10) {
            // FUA in one of two.
            0..3 => {
                let fua = (random.below(2) as u8) << 3;
                good(self.guest, &Command::data_out(lun, sixteen(0x8A, fua, lba, count), new));
            }
            3 => {
                holds.fill(0);
                good(self.guest, &unmap(lun, lba, count));
            }
            // WRITE SAME: of a block; of zeroes without a block, and that gives space back, or keeps it.
            4 => {
                holds = new[..block].repeat(count as usize);
                good(self.guest, &Command::data_out(lun, sixteen(0x93, 0, lba, count), new[..block].to_vec()));
            }
            5 => {
                holds.fill(0);
                let flags = [0x01, 0x09, if self.anchors { 0x19 } else { 0x09 }][random.below(3) as usize];
                good(self.guest, &Command::new(lun, sixteen(0x93, flags, lba, count)));
            }
            6 => {
                let both = [&self.model[range.clone()], &new].concat();
                good(self.guest, &Command::data_out(lun, sixteen(0x89, 0, lba, count), both));
            }
            // The same where the last byte differs: nothing is written.
            7 => {
                holds = self.model[range.clone()].to_vec();
                let mut both = [&holds[..], &new].concat();
                both[range.len() - 1] ^= 1;
                let answer = self.sense(&Command::data_out(lun, sixteen(0x89, 0, lba, count), both));
                assert_eq!(answer, Some((0xE, 0x1D, 0)), "{}", self.name);
            }
            8 => {
                holds = self.model[range.clone()].to_vec();
                good(self.guest, &Command::data_out(lun, sixteen(0x8F, 2, lba, count), holds.clone()));
                good(self.guest, &Command::new(lun, sixteen(0x91, 0, 0, 0)));
            }
            _ => holds = self.model[range.clone()].to_vec(),
        }
        self.model[range.clone()].copy_from_slice(&holds);
        let read = good(self.guest, &Command::read(lun, lba, count, block as u32)).data;
        assert!(read == holds, "{}: {lba}+{count} after command {number}", self.name);
    }

    fn refuses_what_is_past_its_end(&mut self) {
        let blocks = (SIZE / self.block) as u64;
        for (lba, count) in [(blocks, 1), (blocks - 1, 2), (u64::MAX, 1), (u64::MAX, 2)] {
            let data = vec![1; count as usize * self.block];
            for command in [
                Command::read(self.lun, lba, count, self.block as u32),
                Command::data_out(self.lun, sixteen(0x8A, 0, lba, count), data.clone()),
                Command::data_out(self.lun, sixteen(0x89, 0, lba, count), data.repeat(2)),
                Command::data_out(self.lun, sixteen(0x93, 0, lba, count), data[..self.block].to_vec()),
                unmap(self.lun, lba, count),
            ] {
                let answer = self.sense(&command);
                assert_eq!(answer, Some((5, 0x21, 0)), "{}: {lba}+{count} {:02x?}", self.name, command.cdb);
            }
        }
    }
}

/// Serves all of them at once, and compares each with its model at the end.
fn do_what_they_are_told(dir: Arc<TempDir>, disks: &[(&str, usize)]) {
    let args: Vec<&str> = disks.iter().flat_map(|(disk, _)| ["--disk", disk]).collect();
    let target = Target::start_in(dir, &args);
    let mut guest = target.guest();
    for (number, &(name, block)) in disks.iter().enumerate() {
        let lun = Lun::new(number as u8, 0);
        settle(&mut guest, lun);
        // ANC_SUP of the logical block provisioning page.
        let page = good(&mut guest, &Command::data_in(lun, cdb::inquiry(Some(0xb2), 8), 8)).data;
        let anchors = page[5] & 0x02 != 0;
        let mut subject = Subject { guest: &mut guest, lun, block, name, anchors, model: vec![0; SIZE] };
        let mut random = Random(0x1234_5678 + number as u64);
        for command in 0..COMMANDS {
            subject.step(command, &mut random);
        }
        subject.refuses_what_is_past_its_end();
        // No device does less at once.
        let piece = 64 << 10;
        for (number, expected) in subject.model.chunks(piece).enumerate() {
            let lba = (number * piece / block) as u64;
            let found = good(subject.guest, &Command::read(lun, lba, (piece / block) as u32, block as u32)).data;
            assert!(found == expected, "{name} differs from the model from block {lba} on");
        }
    }
    target.stop();
}

#[test]
fn each_kind_of_disk_with_each_wrapper_does_what_it_is_told() {
    let dir = directory();
    // What only a part is served of is larger.
    for (number, size) in [2, 2, 2, 2, 2, 4, 2, 4].into_iter().enumerate() {
        image(dir.path(), &format!("{number}.img"), size << 20);
    }
    do_what_they_are_told(dir, &DISKS);
}

/// Reads, writes, discards and flushes that a device has ended so far.
fn done_by(device: &str) -> [u64; 4] {
    let name = device.strip_prefix("/dev/").expect("a device");
    let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat")).expect("what the kernel counts");
    let columns: Vec<u64> = stat.split_whitespace().map(|count| count.parse().expect("a count")).collect();
    [0, 4, 11, 15].map(|column| columns[column])
}

#[test]
fn loop_devices_do_what_they_are_told() {
    let dir = directory();
    let loops: Vec<_> = [512, 4096]
        .into_iter()
        .filter_map(|sector| {
            let file = image(dir.path(), &format!("{sector}.img"), SIZE as u64);
            Some((Loop::with_sectors(&file, sector)?, sector as usize))
        })
        .collect();
    if loops.is_empty() {
        return;
    }
    let before: Vec<_> = loops.iter().map(|(device, _)| done_by(device.path())).collect();
    let disks: Vec<_> = loops.iter().map(|(device, sector)| (device.path(), *sector)).collect();
    do_what_they_are_told(dir, &disks);
    for ((device, _), before) in loops.iter().zip(before) {
        let after = done_by(device.path());
        assert!((0..4).all(|column| after[column] > before[column]), "{}: {before:?}, {after:?}", device.path());
    }
}

#[test]
fn files_on_file_systems_do_what_they_are_told() {
    let dir = directory();
    let files: Vec<_> = ["ext4", "xfs", "btrfs"]
        .into_iter()
        .filter_map(|kind| {
            let mounted = Mounted::on(&image(dir.path(), &format!("{kind}.img"), FILE_SYSTEM), kind)?;
            let disk = image(mounted.path(), "disk.img", SIZE as u64);
            Some((disk.to_str().expect("a plain path").to_owned(), mounted))
        })
        .collect();
    let disks: Vec<_> = files.iter().map(|(path, _)| (path.as_str(), 512)).collect();
    if !disks.is_empty() {
        do_what_they_are_told(dir.clone(), &disks);
        give_space_back(dir, &disks);
    }
}

/// What a guest unmaps of a file that was full is free on the file system.
fn give_space_back(dir: Arc<TempDir>, files: &[(&str, usize)]) {
    const HALF: usize = SIZE / 2;
    let args: Vec<&str> = files.iter().flat_map(|(file, _)| ["--disk", file]).collect();
    let target = Target::start_in(dir, &args);
    let mut guest = target.guest();
    for (number, &(file, block)) in files.iter().enumerate() {
        let lun = Lun::new(number as u8, 0);
        settle(&mut guest, lun);
        let held = |guest: &mut Guest| {
            good(guest, &Command::new(lun, sixteen(0x91, 0, 0, 0)));
            std::fs::metadata(file).expect("the disk's file").blocks() as usize * 512
        };
        good(&mut guest, &Command::write(lun, 0, block as u32, pattern(1, SIZE)));
        let full = held(&mut guest);
        good(&mut guest, &unmap(lun, (HALF / block) as u64, (HALF / block) as u32));
        let left = held(&mut guest);
        // Of what the file system needs for itself there may be more than before.
        assert!(full >= SIZE && left + HALF / 2 < full, "{file}: {full} bytes full, {left} left");
    }
    target.stop();
}

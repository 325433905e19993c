//! What guest tests run inside their guest: the driver in user space, on a target there that serves the guest's own disks.
//! Without `ANNULUS_TEST_INSIDE`, the socket of that target, it does nothing. `tests/guest_nvme*.rs` and `guest_block.rs` set it.

mod common;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::{Child, Command as Process};
use std::time::{Duration, Instant};

use annulus_bench::guest::cdb;
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Lun, Response};
use annulus_bench::{Guest, Options};
use common::io::{good, pattern, settle, sixteen, unmap};

/// No step takes so long, on however busy a machine.
const LIMIT: Duration = Duration::from_secs(100);
/// Bytes of a request.
const CHUNK: usize = 4096;
/// Chunks at the beginning of each disk that are only read while the disks are pulled.
const OLD_CHUNKS: u64 = 64;
/// Chunks that are written meanwhile, at most; a disk that stays begins again.
const NEW_CHUNKS: u64 = 1024;
/// Requests in flight on each disk.
const DEPTH: usize = 8;
/// Requests that end on each disk before they are pulled, that fail on each that was, and that end well on the other.
const ENOUGH: u64 = 100;

/// HARDWARE ERROR, LOGICAL UNIT FAILURE: it will not come back.
const FAILURE: (u8, u8, u8) = (4, 0x3e, 1);
/// MEDIUM ERROR, for a read and for a write: all that the kernel says of what a block device had in flight when it went, if that
/// ended before the device did.
const MEDIUM: [(u8, u8, u8); 2] = [(3, 0x11, 0), (3, 0x0c, 0)];
/// ABORTED COMMAND: what the driver took back from the device; who sends it again learns more.
const ABORTED: (u8, u8, u8) = (0xb, 0, 0);

fn attach() -> Option<Guest> {
    let socket = std::env::var_os("ANNULUS_TEST_INSIDE")?;
    Some(Guest::attach(Path::new(&socket), Options { limit: LIMIT, ..Options::default() }).unwrap())
}

/// What a disk has done so far.
#[derive(Default)]
struct Disk {
    good: u64,
    /// Chunks behind the old ones, by whether they were written well.
    written: BTreeMap<u64, bool>,
    next_new: u64,
    in_flight: usize,
    /// How often, by sense.
    errors: HashMap<(u8, u8, u8), u64>,
    last_error: Option<(u8, u8, u8)>,
}

/// A request that is in flight: on which disk, on which chunk, and whether it writes.
type Sent = (usize, u64, bool);

struct Load {
    guest: Guest,
    /// Bytes of a block of every disk.
    block: u32,
    disks: Vec<Disk>,
    sent: HashMap<u64, Sent>,
    turn: u64,
}

fn lun(disk: usize) -> Lun {
    Lun::new(disk as u8, 0)
}

fn bytes(disk: usize, chunk: u64) -> Vec<u8> {
    pattern(chunk << 8 | disk as u64, CHUNK)
}

impl Load {
    /// Takes the disks over and fills their beginning.
    fn new(mut guest: Guest, disks: usize) -> Self {
        (0..disks).for_each(|disk| settle(&mut guest, lun(disk)));
        let (block, _) = capacity(&mut guest);
        let mut load = Self { guest, block, disks: Vec::new(), sent: HashMap::new(), turn: 0 };
        for disk in 0..disks {
            for chunk in 0..OLD_CHUNKS {
                let write = load.write(disk, chunk);
                good(&mut load.guest, &write);
            }
            load.disks.push(Disk::default());
        }
        load
    }

    fn write(&self, disk: usize, chunk: u64) -> Command {
        Command::write(lun(disk), chunk * self.chunk_blocks(), self.block, bytes(disk, chunk))
    }

    fn read(&self, disk: usize, chunk: u64) -> Command {
        let blocks = self.chunk_blocks();
        Command::read(lun(disk), chunk * blocks, blocks as u32, self.block)
    }

    fn chunk_blocks(&self) -> u64 {
        CHUNK as u64 / u64::from(self.block)
    }

    /// Fills every disk up to its depth, and takes what has ended.
    fn pass(&mut self, more: bool) {
        for index in 0..self.disks.len() {
            while more && self.disks[index].in_flight < DEPTH {
                self.send(index);
            }
        }
        self.guest.flush(0).expect("the target lives");
        while let Some(completion) = self.guest.poll(0).expect("the target keeps the rules") {
            let sent = self.sent.remove(&completion.id).expect("each command ends once");
            self.take(sent, &completion.response);
        }
        std::thread::yield_now();
    }

    fn send(&mut self, index: usize) {
        self.turn += 1;
        let disk = &mut self.disks[index];
        disk.in_flight += 1;
        let writes = self.turn.is_multiple_of(3);
        let (chunk, command) = if writes {
            let chunk = OLD_CHUNKS + disk.next_new % NEW_CHUNKS;
            disk.next_new += 1;
            (chunk, self.write(index, chunk))
        } else {
            let chunk = self.turn * 37 % OLD_CHUNKS;
            (chunk, self.read(index, chunk))
        };
        let id = self.guest.enqueue(0, &command, &Shape::default().indirect()).expect("room");
        self.sent.insert(id, (index, chunk, writes));
    }

    fn take(&mut self, (index, chunk, writes): Sent, response: &Response) {
        let disk = &mut self.disks[index];
        disk.in_flight -= 1;
        if writes {
            // The same bytes each time: once they were written they are there.
            disk.written.entry(chunk).or_insert(response.is_good());
        }
        if response.is_good() {
            assert!(writes || response.data == bytes(index, chunk), "GOOD with other data than disk {index} has");
            disk.good += 1;
        } else {
            let sense = response.sense_code().unwrap_or_else(|| panic!("no sense: {response:?}"));
            *disk.errors.entry(sense).or_default() += 1;
            disk.last_error = Some(sense);
        }
    }

    fn drive_until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < LIMIT, "{what}: {:?}", self.tell());
            self.pass(true);
        }
    }

    /// Lets everything that is in flight end.
    fn drain(&mut self) {
        let start = Instant::now();
        while !self.sent.is_empty() {
            assert!(start.elapsed() < LIMIT, "commands that never end: {:?}", self.tell());
            self.pass(false);
        }
    }

    /// Whether enough requests were told that the disk has gone.
    fn has_gone(&self, disk: usize) -> bool {
        self.disks[disk].errors.get(&FAILURE).is_some_and(|count| *count >= ENOUGH)
    }

    /// What each disk has done, for people.
    fn tell(&self) -> Vec<String> {
        let tell = |disk: &Disk| format!("{} good, {} in flight, {:x?}", disk.good, disk.in_flight, disk.errors);
        self.disks.iter().map(tell).collect()
    }
}

/// Waits for the end of what pulls the disks: the kernel may wait for requests in flight.
fn end(mut puller: Child) {
    let start = Instant::now();
    loop {
        match puller.try_wait().unwrap() {
            Some(status) => return assert!(status.success(), "{status}"),
            None => assert!(start.elapsed() < LIMIT, "the disks cannot be pulled"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All disks but the last are pulled under load, by the shell command in `ANNULUS_TEST_PULL`. `ANNULUS_TEST_DISKS` is how
/// many there are. With `ANNULUS_TEST_SICK_FIRST` the kernel calls a disk sick until it is gone, however often it is asked.
#[test]
fn pulled_disks_fail_and_the_other_goes_on() {
    let Some(guest) = attach() else { return };
    let count: usize = std::env::var("ANNULUS_TEST_DISKS").unwrap().parse().unwrap();
    let pull = std::env::var("ANNULUS_TEST_PULL").unwrap();
    let (pulled, other) = (0..count - 1, count - 1);
    let mut load = Load::new(guest, count);
    load.drive_until("all work", |load| load.disks.iter().all(|disk| disk.good >= ENOUGH));
    assert!(load.disks.iter().all(|disk| disk.errors.is_empty()), "{:?}", load.tell());

    let puller = Process::new("sh").args(["-c", &pull]).spawn().unwrap();
    let before = load.disks[other].good;
    load.drive_until("those that were pulled fail, the other goes on", |load| {
        pulled.clone().all(|disk| load.has_gone(disk)) && load.disks[other].good >= before + ENOUGH
    });
    load.drain();
    end(puller);
    println!("{:?}", load.tell());
    assert!(load.disks[other].errors.is_empty(), "the other disk: {:?}", load.tell());
    let sick_first = std::env::var_os("ANNULUS_TEST_SICK_FIRST").is_some();
    for disk in pulled.clone() {
        let errors = &load.disks[disk].errors;
        let others = errors.iter().filter(|(sense, _)| ![FAILURE, ABORTED].contains(sense));
        let (medium, others): (Vec<_>, Vec<_>) = others.partition(|(sense, _)| MEDIUM.contains(sense));
        let failed: u64 = medium.iter().map(|(_, count)| **count).sum();
        assert!(others.is_empty() && (sick_first || failed <= DEPTH as u64), "disk {disk}: {errors:x?}");
        assert_eq!(load.disks[disk].last_error, Some(FAILURE), "disk {disk} has gone");
        let written = load.disks[disk].written.values().take_while(|good| **good).count();
        // For the host, which looks into the file behind the disk.
        println!("ANNULUS-RESULT: written {written}");
    }
    // What is gone stays gone, and the other goes on.
    load.disks.iter_mut().for_each(|disk| disk.errors.clear());
    load.drive_until("the same afterwards", |load| pulled.clone().all(|disk| load.has_gone(disk)));
    load.drain();
    let is_gone = |disk: usize| load.disks[disk].errors.keys().all(|sense| *sense == FAILURE);
    assert!(pulled.clone().all(is_gone) && load.disks[other].errors.is_empty(), "{:?}", load.tell());
    // Nothing of theirs holds up the device.
    load.guest.reset().unwrap();
    load.guest.start().unwrap();
    settle(&mut load.guest, lun(other));
    let read = load.read(other, 0);
    assert!(good(&mut load.guest, &read).data == bytes(other, 0));
}

/// WRITE ATOMIC (16) of `data` (SBC-4).
fn write_atomic(lba: u64, block: u32, data: Vec<u8>) -> Command {
    let blocks = (data.len() / block as usize) as u16;
    let mut cdb = vec![0x9c, 0];
    cdb.extend(lba.to_be_bytes());
    cdb.extend([0, 0]);
    cdb.extend(blocks.to_be_bytes());
    cdb.extend([0, 0]);
    Command::data_out(lun(0), cdb, data)
}

/// Bytes of a logical block, and whether what was unmapped reads as zeroes (LBPRZ).
fn capacity(guest: &mut Guest) -> (u32, bool) {
    let data = good(guest, &Command::data_in(lun(0), cdb::read_capacity_16(32), 32)).data;
    (u32::from_be_bytes(data[8..12].try_into().unwrap()), data[14] & 0x40 != 0)
}

/// What becomes of a command with 16 bytes that takes `data` (SBC-4).
fn send(guest: &mut Guest, opcode: u8, byte_1: u8, (lba, blocks): (u64, u32), data: Vec<u8>) -> Option<(u8, u8, u8)> {
    guest.execute(0, &Command::data_out(lun(0), sixteen(opcode, byte_1, lba, blocks), data)).unwrap().sense_code()
}

/// VERIFY, COMPARE AND WRITE, WRITE SAME, UNMAP and SYNCHRONIZE CACHE do on the disk what they say.
#[test]
fn what_compares_and_changes_reaches_the_disk() {
    const MISCOMPARE: (u8, u8, u8) = (0xe, 0x1d, 0);
    /// Behind the 4 MiB that a load may have filled, on disks that may have little more.
    const PLACE: u64 = 4 << 20;
    const PLACE_BYTES: usize = 64 << 10;
    let Some(mut guest) = attach() else { return };
    settle(&mut guest, lun(0));
    let (block, reads_zeroes) = capacity(&mut guest);
    let place @ (start, blocks) = (PLACE / u64::from(block), PLACE_BYTES as u32 / block);
    let [old, new] = [1, 2].map(|seed| pattern(seed, PLACE_BYTES));
    good(&mut guest, &Command::write(lun(0), start, block, old.clone()));
    assert_eq!(send(&mut guest, 0x8f, 0x02, place, old.clone()), None, "VERIFY, BYTCHK 01b");
    assert_eq!(send(&mut guest, 0x8f, 0x02, place, new.clone()), Some(MISCOMPARE));
    let (first, one) = ((start, 1), block as usize);
    assert_eq!(send(&mut guest, 0x89, 0, first, [&new[..one], &new[..one]].concat()), Some(MISCOMPARE));
    assert_eq!(send(&mut guest, 0x89, 0, first, [&old[..one], &new[..one]].concat()), None, "COMPARE AND WRITE");
    assert!(good(&mut guest, &Command::read(lun(0), start, 1, block)).data == new[..one]);
    assert_eq!(send(&mut guest, 0x93, 0, place, new[..one].to_vec()), None, "WRITE SAME");
    assert!(good(&mut guest, &Command::read(lun(0), start, blocks, block)).data == new[..one].repeat(blocks as usize));
    good(&mut guest, &unmap(lun(0), start, blocks));
    let left = good(&mut guest, &Command::read(lun(0), start, blocks, block)).data;
    assert!(!reads_zeroes || left == vec![0; PLACE_BYTES], "LBPRZ");
    // So many blocks nothing else here writes: whoever watches the device knows the command by that.
    assert_eq!(send(&mut guest, 0x8a, 0x08, (start, 3), old[..3 * one].to_vec()), None, "WRITE with FUA");
    good(&mut guest, &Command::new(lun(0), sixteen(0x93, 0x01, start, blocks)));
    let zeroes = good(&mut guest, &Command::read(lun(0), start, blocks, block)).data;
    assert!(zeroes == vec![0; PLACE_BYTES], "WRITE SAME without data");
    good(&mut guest, &Command::new(lun(0), cdb::synchronize_cache_16(0, 0)));
}

/// The disk writes as much as the Block Limits page says, as a whole, and no more; its table of commands says that it can.
#[test]
fn atomic_writes_reach_the_disk() {
    let Some(mut guest) = attach() else { return };
    settle(&mut guest, lun(0));
    let (block, _) = capacity(&mut guest);
    let limits = good(&mut guest, &Command::data_in(lun(0), cdb::inquiry(Some(0xb0), 64), 64)).data;
    let field = |at: usize| u32::from_be_bytes(limits[at..at + 4].try_into().unwrap());
    let (most, alignment, granularity) = (field(44), field(48), field(52));
    assert_eq!((alignment, granularity), (0, 0), "of a namespace without boundaries");
    println!("ANNULUS-RESULT: atomic_blocks {most}");

    // MAINTENANCE IN, REPORT SUPPORTED OPERATION CODES: one command, and its usage data.
    let report = vec![0xa3, 0x0c, 0x01, 0x9c, 0, 0, 0, 0, 0, 20, 0, 0];
    assert_eq!(good(&mut guest, &Command::data_in(lun(0), report, 20)).data[1] & 7, 3, "supported");

    for blocks in 1..=most {
        let data = pattern(u64::from(blocks), (blocks * block) as usize);
        for lba in [5, 1000 + u64::from(blocks)] {
            good(&mut guest, &write_atomic(lba, block, data.clone()));
            assert!(good(&mut guest, &Command::read(lun(0), lba, blocks, block)).data == data, "{blocks} at {lba}");
        }
    }
    let too_long = write_atomic(0, block, vec![0; ((most + 1) * block) as usize]);
    assert_eq!(guest.execute(0, &too_long).unwrap().sense_code(), Some((5, 0x24, 0)));
}

/// The pages that tell who a disk is and what it can, for whoever knows what they should say.
#[test]
fn what_a_disk_says_of_itself() {
    let Some(mut guest) = attach() else { return };
    settle(&mut guest, lun(0));
    for page in [0x80, 0x83, 0xb0, 0xb2] {
        let mut data = good(&mut guest, &Command::data_in(lun(0), cdb::inquiry(Some(page), 0x200), 0x200)).data;
        data.truncate(4 + usize::from(u16::from_be_bytes([data[2], data[3]])));
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        println!("ANNULUS-RESULT: page_{page:02x} {hex}");
    }
    // LOG SENSE of the temperature page, cumulative values.
    let log = good(&mut guest, &Command::data_in(lun(0), vec![0x4d, 0, 0x4d, 0, 0, 0, 0, 0, 16, 0], 16)).data;
    println!("ANNULUS-RESULT: temperatures {} {}", log[9], log[15]);
}

/// DATA PROTECT for every command that would change the disk; the mode parameter header says so; reads go on.
#[test]
fn nothing_is_written_to_a_disk_that_is_read_only() {
    const WP: u8 = 0x80;
    let Some(mut guest) = attach() else { return };
    settle(&mut guest, lun(0));
    let (block, _) = capacity(&mut guest);
    let before = good(&mut guest, &Command::read(lun(0), 0, 8, block)).data;
    let write = Command::write(lun(0), 0, block, pattern(1, 8 * block as usize));
    let (key, asc, ascq) = guest.execute(0, &write).unwrap().sense_code().expect("it is refused");
    println!("ANNULUS-RESULT: read_only {key:x} {asc:x} {ascq:x}");
    let same = vec![0; block as usize];
    assert_eq!(send(&mut guest, 0x93, 0, (0, 8), same), Some((key, asc, ascq)), "WRITE SAME");
    // MODE SENSE (6) of all pages: WP stands in the header.
    assert_eq!(good(&mut guest, &Command::data_in(lun(0), vec![0x1a, 0, 0x3f, 0, 255, 0], 255)).data[2] & WP, WP);
    assert!(good(&mut guest, &Command::read(lun(0), 0, 8, block)).data == before);
}

/// Targets 0 and 1 grow, by the shell command in `ANNULUS_TEST_GROW`: the guest is told, and uses what has come.
#[test]
fn disks_that_grow_are_as_large_to_the_guest() {
    const CAPACITY_HAS_CHANGED: (u8, u8, u8) = (6, 0x2a, 9);
    let Some(mut guest) = attach() else { return };
    let (disks, command) = ([lun(0), lun(1)], std::env::var("ANNULUS_TEST_GROW").unwrap());
    disks.iter().for_each(|lun| settle(&mut guest, *lun));
    let capacity = |lun| Command::data_in(lun, cdb::read_capacity_16(32), 32);
    let bytes = |data: &[u8]| {
        let (last, block) = (data[..8].try_into().unwrap(), data[8..12].try_into().unwrap());
        (u64::from_be_bytes(last) + 1, u32::from_be_bytes(block))
    };
    let before = disks.map(|lun| bytes(&good(&mut guest, &capacity(lun)).data));
    assert!(Process::new("sh").args(["-c", &command]).status().unwrap().success());
    for (lun, (blocks, block)) in disks.into_iter().zip(before) {
        let start = Instant::now();
        while guest.execute(0, &Command::new(lun, cdb::test_unit_ready())).unwrap().sense_code()
            != Some(CAPACITY_HAS_CHANGED)
        {
            assert!(start.elapsed() < LIMIT, "nobody says that {lun:?} has grown");
            std::thread::yield_now();
        }
        let grown = bytes(&good(&mut guest, &capacity(lun)).data);
        assert_eq!(grown, (2 * blocks, block));
        let end = grown.0 - CHUNK as u64 / u64::from(block);
        good(&mut guest, &Command::write(lun, end, block, vec![1; CHUNK]));
        let read = Command::read(lun, end, CHUNK as u32 / block, block);
        assert!(good(&mut guest, &read).data == [1; CHUNK]);
        good(&mut guest, &Command::new(lun, cdb::synchronize_cache_16(0, 0)));
    }
}

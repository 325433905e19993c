//! Whole passes of a core.

use std::sync::Arc;

use bdev::{Bdev, Direct, Engine, FileBdev, FileOptions, MemBdev, NullBdev, SplitBdev};
use reactor::Context;

use super::measure;
use crate::target::core::Core;
use crate::target::message::Message;
use crate::target::tests::bed::Bed;

/// Bytes of the disks.
const DISK_LEN: u64 = 1 << 20;
/// Request queues of each guest in the test of idle queues: what its memory has room for.
const QUEUES: u16 = 8;

pub(super) fn measure_all() {
    let null = || Arc::new(NullBdev::new(DISK_LEN, 512).expect("a legal size")) as Arc<dyn Bdev>;
    let mem = || Arc::new(MemBdev::new(DISK_LEN, 512).expect("a legal size")) as Arc<dyn Bdev>;
    busy("pass: a read of null, alone in its pass", null(), 1);
    busy("pass: a read of null, one of 16", null(), 16);
    busy("pass: a read of mem, one of 16", mem(), 16);
    // A wrapper does nothing at once, so that each request has a slot and a completion.
    let split = SplitBdev::new(null(), 0, DISK_LEN).expect("it has that");
    busy("pass: a read of null through a wrapper, one of 16", Arc::new(split), 16);
    let disks = || (0..256).map(|_| null()).collect();
    spread("pass: a read of one of 256 disks of null, one of 16", disks(), |_| ());
    // What a message costs that has nothing to do with the queue: 16 times what this is more than the step above.
    spread("pass: the same behind a message to the core", disks(), |core| core.message(Message::News));
    file("pass: a read of a file in the page cache, one of 16");
    idle("pass: with 1 idle queue", null(), 1, 1);
    idle("pass: with 64 idle queues", null(), 64 / usize::from(QUEUES), QUEUES);
}

/// A core with guests whose drivers poll.
pub(super) fn bed(disk: Arc<dyn Bdev>, cores: usize, guests: usize, queues: u16) -> Bed {
    let mut bed = Bed::of(cores, vec![disk]);
    for _ in 0..guests {
        let guest = bed.add_guest(queues);
        bed.guests[guest].drivers.iter().for_each(|driver| driver.set_no_interrupt(true));
    }
    bed
}

fn busy(name: &str, disk: Arc<dyn Bdev>, reads: usize) {
    let prepare = |bed: &mut Bed| {
        let guest = bed.guest();
        guest.collect();
        assert_eq!(guest.open(), 0, "one pass ends all of them");
        guest.ended.clear();
        (0..reads).for_each(|lba| _ = guest.read(0, 0, lba as u8));
    };
    measure(name, reads, bed(disk, 1, 1, 1), prepare, |bed| _ = bed.core(0).poll(0));
}

/// Reads of a file that the kernel has in memory, so that it answers each in the call that brings it.
fn file(name: &str) {
    // Beside this program: file systems for temporary files may be of a kind that hands reads to threads.
    let program = std::env::current_exe().expect("this program");
    let image = tempfile::NamedTempFile::new_in(program.parent().expect("its directory")).expect("a file");
    std::fs::write(image.path(), vec![0; DISK_LEN as usize]).expect("room");
    let options = FileOptions { direct: Direct::Off, engine: Engine::Uring, ..FileOptions::default() };
    let disk = Arc::new(FileBdev::open(image.path(), options).expect("io_uring"));
    let prepare = |bed: &mut Bed| {
        let guest = bed.guest();
        guest.collect();
        assert_eq!(guest.open(), 0, "two passes end all of them");
        guest.ended.clear();
        (0..16).for_each(|lba| _ = guest.read(0, 0, lba));
    };
    let step = |bed: &mut Bed| (0..2).for_each(|_| _ = bed.core(0).poll(0));
    let mut bed = bed(disk, 1, 1, 1);
    prepare(&mut bed);
    step(&mut bed);
    bed.guest().collect();
    if bed.guest().open() > 0 {
        println!("uncounted\t{name}");
        while bed.guest().open() > 0 {
            step(&mut bed);
            bed.guest().collect();
        }
        return;
    }
    measure(name, 16, bed, prepare, step);
}

/// Reads of disks in no order that is of use, after something else has happened to the core.
fn spread(name: &str, disks: Vec<Arc<dyn Bdev>>, before: impl Fn(&mut Core)) {
    let mut bed = Bed::of(1, disks);
    bed.add_guest(1);
    bed.guest().drivers.iter().for_each(|driver| driver.set_no_interrupt(true));
    let prepare = |(bed, next): &mut (Bed, u8)| {
        let guest = bed.guest();
        guest.collect();
        assert_eq!(guest.open(), 0, "one pass ends all of them");
        guest.ended.clear();
        for _ in 0..16 {
            guest.read(0, *next, 0);
            *next = next.wrapping_add(37);
        }
    };
    let step = |(bed, _): &mut (Bed, u8)| {
        before(bed.core(0));
        _ = bed.core(0).poll(0);
    };
    measure(name, 16, (bed, 0), prepare, step);
}

fn idle(name: &str, disk: Arc<dyn Bdev>, guests: usize, queues: u16) {
    measure(name, 1, bed(disk, 1, guests, queues), |_| (), |bed| _ = bed.core(0).poll(0));
}

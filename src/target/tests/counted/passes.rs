//! Whole passes of a core.

use std::sync::Arc;

use bdev::{Bdev, LateRegistrar, MemBdev, NullBdev, SplitBdev};
use reactor::Context;

use super::{file, measure};
use crate::target::core::Core;
use crate::target::disk::{Disk, DiskIndex};
use crate::target::message::Message;
use crate::target::tests::bed::Bed;
use crate::target::tests::guest::Guest;

/// What is sent before a pass, by its place among them.
type Send = fn(&mut Guest, u8);

/// Bytes of the disks.
const DISK_LEN: u64 = 1 << 20;
/// Request queues of each guest in the test of idle queues: what its memory has room for.
const QUEUES: u16 = 8;

pub(super) fn measure_all() {
    let null = || Arc::new(NullBdev::new(DISK_LEN, 512).expect("a legal size")) as Arc<dyn Bdev>;
    let mem = || Arc::new(MemBdev::new(DISK_LEN, 512).expect("a legal size")) as Arc<dyn Bdev>;
    let usual = |disk| bed(disk, 1, 1, 1);
    busy("pass: a read of null, alone in its pass", usual(null()), 1, read);
    busy("pass: a read of null, one of 16", usual(null()), 16, read);
    busy("pass: a write of null at random, one of 16", usual(null()), 16, write_at_random);
    for (name, packed, tables) in [
        ("pass: a read of null in an indirect table, one of 16", false, true),
        ("pass: a read of null through a packed ring, one of 16", true, false),
        ("pass: a read of null through a packed ring in an indirect table, one of 16", true, true),
    ] {
        busy(name, agreed(null(), packed, tables), 16, read);
    }
    busy("pass: a read of mem, one of 16", usual(mem()), 16, read);
    // A wrapper does nothing at once, so that each request has a slot and a completion.
    let split = SplitBdev::new(null(), 0, DISK_LEN).expect("it has that");
    busy("pass: a read of null through a wrapper, one of 16", usual(Arc::new(split)), 16, read);
    let disks = || (0..256).map(|_| null()).collect();
    spread("pass: a read of one of 256 disks of null, one of 16", disks(), |_| ());
    // What a message costs that has nothing to do with the queue: 16 times what this is more than the step above.
    spread("pass: the same behind a message to the core", disks(), |core| core.message(Message::News));
    file("pass: a read of a file in the page cache, one of 16", false);
    file("pass: the same in registered memory", true);
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

/// One whose guest has agreed upon packed rings, or has its requests in indirect tables.
fn agreed(disk: Arc<dyn Bdev>, packed: bool, tables: bool) -> Bed {
    let mut bed = Bed::of(1, vec![disk]);
    bed.add_guest_with(1, |guest| (guest.packed, guest.tables) = (packed, tables));
    bed.guest().drivers.iter().for_each(|driver| driver.set_no_interrupt(true));
    bed
}

fn read(guest: &mut Guest, turn: u8) {
    guest.read(0, 0, turn);
}

fn write_at_random(guest: &mut Guest, turn: u8) {
    guest.write(0, 0, turn.wrapping_mul(167), turn);
}

fn busy(name: &str, bed: Bed, requests: usize, send: Send) {
    measure(name, requests, bed, |bed| prepare(bed, requests, send), |bed| _ = bed.core(0).poll(0));
}

/// Looks at what has ended, and sends the next ones.
fn prepare(bed: &mut Bed, requests: usize, send: Send) {
    let guest = bed.guest();
    guest.collect();
    assert_eq!(guest.open(), 0, "all of them end");
    guest.ended.clear();
    (0..requests).for_each(|turn| send(guest, turn as u8));
}

/// Reads of a file that the kernel has in memory, so that it answers each in the call that brings it.
fn file(name: &str, registered: bool) {
    let Some(disk) = file::disk(DISK_LEN) else {
        println!("uncounted\t{name}");
        return;
    };
    let late = LateRegistrar::default();
    let registrar = registered.then(file::registrar);
    registrar.iter().for_each(|registrar| _ = late.set(registrar.clone()));
    let mut bed = Bed::registering(1, vec![Arc::new(Disk::of(disk, DiskIndex(0)))], late);
    bed.add_guest(1);
    bed.guest().drivers.iter().for_each(|driver| driver.set_no_interrupt(true));
    registrar.iter().for_each(|registrar| file::register(bed.guest(), registrar));
    bed.passes(2);
    let step = |bed: &mut Bed| (0..2).for_each(|_| _ = bed.core(0).poll(0));
    prepare(&mut bed, 16, read);
    step(&mut bed);
    bed.guest().collect();
    let open = bed.guest().open();
    bed.run();
    assert_eq!(
        open, 0,
        "the file system of this directory hands reads to threads: use one that does not, as ext4 or xfs"
    );
    let fixed = bed.core(0).io_stats().fixed;
    assert_eq!(fixed, if registered { 16 } else { 0 }, "reads into registered memory");
    measure(name, 16, bed, |bed| prepare(bed, 16, read), step);
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

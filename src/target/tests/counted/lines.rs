//! Two cores at work, each on a thread of its own, of which one runs at a time: so that a trace of memory accesses tells
//! which core touched which cache line. `scripts/lines` reads that trace and the marks that go to the same place.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bdev::{Bdev, LateRegistrar, MemBdev, NullBdev, Registrar};
use reactor::{Handle, Mailbox};
use rustix::event::{EventfdFlags, eventfd};

use super::file;
use crate::target::core::Core;
use crate::target::disk::{Disk, DiskIndex};
use crate::target::message::Message;
use crate::target::tests::guest::Guest;

const CORES: usize = 2;
/// Request queues of each guest: one for each core.
const QUEUES: u16 = CORES as u16;
const DISK_LEN: u64 = 1 << 20;
/// Passes of each core before those that are looked at, and those.
const WARM_UP: u8 = 2;
const ROUNDS: u8 = 4;
/// Longest time until all of a round has ended, on a machine that is busy with all else.
const ROUND_MAX: Duration = Duration::from_secs(60);
/// Reads, and as many writes, in each queue and round.
const BATCH: u8 = 2;

/// Whose turn it is. A thread that waits touches its own stack and nothing else: it may still be on its way to sleep, or be
/// about to wake, in a turn of another one.
struct Baton {
    next: OwnedFd,
    done: OwnedFd,
}

/// What goes through [`Baton::next`]: a turn, or the end.
const TURN: u64 = 1;
const END: u64 = 2;

/// Threads that wait for their turns.
struct Table(Vec<(Arc<Baton>, Option<JoinHandle<()>>)>);

/// Two cores at such a table, and guests with a queue on each.
struct Bench {
    table: Table,
    guests: Vec<Guest>,
    /// There if the memory of the guests is registered.
    registrar: Option<Registrar>,
}

/// Two words in one line, and one that lies in two lines.
#[repr(align(256))]
struct Words([u8; 512]);

impl Baton {
    fn new() -> Self {
        let fd = || eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
        Self { next: fd(), done: fd() }
    }

    fn pass(fd: &OwnedFd, what: u64) {
        rustix::io::write(fd, &what.to_ne_bytes()).expect("the counter is far from full");
    }

    fn wait(fd: &OwnedFd) -> u64 {
        let mut what = [0; 8];
        rustix::io::read(fd, &mut what).expect("an eventfd that blocks");
        u64::from_ne_bytes(what)
    }
}

/// Writes a line into the trace. No lock, no buffer, nothing but the system call.
fn mark(line: &[u8]) {
    let written = rustix::io::write(std::io::stderr(), line).expect("the trace is read");
    assert_eq!(written, line.len());
}

/// Tells where the stack of this thread is, of which `local` is a part. What a thread has there, and in its own variables
/// above, is its own.
fn mark_stack<T>(local: &T) {
    let stack = std::ptr::from_ref(local) as usize >> 16;
    mark(format!("@stack {:04x} {stack:04x} {:04x}\n", stack - 1, stack + 1).as_bytes());
}

/// A thread takes its turns, as long as there are any.
fn serve(place: usize, baton: &Baton, mut turn: impl FnMut()) {
    mark_stack(&baton);
    let begin = [b"@0\n", b"@1\n"][place];
    // The end touches all that there was: not in a turn of another one.
    while Baton::wait(&baton.next) == TURN {
        mark(begin);
        turn();
        mark(b"@-\n");
        Baton::pass(&baton.done, TURN);
    }
}

impl Table {
    /// One thread for each of `seats`, which makes there what it does in its turns.
    fn of<T: FnMut()>(seats: impl Iterator<Item = impl FnOnce() -> T + Send + 'static>) -> Self {
        mark_stack(&std::hint::black_box([0_u8; 8]));
        let seats = seats.enumerate().map(|(place, seat)| {
            let baton = Arc::new(Baton::new());
            let its = baton.clone();
            (baton, Some(std::thread::spawn(move || serve(place, &its, seat()))))
        });
        Self(seats.collect())
    }

    fn turns(&self) {
        for (seat, _) in &self.0 {
            Baton::pass(&seat.next, TURN);
            Baton::wait(&seat.done);
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for (seat, thread) in &mut self.0 {
            Baton::pass(&seat.next, END);
            // One that has failed has said so.
            let _ = thread.take().map(JoinHandle::join);
        }
    }
}

impl Bench {
    fn new(disk: Arc<dyn Bdev>, guests: usize, packed: bool) -> Self {
        let registrar = disk.needs_ring().then(file::registrar);
        let late = LateRegistrar::default();
        registrar.iter().for_each(|registrar| _ = late.set(registrar.clone()));
        let disks: Arc<[Arc<Disk>]> = Arc::new([Arc::new(Disk::of(disk, DiskIndex(0)))]);
        let mailboxes: Vec<_> = (0..CORES).map(|_| Mailbox::new(64).expect("a bell")).collect();
        let handles: Arc<[Handle<Message>]> = mailboxes.iter().map(Mailbox::handle).collect();
        let seats = mailboxes.into_iter().map(|mailbox| {
            let (disks, late) = (disks.clone(), late.clone());
            move || core(mailbox, disks, late)
        });
        let table = Table::of(seats);
        let guest = || {
            let mut guest = Guest::new(1, QUEUES, &disks, handles.clone());
            guest.packed = packed;
            guest.start();
            guest
        };
        Self { table, guests: (0..guests).map(|_| guest()).collect(), registrar }
    }

    /// Until all lists have the length that they keep, and all memory is registered.
    fn warm_up(&mut self) {
        if let Some(registrar) = &self.registrar {
            self.guests.iter_mut().for_each(|guest| file::register(guest, registrar));
        }
        (0..WARM_UP).for_each(|_| self.round());
        if self.registrar.is_some() {
            // The thread that registers memory has been told that the cores have it, and has gone to sleep again.
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Each driver sends a batch to each core, and each core has passes with interrupts until all has ended.
    fn round(&mut self) {
        for guest in &mut self.guests {
            for queue in 0..QUEUES as u8 {
                for turn in 0..BATCH {
                    let lba = queue * 2 * BATCH + turn;
                    guest.read(queue.into(), 0, lba);
                    guest.write(queue.into(), 0, lba + BATCH, turn);
                }
            }
        }
        let deadline = Instant::now() + ROUND_MAX;
        while self.guests.iter().any(|guest| guest.open() > 0) {
            assert!(Instant::now() < deadline, "a round ends");
            self.table.turns();
            self.guests.iter_mut().for_each(Guest::collect);
        }
        for guest in &mut self.guests {
            assert!(guest.ended.iter().all(|ended| (ended.response, ended.status) == (0, 0)), "{:?}", guest.ended);
            guest.ended.clear();
            guest.sort_free();
        }
    }
}

/// What a core does in its turns.
fn core(mailbox: Mailbox<Message>, disks: Arc<[Arc<Disk>]>, registrar: LateRegistrar) -> impl FnMut() {
    let core = Core::new(disks, registrar, Arc::default()).expect("a ring, if one is needed");
    let mut stepper = mailbox.stepper(core);
    move || {
        stepper.step(0);
        // It is the end of a core if its mailbox goes.
        let _ = &mailbox;
    }
}

/// The passes of such cores go into the trace.
fn trace(name: &str, disk: Arc<dyn Bdev>, guests: usize, packed: bool) {
    let mut bench = Bench::new(disk, guests, packed);
    bench.warm_up();
    let ring = if packed { "packed" } else { "split" };
    mark(format!("@begin {name}, {ring} rings, controllers: {guests}\n").as_bytes());
    (0..ROUNDS).for_each(|_| bench.round());
    mark(b"@end\n");
}

/// Whoever reads the trace has to find two lines here: that of the lock, and one of which the first thread touches what is
/// left of a word that begins in the line before.
fn trace_what_is_shared() {
    let words = Arc::new(Mutex::new(Words([0; 512])));
    let seats = [252, 264].into_iter().map(|at| {
        let words = words.clone();
        move || move || words.lock().expect("nobody panics").0[at..at + 8].copy_from_slice(&[1; 8])
    });
    let table = Table::of(seats);
    // Threads that have just begun touch more than that.
    table.turns();
    mark(b"@begin shared on purpose\n");
    table.turns();
    mark(b"@end 2\n");
}

#[test]
#[ignore = "scripts/lines runs it"]
fn two_cores_on_the_same_disk() {
    mark(format!("@at {:#x}\n", mark as fn(&[u8]) as usize).as_bytes());
    let null = || Arc::new(NullBdev::new(DISK_LEN, 512).expect("a legal size"));
    let mem = || Arc::new(MemBdev::new(DISK_LEN, 512).expect("a legal size"));
    for guests in [1, 2] {
        trace("null", null(), guests, false);
        trace("mem", mem(), guests, false);
    }
    trace("null", null(), 2, true);
    trace("mem", mem(), 1, true);
    for packed in [false, true] {
        match file::disk(DISK_LEN) {
            Some(disk) => trace("file", disk, 2, packed),
            None => mark(b"@forbidden\n"),
        }
    }
    trace_what_is_shared();
    mark(b"@over\n");
}

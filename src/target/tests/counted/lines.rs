//! Two cores at work, each on a thread of its own, of which one runs at a time: so that a trace of memory accesses tells
//! which core touched which cache line. `scripts/lines` reads that trace and the marks that go to the same place.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use bdev::{Bdev, MemBdev, NullBdev};
use reactor::{Handle, Mailbox};
use rustix::event::{EventfdFlags, eventfd};

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
/// Reads, and as many writes, in each queue and pass.
const BATCH: u8 = 2;

/// Whose turn it is. A thread that waits touches its own stack and nothing else: it may still be on its way to sleep, or be
/// about to wake, in a turn of another one.
struct Baton {
    next: OwnedFd,
    done: OwnedFd,
}

/// Two cores, each on a thread that waits for its turns, and guests with a queue on each.
struct Bench {
    cores: Vec<Arc<Baton>>,
    guests: Vec<Guest>,
}

impl Baton {
    fn new() -> Self {
        let fd = || eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
        Self { next: fd(), done: fd() }
    }

    fn pass(fd: &OwnedFd) {
        rustix::io::write(fd, &1_u64.to_ne_bytes()).expect("the counter is far from full");
    }

    fn wait(fd: &OwnedFd) {
        rustix::io::read(fd, &mut [0; 8]).expect("an eventfd that blocks");
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

/// A core takes its turns, as long as there are any.
fn serve(place: usize, mailbox: &Mailbox<Message>, disks: Arc<[Arc<Disk>]>, baton: &Baton) {
    let core = Core::new(disks, Arc::default(), Arc::default()).expect("no ring is needed");
    let mut stepper = mailbox.stepper(core);
    mark_stack(&stepper);
    let begin = [b"@0\n", b"@1\n"][place];
    for _ in 0..WARM_UP + ROUNDS {
        Baton::wait(&baton.next);
        mark(begin);
        stepper.step(0);
        mark(b"@-\n");
        Baton::pass(&baton.done);
    }
    // The end touches all that there was: not in a turn of another one.
    Baton::wait(&baton.next);
}

impl Bench {
    fn new(disk: Arc<dyn Bdev>, guests: usize) -> Self {
        let disks: Arc<[Arc<Disk>]> = Arc::new([Arc::new(Disk::of(disk, DiskIndex(0)))]);
        let mailboxes: Vec<_> = (0..CORES).map(|_| Mailbox::new(64).expect("a bell")).collect();
        let handles: Arc<[Handle<Message>]> = mailboxes.iter().map(Mailbox::handle).collect();
        let cores = mailboxes.into_iter().enumerate().map(|(place, mailbox)| {
            let (baton, disks) = (Arc::new(Baton::new()), disks.clone());
            let its = baton.clone();
            std::thread::spawn(move || serve(place, &mailbox, disks, &its));
            baton
        });
        let guest = || {
            let mut guest = Guest::new(1, QUEUES, &disks, handles.clone());
            guest.start();
            guest
        };
        Self { cores: cores.collect(), guests: (0..guests).map(|_| guest()).collect() }
    }

    /// Each driver sends a batch to each core, each core has a pass with its interrupt, and all has ended.
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
        for core in &self.cores {
            Baton::pass(&core.next);
            Baton::wait(&core.done);
        }
        for guest in &mut self.guests {
            guest.collect();
            assert_eq!(guest.open(), 0, "one pass ends all");
            guest.ended.clear();
            guest.sort_free();
        }
    }
}

#[test]
#[ignore = "scripts/lines runs it"]
fn two_cores_on_the_same_disk() {
    mark(format!("@at {:#x}\n", mark as fn(&[u8]) as usize).as_bytes());
    mark_stack(&std::hint::black_box([0_u8; 8]));
    for guests in [1, 2] {
        let null = Arc::new(NullBdev::new(DISK_LEN, 512).expect("a legal size"));
        let mem = Arc::new(MemBdev::new(DISK_LEN, 512).expect("a legal size"));
        for (name, disk) in [("null", null as Arc<dyn Bdev>), ("mem", mem)] {
            let mut bench = Bench::new(disk, guests);
            (0..WARM_UP).for_each(|_| bench.round());
            mark(format!("@begin {name}, controllers: {guests}\n").as_bytes());
            (0..ROUNDS).for_each(|_| bench.round());
            mark(b"@end\n");
            bench.cores.iter().for_each(|core| Baton::pass(&core.next));
        }
    }
}

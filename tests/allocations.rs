//! The way of an I/O allocates nothing: not in the ring, the worker, SCSI, nor in the block device.
//!
//! The target runs in this process, with an allocator that counts what each reactor's thread asks of it. A guest drives it
//! over its socket, with everything that a driver does under load: several queues, many sizes, any layout, rings of either
//! format, with interrupts and without.
#![allow(unsafe_code, reason = "an allocator is unsafe by nature")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use annulus::config::{self, Command as CliCommand};
use annulus::target::Target;
use annulus_bench::guest::interrupt::Interrupt;
use annulus_bench::guest::spec::feature;
use annulus_bench::guest::spec::scsi::FIRST_REQUEST_QUEUE;
use annulus_bench::guest::task::{Function, TaskManagement};
use annulus_bench::{Guest, Options};
use common::io::{LUN, settle};
use common::load::{DEPTH, QUEUES, load};

/// I/Os that are counted.
const MEASURED: usize = 100_000;
/// I/Os before: queues and lists reach the size that they keep.
const WARM_UP: usize = 5_000;
/// Bytes of the disks.
const DISK_LEN: u64 = 16 << 20;

/// Counts the allocations of one thread.
struct Counting;

/// The thread whose allocations are counted.
static COUNTED: AtomicI32 = AtomicI32::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Number of this thread, once it is known.
    static SELF: Cell<i32> = const { Cell::new(0) };
}

fn count() {
    // A thread that is being taken apart has no number any more: it is none that is counted.
    let number = SELF.try_with(|own| {
        if own.get() == 0 {
            own.set(rustix::thread::gettid().as_raw_nonzero().get());
        }
        own.get()
    });
    if number.is_ok_and(|number| number == COUNTED.load(Ordering::Relaxed)) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is the system's allocator's doing; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: by the promise of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: by the promise of the caller.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: by the promise of the caller.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count();
        // SAFETY: by the promise of the caller.
        unsafe { System.realloc(at, layout, len) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Number of the thread of this name.
fn thread_named(prefix: &str) -> i32 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("own threads");
    let is_it = |entry: &std::fs::DirEntry| {
        std::fs::read_to_string(entry.path().join("comm")).is_ok_and(|name| name.starts_with(prefix))
    };
    let task = tasks.map(|entry| entry.expect("a thread")).find(is_it).expect("a thread of this name");
    task.file_name().to_str().and_then(|name| name.parse().ok()).expect("a number")
}

/// Starts a target with one reactor and these disks.
fn start(socket: &Path, disks: &[&str]) -> Target {
    let (mask, queues) = (common::cpumask(1), QUEUES.to_string());
    let mut words = vec!["annulus", "serve", "--cpumask", &mask, "--queues", &queues, "--socket"];
    words.push(socket.to_str().expect("a plain path"));
    disks.iter().for_each(|disk| words.extend(["--disk", disk]));
    let Ok(CliCommand::Serve(config)) = config::parse(words) else { panic!("a legal command line") };
    Target::start(&config).expect("the target starts")
}

/// Drivers of either ring format, of which some ask for an interrupt with each pass that has something for them: without
/// `EVENT_IDX` they always do.
fn drivers() -> [(&'static str, Options); 4] {
    let mut signalled = Options::default();
    signalled.features &= !feature::EVENT_IDX;
    [
        ("split rings, polled", Options::polling()),
        ("packed rings, polled", Options::polling().packed()),
        ("split rings, with interrupts", signalled.clone()),
        ("packed rings, with interrupts", signalled.packed()),
    ]
}

/// Attaches a driver that is as `options` say.
fn attach(socket: &Path, options: &Options) -> Guest {
    let options = Options { request_queues: QUEUES, queue_size: 256, ..options.clone() };
    let wanted = options.features & feature::RING_PACKED;
    let interrupts = options.interrupts;
    let mut guest = Guest::attach(socket, options).expect("attach");
    assert_eq!(guest.features() & feature::RING_PACKED, wanted, "either format is offered");
    settle(&mut guest, LUN);
    for number in 0..QUEUES {
        let _ = guest.queue(FIRST_REQUEST_QUEUE + number).set_interrupts(interrupts);
    }
    guest
}

/// Interrupts of the request queues since the last call.
fn interrupts(guest: &Guest) -> u64 {
    let vectors = (0..QUEUES).filter_map(|number| guest.queue_interrupt(FIRST_REQUEST_QUEUE + number));
    vectors.map(Interrupt::take).sum()
}

/// Allocations of the reactor for the measured I/Os on a disk, with such a driver.
fn measure(disk: &str, options: &Options, directory: &Path) -> u64 {
    let socket = directory.join("vm0.sock");
    let target = start(&socket, &[disk]);
    let mut guest = attach(&socket, options);
    load(&mut guest, WARM_UP);
    interrupts(&guest);
    COUNTED.store(thread_named("reactor-"), Ordering::Relaxed);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    load(&mut guest, MEASURED);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    // A queue's vector is signalled for what a pass answers in it, and that is no more than what is in flight there.
    let signals = if options.interrupts { MEASURED / DEPTH } else { 0 };
    assert!(interrupts(&guest) >= signals as u64, "interrupts do not come");
    // The counter counts: task management may allocate, and does.
    let abort = TaskManagement { function: Function::AbortTaskSet, lun: LUN, id: 0 };
    guest.task_management(&abort).expect("an answer");
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > before + allocations, "the counter does not count");
    COUNTED.store(0, Ordering::Relaxed);
    drop(guest);
    target.stop();
    allocations
}

#[test]
fn an_io_allocates_nothing() {
    let directory = common::directory();
    let image = common::image(directory.path(), "disk.img", DISK_LEN);
    let mem = format!("mem:size={DISK_LEN}");
    let null = format!("null:size={DISK_LEN}");
    for (driver, options) in drivers() {
        for disk in [&null, &mem, image.to_str().expect("a plain path")] {
            let allocations = measure(disk, &options, directory.path());
            assert_eq!(allocations, 0, "allocations in {MEASURED} I/Os on {disk}, {driver}");
        }
    }
}

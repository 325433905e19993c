//! The way of an I/O allocates nothing: not in the ring, the worker, SCSI, nor in the block device.
//!
//! The target runs in this process, with an allocator that counts what each reactor's thread asks of it. A guest drives it
//! over its socket, with everything that a driver does under load: several queues, many sizes, any layout.
#![allow(unsafe_code, reason = "an allocator is unsafe by nature")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use annulus::config::{self, Command as CliCommand};
use annulus::target::Target;
use annulus_bench::guest::task::{Function, TaskManagement};
use annulus_bench::{Guest, Options};
use common::io::{LUN, settle};
use common::load::{QUEUES, load};

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

/// Allocations of the reactor for the measured I/Os on a disk.
fn measure(disk: &str, directory: &Path) -> u64 {
    let socket = directory.join("vm0.sock");
    let target = start(&socket, &[disk]);
    let options = Options { request_queues: QUEUES, queue_size: 256, ..Options::polling() };
    let mut guest = Guest::attach(&socket, options).expect("attach");
    settle(&mut guest, LUN);
    load(&mut guest, WARM_UP);
    COUNTED.store(thread_named("reactor-"), Ordering::Relaxed);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    load(&mut guest, MEASURED);
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
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
    for disk in [&null, &mem, image.to_str().expect("a plain path")] {
        assert_eq!(measure(disk, directory.path()), 0, "allocations in {MEASURED} I/Os on {disk}");
    }
}

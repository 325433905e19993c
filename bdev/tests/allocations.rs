//! Once a core works, an I/O allocates nothing: counted over 100,000 of them on each backend.
#![allow(unsafe_code)]

mod support;

use std::alloc::{GlobalAlloc, Layout as Block, System};
use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use bdev::{Bdev, Channel, DelayBdev, Delays, FileBdev, FileOptions, Io, MemBdev, NullBdev, Op, OpKind, Tag};
use support::awkward::Layout;
use support::memory::Memory;
use support::place::Place;

const SIZE: u64 = 1 << 20;
const OPERATIONS: u64 = 100_000;
const DEPTH: usize = 32;

thread_local! {
    /// Allocations of this thread: the test runner's own do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, block: Block) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: passed on as it came.
        unsafe { System.alloc(block) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, block: Block) {
        // SAFETY: passed on as it came.
        unsafe { System.dealloc(pointer, block) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct Core {
    io: Io,
    channel: Box<dyn Channel>,
    memory: Vec<Memory>,
    free: Vec<usize>,
    now_ns: u64,
}

impl Core {
    fn new(bdev: &dyn Bdev, layout: &Layout) -> Self {
        let mut io = Io::default();
        let channel = bdev.channel(&mut io).unwrap();
        let memory = (0..DEPTH).map(|_| Memory::new(layout)).collect();
        Self { io, channel, memory, free: (0..DEPTH).collect(), now_ns: 0 }
    }

    /// Runs `count` operations, `DEPTH` at a time.
    fn run(&mut self, count: u64) {
        let (mut started, mut ended) = (0, 0);
        while ended < count {
            self.now_ns += 1;
            self.io.set_now_ns(self.now_ns);
            self.io.reap();
            while let Some(completion) = self.io.next_completion() {
                completion.result.unwrap();
                self.free.push(completion.tag.0 as usize);
                ended += 1;
            }
            while started < count && self.start_one(started) {
                started += 1;
            }
            self.channel.poll(&mut self.io);
            self.io.submit();
        }
    }

    fn start_one(&mut self, number: u64) -> bool {
        let Some(slot) = self.free.pop() else { return false };
        let memory = &self.memory[slot];
        let len = memory.len() as u64;
        let op = Op {
            kind: if number.is_multiple_of(2) { OpKind::Read } else { OpKind::Write { fua: false } },
            offset: number * 7919 % (SIZE / len) * len,
            len,
            segments: memory.segments(),
        };
        let accepted = self.channel.submit(&mut self.io, &op, Tag(slot as u64)).is_ok();
        if !accepted {
            self.free.push(slot);
        }
        accepted
    }
}

fn allocates_nothing(name: &str, bdev: &dyn Bdev, layout: &Layout) {
    let mut core = Core::new(bdev, layout);
    core.run(1_000);
    let before = ALLOCATIONS.get();
    core.run(OPERATIONS);
    assert_eq!(ALLOCATIONS.get() - before, 0, "{name}");
}

#[test]
fn an_io_allocates_nothing() {
    let before = ALLOCATIONS.get();
    let aligned = Layout { skew: 0, lengths: vec![4096] };
    let pieces = Layout { skew: 0, lengths: vec![512; 4] };
    let odd = Layout { skew: 3, lengths: vec![2048] };
    assert_ne!(ALLOCATIONS.get(), before, "the counter counts");

    allocates_nothing("null", &NullBdev::new(SIZE, 512).unwrap(), &aligned);
    let mem = Arc::new(MemBdev::new(SIZE, 512).unwrap());
    allocates_nothing("mem", mem.as_ref(), &pieces);
    allocates_nothing("delay", &DelayBdev::new(mem, Delays::all(Duration::from_nanos(2))), &aligned);

    let place = Place::on_tmpfs(SIZE);
    let file = FileBdev::open(&place.path, FileOptions::default()).unwrap();
    allocates_nothing("file, in pieces", &file, &pieces);
    let place = Place::on_disk(SIZE);
    let file = FileBdev::open(&place.path, FileOptions::default()).unwrap();
    allocates_nothing("file on disk, bounced if direct", &file, &odd);
}

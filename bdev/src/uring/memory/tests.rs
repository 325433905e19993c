//! Registered memory on a real kernel: from the registrar's thread to the operations of a core.

use std::fs::File;
use std::io::Write;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::mapping::Mapping;
use crate::{Bdev, Channel, FileBdev, FileOptions, Io, IoConfig, Op, OpKind, SegmentSlice, Tag};

const PAGE: usize = 4096;
/// Pages of a chunk.
const CHUNK: usize = 2;

/// A core with a file of 16 pages, each filled with its number.
struct Core {
    io: Io,
    channel: Box<dyn Channel>,
    _bdev: FileBdev,
}

impl Core {
    fn new(registrar: &Registrar) -> Self {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        (0..16).for_each(|page| file.write_all(&[page; PAGE]).unwrap());
        let bdev = FileBdev::open(file.path(), FileOptions::default()).unwrap();
        let mut io = Io::with_registrar(IoConfig { channels: 1, ..IoConfig::default() }, registrar.clone());
        let channel = bdev.channel(&mut io).unwrap();
        Self { io, channel, _bdev: bdev }
    }

    /// Fills `list` from the file's start, or writes it there. Tells how many parts used registered memory.
    fn run(&mut self, kind: OpKind, list: &[Segment]) -> u64 {
        let before = self.io.stats().fixed;
        let len = crate::segment::total_len(list);
        // SAFETY: the list stays until the completion below.
        let op = Op { kind, offset: 0, len, segments: unsafe { SegmentSlice::new(list) } };
        self.channel.submit(&mut self.io, &op, Tag(1)).unwrap();
        let completion = loop {
            self.io.submit();
            self.io.reap();
            if let Some(completion) = self.io.next_completion() {
                break completion;
            }
        };
        completion.result.unwrap();
        self.io.stats().fixed - before
    }

    /// Passes until reads into `list` use registered memory, or do not.
    fn pass_until(&mut self, used: bool, list: &[Segment]) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while (self.run(OpKind::Read, list) > 0) != used {
            assert!(Instant::now() < deadline, "registered memory is to be used: {used}");
            std::thread::yield_now();
        }
    }
}

fn registrar(way: Way) -> Registrar {
    let (best, library) = pinner::probe().unwrap();
    if best != way {
        eprintln!("this kernel has {best:?}");
    }
    Registrar::of(way, library, CHUNK * PAGE).unwrap()
}

/// Memory of `pages` pages, and what says that it is in use.
fn memory(registrar: &Registrar, pages: usize) -> (Arc<Mapping>, Registration) {
    let mapping = Arc::new(Mapping::new(pages * PAGE).unwrap());
    let registration = registrar.register(mapping.part(0, pages * PAGE), mapping.clone());
    (mapping, registration)
}

fn first_bytes(list: &[Segment]) -> Vec<u8> {
    let byte = |segment: &Segment| {
        let mut byte = [0xff];
        segment.read(0, &mut byte);
        byte[0]
    };
    list.iter().map(byte).collect()
}

#[test]
fn operations_use_what_is_registered_and_nothing_else() {
    for way in [Way::Clone, Way::Own] {
        let registrar = registrar(way);
        let mut core = Core::new(&registrar);
        let (memory, _registration) = memory(&registrar, 2 * CHUNK + 1);
        let page = |number: usize| memory.part(number * PAGE, PAGE);
        // The chunks come in their order: with the last one all are there.
        core.pass_until(true, &[page(2 * CHUNK)]);
        for (list, fixed, bytes) in [
            (&[page(0)][..], 1, &[0][..]),
            (&[page(1), page(0)], 1, &[0, 1]),
            (&[page(2), memory.part(3 * PAGE, 512), memory.part(3 * PAGE + 1024, 512)], 1, &[0, 1, 1]),
            (&[page(1), page(2)], 0, &[0, 1]),
            (&[memory.part(PAGE, 2 * PAGE)], 0, &[0]),
        ] {
            memory.part(0, 5 * PAGE).fill(0xee);
            assert_eq!(core.run(OpKind::Read, list), fixed, "{way:?} {list:?}");
            assert_eq!(first_bytes(list), bytes, "{way:?} {list:?}");
        }
        page(0).fill(0x11);
        page(1).fill(0x22);
        assert_eq!(core.run(OpKind::Write { fua: true }, &[page(1), page(0)]), 1);
        core.run(OpKind::Read, &[page(2), page(3)]);
        assert_eq!(first_bytes(&[page(2), page(3)]), [0x22, 0x11]);
        core.channel.close(&mut core.io);
    }
}

#[test]
fn memory_that_nobody_wants_is_let_go_of_by_all() {
    for way in [Way::Clone, Way::Own] {
        let registrar = registrar(way);
        let mut cores = [Core::new(&registrar), Core::new(&registrar)];
        let (memory, registration) = memory(&registrar, CHUNK);
        let list = [memory.part(0, PAGE)];
        cores.iter_mut().for_each(|core| core.pass_until(true, &list));
        assert_eq!(registrar.registered_bytes(), (CHUNK * PAGE) as u64);
        drop(registration);
        cores.iter_mut().for_each(|core| core.pass_until(false, &list));
        assert_eq!(registrar.registered_bytes(), 0);
        let deadline = Instant::now() + Duration::from_secs(60);
        while Arc::strong_count(&memory) > 1 {
            assert!(Instant::now() < deadline, "the thread keeps the memory");
            std::thread::yield_now();
        }
    }
}

#[test]
fn memory_that_is_wanted_again_stays_registered() {
    let registrar = registrar(Way::Clone);
    let mut core = Core::new(&registrar);
    let (memory, mut registration) = memory(&registrar, CHUNK);
    let list = [memory.part(0, PAGE)];
    core.pass_until(true, &list);
    let generation = registrar.shared.generation.load(Ordering::Acquire);
    for _ in 0..100 {
        drop(registration);
        registration = registrar.register(memory.part(0, CHUNK * PAGE), memory.clone());
        assert_eq!(core.run(OpKind::Read, &list), 1);
    }
    assert_eq!(registrar.shared.generation.load(Ordering::Acquire), generation);
}

#[test]
fn a_sleeping_core_is_woken_to_take_over_what_is_new() {
    let registrar = registrar(Way::Clone);
    let mut core = Core::new(&registrar);
    for _ in 0..3 {
        assert!(core.io.arm(), "there is nothing to do");
        let (memory, _registration) = memory(&registrar, CHUNK);
        let bell = core.io.bell().unwrap();
        let timeout = Timespec { tv_sec: 60, tv_nsec: 0 };
        assert_eq!(poll(&mut [PollFd::new(&bell, PollFlags::IN)], Some(&timeout)).unwrap(), 1, "nobody woke the core");
        core.io.disarm();
        assert!(!core.io.arm(), "it has not taken it over");
        core.io.disarm();
        core.pass_until(true, &[memory.part(0, PAGE)]);
        // The bell is silent again: else the core would never sleep any more.
        while !core.io.arm() {
            core.io.disarm();
            core.io.reap();
        }
        core.io.disarm();
    }
}

#[test]
fn memory_that_the_kernel_refuses_is_used_all_the_same() {
    let registrar = registrar(Way::Clone);
    let mut core = Core::new(&registrar);
    // There are no pages behind the end of a file.
    let file = tempfile::tempfile().unwrap();
    file.set_len(PAGE as u64).unwrap();
    let (short, keep) = shared_mapping(&file, CHUNK * PAGE);
    let _refused = registrar.register(short, keep);
    let (memory, _registration) = memory(&registrar, CHUNK);
    core.pass_until(true, &[memory.part(0, PAGE)]);
    let list = [short.split_at(PAGE).0];
    assert_eq!(core.run(OpKind::Read, &list), 0);
    assert_eq!(first_bytes(&list), [0]);
}

/// Maps `len` bytes of `file`. Never unmapped.
fn shared_mapping(file: &File, len: usize) -> (Segment, Keep) {
    use rustix::mm::{MapFlags, ProtFlags, mmap};
    let prot = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let base = unsafe { mmap(std::ptr::null_mut(), len, prot, MapFlags::SHARED, file, 0) }.unwrap();
    // SAFETY: mapped for ever; the test touches only what has pages.
    let segment = unsafe { Segment::new(std::ptr::NonNull::new(base.cast()).unwrap(), len) };
    (segment, Arc::new(()))
}

#[test]
fn bounce_buffers_are_registered_once_one_is_used() {
    let registrar = registrar(Way::Clone);
    let mut core = Core::new(&registrar);
    let mapping = Mapping::new(2 * PAGE).unwrap();
    let odd = [mapping.part(1, PAGE)];
    if core.run(OpKind::Read, &odd) == 0 && core.io.stats().bounced == 0 {
        eprintln!("skipped: no direct I/O here, and so no bounce buffers");
        return;
    }
    core.pass_until(true, &odd);
    assert_eq!(first_bytes(&odd), [0]);
}

#[test]
fn the_thread_ends_with_the_last_handle() {
    let registrar = registrar(Way::Clone);
    let shared = Arc::downgrade(&registrar.shared);
    let core = Core::new(&registrar);
    drop(registrar);
    assert!(shared.upgrade().is_some());
    drop(core);
    let deadline = Instant::now() + Duration::from_secs(60);
    while shared.upgrade().is_some() {
        assert!(Instant::now() < deadline, "the thread goes on");
        std::thread::yield_now();
    }
}

#[test]
fn a_refusal_says_what_to_set() {
    let said = pinner::refusal(&io::Error::from_raw_os_error(libc::EFAULT), 1 << 20);
    assert!(said.contains("--register off"), "{said}");
}

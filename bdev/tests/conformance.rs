//! The one suite that every backend passes. Every wrapper around them does so in `wrapped`.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bdev::{Bdev, DelayBdev, Delays, Direct, Engine, FileBdev, FileOptions, MemBdev, NullBdev, OpKind, SplitBdev};
use support::arena::with_registered_memory;
use support::atomic::writes_whole_or_not_at_all;
use support::memory::Memory;
use support::place::{self, Loop, Place};
use support::promises::{SIZE, keeps_its_promises, keeps_its_terms};
use support::rig::Rig;

#[test]
fn null() {
    for block_size in [512, 4096] {
        let bdev = NullBdev::new(SIZE, block_size).unwrap();
        keeps_its_terms(&bdev);
        writes_whole_or_not_at_all(&bdev, &mut Rig::new(&bdev), None);
        // It moves nothing: what was in memory stays there.
        let bytes = vec![0x3c; block_size as usize];
        let mut memory = Memory::aligned(bytes.len());
        memory.put(&bytes);
        let (result, memory) = Rig::new(&bdev).run(OpKind::Read, 0, memory);
        assert_eq!((result, memory.get()), (Ok(()), bytes));
    }
}

#[test]
fn mem() {
    for block_size in [512, 4096] {
        keeps_its_promises(&MemBdev::new(SIZE, block_size).unwrap());
    }
}

#[test]
fn delay_over_mem() {
    for delays in [Delays::all(Duration::from_secs(60)), Delays { write: Duration::from_nanos(1), ..Delays::default() }]
    {
        let mem = Arc::new(MemBdev::new(SIZE, 512).unwrap());
        keeps_its_promises(&DelayBdev::new(mem, delays));
    }
}

fn file(place: &Place, block_size: u32, direct: Direct) -> FileBdev {
    FileBdev::open(&place.path, FileOptions { block_size: Some(block_size), direct, ..FileOptions::default() }).unwrap()
}

fn through_threads(place: &Place, block_size: u32, direct: Direct) -> FileBdev {
    let options =
        FileOptions { block_size: Some(block_size), direct, engine: Engine::Threads, ..FileOptions::default() };
    let bdev = FileBdev::open(&place.path, options).unwrap();
    assert!(bdev.info().description.contains(", threads, "), "{}", bdev.info().description);
    bdev
}

#[test]
fn nothing_around_a_part_is_touched() {
    let place = Place::on_disk(2 * SIZE + 512);
    let part = SplitBdev::new(Arc::new(file(&place, 512, Direct::Auto)), 512, SIZE).unwrap();
    keeps_its_promises(&part);
    assert_eq!(place.bytes(0, 512), [0; 512]);
    assert!(place.bytes(512 + SIZE, SIZE as usize).iter().all(|byte| *byte == 0));
}

#[test]
fn threads_on_disk() {
    for (block_size, direct) in [(512, Direct::Off), (512, Direct::Auto), (4096, Direct::Auto)] {
        keeps_its_promises(&through_threads(&Place::on_disk(SIZE), block_size, direct));
    }
}

#[test]
fn threads_on_tmpfs() {
    keeps_its_promises(&through_threads(&Place::on_tmpfs(SIZE), 512, Direct::Auto));
}

#[test]
fn file_on_disk_buffered() {
    for block_size in [512, 4096] {
        let bdev = file(&Place::on_disk(SIZE), block_size, Direct::Off);
        assert!(!bdev.is_direct());
        keeps_its_promises(&bdev);
    }
}

#[test]
fn file_on_disk_direct() {
    for block_size in [512, 4096] {
        let place = Place::on_disk(SIZE);
        let can = place.direct_alignment().is_some_and(|alignment| alignment <= block_size);
        let bdev = file(&place, block_size, Direct::Auto);
        assert_eq!(bdev.is_direct(), can, "direct where the file system can: {}", bdev.info().description);
        if can {
            keeps_its_promises(&bdev);
        } else {
            eprintln!("skipped: no direct I/O in blocks of {block_size} here: {}", bdev.info().description);
        }
    }
}

#[test]
fn file_on_tmpfs() {
    for block_size in [512, 4096] {
        keeps_its_promises(&file(&Place::on_tmpfs(SIZE), block_size, Direct::Auto));
    }
}

#[test]
fn file_with_registered_memory() {
    for (place, direct) in [(Place::on_tmpfs(SIZE), Direct::Off), (Place::on_disk(SIZE), Direct::Auto)] {
        let bdev = file(&place, 512, direct);
        let fixed = with_registered_memory(|| keeps_its_promises(&bdev));
        // Kernels before 6.15 take registered memory in one piece only: so does every second operation of 10,000 at random.
        assert!(fixed > 2_000, "{fixed} parts of operations used it: {}", bdev.info().description);
    }
}

#[test]
fn loop_device() {
    if !place::may("a loop device") {
        return;
    }
    for (sector, block_size, direct) in
        [(512, Some(512), true), (4096, None, true), (512, Some(4096), true), (4096, Some(512), false)]
    {
        let device = Loop::new(SIZE, sector);
        let options = FileOptions { block_size, ..FileOptions::default() };
        let bdev = FileBdev::open(&device.path, options).unwrap();
        assert_eq!(bdev.info().block_size, block_size.unwrap_or(sector));
        assert_eq!(bdev.is_direct(), direct, "{}", bdev.info().description);
        keeps_its_promises(&bdev);
    }
}

#[test]
fn loop_device_through_threads() {
    if place::may("a loop device") {
        let device = Loop::new(SIZE, 4096);
        let options = FileOptions { engine: Engine::Threads, ..FileOptions::default() };
        keeps_its_promises(&FileBdev::open(&device.path, options).unwrap());
    }
}

//! What only files do: shrink, fill up, fail, demand alignment, be looked at by others.

mod support;

use std::fs::File;
use std::io::IoSliceMut;

use bdev::{Bdev, Direct, Engine, FileBdev, FileOptions, IoConfig, IoError, OpKind};
use rustix::fs::{Advice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use support::awkward::Layout;
use support::memory::Memory;
use support::place::{self, Loop, Place, SmallFs};
use support::rig::{Rig, WRITE, WRITE_FUA};

const SIZE: u64 = 1 << 20;

fn open(place: &Place, direct: Direct) -> FileBdev {
    FileBdev::open(&place.path, FileOptions { direct, ..FileOptions::default() }).unwrap()
}

fn whole(len: usize) -> Layout {
    Layout { skew: 0, lengths: vec![len] }
}

/// Both ways to serve a file, direct where the place can.
fn both_ways() -> Vec<(Place, FileBdev)> {
    let buffered = Place::on_disk(SIZE);
    let opened = open(&buffered, Direct::Off);
    let mut ways = vec![(buffered, opened)];
    let direct = Place::on_disk(SIZE);
    match direct.direct_alignment() {
        Some(..=512) => {
            let opened = open(&direct, Direct::On);
            ways.push((direct, opened));
        }
        other => eprintln!("skipped: no direct I/O in blocks of 512 here ({other:?})"),
    }
    ways
}

#[test]
fn what_was_written_is_in_the_file_for_everybody() {
    for (place, bdev) in both_ways() {
        let mut rig = Rig::new(&bdev);
        for kind in [WRITE, WRITE_FUA] {
            let bytes: Vec<u8> = (0..8192_u32).map(|at| (at / 32) as u8 ^ u8::from(kind == WRITE)).collect();
            rig.write(kind, 3 * 512, &whole(8192), &bytes).unwrap();
            assert!(place.bytes(3 * 512, 8192) == bytes, "{}", bdev.info().description);
        }
        rig.close();
    }
}

#[test]
fn what_is_fetched_is_in_the_page_cache() {
    for engine in [Engine::Uring, Engine::Threads] {
        let place = Place::on_disk(SIZE);
        let options = FileOptions { direct: Direct::Off, engine, ..FileOptions::default() };
        let mut rig = Rig::new(&FileBdev::open(&place.path, options).unwrap());
        rig.write(WRITE, 0, &whole(SIZE as usize), &vec![7; SIZE as usize]).unwrap();
        rig.change(OpKind::Flush, 0, 0).unwrap();
        let file = File::open(&place.path).unwrap();
        let look = |at: u64| preadv2(&file, &mut [IoSliceMut::new(&mut [0])], at, ReadWriteFlags::NOWAIT);
        if look(0) == Err(Errno::OPNOTSUPP) {
            eprintln!("skipped: this file system does not say what is in the page cache");
            return;
        }
        let is_there = |at: u64| look(at) == Ok(1);
        let (first, last) = (SIZE / 2, SIZE / 2 + 65536 - 1);
        until("the page cache to let go", || {
            fadvise(&file, 0, None, Advice::DontNeed).unwrap();
            !is_there(first) && !is_there(last)
        });
        assert_eq!(rig.change(OpKind::Prefetch, first, 65536), Ok(()));
        // Reading ahead goes on behind the operation.
        until("the blocks to be there", || is_there(first) && is_there(last));
        rig.close();
    }
}

/// Waits for a condition, within reason.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed().as_secs() < 60, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_file_that_shrank_gives_an_error_and_never_zeroes() {
    for (place, bdev) in both_ways() {
        let mut rig = Rig::new(&bdev);
        rig.write(WRITE, 0, &whole(SIZE as usize), &vec![7; SIZE as usize]).unwrap();
        // To a block, to half a block, and to nothing.
        for end in [SIZE / 2, SIZE / 4 + 100, 0] {
            place.resize(end);
            for odd in [0, 1] {
                let layout = |len: usize| Layout { skew: odd, lengths: vec![len] };
                let how = format!("{} cut to {end}, skew {odd}", bdev.info().description);
                let last = end / 512 * 512;
                assert_eq!(rig.read(last, &layout(512)), Err(IoError::BeyondEnd), "{how}: right at the end");
                assert_eq!(rig.read(SIZE - 4096, &layout(4096)), Err(IoError::BeyondEnd), "{how}: far past it");
                assert_eq!(rig.read(0, &layout(SIZE as usize)), Err(IoError::BeyondEnd), "{how}: across it");
                if last > 0 {
                    assert!(rig.read(last - 512, &layout(512)).unwrap() == [7; 512], "{how}: what is left");
                }
            }
        }
        // A write does not make it grow again.
        assert_eq!(rig.write(WRITE, SIZE - 512, &whole(512), &[9; 512]), Err(IoError::BeyondEnd));
        assert_eq!(std::fs::metadata(&place.path).unwrap().len(), 0);
        rig.close();
    }
}

#[test]
fn aligned_memory_goes_straight_and_other_memory_through_a_buffer_that_is_counted() {
    for (_place, bdev) in both_ways() {
        let mut rig = Rig::new(&bdev);
        rig.read(512, &Layout { skew: 512, lengths: vec![512, 4096, 512] }).unwrap();
        assert_eq!((rig.io.stats().bounced, rig.io.stats().resubmitted), (0, 0), "{}", bdev.info().description);
        for (odd, layout) in [
            Layout { skew: 1, lengths: vec![512] },
            Layout { skew: 0, lengths: vec![256, 256] },
            Layout { skew: 0, lengths: vec![512, 1, 511] },
        ]
        .into_iter()
        .enumerate()
        {
            rig.read(0, &layout).unwrap();
            let bounced = if bdev.is_direct() { odd as u64 + 1 } else { 0 };
            assert_eq!(rig.io.stats().bounced, bounced, "{layout:?}, {}", bdev.info().description);
        }
        rig.close();
    }
}

#[test]
fn one_operation_may_take_many_system_calls_but_not_more_than_it_needs() {
    for (_place, bdev) in both_ways() {
        let mut rig = Rig::with(&bdev, IoConfig { bounce_buffer_bytes: 4096, ..IoConfig::default() });
        rig.read(0, &Layout { skew: 0, lengths: vec![512; 2000] }).unwrap();
        assert_eq!(rig.io.stats().resubmitted, 1, "1,024 segments and the rest");
        if bdev.is_direct() {
            rig.read(0, &Layout { skew: 1, lengths: vec![5 * 4096] }).unwrap();
            assert_eq!(rig.io.stats().resubmitted, 1 + 4, "five buffers in turn");
        }
        rig.close();
    }
}

#[test]
fn a_disk_that_has_nothing_to_do_does_not_wait_for_the_end_of_the_pass() {
    for (_place, bdev) in both_ways() {
        let mut rig = Rig::new(&bdev);
        let before = rig.io.stats().enters;
        let enters_after = |count: u64, rig: &mut Rig| {
            (0..count).for_each(|at| assert!(rig.submit(OpKind::Read, at * 512, Memory::aligned(512)).is_ok()));
            rig.io.stats().enters - before
        };
        assert_eq!(enters_after(1, &mut rig), 0, "one alone goes at the end");
        assert_eq!(enters_after(1, &mut rig), 1, "2 of 2");
        assert_eq!(enters_after(4, &mut rig), 1);
        assert_eq!(enters_after(1, &mut rig), 2, "5, more than twice 2");
        assert_eq!(enters_after(15, &mut rig), 3, "15, more than twice 7");
        assert_eq!(enters_after(16, &mut rig), 3, "the others wait");
        assert_eq!(rig.io.submit(), 16);
        assert_eq!(rig.io.stats().enters, before + 4);
        rig.close();
    }
}

#[test]
fn a_read_only_disk_refuses_writes_and_serves_the_rest() {
    let place = Place::on_disk(SIZE);
    let options = FileOptions { read_only: true, ..FileOptions::default() };
    let bdev = FileBdev::open(&place.path, options).unwrap();
    assert!(bdev.info().read_only);
    let mut rig = Rig::new(&bdev);
    for kind in [WRITE, WRITE_FUA] {
        assert_eq!(rig.write(kind, 0, &whole(512), &[1; 512]), Err(IoError::ReadOnly));
    }
    assert!(rig.read(0, &whole(512)).unwrap() == [0; 512]);
    rig.flush().unwrap();
    assert_eq!(rig.drain()[0].result, Ok(()));
    rig.close();
}

#[test]
fn two_disks_of_a_core_share_its_ring() {
    let (a, b) = (Place::on_disk(SIZE), Place::on_tmpfs(SIZE));
    let (a, b) = (open(&a, Direct::Auto), open(&b, Direct::Auto));
    let mut rig = Rig::new(&a);
    let mut other = b.channel(&mut rig.io).unwrap();
    rig.write(WRITE, 0, &whole(512), &[1; 512]).unwrap();
    std::mem::swap(&mut rig.channel, &mut other);
    assert!(rig.read(0, &whole(512)).unwrap() == [0; 512]);
    rig.write(WRITE, 0, &whole(512), &[2; 512]).unwrap();
    rig.channel.close(&mut rig.io);
    rig.channel = other;
    assert!(rig.read(0, &whole(512)).unwrap() == [1; 512], "it lives on when the other is closed");
    rig.close();
}

#[test]
fn a_full_file_system_is_said_so_and_keeps_what_it_has() {
    if !place::may("a small file system") {
        return;
    }
    let fs = SmallFs::new(1 << 20);
    let place = Place::within(fs.path(), 4 << 20);
    let bdev = open(&place, Direct::Auto);
    assert!(bdev.info().thin);
    let mut rig = Rig::new(&bdev);
    let step = 128 << 10;
    let mut stored = 0;
    let refusal = loop {
        match rig.write(WRITE, stored as u64, &whole(step), &vec![5; step]) {
            Ok(()) => stored += step,
            Err(error) => break error,
        }
    };
    assert_eq!(refusal, IoError::NoSpace);
    assert!((step..=1 << 20).contains(&stored), "{stored}");
    assert!(rig.read(0, &whole(stored)).unwrap().iter().all(|byte| *byte == 5));
    rig.close();
    // The file goes before its file system does.
    drop((bdev, place));
}

#[test]
fn a_medium_that_fails_is_a_medium_error() {
    if !place::may("a loop device") {
        return;
    }
    let device = Loop::new(SIZE, 512);
    let bdev = FileBdev::open(&device.path, FileOptions::default()).unwrap();
    let mut rig = Rig::new(&bdev);
    rig.write(WRITE, 0, &whole(4096), &[3; 4096]).unwrap();
    // A loop device answers with EIO where its file has ended.
    device.backing.resize(8192);
    assert_eq!(rig.read(SIZE / 2, &whole(4096)), Err(IoError::Medium));
    assert_eq!(rig.read(SIZE / 2, &Layout { skew: 1, lengths: vec![4096] }), Err(IoError::Medium));
    assert!(rig.read(0, &whole(4096)).unwrap() == [3; 4096], "the rest is served on");
    rig.close();
}

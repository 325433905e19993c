//! Devices that go, shrink or grow under load: the right error, never a hang, never zeroes that were not written; other
//! disks of the core go on.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bdev::{
    Bdev, DelayBdev, Delays, Engine, ErrorBdev, Errors, FileBdev, FileOptions, IoError, OpKind, OpenError, SplitBdev,
};
use support::Random;
use support::awkward::Layout;
use support::fs::LoopFs;
use support::memory::Memory;
use support::place::{self, Loop, Place};
use support::promises::whole;
use support::rig::{Rig, WRITE};

const SIZE: u64 = 8 << 20;
const BLOCK: usize = 4096;
const BLOCKS: u64 = SIZE / BLOCK as u64;

fn open(path: &std::path::Path, engine: Engine) -> FileBdev {
    FileBdev::open(path, FileOptions { engine, ..FileOptions::default() }).unwrap()
}

/// Keeps many reads and writes in flight on a disk full of sevens, pulls it when some have ended, and gives the results
/// of those that ended after that.
fn pull_under_load(rig: &mut Rig, writes: bool, pull: impl FnOnce()) -> Vec<(OpKind, Result<(), IoError>)> {
    let mut random = Random::new(5);
    let (mut started, mut pull, mut after) = (0, Some(pull), Vec::new());
    let mut kinds = std::collections::HashMap::new();
    while started < 4000 || rig.in_flight() > 0 {
        while started < 4000 && rig.in_flight() < 64 {
            let kind = if writes && random.below(2) == 0 { WRITE } else { OpKind::Read };
            let mut memory = Memory::new(&Layout { skew: random.below(2) as usize, lengths: vec![BLOCK] });
            memory.put(&vec![if kind == WRITE { 7 } else { 0 }; BLOCK]);
            let Ok(tag) = rig.submit(kind, random.below(BLOCKS) * BLOCK as u64, memory) else { break };
            kinds.insert(tag, kind);
            started += 1;
        }
        for ended in rig.wait() {
            let kind = kinds.remove(&ended.tag).unwrap();
            if ended.result.is_ok() {
                assert!(ended.memory.get() == [7; BLOCK], "data that was never written");
            }
            if pull.is_none() {
                after.push((kind, ended.result));
            }
        }
        if started > 1000
            && let Some(pull) = pull.take()
        {
            pull();
        }
    }
    after
}

#[test]
fn a_file_that_is_cut_off_under_load_ends_every_operation() {
    for engine in [Engine::Uring, Engine::Threads] {
        let place = Place::on_disk(SIZE);
        let bdev = open(&place.path, engine);
        let mut rig = Rig::new(&bdev);
        rig.write(WRITE, 0, &whole(SIZE as usize), &vec![7; SIZE as usize]).unwrap();
        // Reads alone: a write before anybody has seen the cut makes the file grow again.
        let mut random = Random::new(6);
        let mut lost = 0;
        for round in 0..2000 {
            while rig.in_flight() < 32 {
                let Ok(_) = rig.submit(OpKind::Read, random.below(BLOCKS) * BLOCK as u64, Memory::aligned(BLOCK))
                else {
                    break;
                };
            }
            if round == 100 {
                place.resize(SIZE / 2 + 100);
            }
            for ended in rig.wait() {
                match ended.result {
                    Ok(()) => assert!(ended.memory.get() == [7; BLOCK], "zeroes that nobody wrote"),
                    Err(error) => {
                        assert_eq!(error, IoError::BeyondEnd);
                        lost += 1;
                    }
                }
            }
        }
        assert!(lost > 0, "half of the file is gone");
        assert_eq!(bdev.size_now().unwrap(), SIZE / 2 + 100);
        // Who makes it larger than it ever was does not bring back what it had.
        place.resize(2 * SIZE);
        assert_eq!(bdev.size_now().unwrap(), SIZE / 2 + 100);
        rig.drain();
        assert_eq!(rig.read(SIZE / 2, &whole(BLOCK)), Err(IoError::BeyondEnd));
        rig.close();
        assert_eq!(bdev.resized().unwrap().unwrap().size_now().unwrap(), 2 * SIZE);
    }
}

#[test]
fn a_file_that_grows_is_noticed() {
    let place = Place::on_disk(SIZE);
    let bdev = open(&place.path, Engine::Auto);
    place.resize(2 * SIZE);
    assert_eq!((bdev.size_now().unwrap(), bdev.info().size()), (2 * SIZE, SIZE));
}

/// Reads and writes all over the disk, many at a time. What is whole is sevens, and what was cut off fails.
fn work_on_what_was_cut(rig: &mut Rig, end: u64) {
    let mut random = Random::new(8);
    let (mut started, mut failed, mut expected) = (0, 0, std::collections::HashMap::new());
    while started < 2000 || rig.in_flight() > 0 {
        while started < 2000 && rig.in_flight() < 32 {
            let kind = if random.below(2) == 0 { WRITE } else { OpKind::Read };
            let offset = random.below(BLOCKS) * BLOCK as u64;
            let mut memory = Memory::new(&Layout { skew: random.below(2) as usize, lengths: vec![BLOCK] });
            memory.put(&vec![if kind == WRITE { 7 } else { 0 }; BLOCK]);
            let Ok(tag) = rig.submit(kind, offset, memory) else { break };
            expected.insert(tag, if offset + BLOCK as u64 > end { Err(IoError::BeyondEnd) } else { Ok(()) });
            started += 1;
        }
        for ended in rig.wait() {
            assert_eq!(ended.result, expected[&ended.tag]);
            assert!(ended.result.is_err() || ended.memory.get() == [7; BLOCK], "zeroes that nobody wrote");
            failed += usize::from(ended.result.is_err());
        }
    }
    assert!(failed > 0);
}

#[test]
fn a_file_that_was_cut_stays_so_whatever_is_written_or_made_of_it_until_it_is_resized() {
    const CUT: u64 = SIZE / 2 + 100;
    let end = Err(IoError::BeyondEnd);
    for engine in [Engine::Uring, Engine::Threads] {
        let place = Place::on_disk(SIZE);
        let bdev = open(&place.path, engine);
        let mut rig = Rig::new(&bdev);
        rig.write(WRITE, 0, &whole(SIZE as usize), &vec![7; SIZE as usize]).unwrap();
        let mut other = Rig::new(&bdev);
        place.resize(CUT);
        assert_eq!(rig.read(SIZE / 2, &whole(BLOCK)).map(drop), end, "{engine:?}");
        for rig in [&mut rig, &mut other] {
            work_on_what_was_cut(rig, CUT);
            for offset in [SIZE / 2, SIZE - BLOCK as u64] {
                assert_eq!(all_kinds(rig, offset, &whole(BLOCK)), [end; 3], "{engine:?}");
                assert_eq!(rig.change(OpKind::Unmap, offset, BLOCK as u64), end, "{engine:?}");
            }
            assert_eq!(std::fs::metadata(&place.path).unwrap().len(), CUT, "{engine:?}");
        }
        // As large as ever, and it is not what it was.
        place.resize(SIZE);
        assert_eq!(all_kinds(&mut rig, SIZE / 2, &whole(BLOCK)), [end; 3], "{engine:?}");
        let resized = bdev.resized().unwrap().expect("it was cut");
        assert!(resized.info().size() == SIZE && resized.resized().unwrap().is_none());
        let mut anew = Rig::new(&*resized);
        assert!(anew.read(SIZE - BLOCK as u64, &whole(BLOCK)).unwrap() == [0; BLOCK]);
        assert_eq!(all_kinds(&mut anew, SIZE / 2, &whole(BLOCK)), [Ok(()); 3], "{engine:?}");
        for rig in [rig, other, anew] {
            rig.close();
        }
    }
}

#[test]
fn a_look_at_the_size_and_a_range_of_zeroes_notice_a_cut() {
    for engine in [Engine::Uring, Engine::Threads] {
        for by_zeroes in [false, true] {
            let place = Place::on_disk(SIZE);
            let bdev = open(&place.path, engine);
            let mut rig = Rig::new(&bdev);
            place.resize(SIZE / 2);
            if by_zeroes {
                // It does not make the file grow, and the kernel has no objection.
                let zeroes = OpKind::WriteZeroes { unmap: false, fua: false };
                assert_eq!(rig.change(zeroes, SIZE - BLOCK as u64, BLOCK as u64), Err(IoError::BeyondEnd));
                assert_eq!(std::fs::metadata(&place.path).unwrap().len(), SIZE / 2, "{engine:?}");
            } else {
                assert_eq!(bdev.size_now().unwrap(), SIZE / 2);
            }
            place.resize(SIZE);
            assert_eq!(all_kinds(&mut rig, SIZE / 2, &whole(BLOCK)), [Err(IoError::BeyondEnd); 3], "{engine:?}");
            rig.close();
        }
    }
}

#[test]
fn a_thread_looks_before_it_writes() {
    let place = Place::on_disk(SIZE);
    let bdev = open(&place.path, Engine::Threads);
    let mut rig = Rig::new(&bdev);
    place.resize(SIZE / 2);
    assert_eq!(rig.write(WRITE, SIZE - BLOCK as u64, &whole(BLOCK), &[7; BLOCK]), Err(IoError::BeyondEnd));
    assert_eq!(std::fs::metadata(&place.path).unwrap().len(), SIZE / 2);
    rig.close();
}

#[test]
fn what_stands_around_a_file_takes_over_its_new_size() {
    let size_of = |bdev: &dyn Bdev| bdev.resized().unwrap().map(|bdev| (bdev.info().size(), bdev));
    for engine in [Engine::Uring, Engine::Threads] {
        let place = Place::on_tmpfs(SIZE);
        let file: Arc<dyn Bdev> = Arc::new(open(&place.path, engine));
        let harmless = Errors { rate: 0.0, ..Errors::all(IoError::Medium) };
        let late = DelayBdev::new(Arc::new(ErrorBdev::new(file.clone(), harmless)), Delays::all(Duration::ZERO));
        let part = SplitBdev::new(file, SIZE / 2, SIZE / 2).unwrap();
        assert!(size_of(&late).is_none() && size_of(&part).is_none());

        place.resize(2 * SIZE);
        let (size, larger) = size_of(&late).unwrap();
        assert!(size == 2 * SIZE && size_of(&*larger).is_none());
        assert!(size_of(&part).is_none(), "it is as large as ever");
        let mut rig = Rig::new(&*larger);
        rig.write(WRITE, SIZE, &whole(BLOCK), &[7; BLOCK]).unwrap();
        assert!(rig.read(SIZE, &whole(BLOCK)).unwrap() == [7; BLOCK]);
        rig.close();

        place.resize(SIZE * 3 / 4);
        assert_eq!(size_of(&*larger).unwrap().0, SIZE * 3 / 4);
        let (size, shorter) = size_of(&part).unwrap();
        assert_eq!(size, SIZE / 4);
        place.resize(SIZE);
        assert_eq!(size_of(&*shorter).unwrap().0, SIZE / 2, "as large as it was asked for");

        place.resize(SIZE + 100);
        assert!(matches!(late.resized().unwrap_err(), OpenError::Size { .. }));
        place.resize(SIZE / 2);
        assert!(matches!(part.resized().unwrap_err(), OpenError::Part { .. }));
        place.resize(0);
        assert!(matches!(late.resized().unwrap_err(), OpenError::Empty { .. }));
    }
}

#[test]
fn a_loop_device_that_loses_its_file_fails_and_the_other_disk_goes_on() {
    if !place::may("a loop device") {
        return;
    }
    for engine in [Engine::Uring, Engine::Threads] {
        let device = Loop::new(SIZE, 512);
        let bdev = open(&device.path, engine);
        let mut rig = Rig::new(&bdev);
        rig.write(WRITE, 0, &whole(SIZE as usize), &vec![7; SIZE as usize]).unwrap();
        let well_place = Place::on_tmpfs(SIZE);
        let well = open(&well_place.path, engine);
        let mut well_channel = well.channel(&mut rig.io).unwrap();
        // Its file shrinks to nothing: every sector is gone. A write would make the file grow again.
        let after = pull_under_load(&mut rig, false, || device.backing.resize(0));
        assert!(after.iter().any(|(_, result)| result.is_err()), "reads of what is gone fail");
        assert!(after.iter().all(|(_, result)| matches!(result, Ok(()) | Err(IoError::Medium))), "no other error");
        std::mem::swap(&mut rig.channel, &mut well_channel);
        rig.write(WRITE, 0, &whole(BLOCK), &[9; BLOCK]).unwrap();
        assert!(rig.read(0, &whole(BLOCK)).unwrap() == [9; BLOCK]);
        rig.channel.close(&mut rig.io);
        rig.channel = well_channel;
        rig.close();
    }
}

#[test]
fn a_loop_device_that_is_detached_ends_every_operation_and_shows_its_size() {
    if !place::may("a loop device") {
        return;
    }
    let device = Loop::new(SIZE, 512);
    let bdev = open(&device.path, Engine::Auto);
    let mut rig = Rig::new(&bdev);
    rig.write(WRITE, 0, &whole(SIZE as usize), &vec![7; SIZE as usize]).unwrap();
    // The kernel detaches it when its last user has gone: until then it serves on.
    let after = pull_under_load(&mut rig, true, || device.pull());
    assert!(!after.is_empty());
    rig.close();
}

#[test]
fn a_block_device_that_grows_is_noticed() {
    if !place::may("a loop device") {
        return;
    }
    let device = Loop::new(SIZE, 512);
    let bdev = open(&device.path, Engine::Auto);
    assert_eq!(bdev.size_now().unwrap(), SIZE);
    device.set_size(2 * SIZE);
    assert_eq!((bdev.size_now().unwrap(), bdev.info().size()), (2 * SIZE, SIZE));
}

/// What becomes of a read, a write and a range of zeroes.
fn all_kinds(rig: &mut Rig, offset: u64, layout: &Layout) -> [Result<(), IoError>; 3] {
    let zeroes = OpKind::WriteZeroes { unmap: false, fua: false };
    [
        rig.read(offset, layout).map(drop),
        rig.write(WRITE, offset, layout, &[7; BLOCK]),
        rig.change(zeroes, offset, BLOCK as u64),
    ]
}

#[test]
fn what_a_block_device_has_lost_is_behind_its_end_until_it_has_gone() {
    if !place::may("a loop device") {
        return;
    }
    let end = Err(IoError::BeyondEnd);
    for engine in [Engine::Uring, Engine::Threads] {
        let device = Loop::new(SIZE, 512);
        let bdev = open(&device.path, engine);
        let mut rig = Rig::new(&bdev);
        device.set_size(SIZE / 2);
        assert_eq!(bdev.size_now().unwrap(), SIZE / 2);
        let layouts = [whole(BLOCK), Layout { skew: 1, lengths: vec![BLOCK] }];
        for layout in &layouts {
            for offset in [SIZE / 2, SIZE - BLOCK as u64] {
                assert_eq!(all_kinds(&mut rig, offset, layout), [end; 3], "{engine:?}");
            }
            assert_eq!(all_kinds(&mut rig, 0, layout), [Ok(()); 3], "{engine:?}");
        }
        // As the kernel leaves a device that was pulled.
        device.set_size(0);
        for layout in &layouts {
            assert_eq!(all_kinds(&mut rig, 0, layout), [Err(IoError::Gone); 3], "{engine:?}");
        }
        rig.close();
    }
}

#[test]
fn a_block_device_is_served_once_and_not_while_it_is_mounted() {
    if !place::may("a loop device") {
        return;
    }
    if let Some(fs) = LoopFs::new("ext4", SIZE) {
        let mounted = FileBdev::open(fs.device(), FileOptions::default()).unwrap_err();
        assert!(matches!(mounted, OpenError::InUse { .. }), "{mounted}");
    }
    let device = Loop::new(SIZE, 512);
    let served = open(&device.path, Engine::Auto);
    let again = FileBdev::open(&device.path, FileOptions::default()).unwrap_err();
    assert!(matches!(again, OpenError::InUse { .. }), "{again}");
    assert!(again.to_string().contains("mounted"), "{again}");
    drop(served);
    let reads = FileOptions { read_only: true, ..FileOptions::default() };
    let both = [FileBdev::open(&device.path, reads).unwrap(), FileBdev::open(&device.path, reads).unwrap()];
    assert!(both.iter().all(|bdev| bdev.info().read_only && bdev.info().discard.is_none()));
}

#[test]
fn tells_what_the_queue_of_a_block_device_says() {
    if !place::may("a loop device") {
        return;
    }
    for sector in [512, 4096] {
        let device = Loop::new(SIZE, sector);
        let bdev = open(&device.path, Engine::Auto);
        let info = bdev.info();
        let discard = info.discard.expect("a loop device over tmpfs discards");
        assert!(discard.granularity >= sector && discard.max > 0 && !discard.zeroes, "{info:?}");
        assert!(info.write_zeroes_max > 0 && !info.thin, "{info:?}");
        assert_eq!((info.block_size, info.size()), (sector, SIZE));
    }
}

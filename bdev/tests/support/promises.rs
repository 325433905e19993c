//! What a block device promises, whatever serves it.

use std::collections::HashMap;

use bdev::{Bdev, IoConfig, IoError, OpKind, Tag};

use super::awkward::{Layout, layouts, ranges, ranges_past};
use super::memory::Memory;
use super::rig::{Ended, Rig, WRITE, WRITE_FUA};
use super::{Random, atomic, checks, space};

/// Size of the devices that tests make: holds the largest awkward range, is no power of two.
pub const SIZE: u64 = (4 << 20) + 5 * 4096;

/// Everything that a device which keeps data promises. It is full of zeroes, and of [`SIZE`] or a little larger.
pub fn keeps_its_promises(bdev: &dyn Bdev) {
    keeps_its_terms(bdev);
    let mut model = vec![0; bdev.info().size() as usize];
    let mut rig = Rig::new(bdev);
    read_all_as(&mut rig, &model);
    takes_awkward_ranges(bdev, &mut rig, &mut model);
    takes_memory_however_it_lies(bdev, &mut rig, &mut model);
    space::gives_space_back_and_writes_zeroes(bdev, &mut rig, &mut model);
    space::tells_where_space_is(bdev, &mut rig, &mut model);
    space::anchors(bdev, &mut rig, &mut model);
    agrees_with_a_model(bdev, &mut rig, &mut model);
    atomic::writes_whole_or_not_at_all(bdev, &mut rig, Some(&mut model));
    checks::verifies_and_compares(bdev, &mut rig, &model);
    read_all_as(&mut rig, &model);
    shows_one_core_what_another_wrote(bdev, &mut rig);
    rig.close();
}

/// What every device promises, even one that keeps nothing.
pub fn keeps_its_terms(bdev: &dyn Bdev) {
    let info = bdev.info();
    assert!(info.size() >= SIZE && !info.read_only, "{info:?}");
    assert!(u64::from(bdev::MAX_TRANSFER) >= info.size(), "the suite moves the whole device at once");
    assert!(!info.description.is_empty());
    let mut rig = Rig::new(bdev);
    refuses_ranges_past_its_end(bdev, &mut rig);
    space::says_what_it_cannot(bdev, &mut rig);
    ends_flush_fua_and_nothing_at_all(bdev, &mut rig);
    ends_each_operation_once_though_cancelled(bdev, &mut rig);
    rig.close();
    says_when_it_is_full_and_recovers(bdev);
}

pub fn whole(len: usize) -> Layout {
    Layout { skew: 0, lengths: vec![len] }
}

pub fn read_all_as(rig: &mut Rig, model: &[u8]) {
    let step = 1 << 20;
    for offset in (0..model.len()).step_by(step) {
        let part = &model[offset..model.len().min(offset + step)];
        let read = rig.read(offset as u64, &whole(part.len())).unwrap();
        assert!(read == part, "the device differs from the model within {offset}..{}", offset + part.len());
    }
}

fn takes_awkward_ranges(bdev: &dyn Bdev, rig: &mut Rig, model: &mut [u8]) {
    let block = u64::from(bdev.info().block_size);
    let mut random = Random::new(1);
    for (first, count) in ranges(bdev.info().blocks) {
        let (offset, len) = ((first * block) as usize, (count * block) as usize);
        random.fill(&mut model[offset..offset + len]);
        let bytes = &model[offset..offset + len];
        assert_eq!(rig.write(WRITE, offset as u64, &whole(len), bytes), Ok(()), "write {first}+{count}");
        assert!(rig.read(offset as u64, &whole(len)).unwrap() == bytes, "read {first}+{count}");
    }
    // Nothing outside the ranges was touched either.
    read_all_as(rig, model);
}

fn takes_memory_however_it_lies(bdev: &dyn Bdev, rig: &mut Rig, model: &mut [u8]) {
    let block = bdev.info().block_size as usize;
    let mut random = Random::new(2);
    for (first, count) in [(3, 1), (5, 8), (1, 64)] {
        let (offset, len) = (first * block, count * block);
        for layout in layouts(len) {
            random.fill(&mut model[offset..offset + len]);
            let bytes = &model[offset..offset + len];
            assert_eq!(rig.write(WRITE, offset as u64, &layout, bytes), Ok(()), "{layout:?}");
            assert!(rig.read(offset as u64, &whole(len)).unwrap() == bytes, "written from {layout:?}");
            assert!(rig.read(offset as u64, &layout).unwrap() == bytes, "read into {layout:?}");
        }
    }
    // One larger than a bounce buffer, at an odd address.
    let len = 700 * 1024;
    random.fill(&mut model[..len]);
    let odd = Layout { skew: 1, lengths: vec![len / 2 + 1, len - len / 2 - 1] };
    assert_eq!(rig.write(WRITE, 0, &odd, &model[..len]), Ok(()));
    assert!(rig.read(0, &odd).unwrap() == model[..len]);
    read_all_as(rig, model);
}

/// 10,000 random operations, many at a time, on ranges that do not overlap unless both only read.
fn agrees_with_a_model(bdev: &dyn Bdev, rig: &mut Rig, model: &mut [u8]) {
    struct Running {
        kind: OpKind,
        first: u64,
        count: u64,
    }
    let block = u64::from(bdev.info().block_size);
    let mut random = Random::new(3);
    let mut running: HashMap<Tag, Running> = HashMap::new();
    let mut started = 0;
    while started < 10_000 || !running.is_empty() {
        while started < 10_000 && running.len() < 48 {
            let kind = match random.below(100) {
                0 => OpKind::Flush,
                1 => WRITE_FUA,
                2..50 => WRITE,
                50..55 => space::that_zeroes(bdev.info(), &mut random),
                _ => OpKind::Read,
            };
            let count = if kind == OpKind::Flush { 0 } else { 1 + random.below(24) };
            let first = random.below(bdev.info().blocks - count);
            let clashes = |other: &Running| {
                first < other.first + other.count
                    && other.first < first + count
                    && (kind != OpKind::Read || other.kind != OpKind::Read)
            };
            if running.values().any(clashes) {
                break;
            }
            let range = (first * block) as usize..((first + count) * block) as usize;
            let moved = if kind.moves_data() { range.len() } else { 0 };
            let mut memory = Memory::new(&random_layout(&mut random, moved));
            let mut bytes = vec![0; moved];
            random.fill(&mut bytes);
            memory.put(&bytes);
            let offset = if kind == OpKind::Flush { 0 } else { first * block };
            // Full is no error: some operations need one of few buffers.
            let Ok(tag) = rig.submit_range(kind, offset, range.len() as u64, memory) else { break };
            match kind {
                OpKind::Write { .. } | OpKind::WriteAtomic { .. } => model[range].copy_from_slice(&bytes),
                OpKind::Unmap | OpKind::WriteZeroes { .. } => model[range].fill(0),
                _ => {}
            }
            running.insert(tag, Running { kind, first, count });
            started += 1;
        }
        for Ended { tag, result, memory } in rig.wait() {
            assert_eq!(result, Ok(()));
            let ended = running.remove(&tag).unwrap();
            if ended.kind == OpKind::Read {
                let range = (ended.first * block) as usize..((ended.first + ended.count) * block) as usize;
                assert!(memory.get() == model[range], "read {}+{}", ended.first, ended.count);
            }
        }
    }
}

fn random_layout(random: &mut Random, len: usize) -> Layout {
    if len == 0 {
        return Layout { skew: 0, lengths: vec![] };
    }
    match random.below(8) {
        0 => Layout { skew: random.below(4096) as usize, lengths: vec![len] },
        1 => Layout { skew: 0, lengths: vec![1, len - 1] },
        2..5 => Layout { skew: 0, lengths: vec![512; len / 512] },
        _ => whole(len),
    }
}

fn shows_one_core_what_another_wrote(bdev: &dyn Bdev, rig: &mut Rig) {
    let block = bdev.info().block_size as usize;
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut rig = Rig::new(bdev);
            rig.write(WRITE, 0, &whole(block), &vec![0x77; block]).unwrap();
            rig.close();
        });
        other.join().unwrap();
    });
    assert!(rig.read(0, &whole(block)).unwrap().iter().all(|byte| *byte == 0x77));
}

fn refuses_ranges_past_its_end(bdev: &dyn Bdev, rig: &mut Rig) {
    for (offset, len) in ranges_past(bdev.info().size(), u64::from(bdev.info().block_size)) {
        for kind in [OpKind::Read, WRITE, WRITE_FUA] {
            let (result, _) = rig.run(kind, offset, Memory::aligned(len as usize));
            assert_eq!(result, Err(IoError::BeyondEnd), "{kind:?} {offset}+{len}");
        }
    }
}

fn ends_flush_fua_and_nothing_at_all(bdev: &dyn Bdev, rig: &mut Rig) {
    let block = bdev.info().block_size as usize;
    rig.flush().unwrap();
    assert_eq!(rig.drain().pop().unwrap().result, Ok(()));
    assert_eq!(rig.write(WRITE_FUA, 0, &whole(block), &vec![0; block]), Ok(()));
    for offset in [0, bdev.info().size()] {
        for kind in [OpKind::Read, WRITE] {
            assert_eq!(rig.run(kind, offset, Memory::aligned(0)).0, Ok(()), "no bytes at {offset}");
        }
    }
}

fn ends_each_operation_once_though_cancelled(bdev: &dyn Bdev, rig: &mut Rig) {
    let block = bdev.info().block_size as usize;
    for handed_over in [false, true] {
        let mut tags = Vec::new();
        for at in 0..64_u64 {
            let kind = if at % 3 == 0 { OpKind::Read } else { WRITE };
            let mut memory = Memory::aligned(block);
            memory.put(&vec![0; block]);
            let Ok(tag) = rig.submit(kind, at * block as u64, memory) else { panic!("there is room for 64") };
            tags.push(tag);
        }
        tags.push(rig.flush().unwrap());
        if handed_over {
            rig.io.submit();
        }
        for tag in &tags {
            rig.cancel(*tag);
            rig.cancel(*tag);
        }
        rig.cancel(Tag(u64::MAX));
        let ended = rig.drain();
        // That no tag ends twice is the rig's own check.
        assert_eq!(ended.len(), tags.len());
        assert!(ended.iter().all(|one| matches!(one.result, Ok(()) | Err(IoError::Cancelled))));
        assert!(rig.pass().is_empty());
    }
}

fn says_when_it_is_full_and_recovers(bdev: &dyn Bdev) {
    let block = bdev.info().block_size as usize;
    let mut rig = Rig::with(bdev, IoConfig { entries: 4, reserve: 2, bounce_buffers: 1, ..IoConfig::default() });
    for layout in [whole(block), Layout { skew: 1, lengths: vec![block] }] {
        for _ in 0..3 {
            let mut accepted = 0;
            while rig.submit(OpKind::Read, 0, Memory::new(&layout)).is_ok() {
                accepted += 1;
            }
            assert!((2..=4).contains(&accepted), "{accepted} of 4: its own and half of the rest");
            assert_eq!(rig.drain().len(), accepted);
        }
    }
    rig.close();
}

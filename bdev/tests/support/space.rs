//! What devices promise of space: to give it back, to make it zero, to tell where it is.

use bdev::{Bdev, Extent, Info, IoError, OpKind, Provision};

use super::Random;
use super::awkward::{ranges, ranges_past};
use super::memory::Memory;
use super::promises::{read_all_as, whole};
use super::rig::{Rig, WRITE};

const ZEROES: [OpKind; 4] = [
    OpKind::WriteZeroes { unmap: false, fua: false },
    OpKind::WriteZeroes { unmap: true, fua: false },
    OpKind::WriteZeroes { unmap: false, fua: true },
    OpKind::WriteZeroes { unmap: true, fua: true },
];

/// A kind of operation after which the range reads as zeroes; reads if the device has none.
pub fn that_zeroes(info: &Info, random: &mut Random) -> OpKind {
    let unmaps = info.discard.is_some_and(|discard| discard.zeroes);
    match random.below(5) {
        0 if unmaps => OpKind::Unmap,
        kind if info.write_zeroes_max > 0 => ZEROES[kind as usize % ZEROES.len()],
        _ => OpKind::Read,
    }
}

/// Even those that cannot do an operation on space end it, and those that can stay within their ends.
pub fn says_what_it_cannot(bdev: &dyn Bdev, rig: &mut Rig) {
    let info = bdev.info();
    for kind in ZEROES.into_iter().chain([OpKind::Unmap, OpKind::Extents]) {
        for (offset, len) in ranges_past(info.size(), u64::from(info.block_size)) {
            assert_eq!(rig.change(kind, offset, len), Err(IoError::BeyondEnd), "{kind:?} {offset}+{len}");
        }
        assert_eq!(rig.change(kind, info.size(), 0), Ok(()), "{kind:?} of nothing");
    }
    let block = u64::from(info.block_size);
    let [fetched, past] = [0, info.size()].map(|at| rig.change(OpKind::Prefetch, at, block));
    assert_eq!((fetched.is_ok(), past), (info.prefetch, Err(IoError::BeyondEnd)));
    assert_eq!(rig.change(OpKind::Unmap, 0, block).is_ok(), info.discard.is_some());
    if info.write_zeroes_max > 0 {
        assert_eq!(rig.change(ZEROES[0], 0, block), Ok(()));
    }
}

/// Ranges that a device takes in one operation, in bytes.
fn ranges_up_to(info: &Info, max: u64) -> Vec<(u64, u64)> {
    let block = u64::from(info.block_size);
    let ranges = ranges(info.blocks).into_iter().map(|(first, count)| (first * block, count * block));
    ranges.filter(|(_, len)| *len <= max).collect()
}

pub fn gives_space_back_and_writes_zeroes(bdev: &dyn Bdev, rig: &mut Rig, model: &mut [u8]) {
    let info = bdev.info();
    let mut random = Random::new(4);
    for kind in ZEROES {
        for (offset, len) in ranges_up_to(info, info.write_zeroes_max) {
            let range = offset as usize..(offset + len) as usize;
            refill(rig, &mut random, offset, &mut model[range.clone()]);
            assert_eq!(rig.change(kind, offset, len), Ok(()), "{kind:?} {offset}+{len}");
            model[range.clone()].fill(0);
            assert!(rig.read(offset, &whole(range.len())).unwrap() == model[range], "{kind:?} {offset}+{len}");
        }
        read_all_as(rig, model);
    }
    let Some(discard) = info.discard else { return };
    for (offset, len) in ranges_up_to(info, discard.max) {
        let range = offset as usize..(offset + len) as usize;
        refill(rig, &mut random, offset, &mut model[range.clone()]);
        assert_eq!(rig.change(OpKind::Unmap, offset, len), Ok(()), "unmap {offset}+{len}");
        model[range.clone()].fill(0);
        if discard.zeroes {
            assert!(rig.read(offset, &whole(range.len())).unwrap() == model[range], "unmap {offset}+{len}");
        } else {
            // What is there now nobody says, but a write counts.
            refill(rig, &mut random, offset, &mut model[range]);
        }
    }
    read_all_as(rig, model);
}

fn refill(rig: &mut Rig, random: &mut Random, offset: u64, model: &mut [u8]) {
    random.fill(model);
    assert_eq!(rig.write(WRITE, offset, &whole(model.len()), model), Ok(()));
}

/// What is anchored reads as zeroes, says what it is, and is a hole again when it is given back.
pub fn anchors(bdev: &dyn Bdev, rig: &mut Rig, model: &mut [u8]) {
    let (mut random, block) = (Random::new(5), u64::from(bdev.info().block_size));
    if !bdev.info().anchor {
        assert_eq!(rig.change(OpKind::Anchor { fua: false }, 0, block), Err(IoError::Unsupported));
        return;
    }
    for (offset, len) in ranges_up_to(bdev.info(), 1 << 20) {
        let range = offset as usize..(offset + len) as usize;
        refill(rig, &mut random, offset, &mut model[range.clone()]);
        assert_eq!(rig.change(OpKind::Anchor { fua: len % 1024 == 0 }, offset, len), Ok(()), "{offset}+{len}");
        model[range.clone()].fill(0);
        assert!(rig.read(offset, &whole(range.len())).unwrap() == model[range], "{offset}+{len}");
    }
    read_all_as(rig, model);
    // Whole pages of the device inside, wherever a part of it begins.
    let (offset, len) = (1 << 20, 256 << 10);
    let inner = (offset + 65536, len - 2 * 65536);
    let becomes = |rig: &mut Rig, kind, provision| {
        assert_eq!(rig.change(kind, offset, len), Ok(()));
        assert_eq!(extents(rig, inner.0, inner.1, 8), [(inner.1, provision)], "{kind:?}");
    };
    becomes(rig, OpKind::Unmap, Provision::Deallocated);
    becomes(rig, OpKind::Anchor { fua: false }, Provision::Anchored);
    model[offset as usize..(offset + len) as usize].fill(0);
    refill(rig, &mut random, offset, &mut model[offset as usize..(offset + len) as usize]);
    assert_eq!(extents(rig, inner.0, inner.1, 8), [(inner.1, Provision::Mapped)], "written");
    becomes(rig, OpKind::Anchor { fua: true }, Provision::Anchored);
    model[offset as usize..(offset + len) as usize].fill(0);
    read_all_as(rig, model);
}

/// Extents as `(length, what space there is)`, of which there is room for `room`.
fn extents(rig: &mut Rig, offset: u64, len: u64, room: usize) -> Vec<(u64, Provision)> {
    let mut memory = Memory::new(&whole(room * Extent::LEN + 7));
    memory.put(&vec![0xee; room * Extent::LEN + 7]);
    let (result, memory) = rig.run_range(OpKind::Extents, offset, len, memory);
    result.unwrap();
    let bytes = memory.get();
    let list = bytes.as_chunks().0.iter().map(Extent::from_bytes);
    list.take_while(|extent| extent.len > 0).map(|extent| (extent.len, extent.provision)).take(room).collect()
}

pub fn tells_where_space_is(bdev: &dyn Bdev, rig: &mut Rig, model: &mut [u8]) {
    let size = bdev.info().size();
    if rig.change(OpKind::Extents, 0, size) == Err(IoError::Unsupported) {
        return;
    }
    let step = 256 << 10;
    assert_eq!(rig.write(WRITE, step, &whole(2 * step as usize), &vec![5; 2 * step as usize]), Ok(()));
    model[step as usize..3 * step as usize].fill(5);
    assert_eq!(extents(rig, step, step, 2), [(step, Provision::Mapped)]);
    let block = u64::from(bdev.info().block_size);
    assert_eq!(extents(rig, 2 * step - block, block, 8), [(block, Provision::Mapped)], "within an extent");
    if bdev.info().discard.is_some_and(|discard| discard.zeroes) {
        // Space for data, a hole, and space again.
        let hole = (step + step / 2).next_multiple_of(64 << 10);
        finds_a_hole(rig, hole, 64 << 10, step);
        model[hole as usize..hole as usize + (64 << 10)].fill(0);
    }
    let all = extents(rig, 0, size, 4096);
    assert!(all.iter().map(|(len, _)| len).sum::<u64>() <= size);
    assert!(all.iter().zip(&all[1..]).all(|(one, next)| one.1 != next.1 || all.len() == 1), "{all:?}");
    assert_eq!(extents(rig, 0, size, 1), all[..1], "room for one");
}

fn finds_a_hole(rig: &mut Rig, hole: u64, len: u64, step: u64) {
    assert_eq!(rig.change(OpKind::Unmap, hole, len), Ok(()));
    let found = extents(rig, step, 2 * step, 8);
    let kinds: Vec<_> = found.iter().map(|(_, provision)| *provision).collect();
    assert_eq!(kinds, [Provision::Mapped, Provision::Deallocated, Provision::Mapped], "{found:?}");
    // A part begins anywhere within a page of what is inside.
    assert!(found[1].0 + 2 * 4096 > len && found[1].0 <= len, "{found:?}");
}

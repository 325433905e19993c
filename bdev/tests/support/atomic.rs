//! Writes that are done as a whole or not at all, of every shape that a device takes, and of those that it does not.

use bdev::{Atomic, Bdev, IoError, OpKind};

use super::Random;
use super::awkward::{Layout, layouts};
use super::promises::{SIZE, whole};
use super::rig::Rig;

const ATOMIC: OpKind = OpKind::WriteAtomic { fua: false };
const ATOMIC_FUA: OpKind = OpKind::WriteAtomic { fua: true };

/// Lengths and offsets that `atomic` allows, the shortest and the longest among them.
fn shapes(atomic: &Atomic) -> Vec<(u64, u64)> {
    let (unit, max) = (u64::from(atomic.unit), u64::from(atomic.max));
    let lengths = [unit, 2 * unit, 3 * unit, max / 2, max - unit, max];
    let offsets = [0, unit, 3 * unit, max, 5 * max, 7 * max + unit];
    let all = offsets.into_iter().flat_map(|offset| lengths.map(|len| (offset, len)));
    all.filter(|&(offset, len)| atomic.check(offset, len).is_ok() && offset + len <= SIZE).collect()
}

/// `model` is what the device holds, where it keeps anything.
pub fn writes_whole_or_not_at_all(bdev: &dyn Bdev, rig: &mut Rig, mut model: Option<&mut [u8]>) {
    let block = bdev.info().block_size as usize;
    let Some(atomic) = bdev.info().atomic else {
        assert_eq!(rig.write(ATOMIC, 0, &whole(block), &vec![0; block]), Err(IoError::Unsupported));
        return;
    };
    assert!(atomic.unit as usize >= block && atomic.max >= atomic.unit, "{atomic:?}");
    let mut random = Random::new(8);
    for (offset, len) in shapes(&atomic) {
        let mut bytes = vec![0; len as usize];
        let pieces = vec![len as usize / 2 + 1, len as usize - len as usize / 2 - 1];
        let odd = Layout { skew: 1, lengths: pieces };
        for (turn, layout) in layouts(len as usize).into_iter().chain([odd]).enumerate() {
            random.fill(&mut bytes);
            let kind = if turn % 2 == 0 { ATOMIC } else { ATOMIC_FUA };
            assert_eq!(rig.write(kind, offset, &layout, &bytes), Ok(()), "{len} at {offset}, {layout:?}");
            if model.is_some() {
                assert!(rig.read(offset, &whole(len as usize)).unwrap() == bytes, "{len} at {offset}, {layout:?}");
            }
        }
        if let Some(model) = &mut model {
            model[offset as usize..(offset + len) as usize].copy_from_slice(&bytes);
        }
    }
    let (unit, max) = (u64::from(atomic.unit), u64::from(atomic.max));
    let mut misfits = vec![(0, max + block as u64)];
    misfits.extend(atomic.natural.then_some((0, 3 * unit)));
    misfits.extend((atomic.natural && max >= 2 * unit).then_some((unit, 2 * unit)));
    misfits.extend((unit > block as u64).then_some((0, block as u64)));
    for (offset, len) in misfits.into_iter().filter(|(offset, len)| offset + len <= SIZE) {
        let refused = rig.write(ATOMIC, offset, &whole(len as usize), &vec![0xff; len as usize]);
        assert_eq!(refused, Err(IoError::Misfit), "{len} at {offset}");
    }
    assert_eq!(rig.write(ATOMIC, bdev.info().size(), &whole(block), &vec![0; block]), Err(IoError::BeyondEnd));
    assert_eq!(rig.write(ATOMIC, 0, &whole(0), &[]), Ok(()), "nothing at all");
}

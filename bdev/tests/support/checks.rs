//! What a device that verifies and compares itself makes of blocks, however the memory lies.

use bdev::{Bdev, IoError, OpKind};

use super::awkward::layouts;
use super::memory::Memory;
use super::promises::SIZE;
use super::rig::Rig;

/// `model` is what the device holds.
pub fn verifies_and_compares(bdev: &dyn Bdev, rig: &mut Rig, model: &[u8]) {
    let info = bdev.info();
    let block = u64::from(info.block_size);
    let verified = rig.change(OpKind::Verify, 0, SIZE.min(info.verify_max.max(block)));
    assert_eq!(verified, if info.verify_max > 0 { Ok(()) } else { Err(IoError::Unsupported) });
    assert_eq!(rig.change(OpKind::Verify, info.size(), block), Err(IoError::BeyondEnd));
    let at = 3 * info.block_size as usize;
    let mut compare = |memory| rig.run(OpKind::Compare, at as u64, memory).0;
    for len in [block as usize, 64 * block as usize] {
        for layout in layouts(len) {
            let mut memory = Memory::new(&layout);
            let mut bytes = model[at..at + len].to_vec();
            memory.put(&bytes);
            let same = compare(memory);
            if !info.compare {
                return assert_eq!(same, Err(IoError::Unsupported));
            }
            assert_eq!(same, Ok(()), "{len}, {layout:?}");
            bytes[len - 1] ^= 1;
            let mut memory = Memory::new(&layout);
            memory.put(&bytes);
            assert_eq!(compare(memory), Err(IoError::Miscompare), "{len}, {layout:?}");
        }
    }
}

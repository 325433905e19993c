//! Memory of a pretended guest: cut into segments with gaps between them that nobody may write.
#![allow(unsafe_code)]

use bdev::{Segment, SegmentSlice};

use super::arena::Store;
use super::awkward::Layout;

const PAGE: usize = 4096;
const GAP: usize = 16;
const GUARD: u8 = 0xa5;

/// Buffers of one operation. Stays in place until dropped.
pub struct Memory {
    store: Store,
    /// `(start in the store, length)` of each segment.
    pieces: Vec<(usize, usize)>,
    list: Vec<Segment>,
}

impl Memory {
    pub fn new(layout: &Layout) -> Self {
        let total: usize = layout.lengths.iter().sum();
        // A list that starts aligned has each segment start so, whatever the lengths.
        let step = if layout.skew.is_multiple_of(512) { 512 } else { 1 };
        let store = Store::new(total + layout.lengths.len() * (GAP + step) + 3 * PAGE, GUARD);
        let page = store.base().as_ptr().wrapping_add(GAP).align_offset(PAGE) + GAP;
        let mut at = layout.skew;
        let mut pieces = Vec::new();
        for len in &layout.lengths {
            pieces.push((page + at, *len));
            at = (at + len + GAP).next_multiple_of(step);
        }
        let base = store.base();
        let list = pieces
            .iter()
            .map(|(start, len)| {
                assert!(start + len + GAP <= store.len());
                // SAFETY: within the store, which lives as long as the list and does not move.
                unsafe { Segment::new(base.add(*start), *len) }
            })
            .collect();
        Self { store, pieces, list }
    }

    /// One piece of `len` bytes at the start of a page.
    pub fn aligned(len: usize) -> Self {
        Self::new(&Layout { skew: 0, lengths: vec![len] })
    }

    pub fn segments(&self) -> SegmentSlice {
        // SAFETY: the rig keeps the memory until the operation has completed.
        unsafe { SegmentSlice::new(&self.list) }
    }

    pub fn len(&self) -> usize {
        self.pieces.iter().map(|(_, len)| len).sum()
    }

    pub fn put(&mut self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.len());
        assert_eq!(bdev::segment::copy_to(&self.list, 0, bytes), bytes.len());
    }

    pub fn get(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len()];
        assert_eq!(bdev::segment::copy_from(&self.list, 0, &mut bytes), bytes.len());
        bytes
    }

    /// Panics if a byte next to a segment was written.
    pub fn check_gaps(&self) {
        for (start, len) in self.pieces.iter().copied().filter(|(_, len)| *len > 0) {
            let (before, after) = (start - GAP..start, start + len..start + len + GAP);
            // Volatile, as the kernel writes behind the compiler's back.
            // SAFETY: within the store.
            let byte = |at| unsafe { self.store.base().add(at).read_volatile() };
            let intact = before.chain(after).all(|at| byte(at) == GUARD);
            assert!(intact, "bytes next to a segment were written");
        }
    }
}

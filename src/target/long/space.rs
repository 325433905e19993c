//! Memory of a long command, and the list of segments of its operation.
//!
//! While an operation has them, they belong to the kernel: they are neither touched nor freed. Should the process end
//! meanwhile, they stay for ever.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use bdev::{Segment, SegmentSlice};
use zerocopy::{FromBytes, IntoBytes};

use crate::scsi::OpMemory;
use crate::virtio_scsi::Pieces;

use super::claims::Lease;

/// Memory that direct I/O takes as it lies.
#[derive(Debug, Clone, FromBytes, IntoBytes)]
#[repr(C, align(4096))]
struct Page([u8; 4096]);

/// Memory and segments of one command.
#[derive(Debug)]
pub(crate) struct Space {
    pages: Vec<Page>,
    len: usize,
    list: Vec<Segment>,
    is_lent: bool,
    _lease: Lease,
}

impl Space {
    /// `len` zero bytes.
    pub(crate) fn new(len: usize, lease: Lease) -> Self {
        let pages = vec![Page([0; 4096]); len.div_ceil(size_of::<Page>())];
        Self { pages, len, list: Vec::new(), is_lent: false, _lease: lease }
    }

    /// The bytes.
    ///
    /// # Panics
    /// If an operation has them.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        assert!(!self.is_lent, "no step is done while an operation is in flight");
        &mut self.pages.as_mut_bytes()[..self.len]
    }

    /// Makes the list for an operation of `op_len` bytes, of which those in the initiator's buffer are in `data`.
    ///
    /// # Panics
    /// If an operation has the last one. If a task names bytes of its own that it does not have.
    pub(crate) fn prepare(&mut self, memory: OpMemory, op_len: u64, data: &[Segment]) {
        assert!(!self.is_lent, "a command has one operation at a time");
        self.list.clear();
        match memory {
            OpMemory::Without => {}
            OpMemory::Data(at) => self.list.extend(Pieces::new(data, at, op_len)),
            OpMemory::Own { at, len } => {
                let bytes = &mut self.bytes()[at..at + len];
                let base = NonNull::new(bytes.as_mut_ptr()).expect("a slice has an address");
                // SAFETY: the pages neither move nor are they freed before the drop of this value, which leaks them if an
                // operation has them then; nobody else touches them meanwhile (see `bytes`).
                self.list.push(unsafe { Segment::new(base, len) });
            }
        }
    }

    /// The list, for an operation that has it until [`Space::take_back`].
    pub(crate) fn lend(&mut self) -> SegmentSlice {
        self.is_lent = true;
        // SAFETY: the list is changed by `prepare` alone, which refuses while it is lent, and leaked if it is lent at the
        // drop. What the segments point to stays as long: our own pages, or the guest's memory that the slot holds on to.
        unsafe { SegmentSlice::new(&self.list) }
    }

    /// The operation has come to its end, or was not accepted.
    pub(crate) fn take_back(&mut self) {
        self.is_lent = false;
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        if self.is_lent {
            std::mem::forget(std::mem::take(&mut self.pages));
            std::mem::forget(std::mem::take(&mut self.list));
        }
    }
}

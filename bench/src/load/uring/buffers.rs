//! Memory that the kernel reads and writes: a buffer for each slot, each on pages of its own.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use anyhow::{Context, Result};
use rustix::mm::{MapFlags, ProtFlags};

const PAGE: usize = 4096;

/// Page-aligned buffers of one size.
#[derive(Debug)]
pub(super) struct Buffers {
    base: NonNull<u8>,
    stride: usize,
    count: usize,
}

// SAFETY: plain memory; nobody but the kernel touches it.
unsafe impl Send for Buffers {}

impl Buffers {
    /// `count` buffers of at least `len` bytes, all there from the beginning.
    ///
    /// # Errors
    /// There is not so much memory.
    pub(super) fn new(count: usize, len: usize) -> Result<Self> {
        let stride = len.next_multiple_of(PAGE);
        let (flags, access) = (MapFlags::PRIVATE | MapFlags::POPULATE, ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), stride * count, access, flags) };
        let base = NonNull::new(base.context("no memory for buffers")?.cast()).expect("a mapping is never at 0");
        Ok(Self { base, stride, count })
    }

    /// Where the buffer of a slot begins.
    #[inline]
    pub(super) fn at(&self, slot: u16) -> *mut u8 {
        self.base.as_ptr().wrapping_add(usize::from(slot) * self.stride)
    }

    /// All of them, as the kernel wants to know them.
    pub(super) fn slices(&self) -> Vec<libc::iovec> {
        let base = self.base.as_ptr();
        let slice =
            |index| libc::iovec { iov_base: base.wrapping_add(index * self.stride).cast(), iov_len: self.stride };
        (0..self.count).map(slice).collect()
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; nothing is in flight, see the ring's own drop.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.stride * self.count) };
    }
}

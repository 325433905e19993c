//! Anonymous memory straight from the kernel: zeroed, aligned to pages, and only there once it is touched.
//!
//! Owns the mapping and gives it back when dropped. The stores of `mem` disks and the bounce buffers of a core are made
//! of it. Segments of a mapping are handed only to code of this crate that keeps the mapping beside them.
#![allow(unsafe_code)]

use std::{io, ptr::NonNull};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::segment::Segment;

/// Memory of our own.
#[derive(Debug)]
pub(crate) struct Mapping {
    whole: Segment,
}

impl Mapping {
    /// `len` bytes of zeroes, on no page until touched, not counted against the commit limit.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses the address, so that no memory in use is replaced.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let base = NonNull::new(base.cast()).expect("mmap never returns null without MAP_FIXED");
        // SAFETY: readable and writable until `drop`, and whoever takes a part keeps the mapping (see the module).
        Ok(Self { whole: unsafe { Segment::new(base, len) } })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.whole.len()
    }

    /// The `len` bytes at `at`.
    ///
    /// # Panics
    /// If they are not within the mapping.
    pub(crate) fn part(&self, at: usize, len: usize) -> Segment {
        self.whole.split_at(at).1.split_at(len).0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, whole, and its parts are not used after their owner, which holds it, is gone.
        if let Err(error) = unsafe { munmap(self.whole.as_ptr().cast(), self.whole.len()) } {
            tracing::error!(%error, "could not give memory back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_aligned_and_writable_to_its_last_byte() {
        let mapping = Mapping::new(8192).unwrap();
        let last = mapping.part(8191, 1);
        let mut byte = [1];
        last.read(0, &mut byte);
        assert_eq!(byte, [0]);
        last.write(0, &[7]);
        mapping.part(4096, 4096).read(4095, &mut byte);
        assert_eq!(byte, [7]);
        assert_eq!(mapping.part(0, 1).as_ptr().addr() % 4096, 0);
    }

    #[test]
    #[should_panic(expected = "at <= self.len")]
    fn gives_no_part_past_its_end() {
        Mapping::new(4096).unwrap().part(4096, 1);
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        assert!(Mapping::new(usize::MAX / 2).is_err());
        assert!(Mapping::new(0).is_err());
    }
}

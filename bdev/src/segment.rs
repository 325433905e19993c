//! Pieces of host memory that hold the data of an operation: the guest's own memory, never a copy of it.
//!
//! A [`Segment`] is made in one place, where memory is mapped, by somebody who promises that it stays mapped while the
//! segment can be used. The quiesce protocol keeps that promise; everything here builds on it.
#![allow(unsafe_code)]

use std::ptr::NonNull;

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;
/// Most bytes that [`Segment::prefetch_ahead`] asks for. What follows the processor fetches by itself: it has seen the pattern.
const AHEAD_MAX: usize = 4096;

/// One piece of host memory. Has the layout of `struct iovec`, so that an array of them is a vectored buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a segment is an address and a length; whoever made it promised that the memory outlives its use, on any
// thread. The memory is shared with the guest anyway, so that no access to it is exclusive.
unsafe impl Send for Segment {}
// SAFETY: as above; shared segments only allow copies of bytes, which are no stronger than what the guest does.
unsafe impl Sync for Segment {}

impl Segment {
    /// A segment of `len` bytes at `base`.
    ///
    /// # Safety
    /// The memory must stay mapped, readable (and writable, if the segment is to be written) for as long as the segment,
    /// or any copy of it, is used.
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// A segment of no bytes: fills unused places of preallocated lists.
    pub const EMPTY: Self = Self { base: NonNull::dangling(), len: 0 };

    /// Address of the first byte.
    pub const fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no byte.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes before `at` and those from `at` on.
    ///
    /// # Panics
    /// If `at` is past the end: lengths were checked when the segment was cut.
    pub const fn split_at(self, at: usize) -> (Self, Self) {
        assert!(at <= self.len);
        // SAFETY: `at` is within the segment, so the pointer stays inside the same mapping (or one past its end).
        let tail = unsafe { self.base.add(at) };
        (Self { base: self.base, len: at }, Self { base: tail, len: self.len - at })
    }

    /// As [`Segment::read`], where the length is known when it is compiled.
    ///
    /// # Panics
    /// If the range is past the end.
    #[inline]
    pub fn read_array<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.read(at, &mut bytes);
        bytes
    }

    /// Copies out of the segment, from byte `at`. The guest may write the memory meanwhile: read each byte once.
    ///
    /// # Panics
    /// If the range is past the end.
    #[inline]
    pub fn read(&self, at: usize, into: &mut [u8]) {
        assert!(at <= self.len && into.len() <= self.len - at);
        // SAFETY: the range was checked and the maker of the segment keeps it mapped; `into` is our own memory.
        unsafe {
            std::ptr::copy_nonoverlapping(self.as_ptr().add(at), into.as_mut_ptr(), into.len());
        }
    }

    /// Copies into the segment, at byte `at`.
    ///
    /// # Panics
    /// If the range is past the end.
    #[inline]
    pub fn write(&self, at: usize, from: &[u8]) {
        assert!(at <= self.len && from.len() <= self.len - at);
        // SAFETY: the range was checked and the maker of the segment keeps it mapped; `from` is our own memory.
        unsafe {
            std::ptr::copy_nonoverlapping(from.as_ptr(), self.as_ptr().add(at), from.len());
        }
    }

    /// Copies all of `from` into the segment, at byte `at`. Either may change meanwhile: each byte is read once.
    ///
    /// # Panics
    /// If the range is past the end.
    #[inline]
    pub fn copy_from_segment(&self, at: usize, from: &Self) {
        assert!(at <= self.len && from.len <= self.len - at);
        // SAFETY: both ranges are mapped, by the promise of their makers; `copy` allows them to overlap.
        unsafe { std::ptr::copy(from.as_ptr(), self.as_ptr().add(at), from.len) }
    }

    /// Asks the processor for the first cache line, which is going to be read. A hint that never faults.
    #[inline]
    pub fn prefetch_read(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a prefetch has no effect but on caches, whatever the address.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.as_ptr().cast());
        }
    }

    /// As [`Segment::prefetch_read`], for the line of the last byte of a segment that has some.
    #[inline]
    pub fn prefetch_last(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as in `prefetch_read`.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(self.as_ptr().wrapping_add(self.len.wrapping_sub(1)).cast());
        }
    }

    /// Asks the processor to bring the first 4 KiB as far as its second cache: they are touched soon, but not next,
    /// and the first cache has better use for its room and for its few misses at a time. A hint that never faults.
    #[inline]
    pub fn prefetch_ahead(&self) {
        #[cfg(target_arch = "x86_64")]
        for at in (0..self.len.min(AHEAD_MAX)).step_by(CACHE_LINE) {
            // SAFETY: as in `prefetch_read`; the address is within the segment.
            unsafe {
                use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
                _mm_prefetch::<_MM_HINT_T1>(self.as_ptr().add(at).cast());
            }
        }
    }

    /// Asks the processor for the first cache line, which is going to be written: no other one keeps it. A hint that
    /// never faults.
    #[inline]
    pub fn prefetch_write(&self) {
        prefetch_write(self.as_ptr());
    }

    /// Sets every byte to `value`.
    pub fn fill(&self, value: u8) {
        // SAFETY: the whole segment is mapped, by the promise of its maker.
        unsafe { std::ptr::write_bytes(self.as_ptr(), value, self.len) }
    }
}

/// Asks the processor for the cache line at `address`, whatever is there, which is going to be written. A hint that never faults.
#[inline(always)]
pub fn prefetch_write(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on caches. A processor without this instruction does nothing for it.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
}

/// A list of segments that lives in the caller's preallocated storage until its operation has completed.
///
/// The kernel and wrappers look at it after `submit` has returned, so that a borrow cannot describe its life.
#[derive(Debug, Clone, Copy)]
pub struct SegmentSlice {
    first: NonNull<Segment>,
    count: usize,
}

// SAFETY: an address and a count; the maker keeps the storage in place until the completion (see `new`).
unsafe impl Send for SegmentSlice {}

impl SegmentSlice {
    /// No segments.
    pub const EMPTY: Self = Self { first: NonNull::dangling(), count: 0 };

    /// The segments of `list`.
    ///
    /// # Safety
    /// `list` must neither move, change nor be freed until the operation that it is given to has completed.
    pub const unsafe fn new(list: &[Segment]) -> Self {
        Self {
            // SAFETY: a slice's pointer is never null.
            first: unsafe { NonNull::new_unchecked(list.as_ptr().cast_mut()) },
            count: list.len(),
        }
    }

    /// The segments.
    pub const fn as_slice(&self) -> &[Segment] {
        // SAFETY: by the promise given to `new`.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }

    /// Sum of the lengths in bytes.
    pub fn total_len(&self) -> u64 {
        total_len(self.as_slice())
    }
}

/// Sum of the lengths in bytes.
pub fn total_len(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| segment.len as u64).sum()
}

/// Copies out of `segments`, from byte `offset` of all of them together. Returns the number of bytes copied, which is
/// less than asked for where the segments end.
pub fn copy_from(segments: &[Segment], offset: u64, into: &mut [u8]) -> usize {
    let mut done = 0;
    walk(segments, offset, into.len(), |segment, at, len| {
        segment.read(at, &mut into[done..done + len]);
        done += len;
    });
    done
}

/// Copies into `segments`, at byte `offset` of all of them together. Returns the number of bytes copied, which is less
/// than given where the segments end.
pub fn copy_to(segments: &[Segment], offset: u64, from: &[u8]) -> usize {
    let mut done = 0;
    walk(segments, offset, from.len(), |segment, at, len| {
        segment.write(at, &from[done..done + len]);
        done += len;
    });
    done
}

/// Collects bytes from `offset` of all `segments` together into `into`, until that is full or they end. Returns the number
/// of bytes copied.
pub fn gather(segments: &[Segment], offset: u64, into: &Segment) -> usize {
    let mut done = 0;
    walk(segments, offset, into.len, |segment, at, len| {
        into.copy_from_segment(done, &segment.split_at(at).1.split_at(len).0);
        done += len;
    });
    done
}

/// Spreads the bytes of `from` over `segments`, from byte `offset` of all of them together, until either ends. Returns the
/// number of bytes copied.
pub fn scatter(segments: &[Segment], offset: u64, from: &Segment) -> usize {
    let mut done = 0;
    walk(segments, offset, from.len, |segment, at, len| {
        segment.copy_from_segment(at, &from.split_at(done).1.split_at(len).0);
        done += len;
    });
    done
}

/// Calls `visit(segment, at, len)` for each piece of the `len` bytes at `offset`.
fn walk(segments: &[Segment], offset: u64, len: usize, mut visit: impl FnMut(&Segment, usize, usize)) {
    let mut skip = offset;
    let mut left = len;
    for segment in segments {
        if left == 0 {
            break;
        }
        if skip >= segment.len as u64 {
            skip -= segment.len as u64;
            continue;
        }
        let at = skip as usize;
        let part = left.min(segment.len - at);
        visit(segment, at, part);
        left -= part;
        skip = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment_of(bytes: &mut [u8]) -> Segment {
        // SAFETY: the tests keep `bytes` alive while they use the segment.
        unsafe { Segment::new(NonNull::new(bytes.as_mut_ptr()).unwrap(), bytes.len()) }
    }

    #[test]
    fn has_the_layout_of_an_iovec() {
        assert_eq!(size_of::<Segment>(), size_of::<libc::iovec>());
        assert_eq!(std::mem::offset_of!(Segment, base), std::mem::offset_of!(libc::iovec, iov_base));
        assert_eq!(std::mem::offset_of!(Segment, len), std::mem::offset_of!(libc::iovec, iov_len));
    }

    #[test]
    fn copies_across_segments_and_stops_where_they_end() {
        let (mut a, mut b) = ([0_u8; 3], [0_u8; 4]);
        let list = [segment_of(&mut a), Segment::EMPTY, segment_of(&mut b)];
        assert_eq!(copy_to(&list, 2, &[1, 2, 3, 4]), 4);
        assert_eq!(copy_to(&list, 6, &[9, 9]), 1);
        assert_eq!(copy_to(&list, 7, &[9]), 0);
        let mut out = [0; 8];
        assert_eq!(copy_from(&list, 0, &mut out), 7);
        assert_eq!(out, [0, 0, 1, 2, 3, 4, 9, 0]);
        assert_eq!(total_len(&list), 7);
    }

    #[test]
    fn gathers_and_scatters_between_segments() {
        let (mut a, mut b, mut flat) = ([1_u8, 2, 3], [4_u8, 5], [0_u8; 3]);
        let list = [segment_of(&mut a), Segment::EMPTY, segment_of(&mut b)];
        assert_eq!(gather(&list, 1, &segment_of(&mut flat)), 3);
        assert_eq!(flat, [2, 3, 4]);
        assert_eq!(gather(&list, 4, &segment_of(&mut flat)), 1);
        assert_eq!(flat, [5, 3, 4]);
        flat = [7, 8, 9];
        assert_eq!(scatter(&list, 2, &segment_of(&mut flat)), 3);
        assert_eq!(scatter(&list, 4, &segment_of(&mut flat)), 1);
        assert_eq!((a, b), ([1, 2, 7], [8, 7]));
    }

    #[test]
    fn splits_where_it_is_told() {
        let mut bytes = [1_u8, 2, 3];
        let (head, tail) = segment_of(&mut bytes).split_at(1);
        tail.fill(7);
        assert_eq!((head.len(), tail.len(), bytes), (1, 2, [1, 7, 7]));
    }

    #[test]
    #[should_panic(expected = "at <= self.len")]
    fn refuses_to_read_past_the_end() {
        let mut bytes = [0_u8; 3];
        segment_of(&mut bytes).read(2, &mut [0; 2]);
    }
}

//! System calls of threads on segments: the memory is the guest's, so that no reference to it can be made.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;

use crate::segment::Segment;

/// Most segments of one vectored system call (`UIO_MAXIOV`).
pub(super) const SEGMENTS_MAX: usize = 1024;

/// `_IO(0x12, 119)` of `<linux/fs.h>`: discard two numbers' range, offset and length.
const BLKDISCARD: libc::Ioctl = 0x1277;

fn answer(result: isize) -> Result<usize, i32> {
    usize::try_from(result).map_err(|_| std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}

fn count_of(segments: &[Segment]) -> i32 {
    segments.len().min(SEGMENTS_MAX) as i32
}

/// `preadv2(2)` into at most [`SEGMENTS_MAX`] segments: the bytes read, or an errno.
pub(super) fn read(file: &File, into: &[Segment], offset: u64) -> Result<usize, i32> {
    // SAFETY: a segment has the layout of an `iovec`, and its maker keeps its memory until the operation has completed.
    answer(unsafe { libc::preadv2(file.as_raw_fd(), into.as_ptr().cast(), count_of(into), offset.cast_signed(), 0) })
}

/// `pwritev2(2)` from at most [`SEGMENTS_MAX`] segments, with these flags: the bytes written, or an errno.
pub(super) fn write(file: &File, from: &[Segment], offset: u64, flags: i32) -> Result<usize, i32> {
    // SAFETY: as in `read`.
    answer(unsafe {
        libc::pwritev2(file.as_raw_fd(), from.as_ptr().cast(), count_of(from), offset.cast_signed(), flags)
    })
}

/// Discards a range of a block device.
pub(super) fn discard(file: &File, offset: u64, len: u64) -> Result<(), i32> {
    let range = [offset, len];
    // SAFETY: the command reads two numbers.
    answer(unsafe { libc::ioctl(file.as_raw_fd(), BLKDISCARD, range.as_ptr()) } as isize).map(drop)
}

//! The kernel's table of registered buffers in one ring: put a buffer in, take it over from another ring, take it out.

use std::io;
use std::os::fd::RawFd;

use io_uring::Submitter;
use io_uring::types::CloneBuffersFlags;

use super::Chunk;

/// An empty table of `len` places. A ring has one table.
pub(crate) fn make(ring: &Submitter<'_>, len: u32) -> io::Result<()> {
    ring.register_buffers_sparse(len)
}

/// Puts a chunk in its place, which pins its memory.
pub(crate) fn put(ring: &Submitter<'_>, chunk: &Chunk) -> io::Result<()> {
    let buffer = libc::iovec { iov_base: chunk.memory.as_ptr().cast(), iov_len: chunk.memory.len() };
    // One at a time: of several, the kernel does not tell which it did not take.
    // SAFETY: the chunk keeps its memory mapped, and the kernel's use of the buffer is that of the operations which name it.
    unsafe { ring.register_buffers_update(chunk.slot.into(), &[buffer], None) }
}

/// Takes a chunk over from the ring `library`, which has it in the same place. The table grows to hold it.
pub(crate) fn take_over(ring: &Submitter<'_>, library: RawFd, slot: u16) -> io::Result<()> {
    let slot = u32::from(slot);
    ring.register_buffers_clone_offset(library, slot, slot, 1, CloneBuffersFlags::DST_REPLACE)
}

/// Empties a place. The memory stays pinned as long as an operation that names it is in flight, or another ring has it.
pub(crate) fn clear(ring: &Submitter<'_>, slot: u16) -> io::Result<()> {
    let nothing = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
    // SAFETY: nothing is registered.
    unsafe { ring.register_buffers_update(slot.into(), &[nothing], None) }
}

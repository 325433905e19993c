//! Guest memory in our own address space: the client's file, or a shadow where there is none.
//!
//! Mapped with plain system calls: a region of vm-memory would keep its file open, and the number of open files is the
//! whole process's, so that one client with many regions could starve the others.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

use bdev::Segment;
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use super::sigbus::Watch;

/// A mapping of our own. Unmapped by the drop.
#[derive(Debug)]
pub(super) struct HostMapping {
    // Fields are dropped in this order: nothing may be watched that is not mapped.
    watch: Option<Watch>,
    pages: Pages,
}

#[derive(Debug)]
struct Pages {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: an address range that belongs to this value alone; it may be used and unmapped on any thread.
unsafe impl Send for Pages {}
// SAFETY: a shared reference only gives out the address.
unsafe impl Sync for Pages {}

impl HostMapping {
    /// Maps `len` bytes of `file` from `offset` on, shared with the client. Reads nothing and allocates no page.
    ///
    /// # Errors
    /// What mmap says; ENOSPC if too many mappings are watched already.
    pub(super) fn shared(file: BorrowedFd<'_>, offset: u64, len: usize, prot: ProtFlags) -> Result<Self, Errno> {
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let base = unsafe { mmap(std::ptr::null_mut(), len, prot, flags, file, offset)? };
        let pages = Pages::new(base, len)?;
        let watch = Watch::new(pages.base, len, prot.contains(ProtFlags::WRITE)).ok_or(Errno::NOSPC)?;
        Ok(Self { watch: Some(watch), pages })
    }

    /// Addresses for memory that is reached by messages. Nothing is allocated unless it is written.
    ///
    /// # Errors
    /// What mmap says.
    pub(super) fn shadow(len: usize) -> Result<Self, Errno> {
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        // SAFETY: as above.
        let base = unsafe { mmap_anonymous(std::ptr::null_mut(), len, prot, flags)? };
        Ok(Self { watch: None, pages: Pages::new(base, len)? })
    }
}

impl HostMapping {
    /// All of it.
    pub(super) fn whole(&self) -> Segment {
        // SAFETY: mapped until the drop; whoever takes a segment keeps the mapping, or a snapshot that shows it.
        unsafe { Segment::new(self.pages.base, self.pages.len) }
    }

    pub(super) fn is_shared(&self) -> bool {
        self.watch.is_some()
    }

    pub(super) fn is_lost(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::is_lost)
    }
}

impl Pages {
    fn new(base: *mut c_void, len: usize) -> Result<Self, Errno> {
        let pages = Self { base: NonNull::new(base.cast()).ok_or(Errno::FAULT)?, len };
        for advice in [Advice::LinuxDontFork, Advice::LinuxDontDump] {
            // SAFETY: says what becomes of the pages in a child and in a core dump, and changes no byte.
            unsafe { madvise(base, len, advice)? };
        }
        Ok(pages)
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by this value's maker. Nobody uses it any more: every snapshot that shows it has
        // gone, and segments do not outlive those.
        if let Err(error) = unsafe { munmap(self.base.as_ptr().cast(), self.len) } {
            tracing::error!(%error, "cannot unmap guest memory");
        }
    }
}

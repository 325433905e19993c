//! Memory files such as clients send, for the tests of mapping.

use std::os::fd::OwnedFd;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

use super::{Access, Gpa, MapRequest, MemMap, PAGE_LEN, RegionCache};
use bdev::Segment;

/// A memfd of `pages` pages.
pub(crate) fn memfd(name: &str, pages: u64) -> OwnedFd {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC).expect("a memfd");
    ftruncate(&fd, pages * PAGE_LEN).expect("a length");
    fd
}

/// Readable and writable, in pages.
pub(crate) fn pages(first: u64, count: u64, offset: u64) -> MapRequest {
    MapRequest {
        gpa: Gpa(first * PAGE_LEN),
        len: count * PAGE_LEN,
        offset: offset * PAGE_LEN,
        readable: true,
        writable: true,
    }
}

/// The one piece of memory that `len` bytes at `gpa` are.
pub(crate) fn segment(map: &MemMap, gpa: u64, len: u64) -> Segment {
    let mut found = Vec::new();
    map.translate(&mut RegionCache::default(), (Gpa(gpa), len), Access::Write, |segment, _| {
        found.push(segment);
        Ok(())
    })
    .expect("it is mapped");
    assert_eq!(found.len(), 1);
    found[0]
}

//! Whether a file that a client sent can be mapped as guest memory.

use std::os::fd::BorrowedFd;

use rustix::fs::{OFlags, fcntl_get_seals, fcntl_getfl, fstat, fstatfs};

use super::table::MapError;

/// `f_type` of hugetlbfs (linux/magic.h).
const HUGETLBFS_MAGIC: u64 = 0x9584_58f6;

/// What tells one place in a file from another, in however many descriptors it comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilePlace {
    device: u64,
    inode: u64,
    offset: u64,
}

impl FilePlace {
    /// How many bytes it is behind `other` in the same file; `None` if it is not.
    pub(super) fn distance_from(&self, other: &Self) -> Option<u64> {
        let same = (self.device, self.inode) == (other.device, other.inode);
        if same { self.offset.checked_sub(other.offset) } else { None }
    }

    /// Checks that `len` bytes from `offset` on can be mapped: a file of tmpfs or hugetlbfs (as memfd and shm files are),
    /// long enough, opened for what is wanted, aligned to its pages.
    ///
    /// A page of any other file is fetched from its file system when it is touched, and a core would stand still for as
    /// long as that one hangs. The kernel keeps seals for memory files alone, and tells of them without asking the file
    /// system; so this goes first, and none of the calls here can hang either.
    ///
    /// The file may shrink later; see [`super::sigbus`].
    pub(super) fn check(fd: BorrowedFd<'_>, offset: u64, len: u64, writable: bool) -> Result<Self, MapError> {
        let flags = fcntl_getfl(fd)?;
        let wanted: &[OFlags] = if writable { &[OFlags::RDWR] } else { &[OFlags::RDWR, OFlags::RDONLY] };
        if flags.contains(OFlags::PATH) || !wanted.contains(&(flags & OFlags::ACCMODE)) {
            return Err(MapError::FileAccess);
        }
        if fcntl_get_seals(fd).is_err() {
            return Err(MapError::NotMemoryFile);
        }
        let stat = fstat(fd)?;
        let file_len = u64::try_from(stat.st_size).unwrap_or(0);
        if offset.checked_add(len).is_none_or(|end| end > file_len) {
            return Err(MapError::BeyondFile { offset, len, file_len });
        }
        let fs = fstatfs(fd)?;
        if fs.f_type as u64 == HUGETLBFS_MAGIC {
            let page_len = fs.f_bsize as u64;
            if !offset.is_multiple_of(page_len) || !len.is_multiple_of(page_len) {
                return Err(MapError::Unaligned { page_len });
            }
        }
        Ok(Self { device: stat.st_dev, inode: stat.st_ino, offset })
    }
}

//! Whether a file that a client sent can be mapped as guest memory.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, OFlags, fcntl_getfl, fstat, fstatfs};

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
    /// Checks that `len` bytes from `offset` on can be mapped: a regular file (as memfd, shm and hugetlbfs files are),
    /// long enough, opened for what is wanted, aligned to its pages.
    ///
    /// The file may shrink later; see [`super::sigbus`].
    pub(super) fn check(fd: BorrowedFd<'_>, offset: u64, len: u64, writable: bool) -> Result<Self, MapError> {
        let stat = fstat(fd.as_fd())?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind != FileType::RegularFile {
            return Err(MapError::FileKind(kind));
        }
        let flags = fcntl_getfl(fd)?;
        let wanted: &[OFlags] = if writable { &[OFlags::RDWR] } else { &[OFlags::RDWR, OFlags::RDONLY] };
        if flags.contains(OFlags::PATH) || !wanted.contains(&(flags & OFlags::ACCMODE)) {
            return Err(MapError::FileAccess);
        }
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

//! Where a file ends that somebody has cut while it is served.
//!
//! A write behind the end of a file makes it grow, and what lies between reads as zeroes: as if that had been written. So the
//! lowest end that was ever seen counts, however large the file is by then, until the disk is opened in its new size. Shared
//! by all channels of a [`FileBdev`](super::FileBdev): each operation reads it, and it is written only when a cut is seen.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::file::extents;
use crate::op::{IoError, Op};

/// What of a device is there.
#[derive(Debug)]
pub(crate) struct End {
    /// Bytes that have never been missing.
    now: AtomicU64,
    /// Bytes that it had when it was opened.
    size: u64,
    /// The path of a regular file, for the log. None: nobody makes it grow by writing, and its size is only looked at.
    file: Option<String>,
}

impl End {
    /// Of a regular file of `size` bytes.
    pub(crate) fn of_file(path: String, size: u64) -> Self {
        Self { now: AtomicU64::new(size), size, file: Some(path) }
    }

    /// Of a device whose end writes do not move.
    pub(crate) fn of_device(size: u64) -> Self {
        Self { now: AtomicU64::new(size), size, file: None }
    }

    /// The same in another size, with nothing missing.
    pub(crate) fn anew(&self, size: u64) -> Self {
        Self { now: AtomicU64::new(size), size, file: self.file.clone() }
    }

    /// Bytes that can be served.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        // Nothing else hangs on it: an operation sees a cut a moment earlier or later.
        self.now.load(Ordering::Relaxed)
    }

    /// Whether something is missing.
    pub(crate) fn is_cut(&self) -> bool {
        self.now() < self.size
    }

    /// Whether all that an operation touches is there.
    #[inline]
    pub(crate) fn holds(&self, op: &Op) -> bool {
        op.offset + op.len <= self.now()
    }

    /// The file was seen to end at byte `size`.
    #[cold]
    pub(crate) fn ends_at(&self, size: u64) {
        let Some(path) = &self.file else { return };
        // The first to see it says so, once.
        if size < self.size && self.now.fetch_min(size, Ordering::Relaxed) == self.size {
            tracing::warn!(
                path,
                "the file was cut from {} to {size} bytes: what was behind fails, until SIGHUP takes the new size over",
                self.size
            );
        }
    }

    /// Looks at the size of the file: bytes that it has, or the fewest that it ever had if some are missing.
    pub(crate) fn look(&self, file: &File) -> io::Result<u64> {
        let size = extents::size(file)?;
        self.ends_at(size);
        Ok(if self.is_cut() { self.now() } else { size })
    }

    /// What became of an operation that has changed space without a complaint: of a file, the kernel has none about what is
    /// behind its end.
    #[cold]
    pub(crate) fn check(&self, file: &File, op: &Op) -> Result<(), IoError> {
        if self.file.is_some() {
            // If the size cannot be found, what is known of it counts.
            let _ = self.look(file);
        }
        if self.holds(op) { Ok(()) } else { Err(IoError::BeyondEnd) }
    }

    /// What the failure of an operation means, now that something is wrong.
    #[cold]
    pub(crate) fn judge(&self, file: &File, op: &Op, error: IoError) -> IoError {
        if self.file.is_none() || matches!(error, IoError::Cancelled | IoError::Busy) {
            return extents::look_again(file, op.offset + op.len, error);
        }
        // If the size cannot be found, what is known of it counts.
        let _ = self.look(file);
        if self.holds(op) { error } else { IoError::BeyondEnd }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_end_counts_and_growth_only_of_what_is_whole() {
        let file = tempfile::tempfile().unwrap();
        let look_at = |end: &End, size| {
            file.set_len(size).unwrap();
            end.look(&file).unwrap()
        };
        let end = End::of_file("x".to_owned(), 8192);
        assert_eq!((look_at(&end, 8192), look_at(&end, 16384), end.now(), end.is_cut()), (8192, 16384, 8192, false));
        assert_eq!((look_at(&end, 4196), look_at(&end, 16384), end.is_cut()), (4196, 4196, true));
        assert_eq!((look_at(&end, 100), look_at(&end, 8192), end.now()), (100, 100, 100));
        let anew = end.anew(4096);
        assert_eq!((anew.now(), look_at(&anew, 4096), anew.is_cut()), (4096, 4096, false));
    }

    #[test]
    fn a_device_ends_where_it_says() {
        let file = tempfile::tempfile().unwrap();
        let end = End::of_device(8192);
        assert_eq!((end.look(&file).unwrap(), end.now(), end.is_cut()), (0, 8192, false));
    }
}

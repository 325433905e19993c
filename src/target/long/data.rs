//! The data buffer of a command in several steps.

use bdev::Segment;
use bdev::segment::{copy_from, copy_to, total_len};

use crate::scsi::DataBuffer;

/// The data buffer of a request.
pub(super) struct Data<'a> {
    pub(super) segments: &'a [Segment],
    pub(super) is_out: bool,
    pub(super) used: u64,
    /// There was no room for what was given.
    pub(super) overrun: bool,
}

impl DataBuffer for Data<'_> {
    fn out_len(&self) -> u64 {
        if self.is_out { total_len(self.segments) } else { 0 }
    }

    fn take(&mut self, at: u64, into: &mut [u8]) {
        let taken = if self.is_out { copy_from(self.segments, at, into) } else { 0 };
        assert!(taken == into.len(), "a task takes what is there");
        self.used = self.used.max(at + taken as u64);
    }

    fn give(&mut self, at: u64, from: &[u8]) {
        let given = if self.is_out { 0 } else { copy_to(self.segments, at, from) };
        self.overrun |= given < from.len();
        self.used = self.used.max(at + given as u64);
    }
}

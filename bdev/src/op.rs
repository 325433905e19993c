//! Operations on a block device and how they can fail: plain types, shared with the SCSI room.

use crate::segment::SegmentSlice;

/// What to do with a byte range of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// Fill the segments from the device.
    Read,
    /// Write the segments to the device.
    Write {
        /// Complete only once the data is on stable storage (force unit access).
        fua: bool,
    },
    /// Complete once every write that completed before this was submitted is on stable storage.
    Flush,
}

/// One operation. `offset` and `len` are in bytes and multiples of the device's block size; a flush has neither.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    /// What to do.
    pub kind: OpKind,
    /// First byte on the device.
    pub offset: u64,
    /// Bytes to move: exactly the sum of the segments' lengths.
    pub len: u64,
    /// Memory to move from or to.
    pub segments: SegmentSlice,
}

impl Op {
    /// A flush.
    pub const FLUSH: Self = Self { kind: OpKind::Flush, offset: 0, len: 0, segments: SegmentSlice::EMPTY };
}

/// Why an operation failed, in terms that map to sense data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IoError {
    /// The medium could not be read or written (`EIO`, a short count within the device).
    #[error("medium error")]
    Medium,
    /// The file system has no space left to write to (`ENOSPC`, `EDQUOT`).
    #[error("no space left on the backing store")]
    NoSpace,
    /// The range lies beyond what the backing store has now: it has shrunk.
    #[error("range beyond the end of the backing store")]
    BeyondEnd,
    /// The device is read-only (`EROFS`, `EPERM`).
    #[error("write-protected")]
    ReadOnly,
    /// The device has gone (`ENODEV`, `ENXIO`).
    #[error("device is gone")]
    Gone,
    /// For now there is no room for the operation (`EAGAIN`, `ENOMEM`, `EBUSY`): worth another try.
    #[error("temporarily out of resources")]
    Busy,
    /// Ended by [`Channel::cancel`](crate::Channel::cancel) before it took effect.
    #[error("cancelled")]
    Cancelled,
    /// The backend cannot do this kind of operation.
    #[error("not supported by the backend")]
    Unsupported,
}

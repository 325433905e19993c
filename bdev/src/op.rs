//! Operations on a block device and how they can fail: plain types, shared with the SCSI room.

use crate::segment::SegmentSlice;

/// What to do with a byte range of a device. With a tag of its own, not one that fields leave room for: that of a read and of a
/// write is asked for all the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OpKind {
    /// Fill the segments from the device.
    Read,
    /// Write the segments to the device.
    Write {
        /// Complete only once the data is on stable storage (force unit access).
        fua: bool,
    },
    /// See whether the range can be read, on the device itself. Without segments.
    Verify,
    /// See whether the range holds what the segments do, on the device itself; else it ends with [`IoError::Miscompare`].
    Compare,
    /// Write the segments to the device as a whole or not at all: no failure leaves a part of it, and no read finds one. It
    /// fits what [`Info::atomic`](crate::Info::atomic) tells.
    WriteAtomic {
        /// Complete only once the data is on stable storage.
        fua: bool,
    },
    /// Complete once every write that completed before this was submitted is on stable storage.
    Flush,
    /// Give the range back: what it holds is not wanted any more. What a read returns afterwards is in
    /// [`Discard::zeroes`](crate::info::Discard::zeroes). Without segments.
    Unmap,
    /// Make the range read as zeroes. Without segments.
    WriteZeroes {
        /// The space may be given back, if reads give zeroes nevertheless.
        unmap: bool,
        /// Complete only once that is on stable storage.
        fua: bool,
    },
    /// Make the range read as zeroes, and have space for all of it: no later write there finds that there is none. Without
    /// segments.
    Anchor {
        /// Complete only once that is on stable storage.
        fua: bool,
    },
    /// Have whoever keeps a cache fill it with the range. Without segments. When it completes not all need be there.
    Prefetch,
    /// Fill the segments with [`Extent`](crate::info::Extent)s that say which parts of the range have space, as
    /// many as there is room for. The first one begins at `offset`, each next one where the last one ends; an extent with a
    /// length of 0 ends the list. `len` is that of the range, not of the segments.
    Extents,
}

impl OpKind {
    /// Whether the segments hold the bytes of the range itself.
    pub const fn moves_data(self) -> bool {
        matches!(self, Self::Read | Self::Compare | Self::Write { .. } | Self::WriteAtomic { .. })
    }

    /// Whether it is done as a whole or not at all.
    pub const fn is_atomic(self) -> bool {
        matches!(self, Self::WriteAtomic { .. })
    }

    /// The flags of Linux for a write: each write says for itself whether it waits for the device's cache.
    pub(crate) const fn write_flags(self) -> i32 {
        match self {
            Self::Write { fua: true } => libc::RWF_DSYNC,
            Self::WriteAtomic { fua: false } => libc::RWF_ATOMIC,
            Self::WriteAtomic { fua: true } => libc::RWF_ATOMIC | libc::RWF_DSYNC,
            _ => 0,
        }
    }

    /// Whether it changes what is on the device: refused if that is read-only.
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Write { .. } | Self::WriteAtomic { .. }) || self.is_of_space()
    }

    /// Whether it changes what space the range has, or makes it zero, without data.
    pub const fn is_of_space(self) -> bool {
        matches!(self, Self::Unmap | Self::WriteZeroes { .. } | Self::Anchor { .. })
    }

    /// Whether it is one of those, and complete only on stable storage.
    pub(crate) const fn is_lasting_space(self) -> bool {
        matches!(self, Self::WriteZeroes { fua: true, .. } | Self::Anchor { fua: true })
    }
}

/// One operation. `offset` and `len` are in bytes and multiples of the device's block size; a flush has neither.
#[derive(Debug, Clone, Copy)]
pub struct Op {
    /// What to do.
    pub kind: OpKind,
    /// First byte on the device.
    pub offset: u64,
    /// Bytes of the range. Of a read or write, exactly the sum of the segments' lengths.
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
    /// A block could not be read, whatever was to be done with it: a device may have to read what it writes a part of.
    #[error("unreadable block")]
    Unreadable,
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
    /// The device takes no operation of this size, or none of this size at this place.
    #[error("not of a size that the device takes")]
    Misfit,
    /// Data was lost between us and the device.
    #[error("the transfer failed")]
    Transfer,
    /// Ended because the device expects to lose its power.
    #[error("power is about to fail")]
    PowerLoss,
    /// The device failed within.
    #[error("internal error of the device")]
    Internal,
    /// The device is not ready, and may become so.
    #[error("not ready")]
    NotReady,
    /// The device is being formatted.
    #[error("being formatted")]
    Formatting,
    /// The device is being sanitized.
    #[error("being sanitized")]
    Sanitizing,
    /// Somebody else has reserved the device.
    #[error("reserved by another host")]
    ReservationConflict,
    /// The medium did not take a write.
    #[error("write fault")]
    WriteFault,
    /// The guard of the protection information does not fit the data.
    #[error("guard check failed")]
    GuardCheck,
    /// The application tag of the protection information is not the one that was expected.
    #[error("application tag check failed")]
    ApplicationTagCheck,
    /// The reference tag of the protection information is not the one that was expected.
    #[error("reference tag check failed")]
    ReferenceTagCheck,
    /// What was compared differs.
    #[error("data differ")]
    Miscompare,
    /// The device does not let us.
    #[error("access denied")]
    AccessDenied,
}

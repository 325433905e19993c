//! How a driver can break a ring.

use crate::dma::{Gpa, TranslateError};

/// The three areas of a ring (2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Descriptor area: the table of a split ring, all of a packed one.
    Desc,
    /// Driver area: available ring, or the driver's event suppression.
    Avail,
    /// Device area: used ring, or the device's event suppression.
    Used,
}

impl std::fmt::Display for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Desc => "descriptor area",
            Self::Avail => "driver area",
            Self::Used => "device area",
        })
    }
}

/// A ring cannot be used, or no further: the device sets `DEVICE_NEEDS_RESET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// The size is 0, above 32768, or, of a split ring, no power of two (2.7, 2.8).
    #[error("queue size {0} is not possible")]
    Size(u16),
    /// An area is not on the boundary that sections 2.7 and 2.8.10.1 ask for.
    #[error("{area} at {gpa} is not aligned")]
    Misaligned {
        /// Which one.
        area: Area,
        /// Where it is.
        gpa: Gpa,
    },
    /// An area is not in one piece of shared memory.
    #[error("{area}: {error}")]
    Unreachable {
        /// Which one.
        area: Area,
        /// Why.
        error: TranslateError,
    },
    /// The driver offers more chains than a ring of this size can hold beside those in flight (2.7.6).
    #[error("available index is {ahead} chains ahead, where at most {room} are possible")]
    AvailJump {
        /// Chains offered.
        ahead: u16,
        /// Size less the chains in flight.
        room: u16,
    },
    /// An available entry names no descriptor.
    #[error("chain head {head} is outside the descriptor table of {size}")]
    HeadOutOfRange {
        /// The entry.
        head: u16,
        /// Entries of the table.
        size: u16,
    },
    /// A descriptor of a packed ring is made available while the whole ring is with the device.
    #[error("descriptor {0} is made available again before it is used")]
    Overrun(u16),
    /// A buffer of a packed ring has an id that no ring of its size needs.
    #[error("buffer id {id} is outside a ring of {size}")]
    IdOutOfRange {
        /// The id.
        id: u16,
        /// Entries of the ring.
        size: u16,
    },
    /// A buffer of a packed ring has the id of another one that is with the device.
    #[error("buffer id {0} is in use")]
    IdInUse(u16),
    /// A chain breaks the rules.
    #[error("chain {head}: {fault}")]
    Chain {
        /// Its first descriptor.
        head: u16,
        /// What is wrong with it.
        fault: ChainFault,
    },
}

/// What can be wrong with a chain of descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// `next` names no descriptor of the table.
    #[error("next descriptor {next} is outside the table of {entries}")]
    NextOutOfRange {
        /// The index.
        next: u16,
        /// Entries of the table.
        entries: u16,
    },
    /// More descriptors than the table has: it goes in a circle.
    #[error("it has a loop")]
    Loop,
    /// A packed ring's chain goes on into descriptors that are with the device, or takes more than there are.
    #[error("it takes more descriptors than the ring has left")]
    TooLong,
    /// A packed ring's chain goes on in a descriptor that is not available (2.8.6).
    #[error("it goes on in descriptor {0}, which is not available")]
    NotAvailable(u16),
    /// `INDIRECT` without the feature.
    #[error("it has an indirect table, which was not negotiated")]
    IndirectNotNegotiated,
    /// `INDIRECT` together with `NEXT` (2.7.5.3.1).
    #[error("a descriptor is both indirect and continued")]
    IndirectAndNext,
    /// A packed ring's chain of descriptors with an indirect one in it (2.8.5).
    #[error("an indirect descriptor follows others")]
    IndirectInChain,
    /// An indirect table inside an indirect table (2.7.5.3.1).
    #[error("an indirect table holds another one")]
    NestedIndirect,
    /// A table of 0 bytes, or of no whole number of descriptors.
    #[error("an indirect table has {0} bytes, not a positive multiple of 16")]
    TableLength(u32),
    /// A table of more than [`MAX_SEGMENTS`](super::MAX_SEGMENTS) descriptors.
    #[error("an indirect table has {0} bytes, more than is served")]
    TableTooLong(u32),
    /// A readable descriptor behind a writable one (2.7.4.2).
    #[error("a readable descriptor follows a writable one")]
    ReadableAfterWritable,
    /// More than 2^32 bytes in all (2.7.5).
    #[error("it describes more than 2^32 bytes")]
    TotalLength,
    /// More than [`MAX_SEGMENTS`](super::MAX_SEGMENTS) pieces of host memory.
    #[error("it is in more pieces than are served")]
    TooManySegments,
    /// A buffer or a table is not where the device may reach it.
    #[error("{0}")]
    Memory(TranslateError),
}

impl From<TranslateError> for ChainFault {
    fn from(error: TranslateError) -> Self {
        match error {
            TranslateError::TooManyPieces(_) => Self::TooManySegments,
            error => Self::Memory(error),
        }
    }
}

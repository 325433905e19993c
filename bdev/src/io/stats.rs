//! What a core's rings count.

/// What the rings of a core have done since they were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoStats {
    /// Operations accepted.
    pub accepted: u64,
    /// Operations refused for want of a bounce buffer ([`SubmitError::Full`](crate::SubmitError::Full)).
    pub refused: u64,
    /// System calls made to submit or to collect.
    pub enters: u64,
    /// Operations whose memory or offsets direct I/O does not take, so that their data was copied.
    pub bounced: u64,
    /// Further parts of operations: after a short count, past 1,024 segments, past the size of a bounce buffer, or because
    /// the kernel said to try again.
    pub resubmitted: u64,
    /// Operations that somebody tried to end early.
    pub cancels: u64,
    /// Parts of operations whose memory the kernel found in a registered buffer.
    pub fixed: u64,
    /// Parts of operations handed to a ring that looks into the device's own queues for their results.
    pub polled: u64,
    /// Times that the CPU was offered to others while the kernel had operations.
    pub yields: u64,
}

impl IoStats {
    /// Those of both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            accepted: self.accepted + other.accepted,
            refused: self.refused + other.refused,
            enters: self.enters + other.enters,
            bounced: self.bounced + other.bounced,
            resubmitted: self.resubmitted + other.resubmitted,
            cancels: self.cancels + other.cancels,
            fixed: self.fixed + other.fixed,
            polled: self.polled + other.polled,
            yields: self.yields + other.yields,
        }
    }
}

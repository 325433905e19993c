//! The end of a ring: what is still in flight is called back before its memory goes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};

use crate::uring::ledger::Work;
use crate::uring::rings::Rings;
use crate::uring::setup::Kind;

/// How long a ring that is dropped waits for what is still in flight.
const DROP_WAIT: Duration = Duration::from_secs(2);

/// A cancel request of a ring that is dropped does not wait for what cannot be cancelled.
const NO_WAIT: Timespec = Timespec::new().nsec(1);

impl<W: Work> Rings<W> {
    /// Ends everything in flight, early where the kernel can. Returns whether all came back within [`DROP_WAIT`].
    pub(super) fn recall(&mut self) -> bool {
        if self.in_flight() == 0 {
            return true;
        }
        let deadline = Instant::now() + DROP_WAIT;
        let mut done = VecDeque::with_capacity(self.in_flight());
        // Queued operations are handed over first: the kernel then knows all that it is to give up.
        self.submit();
        if let Err(error) = self.usual.ring.submitter().register_sync_cancel(Some(NO_WAIT), CancelBuilder::any()) {
            tracing::debug!(%error, "not everything in flight can be ended early");
        }
        while self.in_flight() > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            // Who waits for one ring does not look into the other.
            if self.ops.polled() == 0 {
                let timeout = Timespec::from(left);
                // The reason why it returned does not matter: results are looked for, and the deadline is.
                let _ = self.usual.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout));
            }
            self.collect(Kind::Poll, &mut done);
            self.collect(Kind::Interrupt, &mut done);
            self.submit();
        }
        true
    }
}

impl<W: Work> Drop for Rings<W> {
    /// The kernel writes into the buffers of what is in flight even after the ring is closed. So this waits for it; what
    /// takes too long keeps its bounce buffers for ever. (Segments are their maker's to keep.)
    fn drop(&mut self) {
        tracing::debug!(stats = ?self.stats(), "io_uring closed");
        if !self.recall() {
            tracing::warn!(in_flight = self.in_flight(), "io_uring is closed before the disks have answered");
            self.ops.abandon_memory();
        }
    }
}

//! What the workers of one reactor share: its I/O engine, its channels, and what is held back.

use bdev::{Channel, Io};
use reactor::Pass;

use crate::scsi::Reply;
use crate::virtio_scsi::Address;

use super::disk::DiskIndex;
use super::job::Job;
use super::message::{BarId, Life, Scope};

/// Lent to a worker for each call.
pub(crate) struct Cx {
    pub(crate) io: Io,
    /// By [`DiskIndex`].
    pub(crate) channels: Vec<Box<dyn Channel>>,
    /// Data of the command that is being answered.
    pub(crate) reply: Reply,
    /// Task management in progress; nearly always none.
    pub(crate) bars: Vec<Bar>,
    /// A queue may have requests that wait for room in a channel.
    pub(crate) has_waiting: bool,
    /// Disks whose channels were found full in this pass.
    pub(crate) full: Vec<DiskIndex>,
    /// Work on whole disks that this core goes on with; nearly always none.
    pub(crate) jobs: Vec<Job>,
    /// Disks of which somebody wants to know when no request uses them any more.
    pub(crate) settling: Vec<(DiskIndex, Pass)>,
}

/// Commands in scope are held back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    pub(crate) life: Life,
    pub(crate) id: BarId,
    pub(crate) scope: Scope,
}

impl Cx {
    /// The channel to `disk`, beside the engine that each of its calls needs.
    pub(crate) fn channel(&mut self, disk: DiskIndex) -> (&mut dyn Channel, &mut Io) {
        (&mut *self.channels[disk.0], &mut self.io)
    }

    /// Whether task management holds a command back.
    #[inline]
    pub(crate) fn is_barred(&self, life: Life, address: Address, id: u64) -> bool {
        !self.bars.is_empty() && self.bars.iter().any(|bar| bar.life == life && bar.scope.holds(address, id))
    }
}

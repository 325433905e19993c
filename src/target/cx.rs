//! What the workers of one reactor share: its I/O engine, its channels, and what is held back.

use std::sync::Arc;

use bdev::{Channel, Io};
use reactor::Pass;

use crate::scsi::Reply;

use super::behind::Flushes;
use super::disk::{Disk, DiskIndex};
use super::job::Job;
use super::message::{BarId, Life, Scope};
use super::portion::Turn;
use super::tally::Tally;
use super::task_set::Privileged;

/// Lent to a worker for each call.
pub(crate) struct Cx {
    pub(crate) io: Io,
    /// By [`DiskIndex`].
    pub(crate) channels: Vec<CountedChannel>,
    /// Data of the command that is being answered.
    pub(crate) reply: Reply,
    /// What commands wait for; nearly always nothing.
    pub(crate) bars: Vec<Bar>,
    /// Commands of this reactor that others wait for.
    pub(crate) privileged: Vec<Privileged>,
    /// The last place in the order of commands that had to wait, and of barriers.
    pub(crate) clock: Order,
    /// A queue may have requests that wait for room in a channel.
    pub(crate) has_waiting: bool,
    /// That of the request queue that took chains last.
    pub(super) turn: Turn,
    /// Disks whose channels were found full in this pass.
    pub(crate) full: Vec<DiskIndex>,
    /// Work on whole disks that this core goes on with; nearly always none.
    pub(crate) jobs: Vec<Job>,
    /// Flushes whose commands have ended; nearly always none.
    pub(crate) flushes: Flushes,
    /// Disks of which somebody wants to know when no request uses them any more.
    pub(crate) settling: Vec<(Arc<Disk>, Pass)>,
}

/// A channel, and what is counted of what goes through it. Together, in one line, for the shortest way needs both for each
/// command.
#[repr(align(32))]
pub(crate) struct CountedChannel {
    pub(crate) channel: Box<dyn Channel>,
    pub(crate) tally: Tally,
}

/// Commands in scope are held back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bar {
    pub(crate) life: Life,
    pub(crate) id: BarId,
    pub(crate) scope: Scope,
    pub(crate) holds: Holds,
}

/// Which commands in its scope, of those that have not started, a bar holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// All: task management.
    All,
    /// Those that came later, but no privileged ones: an ORDERED command.
    Newer(Order),
    /// All but HEAD OF QUEUE commands: one of those.
    Dormant,
    /// None yet, but those behind its command in the same queue wait: an ORDERED command that waits for its turn.
    Nothing,
}

/// A place in the order of commands that had to wait, and of barriers, on one reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Order(pub(super) u64);

const _: () = assert!(size_of::<CountedChannel>() == 32);

impl Cx {
    /// The channel to `disk`, beside the engine that each of its calls needs.
    pub(crate) fn channel(&mut self, disk: DiskIndex) -> (&mut dyn Channel, &mut Io) {
        (&mut *self.channels[disk.0].channel, &mut self.io)
    }

    /// What this core counts of `disk`.
    #[inline]
    pub(crate) fn tally(&self, disk: DiskIndex) -> &Tally {
        &self.channels[disk.0].tally
    }
}

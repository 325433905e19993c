//! What a control thread, or another reactor, can tell a reactor.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use reactor::{Handle, Pass};

use crate::dma::MemMap;
use crate::virtio_scsi::Address;

use super::courier::{JobId, Piece};
use super::disk::{Disk, DiskIndex};
use super::lun_map::LunMap;
use super::sharing::fence::Range;
use super::slots::Verdict;
use super::standing::Standing;
use super::worker::Worker;

/// One life of a device, from `DRIVER_OK` to the next reset: what messages are about. No two are the same in a process,
/// so that a queue which outlives its device (its disk does not answer) is never taken for one of the next life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Life(u64);

impl Life {
    /// A new one.
    pub(crate) fn begin() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// A queue of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct QueueName {
    /// The device's life.
    pub(crate) life: Life,
    /// Number of the virtqueue.
    pub(crate) number: u16,
}

/// One task management function in progress, or command that others wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BarId(u64);

impl BarId {
    /// A new one.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Which commands a task management function is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// One command.
    Task {
        /// Its logical unit.
        address: Address,
        /// Its name.
        id: u64,
    },
    /// All commands of a logical unit.
    Unit(Address),
    /// All commands of a target.
    Target(u8),
    /// No command: the function only waits for those before it to be taken.
    Nothing,
}

impl Scope {
    /// Whether it holds the command `id` of the logical unit at `address`.
    pub(crate) fn holds(self, address: Address, id: u64) -> bool {
        match self {
            Self::Task { address: its, id: its_id } => its == address && its_id == id,
            Self::Unit(its) => its == address,
            Self::Target(target) => target == address.target,
            Self::Nothing => false,
        }
    }
}

/// What is to become of the commands in a scope.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    /// They are ended, and answered so; those that come are held back until [`Message::Lift`].
    End(Verdict),
    /// Those that have been taken are ended, and answered so, for another initiator, who holds nothing back.
    EndTaken(Verdict),
    /// It is set if there is one.
    Find(Arc<AtomicBool>),
    /// They come to their end, and those that come now wait until [`Message::Lift`], for an ORDERED command.
    Outlast,
    /// Those that have not started wait until [`Message::Lift`], for a HEAD OF QUEUE command.
    Overtake,
}

/// A message to a reactor. Each pass arrives at its gate when what was asked for is done; a message that comes too late
/// drops it, which says the same.
#[derive(Debug)]
pub(crate) enum Message {
    /// Serve this queue.
    Adopt(Box<Worker>),
    /// Guest memory has grown: nothing that was there has changed.
    Memory {
        /// For which queue.
        queue: QueueName,
        /// All of it.
        memory: Arc<MemMap>,
    },
    /// Stop taking commands, end those in flight, forget the guest's memory.
    Quiesce {
        /// Which queue.
        queue: QueueName,
        /// Arrives when nothing touches the memory any more.
        pass: Pass,
    },
    /// Go on after a quiesce, in this memory.
    Resume {
        /// Which queue.
        queue: QueueName,
        /// All of it.
        memory: Arc<MemMap>,
    },
    /// Stop taking commands, end those in flight as fast as possible, and drop the queue.
    Retire {
        /// Which queue.
        queue: QueueName,
        /// Arrives when the queue is gone.
        pass: Pass,
    },
    /// Do something with the commands in scope.
    Tasks {
        /// Whose.
        life: Life,
        /// What for.
        bar: BarId,
        /// Which commands.
        scope: Scope,
        /// What to do.
        purpose: Purpose,
        /// Arrives when it is done: the driver can see the end of those that had to end.
        pass: Pass,
        /// The reactor to wake then.
        origin: Handle<Message>,
    },
    /// What a queue wanted from memory that its client does not share.
    Fetched {
        /// Which queue.
        queue: QueueName,
        /// Which of its jobs.
        id: JobId,
        /// The bytes.
        pieces: Vec<Piece>,
    },
    /// What a queue has written is in memory that its client does not share.
    Stored {
        /// Which queue.
        queue: QueueName,
        /// Which of its jobs.
        id: JobId,
    },
    /// Tell when no request of any queue uses a disk: it takes no new ones.
    Settle {
        /// Which disk.
        disk: Arc<Disk>,
        /// Arrives then.
        pass: Pass,
    },
    /// Tell when the operations on a part of a disk have ended that are in flight: nobody begins new ones there.
    Fence {
        /// Which disk, and which part.
        range: Range,
        /// Arrives then.
        pass: Pass,
    },
    /// The device has other logical units: requests on those that were removed are to end.
    Luns {
        /// Whose.
        life: Life,
        /// All that it has now.
        luns: Arc<LunMap>,
        /// Arrives when every queue has them.
        seen: Pass,
        /// Arrives when no request names one that is leaving, and the driver can see the answers.
        left: Pass,
    },
    /// Write the cache of a disk: its writes are not cached any more, and nobody asks for those of before. A failure is a deferred
    /// error of a nexus.
    Flush {
        /// Which disk.
        disk: DiskIndex,
        /// Whose error.
        standing: Arc<Standing>,
    },
    /// There is something for an event queue to tell: all look.
    News,
    /// There is one more disk.
    OpenDisk {
        /// Its index is one that nobody has.
        disk: Arc<Disk>,
        /// How that went.
        reply: Sender<io::Result<()>>,
    },
    /// No logical unit of any device is on this disk any more: flush it, and let go of it when nothing is in flight.
    CloseDisk {
        /// Which one.
        disk: DiskIndex,
        /// Arrives when its index may be given to another.
        pass: Pass,
    },
    /// Commands that were held back may start.
    Lift {
        /// Of whom.
        life: Life,
        /// What held them back.
        bar: BarId,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let (a, b) = (Address { target: 1, lun: 2 }, Address { target: 1, lun: 3 });
        assert!(Scope::Task { address: a, id: 7 }.holds(a, 7));
        assert!(!Scope::Task { address: a, id: 7 }.holds(a, 8) && !Scope::Task { address: a, id: 7 }.holds(b, 7));
        assert!(Scope::Unit(a).holds(a, 1) && !Scope::Unit(a).holds(b, 1));
        assert!(Scope::Target(1).holds(b, 1) && !Scope::Target(2).holds(b, 1));
        assert!(!Scope::Nothing.holds(a, 7));
    }
}

//! Flushes that go on behind the commands that asked for them, which have ended with GOOD (IMMED of SYNCHRONIZE CACHE and START
//! STOP UNIT).
//!
//! They belong to the core that took the command: no reset, abort or rest ends them. A failure is a deferred error of the nexus.
//! A nexus has one in flight on a core, and one that is asked for then begins when that has ended, for all that were asked for
//! meanwhile: so there are no more than there are logical units, however many commands a guest sends.

use std::sync::Arc;

use bdev::{IoError, Op, OpKind};

use crate::scsi::Outcome;

use super::cx::Cx;
use super::disk::DiskIndex;
use super::request_queue::RequestQueue;
use super::standing::Standing;
use super::tag::{Generation, NOBODY, RequestName, SlotIndex};

/// The generation in the tags of these operations; those of jobs and of the flush at the end have others.
pub(super) const BEHIND: Generation = Generation(2);

/// Those of one core.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    all: Vec<Flush>,
    /// Some of them have not begun: asked in each pass.
    wait: bool,
    next_id: u16,
}

#[derive(Debug)]
struct Flush {
    id: SlotIndex,
    disk: DiskIndex,
    standing: Arc<Standing>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// For room in its channel.
    Waits,
    InFlight,
    /// Another one is to follow.
    InFlightAndWanted,
}

impl Flushes {
    /// Whether there are some that have not begun.
    #[inline]
    pub(super) fn wait(&self) -> bool {
        self.wait
    }

    fn look(&mut self) {
        self.wait = self.all.iter().any(|flush| flush.stage == Stage::Waits);
    }

    fn add(&mut self, disk: DiskIndex, standing: &Arc<Standing>) {
        let is_its = |flush: &&mut Flush| flush.disk == disk && Arc::ptr_eq(&flush.standing, standing);
        if let Some(flush) = self.all.iter_mut().find(is_its) {
            if flush.stage == Stage::InFlight {
                flush.stage = Stage::InFlightAndWanted;
            }
            return;
        }
        while self.all.iter().any(|flush| flush.id == SlotIndex(self.next_id)) {
            self.next_id = self.next_id.wrapping_add(1);
        }
        let (id, standing) = (SlotIndex(self.next_id), standing.clone());
        self.next_id = self.next_id.wrapping_add(1);
        self.all.push(Flush { id, disk, standing, stage: Stage::Waits });
        self.wait = true;
    }

    /// A disk is being closed, and flushed then: those that have not begun need not.
    pub(super) fn give_up(&mut self, disk: DiskIndex) {
        self.all.retain(|flush| flush.disk != disk || flush.stage != Stage::Waits);
        self.look();
    }

    /// One has come to its end.
    #[cold]
    pub(super) fn complete(&mut self, name: RequestName, result: Result<(), IoError>) {
        let Some(at) = self.all.iter().position(|flush| flush.id == name.slot) else { return };
        let flush = &mut self.all[at];
        let sense = result.err().and_then(|error| Outcome::of_io_error(OpKind::Flush, error).sense);
        sense.into_iter().for_each(|sense| flush.standing.defer(sense));
        match flush.stage {
            Stage::InFlightAndWanted => flush.stage = Stage::Waits,
            Stage::Waits | Stage::InFlight => drop(self.all.swap_remove(at)),
        }
        self.look();
    }
}

impl RequestQueue {
    /// The command in `slot` ends, and its flush begins.
    #[cold]
    pub(super) fn flush_behind(&mut self, slot: SlotIndex, cx: &mut Cx) {
        let entry = self.queue.luns.entry(self.slots.get(slot).entry);
        let disk = entry.disk.as_ref().expect("only a disk has a cache");
        cx.flushes.add(disk.index, &entry.standing);
    }
}

/// Begins those that wait, as far as there is room; how many.
#[cold]
pub(super) fn begin(cx: &mut Cx) -> usize {
    let (mut flushes, mut begun) = (std::mem::take(&mut cx.flushes), 0);
    for flush in flushes.all.iter_mut().filter(|flush| flush.stage == Stage::Waits) {
        let name = RequestName { worker: NOBODY, slot: flush.id, generation: BEHIND };
        let (channel, io) = cx.channel(flush.disk);
        if channel.submit(io, &Op::FLUSH, name.tag()).is_ok() {
            flush.stage = Stage::InFlight;
            begun += 1;
        }
    }
    flushes.look();
    cx.flushes = flushes;
    begun
}

//! Flushes that go on behind the commands that asked for them, which have ended with GOOD (IMMED of SYNCHRONIZE CACHE and START
//! STOP UNIT), and behind a reset with which writes are not cached any more.
//!
//! They belong to the core that took the command, or that was told of the reset: no reset, abort or rest ends them. A failure is a deferred error of the nexus.
//! A nexus has one in flight on a core, and one that is asked for then begins when that has ended, for all that were asked for
//! meanwhile: so there are no more than there are logical units, however many commands a guest sends. What each asks for costs
//! the same, however many there are.

use std::collections::{HashMap, VecDeque};
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

/// Flushes of one core that are in flight at a time, at most.
const IN_FLIGHT_MAX: u16 = 1024;
/// Flushes that are tried to begin in one pass, at most.
const TRIED_MAX: usize = 64;

/// Those of one core.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    stages: HashMap<Key, Stage>,
    /// Those that have not begun, in order.
    waiting: VecDeque<Flush>,
    in_flight: HashMap<SlotIndex, Flush>,
    next_id: u16,
}

/// Whose cache, and who hears of a failure.
#[derive(Debug)]
struct Flush {
    disk: DiskIndex,
    standing: Arc<Standing>,
}

/// Which flush: disk, and place of the standing in memory, which nobody else has as long as the flush holds it.
type Key = (DiskIndex, usize);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// For room in its channel.
    Waits,
    InFlight,
    /// Another one is to follow.
    InFlightAndWanted,
}

impl Flush {
    fn key(&self) -> Key {
        (self.disk, Arc::as_ptr(&self.standing).addr())
    }
}

impl Flushes {
    /// Whether there are some that have not begun.
    #[inline]
    pub(super) fn wait(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn add(&mut self, disk: DiskIndex, standing: &Arc<Standing>) {
        let flush = Flush { disk, standing: standing.clone() };
        match self.stages.get_mut(&flush.key()) {
            Some(Stage::Waits) => {}
            Some(stage) => *stage = Stage::InFlightAndWanted,
            None => self.push(flush),
        }
    }

    fn push(&mut self, flush: Flush) {
        self.stages.insert(flush.key(), Stage::Waits);
        self.waiting.push_back(flush);
    }

    /// An id that no flush in flight has; none if there are as many as there may be.
    fn free_id(&mut self) -> Option<SlotIndex> {
        let (next, mut ids) = (self.next_id, 0..IN_FLIGHT_MAX);
        let id = ids.find_map(|step| {
            let id = SlotIndex((next + step) % IN_FLIGHT_MAX);
            (!self.in_flight.contains_key(&id)).then_some(id)
        })?;
        self.next_id = (id.0 + 1) % IN_FLIGHT_MAX;
        Some(id)
    }

    /// A disk is being closed, and flushed then: those that have not begun need not.
    pub(super) fn give_up(&mut self, disk: DiskIndex) {
        self.waiting.retain(|flush| flush.disk != disk);
        self.stages.retain(|&(its, _), stage| {
            if its == disk && *stage == Stage::InFlightAndWanted {
                *stage = Stage::InFlight;
            }
            its != disk || *stage != Stage::Waits
        });
    }

    /// One has come to its end.
    #[cold]
    pub(super) fn complete(&mut self, name: RequestName, result: Result<(), IoError>) {
        let Some(flush) = self.in_flight.remove(&name.slot) else { return };
        let sense = result.err().and_then(|error| Outcome::of_io_error(OpKind::Flush, error).sense);
        sense.into_iter().for_each(|sense| flush.standing.defer(sense));
        if self.stages.remove(&flush.key()) == Some(Stage::InFlightAndWanted) {
            self.push(flush);
        }
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
    for _ in 0..flushes.waiting.len().min(TRIED_MAX) {
        let Some(id) = flushes.free_id() else { break };
        let Some(flush) = flushes.waiting.pop_front() else { break };
        let name = RequestName { worker: NOBODY, slot: id, generation: BEHIND };
        let (channel, io) = cx.channel(flush.disk);
        if channel.submit(io, &Op::FLUSH, name.tag()).is_ok() {
            flushes.stages.insert(flush.key(), Stage::InFlight);
            flushes.in_flight.insert(id, flush);
            begun += 1;
        } else {
            // Others may have room.
            flushes.waiting.push_back(flush);
        }
    }
    cx.flushes = flushes;
    begun
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing() -> Arc<Standing> {
        Arc::new(Standing::new(Arc::default()))
    }

    fn fly(flushes: &mut Flushes) -> Option<RequestName> {
        let (slot, flush) = (flushes.free_id()?, flushes.waiting.pop_front()?);
        flushes.stages.insert(flush.key(), Stage::InFlight);
        flushes.in_flight.insert(slot, flush);
        Some(RequestName { worker: NOBODY, slot, generation: BEHIND })
    }

    #[test]
    fn more_than_may_be_in_flight_wait() {
        let (mut flushes, standing) = (Flushes::default(), standing());
        (0..=usize::from(IN_FLIGHT_MAX)).for_each(|disk| flushes.add(DiskIndex(disk), &standing));
        let names: Vec<_> = std::iter::from_fn(|| fly(&mut flushes)).collect();
        assert_eq!((names.len(), flushes.waiting.len()), (IN_FLIGHT_MAX.into(), 1));
        flushes.complete(names[7], Ok(()));
        assert_eq!(fly(&mut flushes), Some(names[7]), "the one that is free");
        assert!(!flushes.wait() && fly(&mut flushes).is_none());
    }

    #[test]
    fn of_a_disk_that_is_closed_none_begins() {
        let (mut flushes, standing) = (Flushes::default(), standing());
        flushes.add(DiskIndex(1), &standing);
        let name = fly(&mut flushes).expect("there is one");
        flushes.add(DiskIndex(1), &standing);
        flushes.add(DiskIndex(2), &standing);
        [1, 2].into_iter().for_each(|disk| flushes.give_up(DiskIndex(disk)));
        assert!(!flushes.wait());
        flushes.complete(name, Ok(()));
        assert!(!flushes.wait() && flushes.stages.is_empty() && flushes.in_flight.is_empty());
    }
}

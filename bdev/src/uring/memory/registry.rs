//! What is to be registered, what is, and under which index: bookkeeping alone, without a system call.
//!
//! An *area* is one mapping that somebody wants registered. It is cut into *chunks*, for the kernel takes no longer buffer.
//! Chunks that are registered are *published*: a sorted list that each core takes over when it changes. A chunk that is
//! withdrawn keeps its index, its pages and its mapping until the last core has let it go.
//!
//! Memory that nobody wants any more lingers for a moment: clients take memory away and give it back at once.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Chunk;
use crate::segment::Segment;

/// How long an area stays that nobody wants.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// Areas that linger at a time: a client that maps and unmaps in a loop must not use up the process's mappings.
const LINGERING_MAX: usize = 64;
/// Most buffers that a ring can have registered.
pub(super) const SLOTS_MAX: usize = 16384;

/// Whatever keeps memory mapped.
pub(crate) type Keep = Arc<dyn Any + Send + Sync>;

/// Name of an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AreaId(u64);

#[derive(Debug)]
struct Area {
    id: AreaId,
    whole: Segment,
    keep: Keep,
    users: u32,
    /// Nobody wants it since then.
    idle_since: Option<Instant>,
    /// Bytes that chunks were made of, or were refused.
    tried: usize,
    /// The pinning thread works on a chunk of it.
    busy: bool,
}

/// A chunk to be pinned.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) area: AreaId,
    pub(super) chunk: Arc<Chunk>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Registry {
    chunk_len_max: usize,
    slots_max: usize,
    next_id: u64,
    /// In the order of their turns.
    areas: Vec<Area>,
    /// Areas whose chunks are registered, and the chunks; by address.
    published: Arc<[Arc<Chunk>]>,
    withdrawn: Vec<Arc<Chunk>>,
    free_slots: Vec<u16>,
    /// Slots that have been used at least once: the rest follows.
    slots: usize,
}

impl Registry {
    /// Cuts areas into chunks of at most `chunk_len_max` bytes, more than none; `slots_max` chunks at most.
    pub(super) fn new(chunk_len_max: usize, slots_max: usize) -> Self {
        assert!(chunk_len_max > 0 && slots_max <= SLOTS_MAX);
        Self {
            chunk_len_max,
            slots_max,
            next_id: 0,
            areas: Vec::new(),
            published: Arc::new([]),
            withdrawn: Vec::new(),
            free_slots: Vec::new(),
            slots: 0,
        }
    }

    /// Somebody wants `whole` registered. The same mapping may be wanted by many.
    pub(super) fn want(&mut self, whole: Segment, keep: Keep) -> AreaId {
        if let Some(area) = self.areas.iter_mut().find(|area| area.whole == whole) {
            area.users += 1;
            area.idle_since = None;
            return area.id;
        }
        let id = AreaId(self.next_id);
        self.next_id += 1;
        self.areas.push(Area { id, whole, keep, users: 1, idle_since: None, tried: 0, busy: false });
        id
    }

    /// One who wanted an area wants it no more. Gives what kept it mapped, if it goes at once.
    #[must_use = "to be dropped where it may take its time"]
    pub(super) fn release(&mut self, id: AreaId, now: Instant) -> Option<Keep> {
        let area = self.areas.iter_mut().find(|area| area.id == id).expect("an area stays while somebody wants it");
        area.users -= 1;
        if area.users > 0 {
            return None;
        }
        area.idle_since = Some(now);
        // Nothing of it is registered: there is nothing to save.
        if area.tried == 0 && !area.busy {
            return self.remove(id);
        }
        None
    }

    fn remove(&mut self, id: AreaId) -> Option<Keep> {
        let at = self.areas.iter().position(|area| area.id == id)?;
        Some(self.areas.remove(at).keep)
    }

    /// The next chunk to pin, from the area whose turn it is. [`Registry::finish`] follows.
    pub(super) fn next_job(&mut self) -> Option<Job> {
        let at = self.areas.iter().position(|area| area.idle_since.is_none() && area.tried < area.whole.len())?;
        let slot = self.take_slot()?;
        let mut area = self.areas.remove(at);
        let len = (area.whole.len() - area.tried).min(self.chunk_len_max);
        let memory = area.whole.split_at(area.tried).1.split_at(len).0;
        area.tried += len;
        area.busy = true;
        let job = Job { area: area.id, chunk: Arc::new(Chunk { memory, slot, _keep: area.keep.clone() }) };
        // Its turn comes again after the others'.
        self.areas.push(area);
        Some(job)
    }

    fn take_slot(&mut self) -> Option<u16> {
        self.free_slots.pop().or_else(|| {
            let slot = self.slots;
            (slot < self.slots_max).then(|| {
                self.slots += 1;
                slot as u16
            })
        })
    }

    /// A chunk is pinned, or it is not and its area is left alone from now on.
    pub(super) fn finish(&mut self, job: Job, pinned: bool) {
        let area = self.areas.iter_mut().find(|area| area.id == job.area).expect("a busy area stays");
        area.busy = false;
        if pinned {
            let at = self.published.partition_point(|other| other.start() < job.chunk.start());
            let (before, after) = self.published.split_at(at);
            self.published = before.iter().chain([&job.chunk]).chain(after).cloned().collect();
        } else {
            area.tried = area.whole.len();
            self.free_slots.push(job.chunk.slot);
        }
    }

    /// Withdraws the areas that nobody has wanted for [`LINGER`], or sooner if there are many. `None` if there are none; else
    /// what kept them mapped, to be dropped where it may take its time. Their chunks keep them mapped as well.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Vec<Keep>> {
        let mut lingering = self.areas.iter().filter(|area| area.idle_since.is_some()).count();
        let mut keeps = Vec::new();
        while let Some(id) = self.next_expired(now, lingering) {
            let area = self.areas.iter().find(|area| area.id == id).expect("it was found");
            let (start, end) = (area.whole.as_ptr().addr(), area.whole.as_ptr().addr() + area.whole.len());
            let is_of_it = |chunk: &&Arc<Chunk>| (start..end).contains(&chunk.start());
            self.withdrawn.extend(self.published.iter().filter(is_of_it).cloned());
            self.published = self.published.iter().filter(|chunk| !is_of_it(chunk)).cloned().collect();
            keeps.extend(self.remove(id));
            lingering -= 1;
        }
        (!keeps.is_empty()).then_some(keeps)
    }

    fn next_expired(&self, now: Instant, lingering: usize) -> Option<AreaId> {
        let idle = self.areas.iter().filter(|area| !area.busy).filter_map(|area| Some((area.idle_since?, area.id)));
        let (since, id) = idle.min_by_key(|&(since, _)| since)?;
        (lingering > LINGERING_MAX || now.saturating_duration_since(since) >= LINGER).then_some(id)
    }

    /// A withdrawn chunk that no core holds any more. [`Registry::forget`] follows.
    pub(super) fn next_unused(&mut self) -> Option<Arc<Chunk>> {
        let at = self.withdrawn.iter().position(|chunk| Arc::strong_count(chunk) == 1)?;
        Some(self.withdrawn.swap_remove(at))
    }

    /// A chunk is unpinned: its slot is free.
    pub(super) fn forget(&mut self, slot: u16) {
        self.free_slots.push(slot);
        // Low ones first: they keep the tables in the kernel short.
        self.free_slots.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// When there is something to do although nobody asks for anything.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if !self.withdrawn.is_empty() {
            return Some(now + Duration::from_millis(20));
        }
        let idle = self.areas.iter().filter_map(|area| area.idle_since).min();
        idle.map(|since| since + LINGER)
    }

    /// What cores can use, by address.
    pub(super) fn published(&self) -> Arc<[Arc<Chunk>]> {
        self.published.clone()
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;

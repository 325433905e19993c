//! Requests in progress: a slot for every chain that a ring can hold, all of it set aside when the queue starts.
//!
//! A slot owns its chain's [`Head`] and the segments of the request until it is given back. It is named by index and
//! generation, so that a completion which comes for a request that is no more is seen as such.
#![allow(unsafe_code)]

use bdev::{Segment, SegmentSlice};

use crate::scsi::{BlockOp, Command};
use crate::virtio::ring::{Head, MAX_SEGMENTS};
use crate::virtio_scsi::Address;

use super::lun_map::EntryIndex;
use super::stood_in::StoodIn;
use super::tag::{Generation, SlotIndex};

/// Segments that every slot has room for: enough for a response and data in a few pieces.
const SMALL: usize = 8;
/// Lists for requests with more segments than that which a queue starts with. It adds one when they are all in use, for
/// requests that a sick disk keeps must not hold up those of others.
const LARGE_LISTS: u16 = 16;
/// Segments of a large one: all of a chain, and one more where the response ends in the middle of a piece.
const LARGE: usize = MAX_SEGMENTS + 1;

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No request.
    Free,
    /// Taken from the ring, not yet started: task management of its logical unit goes first.
    Barred,
    /// Its operation waits for room in the channel.
    Waiting,
    /// A channel has its operation: its memory belongs to the kernel.
    InFlight,
}

/// How a request that is ended early is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// By ABORT TASK and ABORT TASK SET.
    Aborted,
    /// By a reset of its logical unit or nexus.
    Reset,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) phase: Phase,
    pub(crate) generation: Generation,
    /// To be given back to the ring exactly once; there unless the slot is free.
    pub(crate) head: Option<Head>,
    /// The driver's name of it (`id` in the request header).
    pub(crate) id: u64,
    pub(crate) address: Address,
    pub(crate) entry: EntryIndex,
    pub(crate) command: Command,
    /// The operation that it waits for.
    pub(crate) op: BlockOp,
    /// Bytes that the request's data buffer has, in the command's direction.
    pub(crate) data_len: u64,
    /// The data buffer holds data from the driver.
    pub(crate) data_out: bool,
    /// Set when task management ends it.
    pub(crate) verdict: Option<Verdict>,
    /// Memory that stands in for what the client does not share. A free slot has none.
    pub(crate) stood_in: Option<Box<StoodIn>>,
    response_count: u16,
    count: u16,
    large: Option<u16>,
}

/// All requests of one queue.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Box<[Slot]>,
    free: Vec<SlotIndex>,
    small: Box<[Segment]>,
    large: Vec<Box<[Segment]>>,
    free_large: Vec<u16>,
}

impl Slots {
    /// Slots for a ring of `size` entries: it cannot hold more chains than that.
    pub(crate) fn new(size: u16) -> Self {
        let empty = || Slot {
            phase: Phase::Free,
            generation: Generation::default(),
            head: None,
            id: 0,
            address: Address { target: 0, lun: 0 },
            entry: EntryIndex::default(),
            command: Command::TestUnitReady,
            op: BlockOp::FLUSH,
            data_len: 0,
            data_out: false,
            verdict: None,
            stood_in: None,
            response_count: 0,
            count: 0,
            large: None,
        };
        Self {
            slots: (0..size).map(|_| empty()).collect(),
            free: (0..size).rev().map(SlotIndex).collect(),
            small: vec![Segment::EMPTY; usize::from(size) * SMALL].into(),
            large: (0..LARGE_LISTS).map(|_| large_list()).collect(),
            free_large: (0..LARGE_LISTS).collect(),
        }
    }

    /// Whether a chain can be taken. If not, it stays in the ring: natural backpressure.
    pub(crate) fn has_room(&self) -> bool {
        !self.free.is_empty()
    }

    /// Requests in progress.
    pub(crate) fn busy(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a slot for the chain of `head`, which has `segments` segments. Only after [`Slots::has_room`].
    pub(crate) fn take(&mut self, head: Head, segments: usize) -> SlotIndex {
        let index = self.free.pop().expect("has_room was asked");
        // One more than the chain has: the response may end in the middle of a piece.
        let large = (segments >= SMALL).then(|| self.free_large.pop().unwrap_or_else(|| self.add_large()));
        let slot = &mut self.slots[usize::from(index.0)];
        slot.generation.0 = slot.generation.0.wrapping_add(1);
        slot.head = Some(head);
        slot.verdict = None;
        slot.large = large;
        (slot.response_count, slot.count) = (0, 0);
        index
    }

    /// Makes room for one more large request than there ever were at a time. There are never more than slots.
    #[cold]
    fn add_large(&mut self) -> u16 {
        self.large.push(large_list());
        (self.large.len() - 1) as u16
    }

    /// Whether `index` still holds the request of this generation.
    pub(crate) fn holds(&self, index: SlotIndex, generation: Generation) -> bool {
        let slot = &self.slots[usize::from(index.0)];
        slot.phase != Phase::Free && slot.generation == generation
    }

    /// Gives a slot back, and returns the head that it owned.
    pub(crate) fn give_back(&mut self, index: SlotIndex) -> Head {
        let slot = &mut self.slots[usize::from(index.0)];
        slot.phase = Phase::Free;
        debug_assert!(slot.stood_in.is_none(), "whoever ends a request takes it");
        self.free_large.extend(slot.large.take());
        self.free.push(index);
        slot.head.take().expect("a slot that is not free owns a head")
    }

    /// The slot.
    pub(crate) fn get(&mut self, index: SlotIndex) -> &mut Slot {
        &mut self.slots[usize::from(index.0)]
    }

    /// Every slot that holds a request.
    pub(crate) fn iter_busy(&mut self) -> impl Iterator<Item = (SlotIndex, &mut Slot)> {
        let all = self.slots.iter_mut().enumerate();
        all.filter(|(_, slot)| slot.phase != Phase::Free).map(|(index, slot)| (SlotIndex(index as u16), slot))
    }

    /// Lets `fill` write the request's segments: those of the response first, then those of the data. It returns how
    /// many there are of each.
    pub(crate) fn fill(&mut self, index: SlotIndex, fill: impl FnOnce(&mut [Segment]) -> (usize, usize)) {
        let (response, data) = fill(self.list_mut(index));
        let slot = &mut self.slots[usize::from(index.0)];
        (slot.response_count, slot.count) = (response as u16, (response + data) as u16);
    }

    /// Segments of the response.
    pub(crate) fn response(&self, index: SlotIndex) -> &[Segment] {
        let slot = &self.slots[usize::from(index.0)];
        &self.list(index)[..usize::from(slot.response_count)]
    }

    /// Segments of the data buffer.
    pub(crate) fn data(&self, index: SlotIndex) -> &[Segment] {
        let slot = &self.slots[usize::from(index.0)];
        &self.list(index)[usize::from(slot.response_count)..usize::from(slot.count)]
    }

    /// The first `len` bytes of the data buffer, for an operation: they stay in place until the slot is given back. What
    /// is behind them is forgotten.
    pub(crate) fn operation_data(&mut self, index: SlotIndex, len: u64) -> SegmentSlice {
        if len == 0 {
            // A flush before a read must not cost the read its buffer.
            return SegmentSlice::EMPTY;
        }
        let slot = &self.slots[usize::from(index.0)];
        let (first, last) = (usize::from(slot.response_count), usize::from(slot.count));
        let data = &mut self.list_mut(index)[first..last];
        let count = trim(data, len);
        // SAFETY: the lists are boxes that never move or grow; a list is refilled only after its slot was given back,
        // which is after the completion; and the drop of busy slots leaks the lists.
        unsafe { SegmentSlice::new(&data[..count]) }
    }

    fn list(&self, index: SlotIndex) -> &[Segment] {
        match self.slots[usize::from(index.0)].large {
            Some(large) => &self.large[usize::from(large)],
            None => &self.small[usize::from(index.0) * SMALL..][..SMALL],
        }
    }

    fn list_mut(&mut self, index: SlotIndex) -> &mut [Segment] {
        match self.slots[usize::from(index.0)].large {
            Some(large) => &mut self.large[usize::from(large)],
            None => &mut self.small[usize::from(index.0) * SMALL..][..SMALL],
        }
    }
}

impl Drop for Slots {
    /// The kernel may still look at the lists of requests in progress, and at memory that stands in for the guest's: those
    /// stay for ever. The quiesce protocol sees to it that there are none, except when the process ends.
    fn drop(&mut self) {
        if self.busy() > 0 {
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(std::mem::take(&mut self.small));
            std::mem::forget(std::mem::take(&mut self.large));
        }
    }
}

fn large_list() -> Box<[Segment]> {
    vec![Segment::EMPTY; LARGE].into()
}

/// Cuts `segments` so that the first of them hold `len` bytes together; returns how many that takes.
fn trim(segments: &mut [Segment], len: u64) -> usize {
    let mut left = len;
    for (index, segment) in segments.iter_mut().enumerate() {
        if left <= segment.len() as u64 {
            *segment = segment.split_at(left as usize).0;
            return index + 1;
        }
        left -= segment.len() as u64;
    }
    debug_assert_eq!(left, 0, "the caller compared the lengths");
    segments.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr::NonNull;

    fn segments(lens: &[usize]) -> Vec<Segment> {
        // SAFETY: never dereferenced.
        lens.iter().map(|&len| unsafe { Segment::new(NonNull::dangling(), len) }).collect()
    }

    fn lens(segments: &[Segment]) -> Vec<usize> {
        segments.iter().map(Segment::len).collect()
    }

    #[test]
    fn trims_to_the_byte() {
        for (before, len, after) in [(&[4, 4][..], 8, vec![4, 4]), (&[4, 4], 5, vec![4, 1]), (&[4, 4], 4, vec![4])] {
            let mut list = segments(before);
            let count = trim(&mut list, len);
            assert_eq!(lens(&list[..count]), after, "{before:?} to {len}");
        }
    }
}

//! Requests in progress: a slot for every chain that a ring can hold, all of it set aside when the queue starts.
//!
//! A slot owns its chain's [`Head`] and the segments of the request until it is given back. It is named by index and
//! generation, so that a completion which comes for a request that is no more is seen as such.
#![allow(unsafe_code)]

use bdev::{Segment, SegmentSlice};

use crate::scsi::{BlockOp, Command};
use crate::virtio::ring::{Head, MAX_SEGMENTS, USUAL_SEGMENTS};
use crate::virtio_scsi::{Address, CommandRequest, Plain};

use super::disk::DiskIndex;
use super::lun_map::EntryIndex;
use super::stood_in::StoodIn;
use super::tag::{Generation, SlotIndex};

/// Segments that every slot has room for: enough for a response and data in a few pieces.
const SMALL: usize = USUAL_SEGMENTS;
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
    /// By another initiator, where TAS of the control mode page wants it told so.
    TaskAborted,
    /// By a reset of its logical unit or nexus.
    Reset,
    /// Its logical unit was removed.
    Removed,
}

bitflags::bitflags! {
    /// What a usual request has none of.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Marks: u8 {
        /// There are buffers for data both ways, of which the command uses one at most.
        const BOTH_WAYS = 1;
        /// NACA is set in its CDB.
        const NACA = 2;
        /// It is the ACA command of its task set.
        const ACA = 4;
    }
}

/// One request: all that a usual one takes is in a few cache lines.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Slot {
    pub(crate) phase: Phase,
    pub(crate) generation: Generation,
    /// The next free one, if it is free.
    next_free: Option<SlotIndex>,
    /// To be given back to the ring exactly once; there unless the slot is free.
    head: Option<Head>,
    /// The driver's name of it (`id` in the request header).
    pub(crate) id: u64,
    pub(crate) address: Address,
    pub(crate) entry: EntryIndex,
    pub(crate) command: Command,
    /// The operation that it waits for.
    pub(crate) op: BlockOp,
    /// There if it is a usual READ or WRITE of this disk: then `op` is all of it, and `command` nothing.
    pub(crate) usual: Option<DiskIndex>,
    /// Bytes that the request's data buffer has, in the command's direction.
    pub(crate) data_len: u64,
    /// The data buffer holds data from the driver.
    pub(crate) data_out: bool,
    pub(crate) marks: Marks,
    /// Bytes of the buffers that it does not use, if it has some both ways.
    pub(crate) other_len: u64,
    /// An operation of its command has been done: what follows takes its turn with the others'.
    pub(crate) is_late: bool,
    /// Set when task management ends it.
    pub(crate) verdict: Option<Verdict>,
    /// Memory that stands in for what the client does not share. A free slot has none.
    pub(crate) stood_in: Option<Box<StoodIn>>,
    response_count: u16,
    count: u16,
    /// Its list, if its own is too small.
    large: Option<u16>,
    small: [Segment; SMALL],
}

impl Slot {
    /// Bytes of buffers in the direction that the command does not use, where there are both.
    pub(crate) fn unused_len(&self) -> u64 {
        if self.marks.contains(Marks::BOTH_WAYS) { self.other_len } else { 0 }
    }

    /// The name of its chain in the ring.
    pub(crate) fn chain(&self) -> u16 {
        self.head.as_ref().expect("it is not free").id()
    }
}

/// All requests of one queue.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Box<[Slot]>,
    /// The one that was given back last is taken next: it is still in the cache. The others follow from slot to slot, so that
    /// what is written for a request is in its own lines.
    free: Option<SlotIndex>,
    room: usize,
    large: Vec<Box<LargeList>>,
    free_large: Option<u16>,
}

/// Room for the segments of a request that has many, on lines of its own.
#[derive(Debug)]
#[repr(align(64))]
struct LargeList {
    segments: [Segment; LARGE],
    /// The next free one, if it is free.
    next_free: Option<u16>,
}

impl Slots {
    /// Slots for a ring of `size` entries: it cannot hold more chains than that.
    pub(crate) fn new(size: u16) -> Self {
        let empty = |index: u16| Slot {
            phase: Phase::Free,
            next_free: (index + 1 < size).then_some(SlotIndex(index + 1)),
            generation: Generation::default(),
            head: None,
            id: 0,
            address: Address { target: 0, lun: 0 },
            entry: EntryIndex::default(),
            command: Command::TestUnitReady,
            op: BlockOp::FLUSH,
            usual: None,
            data_len: 0,
            data_out: false,
            marks: Marks::empty(),
            other_len: 0,
            is_late: false,
            verdict: None,
            stood_in: None,
            response_count: 0,
            count: 0,
            large: None,
            small: [Segment::EMPTY; SMALL],
        };
        Self {
            slots: (0..size).map(empty).collect(),
            free: (size > 0).then_some(SlotIndex(0)),
            room: size.into(),
            large: (0..LARGE_LISTS).map(|index| large_list(index.checked_sub(1))).collect(),
            free_large: Some(LARGE_LISTS - 1),
        }
    }

    /// How many chains can be taken. Others stay in the ring: natural backpressure.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Requests in progress.
    pub(crate) fn busy(&self) -> usize {
        self.slots.len() - self.room
    }

    /// Takes a slot for the chain of `head`, which has `segments` segments. Only where there is [`Slots::room`].
    pub(crate) fn take(&mut self, head: Head, segments: usize) -> SlotIndex {
        // One more than the chain has: the response may end in the middle of a piece.
        let large = (segments >= SMALL).then(|| self.take_large());
        let (index, slot) = self.take_next(head);
        slot.large = large;
        (slot.response_count, slot.count) = (0, 0);
        index
    }

    /// A slot for the chain of `head`, which is cut as usual. Only where there is [`Slots::room`].
    pub(crate) fn take_plain(&mut self, head: Head, plain: &Plain<'_>) -> SlotIndex {
        let (index, slot) = self.take_next(head);
        slot.small[0] = *plain.response;
        slot.small[1..][..plain.data.len()].copy_from_slice(plain.data);
        (slot.response_count, slot.count) = (1, plain.data.len() as u16 + 1);
        (slot.data_len, slot.data_out, slot.marks) = (plain.data_len, plain.data_out, Marks::empty());
        index
    }

    /// The same for a usual command, all of which is known: its one operation, and the unit that it is for.
    #[inline(always)]
    pub(super) fn take_usual(
        &mut self,
        head: Head,
        plain: &Plain<'_>,
        (address, entry): (Address, EntryIndex),
        op: BlockOp,
    ) -> SlotIndex {
        let index = self.take_plain(head, plain);
        let slot = self.get(index);
        (slot.id, slot.address, slot.entry, slot.op) = (CommandRequest::id(plain.header), address, entry, op);
        index
    }

    #[inline]
    fn take_next(&mut self, head: Head) -> (SlotIndex, &mut Slot) {
        let index = self.free.expect("there is room");
        let slot = &mut self.slots[usize::from(index.0)];
        self.free = slot.next_free;
        self.room -= 1;
        slot.generation.0 = slot.generation.0.wrapping_add(1);
        slot.head = Some(head);
        slot.verdict = None;
        slot.is_late = false;
        slot.usual = None;
        (index, slot)
    }

    /// A large list; one more if there never were so many large requests at a time. There are never more than slots.
    #[cold]
    fn take_large(&mut self) -> u16 {
        if let Some(index) = self.free_large {
            self.free_large = self.large[usize::from(index)].next_free;
            return index;
        }
        self.large.push(large_list(None));
        (self.large.len() - 1) as u16
    }

    /// Whether `index` still holds the request of this generation.
    pub(crate) fn holds(&self, index: SlotIndex, generation: Generation) -> bool {
        let slot = self.slots.get(usize::from(index.0));
        slot.is_some_and(|slot| slot.phase != Phase::Free && slot.generation == generation)
    }

    /// Gives a slot back, and returns the head that it owned.
    #[inline]
    pub(crate) fn give_back(&mut self, index: SlotIndex) -> Head {
        let slot = &mut self.slots[usize::from(index.0)];
        slot.phase = Phase::Free;
        debug_assert!(slot.stood_in.is_none(), "whoever ends a request takes it");
        if let Some(large) = slot.large.take() {
            self.large[usize::from(large)].next_free = self.free_large.replace(large);
        }
        slot.next_free = self.free.replace(index);
        self.room += 1;
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
    #[inline]
    pub(crate) fn response(&self, index: SlotIndex) -> &[Segment] {
        let (slot, list) = self.list(index);
        &list[..usize::from(slot.response_count)]
    }

    /// Segments of the data buffer.
    pub(crate) fn data(&self, index: SlotIndex) -> &[Segment] {
        let (slot, list) = self.list(index);
        &list[usize::from(slot.response_count)..usize::from(slot.count)]
    }

    /// The first `len` bytes of the data buffer, for an operation: they stay in place until the slot is given back. What
    /// is behind them is forgotten.
    #[inline]
    pub(crate) fn operation_data(&mut self, index: SlotIndex, len: u64) -> SegmentSlice {
        if len == 0 {
            // A flush before a read must not cost the read its buffer.
            return SegmentSlice::EMPTY;
        }
        let slot = &mut self.slots[usize::from(index.0)];
        let (first, last) = (usize::from(slot.response_count), usize::from(slot.count));
        let list = match slot.large {
            Some(large) => &mut self.large[usize::from(large)].segments[..],
            None => &mut slot.small,
        };
        let data = &mut list[first..last];
        let count = if len == slot.data_len { data.len() } else { trim(data, len) };
        // SAFETY: the lists are in boxes that never move or grow; a list is refilled only after its slot was given back,
        // which is after the completion; and the drop of busy slots leaks the lists.
        unsafe { SegmentSlice::new(&data[..count]) }
    }

    #[inline]
    fn list(&self, index: SlotIndex) -> (&Slot, &[Segment]) {
        let slot = &self.slots[usize::from(index.0)];
        let list = match slot.large {
            Some(large) => &self.large[usize::from(large)].segments[..],
            None => &slot.small,
        };
        (slot, list)
    }

    fn list_mut(&mut self, index: SlotIndex) -> &mut [Segment] {
        let slot = &mut self.slots[usize::from(index.0)];
        match slot.large {
            Some(large) => &mut self.large[usize::from(large)].segments,
            None => &mut slot.small,
        }
    }
}

impl Drop for Slots {
    /// The kernel may still look at the lists of requests in progress, and at memory that stands in for the guest's: those
    /// stay for ever. The quiesce protocol sees to it that there are none, except when the process ends.
    fn drop(&mut self) {
        if self.busy() > 0 {
            std::mem::forget(std::mem::take(&mut self.slots));
            std::mem::forget(std::mem::take(&mut self.large));
        }
    }
}

fn large_list(next_free: Option<u16>) -> Box<LargeList> {
    Box::new(LargeList { segments: [Segment::EMPTY; LARGE], next_free })
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
    fn a_name_from_a_longer_ring_is_nobodys() {
        let mut slots = Slots::new(4);
        assert!(!slots.holds(SlotIndex(200), Generation(1)) && !slots.holds(SlotIndex(0), Generation(0)));
        assert_eq!(slots.iter_busy().count(), 0);
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

//! The way of a request's operation to its channel and, where there is no room, the wait for it.

use bdev::{Op, Ran, SubmitError};

use crate::scsi::BlockOp;

use super::cx::Cx;
use super::disk::DiskIndex;
use super::request_queue::RequestQueue;
use super::slots::Phase;
use super::tag::SlotIndex;

/// Long commands of one queue that go on in one pass: each may copy or compare a piece of its data.
const LONG_STEPS_MAX: usize = 16;

impl RequestQueue {
    /// Has the slot's operation done: at once if its device can do that, otherwise by its channel.
    #[inline]
    pub(super) fn submit(&mut self, slot: SlotIndex, cx: &mut Cx) {
        let disk = self.disk_of(slot);
        let op = self.operation(slot);
        // A command of many operations gives others their turn in between.
        if !self.slots.get(slot).is_late && cx.channels[disk.0].channel.runs() {
            match cx.channels[disk.0].channel.run(&[op]) {
                Ran { failed: Some(error), .. } => return self.complete(slot, Err(error), cx),
                Ran { done: 1.., .. } => return self.complete(slot, Ok(()), cx),
                // It would rather not do it at once.
                Ran { .. } => {}
            }
        }
        if !self.try_submit(slot, cx) {
            self.wait_for_room(slot, cx);
        }
    }

    /// The slot's operation found no room.
    #[cold]
    pub(super) fn wait_for_room(&mut self, slot: SlotIndex, cx: &mut Cx) {
        self.slots.get(slot).phase = Phase::Waiting;
        self.waiting.push_back(slot);
        cx.has_waiting = true;
    }

    /// Gives operations that had to wait to their channels, the oldest first; how many were taken. One whose channel is
    /// still full does not hold up those of other disks; once it was found full in this round it is not asked again. Long
    /// commands go on, so many of them.
    pub(crate) fn submit_waiting(&mut self, cx: &mut Cx) -> usize {
        let (mut taken, mut steps) = (self.submit_fenced(cx), 0);
        for _ in 0..self.waiting.len() {
            let slot = self.waiting.pop_front().expect("counted");
            let is_taken = if self.longs.holds(slot) {
                steps += 1;
                steps <= LONG_STEPS_MAX && self.advance(slot, cx)
            } else {
                let disk = self.disk_of(slot);
                self.stand_behind(slot, cx) || !cx.full.contains(&disk) && self.try_submit(slot, cx)
            };
            if is_taken {
                taken += 1;
            } else {
                self.waiting.push_back(slot);
            }
        }
        taken
    }

    fn try_submit(&mut self, slot: SlotIndex, cx: &mut Cx) -> bool {
        let disk = self.disk_of(slot);
        self.try_submit_to(disk, slot, cx)
    }

    /// Gives the slot's operation to the channel of `disk`; false if that is full.
    #[inline]
    pub(super) fn try_submit_to(&mut self, disk: DiskIndex, slot: SlotIndex, cx: &mut Cx) -> bool {
        let (tag, op) = (self.name(slot).tag(), self.operation(slot));
        let (channel, io) = cx.channel(disk);
        match channel.submit(io, &op, tag) {
            Ok(()) => {
                self.slots.get(slot).phase = Phase::InFlight;
                true
            }
            Err(SubmitError::Full) => {
                if !cx.full.contains(&disk) {
                    cx.full.push(disk);
                }
                false
            }
        }
    }

    /// The slot's operation.
    #[inline]
    fn operation(&mut self, slot: SlotIndex) -> Op {
        let BlockOp { kind, offset, len } = self.slots.get(slot).op;
        Op { kind, offset, len, segments: self.slots.operation_data(slot, len) }
    }

    /// The disk that the slot's operation is for.
    #[inline]
    fn disk_of(&mut self, slot: SlotIndex) -> DiskIndex {
        let entry = self.queue.luns.entry(self.slots.get(slot).entry);
        entry.disk.as_ref().expect("only a disk has operations").index
    }

    /// Tries to get an operation back from its channel.
    #[cold]
    pub(crate) fn cancel(&mut self, slot: SlotIndex, cx: &mut Cx) {
        let tag = self.name(slot).tag();
        let disk = self.longs.at(slot).unwrap_or_else(|| self.disk_of(slot));
        let (channel, io) = cx.channel(disk);
        channel.cancel(io, tag);
    }
}

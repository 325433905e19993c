//! How a long command ends.

use super::Wants;
use crate::scsi::Outcome;
use crate::target::request_queue::RequestQueue;
use crate::target::tag::SlotIndex;

impl RequestQueue {
    /// The command has ended; if with an operation that failed, perhaps at a place that is known.
    pub(super) fn end_at(&mut self, slot: SlotIndex, outcome: Outcome) {
        let unit = &self.queue.luns.entry(self.slots.get(slot).entry).unit;
        let long = self.longs.get(slot);
        let is_own = matches!(long.wants, Wants::Failed(_)) && long.at.index == long.disk.index;
        let outcome = unit.disk().filter(|_| is_own).map_or(outcome, |unit| unit.locate(&long.op, outcome));
        self.end_long(slot, &outcome);
    }

    /// The command has ended.
    pub(super) fn end_long(&mut self, slot: SlotIndex, outcome: &Outcome) {
        let used = if self.longs.holds(slot) { self.longs.get(slot).used } else { 0 };
        self.longs.forget(slot);
        let mut outcome = *outcome;
        self.apply(slot, &mut outcome);
        self.end(slot, &outcome, used);
    }
}

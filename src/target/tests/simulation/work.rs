//! FORMAT UNIT on disks that are shared: work that goes on whatever becomes of the command that began it, and that may put zeros
//! on any block until nothing of it is left.

use std::collections::BTreeSet;

use super::*;

const FORMAT_UNIT: [u8; 6] = [0x04, 0, 0, 0, 0, 0];

/// What is known of the work on one disk.
#[derive(Debug, Default)]
pub(super) struct Work {
    may_go_on: bool,
    /// The commands that may begin some, and lives that are over which have some.
    open: BTreeSet<(usize, u64)>,
    former: BTreeSet<usize>,
}

impl Work {
    /// A request of a guest has ended.
    pub(super) fn ended(&mut self, guest: usize, id: u64) {
        self.open.remove(&(guest, id));
    }

    /// A guest's life has ended.
    pub(super) fn life_ended(&mut self, guest: usize, life: usize) {
        let count = self.open.len();
        self.open.retain(|&(its, _)| its != guest);
        if self.open.len() < count {
            self.former.insert(life);
        }
    }

    /// Nothing of a former life is left.
    pub(super) fn life_is_gone(&mut self, life: usize) {
        self.former.remove(&life);
    }

    /// Whether all work is over now, which was not before.
    fn is_over(&mut self, is_busy: bool) -> bool {
        let goes_on = is_busy || !self.open.is_empty() || !self.former.is_empty();
        std::mem::replace(&mut self.may_go_on, goes_on) && !goes_on
    }
}

impl Simulation {
    /// A guest formats a disk: seldom, or to mend one that was not formatted to its end.
    pub(super) fn format(&mut self) {
        let target = self.random.below(DISKS) as usize;
        let number = self.random.below(2) as usize;
        let is_corrupt = self.bed.disks[target].hold.hindrance(None).is_some();
        let guest = &mut self.bed.guests[number];
        if !is_corrupt && !self.random.one_in(8) || guest.open_in(2) >= OPEN_MAX {
            return;
        }
        guest.attribute = TASK_ATTR_SIMPLE;
        let id = guest.send(0, target as u8, &FORMAT_UNIT, Data::Without);
        self.models.iter_mut().for_each(|model| model.work_begins(target as u8));
        self.models[number].sent(target as u8, id, Command::Other);
        self.books[target].sent(number, id, Need::Several);
        self.functions.sent((number, id), target as u8, 0);
        if number == 0 {
            self.allegiances[target].sent(id, TASK_ATTR_SIMPLE, false);
        }
        let work = &mut self.work[target];
        work.may_go_on = true;
        work.open.insert((number, id));
        self.note_absence(number, target as u8, id);
    }

    /// Looks which work is over.
    pub(super) fn look_at_work(&mut self) {
        for (target, (work, disk)) in self.work.iter_mut().zip(&self.bed.disks).enumerate() {
            if work.is_over(disk.hold.is_busy()) {
                self.models.iter_mut().for_each(|model| model.work_is_over(target as u8));
            }
        }
    }
}

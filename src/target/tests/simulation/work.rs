//! FORMAT UNIT and SANITIZE on disks that are shared: work that goes on whatever becomes of the command that began it, that may
//! put zeros on any block until nothing of it is left, and during which nobody gets to the medium.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const FORMAT_UNIT: [u8; 6] = [0x04, 0, 0, 0, 0, 0];
/// BLOCK ERASE with IMMED and AUSE; OVERWRITE with a list of so many bytes, with IMMED and AUSE and without.
const ERASE: [u8; 10] = [0x48, 0xa2, 0, 0, 0, 0, 0, 0, 0, 0];
const OVERWRITE: [u8; 10] = [0x48, 0xa1, 0, 0, 0, 0, 0, 0, 8, 0];
const OVERWRITE_AND_WAIT: [u8; 10] = [0x48, 0x21, 0, 0, 0, 0, 0, 0, 8, 0];
/// Twice, with four zeros.
const WITH_ZEROS: [u8; 8] = [2, 0, 0, 4, 0, 0, 0, 0];
const REQUEST_SENSE: [u8; 6] = [0x03, 0, 0, 0, 18, 0];

/// What is known of the work on one disk.
#[derive(Debug, Default)]
pub(super) struct Work {
    may_go_on: bool,
    /// The commands that may begin some, and lives that are over which have some.
    open: BTreeSet<(usize, u64)>,
    former: BTreeSet<usize>,
    /// Counts what may have begun or ended some.
    changes: u64,
    /// Commands that cannot be done while the same work goes on, with the changes before them.
    kept_out: BTreeMap<(usize, u64), u64>,
    /// REQUEST SENSEs, with the changes before them and how far the work was, at least.
    asked: BTreeMap<(usize, u64), (u64, u16)>,
    /// How far it is, at least, and the changes before that.
    progress: (u64, u16),
}

impl Work {
    /// Whether the work that goes on is the same until something changes: no command could begin other work.
    fn is_alone(&self) -> bool {
        self.may_go_on && self.open.is_empty() && self.former.is_empty()
    }

    /// A guest sent a command.
    pub(super) fn sent(&mut self, name: (usize, u64), touches_medium: bool, is_busy: bool) {
        if touches_medium && is_busy && self.is_alone() {
            self.kept_out.insert(name, self.changes);
        }
    }

    fn sent_work(&mut self, name: (usize, u64)) {
        (self.may_go_on, self.changes) = (true, self.changes + 1);
        self.open.insert(name);
    }

    fn sent_question(&mut self, name: (usize, u64)) {
        let (changes, least) = self.progress;
        self.asked.insert(name, (self.changes, if changes == self.changes { least } else { 0 }));
    }

    /// A request of a guest has ended.
    pub(super) fn ended(&mut self, name: (usize, u64), ended: &Ended, is_busy: bool) {
        self.changes += u64::from(self.open.remove(&name));
        let now = (is_busy && self.is_alone()).then_some(self.changes);
        let is_good = ended.response == 0 && ended.status == 0;
        if let Some(changes) = self.kept_out.remove(&name) {
            assert!(!is_good || now != Some(changes), "{ended:?} of {name:?} is done while work goes on: {self:?}");
        }
        // A unit attention goes before what REQUEST SENSE would tell.
        if let Some((changes, least)) = self.asked.remove(&name)
            && is_good
            && now == Some(changes)
            && let Some(parts) = progress_of(&ended.data)
        {
            assert!(parts >= least, "work goes back from {least} to {parts}");
            let before = if self.progress.0 == changes { self.progress.1 } else { 0 };
            self.progress = (changes, parts.max(before));
        }
    }

    /// A guest's life has ended.
    pub(super) fn life_ended(&mut self, guest: usize, life: usize) {
        let count = self.open.len();
        self.open.retain(|&(its, _)| its != guest);
        self.kept_out.retain(|&(its, _), _| its != guest);
        self.asked.retain(|&(its, _), _| its != guest);
        if self.open.len() < count {
            self.former.insert(life);
        }
    }

    /// Nothing of a former life is left.
    pub(super) fn life_is_gone(&mut self, life: usize) {
        self.changes += u64::from(self.former.remove(&life));
    }

    /// Whether all work is over now, which was not before.
    fn is_over(&mut self, is_busy: bool) -> bool {
        let goes_on = is_busy || !self.open.is_empty() || !self.former.is_empty();
        let is_over = std::mem::replace(&mut self.may_go_on, goes_on) && !goes_on;
        self.changes += u64::from(is_over);
        is_over
    }
}

/// What sense data in fixed format says of work in progress: so many parts of 65,536.
fn progress_of(data: &[u8]) -> Option<u16> {
    let is_work = data[2] == 2 && data[12] == 4 && matches!(data[13], 0x04 | 0x1b);
    (is_work && data[15] & 0x80 != 0).then(|| u16::from_be_bytes([data[16], data[17]]))
}

impl Simulation {
    /// A guest formats or sanitizes a disk: seldom, or to mend one where that did not come to its end.
    pub(super) fn format(&mut self) {
        let target = self.random.below(DISKS) as usize;
        let number = self.random.below(2) as usize;
        let is_corrupt = self.bed.disks[target].hold.hindrance(None).is_some();
        if !is_corrupt && !self.random.one_in(6) || self.bed.guests[number].open_in(2) >= OPEN_MAX {
            return;
        }
        self.models.iter_mut().for_each(|model| model.work_begins(target as u8));
        self.meeting.work_begins(target as u8);
        let (cdb, data): (&[u8], _) = match self.random.below(4) {
            0 => (&FORMAT_UNIT, Data::Without),
            1 => (&ERASE, Data::Without),
            2 => (&OVERWRITE, Data::Out(&WITH_ZEROS)),
            _ => (&OVERWRITE_AND_WAIT, Data::Out(&WITH_ZEROS)),
        };
        let id = self.request(number, target as u8, cdb, data, Command::Other);
        self.work[target].sent_work((number, id));
    }

    /// A guest asks how far such work is.
    pub(super) fn ask_progress(&mut self) {
        // The second guest's unit never goes: from one that has REQUEST SENSE gets an answer, too.
        let (number, target) = (1, self.random.below(DISKS) as usize);
        let is_busy = self.bed.disks[target].hold.is_busy();
        if !is_busy || self.bed.guests[number].open_in(2) >= OPEN_MAX {
            return;
        }
        let id = self.request(number, target as u8, &REQUEST_SENSE, Data::In(18), Command::Other);
        if self.work[target].is_alone() {
            self.work[target].sent_question((number, id));
        }
    }

    /// Looks which work is over.
    pub(super) fn look_at_work(&mut self) {
        for (target, (work, disk)) in self.work.iter_mut().zip(&self.bed.disks).enumerate() {
            if work.is_over(disk.hold.is_busy()) {
                self.models.iter_mut().for_each(|model| model.work_is_over(target as u8));
                self.meeting.work_is_over(target as u8);
            }
        }
    }
}

//! What TAS of the control mode page says: whether a command that another guest aborts ends with TASK ABORTED, or without a status
//! of its own and then with a unit attention.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const MODE_SELECT: [u8; 6] = [0x15, 0x10, 0, 0, 16, 0];
/// ABORTED as a response: by its own guest, or by another without a word.
const ABORTED: u8 = 2;

/// What is known of TAS at one disk, for the first two guests.
#[derive(Debug, Default)]
pub(super) struct Aborts {
    now: [Option<bool>; 2],
    /// Counts what may have changed it.
    changes: [u64; 2],
    /// MODE SELECTs on their way, with what they set and the changes before them.
    selects: BTreeMap<(usize, u64), (bool, u64)>,
    /// Functions that may set it back.
    resets: BTreeSet<(usize, u64)>,
    /// Some of those are of a life that is over: nobody can say when they are done.
    is_lost: bool,
    /// Commands on their way, with what held when they were sent.
    commands: BTreeMap<(usize, u64), (Option<bool>, u64)>,
}

impl Aborts {
    /// A guest sent a command.
    pub(super) fn sent(&mut self, name: (usize, u64)) {
        if let Some((now, changes)) = self.now.get(name.0).zip(self.changes.get(name.0)) {
            self.commands.insert(name, (*now, *changes));
        }
    }

    /// A guest sent what may set it back.
    pub(super) fn sent_reset(&mut self, name: (usize, u64)) {
        self.disturbed();
        self.resets.insert(name);
    }

    fn sent_select(&mut self, name: (usize, u64), value: bool) {
        self.changed(name.0);
        self.selects.insert(name, (value, self.changes[name.0]));
    }

    fn changed(&mut self, guest: usize) {
        self.now[guest] = None;
        self.changes[guest] += 1;
    }

    /// Something else may have set it back.
    pub(super) fn disturbed(&mut self) {
        (0..2).for_each(|guest| self.changed(guest));
    }

    /// A request has ended that may be one of those that change it.
    pub(super) fn change_ended(&mut self, name: (usize, u64), ended: &Ended) {
        if self.resets.remove(&name) {
            self.disturbed();
        }
        if let Some((value, changes)) = self.selects.remove(&name) {
            let is_sure = changes == self.changes[name.0] && self.resets.is_empty() && !self.is_lost;
            self.changed(name.0);
            self.now[name.0] = (is_sure && ended.response == 0 && ended.status == 0).then_some(value);
        }
    }

    /// What held all the time while a command was on its way; none if nobody can say.
    fn held(&self, name: (usize, u64)) -> Option<bool> {
        let &(value, changes) = self.commands.get(&name)?;
        value.filter(|_| changes == self.changes[name.0])
    }

    /// Whether, for sure, a command cannot be aborted by another guest without a status that tells it.
    pub(super) fn tells(&self, name: (usize, u64)) -> bool {
        self.held(name) == Some(true)
    }

    /// A request has ended, which another guest may have aborted.
    pub(super) fn ended(&mut self, name: (usize, u64), ended: &Ended, by_another: bool) {
        let held = self.held(name);
        if self.commands.remove(&name).is_some() && ended.response == 0 && ended.status == TASK_ABORTED {
            assert!(by_another && held != Some(false), "{ended:?} of {name:?}: TAS is {held:?}, {by_another}");
        }
        assert!(ended.response != ABORTED || ended.status == 0, "{ended:?} has both a response and a status");
    }

    /// A guest's life has ended.
    pub(super) fn life_ended(&mut self, guest: usize) {
        if guest < self.now.len() {
            self.changed(guest);
        }
        let is_its = |&(its, _): &(usize, u64)| its == guest;
        self.is_lost |= self.resets.iter().any(is_its) || self.selects.keys().any(is_its);
        self.resets.retain(|name| !is_its(name));
        self.selects.retain(|name, _| !is_its(name));
        self.commands.retain(|name, _| !is_its(name));
    }
}

impl Simulation {
    /// A guest says how it wants to be told of commands that others abort.
    pub(super) fn choose_status(&mut self) {
        let (number, target) = (self.random.below(2) as usize, self.random.below(DISKS) as usize);
        if self.bed.guests[number].open_in(2) >= OPEN_MAX {
            return;
        }
        let value = !self.random.one_in(4);
        let tas = if value { 0x40 } else { 0 };
        let control = [0, 0, 0, 0, 0x0a, 0x0a, 0x22, 0x10, 0, tas, 0, 0, 0xff, 0xff, 0, 0];
        let id = self.request(number, target as u8, &MODE_SELECT, Data::Out(&control), Command::Other);
        self.aborts[target].sent_select((number, id), value);
    }
}

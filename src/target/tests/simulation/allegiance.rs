//! Auto contingent allegiances of the first guest, as far as it can know: when one holds for sure nothing is done but what it
//! sends to look into the fault, and when there can be none nothing is refused for one.

use std::collections::{BTreeMap, BTreeSet};

use crate::target::tests::guest::{Ended, TASK_ABORTED};
use crate::virtio_scsi::spec::TASK_ATTR_ACA;

const ACA_ACTIVE: u8 = 0x30;
/// INVALID MESSAGE ERROR: a command with the ACA attribute, and no allegiance.
const NO_ALLEGIANCE: (u8, u16) = (5, 0x4900);
/// LOGICAL UNIT NOT SUPPORTED: where there is no disk, NACA means nothing.
const NOT_SUPPORTED: (u8, u16) = (5, 0x2500);

/// What is known of one logical unit.
#[derive(Debug, Default)]
pub(super) struct Allegiance {
    holds: bool,
    may_hold: bool,
    /// Counts what may have ended one.
    enders: u64,
    /// What may end one and is under way, by guest and name; with the faults that there could be before it.
    ending: BTreeMap<(usize, u64), Option<u64>>,
    /// Commands with NACA: how many were sent, and which are open.
    sent: u64,
    open: BTreeSet<u64>,
    commands: BTreeMap<u64, Watched>,
}

/// A command on its way.
#[derive(Debug)]
struct Watched {
    attribute: u8,
    /// What had ended allegiances when it was sent; none if something was about to.
    enders: Option<u64>,
    /// An allegiance held, or may have.
    held: bool,
    may_have_held: bool,
}

impl Allegiance {
    /// Whether one holds, for all that is known.
    pub(super) fn holds(&self) -> bool {
        self.holds
    }

    /// Whether one may.
    pub(super) fn may_hold(&self) -> bool {
        self.may_hold
    }

    /// The guest sent a command.
    pub(super) fn sent(&mut self, id: u64, attribute: u8, naca: bool) {
        if naca {
            self.may_hold = true;
            self.sent += 1;
            self.open.insert(id);
            self.commands.values_mut().for_each(|other| other.may_have_held = true);
        }
        if attribute == TASK_ATTR_ACA {
            self.enders += 1;
        }
        let enders = self.ending.is_empty().then_some(self.enders);
        let (held, may_have_held) = (self.holds && enders.is_some(), self.may_hold);
        self.commands.insert(id, Watched { attribute, enders, held, may_have_held });
        if attribute == TASK_ATTR_ACA {
            self.ending.insert((0, id), None);
        }
    }

    /// A guest sent what may end an allegiance of the first one; `for_sure`, if it does when it is done.
    pub(super) fn sent_ender(&mut self, guest: usize, id: u64, for_sure: bool) {
        self.disturbed();
        self.ending.insert((guest, id), (for_sure && self.open.is_empty()).then_some(self.sent));
    }

    /// Something else may have ended it.
    pub(super) fn disturbed(&mut self) {
        self.holds = false;
        self.enders += 1;
    }

    /// A request of a guest has ended.
    pub(super) fn ended(&mut self, guest: usize, ended: &Ended) {
        if let Some(sent) = self.ending.remove(&(guest, ended.id)) {
            self.enders += 1;
            if sent == Some(self.sent) && ended.response == 0 {
                self.may_hold = false;
            }
        }
        if guest == 0
            && let Some(watched) = self.commands.remove(&ended.id)
        {
            let naca = self.open.remove(&ended.id);
            self.command_ended(&watched, naca, ended);
        }
    }

    fn command_ended(&mut self, watched: &Watched, naca: bool, ended: &Ended) {
        if ended.response != 0 || ended.status == TASK_ABORTED {
            return;
        }
        let is_refused = ended.status == ACA_ACTIVE;
        assert!(watched.may_have_held || !is_refused, "{ended:?} is refused for nothing: {watched:?}, {self:?}");
        let is_sure = watched.enders == Some(self.enders) && self.ending.is_empty();
        if watched.held && is_sure && watched.attribute != TASK_ATTR_ACA {
            assert!(is_refused, "{ended:?} is served under an allegiance: {watched:?}, {self:?}");
        }
        let Some(sense) = ended.sense else { return };
        if naca && is_sure && sense != NOT_SUPPORTED {
            self.holds = true;
        } else if watched.attribute == TASK_ATTR_ACA && sense != NO_ALLEGIANCE {
            self.disturbed();
        }
    }

    /// The first guest's life has ended. An allegiance goes on: nobody has reset the logical unit.
    pub(super) fn life_ended(&mut self) {
        self.disturbed();
        self.commands.clear();
        self.open.clear();
        self.ending.retain(|&(guest, _), _| guest != 0);
    }
}

//! Task management of guests that share disks, as far as they can know: no command ends early but for a function that is about
//! it, none that a LOGICAL UNIT RESET was about is open when that is answered, whoever sent it, and then each nexus is told.

use std::collections::BTreeMap;

use super::{CORES, DISKS};
use crate::target::tests::guest::{Ended, TASK_ABORTED};
use crate::virtio_scsi::spec::{
    TMF_ABORT_TASK, TMF_ABORT_TASK_SET, TMF_CLEAR_ACA, TMF_CLEAR_TASK_SET, TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET,
};

/// Passes of a core in which it has taken all that was in a ring, and heard of all that was sent to it.
const GRACE: u32 = 8;
/// A command ended as ABORTED, or as RESET.
const ABORTED: u8 = 2;
const RESET: u8 = 4;
const UNIT_ATTENTION: u8 = 6;
/// POWER ON, RESET, OR BUS DEVICE RESET OCCURRED, with all qualifiers.
const RESET_OCCURRED: u16 = 0x29;
const GUESTS: usize = 3;

/// A guest and the name of one of its requests.
type Name = (usize, u64);

/// What is known of the functions and commands of all guests.
#[derive(Debug, Default)]
pub(super) struct Functions {
    open: BTreeMap<Name, Function>,
    /// Those of lives that are over, and passes of each core until nothing comes of them; counted when the life is gone.
    haunting: Vec<(usize, Function, Option<[u32; CORES as usize]>)>,
    commands: BTreeMap<Name, Task>,
    units: [[Unit; DISKS as usize]; GUESTS],
    /// Those that were answered since the last look.
    answered: Vec<Function>,
}

#[derive(Debug, Clone)]
struct Function {
    guest: usize,
    kind: u32,
    target: u8,
    /// The command that it is about, if it is about one.
    id: u64,
    /// Commands of other guests that have to end before it does.
    must_end: Vec<Name>,
    /// How often each nexus had been told of a reset.
    told: [u64; GUESTS],
}

/// A command on its way.
#[derive(Debug)]
struct Task {
    target: u8,
    core: usize,
    passes: u32,
    may_abort: bool,
    may_reset: bool,
    /// Its nexus had a unit attention of a reset when it was sent.
    is_after_reset: bool,
}

/// A logical unit, to a guest.
#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    /// How often it has told of a reset, or was another one.
    told: u64,
    /// It was reset, and has not told that.
    is_due: bool,
}

impl Function {
    fn resets(&self) -> bool {
        matches!(self.kind, TMF_LOGICAL_UNIT_RESET | TMF_I_T_NEXUS_RESET)
    }

    fn aborts(&self) -> bool {
        matches!(self.kind, TMF_ABORT_TASK | TMF_ABORT_TASK_SET | TMF_CLEAR_TASK_SET | TMF_CLEAR_ACA)
    }

    /// Whether it is about such a command. Each nexus has a task set of its own (TST is 001b), so that only a reset of the
    /// logical unit is about those of others.
    fn is_about(&self, (guest, id): Name, target: u8) -> bool {
        let is_own = self.guest == guest || self.kind == TMF_LOGICAL_UNIT_RESET;
        target == self.target && is_own && (self.kind != TMF_ABORT_TASK || self.id == id)
    }

    fn mark(&self, name: Name, task: &mut Task) {
        if self.is_about(name, task.target) {
            task.may_abort |= self.aborts();
            task.may_reset |= self.resets();
        }
    }
}

impl Functions {
    /// A guest sent a command that the queue of this core takes.
    pub(super) fn sent(&mut self, name: Name, target: u8, core: usize) {
        let is_after_reset = self.units[name.0][usize::from(target)].is_due;
        let mut task = Task { target, core, passes: 0, may_abort: false, may_reset: false, is_after_reset };
        let haunting = self.haunting.iter().map(|(_, function, _)| function);
        self.open.values().chain(haunting).for_each(|function| function.mark(name, &mut task));
        self.commands.insert(name, task);
    }

    /// A guest sent a function, about the command `id` or all.
    pub(super) fn sent_function(&mut self, (guest, name): Name, kind: u32, target: u8, id: u64) {
        let told = self.units.map(|units| units[usize::from(target)].told);
        let mut function = Function { guest, kind, target, id, must_end: Vec::new(), told };
        for (&name, task) in &mut self.commands {
            function.mark(name, task);
            // The first guest may rest, and then what is in its rings has not been taken.
            let is_of_another = name.0 != guest && name.0 != 0 && task.passes >= GRACE;
            if kind == TMF_LOGICAL_UNIT_RESET && is_of_another && task.target == target {
                function.must_end.push(name);
            }
        }
        self.open.insert((guest, name), function);
    }

    /// A core did a pass.
    pub(super) fn stepped(&mut self, core: usize) {
        self.commands.values_mut().filter(|task| task.core == core).for_each(|task| task.passes += 1);
        for (_, _, left) in &mut self.haunting {
            left.iter_mut().for_each(|left| left[core] = left[core].saturating_sub(1));
        }
        self.haunting.retain(|(_, _, left)| *left != Some([0; CORES as usize]));
    }

    /// Requests of a guest have ended, together. `is_watched` says of a disk whether the guest sees in order how they end;
    /// `may_abort`, of a command, whether the other guest may have aborted it without a status.
    pub(super) fn ended(&mut self, guest: usize, ended: &[Ended], is_watched: impl Fn(u8) -> bool, may_abort: &[u64]) {
        for ended in ended {
            if let Some(function) = self.open.remove(&(guest, ended.id)).filter(|_| ended.response == 0) {
                self.function_ended(&function);
                self.answered.push(function);
            }
        }
        let tasks: Vec<_> =
            ended.iter().filter_map(|ended| Some((ended, self.commands.remove(&(guest, ended.id))?))).collect();
        for (ended, task) in &tasks {
            let unit = &mut self.units[guest][usize::from(task.target)];
            if told(ended).is_some_and(|(key, code)| key == UNIT_ATTENTION && code >> 8 == RESET_OCCURRED) {
                (unit.told, unit.is_due) = (unit.told + 1, false);
            }
        }
        for (ended, task) in tasks {
            let by_another = may_abort.contains(&ended.id);
            assert!(ended.response != ABORTED || task.may_abort || by_another, "{ended:?} of {guest}: {task:?}");
            assert!(ended.response != RESET || task.may_reset, "{ended:?} of {guest}: {task:?}");
            let unit = &mut self.units[guest][usize::from(task.target)];
            unit.is_due &= is_watched(task.target);
            let is_told = !task.is_after_reset || !unit.is_due || !is_carried_out(ended);
            assert!(is_told, "{ended:?} of {guest} is carried out before its nexus is told of a reset: {task:?}");
        }
    }

    /// All that has ended by now has been told.
    pub(super) fn looked(&mut self) {
        for function in self.answered.drain(..) {
            let late = function.must_end.iter().find(|name| self.commands.contains_key(name));
            assert!(late.is_none(), "{function:?} was answered before {late:?}");
        }
    }

    fn function_ended(&mut self, function: &Function) {
        let everyone = function.kind == TMF_LOGICAL_UNIT_RESET;
        for (guest, units) in self.units.iter_mut().enumerate() {
            let unit = &mut units[usize::from(function.target)];
            // Who has been told since may have been told of this one.
            let is_untold = unit.told == function.told[guest];
            unit.is_due |= function.resets() && is_untold && (everyone || guest == function.guest);
        }
    }

    /// The way of a guest to a disk went, or came: what was reset before is of no matter to it.
    pub(super) fn disturbed(&mut self, guest: usize, target: u8) {
        let unit = &mut self.units[guest][usize::from(target)];
        (unit.told, unit.is_due) = (unit.told + 1, false);
    }

    /// A guest's life has ended.
    pub(super) fn life_ended(&mut self, guest: usize, life: usize) {
        self.commands.retain(|&(its, _), _| its != guest);
        // Its next life uses the same names.
        self.open.values_mut().for_each(|function| function.must_end.retain(|&(its, _)| its != guest));
        self.units[guest].iter_mut().for_each(|unit| unit.is_due = false);
        let over = self.open.extract_if(.., |&(its, _), _| its == guest);
        self.haunting.extend(over.map(|(_, function)| (life, function, None)));
    }

    /// Nothing of a former life is left, but for what its messages have begun.
    pub(super) fn life_is_gone(&mut self, life: usize) {
        let its = self.haunting.iter_mut().filter(|(its, ..)| *its == life);
        its.for_each(|(_, _, left)| *left = Some([GRACE; CORES as usize]));
    }
}

/// What a command tells of its nexus: by its own sense data, or by that for which REQUEST SENSE has asked.
fn told(ended: &Ended) -> Option<(u8, u16)> {
    const SENSE_LEN: usize = 18;
    let asked = || (ended.data[2] & 0xf, u16::from_be_bytes([ended.data[12], ended.data[13]]));
    ended.sense.or_else(|| (ended.response == 0 && ended.data.len() == SENSE_LEN).then(asked))
}

/// Whether a command was looked at by its logical unit, and nothing came before a unit attention.
fn is_carried_out(ended: &Ended) -> bool {
    const ACA_ACTIVE: u8 = 0x30;
    /// LOGICAL UNIT NOT SUPPORTED; no allegiance that it could belong to.
    const BEFORE: [(u8, u16); 2] = [(5, 0x2500), (5, 0x4900)];
    let is_begun = ended.response == 0 && !matches!(ended.status, ACA_ACTIVE | TASK_ABORTED);
    is_begun && !ended.sense.is_some_and(|sense| BEFORE.contains(&sense))
}

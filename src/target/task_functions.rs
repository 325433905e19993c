//! The task management functions of a controller (SAM-5, clause 7; virtio 1.3, 5.6.6.2): one table says what each subtype asks
//! for, and by which bit REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS tells of it.
//!
//! Pure: the [`control_queue`](super::control_queue) does what is planned here.

use std::sync::Arc;

use crate::scsi::{Attention, TaskFunctions};
use crate::virtio_scsi::{Address, Destination, LunAddress, ResponseCode, spec};

use super::disk::Disk;
use super::lun_map::LunMap;
use super::message::{Purpose, Scope};
use super::slots::Verdict;

/// A function that can be done.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) scope: Scope,
    pub(super) purpose: Purpose,
    pub(super) effect: Effect,
    /// The logical unit that it resets, and its disk: others show that, too, and do so if the unit has gone meanwhile.
    pub(super) reset: Option<(Address, Arc<Disk>)>,
}

/// What a function brings once its commands have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    /// The driver is told at the logical units in scope.
    Attention(Attention),
    /// The auto contingent allegiance of a logical unit ends.
    ClearAca(Address),
}

/// A function.
struct Row {
    subtype: u32,
    reported: TaskFunctions,
    /// What it does to a logical unit, or to the command of it that has this name.
    plan: fn(Address, u64, &LunMap) -> Plan,
}

/// Each nexus has a task set of its own, so that ABORT TASK SET and CLEAR TASK SET are about the same commands (SAM-5, 7.3 and
/// 7.4).
const TABLE: [Row; 8] = [
    Row {
        subtype: spec::TMF_ABORT_TASK,
        reported: TaskFunctions::ABORT_TASK,
        plan: |address, id, _| Plan::ending(Scope::Task { address, id }, Verdict::Aborted, Effect::Nothing),
    },
    Row { subtype: spec::TMF_ABORT_TASK_SET, reported: TaskFunctions::ABORT_TASK_SET, plan: end_all },
    Row {
        subtype: spec::TMF_CLEAR_ACA,
        reported: TaskFunctions::CLEAR_ACA,
        plan: |address, _, luns| Plan::ending(aca_task(address, luns), Verdict::Aborted, Effect::ClearAca(address)),
    },
    Row { subtype: spec::TMF_CLEAR_TASK_SET, reported: TaskFunctions::CLEAR_TASK_SET, plan: end_all },
    Row {
        subtype: spec::TMF_I_T_NEXUS_RESET,
        reported: TaskFunctions::I_T_NEXUS_RESET,
        plan: |address, _, _| Plan::resetting(Scope::Target(address.target), Attention::NexusLoss),
    },
    Row { subtype: spec::TMF_LOGICAL_UNIT_RESET, reported: TaskFunctions::LOGICAL_UNIT_RESET, plan: reset_unit },
    Row {
        subtype: spec::TMF_QUERY_TASK,
        reported: TaskFunctions::QUERY_TASK,
        plan: |address, id, _| Plan::looking(Scope::Task { address, id }),
    },
    Row {
        subtype: spec::TMF_QUERY_TASK_SET,
        reported: TaskFunctions::QUERY_TASK_SET,
        plan: |address, _, _| Plan::looking(Scope::Unit(address)),
    },
];

/// All that is in the table.
pub(super) const SUPPORTED: TaskFunctions = {
    let (mut all, mut at) = (TABLE[0].reported, 1);
    while at < TABLE.len() {
        all = all.and(TABLE[at].reported);
        at += 1;
    }
    all
};

fn end_all(address: Address, _: u64, _: &LunMap) -> Plan {
    Plan::ending(Scope::Unit(address), Verdict::Aborted, Effect::Nothing)
}

fn reset_unit(address: Address, _: u64, luns: &LunMap) -> Plan {
    let reset = luns.disk(address).map(|disk| (address, disk.clone()));
    Plan { reset, ..Plan::resetting(Scope::Unit(address), Attention::LogicalUnitReset) }
}

impl Plan {
    fn ending(scope: Scope, verdict: Verdict, effect: Effect) -> Self {
        Self { scope, purpose: Purpose::End(verdict), effect, reset: None }
    }

    fn resetting(scope: Scope, attention: Attention) -> Self {
        Self::ending(scope, Verdict::Reset, Effect::Attention(attention))
    }

    fn looking(scope: Scope) -> Self {
        Self { scope, purpose: Purpose::Find(Arc::default()), effect: Effect::Nothing, reset: None }
    }
}

/// The logical unit at `lun` and whether it is a disk, or the response for an address where no function can be done.
fn find(lun: LunAddress, luns: &LunMap) -> Result<(Address, bool), ResponseCode> {
    let address = match lun.parse() {
        Ok(Destination::Unit(address)) => address,
        Ok(Destination::ReportLuns) => return Err(ResponseCode::INCORRECT_LUN),
        Err(invalid) => return Err(invalid.response()),
    };
    let entry = luns.find(address).ok_or(ResponseCode::BAD_TARGET)?;
    Ok((address, luns.entry(entry).disk.is_some()))
}

/// The disk at `lun`, or the response for an address without one.
pub(super) fn find_disk(lun: LunAddress, luns: &LunMap) -> Result<Address, ResponseCode> {
    let (address, is_disk) = find(lun, luns)?;
    is_disk.then_some(address).ok_or(ResponseCode::INCORRECT_LUN)
}

/// What a function has to do to the logical unit at `lun`, or its command `id`; or the response for one that cannot be done. One
/// that is about a whole target wants no disk at its address.
pub(super) fn plan(subtype: u32, (lun, id): (LunAddress, u64), luns: &LunMap) -> Result<Plan, ResponseCode> {
    let row = TABLE.iter().find(|row| row.subtype == subtype);
    let address = match subtype {
        spec::TMF_I_T_NEXUS_RESET => find(lun, luns)?.0,
        _ => find_disk(lun, luns)?,
    };
    row.map(|row| (row.plan)(address, id, luns)).ok_or(ResponseCode::FUNCTION_REJECTED)
}

/// The command with the ACA attribute in the task set of a logical unit, which CLEAR ACA ends (SAM-5, CLEAR ACA).
fn aca_task(address: Address, luns: &LunMap) -> Scope {
    let task = luns.find(address).and_then(|entry| luns.entry(entry).standing.aca_task());
    task.map_or(Scope::Nothing, |id| Scope::Task { address, id })
}

#[cfg(test)]
mod tests {
    use super::super::disk::DiskIndex;
    use super::super::lun_map::Placement;
    use super::*;

    const UNIT: Address = Address { target: 1, lun: 2 };

    fn luns() -> LunMap {
        let disk = Arc::new(Disk::of(Arc::new(bdev::NullBdev::new(1 << 20, 512).unwrap()), DiskIndex(0)));
        LunMap::new(vec![Placement { address: UNIT, disk }])
    }

    #[test]
    fn each_subtype_has_its_scope_and_its_effect() {
        let (task, unit) = (Scope::Task { address: UNIT, id: 7 }, Scope::Unit(UNIT));
        let nothing = Effect::Nothing;
        let expected = [
            (task, Some(Verdict::Aborted), nothing),
            (unit, Some(Verdict::Aborted), nothing),
            (Scope::Nothing, Some(Verdict::Aborted), Effect::ClearAca(UNIT)),
            (unit, Some(Verdict::Aborted), nothing),
            (Scope::Target(1), Some(Verdict::Reset), Effect::Attention(Attention::NexusLoss)),
            (unit, Some(Verdict::Reset), Effect::Attention(Attention::LogicalUnitReset)),
            (task, None, nothing),
            (unit, None, nothing),
        ];
        let (luns, lun) = (luns(), LunAddress::of(UNIT));
        for (subtype, expected) in (0..).zip(expected) {
            let plan = plan(subtype, (lun, 7), &luns).unwrap();
            let verdict = match plan.purpose {
                Purpose::End(verdict) => Some(verdict),
                Purpose::Find(_) => None,
                other => panic!("{subtype} has {other:?}"),
            };
            assert_eq!((plan.scope, verdict, plan.effect), expected, "{subtype}");
            let reset = plan.reset.map(|(address, _)| address);
            assert_eq!(reset, (subtype == spec::TMF_LOGICAL_UNIT_RESET).then_some(UNIT));
        }
        assert_eq!(plan(8, (lun, 7), &luns).unwrap_err(), ResponseCode::FUNCTION_REJECTED);
    }

    #[test]
    fn all_of_them_are_reported_and_each_once() {
        let bits = |set: TaskFunctions| format!("{set:?}");
        let all = TABLE.iter().fold(TaskFunctions::default(), |all, row| {
            assert_ne!(bits(all.and(row.reported)), bits(all), "{}", row.subtype);
            all.and(row.reported)
        });
        assert_eq!(all, SUPPORTED);
    }
}

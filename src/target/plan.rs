//! What has to be done so that a running target becomes the one that a configuration describes. Pure: it opens nothing.
//!
//! A disk that is in both stays as it is, and where it is: one without an address of its own keeps the one that it has,
//! whatever stands before it in the list now.

mod pairs;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{AccessState, ControllerConfig, DiskConfig, PlacedDisk, ServeConfig};
use pairs::Pairs;

/// Why a target cannot become what a configuration describes: one line for the user. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Something that is fixed as long as a controller is served.
    #[error(
        "controller {socket}: {option} cannot change from {before} to {after} while it is served; restart, or take it out and put it in again"
    )]
    Fixed {
        /// The controller's socket.
        socket: String,
        /// What was changed.
        option: &'static str,
        /// As it is.
        before: String,
        /// As wanted.
        after: String,
    },
    /// A disk on the file of another, which has it for itself.
    #[error(
        "disk '{disk}' has the file of '{served}', which is served and differs in more than its address; take that out first"
    )]
    SameFile {
        /// The new one.
        disk: String,
        /// The one that is served.
        served: String,
    },
    /// A disk of memory with another size.
    #[error(
        "disk '{disk}' cannot become '{wanted}': memory does not change its size; give the new one another address"
    )]
    Memory {
        /// The one that is served.
        disk: String,
        /// The new one.
        wanted: String,
    },
    /// More disks than targets.
    #[error("controller {0}: no target is left for a disk without target=; give it one and a lun= of its own")]
    NoTargetLeft(String),
}

/// The way from one target to the other.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) gone: Vec<PathBuf>,
    /// Disks that are served already are the very same `Arc`s.
    pub(crate) new: Vec<ControllerConfig>,
    pub(crate) changed: Vec<ControllerChange>,
    /// Disks that get another size by their configuration: as they are and as they will be.
    pub(crate) resized: Vec<(Arc<DiskConfig>, Arc<DiskConfig>)>,
    /// Target port groups that get another state.
    pub(crate) states: BTreeMap<u16, AccessState>,
}

/// What changes behind a controller that stays.
#[derive(Debug)]
pub(crate) struct ControllerChange {
    /// As it will be.
    pub(crate) config: ControllerConfig,
    pub(crate) remove: Vec<PlacedDisk>,
    pub(crate) add: Vec<PlacedDisk>,
}

/// Finds the way from `running` to `wanted`.
///
/// # Errors
/// [`PlanError`]: there is none.
pub(crate) fn plan(running: &[ControllerConfig], wanted: &ServeConfig) -> Result<Plan, PlanError> {
    let mut wanted = wanted.controllers.clone();
    for after in &wanted {
        find(running, &after.socket).map_or(Ok(()), |before| check_fixed(before, after))?;
    }
    let pairs = Pairs::find(running, &wanted);
    pairs.check_rest(running, &wanted)?;
    for after in &mut wanted {
        if let Some(before) = find(running, &after.socket) {
            pairs.keep_places(before, after)?;
        }
        after
            .disks
            .iter_mut()
            .for_each(|placed| placed.disk = pairs.served(&placed.disk).unwrap_or(&placed.disk).clone());
    }
    let states = wanted.iter().filter_map(|after| new_state(find(running, &after.socket)?, after)).collect();
    let is_unwanted = |before: &&ControllerConfig| find(&wanted, &before.socket).is_none();
    let gone = running.iter().filter(is_unwanted).map(|before| before.socket.clone()).collect();
    let mut plan = Plan { gone, resized: pairs.resized(), states, ..Plan::default() };
    for after in wanted {
        match find(running, &after.socket) {
            Some(before) => plan.changed.extend(ControllerChange::between(before, after, &plan.resized)),
            None => plan.new.push(after),
        }
    }
    Ok(plan)
}

fn find<'a>(controllers: &'a [ControllerConfig], socket: &Path) -> Option<&'a ControllerConfig> {
    controllers.iter().find(|controller| controller.socket == socket)
}

/// The state that the group of a controller gets, if that is another one than before.
fn new_state(before: &ControllerConfig, after: &ControllerConfig) -> Option<(u16, AccessState)> {
    let group = after.port_group?;
    (before.access_state != after.access_state).then_some((group, after.access_state))
}

/// Refuses what cannot change while a controller is served.
fn check_fixed(before: &ControllerConfig, after: &ControllerConfig) -> Result<(), PlanError> {
    let fixed = [
        ("cpumask", before.cpus.to_string(), after.cpus.to_string()),
        ("queues", before.queues.to_string(), after.queues.to_string()),
        ("queue-cpus", homes(before), homes(after)),
        ("idle", format!("{:?}", before.idle).to_lowercase(), format!("{:?}", after.idle).to_lowercase()),
        ("port-group", group(before), group(after)),
        ("ring", format!("{:?}", before.ring).to_lowercase(), format!("{:?}", after.ring).to_lowercase()),
    ];
    let socket = before.socket.display().to_string();
    match fixed.into_iter().find(|(_, before, after)| before != after) {
        Some((option, before, after)) => Err(PlanError::Fixed { socket, option, before, after }),
        None => Ok(()),
    }
}

fn group(controller: &ControllerConfig) -> String {
    controller.port_group.map_or_else(|| "none".into(), |group| group.to_string())
}

fn homes(controller: &ControllerConfig) -> String {
    let homes: Vec<_> = controller.queue_cpus.iter().map(|(queue, cpu)| format!("{queue}:{cpu}")).collect();
    if homes.is_empty() { "none".into() } else { homes.join(",") }
}

fn address(placed: &PlacedDisk) -> (u8, u16) {
    (placed.target, placed.lun)
}

fn by_address(controller: &ControllerConfig) -> HashMap<(u8, u16), &PlacedDisk> {
    controller.disks.iter().map(|placed| (address(placed), placed)).collect()
}

impl ControllerChange {
    /// None if it is the same as before.
    fn between(
        before: &ControllerConfig,
        after: ControllerConfig,
        resized: &[(Arc<DiskConfig>, Arc<DiskConfig>)],
    ) -> Option<Self> {
        let resized: HashSet<_> = resized.iter().map(|(from, to)| (Arc::as_ptr(from), Arc::as_ptr(to))).collect();
        let pair = |from: &PlacedDisk, to: &PlacedDisk| (Arc::as_ptr(&from.disk), Arc::as_ptr(&to.disk));
        let is_same =
            |from: &PlacedDisk, to: &PlacedDisk| Arc::ptr_eq(&from.disk, &to.disk) || resized.contains(&pair(from, to));
        let (old, new) = (by_address(before), by_address(&after));
        let stays = |from: &&PlacedDisk| new.get(&address(from)).is_some_and(|to| is_same(from, to));
        let stayed = |to: &&PlacedDisk| old.get(&address(to)).is_some_and(|from| is_same(from, to));
        let remove = before.disks.iter().filter(|from| !stays(from));
        let add = after.disks.iter().filter(|to| !stayed(to));
        let (remove, add): (Vec<_>, Vec<_>) = (remove.cloned().collect(), add.cloned().collect());
        let has_changed = before.disks != after.disks || before.access_state != after.access_state;
        let is_needed = !remove.is_empty() || !add.is_empty() || has_changed;
        is_needed.then_some(Self { config: after, remove, add })
    }
}

#[cfg(test)]
mod tests;

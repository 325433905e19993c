//! What has to be done so that a running target becomes the one that a configuration describes. Pure: it opens nothing.
//!
//! A disk that is in both stays as it is, and where it is: one without an address of its own keeps the one that it has,
//! whatever stands before it in the list now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::{BackendConfig, ControllerConfig, DiskConfig, MAX_TARGETS, PlacedDisk, ServeConfig};

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
}

/// What changes behind a controller that stays.
#[derive(Debug)]
pub(crate) struct ControllerChange {
    /// As it will be.
    pub(crate) config: ControllerConfig,
    pub(crate) remove: Vec<PlacedDisk>,
    pub(crate) add: Vec<PlacedDisk>,
}

/// Which wanted disk is which of those that are served.
#[derive(Default)]
struct Pairs {
    /// Wanted and served.
    same: Vec<(Arc<DiskConfig>, Arc<DiskConfig>)>,
    /// Served and wanted: only the size differs.
    resized: Vec<(Arc<DiskConfig>, Arc<DiskConfig>)>,
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
    let is_wanted = |before: &&ControllerConfig| find(&wanted, &before.socket).is_none();
    let gone = running.iter().filter(is_wanted).map(|before| before.socket.clone()).collect();
    let mut plan = Plan { gone, resized: pairs.resized, ..Plan::default() };
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

/// Refuses what cannot change while a controller is served.
fn check_fixed(before: &ControllerConfig, after: &ControllerConfig) -> Result<(), PlanError> {
    let fixed = [
        ("cpumask", before.cpus.to_string(), after.cpus.to_string()),
        ("queues", before.queues.to_string(), after.queues.to_string()),
        ("queue-cpus", homes(before), homes(after)),
        ("idle", format!("{:?}", before.idle).to_lowercase(), format!("{:?}", after.idle).to_lowercase()),
        ("port-group", group(before), group(after)),
        ("access-state", format!("{:?}", before.access_state), format!("{:?}", after.access_state)),
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

impl ControllerChange {
    /// None if nothing changes but the size of disks.
    fn between(
        before: &ControllerConfig,
        after: ControllerConfig,
        resized: &[(Arc<DiskConfig>, Arc<DiskConfig>)],
    ) -> Option<Self> {
        let is_resized = |from: &Arc<DiskConfig>, to: &Arc<DiskConfig>| {
            resized.iter().any(|(served, wanted)| Arc::ptr_eq(served, from) && Arc::ptr_eq(wanted, to))
        };
        let stays = |from: &PlacedDisk, to: &PlacedDisk| {
            (from.target, from.lun) == (to.target, to.lun)
                && (Arc::ptr_eq(&from.disk, &to.disk) || is_resized(&from.disk, &to.disk))
        };
        let remove = before.disks.iter().filter(|from| !after.disks.iter().any(|to| stays(from, to)));
        let add = after.disks.iter().filter(|to| !before.disks.iter().any(|from| stays(from, to)));
        let (remove, add): (Vec<_>, Vec<_>) = (remove.cloned().collect(), add.cloned().collect());
        let is_needed = !remove.is_empty() || !add.is_empty() || before.disks != after.disks;
        is_needed.then_some(Self { config: after, remove, add })
    }
}

impl Pairs {
    /// Pairs disks, the most certain first. Each one that is served is paired once.
    fn find(running: &[ControllerConfig], wanted: &[ControllerConfig]) -> Self {
        let mut pairs = Self::default();
        let is_it = |to: &Placed, from: &Placed| Arc::ptr_eq(to.disk, from.disk);
        let is_same = |to: &Placed, from: &Placed| content(to.disk) == content(from.disk);
        let is_resized = |to: &Placed, from: &Placed| {
            let is_null = matches!(to.disk.backend, BackendConfig::Null { .. });
            is_null && to.place == from.place && sizeless(to.disk) == sizeless(from.disk)
        };
        pairs.pair(running, wanted, is_it, false);
        pairs.pair(running, wanted, |to, from| to.place == from.place && is_same(to, from), false);
        pairs.pair(running, wanted, is_resized, true);
        pairs.pair(running, wanted, is_same, false);
        pairs
    }

    fn pair(
        &mut self,
        running: &[ControllerConfig],
        wanted: &[ControllerConfig],
        is_same: impl Fn(&Placed, &Placed) -> bool,
        resizes: bool,
    ) {
        for to in all(wanted) {
            if self.served(to.disk).is_some() || self.is_wanted_of_resized(to.disk) {
                continue;
            }
            let Some(from) = all(running).find(|from| !self.is_claimed(from.disk) && is_same(&to, from)) else {
                continue;
            };
            if resizes {
                self.resized.push((from.disk.clone(), to.disk.clone()));
            } else {
                self.same.push((to.disk.clone(), from.disk.clone()));
            }
        }
    }

    /// The disk that is served and the same as this one.
    fn served(&self, wanted: &Arc<DiskConfig>) -> Option<&Arc<DiskConfig>> {
        self.same.iter().find(|(to, _)| Arc::ptr_eq(to, wanted)).map(|(_, from)| from)
    }

    fn is_wanted_of_resized(&self, wanted: &Arc<DiskConfig>) -> bool {
        self.resized.iter().any(|(_, to)| Arc::ptr_eq(to, wanted))
    }

    fn is_claimed(&self, served: &Arc<DiskConfig>) -> bool {
        let resized = self.resized.iter().map(|(from, _)| from);
        self.same.iter().map(|(_, from)| from).chain(resized).any(|from| Arc::ptr_eq(from, served))
    }

    /// Refuses new disks that cannot be opened beside what is served, or would silently lose what was written.
    fn check_rest(&self, running: &[ControllerConfig], wanted: &[ControllerConfig]) -> Result<(), PlanError> {
        let is_new = |to: &Placed| self.served(to.disk).is_none() && !self.is_wanted_of_resized(to.disk);
        for to in all(wanted).filter(is_new) {
            for from in all(running) {
                let (disk, served) = (to.disk.text.clone(), from.disk.text.clone());
                let share = to.disk.read_only && from.disk.read_only;
                // Parts of a file that is open are looked at when they are opened.
                let parts = to.disk.wrappers.split.is_some() && from.disk.wrappers.split.is_some();
                match (&to.disk.backend, &from.disk.backend) {
                    (of, other) if file(of).is_some() && file(of) == file(other) && !share && !parts => {
                        return Err(PlanError::SameFile { disk, served });
                    }
                    (BackendConfig::Mem { .. }, BackendConfig::Mem { .. })
                        if to.place == from.place && sizeless(to.disk) == sizeless(from.disk) =>
                    {
                        return Err(PlanError::Memory { disk: served, wanted: disk });
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Disks that the user gave no address keep that which they have; the others get what is free.
    fn keep_places(&self, before: &ControllerConfig, after: &mut ControllerConfig) -> Result<(), PlanError> {
        let is_fixed = |placed: &PlacedDisk| placed.disk.target.is_some() || placed.disk.lun.is_some();
        let (mut placed, floating): (Vec<_>, Vec<_>) = after.disks.drain(..).partition(is_fixed);
        let mut homeless = Vec::new();
        for disk in floating {
            let served = self.served(&disk.disk);
            let resized = self.resized.iter().find(|(_, to)| Arc::ptr_eq(to, &disk.disk)).map(|(from, _)| from);
            let is_it = |old: &&PlacedDisk| served.or(resized).is_some_and(|served| Arc::ptr_eq(served, &old.disk));
            let is_free = |old: &&PlacedDisk| !placed.iter().any(|p| (p.target, p.lun) == (old.target, old.lun));
            match before.disks.iter().filter(is_it).find(is_free) {
                Some(old) => placed.push(PlacedDisk { target: old.target, lun: old.lun, disk: disk.disk }),
                None => homeless.push(disk.disk),
            }
        }
        for disk in homeless {
            let is_free = |&target: &u16| !placed.iter().any(|p| u16::from(p.target) == target);
            let target = (0..MAX_TARGETS).find(is_free);
            let target = target.ok_or_else(|| PlanError::NoTargetLeft(after.socket.display().to_string()))?;
            placed.push(PlacedDisk { target: target as u8, lun: 0, disk });
        }
        placed.sort_by_key(|placed| (placed.target, placed.lun));
        after.disks = placed;
        Ok(())
    }
}

/// A disk and where it stands.
struct Placed<'a> {
    place: (&'a Path, u8, u16),
    disk: &'a Arc<DiskConfig>,
}

fn all(controllers: &[ControllerConfig]) -> impl Iterator<Item = Placed<'_>> {
    controllers.iter().flat_map(|controller| {
        let place = |placed: &PlacedDisk| (controller.socket.as_path(), placed.target, placed.lun);
        controller.disks.iter().map(move |placed| Placed { place: place(placed), disk: &placed.disk })
    })
}

/// The file or device that is opened.
fn file(backend: &BackendConfig) -> Option<&Path> {
    match backend {
        BackendConfig::File { path, .. } | BackendConfig::Nvme { path } => Some(path),
        BackendConfig::Null { .. } | BackendConfig::Mem { .. } => None,
    }
}

/// All that a disk is but its address and how that was written.
fn content(disk: &DiskConfig) -> DiskConfig {
    DiskConfig { text: String::new(), target: None, lun: None, ..disk.clone() }
}

/// The same without the size of one that is made of nothing.
fn sizeless(disk: &DiskConfig) -> DiskConfig {
    let mut disk = content(disk);
    if let BackendConfig::Null { size } | BackendConfig::Mem { size } = &mut disk.backend {
        *size = 0;
    }
    disk
}

#[cfg(test)]
mod tests;

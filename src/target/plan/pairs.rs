//! Which wanted disk is which of those that are served. Each search is one look into a table, for there may be thousands.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;

use bdev::{Data, Wanted};

use crate::config::{ControllerConfig, DiskConfig, MAX_TARGETS, PlacedDisk};

use super::PlanError;

/// Pairs of disks. Each one that is served is in one of them at most.
#[derive(Default)]
pub(super) struct Pairs {
    /// The served one, by the wanted one.
    same: HashMap<Name, Arc<DiskConfig>>,
    /// Served and wanted: only the size differs.
    resized: Vec<(Arc<DiskConfig>, Arc<DiskConfig>)>,
    /// The served one of these, by the wanted one.
    resized_from: HashMap<Name, Name>,
    /// Those that are served and in a pair.
    claimed: HashSet<Name>,
}

/// Tells one configuration from another that says the same. Whoever has it has the configuration, too.
type Name = *const DiskConfig;

/// A disk and where it stands.
struct Placed<'a> {
    place: (&'a Path, u8, u16),
    disk: &'a Arc<DiskConfig>,
}

impl Pairs {
    /// Pairs disks, the most certain first.
    pub(super) fn find(running: &[ControllerConfig], wanted: &[ControllerConfig]) -> Self {
        let mut pairs = Self::default();
        let is_null = |placed: &Placed| placed.disk.device.data() == Data::Nowhere;
        pairs.pair(running, wanted, |placed| Some(Arc::as_ptr(placed.disk)), false);
        pairs.pair(running, wanted, |placed| Some((placed.place, content(placed.disk))), false);
        pairs.pair(running, wanted, |placed| is_null(placed).then(|| (placed.place, sizeless(placed.disk))), true);
        pairs.pair(running, wanted, |placed| Some(content(placed.disk)), false);
        pairs
    }

    /// Pairs those that have the same key, in the order in which they stand.
    fn pair<'a, K: Hash + Eq>(
        &mut self,
        running: &'a [ControllerConfig],
        wanted: &'a [ControllerConfig],
        key: impl Fn(&Placed<'a>) -> Option<K>,
        resizes: bool,
    ) {
        let mut served: HashMap<K, VecDeque<&Arc<DiskConfig>>> = HashMap::new();
        for from in all(running).filter(|from| !self.claimed.contains(&Arc::as_ptr(from.disk))) {
            if let Some(key) = key(&from) {
                served.entry(key).or_default().push_back(from.disk);
            }
        }
        for to in all(wanted) {
            if self.has(to.disk) {
                continue;
            }
            let Some(same) = key(&to).and_then(|key| served.get_mut(&key)) else { continue };
            // One that several controllers show stands there several times.
            while let Some(from) = same.pop_front() {
                if self.claimed.insert(Arc::as_ptr(from)) {
                    self.put(from, to.disk, resizes);
                    break;
                }
            }
        }
    }

    fn put(&mut self, from: &Arc<DiskConfig>, to: &Arc<DiskConfig>, resizes: bool) {
        if resizes {
            self.resized.push((from.clone(), to.clone()));
            self.resized_from.insert(Arc::as_ptr(to), Arc::as_ptr(from));
        } else {
            self.same.insert(Arc::as_ptr(to), from.clone());
        }
    }

    /// Whether a wanted disk is in a pair.
    fn has(&self, wanted: &Arc<DiskConfig>) -> bool {
        self.served(wanted).is_some() || self.resized_from.contains_key(&Arc::as_ptr(wanted))
    }

    /// The disk that is served and the same as this one.
    pub(super) fn served(&self, wanted: &Arc<DiskConfig>) -> Option<&Arc<DiskConfig>> {
        self.same.get(&Arc::as_ptr(wanted))
    }

    /// Those that differ in their size, served and wanted.
    pub(super) fn resized(self) -> Vec<(Arc<DiskConfig>, Arc<DiskConfig>)> {
        self.resized
    }

    /// Refuses new disks that cannot be opened beside what is served, or would silently lose what was written.
    pub(super) fn check_rest(
        &self,
        running: &[ControllerConfig],
        wanted: &[ControllerConfig],
    ) -> Result<(), PlanError> {
        let (mut files, mut memories) = (HashMap::<_, Vec<_>>::new(), HashMap::new());
        for Placed { place, disk } in all(running) {
            file(&disk.device).into_iter().for_each(|path| files.entry(path).or_default().push(disk));
            if is_memory(disk) {
                memories.insert((place, sizeless(disk)), disk);
            }
        }
        for Placed { place, disk } in all(wanted).filter(|to| !self.has(to.disk)) {
            let others = file(&disk.device).and_then(|path| files.get(path)).into_iter().flatten();
            if let Some(served) = others.into_iter().find(|served| !may_stand_beside(disk, served)) {
                return Err(PlanError::SameFile { disk: disk.text.clone(), served: served.text.clone() });
            }
            if is_memory(disk)
                && let Some(served) = memories.get(&(place, sizeless(disk)))
            {
                return Err(PlanError::Memory { disk: served.text.clone(), wanted: disk.text.clone() });
            }
        }
        Ok(())
    }

    /// Disks that the user gave no address keep that which they have; the others get what is free.
    pub(super) fn keep_places(&self, before: &ControllerConfig, after: &mut ControllerConfig) -> Result<(), PlanError> {
        let is_fixed = |placed: &PlacedDisk| placed.disk.target.is_some() || placed.disk.lun.is_some();
        let (mut placed, floating): (Vec<_>, Vec<_>) = after.disks.drain(..).partition(is_fixed);
        let mut taken: HashSet<(u8, u16)> = placed.iter().map(|placed| (placed.target, placed.lun)).collect();
        let mut homeless = Vec::new();
        for disk in floating {
            let name = Arc::as_ptr(&disk.disk);
            let served = self.served(&disk.disk).map(Arc::as_ptr).or(self.resized_from.get(&name).copied());
            let is_it = |old: &&PlacedDisk| served == Some(Arc::as_ptr(&old.disk));
            let is_free = |old: &&PlacedDisk| !taken.contains(&(old.target, old.lun));
            match before.disks.iter().filter(is_it).find(is_free) {
                Some(&PlacedDisk { target, lun, .. }) => {
                    taken.insert((target, lun));
                    placed.push(PlacedDisk { target, lun, disk: disk.disk });
                }
                None => homeless.push(disk.disk),
            }
        }
        let mut targets: HashSet<u8> = taken.into_iter().map(|(target, _)| target).collect();
        for disk in homeless {
            let target = (0..MAX_TARGETS).map(|target| target as u8).find(|target| targets.insert(*target));
            let target = target.ok_or_else(|| PlanError::NoTargetLeft(after.socket.display().to_string()))?;
            placed.push(PlacedDisk { target, lun: 0, disk });
        }
        placed.sort_by_key(|placed| (placed.target, placed.lun));
        after.disks = placed;
        Ok(())
    }
}

fn all(controllers: &[ControllerConfig]) -> impl Iterator<Item = Placed<'_>> {
    controllers.iter().flat_map(|controller| {
        let place = |placed: &PlacedDisk| (controller.socket.as_path(), placed.target, placed.lun);
        controller.disks.iter().map(move |placed| Placed { place: place(placed), disk: &placed.disk })
    })
}

/// The file or device that is opened.
fn file(device: &Wanted) -> Option<&Path> {
    match device.data() {
        Data::At(path) => Some(path),
        Data::Memory | Data::Nowhere => None,
    }
}

fn is_memory(disk: &DiskConfig) -> bool {
    disk.device.data() == Data::Memory
}

/// Whether a disk on the same file may be opened: readers share it, and parts are looked at when they are opened.
fn may_stand_beside(disk: &DiskConfig, served: &DiskConfig) -> bool {
    let (disk, served) = (&disk.device, &served.device);
    disk.is_read_only() && served.is_read_only() || disk.part().is_some() && served.part().is_some()
}

/// All that a disk is but its address and how that was written.
fn content(disk: &DiskConfig) -> DiskConfig {
    DiskConfig { text: String::new(), target: None, lun: None, ..disk.clone() }
}

/// The same without the size of one that is made of nothing.
fn sizeless(disk: &DiskConfig) -> DiskConfig {
    let disk = content(disk);
    DiskConfig { device: disk.device.without_size(), ..disk }
}

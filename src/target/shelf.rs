//! The disks that a target has open: by index, and by what describes them. There may be thousands, so that nobody looks
//! through all of them for one.
//!
//! An index belongs to one disk from when it is opened until every reactor has let go of it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::config::DiskConfig;

use super::disk::{Disk, DiskIndex};

/// Disks by [`DiskIndex`].
#[derive(Debug, Default)]
pub(super) struct Shelf {
    places: Vec<Option<Arc<Disk>>>,
    /// Places without a disk.
    vacant: BTreeSet<usize>,
}

impl Shelf {
    /// The lowest index that no disk has.
    pub(super) fn free_index(&self) -> DiskIndex {
        DiskIndex(self.vacant.first().copied().unwrap_or(self.places.len()))
    }

    /// Takes a disk up, at its index.
    pub(super) fn keep(&mut self, disk: Disk) -> Arc<Disk> {
        let (DiskIndex(place), disk) = (disk.index, Arc::new(disk));
        if place >= self.places.len() {
            self.vacant.extend(self.places.len()..place);
            self.places.resize(place + 1, None);
        }
        self.vacant.remove(&place);
        self.places[place] = Some(disk.clone());
        disk
    }

    /// Its index is for the next disk.
    pub(super) fn let_go(&mut self, DiskIndex(place): DiskIndex) {
        self.places[place] = None;
        self.vacant.insert(place);
    }

    /// All of them, in the order of their indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Disk>> {
        self.places.iter().flatten()
    }
}

/// Disks by their configuration, of which nobody else's says the same.
#[derive(Debug, Default)]
pub(super) struct Described(HashMap<*const DiskConfig, Arc<Disk>>);

impl Described {
    /// A disk with a configuration of its own, or one that takes the place of another with the same.
    pub(super) fn add(&mut self, disk: &Arc<Disk>) {
        self.0.insert(Arc::as_ptr(&disk.config), disk.clone());
    }

    /// The disk of a configuration.
    pub(super) fn of(&self, config: &Arc<DiskConfig>) -> Option<&Arc<Disk>> {
        self.0.get(&Arc::as_ptr(config))
    }
}

impl<'a> FromIterator<&'a Arc<Disk>> for Described {
    fn from_iter<I: IntoIterator<Item = &'a Arc<Disk>>>(disks: I) -> Self {
        let mut described = Self::default();
        disks.into_iter().for_each(|disk| described.add(disk));
        described
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(index: usize) -> Disk {
        Disk::of(Arc::new(bdev::NullBdev::new(1 << 20, 512).unwrap()), DiskIndex(index))
    }

    #[test]
    fn the_lowest_index_is_given_again() {
        let mut shelf = Shelf::default();
        for index in 0..4 {
            assert_eq!(shelf.free_index(), DiskIndex(index));
            shelf.keep(disk(index));
        }
        shelf.let_go(DiskIndex(2));
        shelf.let_go(DiskIndex(1));
        assert_eq!(shelf.iter().map(|disk| disk.index.0).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(shelf.free_index(), DiskIndex(1));
        shelf.keep(disk(1));
        assert_eq!(shelf.free_index(), DiskIndex(2));
    }

    #[test]
    fn a_disk_is_found_by_its_configuration_and_not_by_one_that_says_the_same() {
        let (first, second) = (Arc::new(disk(0)), Arc::new(disk(1)));
        let described: Described = [&first, &second].into_iter().collect();
        assert_eq!(described.of(&second.config).map(|disk| disk.index), Some(DiskIndex(1)));
        assert!(described.of(&Arc::new(DiskConfig::clone(&first.config))).is_none());
    }
}

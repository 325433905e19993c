//! The logical units of a controller as they see each other: what a command of one of them may do to the disks of others.

use std::sync::Arc;

use super::{Entry, EntryIndex, LunMap};
use crate::scsi::reservations::Access;
use crate::scsi::{Designator, LogicalUnit, ModeValues, Neighbour, Neighbours, Place};
use crate::target::disk::Disk;

impl LunMap {
    /// The name of what answers at an entry. No other has it, before or after.
    pub(crate) fn place(&self, index: EntryIndex) -> Place {
        Place(u64::from(self.entry(index).number) << 32 | u64::from(index.0))
    }

    /// The disk at a place that [`Neighbours::find`] has given, if the driver may read it now, or change it.
    pub(crate) fn disk_at(&self, Place(at): Place, is_change: bool) -> Option<&Arc<Disk>> {
        let (index, number) = (EntryIndex(at as u32), (at >> 32) as u32);
        let entry = self.entries.get(index.0 as usize).filter(|entry| entry.number == number)?;
        let may = entry.standing.may(if is_change { Access::Write } else { Access::Read });
        let can = self.leaving(index).is_none() && !entry.standing.is_stopped() && entry.hindrance(None).is_none();
        entry.disk.as_ref().filter(|_| may && can)
    }

    /// The logical units that are disks, with their places.
    fn units(&self) -> impl Iterator<Item = (Place, &Entry, &LogicalUnit)> {
        self.addressed().filter_map(|(_, at)| {
            let entry = self.entry(at);
            Some((self.place(at), entry, entry.unit.disk()?))
        })
    }
}

impl Neighbours for LunMap {
    fn find(&self, designator: &Designator<'_>) -> Option<Neighbour> {
        let (place, entry, unit) = self.units().find(|(_, _, unit)| unit.is_designated(designator))?;
        entry.neighbour(place, unit)
    }
}

impl Entry {
    /// Its unit, at this place, as others see it; none if it is stopped.
    fn neighbour(&self, place: Place, unit: &LogicalUnit) -> Option<Neighbour> {
        let neighbour = unit.neighbour(place, self.hindrance(None));
        let protected = self.standing.mode().current.has(ModeValues::SWP);
        (!self.standing.is_stopped()).then_some(Neighbour { writable: neighbour.writable && !protected, ..neighbour })
    }
}

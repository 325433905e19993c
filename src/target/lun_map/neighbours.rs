//! The logical units of a controller as they see each other: what a command of one of them may do to the disks of others.

use std::sync::Arc;

use super::{Entry, EntryIndex, LunMap};
use crate::scsi::reservations::Access;
use crate::scsi::{
    Asc, Attention, Command, Designator, Found, LogicalUnit, ModeValues, Neighbour, Neighbours, Outcome, Place, Rod,
    Sense, SenseKey, TOKEN_LEN,
};
use crate::target::disk::Disk;
use crate::target::notes::host_ms;
use crate::target::standing::Standing;

impl LunMap {
    /// The name of what answers at an entry. No other has it, before or after.
    pub(crate) fn place(&self, index: EntryIndex) -> Place {
        Place(u64::from(self.entry(index).number) << 32 | u64::from(index.0))
    }

    /// The disk at a place that [`Neighbours::find`] has given, with what the driver's nexus has there, if it may be read now, or
    /// changed: others may have protected it since the command began.
    pub(crate) fn disk_at(&self, Place(at): Place, is_change: bool) -> Option<(&Arc<Disk>, &Arc<Standing>)> {
        let (index, number) = (EntryIndex(at as u32), (at >> 32) as u32);
        let entry = self.entries.get(index.0 as usize).filter(|entry| entry.number == number)?;
        let may = entry.standing.may(if is_change { Access::Write } else { Access::Read });
        let can = self.leaving(index).is_none() && !entry.standing.is_stopped() && entry.hindrance(None).is_none();
        let is_protected = is_change && entry.standing.mode().current.has(ModeValues::SWP);
        let disk = entry.disk.as_ref().filter(|_| may && can && !is_protected)?;
        Some((disk, &entry.standing))
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

    fn rod(&self, token: &[u8; TOKEN_LEN]) -> Option<Result<Found, Sense>> {
        const NOT_REACHABLE: Sense = Sense::new(SenseKey::COPY_ABORTED, Asc::COPY_TARGET_DEVICE_NOT_REACHABLE);
        let now_ms = self.now_ms();
        let (place, entry, unit, rod) =
            self.units().find_map(|(place, entry, unit)| Some((place, entry, unit, unit.rod(token, now_ms)?)))?;
        let found = rod.and_then(|rod| {
            entry.disk.iter().for_each(|disk| disk.sharing.watch(&rod, now_ms));
            let neighbour = entry.neighbour(place, unit).ok_or(NOT_REACHABLE)?;
            Ok(Found { neighbour, rod, rods: unit.rods().clone() })
        });
        Some(found)
    }

    fn watch(&self, designator: &Designator<'_>, rod: &Arc<Rod>) {
        let entries = self.units().filter(|(_, _, unit)| unit.is_designated(designator));
        let disks = entries.filter_map(|(_, entry, _)| entry.disk.as_ref());
        disks.for_each(|disk| disk.sharing.watch(rod, self.now_ms()));
    }

    fn random(&self, into: &mut [u8]) {
        for piece in into.chunks_mut(RANDOM_PIECE_LEN) {
            let len = rustix::rand::getrandom(&mut *piece, rustix::rand::GetRandomFlags::empty());
            assert_eq!(len, Ok(piece.len()), "the kernel has random numbers, and gives so many in one piece");
        }
    }

    fn now_ms(&self) -> u64 {
        host_ms()
    }
}

/// Bytes that the kernel gives without being interrupted.
const RANDOM_PIECE_LEN: usize = 256;

impl Entry {
    /// Whether a command may begin, and the attention that it is to return as data: see
    /// [`Standing::check`](crate::target::standing::Standing::check). One that has begun before may. A write that may is about
    /// to be done: tokens for its blocks are cancelled.
    ///
    /// # Errors
    /// How the command ends.
    #[cold]
    pub(crate) fn admit(
        &self,
        command: &Command,
        has_begun: bool,
        has_aca: bool,
    ) -> Result<Option<Attention>, Outcome> {
        let attention = if has_begun { None } else { self.standing.check(command, has_aca)? };
        if let (true, Some(disk), Some(unit)) = (self.standing.is_watched(), &self.disk, self.unit.disk()) {
            let size = u64::from(unit.block_size());
            let change = match *command {
                Command::Write { lba, blocks, .. } => Some((lba.saturating_mul(size), u64::from(blocks) * size)),
                // What takes several steps says so when it does them.
                _ => None,
            };
            disk.sharing.heed(change, host_ms());
        }
        Ok(attention)
    }

    /// Its unit, at this place, as others see it; none if it is stopped.
    fn neighbour(&self, place: Place, unit: &LogicalUnit) -> Option<Neighbour> {
        let neighbour = unit.neighbour(place, self.hindrance(None));
        let protected = self.standing.mode().current.has(ModeValues::SWP);
        (!self.standing.is_stopped()).then_some(Neighbour { writable: neighbour.writable && !protected, ..neighbour })
    }
}

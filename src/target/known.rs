//! The logical units that a queue has met: what a usual command needs of its own is found by the eight bytes of its LUN, in a
//! line or two, however many units there are.
//!
//! It is filled from a [`LunMap`] and right for as long as that is the queue's: another one comes by message, and with every
//! message all of it is forgotten. [`batch`](super::batch) alone asks it.

use crate::scsi::QuickUnit;
use crate::virtio_scsi::{Destination, LunAddress};

use super::disk::DiskIndex;
use super::lun_map::{EntryIndex, LunMap};

/// Units that are remembered. Each LUN has one place, and those from 0 to 255 of a target all have different ones.
const PLACES: usize = 256;

/// A logical unit with a disk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    lun: LunAddress,
    pub(super) unit: QuickUnit,
    pub(super) entry: EntryIndex,
    pub(super) disk: DiskIndex,
}

/// See the module.
#[derive(Debug)]
pub(super) struct KnownUnits {
    places: Box<[Option<Known>; PLACES]>,
    is_empty: bool,
}

impl KnownUnits {
    pub(super) fn new() -> Self {
        Self { places: Box::new([None; PLACES]), is_empty: true }
    }

    /// The unit at `lun`, looked up in `luns` if it was not met before; none if there is no disk.
    #[inline(always)]
    pub(super) fn find(&mut self, lun: LunAddress, luns: &LunMap) -> Option<&Known> {
        let place = Self::place(lun);
        if !matches!(&self.places[place], Some(known) if known.lun == lun) {
            self.meet(place, lun, luns)?;
        }
        self.places[place].as_ref()
    }

    /// The units may be others now.
    pub(super) fn forget(&mut self) {
        if !self.is_empty {
            self.places.fill(None);
            self.is_empty = true;
        }
    }

    #[inline(always)]
    fn place(LunAddress(bytes): LunAddress) -> usize {
        // Target, and both bytes of the number.
        usize::from(bytes[1] ^ bytes[2] ^ bytes[3]) % PLACES
    }

    #[cold]
    fn meet(&mut self, place: usize, lun: LunAddress, luns: &LunMap) -> Option<()> {
        let Ok(Destination::Unit(address)) = lun.parse() else { return None };
        let entry = luns.find(address)?;
        let found = luns.entry(entry);
        let (unit, disk) = (found.unit.disk()?.quick(), found.disk.as_ref()?.index);
        self.places[place] = Some(Known { lun, unit, entry, disk });
        self.is_empty = false;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bdev::NullBdev;

    use super::super::disk::Disk;
    use super::super::lun_map::Placement;
    use super::*;
    use crate::virtio_scsi::Address;

    /// A disk of its own at each of these.
    fn map(addresses: &[Address]) -> LunMap {
        let place = |(index, &address): (usize, &Address)| {
            let bdev = Arc::new(NullBdev::new(1 << 20, 512).unwrap());
            Placement { address, disk: Arc::new(Disk::of(bdev, DiskIndex(index))) }
        };
        LunMap::new(addresses.iter().enumerate().map(place).collect())
    }

    fn at(target: u8, lun: u16) -> Address {
        Address { target, lun }
    }

    #[test]
    fn each_lun_finds_its_own_disk_whoever_had_its_place_before() {
        // All of these but the first have one place.
        let addresses = [at(0, 0), at(0, 7), at(7, 0), at(3, 4), at(5, 2)];
        let (map, mut known) = (map(&addresses), KnownUnits::new());
        for _ in 0..2 {
            for (index, &address) in addresses.iter().enumerate() {
                let found = known.find(LunAddress::of(address), &map).unwrap();
                assert_eq!((found.disk, Some(found.entry)), (DiskIndex(index), map.find(address)));
            }
        }
    }

    #[test]
    fn what_has_no_disk_is_not_known() {
        let (map, mut known) = (map(&[at(0, 0)]), KnownUnits::new());
        assert!(known.find(LunAddress::of(at(0, 0)), &map).is_some());
        for other in [[0; 8], [1, 0, 0, 0, 0, 0, 0, 1], [1, 0, 0, 1, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]] {
            assert!(known.find(LunAddress(other), &map).is_none(), "{other:?}");
        }
        assert!(known.find(LunAddress::REPORT_LUNS, &map).is_none());
    }

    #[test]
    fn what_is_forgotten_is_looked_up_again() {
        let mut known = KnownUnits::new();
        let lun = LunAddress::of(at(0, 1));
        assert_eq!(known.find(lun, &map(&[at(0, 0), at(0, 1)])).unwrap().disk, DiskIndex(1));
        known.forget();
        assert!(known.find(lun, &map(&[at(0, 0)])).is_none());
        assert_eq!(known.find(lun, &map(&[at(0, 1)])).unwrap().disk, DiskIndex(0));
    }
}

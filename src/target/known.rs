//! The logical units that a queue has met: what a usual command needs of its own is found by the eight bytes of its LUN, in
//! half a line, however many units there are.
//!
//! It is filled from a [`LunMap`] and right for as long as that is the queue's, and no nexus of the controller has stirred:
//! with another map, and with every [`Stir`](super::standing::Stir), all of it is forgotten. Of the channels it takes only what
//! stays as it is for as long as a map names their disks. [`batch`](super::batch) alone asks it.

use crate::scsi::QuickUnit;
use crate::virtio_scsi::{Destination, LunAddress};

use super::cx::CountedChannel;
use super::disk::DiskIndex;
use super::lun_map::{EntryIndex, LunMap};

/// Units that are remembered. Each LUN has one place, and those from 0 to 255 of a target all have different ones.
const PLACES: usize = 256;

/// A logical unit with a disk.
#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
pub(super) struct Known {
    lun: LunAddress,
    /// Starts nothing as long as something stands in the way of usual commands.
    pub(super) unit: QuickUnit,
    /// Where it is in the map; none if its disk does what it is asked at once, and nobody has to find it there.
    entry: EntryIndex,
    disk: u16,
}

const _: () = assert!(size_of::<Known>() == 32);

impl Known {
    const NOBODY: Self = Self { lun: LunAddress([0; 8]), unit: QuickUnit::NOTHING, entry: EntryIndex::NONE, disk: 0 };

    #[inline(always)]
    pub(super) fn lun(&self) -> LunAddress {
        self.lun
    }

    #[inline(always)]
    pub(super) fn disk(&self) -> DiskIndex {
        DiskIndex(self.disk.into())
    }

    /// Its entry, if its disk may make a command wait: that depends on the disk alone.
    #[inline(always)]
    pub(super) fn entry(&self) -> Option<EntryIndex> {
        (self.entry != EntryIndex::NONE).then_some(self.entry)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct KnownUnits {
    places: Box<[Known; PLACES]>,
    /// Places where a unit was met since all were forgotten, a bit each: who lets them be forgotten pays for no others.
    met: [u64; PLACES / 64],
    /// How often the controller had stirred when it began.
    stirred: u64,
}

impl KnownUnits {
    pub(super) fn new() -> Self {
        let nobody = |place| Known { lun: Self::lun_of_nobody(place), ..Known::NOBODY };
        Self { places: Box::new(std::array::from_fn(nobody)), met: [0; PLACES / 64], stirred: 0 }
    }

    /// One that starts nothing, however it is called.
    #[inline(always)]
    pub(super) fn nobody() -> &'static Known {
        &Known::NOBODY
    }

    /// Forgets the units if anything stands otherwise by now.
    #[inline(always)]
    pub(super) fn keep_up(&mut self, luns: &LunMap) {
        let stirred = luns.port.stir.count();
        if stirred != self.stirred {
            self.stirred = stirred;
            self.forget();
        }
    }

    /// The unit at `lun`, if it was met before.
    #[inline(always)]
    pub(super) fn met(&self, lun: LunAddress) -> Option<&Known> {
        let known = &self.places[Self::place(lun)];
        (known.lun == lun).then_some(known)
    }

    /// The unit at `lun`, looked up in the map and the channels if it was not met before; none if there is no disk.
    #[inline(always)]
    pub(super) fn find(&mut self, lun: LunAddress, from: (&LunMap, &[CountedChannel])) -> Option<&Known> {
        if self.met(lun).is_none() {
            self.meet(lun, from)?;
        }
        self.met(lun)
    }

    /// The units may be others now.
    #[cold]
    pub(super) fn forget(&mut self) {
        for (word, met) in self.met.iter_mut().enumerate() {
            while *met != 0 {
                let place = word * 64 + met.trailing_zeros() as usize;
                self.places[place].lun = Self::lun_of_nobody(place);
                *met &= *met - 1;
            }
        }
    }

    #[inline(always)]
    pub(super) fn place(LunAddress([kind, target, high, low, ..]): LunAddress) -> usize {
        // The highest byte of the product is the sum of the target and both bytes of the number, and something of the rest.
        (u32::from_le_bytes([kind, target, high, low]).wrapping_mul(0x01_0101) >> 24) as usize % PLACES
    }

    /// What no unit is called that has this place.
    fn lun_of_nobody(place: usize) -> LunAddress {
        LunAddress([0, 0, 0, u8::from(place == 0), 0, 0, 0, 0])
    }

    /// Looks the unit at `lun` up, and remembers it; none if there is no disk.
    #[cold]
    pub(super) fn meet(&mut self, lun: LunAddress, (luns, channels): (&LunMap, &[CountedChannel])) -> Option<()> {
        let Ok(Destination::Unit(address)) = lun.parse() else { return None };
        let index = luns.find(address)?;
        let found = luns.entry(index);
        let (unit, disk) = (found.unit.disk()?, found.disk.as_ref()?.index);
        let unit = if found.standing.is_usual() { unit.quick() } else { QuickUnit::NOTHING };
        let entry = if channels.get(disk.0)?.channel.runs() { EntryIndex::NONE } else { index };
        let place = Self::place(lun);
        self.places[place] = Known { lun, unit, entry, disk: disk.0.try_into().ok()? };
        self.met[place / 64] |= 1 << (place % 64);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bdev::{Bdev, Io, NullBdev};

    use super::super::disk::Disk;
    use super::super::lun_map::Placement;
    use super::super::standing::UnitState;
    use super::super::tally::Pages;
    use super::*;
    use crate::scsi::Attention;
    use crate::virtio_scsi::Address;

    /// A disk of its own at each of these.
    fn map(addresses: &[Address]) -> LunMap {
        let place = |(index, &address): (usize, &Address)| {
            let bdev = Arc::new(NullBdev::new(1 << 20, 512).unwrap());
            Placement { address, disk: Arc::new(Disk::of(bdev, DiskIndex(index))) }
        };
        LunMap::new(addresses.iter().enumerate().map(place).collect())
    }

    /// Channels to the disks of a map.
    fn channels(count: usize) -> Vec<CountedChannel> {
        let (bdev, mut io) = (NullBdev::new(1 << 20, 512).unwrap(), Io::default());
        let mut pages = Pages::default();
        let open =
            |index| CountedChannel { channel: bdev.channel(&mut io).unwrap(), tally: pages.tally(DiskIndex(index)) };
        (0..count).map(open).collect()
    }

    fn at(target: u8, lun: u16) -> Address {
        Address { target, lun }
    }

    #[test]
    fn each_lun_finds_its_own_disk_whoever_had_its_place_before() {
        // All of these but the first have one place.
        let addresses = [at(0, 0), at(0, 7), at(7, 0), at(3, 4), at(5, 2)];
        let (map, channels, mut known) = (map(&addresses), channels(5), KnownUnits::new());
        for _ in 0..2 {
            for (index, &address) in addresses.iter().enumerate() {
                let found = known.find(LunAddress::of(address), (&map, &channels)).unwrap();
                assert_eq!(found.disk(), DiskIndex(index));
            }
        }
    }

    #[test]
    fn what_has_no_disk_is_not_known() {
        let (map, channels, mut known) = (map(&[at(0, 0)]), channels(1), KnownUnits::new());
        assert!(known.find(LunAddress::of(at(0, 0)), (&map, &channels)).is_some());
        for other in [[0; 8], [1, 0, 0, 0, 0, 0, 0, 1], [1, 0, 0, 1, 0, 0, 0, 0], [1, 1, 0, 1, 0, 0, 0, 0]] {
            assert!(known.find(LunAddress(other), (&map, &channels)).is_none(), "{other:?}");
        }
        assert!(known.find(LunAddress::REPORT_LUNS, (&map, &channels)).is_none());
    }

    #[test]
    fn what_is_forgotten_is_looked_up_again() {
        let (mut known, channels) = (KnownUnits::new(), channels(2));
        let lun = LunAddress::of(at(0, 1));
        let mut find = |addresses: &[Address]| {
            let disk = known.find(lun, (&map(addresses), &channels)).map(Known::disk);
            known.forget();
            disk
        };
        assert_eq!(find(&[at(0, 0), at(0, 1)]), Some(DiskIndex(1)));
        assert_eq!(find(&[at(0, 0)]), None);
        assert_eq!(find(&[at(0, 1)]), Some(DiskIndex(0)));
    }

    #[test]
    fn all_that_was_met_is_forgotten_and_no_other_place_is_written() {
        // The first and the last bit of each word, and others; two of them have one place.
        let luns = [0, 1, 63, 64, 127, 128, 191, 192, 255].map(|lun| at(0, lun));
        let addresses: Vec<_> = luns.into_iter().chain([at(1, 0)]).collect();
        let (map, channels, mut known) = (map(&addresses), channels(10), KnownUnits::new());
        // A mark where nobody was met.
        let stranger = LunAddress::of(at(0, 77));
        known.places[KnownUnits::place(stranger)].lun = stranger;
        for _ in 0..2 {
            let met: Vec<_> = addresses.iter().map(|&address| LunAddress::of(address)).collect();
            met.iter().for_each(|&lun| assert!(known.find(lun, (&map, &channels)).is_some()));
            assert_eq!(known.met.iter().map(|word| word.count_ones()).sum::<u32>(), 9);
            known.forget();
            assert!(met.iter().all(|&lun| known.met(lun).is_none()), "all of them");
            assert!(known.met(stranger).is_some(), "nothing else");
            assert_eq!(known.met, [0; 4]);
        }
    }

    #[test]
    fn what_stands_in_the_way_of_a_unit_is_seen_before_the_next_batch() {
        const READ: [u64; 2] = [0x28, 1];
        let (map, channels, mut known) = (map(&[at(0, 0), at(0, 1)]), channels(2), KnownUnits::new());
        let [lun, other] = [0, 1].map(|lun| LunAddress::of(at(0, lun)));
        let mut starts = |lun| {
            known.keep_up(&map);
            known.find(lun, (&map, &channels)).unwrap().unit.start(READ, false).is_some()
        };
        assert!(starts(lun) && starts(other));
        let standing = &map.entry(map.find(at(0, 0)).unwrap()).standing;
        standing.set_unit(UnitState { stopped: true, ..UnitState::default() });
        assert!(!starts(lun) && !starts(lun) && starts(other));
        standing.set_unit(UnitState::default());
        assert!(starts(lun));
        standing.raise(Attention::CapacityChanged);
        assert!(!starts(lun) && standing.take_attention().is_some() && starts(lun));
    }

    #[test]
    fn a_place_that_nobody_has_is_found_by_no_lun() {
        let mut known = KnownUnits::new();
        let place = |lun| KnownUnits::place(LunAddress::of(at(0, lun)));
        for _ in 0..2 {
            for (place, nobody) in known.places.iter().enumerate() {
                assert_ne!(KnownUnits::place(nobody.lun()), place);
            }
            for end in [0, PLACES - 1] {
                let address = at(0, (0..256).find(|&lun| place(lun) == end).unwrap());
                assert!(known.find(LunAddress::of(address), (&map(&[address]), &channels(1))).is_some());
            }
            known.forget();
        }
    }

    #[test]
    fn units_of_a_target_have_places_of_their_own() {
        for target in [0, 1, 255] {
            let mut places: Vec<_> = (0..256).map(|lun| KnownUnits::place(LunAddress::of(at(target, lun)))).collect();
            places.sort_unstable();
            assert!(places.into_iter().eq(0..PLACES), "{target}");
        }
    }
}

//! Which logical unit answers at an address of one controller, and what its nexus has pending there.

use std::sync::Arc;

use crate::scsi::reservations::Access;
use crate::scsi::{
    Attention, Condition, Designator, Hindrance, LogicalUnit, MissingUnit, ModeValues, Neighbour, Neighbours, Place,
    Unit, WellKnownUnit,
};
use crate::virtio_scsi::lun::{WELL_KNOWN_LUN, encode_lun};
use crate::virtio_scsi::{Address, LunAddress};

use super::disk::Disk;
use super::job::Owner;
use super::standing::Standing;
use super::target_port::TargetPort;

/// Place of an [`Entry`] in its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EntryIndex(u32);

/// Logical units of one controller, by address. Immutable, shared by its workers.
#[derive(Debug)]
pub(crate) struct LunMap {
    entries: Vec<Entry>,
    targets: Vec<Option<Target>>,
    /// All logical units of all targets, as the drivers of the device address them.
    report: Vec<[u8; 8]>,
    well_known: EntryIndex,
    pub(crate) port: Arc<TargetPort>,
}

/// Whatever answers at an address.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) unit: Unit,
    /// There unless the unit only stands in for a missing one.
    pub(crate) disk: Option<Arc<Disk>>,
    /// Whose logical units it reports; none if those of all.
    target: Option<u8>,
    /// What the driver's nexus has for itself.
    pub(crate) standing: Arc<Standing>,
}

#[derive(Debug)]
struct Target {
    /// By LUN.
    luns: Vec<(u16, EntryIndex)>,
    /// The same in the form that REPORT LUNS gives.
    report: Vec<[u8; 8]>,
    missing_zero: EntryIndex,
    missing: EntryIndex,
    well_known: EntryIndex,
}

/// A disk at an address.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    pub(crate) address: Address,
    pub(crate) disk: Arc<Disk>,
}

impl LunMap {
    /// A map of `placements`, whose addresses are distinct.
    #[cfg(test)]
    pub(crate) fn new(placements: Vec<Placement>) -> Self {
        Self::at_port(placements, TargetPort::of_test(1))
    }

    /// A map of `placements`, whose addresses are distinct, for the controller that is this port of them.
    pub(crate) fn at_port(mut placements: Vec<Placement>, port: Arc<TargetPort>) -> Self {
        placements.sort_by_key(|placement| (placement.address.target, placement.address.lun));
        let highest = placements.last().map_or(0, |last| usize::from(last.address.target) + 1);
        let targets = (0..highest).map(|_| None).collect();
        let report = placements.iter().map(|placement| LunAddress::of(placement.address).0).collect();
        let mut entries = Vec::new();
        let well_known = push(&mut entries, Entry::new(Unit::WellKnown(WellKnownUnit), None, None));
        let mut map = Self { entries, targets, report, well_known, port };
        for placement in placements {
            map.add(placement);
        }
        map
    }

    fn add(&mut self, Placement { address, disk }: Placement) {
        let number = address.target;
        if self.targets[usize::from(number)].is_none() {
            let mut without_disk = |unit| push(&mut self.entries, Entry::new(unit, None, Some(number)));
            self.targets[usize::from(number)] = Some(Target {
                luns: Vec::new(),
                report: Vec::new(),
                missing_zero: without_disk(Unit::Missing(MissingUnit::new(true))),
                missing: without_disk(Unit::Missing(MissingUnit::new(false))),
                well_known: without_disk(Unit::WellKnown(WellKnownUnit)),
            });
        }
        let unit = LogicalUnit::new(disk.identity.clone(), disk.bdev.info()).at_port(self.port.port);
        let unit = Unit::Disk(unit.saving_modes(disk.sharing.keeps()));
        let entry = Entry::new(unit, Some(disk.clone()), Some(number));
        if let Some(saved) = disk.sharing.saved_mode(self.port.nexus) {
            entry.standing.update_mode(|_| saved);
        }
        disk.sharing.join(&self.port, address, &entry.standing);
        let index = push(&mut self.entries, entry);
        let target = self.targets[usize::from(number)].as_mut().expect("made above");
        target.luns.push((address.lun, index));
        target.report.push(encode_lun(address.lun));
    }

    /// What answers at `address`; `None` if there is no such target.
    #[inline]
    pub(crate) fn find(&self, address: Address) -> Option<EntryIndex> {
        let target = self.targets.get(usize::from(address.target))?.as_ref()?;
        // Nearly always they are numbered from 0 on without a gap.
        if let Some(&(lun, index)) = target.luns.get(usize::from(address.lun))
            && lun == address.lun
        {
            return Some(index);
        }
        match target.luns.binary_search_by_key(&address.lun, |&(lun, _)| lun) {
            Ok(place) => Some(target.luns[place].1),
            Err(_) if address.lun == 0 => Some(target.missing_zero),
            Err(_) if address.lun == WELL_KNOWN_LUN => Some(target.well_known),
            Err(_) => Some(target.missing),
        }
    }

    /// What answers at the well-known logical unit of the whole device.
    pub(crate) fn well_known(&self) -> EntryIndex {
        self.well_known
    }

    /// The disk at `address`, if there is one.
    pub(crate) fn disk(&self, address: Address) -> Option<&Arc<Disk>> {
        self.entry(self.find(address)?).disk.as_ref()
    }

    /// The entry.
    #[inline]
    pub(crate) fn entry(&self, index: EntryIndex) -> &Entry {
        &self.entries[index.0 as usize]
    }

    /// The logical units of the target that `entry` belongs to, or of the whole device, as REPORT LUNS gives them.
    pub(crate) fn report(&self, entry: &Entry) -> &[[u8; 8]] {
        let Some(target) = entry.target else { return &self.report };
        self.targets[usize::from(target)].as_ref().map_or(&[], |target| &target.report)
    }

    /// Highest target.
    pub(crate) fn max_target(&self) -> u8 {
        self.targets.len().saturating_sub(1) as u8
    }

    /// Raises `attention` at every logical unit for which `concerns` holds. With the nexus, or its port, goes what RESERVE (6)
    /// gave it.
    pub(crate) fn raise(&self, attention: Attention, concerns: impl Fn(Address) -> bool) {
        for (number, target) in self.targets.iter().enumerate() {
            for &(lun, index) in target.iter().flat_map(|target| &target.luns) {
                if concerns(Address { target: number as u8, lun }) {
                    let entry = self.entry(index);
                    entry.standing.raise(attention);
                    if let Some(disk) = entry.disk.as_ref().filter(|_| attention.ends_nexus()) {
                        disk.sharing.nexus_lost(self.port.nexus);
                    }
                }
            }
        }
    }

    /// Whether there is something in the hold of `disk`.
    pub(crate) fn mark_hindered(&self, disk: &Arc<Disk>, hindered: bool) {
        let shows = |entry: &&Entry| entry.disk.as_ref().is_some_and(|its| Arc::ptr_eq(its, disk));
        self.entries.iter().filter(shows).for_each(|entry| entry.standing.set_hindered(hindered));
    }

    /// The disk at a place that [`Neighbours::find`] has given, if the driver may read it now, or change it.
    pub(crate) fn disk_at(&self, Place(at): Place, is_change: bool) -> Option<&Arc<Disk>> {
        let entry = self.entries.get(at as usize)?;
        let may = entry.standing.may(if is_change { Access::Write } else { Access::Read });
        entry.disk.as_ref().filter(|_| may && !entry.standing.is_stopped() && entry.hindrance(None).is_none())
    }

    /// The disks, each once for each address that it has.
    pub(crate) fn disks(&self) -> impl Iterator<Item = &Arc<Disk>> {
        self.entries.iter().filter_map(|entry| entry.disk.as_ref())
    }
}

impl Neighbours for LunMap {
    fn find(&self, designator: &Designator<'_>) -> Option<Neighbour> {
        let mut disks = self.entries.iter().enumerate().filter_map(|(at, entry)| Some((at, entry, entry.unit.disk()?)));
        let (at, entry, unit) = disks.find(|(_, _, unit)| unit.is_designated(designator))?;
        let neighbour = unit.neighbour(Place(at as u32), entry.hindrance(None));
        let standing = &entry.standing;
        let protected = standing.mode().current.has(ModeValues::SWP);
        (!standing.is_stopped()).then_some(Neighbour { writable: neighbour.writable && !protected, ..neighbour })
    }
}

impl Entry {
    fn new(unit: Unit, disk: Option<Arc<Disk>>, target: Option<u8>) -> Self {
        Self { unit, disk, target, standing: Arc::new(Standing::new()) }
    }

    /// What a command has to know when it starts. If it is one that begins work on the whole medium, `asker` says which.
    #[inline]
    pub(crate) fn condition(&self, asker: Option<Owner>) -> Condition<'static> {
        let (standing, hindrance) = (&self.standing, self.hindrance(asker));
        Condition { stopped: standing.is_stopped(), hindrance, mode: standing.mode(), ..Condition::default() }
    }

    /// What keeps a command from the medium, see [`Hold::hindrance`](super::job::Hold::hindrance): a load, and no lock, as
    /// long as nothing does.
    #[inline]
    fn hindrance(&self, asker: Option<Owner>) -> Option<Hindrance> {
        if self.standing.is_hindered() { self.disk.as_ref()?.hold.hindrance(asker) } else { None }
    }
}

fn push(entries: &mut Vec<Entry>, entry: Entry) -> EntryIndex {
    entries.push(entry);
    EntryIndex((entries.len() - 1) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::disk::DiskIndex;

    const AT: Address = Address { target: 2, lun: 0 };

    fn shared_disk() -> [LunMap; 2] {
        let disk = Arc::new(Disk::of(Arc::new(bdev::NullBdev::new(1 << 20, 512).unwrap()), DiskIndex(0)));
        [(); 2].map(|()| LunMap::new(vec![Placement { address: AT, disk: disk.clone() }]))
    }

    #[test]
    fn a_unit_that_one_guest_stops_runs_for_the_others_and_again_after_a_reset() {
        let [a, b] = shared_disk();
        let (a, b) = (a.entry(a.find(AT).unwrap()), b.entry(b.find(AT).unwrap()));
        let (a, b) = (&a.standing, &b.standing);
        a.set_stopped(true);
        assert!(a.is_stopped() && !b.is_stopped());
        a.raise(Attention::NexusLoss);
        assert!(a.is_stopped());
        a.raise(Attention::HardReset);
        assert!(!a.is_stopped());
    }

    #[test]
    fn missing_units_and_targets_are_told_apart() {
        let [map, _] = shared_disk();
        assert!(map.find(Address { target: 0, lun: 0 }).is_none());
        assert!(map.find(Address { target: 3, lun: 0 }).is_none());
        let missing = map.entry(map.find(Address { target: 2, lun: 1 }).unwrap());
        assert!(missing.disk.is_none());
        assert_eq!(map.report(missing), [[0; 8]]);
        assert_eq!(map.max_target(), 2);
    }

    #[test]
    fn well_known_units_report_a_target_or_all() {
        let disk = Arc::new(Disk::of(Arc::new(bdev::NullBdev::new(1 << 20, 512).unwrap()), DiskIndex(0)));
        let place = |target, lun| Placement { address: Address { target, lun }, disk: disk.clone() };
        let map = LunMap::new(vec![place(3, 300), place(0, 0), place(3, 1)]);
        let of_target = map.entry(map.find(Address { target: 3, lun: WELL_KNOWN_LUN }).unwrap());
        assert!(matches!(of_target.unit, Unit::WellKnown(_)));
        assert_eq!(map.report(of_target), [[0, 1, 0, 0, 0, 0, 0, 0], [0x41, 0x2c, 0, 0, 0, 0, 0, 0]]);
        assert!(map.find(Address { target: 1, lun: WELL_KNOWN_LUN }).is_none());
        let of_all = map.entry(map.well_known());
        let expected = [[1, 0, 0, 0, 0, 0, 0, 0], [1, 3, 0, 1, 0, 0, 0, 0], [1, 3, 0x41, 0x2c, 0, 0, 0, 0]];
        assert_eq!(map.report(of_all), expected);
        let none = LunMap::new(vec![]);
        assert!(none.report(none.entry(none.well_known())).is_empty());
    }

    #[test]
    fn an_attention_is_taken_once() {
        let [map, _] = shared_disk();
        map.raise(Attention::PowerOn, |address| address == AT);
        let standing = &map.entry(map.find(AT).unwrap()).standing;
        assert!(standing.is_in_the_way());
        assert_eq!(standing.take_attention(), Some(Attention::PowerOn));
        assert!(!standing.is_in_the_way() && standing.take_attention().is_none());
    }
}

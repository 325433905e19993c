//! Which logical unit answers at an address of one controller, and what its nexus has pending there.
//!
//! A map never changes: each worker has a snapshot of its own, and gets the next one by message (see
//! [`lun_change`](super::lun_change)). The place of an entry means the same in all maps of a controller for as long as a
//! request may name it: what is taken out of the map is only *leaving*, and still there for the requests that began on it.

use std::sync::Arc;

use crate::scsi::{Attention, Condition, Hindrance, LogicalUnit, MissingUnit, Unit, WellKnownUnit};
use crate::virtio_scsi::lun::{WELL_KNOWN_LUN, encode_lun};
use crate::virtio_scsi::{Address, LunAddress};

use super::disk::Disk;
use super::job::Owner;
use super::message::Message;
use super::standing::Standing;
use super::target_port::TargetPort;

mod neighbours;

/// Place of an [`Entry`] in its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EntryIndex(u32);

impl EntryIndex {
    /// That of no entry.
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// Logical units of one controller, by address. Immutable, shared by its workers.
#[derive(Debug, Clone)]
pub(crate) struct LunMap {
    entries: Vec<Entry>,
    targets: Vec<Option<Target>>,
    /// All logical units of all targets, as the drivers of the device address them: in the order of those bytes.
    report: Vec<[u8; 8]>,
    well_known: EntryIndex,
    /// Entries that no address leads to any more, and how the requests on them end.
    leaving: Vec<(EntryIndex, Leaving)>,
    /// Entries that are for the next units.
    vacant: Vec<EntryIndex>,
    /// Entries that there ever were.
    count: u32,
    pub(crate) port: Arc<TargetPort>,
}

/// How requests end that began on a unit which is no longer in the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// The unit was removed: at once.
    Removed,
    /// The unit has changed: in their own time.
    Replaced,
}

/// Whatever answers at an address.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) unit: Unit,
    /// There unless the unit only stands in for a missing one.
    pub(crate) disk: Option<Arc<Disk>>,
    /// Whose logical units it reports; none if those of all.
    target: Option<u8>,
    /// What the driver's nexus has for itself. All maps of the controller share it.
    pub(crate) standing: Arc<Standing>,
    /// No other entry at the same place has this number.
    number: u32,
}

#[derive(Debug, Clone)]
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
    pub(crate) fn at_port(placements: Vec<Placement>, port: Arc<TargetPort>) -> Self {
        let mut map = Self {
            entries: Vec::new(),
            targets: Vec::new(),
            report: Vec::new(),
            well_known: EntryIndex::default(),
            leaving: Vec::new(),
            vacant: Vec::new(),
            count: 0,
            port,
        };
        map.well_known = map.put(Entry::new(map.well_known_unit(), None, None));
        for placement in placements {
            map.add(placement);
        }
        map
    }

    fn well_known_unit(&self) -> Unit {
        Unit::WellKnown(WellKnownUnit { port: self.port.port })
    }

    /// Adds a disk at an address that has none.
    pub(crate) fn add(&mut self, Placement { address, disk }: Placement) {
        let number = usize::from(address.target);
        if self.targets.len() <= number {
            self.targets.resize_with(number + 1, || None);
        }
        if self.targets[number].is_none() {
            let well_known = self.well_known_unit();
            let mut without_disk = |unit| self.put(Entry::new(unit, None, Some(address.target)));
            let missing_zero = without_disk(Unit::Missing(MissingUnit::new(true)));
            let missing = without_disk(Unit::Missing(MissingUnit::new(false)));
            let well_known = without_disk(well_known);
            let (luns, report) = (Vec::new(), Vec::new());
            self.targets[number] = Some(Target { luns, report, missing_zero, missing, well_known });
        }
        let standing = Arc::new(Standing::new(self.port.stir.clone()));
        let entry = self.entry_of(disk.clone(), address, standing);
        disk.sharing.join(&self.port, address, &entry.standing);
        let index = self.put(entry);
        let target = self.targets[number].as_mut().expect("made above");
        let place = target.luns.partition_point(|&(lun, _)| lun < address.lun);
        target.luns.insert(place, (address.lun, index));
        target.report.insert(place, encode_lun(address.lun));
        let lun = LunAddress::of(address).0;
        self.report.insert(self.report.partition_point(|other| *other < lun), lun);
    }

    /// Takes the logical unit at `address` out of the map; with the last one its target goes. False if there is none.
    pub(crate) fn remove(&mut self, address: Address) -> bool {
        let Some((number, place)) = self.position_of(address) else { return false };
        let Some(target) = &mut self.targets[number] else { return false };
        let (_, index) = target.luns.remove(place);
        target.report.remove(place);
        let entry = &self.entries[index.0 as usize];
        entry.disk.iter().for_each(|disk| disk.sharing.part(&entry.standing));
        // What is still with a disk that the unit had before goes with it.
        let is_its = |other: EntryIndex| Arc::ptr_eq(&self.entries[other.0 as usize].standing, &entry.standing);
        self.leaving.iter_mut().filter(|(other, _)| is_its(*other)).for_each(|(_, how)| *how = Leaving::Removed);
        self.leaving.push((index, Leaving::Removed));
        if target.luns.is_empty() {
            let gone = [target.missing_zero, target.missing, target.well_known];
            self.leaving.extend(gone.map(|index| (index, Leaving::Removed)));
            self.targets[number] = None;
        }
        while self.targets.pop_if(|last| last.is_none()).is_some() {}
        let lun = LunAddress::of(address).0;
        self.report.remove(self.report.partition_point(|other| *other < lun));
        true
    }

    /// Gives the logical unit at an address another disk, which is the same one to its driver but for what `disk` says of
    /// it. False if there is none.
    pub(crate) fn replace(&mut self, Placement { address, disk }: Placement) -> bool {
        let Some((number, place)) = self.position_of(address) else { return false };
        let Some((_, before)) = self.targets[number].as_ref().map(|target| target.luns[place]) else { return false };
        let entry = self.entry_of(disk, address, self.entry(before).standing.clone());
        let index = self.put(entry);
        self.leaving.push((before, Leaving::Replaced));
        if let Some(target) = &mut self.targets[number] {
            target.luns[place].1 = index;
        }
        true
    }

    /// Forgets what was leaving: no request names it any more. Until now it has heard of whatever happens to its disk, for a
    /// reactor may have been about to begin a command on it.
    pub(crate) fn forget_leaving(&mut self) {
        for (index, how) in std::mem::take(&mut self.leaving) {
            let vacant = Entry::new(Unit::Missing(MissingUnit::new(false)), None, Some(0));
            let entry = std::mem::replace(&mut self.entries[index.0 as usize], vacant);
            if let (Leaving::Removed, Some(disk)) = (how, &entry.disk) {
                disk.sharing.leave(&entry.standing);
            }
            self.vacant.push(index);
        }
    }

    /// How a request ends that names `index`, if no address leads there any more.
    pub(crate) fn leaving(&self, index: EntryIndex) -> Option<Leaving> {
        self.leaving.iter().find(|(other, _)| *other == index).map(|&(_, how)| how)
    }

    /// Whether this is what the nexus had with a unit that was removed.
    pub(crate) fn is_removed(&self, standing: &Standing) -> bool {
        let removed = self.leaving.iter().filter(|(_, how)| *how == Leaving::Removed);
        removed.into_iter().any(|&(index, _)| std::ptr::eq(&*self.entry(index).standing, standing))
    }

    /// Whether a disk is only that of units that are leaving.
    pub(crate) fn has_left(&self, disk: &Disk) -> bool {
        !self.disks().any(|other| other.index == disk.index)
    }

    /// Target and place of the logical unit at `address`.
    fn position_of(&self, address: Address) -> Option<(usize, usize)> {
        let number = usize::from(address.target);
        let target = self.targets.get(number)?.as_ref()?;
        target.luns.binary_search_by_key(&address.lun, |&(lun, _)| lun).ok().map(|place| (number, place))
    }

    fn entry_of(&self, disk: Arc<Disk>, address: Address, standing: Arc<Standing>) -> Entry {
        let notes = &standing.notes;
        let unit = disk.unit(self.port.port).with_copies(notes.copies.clone(), notes.rods.clone());
        Entry { standing, ..Entry::new(Unit::Disk(unit), Some(disk), Some(address.target)) }
    }

    fn put(&mut self, entry: Entry) -> EntryIndex {
        let entry = Entry { number: self.count, ..entry };
        self.count = self.count.wrapping_add(1);
        if let Some(index) = self.vacant.pop() {
            self.entries[index.0 as usize] = entry;
            return index;
        }
        self.entries.push(entry);
        EntryIndex((self.entries.len() - 1) as u32)
    }

    /// Logical units, in the order of their addresses.
    fn addressed(&self) -> impl Iterator<Item = (Address, EntryIndex)> {
        let targets = self.targets.iter().enumerate();
        targets.flat_map(|(number, target)| {
            let luns = target.iter().flat_map(|target| &target.luns);
            luns.map(move |&(lun, index)| (Address { target: number as u8, lun }, index))
        })
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
        let target = self.targets.get(usize::from(target)).and_then(Option::as_ref);
        target.map_or(&[], |target| &target.report)
    }

    /// Highest target.
    pub(crate) fn max_target(&self) -> u8 {
        self.targets.len().saturating_sub(1) as u8
    }

    /// Raises `attention` at every logical unit for which `concerns` holds. With the nexus, or its port, goes what it had of what
    /// the disk's ports share.
    pub(crate) fn raise(&self, attention: Attention, concerns: impl Fn(Address) -> bool) {
        for (_, index) in self.addressed().filter(|&(address, _)| concerns(address)) {
            let entry = self.entry(index);
            entry.standing.raise(attention);
            if let Some(disk) = entry.disk.as_ref().filter(|_| attention.ends_nexus())
                && disk.sharing.nexus_lost(&self.port, &entry.standing, attention)
            {
                self.flush(entry);
            }
        }
    }

    /// Units for which `concerns` holds have come. What their nexus has of disks that it reaches at other addresses stays.
    pub(crate) fn switch_on(&self, concerns: impl Fn(Address) -> bool) {
        for (_, index) in self.addressed().filter(|&(address, _)| concerns(address)) {
            let entry = self.entry(index);
            entry.standing.raise(Attention::PowerOn);
            if entry.disk.as_ref().is_some_and(|disk| disk.sharing.arrived(&self.port, &entry.standing)) {
                self.flush(entry);
            }
        }
    }

    /// The cache of a unit is to be written. Only control threads come here, for no port begins anew on a reactor.
    fn flush(&self, entry: &Entry) {
        if let (Some(reactor), Some(message)) = (self.port.reactors().first(), entry.flush()) {
            // One that has ended has flushed.
            let _ = reactor.post(message);
        }
    }

    /// Whether there is something in the hold of `disk`.
    pub(crate) fn mark_hindered(&self, disk: &Disk, hindered: bool) {
        let shows = |entry: &&Entry| entry.disk.as_ref().is_some_and(|its| its.is_same(disk));
        self.entries.iter().filter(shows).for_each(|entry| entry.standing.set_hindered(hindered));
    }

    /// REPORT LUNS at `entry` has told what there is: nobody has to be told any more that it has changed (SPC-5, REPORT LUNS).
    #[cold]
    pub(super) fn were_reported_by(&self, entry: &Entry) {
        let told = self.addressed().filter(|(unit, _)| entry.target.is_none_or(|target| target == unit.target));
        told.for_each(|(_, index)| self.entry(index).standing.withdraw(Attention::ReportedLunsChanged));
    }

    /// The logical units that are this disk, in whatever size.
    pub(super) fn entries_of(&self, disk: &Disk) -> impl Iterator<Item = (Address, &Entry)> {
        let entries = self.addressed().map(|(address, index)| (address, self.entry(index)));
        entries.filter(|(_, entry)| entry.disk.as_ref().is_some_and(|its| its.is_same(disk)))
    }

    /// The disks, each once for each address that it has.
    pub(crate) fn disks(&self) -> impl Iterator<Item = &Arc<Disk>> {
        self.standings().map(|(disk, _)| disk)
    }

    /// The same with what the driver's nexus has there for itself.
    pub(crate) fn standings(&self) -> impl Iterator<Item = (&Arc<Disk>, &Standing)> {
        let entries = self.addressed().map(|(_, index)| self.entry(index));
        entries.filter_map(|entry| Some((entry.disk.as_ref()?, &*entry.standing)))
    }
}

impl Entry {
    fn new(unit: Unit, disk: Option<Arc<Disk>>, target: Option<u8>) -> Self {
        Self { unit, disk, target, standing: Arc::new(Standing::new(Arc::default())), number: 0 }
    }

    /// What has its cache written, if there is one.
    pub(crate) fn flush(&self) -> Option<Message> {
        let disk = self.disk.as_ref().filter(|_| self.unit.disk().is_some_and(LogicalUnit::may_cache_writes))?;
        Some(Message::Flush { disk: disk.index, standing: self.standing.clone() })
    }

    /// What a command has to know when it starts. If it is one that begins work on the whole medium, `asker` says which.
    #[inline]
    pub(crate) fn condition(&self, asker: Option<Owner>) -> Condition<'static> {
        let (standing, hindrance) = (&self.standing, self.hindrance(asker));
        let (stopped, removal_prevented) = (standing.is_stopped(), standing.is_prevented());
        let (several_ports, mode) = (standing.has_several_ports(), standing.mode());
        Condition { stopped, removal_prevented, several_ports, mode, hindrance, ..Condition::default() }
    }

    /// What keeps a command from the medium, see [`Hold::hindrance`](super::job::Hold::hindrance): a load, and no lock, as
    /// long as nothing does.
    #[inline]
    fn hindrance(&self, asker: Option<Owner>) -> Option<Hindrance> {
        if self.standing.is_hindered() { self.standing.hindrance(self.disk.as_ref()?, asker) } else { None }
    }
}

#[cfg(test)]
mod tests;

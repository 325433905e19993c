//! Which logical unit answers at an address of one controller, and what its nexus has pending there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::scsi::{Attention, Attentions, LogicalUnit, MissingUnit, Unit};
use crate::virtio_scsi::Address;
use crate::virtio_scsi::lun::encode_lun;

use super::disk::Disk;

/// Place of an [`Entry`] in its map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct EntryIndex(u32);

/// Logical units of one controller, by address. Immutable, shared by its workers.
#[derive(Debug)]
pub(crate) struct LunMap {
    entries: Vec<Entry>,
    targets: Vec<Option<Target>>,
}

/// Whatever answers at an address.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) unit: Unit,
    /// There unless the unit only stands in for a missing one.
    pub(crate) disk: Option<Arc<Disk>>,
    target: u8,
    pending: Pending,
    /// START STOP UNIT has stopped it. Each controller has a state of its own, also where several share the disk: one
    /// guest must not take it from the others.
    stopped: AtomicBool,
}

/// Unit attentions that the controller's driver, the one initiator here, has not been told yet.
#[derive(Debug, Default)]
struct Pending {
    /// Looked at for each command; the lock is taken only when it is set.
    any: AtomicBool,
    attentions: Mutex<Attentions>,
}

#[derive(Debug)]
struct Target {
    /// By LUN.
    luns: Vec<(u16, EntryIndex)>,
    /// The same in the form that REPORT LUNS gives.
    report: Vec<[u8; 8]>,
    missing_zero: EntryIndex,
    missing: EntryIndex,
}

/// A disk at an address.
#[derive(Debug, Clone)]
pub(crate) struct Placement {
    pub(crate) address: Address,
    pub(crate) disk: Arc<Disk>,
}

impl LunMap {
    /// A map of `placements`, whose addresses are distinct.
    pub(crate) fn new(mut placements: Vec<Placement>) -> Self {
        placements.sort_by_key(|placement| (placement.address.target, placement.address.lun));
        let highest = placements.last().map_or(0, |last| usize::from(last.address.target) + 1);
        let mut map = Self { entries: Vec::new(), targets: (0..highest).map(|_| None).collect() };
        for placement in placements {
            map.add(placement);
        }
        map
    }

    fn add(&mut self, Placement { address, disk }: Placement) {
        let number = address.target;
        if self.targets[usize::from(number)].is_none() {
            let mut stand_in = |lun_zero| {
                let unit = Unit::Missing(MissingUnit::new(lun_zero));
                push(&mut self.entries, Entry::new(unit, None, number))
            };
            let (missing_zero, missing) = (stand_in(true), stand_in(false));
            self.targets[usize::from(number)] =
                Some(Target { luns: Vec::new(), report: Vec::new(), missing_zero, missing });
        }
        let unit = Unit::Disk(LogicalUnit::new(disk.identity.clone(), disk.bdev.info()));
        let entry = Entry::new(unit, Some(disk), number);
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
            Err(_) => Some(target.missing),
        }
    }

    /// The entry.
    #[inline]
    pub(crate) fn entry(&self, index: EntryIndex) -> &Entry {
        &self.entries[index.0 as usize]
    }

    /// The logical units of the target that `entry` belongs to, as REPORT LUNS gives them.
    pub(crate) fn report(&self, entry: &Entry) -> &[[u8; 8]] {
        self.targets[usize::from(entry.target)].as_ref().map_or(&[], |target| &target.report)
    }

    /// Highest target.
    pub(crate) fn max_target(&self) -> u8 {
        self.targets.len().saturating_sub(1) as u8
    }

    /// Raises `attention` at every logical unit for which `concerns` holds.
    pub(crate) fn raise(&self, attention: Attention, concerns: impl Fn(Address) -> bool) {
        for (number, target) in self.targets.iter().enumerate() {
            for &(lun, index) in target.iter().flat_map(|target| &target.luns) {
                if concerns(Address { target: number as u8, lun }) {
                    self.entry(index).raise(attention);
                }
            }
        }
    }

    /// The disks, each once for each address that it has.
    pub(crate) fn disks(&self) -> impl Iterator<Item = &Arc<Disk>> {
        self.entries.iter().filter_map(|entry| entry.disk.as_ref())
    }
}

impl Entry {
    fn new(unit: Unit, disk: Option<Arc<Disk>>, target: u8) -> Self {
        Self { unit, disk, target, pending: Pending::default(), stopped: AtomicBool::new(false) }
    }

    /// Whether nothing stands in the way of a usual command: neither an attention nor a stop.
    #[inline]
    pub(crate) fn is_usual(&self) -> bool {
        !self.has_attention() && !self.is_stopped()
    }

    #[inline]
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stopped(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::Relaxed);
    }

    /// Whether an attention is pending: a load, and no lock.
    #[inline]
    pub(crate) fn has_attention(&self) -> bool {
        self.pending.any.load(Ordering::Acquire)
    }

    /// Takes the attention to report next. Of two that ask at the same time only one gets it.
    pub(crate) fn take_attention(&self) -> Option<Attention> {
        let mut attentions = self.pending.attentions.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = attentions.take();
        self.pending.any.store(!attentions.is_empty(), Ordering::Release);
        taken
    }

    /// Adds an attention. A unit that was reset is a started one.
    pub(crate) fn raise(&self, attention: Attention) {
        if matches!(attention, Attention::PowerOn | Attention::HardReset | Attention::LogicalUnitReset) {
            self.set_stopped(false);
        }
        let mut attentions = self.pending.attentions.lock().unwrap_or_else(PoisonError::into_inner);
        attentions.raise(attention);
        self.pending.any.store(true, Ordering::Release);
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
    fn an_attention_is_taken_once() {
        let [map, _] = shared_disk();
        map.raise(Attention::PowerOn, |address| address == AT);
        let entry = map.entry(map.find(AT).unwrap());
        assert!(entry.has_attention());
        assert_eq!(entry.take_attention(), Some(Attention::PowerOn));
        assert!(!entry.has_attention() && entry.take_attention().is_none());
    }
}

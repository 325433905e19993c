//! Logical units of the first guest that go, come again and get their disks anew, while it is at work: what its control thread
//! and whoever manages the target do, step by step, when the simulation likes.

use std::sync::{Arc, mpsc};

use reactor::{Context, Gate};

use crate::target::disk::{Disk, DiskIndex};
use crate::target::lun_change::{LunChange, raise};
use crate::target::lun_map::{LunMap, Placement};
use crate::target::message::Message;
use crate::target::tests::bed::Bed;
use crate::target::tests::sim_disk::SimDisk;
use crate::virtio_scsi::{Address, Event};

/// The logical units of the first guest: one for each disk, as LUN 0 of the target of its number. Target 0 has another LUN,
/// which stays.
pub(super) struct Units {
    cores: usize,
    /// By target.
    units: Vec<Unit>,
    /// What left: the gates that open when no request is on it, and its disks.
    leaving: Vec<(Gate, DiskIndex)>,
    closing: Vec<(Gate, DiskIndex)>,
    /// Indices that no disk has.
    free: Vec<DiskIndex>,
    /// A change that not every core knows of.
    news: Option<(Gate, Arc<LunMap>, Vec<Event>)>,
}

struct Unit {
    /// Its disk; none while it is away.
    disk: Option<DiskIndex>,
    /// Every core knows that it is away.
    is_gone: bool,
    /// It has come again, and not every core knows.
    is_new: bool,
}

/// What became of a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Went,
    Came,
    Replaced,
}

/// Disks that may be open at a time beside those that both guests show.
const SPARE: usize = 3;

impl Units {
    /// Those of a bed with so many cores and disks, which stay open.
    pub(super) fn new(bed: &mut Bed, cores: usize) -> Self {
        let disks = bed.disks.len();
        let units =
            (0..disks).map(|index| Unit { disk: Some(DiskIndex(index)), is_gone: false, is_new: false }).collect();
        let free = (disks + 1..=disks + SPARE).rev().map(DiskIndex).collect();
        let (leaving, closing) = (Vec::new(), Vec::new());
        let mut units = Self { cores, units, leaving, closing, free, news: None };
        let neighbour = Arc::new(Disk::of(Arc::new(SimDisk::new(1)), DiskIndex(disks)));
        units.open(bed, &neighbour);
        let address = Address { target: 0, lun: 1 };
        let add = vec![Placement { address, disk: neighbour }];
        let _ = units.change(bed, LunChange { add, ..LunChange::default() });
        bed.run();
        units.tell();
        units
    }

    /// Whether a core may find no unit at this target.
    pub(super) fn may_be_away(&self, target: usize) -> bool {
        let Unit { disk, is_new, .. } = &self.units[target];
        disk.is_none() || *is_new
    }

    /// Whether every core knows that.
    pub(super) fn is_gone(&self, target: usize) -> bool {
        self.units[target].is_gone
    }

    /// The unit at `target` goes, comes again, or gets another disk on the blocks of `blocks`, if it can now.
    pub(super) fn turn(&mut self, bed: &mut Bed, target: usize, blocks: &SimDisk, replace: bool) -> Option<Turn> {
        // The control thread waits until every core knows of the last change.
        if self.news.is_some() {
            return None;
        }
        self.settle(bed);
        let address = Address { target: target as u8, lun: 0 };
        match self.units[target].disk {
            None => {
                let disk = bed.disks[target].clone();
                self.units[target] = Unit { disk: Some(disk.index), is_gone: false, is_new: true };
                let _ = self.change(bed, LunChange { add: vec![Placement { address, disk }], ..LunChange::default() });
                Some(Turn::Came)
            }
            Some(before) if replace => {
                let (first, index) = (bed.disks[target].clone(), self.free.pop()?);
                let disk = Arc::new(first.resized(&first.config, Arc::new(blocks.clone()), index));
                self.open(bed, &disk);
                let replace = vec![Placement { address, disk }];
                let gate = self.change(bed, LunChange { replace, ..LunChange::default() });
                self.leaving.push((gate, before));
                self.units[target].disk = Some(index);
                Some(Turn::Replaced)
            }
            Some(before) => {
                let gate = self.change(bed, LunChange { remove: vec![address], ..LunChange::default() });
                self.leaving.push((gate, before));
                self.units[target].disk = None;
                Some(Turn::Went)
            }
        }
    }

    /// If every core knows of the last change: tells the driver. The targets of units that have gone with it.
    pub(super) fn tell(&mut self) -> Vec<usize> {
        let Some((_, luns, events)) = self.news.take_if(|(seen, ..)| seen.is_open()) else { return Vec::new() };
        raise(&luns, &events);
        let mut gone = Vec::new();
        for (target, unit) in self.units.iter_mut().enumerate() {
            unit.is_new = false;
            if unit.disk.is_none() && !std::mem::replace(&mut unit.is_gone, true) {
                gone.push(target);
            }
        }
        gone
    }

    /// Forgets units that no request names, and closes disks that no unit is on.
    pub(super) fn settle(&mut self, bed: &mut Bed) {
        if !self.leaving.is_empty() && self.leaving.iter().all(|(gate, _)| gate.is_open()) {
            let _ = self.change(bed, LunChange { forget: true, ..LunChange::default() });
            let left = std::mem::take(&mut self.leaving);
            let own = left.into_iter().map(|(_, disk)| disk).filter(|disk| disk.0 > self.units.len());
            let closing: Vec<_> = own.map(|disk| (self.close(bed, disk), disk)).collect();
            self.closing.extend(closing);
        }
        let closed = self.closing.extract_if(.., |(gate, _)| gate.is_open());
        self.free.extend(closed.map(|(_, disk)| disk));
    }

    /// Whether nothing is waited for any more.
    pub(super) fn is_settled(&self) -> bool {
        self.leaving.is_empty() && self.closing.is_empty() && self.news.is_none()
    }

    /// Changes the logical units. The gate opens when no request is on those that left.
    fn change(&mut self, bed: &mut Bed, change: LunChange) -> Gate {
        let guest = bed.guest();
        let (luns, events) = change.apply(&guest.adapter.luns());
        let luns = Arc::new(luns);
        guest.adapter.set_luns(luns.clone());
        guest.luns_changed();
        let (seen, left) = guest.live.as_ref().expect("it lives").change_luns(&luns);
        self.news = Some((seen, luns, events));
        left
    }

    fn open(&self, bed: &mut Bed, disk: &Arc<Disk>) {
        for core in 0..self.cores {
            let (reply, answer) = mpsc::channel();
            bed.core(core).message(Message::OpenDisk { disk: disk.clone(), reply });
            answer.recv().expect("it answers").expect("there is room");
        }
    }

    /// Every core lets go of a disk.
    fn close(&self, bed: &Bed, disk: DiskIndex) -> Gate {
        let (gate, passes) = Gate::new(self.cores);
        for (handle, pass) in bed.handles().iter().zip(passes) {
            assert!(handle.post(Message::CloseDisk { disk, pass }).is_ok());
        }
        gate
    }
}

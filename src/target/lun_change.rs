//! Logical units that come, go and change while the driver is at work, seen from the control thread of their controller.
//!
//! The control thread makes the next [`LunMap`], and posts it to every reactor of the controller. Each worker takes it over
//! between two commands. When all have, the driver is told: unit attentions, events, a change of the configuration. What is
//! in flight on a unit that left goes on to name it, until the gate opens that whoever ordered the change waits at; then it
//! orders to forget the unit.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use bdev::{Info, MAX_TRANSFER};
use crossbeam::queue::SegQueue;
use reactor::Gate;

use crate::scsi::Attention;
use crate::virtio_scsi::spec::FIRST_REQUEST_QUEUE;
use crate::virtio_scsi::{Address, Event, LUN_MAX, Limits};

use super::controller::{Controller, QUEUE_SIZE_MAX};
use super::job;
use super::live::REST_MAX;
use super::lun_map::{LunMap, Placement};

/// Data segments that a driver is told to use at most: what fits a queue beside request and response. More are served.
const SEG_MAX: u32 = QUEUE_SIZE_MAX as u32 - 2;
/// The fewest segments and commands that a driver is told of, whatever a disk says: the others of the controller would pay for a
/// slow one, and the kernel cuts up and queues for less than another request costs.
const SEG_MAX_LEAST: u32 = 32;
const CMD_PER_LUN_LEAST: u32 = 32;
/// Bytes of a sector in the device configuration (virtio 1.2, 5.6.4).
const SECTOR_LEN: u32 = 512;

/// What becomes different, in this order.
#[derive(Debug, Default)]
pub(crate) struct LunChange {
    /// Nothing names the units any more that left before.
    pub(crate) forget: bool,
    /// Units that go.
    pub(crate) remove: Vec<Address>,
    /// Units whose disk has another size.
    pub(crate) replace: Vec<Placement>,
    /// Units that come.
    pub(crate) add: Vec<Placement>,
}

/// A change, and whom to tell when nothing is on the units that left: the gate opens then.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) change: LunChange,
    pub(crate) reply: Sender<Gate>,
}

/// Orders for one control thread, from whoever manages the target.
#[derive(Debug, Default)]
pub(crate) struct Orders(SegQueue<Order>);

impl Orders {
    /// Adds one. The control thread has to be woken.
    pub(crate) fn push(&self, order: Order) {
        self.0.push(order);
    }
}

impl LunChange {
    /// The map after the change, and what the driver has to be told.
    pub(super) fn apply(&self, before: &LunMap) -> (LunMap, Vec<Event>) {
        let (mut luns, mut events) = (before.clone(), Vec::new());
        if self.forget {
            luns.forget_leaving();
        }
        for &unit in &self.remove {
            events.extend(luns.remove(unit).then_some(Event::Removed(unit)));
        }
        for placement in &self.replace {
            let [asc, ascq] = Attention::CapacityChanged.asc().0.to_be_bytes();
            let event = Event::Changed { unit: placement.address, asc, ascq };
            events.extend(luns.replace(placement.clone()).then_some(event));
        }
        for placement in &self.add {
            luns.add(placement.clone());
            events.push(Event::Added(placement.address));
        }
        // Before anybody finds them.
        let new: BTreeSet<_> = self.add.iter().map(|placement| placement.address).collect();
        luns.switch_on(|unit| new.contains(&unit));
        (luns, events)
    }
}

impl Controller {
    /// Does what was ordered.
    pub(super) fn obey(&mut self) {
        while let Some(Order { change, reply }) = self.adapter.orders.0.pop() {
            let gate = self.change_luns(&change);
            // Whoever ordered it may have lost patience.
            let _ = reply.send(gate);
        }
    }

    /// Changes the logical units. The gate opens when no request is on one that left.
    pub(super) fn change_luns(&mut self, change: &LunChange) -> Gate {
        let (luns, events) = change.apply(&self.adapter.luns());
        let luns = Arc::new(luns);
        self.adapter.set_luns(luns.clone());
        job::show(&self.adapter, &self.reactors);
        let gate = match &self.live {
            Some(live) => {
                let (seen, gate) = live.change_luns(&luns);
                // A reactor takes no longer than a pass. Whoever reads anew because of what it is told reads this map.
                seen.wait_until(Instant::now() + REST_MAX);
                gate
            }
            None => Gate::new(0).0,
        };
        // The first disk may have come that has something of it.
        self.register_memory();
        raise(&luns, &events);
        self.adapter.news.announce(&events);
        let queues = self.transport.queue_count() - FIRST_REQUEST_QUEUE;
        if self.config.set_limits(&limits(&luns, queues)) {
            self.transport.config_changed();
            if self.live.is_some() {
                self.adapter.signal_config();
            }
        }
        gate
    }
}

/// Raises the unit attentions that belong to `events` (SPC-5, SBC-4): the neighbours of a unit that is new, at the same target,
/// report that there are others now, and one that changed its capacity says so.
pub(super) fn raise(luns: &LunMap, events: &[Event]) {
    let (mut new, mut changed, mut targets) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for &event in events {
        match event {
            Event::Added(unit) => {
                new.insert(unit);
                targets.insert(unit.target);
            }
            Event::Removed(unit) => _ = targets.insert(unit.target),
            Event::Changed { unit, .. } => _ = changed.insert(unit),
            Event::Reset(_) | Event::Notify { .. } | Event::None => {}
        }
    }
    luns.raise(Attention::ReportedLunsChanged, |unit| targets.contains(&unit.target) && !new.contains(&unit));
    luns.raise(Attention::CapacityChanged, |unit| changed.contains(&unit));
}

/// What the driver is told of limits: the smallest of what is behind the controller, and our own. Segments and commands beyond
/// are served all the same. The length of a transfer has to be heeded, but drivers read it once: a disk that comes later and does less
/// says so in its Block Limits page, which holds for each logical unit.
pub(super) fn limits(luns: &LunMap, queues: u16) -> Limits {
    let least = |own: u32, of: fn(&Info) -> u32| {
        luns.disks().map(|disk| of(disk.bdev.info())).filter(|said| *said > 0).fold(own, u32::min)
    };
    Limits {
        num_queues: queues.into(),
        seg_max: least(SEG_MAX, |info| info.segments_max).max(SEG_MAX_LEAST),
        max_sectors: least(MAX_TRANSFER, |info| info.max_transfer) / SECTOR_LEN,
        cmd_per_lun: least(QUEUE_SIZE_MAX.into(), |info| info.queue_depth).max(CMD_PER_LUN_LEAST),
        max_target: luns.max_target().into(),
        max_lun: LUN_MAX.into(),
    }
}

#[cfg(test)]
mod tests {
    use bdev::{Bdev, Channel, Io, NullBdev};

    use super::super::disk::{Disk, DiskIndex};
    use super::*;

    /// A disk that says of itself what a test wants.
    #[derive(Debug)]
    struct Says(Info);

    impl Bdev for Says {
        fn info(&self) -> &Info {
            &self.0
        }

        fn channel(&self, _io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    }

    /// One at this address, which takes so many bytes, segments and commands.
    fn placed(lun: u16, (max_transfer, segments_max, queue_depth): (u32, u32, u32)) -> Placement {
        let null = NullBdev::new(1 << 20, 512).unwrap();
        let info = Info { max_transfer, segments_max, queue_depth, ..null.info().clone() };
        let disk = Arc::new(Disk::of(Arc::new(Says(info)), DiskIndex(lun.into())));
        Placement { address: Address { target: 0, lun }, disk }
    }

    fn told(luns: &LunMap) -> (u32, u32, u32) {
        let Limits { max_sectors, seg_max, cmd_per_lun, .. } = limits(luns, 1);
        (max_sectors, seg_max, cmd_per_lun)
    }

    #[test]
    fn the_smallest_of_what_is_behind_a_controller_is_told() {
        let of = |disks: &[(u32, u32, u32)]| {
            told(&LunMap::new(disks.iter().zip(0..).map(|(&disk, lun)| placed(lun, disk)).collect()))
        };
        assert_eq!(of(&[]), (32768, 254, 256), "what a disk that comes first may have");
        assert_eq!(of(&[(MAX_TRANSFER, 0, 0)]), (32768, 254, 256), "no more than is served");
        assert_eq!(of(&[(MAX_TRANSFER, 1024, 1023)]), (32768, 254, 256));
        let (large, small) = ((1280 << 10, 64, 100), (128 << 10, 128, 0));
        assert_eq!(of(&[large]), (2560, 64, 100));
        assert_eq!(of(&[large, small]), (256, 64, 100));
        assert_eq!(of(&[small, large]), of(&[large, small]));
        assert_eq!(of(&[large, (4096, 1, 2)]), (8, 32, 32), "the others go on with more than a few");
    }

    #[test]
    fn a_disk_that_comes_or_goes_changes_what_is_told() {
        let before = LunMap::new(vec![placed(0, (1 << 20, 128, 128))]);
        let add = vec![placed(1, (64 << 10, 64, 64))];
        let (both, _) = LunChange { add, ..LunChange::default() }.apply(&before);
        assert_eq!((told(&before), told(&both)), ((2048, 128, 128), (128, 64, 64)));
        let remove = vec![Address { target: 0, lun: 1 }];
        let (after, _) = LunChange { remove, ..LunChange::default() }.apply(&both);
        assert_eq!(told(&after), told(&before), "a disk that is leaving counts no more");
    }

    #[test]
    fn a_unit_that_comes_has_been_switched_on_before_anybody_finds_it() {
        let disk = Arc::new(Disk::of(Arc::new(bdev::NullBdev::new(1 << 20, 512).unwrap()), DiskIndex(0)));
        let [old, new] = [0, 1].map(|lun| Address { target: 0, lun });
        let before = LunMap::new(vec![Placement { address: old, disk: disk.clone() }]);
        let add = vec![Placement { address: new, disk }];
        let (after, events) = LunChange { add, ..LunChange::default() }.apply(&before);
        assert_eq!(events, [Event::Added(new)]);
        let attention = |address| after.entry(after.find(address).unwrap()).standing.take_attention();
        assert_eq!([old, new].map(attention), [None, Some(Attention::PowerOn)]);
    }
}

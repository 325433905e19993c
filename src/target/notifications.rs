//! Asynchronous notifications (virtio 1.3, 5.6.6.2 and 5.6.6.3): classes of events, those of GET EVENT STATUS NOTIFICATION of
//! multimedia units, that a driver can subscribe to at a logical unit.
//!
//! A disk has three of them: that it was stopped or started, that work on its whole medium (FORMAT UNIT, SANITIZE) has begun or
//! ended, whoever sent it, and, if it can be removed, that its medium went out or came in. It has no keys for requests from
//! outside, and no features that change; and what another host does with reservations (multi host) is told as a change of parameters,
//! to whoever has to know. A subscription takes the place of the one before, and ends with a reset of the device.

use crate::virtio_scsi::spec::{ASYNC_DEVICE_BUSY, ASYNC_MEDIA_CHANGE, ASYNC_POWER_MGMT};
use crate::virtio_scsi::{Address, Event, LunAddress, ResponseCode};

use super::disk::Disk;
use super::lun_map::LunMap;
use super::standing::Standing;
use super::task_functions::find_disk;

/// Which of `events` the disk at `lun` can tell of, or the response for an address without one.
pub(super) fn find_notified(lun: LunAddress, events: u32, luns: &LunMap) -> Result<u32, ResponseCode> {
    let disk = luns.disk(find_disk(lun, luns)?);
    let media_change = if disk.is_some_and(|disk| disk.config.removable) { ASYNC_MEDIA_CHANGE } else { 0 };
    Ok(events & (ASYNC_POWER_MGMT | ASYNC_DEVICE_BUSY | media_change))
}

/// Has the disk at `lun` tell of those of `events` of which it can, and of no others. Which these are, or the response for an
/// address without a disk.
pub(super) fn subscribe(lun: LunAddress, events: u32, luns: &LunMap) -> Result<u32, ResponseCode> {
    let (address, events) = (find_disk(lun, luns)?, find_notified(lun, events, luns)?);
    luns.find(address).iter().for_each(|&entry| luns.entry(entry).standing.notes.subscribe(events));
    Ok(events)
}

impl LunMap {
    /// Tells the driver of `events` at the logical unit that it has at `unit`, if it has subscribed to them.
    pub(super) fn notify(&self, unit: Address, standing: &Standing, events: u32) {
        let events = standing.notes.subscribed(events);
        if events != 0 {
            self.port.news.announce(&[Event::Notify { unit, events }]);
        }
    }

    /// The same at all logical units that are this disk.
    pub(super) fn notify_all(&self, disk: &Disk, events: u32) {
        for (unit, entry) in self.entries_of(disk) {
            self.notify(unit, &entry.standing, events);
        }
    }
}

//! What a command changes at its logical unit, when it ends: see [`Effect`].

use crate::scsi::{Behind, Effect};
use crate::virtio_scsi::spec::{ASYNC_MEDIA_CHANGE, ASYNC_POWER_MGMT};

use super::request_queue::RequestQueue;
use super::tag::SlotIndex;

impl RequestQueue {
    /// Makes the change that the command in `slot` brings. A driver that has subscribed to such changes is told.
    #[cold]
    pub(super) fn take_effect(&mut self, slot: SlotIndex, effect: Effect) {
        let state = self.slots.get(slot);
        let (luns, address) = (&self.queue.luns, state.address);
        let entry = luns.entry(state.entry);
        let standing = &entry.standing;
        let stop = |stopped| {
            if standing.set_stopped(stopped) {
                luns.notify(address, standing, ASYNC_POWER_MGMT);
            }
        };
        let eject = |ejected| {
            if standing.set_ejected(ejected) {
                luns.notify(address, standing, ASYNC_MEDIA_CHANGE);
            }
        };
        match effect {
            Effect::Stopped(stopped) => stop(stopped),
            Effect::Behind(Behind::Stopped) => stop(true),
            Effect::Ejected(ejected) => eject(ejected),
            Effect::Behind(Behind::Ejected) => eject(true),
            Effect::Prevented(prevented) => standing.set_prevented(prevented),
            Effect::Mode(change) => standing.update_mode(|mode| mode.changed_by(change)),
            Effect::Timestamp(timestamp_ms) => standing.notes.set_timestamp(timestamp_ms),
            // The one was kept before the task's memory was forgotten; the other is begun by whoever has the core.
            Effect::Identifying(_) | Effect::Behind(Behind::Flush) => {}
            Effect::ExitFailureMode => entry.disk.iter().for_each(|disk| disk.hold.exit_failure_mode(disk)),
        }
    }
}

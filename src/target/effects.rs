//! What a command changes at its logical unit, when it ends: see [`Effect`].

use crate::scsi::{Behind, Effect, Sense};

use super::request_queue::RequestQueue;
use super::tag::SlotIndex;

impl RequestQueue {
    /// Makes the change that the command in `slot` brings.
    ///
    /// # Errors
    /// What stands in its way now: nothing has changed, and the command ends so.
    #[cold]
    pub(super) fn take_effect(&mut self, slot: SlotIndex, effect: Effect) -> Result<(), Sense> {
        let luns = &self.queue.luns;
        let entry = luns.entry(self.slots.get(slot).entry);
        let Some(disk) = &entry.disk else { return Ok(()) };
        let (sharing, nexus) = (&disk.sharing, luns.port.nexus);
        match effect {
            Effect::Stopped(stopped) => sharing.set_stopped(stopped),
            Effect::Behind(Behind::Stopped) => sharing.set_stopped(true),
            Effect::Ejected(ejected) => return sharing.set_ejected(nexus, ejected),
            Effect::Behind(Behind::Ejected) => return sharing.set_ejected(nexus, true),
            Effect::Prevented(prevented) => sharing.set_prevented(nexus, prevented),
            Effect::Timestamp(timestamp_ms) => sharing.set_timestamp(nexus, timestamp_ms),
            Effect::SelfTest(result) => sharing.log_self_test(result),
            // Begun by whoever has the core.
            Effect::Behind(Behind::Flush) => {}
            Effect::ExitFailureMode => disk.hold.exit_failure_mode(disk),
        }
        Ok(())
    }
}

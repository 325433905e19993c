//! PREEMPT and PREEMPT AND ABORT (SPC-5): a registrant takes a reservation over, or ends registrations of others.

use super::nexus::Nexus;
use super::{Changes, Refusal, Registry, Reservation, ReservationType};
use crate::scsi::attention::Attention;
use crate::scsi::sense::Sense;

impl Registry {
    /// `nexus` is registered, and `key` is the SERVICE ACTION RESERVATION KEY.
    pub(super) fn preempt(
        &mut self,
        nexus: Nexus,
        kind: ReservationType,
        key: u64,
        abort: bool,
    ) -> Result<Changes, Refusal> {
        let takes_over = match &self.reservation {
            Some(held) if held.kind.is_all_registrants() => key == 0,
            Some(held) => self.find(held.holder).is_some_and(|holder| holder.key == key),
            None => false,
        };
        if !takes_over && key == 0 {
            return Err(Sense::invalid_parameter(8, None).into());
        }
        if !takes_over && !self.registrations.iter().any(|registration| registration.key == key) {
            return Err(Refusal::Conflict);
        }
        let mut changes = Changes { save: self.aptpl, ..Changes::default() };
        if takes_over {
            self.take_over(nexus, kind, key, &mut changes);
        } else {
            self.remove(key, nexus, &mut changes);
        }
        if abort {
            changes.aborts = changes
                .attentions
                .iter()
                .filter(|(_, attention)| *attention == Attention::RegistrationsPreempted)
                .map(|&(nexus, _)| nexus)
                .collect();
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(changes)
    }

    /// The reservation becomes that of `nexus`; the registrations under `key`, or with 0 all others, end.
    fn take_over(&mut self, nexus: Nexus, kind: ReservationType, key: u64, changes: &mut Changes) {
        let old = self.reservation.replace(Reservation { kind, holder: nexus });
        self.registrations.retain(|registration| {
            let stays = registration.nexus == nexus || key != 0 && registration.key != key;
            if !stays {
                changes.attentions.push((registration.nexus, Attention::RegistrationsPreempted));
            }
            stays
        });
        if old.is_some_and(|old| old.kind != kind) {
            self.tell_others(nexus, Attention::ReservationsReleased, changes);
        }
    }

    /// Ends the registrations under `key`. The reservation stays, unless it was of all registrants and none is left.
    fn remove(&mut self, key: u64, nexus: Nexus, changes: &mut Changes) {
        self.registrations.retain(|registration| {
            let stays = registration.key != key;
            if !stays && registration.nexus != nexus {
                changes.attentions.push((registration.nexus, Attention::RegistrationsPreempted));
            }
            stays
        });
        let Some(reservation) = self.reservation else { return };
        if self.find(reservation.holder).is_none() {
            // Only one of all registrants comes here: any other holder's key takes the reservation over.
            let heir = self.registrations.first();
            self.reservation = heir.map(|heir| Reservation { holder: heir.nexus, ..reservation });
        }
    }
}

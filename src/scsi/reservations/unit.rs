//! RESERVE and RELEASE (6) and (10) (SPC-2), beside persistent reservations (SPC-5, compatible reservation handling).

use super::nexus::Nexus;
use super::{Refusal, Registry};

impl Registry {
    /// RESERVE (6) or (10). While there are registrations it changes nothing: a registrant that may use the disk is told
    /// that it has it, all others are refused.
    ///
    /// # Errors
    /// [`Refusal::Conflict`]: the disk is another's.
    pub fn reserve_unit(&mut self, nexus: Nexus) -> Result<(), Refusal> {
        if !self.registrations.is_empty() {
            return self.compatible(nexus);
        }
        match self.unit {
            Some(holder) if holder != nexus => Err(Refusal::Conflict),
            _ => {
                self.unit = Some(nexus);
                Ok(())
            }
        }
    }

    /// RELEASE (6) or (10). Whoever has nothing to release succeeds.
    ///
    /// # Errors
    /// [`Refusal::Conflict`]: there are registrations, and the nexus has none.
    pub fn release_unit(&mut self, nexus: Nexus) -> Result<(), Refusal> {
        if !self.registrations.is_empty() {
            return self.compatible(nexus);
        }
        if self.unit == Some(nexus) {
            self.unit = None;
        }
        Ok(())
    }

    /// The logical unit was reset: SAM-5 lets persistent reservations stay, the others end.
    pub fn unit_reset(&mut self) {
        self.unit = None;
    }

    /// A nexus is no more. What it registered stays.
    pub fn nexus_lost(&mut self, nexus: Nexus) {
        if self.unit == Some(nexus) {
            self.unit = None;
        }
    }

    /// SPC-5, exceptions to SPC-2 RESERVE and RELEASE behaviour: what holders of a persistent reservation, or registrants
    /// where all of them may use the disk, ask for is so already.
    fn compatible(&self, nexus: Nexus) -> Result<(), Refusal> {
        let Some(reservation) = self.reservation else { return Err(Refusal::Conflict) };
        let holds = reservation.holder == nexus;
        let registered = self.find(nexus).is_some();
        if holds || registered && reservation.kind.admits_registrants() { Ok(()) } else { Err(Refusal::Conflict) }
    }
}

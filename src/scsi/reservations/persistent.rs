//! PERSISTENT RESERVE OUT (SPC-5), but for its ways to take a reservation over.

use super::nexus::Nexus;
use super::parameters::{OutAction, OutParameters};
use super::{Changes, REGISTRATIONS_MAX, Refusal, Registration, Registry, Reservation, ReservationType};
use crate::scsi::attention::Attention;
use crate::scsi::sense::Sense;
use crate::scsi::spec::Asc;

impl Registry {
    /// PERSISTENT RESERVE OUT of `nexus`. `ports` are the relative target port identifiers of the disk's ports.
    ///
    /// # Errors
    /// [`Refusal`]: then nothing has changed.
    pub fn persistent_out(
        &mut self,
        nexus: Nexus,
        action: OutAction,
        parameters: &OutParameters,
        ports: &[u16],
    ) -> Result<Changes, Refusal> {
        if self.unit.is_some_and(|holder| holder != nexus) {
            return Err(Refusal::Conflict);
        }
        if self.lost || matches!(action, OutAction::ReplaceLost(_)) {
            return self.replace_lost(nexus, action, parameters);
        }
        if action != OutAction::RegisterAndIgnore {
            self.check_key(nexus, action, parameters.key)?;
        }
        match action {
            OutAction::Register | OutAction::RegisterAndIgnore => self.register(nexus, parameters, ports),
            OutAction::Reserve(kind) => self.reserve(nexus, kind),
            OutAction::Release(kind) => self.release(nexus, kind),
            OutAction::Clear => Ok(self.clear(nexus)),
            OutAction::Preempt(kind) => self.preempt(nexus, kind, parameters.action_key, false),
            OutAction::PreemptAndAbort(kind) => self.preempt(nexus, kind, parameters.action_key, true),
            OutAction::RegisterAndMove => self.register_and_move(nexus, parameters, ports),
            OutAction::ReplaceLost(_) => unreachable!("answered above"),
        }
    }

    /// All but REGISTER come from registered nexuses only, and all name the key that the nexus has: 0 if none.
    fn check_key(&self, nexus: Nexus, action: OutAction, key: u64) -> Result<(), Refusal> {
        match self.find(nexus) {
            Some(registration) if registration.key == key => Ok(()),
            None if action == OutAction::Register && key == 0 => Ok(()),
            _ => Err(Refusal::Conflict),
        }
    }

    pub(super) fn find(&self, nexus: Nexus) -> Option<&Registration> {
        self.registrations.iter().find(|registration| registration.nexus == nexus)
    }

    /// REGISTER and REGISTER AND IGNORE EXISTING KEY.
    fn register(&mut self, nexus: Nexus, asked: &OutParameters, ports: &[u16]) -> Result<Changes, Refusal> {
        let known = self.find(nexus).is_some();
        if known && asked.initiators.is_some() {
            return Err(Sense::invalid_parameter(20, Some(3)).into());
        }
        if asked.action_key == 0 && !known {
            // To end what never began is no error, and changes nothing.
            return Ok(Changes::default());
        }
        let mut next = self.clone();
        let mut changes = Changes::default();
        for nexus in asked.nexuses(nexus, ports) {
            if asked.action_key == 0 {
                next.unregister(nexus, &mut changes);
            } else {
                next.add(nexus, asked.action_key, asked.all_ports)?;
            }
        }
        next.aptpl = asked.aptpl;
        next.generation = next.generation.wrapping_add(1);
        changes.save = next.aptpl || self.aptpl;
        *self = next;
        Ok(changes)
    }

    /// Registers a nexus, or gives it another key.
    fn add(&mut self, nexus: Nexus, key: u64, all_ports: bool) -> Result<(), Refusal> {
        if let Some(known) = self.registrations.iter_mut().find(|known| known.nexus == nexus) {
            (known.key, known.all_ports) = (key, all_ports);
            return Ok(());
        }
        if self.registrations.len() == REGISTRATIONS_MAX {
            return Err(Sense::illegal(Asc::INSUFFICIENT_REGISTRATION_RESOURCES).into());
        }
        self.registrations.push(Registration { nexus, key, all_ports });
        Ok(())
    }

    /// Forgets a registration. With its holder a reservation ends; one of all registrants ends with the last of them.
    fn unregister(&mut self, nexus: Nexus, changes: &mut Changes) {
        self.registrations.retain(|registration| registration.nexus != nexus);
        let Some(reservation) = self.reservation.filter(|reservation| reservation.holder == nexus) else { return };
        match self.registrations.first() {
            Some(heir) if reservation.kind.is_all_registrants() => {
                self.reservation = Some(Reservation { holder: heir.nexus, ..reservation });
            }
            _ => {
                self.reservation = None;
                if reservation.kind.admits_registrants() {
                    self.tell_others(nexus, Attention::ReservationsReleased, changes);
                }
            }
        }
    }

    /// Raises `attention` at every registered nexus but `nexus`.
    pub(super) fn tell_others(&self, nexus: Nexus, attention: Attention, changes: &mut Changes) {
        let others = self.registrations.iter().map(|registration| registration.nexus).filter(|&other| other != nexus);
        changes.attentions.extend(others.map(|other| (other, attention)));
    }

    /// Whether `nexus`, which is registered, holds `reservation`.
    pub(super) fn holds(&self, nexus: Nexus, reservation: &Reservation) -> bool {
        reservation.holder == nexus || reservation.kind.is_all_registrants()
    }

    fn reserve(&mut self, nexus: Nexus, kind: ReservationType) -> Result<Changes, Refusal> {
        match self.reservation {
            Some(reservation) if self.holds(nexus, &reservation) && reservation.kind == kind => Ok(Changes::default()),
            Some(_) => Err(Refusal::Conflict),
            None => {
                self.reservation = Some(Reservation { kind, holder: nexus });
                Ok(Changes { save: self.aptpl, ..Changes::default() })
            }
        }
    }

    fn release(&mut self, nexus: Nexus, kind: ReservationType) -> Result<Changes, Refusal> {
        let Some(reservation) = self.reservation.filter(|reservation| self.holds(nexus, reservation)) else {
            return Ok(Changes::default());
        };
        if reservation.kind != kind {
            return Err(Sense::illegal(Asc::INVALID_RELEASE_OF_PERSISTENT_RESERVATION).into());
        }
        self.reservation = None;
        let mut changes = Changes { save: self.aptpl, ..Changes::default() };
        if kind.admits_registrants() {
            self.tell_others(nexus, Attention::ReservationsReleased, &mut changes);
        }
        Ok(changes)
    }

    fn clear(&mut self, nexus: Nexus) -> Changes {
        let mut changes = Changes { save: self.aptpl, ..Changes::default() };
        self.tell_others(nexus, Attention::ReservationsPreempted, &mut changes);
        self.registrations.clear();
        self.reservation = None;
        self.generation = self.generation.wrapping_add(1);
        changes
    }

    /// REGISTER AND MOVE: the holder hands the reservation to another nexus.
    fn register_and_move(&mut self, nexus: Nexus, asked: &OutParameters, ports: &[u16]) -> Result<Changes, Refusal> {
        match self.reservation {
            Some(held) if held.holder == nexus && !held.kind.is_all_registrants() => {}
            _ => return Err(Refusal::Conflict),
        }
        if asked.action_key == 0 {
            return Err(Sense::invalid_parameter(8, None).into());
        }
        if !ports.contains(&asked.port) {
            return Err(Sense::invalid_parameter(18, None).into());
        }
        let initiator =
            asked.initiators.as_ref().and_then(|ids| ids.first()).ok_or(Sense::invalid_parameter(24, None))?;
        let heir = Nexus { initiator: *initiator, port: asked.port };
        if heir == nexus {
            return Err(Sense::invalid_parameter(24, None).into());
        }
        let mut next = self.clone();
        next.add(heir, asked.action_key, false)?;
        if let Some(reservation) = &mut next.reservation {
            reservation.holder = heir;
        }
        let mut changes = Changes::default();
        if asked.unregister {
            next.unregister(nexus, &mut changes);
        }
        next.aptpl = asked.aptpl;
        next.generation = next.generation.wrapping_add(1);
        changes.save = next.aptpl || self.aptpl;
        *self = next;
        Ok(changes)
    }

    /// REPLACE LOST RESERVATION: somebody who knows what held says it again. As long as nobody has, nothing else is done.
    fn replace_lost(
        &mut self,
        nexus: Nexus,
        action: OutAction,
        parameters: &OutParameters,
    ) -> Result<Changes, Refusal> {
        let OutAction::ReplaceLost(kind) = action else {
            return Err(Sense::new(
                crate::scsi::spec::SenseKey::HARDWARE_ERROR,
                Asc::PERSISTENT_RESERVATION_INFORMATION_LOST,
            )
            .into());
        };
        if !self.lost {
            return Err(Sense::invalid_field(1, Some(4)).into());
        }
        if parameters.key != 0 {
            return Err(Sense::invalid_parameter(0, None).into());
        }
        if parameters.action_key == 0 {
            return Err(Sense::invalid_parameter(8, None).into());
        }
        let registration = Registration { nexus, key: parameters.action_key, all_ports: false };
        *self = Self {
            registrations: vec![registration],
            reservation: Some(Reservation { kind, holder: nexus }),
            generation: self.generation.wrapping_add(1),
            aptpl: true,
            lost: false,
            unit: None,
        };
        Ok(Changes { save: true, ..Changes::default() })
    }
}

impl OutParameters {
    /// The nexuses that REGISTER is about: that which sent it, those of SPEC_I_PT, and with ALL_TG_PT each of them at
    /// every port.
    fn nexuses(&self, sender: Nexus, ports: &[u16]) -> Vec<Nexus> {
        let listed = self.initiators.iter().flatten().copied();
        let mut nexuses = vec![sender];
        for initiator in std::iter::once(sender.initiator).chain(listed) {
            let at: &[u16] = if self.all_ports { ports } else { std::slice::from_ref(&sender.port) };
            for &port in at {
                let nexus = Nexus { initiator, port };
                if !nexuses.contains(&nexus) {
                    nexuses.push(nexus);
                }
            }
        }
        nexuses
    }
}

//! PERSISTENT RESERVE IN (SPC-5).

use super::{Nexus, Registry, Reservation};
use crate::scsi::reply::Reply;
use crate::scsi::sense::Sense;

/// SCOPE of a logical unit and TYPE, as they stand in one byte.
fn scope_and_type(reservation: &Reservation) -> u8 {
    reservation.kind as u8
}

impl Registry {
    /// Answers PERSISTENT RESERVE IN with this service action; `keeps` says that there is a place where reservations can
    /// outlive a loss of power.
    ///
    /// # Errors
    /// INVALID FIELD IN CDB: there is no such service action.
    pub fn persistent_in(&self, service_action: u8, keeps: bool, reply: &mut Reply) -> Result<(), Sense> {
        match service_action {
            0x00 => self.read_keys(reply),
            0x01 => self.read_reservation(reply),
            0x02 => report_capabilities(self.aptpl, keeps, reply),
            0x03 => self.read_full_status(reply),
            _ => return Err(Sense::invalid_field(1, Some(4))),
        }
        Ok(())
    }

    fn header(&self, additional_length: usize, reply: &mut Reply) {
        reply.put(&self.generation.to_be_bytes());
        reply.put(&(additional_length as u32).to_be_bytes());
    }

    fn read_keys(&self, reply: &mut Reply) {
        self.header(self.registrations.len() * 8, reply);
        for registration in &self.registrations {
            reply.put(&registration.key.to_be_bytes());
        }
    }

    fn read_reservation(&self, reply: &mut Reply) {
        let Some(reservation) = &self.reservation else { return self.header(0, reply) };
        // All registrants hold it: there is no one key.
        let key = if reservation.kind.is_all_registrants() { 0 } else { self.key_of(reservation.holder) };
        self.header(16, reply);
        reply.put(&key.to_be_bytes());
        reply.put(&[0, 0, 0, 0, 0, scope_and_type(reservation), 0, 0]);
    }

    fn key_of(&self, nexus: Nexus) -> u64 {
        self.find(nexus).map_or(0, |registration| registration.key)
    }

    fn read_full_status(&self, reply: &mut Reply) {
        const DESCRIPTOR: usize = 24 + super::nexus::TRANSPORT_ID_LEN;
        self.header(self.registrations.len() * DESCRIPTOR, reply);
        for registration in &self.registrations {
            let holds = self.reservation.filter(|reservation| self.holds(registration.nexus, reservation));
            let flags = u8::from(holds.is_some()) | u8::from(registration.all_ports) << 1;
            reply.put(&registration.key.to_be_bytes());
            reply.put(&[0, 0, 0, 0, flags, holds.as_ref().map_or(0, scope_and_type), 0, 0, 0, 0]);
            reply.put(&registration.nexus.port.to_be_bytes());
            reply.put(&(super::nexus::TRANSPORT_ID_LEN as u32).to_be_bytes());
            reply.put(&registration.nexus.initiator.transport_id());
        }
    }
}

/// REPORT CAPABILITIES: everything is there, reservations that outlive a loss of power where they can be kept. ALLOW COMMANDS stays 0, which says nothing about it.
fn report_capabilities(aptpl: bool, keeps: bool, reply: &mut Reply) {
    const RLR_C: u8 = 0x80;
    const CRH: u8 = 0x10;
    const SIP_C: u8 = 0x08;
    const ATP_C: u8 = 0x04;
    const PTPL_C: u8 = 0x01;
    const TMV: u8 = 0x80;
    // WR_EX_AR, EX_AC_RO, WR_EX_RO, EX_AC, WR_EX, and EX_AC_AR in the second byte.
    const TYPES: [u8; 2] = [0xea, 0x01];
    reply.put(&[0, 8, RLR_C | CRH | SIP_C | ATP_C | if keeps { PTPL_C } else { 0 }, TMV | u8::from(aptpl)]);
    reply.put(&TYPES);
    reply.put(&[0, 0]);
}

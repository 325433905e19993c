//! The parameter lists of PERSISTENT RESERVE OUT (SPC-5): from bytes to fields.

use super::ReservationType;
use super::nexus::{SasAddress, TRANSPORT_ID_LEN};
use crate::scsi::sense::Sense;
use crate::scsi::spec::Asc;

/// What PERSISTENT RESERVE OUT is to do (SPC-5, service action codes), with the fields of the CDB that it looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutAction {
    /// REGISTER.
    Register,
    /// RESERVE.
    Reserve(ReservationType),
    /// RELEASE.
    Release(ReservationType),
    /// CLEAR.
    Clear,
    /// PREEMPT.
    Preempt(ReservationType),
    /// PREEMPT AND ABORT.
    PreemptAndAbort(ReservationType),
    /// REGISTER AND IGNORE EXISTING KEY.
    RegisterAndIgnore,
    /// REGISTER AND MOVE.
    RegisterAndMove,
    /// REPLACE LOST RESERVATION.
    ReplaceLost(ReservationType),
}

impl OutAction {
    /// Reads the SERVICE ACTION (byte 1) and the SCOPE and TYPE (byte 2) of a CDB.
    ///
    /// # Errors
    /// INVALID FIELD IN CDB: an unknown service action; or another scope than the logical unit, or an unknown type, where
    /// they matter.
    pub fn from_cdb(service_action: u8, scope_and_type: u8) -> Result<Self, Sense> {
        let kind = || match scope_and_type >> 4 {
            0 => ReservationType::from_code(scope_and_type & 0x0f).ok_or(Sense::invalid_field(2, Some(3))),
            _ => Err(Sense::invalid_field(2, Some(7))),
        };
        Ok(match service_action {
            0x00 => Self::Register,
            0x01 => Self::Reserve(kind()?),
            0x02 => Self::Release(kind()?),
            0x03 => Self::Clear,
            0x04 => Self::Preempt(kind()?),
            0x05 => Self::PreemptAndAbort(kind()?),
            0x06 => Self::RegisterAndIgnore,
            0x07 => Self::RegisterAndMove,
            0x08 => Self::ReplaceLost(kind()?),
            _ => return Err(Sense::invalid_field(1, Some(4))),
        })
    }
}

/// A parameter list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OutParameters {
    /// RESERVATION KEY: what the initiator is registered with.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY.
    pub action_key: u64,
    /// APTPL.
    pub aptpl: bool,
    /// ALL_TG_PT.
    pub all_ports: bool,
    /// SPEC_I_PT: the initiator ports of the list of TransportIDs.
    pub initiators: Option<Vec<SasAddress>>,
    /// UNREG of REGISTER AND MOVE.
    pub unregister: bool,
    /// RELATIVE TARGET PORT IDENTIFIER of REGISTER AND MOVE.
    pub port: u16,
}

/// Bytes of the list without TransportIDs.
const BASIC_LEN: usize = 24;
/// TransportIDs in one list at most: as many as there are registrations.
const IDS_MAX: usize = super::REGISTRATIONS_MAX;

/// Most bytes of a parameter list that is read.
pub(super) const LIST_LEN_MAX: usize = BASIC_LEN + 4 + IDS_MAX * TRANSPORT_ID_LEN;

fn be<const N: usize>(list: &[u8], at: usize) -> [u8; N] {
    list[at..at + N].try_into().expect("the length was checked")
}

impl OutParameters {
    /// Shortest parameter list that is accepted, in bytes.
    pub const LEN_MIN: usize = BASIC_LEN;

    /// Longest parameter list that is accepted, in bytes.
    pub const LEN_MAX: usize = LIST_LEN_MAX;

    /// Reads the list that came with `action`.
    ///
    /// # Errors
    /// PARAMETER LIST LENGTH ERROR, or INVALID FIELD IN PARAMETER LIST.
    pub fn parse(action: OutAction, list: &[u8]) -> Result<Self, Sense> {
        const LENGTH: Sense = Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR);
        if list.len() < BASIC_LEN || list.len() > LIST_LEN_MAX {
            return Err(LENGTH);
        }
        let mut read = Self { key: u64::from_be_bytes(be(list, 0)), ..Self::default() };
        read.action_key = u64::from_be_bytes(be(list, 8));
        if action == OutAction::RegisterAndMove {
            return read.parse_move(list);
        }
        let flags = list[20];
        let registers = matches!(action, OutAction::Register | OutAction::RegisterAndIgnore);
        if flags & !0x0d != 0 {
            return Err(Sense::invalid_parameter(20, Some(7 - (flags & !0x0d).leading_zeros() as u8)));
        }
        read.aptpl = registers && flags & 0x01 != 0;
        read.all_ports = registers && flags & 0x04 != 0;
        let specifies = flags & 0x08 != 0;
        if specifies && action != OutAction::Register {
            return Err(Sense::invalid_parameter(20, Some(3)));
        }
        if !specifies {
            return if list.len() == BASIC_LEN { Ok(read) } else { Err(LENGTH) };
        }
        read.initiators = Some(parse_ids(list, BASIC_LEN)?);
        Ok(read)
    }

    /// The list of REGISTER AND MOVE.
    fn parse_move(mut self, list: &[u8]) -> Result<Self, Sense> {
        self.aptpl = list[17] & 0x01 != 0;
        self.unregister = list[17] & 0x02 != 0;
        self.port = u16::from_be_bytes(be(list, 18));
        let ids = parse_ids(list, 20)?;
        match ids.len() {
            1 => {
                self.initiators = Some(ids);
                Ok(self)
            }
            _ => Err(Sense::invalid_parameter(20, None)),
        }
    }
}

/// The list of TransportIDs whose length stands at `at`.
fn parse_ids(list: &[u8], at: usize) -> Result<Vec<SasAddress>, Sense> {
    const LENGTH: Sense = Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR);
    if list.len() < at + 4 {
        return Err(LENGTH);
    }
    let ids = &list[at + 4..];
    if u32::from_be_bytes(be(list, at)) as usize != ids.len() || !ids.len().is_multiple_of(TRANSPORT_ID_LEN) {
        return Err(Sense::invalid_parameter(at as u16, None));
    }
    let read = |(index, id): (usize, &[u8])| {
        let byte = at + 4 + index * TRANSPORT_ID_LEN;
        SasAddress::from_transport_id(id).ok_or(Sense::invalid_parameter(byte as u16, None))
    };
    ids.chunks_exact(TRANSPORT_ID_LEN).enumerate().map(read).collect()
}

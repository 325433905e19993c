//! Who asks: an initiator port and the target port that it came through (SAM-5, I_T nexus).

use crate::scsi::identity::{Naa, hash};

/// Address of a port in the manner of SAS: 8 bytes with the form of an NAA identifier. Virtio has no addresses of its own,
/// and this form is the shortest of those that a TransportID can have (SPC-5, TransportID identifiers).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SasAddress(pub u64);

/// Bytes of a TransportID of a SAS port.
pub(super) const TRANSPORT_ID_LEN: usize = 24;

/// PROTOCOL IDENTIFIER of SAS, with a FORMAT CODE of 0.
const PROTOCOL_SAS: u8 = 0x06;

/// Where the address stands.
const ADDRESS: std::ops::Range<usize> = 4..12;

impl SasAddress {
    /// The address of an initiator port: a hash of the string `stable` that its owner keeps stable.
    pub fn derive(stable: &str) -> Self {
        let naa = Naa::local(hash(&["initiator:", stable]));
        Self(u64::from_be_bytes(naa.as_bytes().try_into().expect("a local identifier has 8 bytes")))
    }

    /// As a TransportID (SPC-5, TransportID for initiator ports using SCSI over SAS).
    pub fn transport_id(self) -> [u8; TRANSPORT_ID_LEN] {
        let mut id = [0; TRANSPORT_ID_LEN];
        id[0] = PROTOCOL_SAS;
        id[ADDRESS].copy_from_slice(&self.0.to_be_bytes());
        id
    }

    /// From a TransportID, if it is one of this form.
    pub(super) fn from_transport_id(id: &[u8]) -> Option<Self> {
        if id.len() != TRANSPORT_ID_LEN || id[0] != PROTOCOL_SAS {
            return None;
        }
        let (reserved_1, reserved_2) = (&id[1..ADDRESS.start], &id[ADDRESS.end..]);
        if reserved_1.iter().chain(reserved_2).any(|&byte| byte != 0) {
            return None;
        }
        Some(Self(u64::from_be_bytes(id[ADDRESS].try_into().expect("8 bytes"))))
    }
}

/// An initiator port at a target port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Nexus {
    /// The initiator port.
    pub initiator: SasAddress,
    /// RELATIVE TARGET PORT IDENTIFIER of the target port: from 1 up.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transport_id_is_that_of_a_sas_port() {
        let address = SasAddress(0x3001_0203_0405_0607);
        let mut id = [0; 24];
        id[0] = 6;
        id[4..12].copy_from_slice(&[0x30, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(address.transport_id(), id);
        assert_eq!(SasAddress::from_transport_id(&id), Some(address));
    }

    /// Registrations that were kept hold for whoever has the same address after a restart.
    #[test]
    fn derived_addresses_are_pinned() {
        assert_eq!(SasAddress::derive("/run/vm0.sock").0, 0x3af7_bdb3_a16c_fce8);
        assert_ne!(SasAddress::derive("/run/vm0.sock"), SasAddress::derive("/run/vm1.sock"));
    }

    #[test]
    fn what_is_no_transport_id_of_this_form_is_none() {
        let id = SasAddress(1).transport_id();
        assert_eq!(SasAddress::from_transport_id(&id[..23]), None);
        for at in [0, 1, 3, 12, 23] {
            let mut other = id;
            other[at] ^= 0x40;
            assert_eq!(SasAddress::from_transport_id(&other), None, "byte {at}");
        }
    }
}

//! INQUIRY standard data (SPC-5, standard INQUIRY data).

use super::identity::DEFAULT_VENDOR;
use super::logical_unit::LogicalUnit;
use super::reply::Reply;
use super::sense::Sense;
use super::spec::version_descriptor::{SAM_5, SBC_3, SPC_4};

/// Peripheral qualifier 000b, device type 00h: a direct access block device is here.
pub(super) const DISK: u8 = 0x00;

/// Peripheral qualifier 011b, device type 1Fh: no device can be here.
pub(super) const NO_DEVICE: u8 = 0x7f;

/// Peripheral qualifier 000b, device type 1Eh: a well-known logical unit is here.
pub(super) const WELL_KNOWN: u8 = 0x1e;

/// PAGE CODE names no page of this unit, or is set without EVPD.
pub(super) const UNKNOWN_PAGE: Sense = Sense::invalid_field(2, None);

/// With eight version descriptors.
const STANDARD_LEN: usize = 96;

/// Without them.
const SHORT_LEN: usize = 36;

/// The first 36 bytes, for data that are `N` bytes long in all.
///
/// VERSION says SPC-4: this disk keeps to SPC-5, but tools in use refuse the number that SPC-5 was given.
fn head<const N: usize>(peripheral: u8, vendor: &[u8; 8], product: &[u8; 16], revision: &[u8; 4]) -> [u8; N] {
    const VERSION_SPC_4: u8 = 0x06;
    const HISUP: u8 = 0x10;
    const RESPONSE_DATA_FORMAT: u8 = 0x02;
    const CMDQUE: u8 = 0x02;
    const { assert!(N >= SHORT_LEN && N - 5 <= u8::MAX as usize) };
    let mut data = [0; N];
    data[0] = peripheral;
    data[2] = VERSION_SPC_4;
    data[3] = HISUP | RESPONSE_DATA_FORMAT;
    data[4] = (N - 5) as u8;
    data[7] = CMDQUE;
    data[8..16].copy_from_slice(vendor);
    data[16..32].copy_from_slice(product);
    data[32..36].copy_from_slice(revision);
    data
}

/// Standard data of a disk that has one port, or several.
pub(super) fn standard(unit: &LogicalUnit, several_ports: bool, reply: &mut Reply) -> Result<(), Sense> {
    const RMB: u8 = 0x80;
    const MULTIP: u8 = 0x10;
    const NORMACA: u8 = 0x20;
    const THREE_PC: u8 = 0x08;
    /// TPGS: access states change by themselves, and by SET TARGET PORT GROUPS.
    const TPGS_BOTH: u8 = 0x30;
    let (identity, alua) = (&unit.identity, unit.port.group.is_some());
    let mut data: [u8; STANDARD_LEN] = head(DISK, identity.vendor(), identity.product(), identity.revision());
    data[1] = if unit.removable { RMB } else { 0 };
    data[3] |= NORMACA;
    data[5] = THREE_PC | if alua { TPGS_BOTH } else { 0 };
    data[6] = if several_ports { MULTIP } else { 0 };
    for (at, descriptor) in [SAM_5, SPC_4, SBC_3].into_iter().enumerate() {
        data[58 + 2 * at..60 + 2 * at].copy_from_slice(&descriptor.to_be_bytes());
    }
    reply.put(&data);
    Ok(())
}

/// Standard data where no disk is: what is there instead says its first byte.
pub(super) fn without_disk(peripheral: u8) -> [u8; SHORT_LEN] {
    head(peripheral, DEFAULT_VENDOR, &[b' '; 16], &[b' '; 4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::testing::{data, info};
    use crate::scsi::{Identity, Port};

    #[test]
    fn standard_data() {
        let identity = Identity::derive("x").with_product("DISK").unwrap().with_revision("7").unwrap();
        let unit = LogicalUnit::new(identity, &info());
        let inquiry = |unit: &LogicalUnit| data(unit, &[0x12, 0, 0, 1, 0, 0]);
        let mut expected = b"\x00\x00\x06\x32\x5b\x08\x00\x02ANNULUS DISK            7   ".to_vec();
        expected.resize(58, 0);
        expected.extend([0x00, 0xa0, 0x04, 0x60, 0x04, 0xc0]);
        expected.resize(96, 0);
        assert_eq!(inquiry(&unit), expected);
        expected[1] = 0x80;
        assert_eq!(inquiry(&unit.clone().with_removable_medium(true)), expected);
        (expected[1], expected[5]) = (0, 0x38);
        assert_eq!(inquiry(&unit.clone().at_port(Port { group: Some(1), ..Port::derive(1, "") })), expected);
        for (several_ports, byte) in [(false, 0), (true, 0x10)] {
            let mut reply = Reply::new();
            reply.begin(255);
            standard(&unit, several_ports, &mut reply).unwrap();
            assert_eq!(reply.as_bytes()[6], byte, "MULTIP with several ports: {several_ports}");
        }
    }

    #[test]
    fn missing_unit_data() {
        let expected = b"\x7f\x00\x06\x12\x1f\x00\x00\x02ANNULUS                     ";
        assert_eq!(without_disk(NO_DEVICE), *expected);
    }
}

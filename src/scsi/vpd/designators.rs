//! Names of a disk and of its target ports (SPC-5, device identification and SCSI ports pages).

use super::super::identity::{Naa, Port};
use super::super::logical_unit::LogicalUnit;
use super::super::reply::Reply;

/// CODE SET: binary.
const BINARY: u8 = 0x01;
/// CODE SET: ASCII.
const ASCII: u8 = 0x02;
/// CODE SET: UTF-8.
const UTF_8: u8 = 0x03;

/// ASSOCIATION: the target port, which is told to be no protocol's: PIV stays 0.
const TARGET_PORT: u8 = 0x10;

/// ASSOCIATION: the target device.
const TARGET_DEVICE: u8 = 0x20;

/// DESIGNATOR TYPE: T10 vendor identification and what the vendor puts behind it.
const T10_VENDOR: u8 = 0x01;
/// DESIGNATOR TYPE: EUI-64 based.
const EUI_64: u8 = 0x02;
/// DESIGNATOR TYPE: name address authority.
const NAA: u8 = 0x03;
/// DESIGNATOR TYPE: relative target port identifier.
const RELATIVE_PORT: u8 = 0x04;
/// DESIGNATOR TYPE: target port group.
const PORT_GROUP: u8 = 0x05;
/// DESIGNATOR TYPE: SCSI name string.
const NAME_STRING: u8 = 0x08;
/// DESIGNATOR TYPE: UUID.
const UUID: u8 = 0x0a;

/// Appends a designation descriptor. The lengths of all that stand in one fit its byte: a serial number is bounded.
fn put(reply: &mut Reply, code_set: u8, kind: u8, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    reply.put(&[code_set, kind, 0, len as u8]);
    parts.iter().for_each(|part| reply.put(part));
}

/// The NAA identifier first, which most initiators prefer; the other names of the logical unit; those of the port.
pub(super) fn device_identification(unit: &LogicalUnit, reply: &mut Reply) {
    let identity = &unit.identity;
    put(reply, BINARY, NAA, &[identity.naa().as_bytes()]);
    put(reply, ASCII, T10_VENDOR, &[identity.vendor(), identity.product(), identity.serial().as_bytes()]);
    for eui64 in identity.eui64() {
        put(reply, BINARY, EUI_64, &[eui64.as_bytes()]);
    }
    if let Some(uuid) = identity.uuid() {
        put(reply, BINARY, UUID, &[&[0x10, 0], &uuid]);
    }
    put_name_string(0, identity.naa(), reply);
    put_path(&unit.port, reply);
}

/// Those of a well-known logical unit, which has no name of its own (SPC-5): of the port and of the target.
pub(super) fn well_known_identification(port: &Port, reply: &mut Reply) {
    put_path(port, reply);
    put_name_string(TARGET_DEVICE, port.target_naa(), reply);
}

/// All names of the port through which a command came.
fn put_path(port: &Port, reply: &mut Reply) {
    put_port(port, reply);
    put(reply, BINARY, TARGET_PORT | RELATIVE_PORT, &[&[0, 0], &port.relative.to_be_bytes()]);
    if let Some(group) = port.group {
        put(reply, BINARY, TARGET_PORT | PORT_GROUP, &[&[0, 0], &group.to_be_bytes()]);
    }
}

/// The identifier as a SCSI name string: what the kernel of a Linux guest makes of the NAA designator, too. It ends with
/// zeros up to a multiple of 4 bytes, one at least.
fn put_name_string(association: u8, naa: Naa, reply: &mut Reply) {
    let mut text = format!("naa.{naa}").into_bytes();
    text.resize((text.len() + 1).next_multiple_of(4), 0);
    put(reply, UTF_8, association | NAME_STRING, &[&text]);
}

fn put_port(port: &Port, reply: &mut Reply) {
    put(reply, BINARY, TARGET_PORT | NAA, &[port.naa.as_bytes()]);
}

/// Ports of the disk.
pub(super) fn scsi_ports(ports: &[Port], reply: &mut Reply) {
    ports.iter().for_each(|port| scsi_port(port, reply));
}

fn scsi_port(port: &Port, reply: &mut Reply) {
    let [high, low] = port.relative.to_be_bytes();
    reply.put(&[0, 0, high, low, 0, 0, 0, 0, 0, 0]);
    let len = (4 + port.naa.as_bytes().len()) as u16;
    reply.put(&len.to_be_bytes());
    put_port(port, reply);
}

//! INQUIRY vital product data pages (SPC-5 and SBC-4, vital product data parameters).
//!
//! A page says what this disk does and nothing else: where a function is missing its fields are zero.

use super::identity::Port;
use super::inquiry::{DISK, UNKNOWN_PAGE, WELL_KNOWN};
use super::logical_unit::LogicalUnit;
use super::reply::Reply;
use super::sense::{SENSE_LEN_MAX, Sense};
use super::spec::vpd_page as code;
use super::third_party_copy;

mod designators;
mod limits;

pub(super) use limits::optimal_blocks;

/// A page: its code, and what writes it behind the header.
type Page = (u8, fn(&LogicalUnit, &mut Reply));

/// All pages, ascending by code.
const PAGES: [Page; 10] = [
    (code::SUPPORTED_PAGES, supported_pages),
    (code::UNIT_SERIAL_NUMBER, unit_serial_number),
    (code::DEVICE_IDENTIFICATION, designators::device_identification),
    (code::EXTENDED_INQUIRY, extended_inquiry),
    (code::MODE_PAGE_POLICY, mode_page_policy),
    (code::SCSI_PORTS, |unit, reply| designators::scsi_ports(&[unit.port], reply)),
    (code::THIRD_PARTY_COPY, third_party_copy::vpd_page),
    (code::BLOCK_LIMITS, limits::block_limits),
    (code::BLOCK_DEVICE_CHARACTERISTICS, block_device_characteristics),
    (code::LOGICAL_BLOCK_PROVISIONING, limits::logical_block_provisioning),
];

/// Writes a page of the well-known logical unit that is reached through `port`.
pub(super) fn well_known_page(port: &Port, code: u8, reply: &mut Reply) -> Result<(), Sense> {
    if ![code::SUPPORTED_PAGES, code::DEVICE_IDENTIFICATION].contains(&code) {
        return Err(UNKNOWN_PAGE);
    }
    reply.put(&[WELL_KNOWN, code, 0, 0]);
    match code {
        code::SUPPORTED_PAGES => reply.put(&[code::SUPPORTED_PAGES, code::DEVICE_IDENTIFICATION]),
        _ => designators::well_known_identification(port, reply),
    }
    patch_len(reply);
    Ok(())
}

/// Writes a page. `ports` are all that the disk has, if the caller knows of others than the unit's own.
pub(super) fn page(unit: &LogicalUnit, code: u8, ports: Option<&[Port]>, reply: &mut Reply) -> Result<(), Sense> {
    let (_, write) = PAGES.iter().find(|page| page.0 == code).ok_or(UNKNOWN_PAGE)?;
    reply.put(&[DISK, code, 0, 0]);
    match ports {
        Some(ports) if code == code::SCSI_PORTS => designators::scsi_ports(ports, reply),
        _ => write(unit, reply),
    }
    patch_len(reply);
    Ok(())
}

/// PAGE LENGTH counts what follows it.
fn patch_len(reply: &mut Reply) {
    let len = (reply.written() - 4) as u16;
    reply.patch(2, &len.to_be_bytes());
}

fn supported_pages(_: &LogicalUnit, reply: &mut Reply) {
    reply.put(&PAGES.map(|page| page.0));
}

fn unit_serial_number(unit: &LogicalUnit, reply: &mut Reply) {
    reply.put(unit.identity.serial().as_bytes());
}

/// Task attributes that keep their meaning: SIMPLE, ORDERED and HEAD OF QUEUE; whether there is a volatile cache; how long
/// sense data get. No protection information, no priorities, no microcode.
fn extended_inquiry(unit: &LogicalUnit, reply: &mut Reply) {
    const SIMPSUP_ORDSUP_HEADSUP: u8 = 0x07;
    const V_SUP: u8 = 0x01;
    let mut page = [0; 0x3c];
    page[1] = SIMPSUP_ORDSUP_HEADSUP;
    page[2] = if unit.write_back { V_SUP } else { 0 };
    page[9] = SENSE_LEN_MAX as u8;
    reply.put(&page);
}

/// The ports of a disk share its pages, and no other logical unit has them.
fn mode_page_policy(_: &LogicalUnit, reply: &mut Reply) {
    const ALL_PAGES: u8 = 0x3f;
    const ALL_SUBPAGES: u8 = 0xff;
    const SHARED: u8 = 0x00;
    reply.put(&[ALL_PAGES, ALL_SUBPAGES, SHARED, 0]);
}

/// Blocks can be read right after SANITIZE with BLOCK ERASE (WABEREQ), and there is no CRYPTOGRAPHIC ERASE. FUA and SYNCHRONIZE
/// CACHE mean what SBC-4 says, and VERIFY compares unmapped blocks, too (BYTCHK 01b). No zones (ZONED 00b).
fn block_device_characteristics(unit: &LogicalUnit, reply: &mut Reply) {
    const WABEREQ_READS_SUCCEED: u8 = 0x40;
    const ROTATION_NOT_REPORTED: u8 = 0x00;
    const NON_ROTATING: u8 = 0x01;
    const FUAB: u8 = 0x02;
    const VBULS: u8 = 0x01;
    let mut page = [0; 0x3c];
    page[1] = if unit.solid_state { NON_ROTATING } else { ROTATION_NOT_REPORTED };
    page[3] = WABEREQ_READS_SUCCEED;
    page[4] = FUAB | VBULS;
    reply.put(&page);
}

#[cfg(test)]
mod tests;

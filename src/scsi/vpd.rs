//! INQUIRY vital product data pages (SPC-5 and SBC-4, vital product data parameters).
//!
//! A page says what this disk does and nothing else: where a function is missing its fields are zero.

use bdev::Info;

use super::inquiry::{DISK, UNKNOWN_PAGE};
use super::logical_unit::LogicalUnit;
use super::reply::Reply;
use super::sense::Sense;
use super::spec::vpd_page as code;

/// A page: its code, and what writes it behind the header.
type Page = (u8, fn(&LogicalUnit, &mut Reply));

/// All pages, ascending by code.
const PAGES: [Page; 6] = [
    (code::SUPPORTED_PAGES, supported_pages),
    (code::UNIT_SERIAL_NUMBER, unit_serial_number),
    (code::DEVICE_IDENTIFICATION, device_identification),
    (code::BLOCK_LIMITS, block_limits),
    (code::BLOCK_DEVICE_CHARACTERISTICS, block_device_characteristics),
    (code::LOGICAL_BLOCK_PROVISIONING, logical_block_provisioning),
];

/// Writes a page.
pub(super) fn page(unit: &LogicalUnit, code: u8, reply: &mut Reply) -> Result<(), Sense> {
    let (_, write) = PAGES.iter().find(|page| page.0 == code).ok_or(UNKNOWN_PAGE)?;
    reply.put(&[DISK, code, 0, 0]);
    write(unit, reply);
    let len = (reply.written() - 4) as u16;
    reply.patch(2, &len.to_be_bytes());
    Ok(())
}

fn supported_pages(_: &LogicalUnit, reply: &mut Reply) {
    reply.put(&PAGES.map(|page| page.0));
}

fn unit_serial_number(unit: &LogicalUnit, reply: &mut Reply) {
    reply.put(unit.identity.serial().as_bytes());
}

/// The NAA identifier first, which most initiators prefer, then one made of vendor, product and serial number.
fn device_identification(unit: &LogicalUnit, reply: &mut Reply) {
    const BINARY: u8 = 0x01;
    const ASCII: u8 = 0x02;
    const LOGICAL_UNIT_NAA: u8 = 0x03;
    const LOGICAL_UNIT_T10_VENDOR: u8 = 0x01;
    let identity = &unit.identity;
    let naa = identity.naa();
    reply.put(&[BINARY, LOGICAL_UNIT_NAA, 0, naa.as_bytes().len() as u8]);
    reply.put(naa.as_bytes());
    let names: [&[u8]; 3] = [identity.vendor(), identity.product(), identity.serial().as_bytes()];
    let len: usize = names.iter().map(|name| name.len()).sum();
    reply.put(&[ASCII, LOGICAL_UNIT_T10_VENDOR, 0, len as u8]);
    names.iter().for_each(|name| reply.put(name));
}

/// Limits of READ and WRITE. No UNMAP, no WRITE SAME, no COMPARE AND WRITE: zero each.
fn block_limits(unit: &LogicalUnit, reply: &mut Reply) {
    let mut page = [0; 0x3c];
    let granularity = 1_u16 << unit.physical_exponent;
    page[2..4].copy_from_slice(&granularity.to_be_bytes());
    page[4..8].copy_from_slice(&unit.transfer_blocks_max.unwrap_or(0).to_be_bytes());
    page[8..12].copy_from_slice(&unit.transfer_blocks_optimal.to_be_bytes());
    reply.put(&page);
}

fn block_device_characteristics(unit: &LogicalUnit, reply: &mut Reply) {
    const ROTATION_NOT_REPORTED: u8 = 0x00;
    const NON_ROTATING: u8 = 0x01;
    let mut page = [0; 0x3c];
    page[1] = if unit.solid_state { NON_ROTATING } else { ROTATION_NOT_REPORTED };
    reply.put(&page);
}

/// No block can be unmapped, so the unit is fully provisioned to the initiator, whatever the backing store does.
fn logical_block_provisioning(_: &LogicalUnit, reply: &mut Reply) {
    reply.put(&[0; 4]);
}

/// OPTIMAL TRANSFER LENGTH: whole physical blocks, at least 4 KiB, and never more than one transfer may have or than
/// 65,535 blocks, which is what READ (10) can ask for. Initiators complain about any other value. 0 if none is left.
pub(super) fn optimal_blocks(info: &Info, transfer_blocks_max: Option<u32>, physical_exponent: u8) -> u32 {
    const BYTES_MIN: u64 = 4096;
    let block_size = info.block_size.max(1);
    let most = transfer_blocks_max.unwrap_or(u32::MAX).min(u16::MAX.into());
    let blocks = (info.optimal_transfer / block_size).min(most);
    let whole = blocks >> physical_exponent << physical_exponent;
    if u64::from(whole) * u64::from(block_size) < BYTES_MIN { 0 } else { whole }
}

#[cfg(test)]
mod tests;

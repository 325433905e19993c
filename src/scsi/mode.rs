//! MODE SENSE (6) and (10) (SPC-5; SBC-4, mode parameters for direct access block devices). Nothing can be changed yet:
//! there is no MODE SELECT.

use super::command::{ModeSense, PageControl};
use super::logical_unit::LogicalUnit;
use super::reply::Reply;
use super::sense::Sense;
use super::spec::{Asc, mode_page as code};

/// A mode page.
struct Page {
    code: u8,
    subpage: u8,
    put: fn(&LogicalUnit, PageControl, &mut Reply),
}

/// All pages, ascending by code and subpage code, as MODE SENSE returns them.
const PAGES: [Page; 2] =
    [Page { code: code::CACHING, subpage: 0, put: caching }, Page { code: code::CONTROL, subpage: 0, put: control }];

/// DEVICE-SPECIFIC PARAMETER: the medium is write-protected (SBC-4).
const WP: u8 = 0x80;
/// DEVICE-SPECIFIC PARAMETER: DPO and FUA are supported.
const DPOFUA: u8 = 0x10;

/// Answers MODE SENSE.
pub(super) fn sense(unit: &LogicalUnit, request: &ModeSense, reply: &mut Reply) -> Result<(), Sense> {
    check(request)?;
    let mut buffer = [0; 16];
    let descriptor = block_descriptor(unit, request, &mut buffer);
    reply.begin(request.allocation_length.into());
    put_header(unit, request, descriptor.len() as u8, reply);
    reply.put(descriptor);
    for page in PAGES.iter().filter(|page| page.is_wanted(request)) {
        (page.put)(unit, request.control, reply);
    }
    // MODE DATA LENGTH counts what follows it.
    let written = reply.written();
    if request.ten {
        reply.patch(0, &((written - 2) as u16).to_be_bytes());
    } else {
        reply.patch(0, &[(written - 1) as u8]);
    }
    Ok(())
}

/// Whether the page is known and its values are kept. The fields stand at the same bytes in both CDBs.
fn check(request: &ModeSense) -> Result<(), Sense> {
    const NO_PAGE: Sense = Sense::invalid_field(2, Some(5));
    const NO_SUBPAGE: Sense = Sense::invalid_field(3, None);
    let page_known = request.page == code::ALL || PAGES.iter().any(|page| page.code == request.page);
    if !page_known {
        return Err(NO_PAGE);
    }
    if !PAGES.iter().any(|page| page.is_wanted(request)) {
        return Err(NO_SUBPAGE);
    }
    match request.control {
        PageControl::Saved => Err(Sense::illegal(Asc::SAVING_PARAMETERS_NOT_SUPPORTED)),
        PageControl::Current | PageControl::Changeable | PageControl::Default => Ok(()),
    }
}

impl Page {
    fn is_wanted(&self, request: &ModeSense) -> bool {
        let page = request.page == self.code || request.page == code::ALL;
        let all = request.subpage == code::ALL_SUBPAGES;
        page && (all || request.subpage == self.subpage)
    }
}

fn put_header(unit: &LogicalUnit, request: &ModeSense, descriptor_len: u8, reply: &mut Reply) {
    let specific = DPOFUA | if unit.read_only { WP } else { 0 };
    let longlba = u8::from(request.llbaa && !request.dbd);
    if request.ten {
        reply.put(&[0, 0, 0, specific, longlba, 0, 0, descriptor_len]);
    } else {
        reply.put(&[0, 0, specific, descriptor_len]);
    }
}

/// The block descriptor, if one is wanted: long if the initiator accepts it, else short with a saturated number of
/// blocks (SBC-4, mode parameter block descriptors).
fn block_descriptor<'a>(unit: &LogicalUnit, request: &ModeSense, buffer: &'a mut [u8; 16]) -> &'a [u8] {
    let block_size = unit.block_size.to_be_bytes();
    if request.dbd {
        return &[];
    }
    if request.llbaa {
        buffer[0..8].copy_from_slice(&unit.blocks.to_be_bytes());
        buffer[12..16].copy_from_slice(&block_size);
        return buffer;
    }
    let blocks = u32::try_from(unit.blocks).unwrap_or(u32::MAX);
    buffer[0..4].copy_from_slice(&blocks.to_be_bytes());
    buffer[5..8].copy_from_slice(&block_size[1..]);
    &buffer[..8]
}

/// Writes a page whose values behind the 2 bytes of its header are `values`, and of which none can be changed.
fn put_page<const N: usize>(code: u8, values: [u8; N], control: PageControl, reply: &mut Reply) {
    reply.put(&[code, N as u8]);
    reply.put(if control == PageControl::Changeable { &[0; N] } else { &values });
}

/// Caching (SBC-4, caching mode page): WCE says whether a flush is needed.
fn caching(unit: &LogicalUnit, control: PageControl, reply: &mut Reply) {
    const WCE: u8 = 0x04;
    let mut values = [0; 18];
    values[0] = if unit.write_back { WCE } else { 0 };
    put_page(code::CACHING, values, control, reply);
}

/// Control (SPC-5, control mode page): one task set for all, commands reordered freely, sense data in fixed format.
fn control(_: &LogicalUnit, control: PageControl, reply: &mut Reply) {
    const GLTSD: u8 = 0x02;
    const UNRESTRICTED_REORDERING: u8 = 0x10;
    let mut values = [0; 10];
    values[0] = GLTSD;
    values[1] = UNRESTRICTED_REORDERING;
    put_page(code::CONTROL, values, control, reply);
}

#[cfg(test)]
mod tests;

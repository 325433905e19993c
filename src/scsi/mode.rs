//! MODE SENSE and MODE SELECT (6) and (10) (SPC-5; SBC-4, mode parameters for direct access block devices).
//!
//! [`ModeState`] is what can change, and lives with the caller; a MODE SELECT is a [`ModeChange`] of it.

use super::command::{ModeSense, PageControl};
use super::provisioning::Threshold;
use super::reply::Reply;
use super::sense::Sense;
use super::spec::{Asc, mode_page as code};

mod pages;
mod select;
mod state;

use pages::{Page, pages};

pub use select::ModeSelect;
pub(super) use select::select;
pub use state::{ModeChange, ModeState, ModeValues};

/// What the mode pages have to know of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Medium {
    /// Number of logical blocks.
    pub(super) blocks: u64,
    /// Bytes of a logical block.
    pub(super) block_size: u32,
    pub(super) read_only: bool,
    /// There is a write cache.
    pub(super) write_back: bool,
    /// There is a place where pages outlive a loss of power.
    pub(super) saves: bool,
    /// The port is in a target port group, whose access state the host may change.
    pub(super) in_port_group: bool,
    pub(super) threshold: Option<Threshold>,
}

/// DEVICE-SPECIFIC PARAMETER: the medium is write-protected (SBC-4).
const WP: u8 = 0x80;
/// DEVICE-SPECIFIC PARAMETER: DPO and FUA are supported.
const DPOFUA: u8 = 0x10;

/// Answers MODE SENSE.
pub(super) fn sense(medium: &Medium, request: &ModeSense, state: ModeState, reply: &mut Reply) -> Result<(), Sense> {
    check(medium, request)?;
    let mut buffer = [0; 16];
    let descriptor = block_descriptor(medium, request, &mut buffer);
    reply.begin(request.allocation_length.into());
    put_header(medium, request, state, descriptor.len() as u8, reply);
    reply.put(descriptor);
    for page in pages(medium).filter(|page| page.is_wanted(request)) {
        let bytes = match request.control {
            PageControl::Current => page.with(medium, state.current),
            PageControl::Changeable => page.changeable(medium),
            PageControl::Default => page.with(medium, ModeValues::DEFAULT),
            PageControl::Saved => page.with(medium, state.saved),
        };
        reply.put(bytes.as_bytes());
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

/// Whether the page is known, and the values are. The fields stand at the same bytes in both CDBs.
fn check(medium: &Medium, request: &ModeSense) -> Result<(), Sense> {
    const NOTHING_SAVED: Sense = Sense::illegal(Asc::SAVING_PARAMETERS_NOT_SUPPORTED);
    const NO_PAGE: Sense = Sense::invalid_field(2, Some(5));
    const NO_SUBPAGE: Sense = Sense::invalid_field(3, None);
    let page_known = request.page == code::ALL || pages(medium).any(|page| page.code == request.page);
    if !page_known {
        return Err(NO_PAGE);
    }
    if !pages(medium).any(|page| page.is_wanted(request)) {
        return Err(NO_SUBPAGE);
    }
    if request.control == PageControl::Saved && !medium.saves {
        return Err(NOTHING_SAVED);
    }
    Ok(())
}

impl Page {
    fn is_wanted(&self, request: &ModeSense) -> bool {
        let all = request.subpage == code::ALL_SUBPAGES;
        // Of all pages either those without a subpage code or all subpages can be asked for (SPC-5).
        let page = request.page == self.code || request.page == code::ALL && (all || request.subpage == 0);
        page && (all || request.subpage == self.subpage)
    }
}

fn put_header(medium: &Medium, request: &ModeSense, state: ModeState, descriptor_len: u8, reply: &mut Reply) {
    let protected = medium.read_only || state.current.has(ModeValues::SWP);
    let specific = DPOFUA | if protected { WP } else { 0 };
    let longlba = u8::from(request.llbaa && !request.dbd);
    if request.ten {
        reply.put(&[0, 0, 0, specific, longlba, 0, 0, descriptor_len]);
    } else {
        reply.put(&[0, 0, specific, descriptor_len]);
    }
}

/// The block descriptor, if one is wanted: long if the initiator accepts it, else short with a saturated number of
/// blocks (SBC-4, mode parameter block descriptors).
fn block_descriptor<'a>(medium: &Medium, request: &ModeSense, buffer: &'a mut [u8; 16]) -> &'a [u8] {
    let block_size = medium.block_size.to_be_bytes();
    if request.dbd {
        return &[];
    }
    if request.llbaa {
        buffer[0..8].copy_from_slice(&medium.blocks.to_be_bytes());
        buffer[12..16].copy_from_slice(&block_size);
        return buffer;
    }
    let blocks = u32::try_from(medium.blocks).unwrap_or(u32::MAX);
    buffer[0..4].copy_from_slice(&blocks.to_be_bytes());
    buffer[5..8].copy_from_slice(&block_size[1..]);
    &buffer[..8]
}

#[cfg(test)]
mod tests;

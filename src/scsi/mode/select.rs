//! MODE SELECT (6) and (10) (SPC-5): a parameter list to a [`ModeChange`].
//!
//! All of the list is checked before anything changes. A page that asks for what is there already is taken, whether it
//! can be changed or not: that is how initiators send back what MODE SENSE gave them.

use super::super::sense::Sense;
use super::super::spec::Asc;
use super::Medium;
use super::pages::{Page, SPF, pages};
use super::state::{ModeChange, ModeState};

/// MODE SELECT (6) and (10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeSelect {
    /// The parameter list has the header of MODE SELECT (10).
    pub ten: bool,
    /// PF: behind the block descriptors stand pages as SPC-5 has them.
    pub pf: bool,
    /// SP: the pages are saved too.
    pub sp: bool,
    /// Bytes of the parameter list.
    pub parameter_list_length: u16,
}

/// The list ends in the middle of something.
const TOO_SHORT: Sense = Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR);

/// What `list` asks for, of a unit in `state`.
pub(in crate::scsi) fn select(
    medium: &Medium,
    request: &ModeSelect,
    state: ModeState,
    list: &[u8],
) -> Result<ModeChange, Sense> {
    const NO_PF: Sense = Sense::invalid_field(1, Some(4));
    const NO_SP: Sense = Sense::invalid_field(1, Some(0));
    if !request.pf && request.parameter_list_length != 0 {
        return Err(NO_PF);
    }
    if request.sp && !medium.saves {
        return Err(NO_SP);
    }
    let mut change = ModeChange { save: request.sp, ..ModeChange::default() };
    if list.is_empty() {
        return Ok(change);
    }
    let mut at = header(medium, request.ten, list)?;
    while at < list.len() {
        let (page, len) = next_page(medium, &list[at..], at)?;
        let (mask, values) = page
            .read(medium, state.current, &list[at..at + len])
            .map_err(|(byte, bit)| Sense::invalid_parameter(at as u16 + byte, Some(bit)))?;
        change.mask = change.mask.and(mask);
        change.values = change.values.with(mask, false).and(values);
        at += len;
    }
    Ok(change)
}

/// Checks the header and the block descriptors, and returns where the pages begin. MODE DATA LENGTH and the device
/// specific parameter mean nothing here: initiators send back what they read.
fn header(medium: &Medium, ten: bool, list: &[u8]) -> Result<usize, Sense> {
    let (len, medium_type, descriptor_len, longlba, len_byte) = match (ten, list) {
        (true, &[_, _, medium_type, _, longlba, _, high, low, ..]) => {
            (8, medium_type, u16::from_be_bytes([high, low]), longlba & 1 != 0, 6)
        }
        (false, &[_, medium_type, _, descriptor_len, ..]) => (4, medium_type, descriptor_len.into(), false, 3),
        _ => return Err(TOO_SHORT),
    };
    if medium_type != 0 {
        return Err(Sense::invalid_parameter(if ten { 2 } else { 1 }, None));
    }
    let wanted_len = if longlba { 16 } else { 8 };
    if descriptor_len == 0 {
        return Ok(len);
    }
    if usize::from(descriptor_len) != wanted_len {
        return Err(Sense::invalid_parameter(len_byte, None));
    }
    let descriptor = list.get(len..len + wanted_len).ok_or(TOO_SHORT)?;
    check_descriptor(medium, descriptor, len as u16)?;
    Ok(len + wanted_len)
}

/// A block descriptor changes nothing: number and length of blocks are 0, or what they are.
fn check_descriptor(medium: &Medium, descriptor: &[u8], at: u16) -> Result<(), Sense> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let (blocks, block_size, blocks_max, size_at) = match descriptor.len() {
        16 => (number(&descriptor[..8]), number(&descriptor[12..]), u64::MAX, 12),
        _ => (number(&descriptor[..4]), number(&descriptor[5..]), u32::MAX.into(), 5),
    };
    if blocks != 0 && blocks != medium.blocks.min(blocks_max) && blocks != blocks_max {
        return Err(Sense::invalid_parameter(at, None));
    }
    if block_size != 0 && block_size != u64::from(medium.block_size) {
        return Err(Sense::invalid_parameter(at + size_at, None));
    }
    Ok(())
}

/// The page that `rest`, which stands at `at` of the list, begins with, and its length.
fn next_page(medium: &Medium, rest: &[u8], at: usize) -> Result<(&'static Page, usize), Sense> {
    const CODE: u8 = 0x3f;
    let at = at as u16;
    let (code, subpage, body_len, len_byte) = match *rest {
        [first, subpage, high, low, ..] if first & SPF != 0 => {
            (first & CODE, subpage, u16::from_be_bytes([high, low]), 2)
        }
        [first, len, ..] if first & SPF == 0 => (first & CODE, 0, len.into(), 1),
        _ => return Err(TOO_SHORT),
    };
    let known = pages(medium).any(|page| page.code == code);
    let page = pages(medium).find(|page| page.code == code && page.subpage == subpage);
    let page =
        page.ok_or(if known { Sense::invalid_parameter(at + 1, None) } else { Sense::invalid_parameter(at, Some(5)) })?;
    let len = page.header_len() + usize::from(body_len);
    if len != page.len_with_header() {
        return Err(Sense::invalid_parameter(at + len_byte, None));
    }
    if rest.len() < len {
        return Err(TOO_SHORT);
    }
    Ok((page, len))
}

impl ModeChange {
    /// Whether what is in force afterwards is to outlive a loss of power.
    pub(in crate::scsi) fn is_saved(&self) -> bool {
        self.save
    }

    /// Whether it would change nothing of `state`.
    #[cfg(test)]
    pub fn is_idle(&self, state: ModeState) -> bool {
        state.changed_by(*self) == state
    }

    #[cfg(test)]
    pub(in crate::scsi) fn of(mask: super::ModeValues, values: super::ModeValues, save: bool) -> Self {
        Self { mask, values, save }
    }
}

#[cfg(test)]
mod tests;

//! LOG SELECT (SPC-5): nothing can be set, nothing is saved, and counters count on: PCR and SP are refused with the CDB.

use super::super::logical_unit::LogicalUnit;
use super::super::sense::Sense;
use super::super::spec::{Asc, log_page as code};
use super::pages::{PAGES, Page};
use super::{LogControl, there};

/// LOG SELECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSelect {
    /// PC: which values.
    pub control: LogControl,
    /// Page code; 0 for what the parameter list names, or all.
    pub page: u8,
    /// Subpage code.
    pub subpage: u8,
    /// Bytes of the parameter list.
    pub parameter_list_length: u16,
}

/// Whether the CDB is right.
pub(in crate::scsi) fn check(unit: &LogicalUnit, request: &LogSelect) -> Result<(), Sense> {
    const NO_PAGE: Sense = Sense::invalid_field(2, Some(5));
    let mut pages = there(unit).filter(|page| page.code == request.page);
    let is_there = |page: &Page| [page.subpage, code::ALL_SUBPAGES].contains(&request.subpage);
    if pages.any(is_there) { Ok(()) } else { Err(NO_PAGE) }
}

/// Checks a parameter list: pages without parameters may stand in it.
pub(in crate::scsi) fn select(request: &LogSelect, list: &[u8]) -> Result<(), Sense> {
    const TOO_SHORT: Sense = Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR);
    const CODE: u8 = 0x3f;
    for (number, header) in list.chunks(4).enumerate() {
        let at = 4 * number as u16;
        let &[first, subpage, high, low] = header else { return Err(TOO_SHORT) };
        let asked = request.page == 0 || (first & CODE, subpage) == (request.page, request.subpage);
        let known = PAGES.iter().any(|page| (page.code, page.subpage) == (first & CODE, subpage));
        if !asked || !known {
            return Err(Sense::invalid_parameter(at, Some(5)));
        }
        if (high, low) != (0, 0) {
            // What comes behind the header would be a parameter.
            return Err(if list.len() > usize::from(at) + 4 {
                Sense::invalid_parameter(at + 4, None)
            } else {
                TOO_SHORT
            });
        }
    }
    Ok(())
}

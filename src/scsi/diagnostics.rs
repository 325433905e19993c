//! What a disk without defects says when it is asked how it is: READ DEFECT DATA (10) and (12) (SBC-4), pages of SEND DIAGNOSTIC and
//! RECEIVE DIAGNOSTIC RESULTS (SPC-5). Self-tests are in [`long`](super::long).

use super::command::ReadDefectData;
use super::reply::Reply;
use super::sense::Sense;
use super::spec::Asc;

/// Supported diagnostic pages: the only one.
const SUPPORTED_PAGES: u8 = 0x00;

/// An empty list, in the format that was asked for.
pub(super) fn defect_data(request: &ReadDefectData, reply: &mut Reply) -> Result<(), Sense> {
    reply.begin(request.allocation_length);
    let header = [0, request.wanted, 0, 0, 0, 0, 0, 0];
    reply.put(if request.twelve { &header } else { &header[..4] });
    Ok(())
}

/// SEND DIAGNOSTIC with a parameter list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiagnosticPage {
    /// PF: the list is a page as SPC-5 has them.
    pub pf: bool,
    /// SELFTEST, or a SELF-TEST CODE.
    pub with_self_test: bool,
    /// Bytes of the parameter list: not 0.
    pub parameter_list_length: u16,
}

/// Whether a list may come: pages alone, and no self-test with them.
pub(super) fn check_page(page: &DiagnosticPage) -> Result<(), Sense> {
    const NO_PF: Sense = Sense::invalid_field(1, Some(4));
    const NO_LIST: Sense = Sense::invalid_field(3, None);
    match page {
        DiagnosticPage { with_self_test: true, .. } => Err(NO_LIST),
        DiagnosticPage { pf: false, .. } => Err(NO_PF),
        _ => Ok(()),
    }
}

/// A page that is sent. The one that there is asks for the list of pages, which RECEIVE DIAGNOSTIC RESULTS gives anyway.
pub(super) fn send_page(list: &[u8]) -> Result<(), Sense> {
    let &[code, _, high, low, ..] = list else { return Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR)) };
    if code != SUPPORTED_PAGES {
        return Err(Sense::invalid_parameter(0, None));
    }
    if (high, low) != (0, 0) {
        return Err(Sense::invalid_parameter(2, None));
    }
    Ok(())
}

/// The list of pages, if that or none is asked for.
pub(super) fn results(page: Option<u8>, reply: &mut Reply) -> Result<(), Sense> {
    match page {
        None | Some(SUPPORTED_PAGES) => reply.put(&[SUPPORTED_PAGES, 0, 0, 1, SUPPORTED_PAGES]),
        Some(_) => return Err(Sense::invalid_field(2, None)),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::long::testing::Rig;
    use crate::scsi::testing::{data, disk, info, refused};

    #[test]
    fn there_are_no_defects() {
        let unit = disk(&info());
        assert_eq!(data(&unit, &[0x37, 0, 0x1d, 0, 0, 0, 0, 1, 0, 0]), [0, 0x1d, 0, 0]);
        assert_eq!(data(&unit, &[0x37, 0, 0, 0, 0, 0, 0, 0, 3, 0]), [0, 0, 0]);
        let twelve = [0xb7, 0x0b, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
        assert_eq!(data(&unit, &twelve), [0, 0x0b, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn the_page_that_can_be_sent_asks_for_the_list() {
        let mut rig = Rig::plain();
        rig.good(&[0x1d, 0x10, 0, 0, 4, 0], &[0; 4]);
        let mut refused = |byte_1, list: &[u8]| rig.refused(&[0x1d, byte_1, 0, 0, list.len() as u8, 0], list);
        assert_eq!(refused(0x00, &[0; 4]), Sense::invalid_field(1, Some(4)), "PF");
        assert_eq!(refused(0x14, &[0; 4]), Sense::invalid_field(3, None), "SELFTEST");
        assert_eq!(refused(0x30, &[0; 4]), Sense::invalid_field(3, None), "SELF-TEST CODE");
        assert_eq!(refused(0x10, &[0; 3]), Sense::illegal(Asc(0x1a00)));
        assert_eq!(refused(0x10, &[0x40, 0, 0, 0]), Sense::invalid_parameter(0, None));
        assert_eq!(refused(0x10, &[0, 0, 0, 1, 0]), Sense::invalid_parameter(2, None));
    }

    #[test]
    fn one_page_of_results() {
        let unit = disk(&info());
        assert_eq!(data(&unit, &[0x1c, 1, 0, 1, 0, 0]), [0, 0, 0, 1, 0]);
        assert_eq!(data(&unit, &[0x1c, 0, 0, 0, 4, 0]), [0, 0, 0, 1]);
        assert_eq!(refused(&unit, &[0x1c, 1, 0x40, 1, 0, 0]), Sense::invalid_field(2, None));
    }

    #[test]
    fn nothing_can_be_removed() {
        let unit = disk(&info());
        for prevent in [0, 1] {
            assert_eq!(data(&unit, &[0x1e, 0, 0, 0, prevent, 0]), [0; 0]);
        }
        assert!(crate::scsi::decode(&[0x1e, 0, 0, 0, 2, 0]).is_err());
    }
}

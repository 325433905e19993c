//! What a disk without defects says when it is asked how it is: READ DEFECT DATA (10) and (12) (SBC-4), SEND DIAGNOSTIC and
//! RECEIVE DIAGNOSTIC RESULTS (SPC-5).

use super::command::ReadDefectData;
use super::reply::Reply;
use super::sense::Sense;

/// Supported diagnostic pages: the only one.
const SUPPORTED_PAGES: u8 = 0x00;

/// SELF-TEST CODE: no self-test is asked for by code.
const NO_CODE: u8 = 0;
/// SELF-TEST CODEs that mean nothing.
const RESERVED_CODES: [u8; 2] = [3, 7];

/// An empty list, in the format that was asked for.
pub(super) fn defect_data(request: &ReadDefectData, reply: &mut Reply) -> Result<(), Sense> {
    reply.begin(request.allocation_length);
    let header = [0, request.wanted, 0, 0, 0, 0, 0, 0];
    reply.put(if request.twelve { &header } else { &header[..4] });
    Ok(())
}

/// A self-test finds that all is well, in no time: those in the background have ended when the command does.
pub(super) fn send(default_self_test: bool, code: u8, parameter_list_length: u16) -> Result<(), Sense> {
    if RESERVED_CODES.contains(&code) || default_self_test && code != NO_CODE {
        return Err(Sense::invalid_field(1, Some(7)));
    }
    // There is no page that could be sent.
    if parameter_list_length != 0 {
        return Err(Sense::invalid_field(3, None));
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
    fn self_tests_pass() {
        let unit = disk(&info());
        for byte_1 in [0x00, 0x04, 0x10, 0x20, 0x40, 0x80, 0xa0, 0xc0, 0x07] {
            assert_eq!(data(&unit, &[0x1d, byte_1, 0, 0, 0, 0]), [0; 0], "{byte_1:02x}");
        }
        for byte_1 in [0x60, 0xe0, 0x24] {
            assert_eq!(refused(&unit, &[0x1d, byte_1, 0, 0, 0, 0]), Sense::invalid_field(1, Some(7)), "{byte_1:02x}");
        }
        assert_eq!(refused(&unit, &[0x1d, 0x10, 0, 0, 4, 0]), Sense::invalid_field(3, None));
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

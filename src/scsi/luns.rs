//! REPORT LUNS (SPC-5).

use super::reply::Reply;
use super::sense::Sense;

mod well_known;

pub use well_known::WellKnownUnit;

/// SELECT REPORT: logical units, but no well-known ones.
const SELECT_ADDRESSED: u8 = 0x00;
/// SELECT REPORT: well-known logical units alone.
const SELECT_WELL_KNOWN: u8 = 0x01;
/// SELECT REPORT: both.
const SELECT_ALL: u8 = 0x02;
/// SELECT REPORT: administrative logical units. There are none.
const SELECT_ADMINISTRATIVE: u8 = 0x10;
/// SELECT REPORT: administrative ones, and those that are in no conglomerate, as all here.
const SELECT_TOP: u8 = 0x11;
/// SELECT REPORT: those of the addressed conglomerate. There is none.
const SELECT_SUBSIDIARY: u8 = 0x12;

/// The well-known logical unit REPORT LUNS.
const WELL_KNOWN: [[u8; 8]; 1] = [[0xc1, 0x01, 0, 0, 0, 0, 0, 0]];

/// Writes the list.
pub(super) fn report(select_report: u8, luns: &[[u8; 8]], reply: &mut Reply) -> Result<(), Sense> {
    let none: &[[u8; 8]] = &[];
    let (luns, well_known) = match select_report {
        SELECT_ADDRESSED | SELECT_TOP => (luns, none),
        SELECT_WELL_KNOWN => (none, &WELL_KNOWN[..]),
        SELECT_ALL => (luns, &WELL_KNOWN[..]),
        SELECT_ADMINISTRATIVE | SELECT_SUBSIDIARY => (none, none),
        _ => return Err(Sense::invalid_field(2, None)),
    };
    let (luns, well_known) = (luns.as_flattened(), well_known.as_flattened());
    let list_len = (luns.len() + well_known.len()) as u32;
    reply.put(&list_len.to_be_bytes());
    reply.put(&[0; 4]);
    reply.put(luns);
    reply.put(well_known);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LUNS: [[u8; 8]; 2] = [[0, 0, 0, 0, 0, 0, 0, 0], [0x41, 0x02, 0, 0, 0, 0, 0, 0]];
    const LIST: [u8; 24] = [0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0x02, 0, 0, 0, 0, 0, 0];

    fn list(select_report: u8, allocation_length: u32) -> Result<Vec<u8>, Sense> {
        let mut reply = Reply::new();
        reply.begin(allocation_length);
        report(select_report, &LUNS, &mut reply)?;
        Ok(reply.as_bytes().to_vec())
    }

    #[test]
    fn lists_by_selection() {
        assert_eq!(list(0, 4096), Ok(LIST.to_vec()));
        let well_known = [0xc1, 0x01, 0, 0, 0, 0, 0, 0];
        assert_eq!(list(1, 4096), Ok([&[0, 0, 0, 8, 0, 0, 0, 0][..], &well_known].concat()));
        assert_eq!(list(2, 4096), Ok([&[0, 0, 0, 24][..], &LIST[4..], &well_known].concat()));
        assert_eq!(list(0x10, 4096), Ok(vec![0; 8]));
        assert_eq!(list(0x11, 4096), Ok(LIST.to_vec()));
        assert_eq!(list(0x12, 4096), Ok(vec![0; 8]));
    }

    #[test]
    fn the_length_is_that_of_the_whole_list() {
        assert_eq!(list(0, 17), Ok(LIST[..17].to_vec()));
        assert_eq!(list(0, 0), Ok(vec![]));
    }

    #[test]
    fn other_selections_are_refused() {
        for select_report in (3..=255).filter(|select| ![0x10, 0x11, 0x12].contains(select)) {
            assert_eq!(list(select_report, 4096), Err(Sense::invalid_field(2, None)));
        }
    }
}

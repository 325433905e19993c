//! REPORT LUNS (SPC-5).

use super::reply::Reply;
use super::sense::Sense;

/// SELECT REPORT: logical units, but no well-known ones.
const SELECT_ADDRESSED: u8 = 0x00;
/// SELECT REPORT: well-known logical units alone. There are none.
const SELECT_WELL_KNOWN: u8 = 0x01;
/// SELECT REPORT: both.
const SELECT_ALL: u8 = 0x02;

/// Writes the list.
pub(super) fn report(select_report: u8, luns: &[[u8; 8]], reply: &mut Reply) -> Result<(), Sense> {
    let luns = match select_report {
        SELECT_ADDRESSED | SELECT_ALL => luns,
        SELECT_WELL_KNOWN => &[],
        _ => return Err(Sense::invalid_field(2, None)),
    };
    let list_len = luns.as_flattened().len() as u32;
    reply.put(&list_len.to_be_bytes());
    reply.put(&[0; 4]);
    reply.put(luns.as_flattened());
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
        assert_eq!(list(2, 4096), Ok(LIST.to_vec()));
        assert_eq!(list(1, 4096), Ok(vec![0; 8]));
    }

    #[test]
    fn the_length_is_that_of_the_whole_list() {
        assert_eq!(list(0, 17), Ok(LIST[..17].to_vec()));
        assert_eq!(list(0, 0), Ok(vec![]));
    }

    #[test]
    fn other_selections_are_refused() {
        for select_report in 3..=255 {
            assert_eq!(list(select_report, 4096), Err(Sense::invalid_field(2, None)));
        }
    }
}

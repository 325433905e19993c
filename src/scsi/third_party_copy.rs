//! What this disk can copy for others: RECEIVE COPY RESULTS with OPERATING PARAMETERS, and the Third-party Copy VPD page
//! (SPC-5).
//!
//! Nothing is held of a copy that has ended: a command tells all about it with its status.

use super::logical_unit::LogicalUnit;
use super::long::extended_copy::{
    BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET, CSCD_MAX, DESCRIPTORS_LEN_MAX, IDENTIFICATION, SEGMENT_BYTES_MAX,
    SEGMENTS_MAX,
};
use super::reply::Reply;
use super::spec::{Opcode, SERVICE_ACTION_EXTENDED_COPY_LID1, SERVICE_ACTION_OPERATING_PARAMETERS};

/// Copies at a time: as many as there are commands, which is told as the largest number of the field.
const CONCURRENT: u8 = 255;

/// Descriptor types that may be in a list.
const DESCRIPTOR_TYPES: [u8; 3] = [BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET, IDENTIFICATION];

/// log2 of the bytes in the smallest piece that can be copied.
fn granularity(unit: &LogicalUnit) -> u8 {
    unit.block_size().trailing_zeros() as u8
}

/// OPERATING PARAMETERS.
pub(super) fn operating_parameters(unit: &LogicalUnit, reply: &mut Reply) {
    const SNLID: u8 = 0x01;
    let mut data = [0; 44];
    data[3] = (data.len() - 4 + DESCRIPTOR_TYPES.len()) as u8;
    data[4] = SNLID;
    data[8..10].copy_from_slice(&CSCD_MAX.to_be_bytes());
    data[10..12].copy_from_slice(&SEGMENTS_MAX.to_be_bytes());
    data[12..16].copy_from_slice(&DESCRIPTORS_LEN_MAX.to_be_bytes());
    data[16..20].copy_from_slice(&SEGMENT_BYTES_MAX.to_be_bytes());
    data[34..36].copy_from_slice(&u16::from(CONCURRENT).to_be_bytes());
    data[36] = CONCURRENT;
    data[37] = granularity(unit);
    data[43] = DESCRIPTOR_TYPES.len() as u8;
    reply.put(&data);
    reply.put(&DESCRIPTOR_TYPES);
}

/// The descriptors of the Third-party Copy page.
pub(super) fn vpd_page(unit: &LogicalUnit, reply: &mut Reply) {
    // Supported commands.
    let (out, copy) = (Opcode::THIRD_PARTY_COPY_OUT.0, SERVICE_ACTION_EXTENDED_COPY_LID1);
    let (results, parameters) = (Opcode::THIRD_PARTY_COPY_IN.0, SERVICE_ACTION_OPERATING_PARAMETERS);
    reply.put(&[0, 0x01, 0, 8, 6, out, 1, copy, results, 1, parameters, 0]);
    // Parameter data.
    let mut data = [0; 32];
    (data[1], data[3]) = (0x04, 28);
    data[8..10].copy_from_slice(&CSCD_MAX.to_be_bytes());
    data[10..12].copy_from_slice(&SEGMENTS_MAX.to_be_bytes());
    data[12..16].copy_from_slice(&DESCRIPTORS_LEN_MAX.to_be_bytes());
    reply.put(&data);
    // Supported descriptors.
    let [segment, with_offset, cscd] = DESCRIPTOR_TYPES;
    reply.put(&[0, 0x08, 0, 4, 3, segment, with_offset, cscd]);
    // Supported CSCD identifiers: none but those of the list.
    reply.put(&[0, 0x0c, 0, 4, 0, 0, 0, 0]);
    // General copy operations.
    let mut general = [0; 36];
    (general[0], general[1], general[3]) = (0x80, 0x01, 32);
    general[4..8].copy_from_slice(&u32::from(CONCURRENT).to_be_bytes());
    general[12..16].copy_from_slice(&SEGMENT_BYTES_MAX.to_be_bytes());
    general[16] = granularity(unit);
    reply.put(&general);
}

#[cfg(test)]
mod tests {
    use super::super::testing::{data, disk, info};

    #[test]
    fn operating_parameters() {
        let parameters = data(&disk(&info()), &[0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        let mut expected = vec![0; 47];
        expected[..24]
            .copy_from_slice(&[0, 0, 0, 43, 1, 0, 0, 0, 0, 16, 0, 16, 0, 0, 0x04, 0x00, 1, 0, 0, 0, 0, 0, 0, 0]);
        expected[35..38].copy_from_slice(&[255, 255, 9]);
        expected[43..].copy_from_slice(&[3, 0x02, 0x0a, 0xe4]);
        assert_eq!(parameters, expected);
    }

    #[test]
    fn page() {
        let page = data(&disk(&info()), &[0x12, 1, 0x8f, 1, 0, 0]);
        assert_eq!(page[..4], [0, 0x8f, 0, 96]);
        assert_eq!(page[4..16], [0, 1, 0, 8, 6, 0x83, 1, 0, 0x84, 1, 3, 0]);
        assert_eq!(page[16..32], [0, 4, 0, 28, 0, 0, 0, 0, 0, 16, 0, 16, 0, 0, 0x04, 0x00]);
        assert_eq!(page[48..64], [0, 8, 0, 4, 3, 0x02, 0x0a, 0xe4, 0, 0x0c, 0, 4, 0, 0, 0, 0]);
        assert_eq!(page[64..84], [0x80, 1, 0, 32, 0, 0, 0, 255, 0, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(page.len(), 100);
    }
}

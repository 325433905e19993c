//! What this disk can copy for others: RECEIVE COPY OPERATING PARAMETERS, and the Third-party Copy VPD page (SPC-5).

use super::super::logical_unit::LogicalUnit;
use super::super::long::extended_copy::{
    BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET, CSCD_MAX, DESCRIPTORS_LEN_MAX, IDENTIFICATION, SEGMENT_BYTES_MAX,
    SEGMENTS_MAX,
};
use super::super::reply::Reply;
use super::super::spec::{Opcode, copy_in, copy_out};
use super::records::RECORDS_MAX;

/// Copies at a time: as many as there are commands, which is told as the largest number of the field.
const CONCURRENT: u8 = 255;
/// Those of them that have a name.
const NAMED: u8 = RECORDS_MAX as u8;

/// Descriptor types that may be in a list.
const DESCRIPTOR_TYPES: [u8; 3] = [BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET, IDENTIFICATION];

/// Service actions that send something, and that ask.
const OUT: [u8; 3] = [copy_out::EXTENDED_COPY_LID1, copy_out::EXTENDED_COPY_LID4, copy_out::COPY_OPERATION_ABORT];
const IN: [u8; 5] = [
    copy_in::COPY_STATUS_LID1,
    copy_in::COPY_DATA_LID1,
    copy_in::OPERATING_PARAMETERS,
    copy_in::FAILURE_DETAILS_LID1,
    copy_in::COPY_STATUS_LID4,
];

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
    data[36] = NAMED;
    data[37] = granularity(unit);
    data[43] = DESCRIPTOR_TYPES.len() as u8;
    reply.put(&data);
    reply.put(&DESCRIPTOR_TYPES);
}

/// The descriptors of the Third-party Copy page.
pub(in super::super) fn vpd_page(unit: &LogicalUnit, reply: &mut Reply) {
    supported_commands(reply);
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
    general[8..12].copy_from_slice(&u32::from(NAMED).to_be_bytes());
    general[12..16].copy_from_slice(&SEGMENT_BYTES_MAX.to_be_bytes());
    general[16] = granularity(unit);
    reply.put(&general);
}

/// Supported Commands, with padding up to a multiple of 4.
fn supported_commands(reply: &mut Reply) {
    const LISTED: usize = 2 + OUT.len() + 2 + IN.len();
    const PADDED: usize = (1 + LISTED).next_multiple_of(4);
    reply.put(&[0, 0x01, 0, PADDED as u8, LISTED as u8, Opcode::THIRD_PARTY_COPY_OUT.0, OUT.len() as u8]);
    reply.put(&OUT);
    reply.put(&[Opcode::THIRD_PARTY_COPY_IN.0, IN.len() as u8]);
    reply.put(&IN);
    reply.put(&[0; PADDED - LISTED - 1]);
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{data, disk, info};

    #[test]
    fn operating_parameters() {
        let parameters = data(&disk(&info()), &[0x84, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        let mut expected = vec![0; 47];
        expected[..24]
            .copy_from_slice(&[0, 0, 0, 43, 1, 0, 0, 0, 0, 16, 0, 16, 0, 0, 0x04, 0x00, 1, 0, 0, 0, 0, 0, 0, 0]);
        expected[35..38].copy_from_slice(&[255, 64, 9]);
        expected[43..].copy_from_slice(&[3, 0x02, 0x0a, 0xe4]);
        assert_eq!(parameters, expected);
    }

    #[test]
    fn page() {
        let page = data(&disk(&info()), &[0x12, 1, 0x8f, 1, 0, 0]);
        assert_eq!(page[..4], [0, 0x8f, 0, 104]);
        let commands = [0, 1, 0, 16, 12, 0x83, 3, 0, 1, 0x1c, 0x84, 5, 0, 1, 3, 4, 5, 0, 0, 0];
        assert_eq!(page[4..24], commands);
        assert_eq!(page[24..40], [0, 4, 0, 28, 0, 0, 0, 0, 0, 16, 0, 16, 0, 0, 0x04, 0x00]);
        assert_eq!(page[56..72], [0, 8, 0, 4, 3, 0x02, 0x0a, 0xe4, 0, 0x0c, 0, 4, 0, 0, 0, 0]);
        assert_eq!(page[72..92], [0x80, 1, 0, 32, 0, 0, 0, 255, 0, 0, 0, 64, 1, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(page.len(), 108);
    }
}

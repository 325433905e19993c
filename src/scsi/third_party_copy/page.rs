//! What this disk can copy for others: RECEIVE COPY OPERATING PARAMETERS, and the Third-party Copy VPD page (SPC-5, SBC-4).

use super::super::logical_unit::LogicalUnit;
use super::super::long::extended_copy::{
    BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET, CSCD_MAX, DESCRIPTORS_LEN_MAX, IDENTIFICATION, SEGMENT_BYTES_MAX,
    SEGMENTS_MAX,
};
use super::super::reply::Reply;
use super::super::spec::{Opcode, copy_in, copy_out};
use super::records::RECORDS_MAX;
use super::rods::{INACTIVITY_DEFAULT_S, INACTIVITY_MAX_S, RANGES_MAX};
use super::token::{BLOCK_ZERO, POINT_IN_TIME_CHANGE_VULNERABLE};
use super::{TRANSFER_BYTES_MAX, transfer_blocks_max};

/// Copies at a time: as many as there are commands, which is told as the largest number of the field.
const CONCURRENT: u8 = 255;
/// Those of them that have a name.
const NAMED: u8 = RECORDS_MAX as u8;

/// Descriptor types that may be in a list.
const DESCRIPTOR_TYPES: [u8; 3] = [BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET, IDENTIFICATION];

/// Service actions that send something, and that ask.
const OUT: [u8; 5] = [
    copy_out::EXTENDED_COPY_LID1,
    copy_out::EXTENDED_COPY_LID4,
    copy_out::POPULATE_TOKEN,
    copy_out::WRITE_USING_TOKEN,
    copy_out::COPY_OPERATION_ABORT,
];
const IN: [u8; 7] = [
    copy_in::COPY_STATUS_LID1,
    copy_in::COPY_DATA_LID1,
    copy_in::OPERATING_PARAMETERS,
    copy_in::FAILURE_DETAILS_LID1,
    copy_in::COPY_STATUS_LID4,
    copy_in::ROD_TOKEN_INFORMATION,
    copy_in::REPORT_ALL_ROD_TOKENS,
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
    token_limits(unit, reply);
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
    token_features(reply);
    // General copy operations.
    let mut general = [0; 36];
    (general[0], general[1], general[3]) = (0x80, 0x01, 32);
    general[4..8].copy_from_slice(&u32::from(CONCURRENT).to_be_bytes());
    general[8..12].copy_from_slice(&u32::from(NAMED).to_be_bytes());
    general[12..16].copy_from_slice(&SEGMENT_BYTES_MAX.to_be_bytes());
    general[16] = granularity(unit);
    reply.put(&general);
}

/// Block Device ROD Limits (SBC-4).
fn token_limits(unit: &LogicalUnit, reply: &mut Reply) {
    let mut limits = [0; 36];
    limits[3] = 32;
    limits[10..12].copy_from_slice(&RANGES_MAX.to_be_bytes());
    limits[12..16].copy_from_slice(&INACTIVITY_MAX_S.to_be_bytes());
    limits[16..20].copy_from_slice(&INACTIVITY_DEFAULT_S.to_be_bytes());
    limits[20..28].copy_from_slice(&transfer_blocks_max(unit).to_be_bytes());
    limits[28..36].copy_from_slice(&transfer_blocks_max(unit).to_be_bytes());
    reply.put(&limits);
}

/// ROD Token Features, those of block devices among them, and Supported ROD Types.
fn token_features(reply: &mut Reply) {
    const LIFETIME_MIN_S: u32 = 1;
    const WITHOUT_LIMIT_S: u32 = u32::MAX;
    const OF_BLOCKS_AT: usize = 48;
    let mut features = [0; OF_BLOCKS_AT + 48];
    (features[0], features[1], features[3]) = (0x01, 0x06, 92);
    features[16..20].copy_from_slice(&LIFETIME_MIN_S.to_be_bytes());
    features[20..24].copy_from_slice(&WITHOUT_LIMIT_S.to_be_bytes());
    features[24..28].copy_from_slice(&INACTIVITY_MAX_S.to_be_bytes());
    (features[47], features[OF_BLOCKS_AT + 3]) = (48, 44);
    for at in [8, 16, 24, 32] {
        features[OF_BLOCKS_AT + at..][..8].copy_from_slice(&TRANSFER_BYTES_MAX.to_be_bytes());
    }
    reply.put(&features);
    const TOKEN_IN: u8 = 0x02;
    const TOKEN_OUT: u8 = 0x01;
    let types = [(POINT_IN_TIME_CHANGE_VULNERABLE, TOKEN_IN | TOKEN_OUT), (BLOCK_ZERO, TOKEN_IN)];
    let len = types.len() * 64;
    reply.put(&[0x01, 0x08, 0, 4 + len as u8, 0, 0, 0, len as u8]);
    for (kind, flags) in types {
        let mut descriptor = [0; 64];
        descriptor[..4].copy_from_slice(&kind.to_be_bytes());
        descriptor[4] = flags;
        reply.put(&descriptor);
    }
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
        let page = data(&disk(&info()), &[0x12, 1, 0x8f, 2, 0, 0]);
        assert_eq!((&page[..4], page.len()), (&[0, 0x8f, 0x01, 0x78][..], 4 + 0x0178));
        let limits = [0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 2, 0x58, 0, 0, 0, 60, 0, 0, 0, 0, 0, 2, 0, 0];
        assert_eq!((&page[4..32], &page[32..40]), (&limits[..], &[0, 0, 0, 0, 0, 2, 0, 0][..]));
        let commands = [0, 1, 0, 20, 16, 0x83, 5, 0, 1, 0x10, 0x11, 0x1c, 0x84, 7, 0, 1, 3, 4, 5, 7, 8, 0, 0, 0];
        assert_eq!(page[40..64], commands);
        assert_eq!(page[64..80], [0, 4, 0, 28, 0, 0, 0, 0, 0, 16, 0, 16, 0, 0, 0x04, 0x00]);
        assert_eq!(page[96..112], [0, 8, 0, 4, 3, 0x02, 0x0a, 0xe4, 0, 0x0c, 0, 4, 0, 0, 0, 0]);
        assert_eq!(page[112..120], [1, 6, 0, 92, 0, 0, 0, 0]);
        assert_eq!(page[128..140], [0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 2, 0x58]);
        assert_eq!(page[158..176], [0, 48, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]);
        assert_eq!(page[208..224], [1, 8, 0, 132, 0, 0, 0, 128, 0, 0x80, 0, 1, 3, 0, 0, 0]);
        assert_eq!(page[280..288], [0xff, 0xff, 0, 1, 2, 0, 0, 0], "TOKEN_OUT of zeroes is 0");
        assert_eq!(page[344..364], [0x80, 1, 0, 32, 0, 0, 0, 255, 0, 0, 0, 64, 1, 0, 0, 0, 9, 0, 0, 0]);
    }
}

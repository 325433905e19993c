//! The table of commands: what may be in each CDB, and what reads it.

use super::super::command::{CdbForm, Command};
use super::super::query::CopyResult;
use super::super::sharing::Sharing;
use super::super::spec::{
    NACA, Opcode, SERVICE_ACTION_GET_LBA_STATUS_16, SERVICE_ACTION_READ_CAPACITY_16, copy_in, copy_out, maintenance_in,
    maintenance_out, sanitize,
};
use super::{Cdb, decoders as d};

/// A command that is supported.
pub(super) struct Entry {
    /// Service action, for an operation code that has them.
    pub(super) service_action: Option<u8>,
    /// CDB usage data: operation code, service action, and a 1 for each bit of the CDB that may be set.
    pub(super) usage: &'static [u8],
    /// The bits that may not be set, over 16 bytes, most significant first.
    pub(super) reserved: u128,
    /// Fields of several bits that may not be set: a field pointer must point to the first bit of such a field.
    pub(super) refused: &'static [Field],
    /// After how many seconds an initiator may take the command for lost.
    pub(super) timeout_s: u32,
    /// Reads the fields of a CDB that has passed the checks above.
    pub(super) decode: fn(&Cdb) -> Command,
}

/// A field within a byte.
pub(super) struct Field {
    pub(super) byte: u16,
    pub(super) high: u8,
    pub(super) low: u8,
}

/// RDPROTECT of READ, WRPROTECT of WRITE and their like: there is no protection information.
const PROTECT: &[Field] = &[Field { byte: 1, high: 7, low: 5 }];
/// CONTROL, the last byte of every CDB: NACA is known.
const CONTROL: u8 = NACA;
/// FMTPINFO and FFMT of FORMAT UNIT: there is no protection information, and no fast format.
const FORMAT: &[Field] = &[Field { byte: 1, high: 7, low: 6 }, Field { byte: 4, high: 1, low: 0 }];
/// POWER CONDITION MODIFIER and POWER CONDITION of START STOP UNIT: there are no power conditions.
const POWER_CONDITION: &[Field] = &[Field { byte: 3, high: 3, low: 0 }, Field { byte: 4, high: 7, low: 4 }];

/// What the work on a whole medium may take.
const WORK_TIMEOUT_S: u32 = 86_400;
/// What a disk that is merely slow may take for a command.
const TIMEOUT_S: u32 = 60;

const fn entry(usage: &'static [u8], decode: fn(&Cdb) -> Command) -> Entry {
    Entry { service_action: None, usage, reserved: reserved(usage, 0), refused: &[], timeout_s: TIMEOUT_S, decode }
}

const fn service_action(usage: &'static [u8], decode: fn(&Cdb) -> Command) -> Entry {
    let action = Some(usage[1] & 0x1f);
    Entry { service_action: action, usage, reserved: reserved(usage, 0x1f), refused: &[], timeout_s: TIMEOUT_S, decode }
}

/// A command that may wait for work on the whole medium.
const fn lasting(entry: Entry) -> Entry {
    Entry { timeout_s: WORK_TIMEOUT_S, ..entry }
}

const fn refusing(entry: Entry, refused: &'static [Field]) -> Entry {
    Entry { refused, ..entry }
}

/// The complement of the usage data, without the operation code and the bits `action` of the service action. NACA is not for
/// the decoders.
const fn reserved(usage: &[u8], action: u8) -> u128 {
    let mut bits = 0;
    let mut at = 1;
    while at < usage.len() {
        let allowed = if at == 1 { usage[1] | action } else { usage[at] };
        let allowed = if at == usage.len() - 1 { allowed & !NACA } else { allowed };
        bits |= (!allowed as u128) << (8 * (15 - at));
        at += 1;
    }
    bits
}

/// All commands, ascending by operation code; service actions of one stand together.
///
/// GROUP NUMBER may be set and RARC of a READ too: both are hints to functions that this disk does not have, and are
/// ignored by a disk without them (SBC-4, grouping function and rebuild assist mode).
#[rustfmt::skip]
pub(super) static TABLE: &[Entry] = &[
    entry(&[Opcode::TEST_UNIT_READY.0, 0, 0, 0, 0, CONTROL], |_| Command::TestUnitReady),
    entry(&[Opcode::REQUEST_SENSE.0, 0x01, 0, 0, 0xff, CONTROL], d::request_sense),
    lasting(refusing(entry(&[Opcode::FORMAT_UNIT.0, 0x3f, 0, 0, 0, CONTROL], d::format_unit), FORMAT)),
    entry(&[Opcode::REASSIGN_BLOCKS.0, 0x03, 0, 0, 0, CONTROL], d::reassign_blocks),
    entry(&[Opcode::READ_6.0, 0x1f, 0xff, 0xff, 0xff, CONTROL], |cdb| d::read(cdb, CdbForm::Six)),
    entry(&[Opcode::WRITE_6.0, 0x1f, 0xff, 0xff, 0xff, CONTROL], |cdb| d::write(cdb, CdbForm::Six)),
    entry(&[Opcode::INQUIRY.0, 0x01, 0xff, 0xff, 0xff, CONTROL], d::inquiry),
    entry(&[Opcode::MODE_SELECT_6.0, 0x11, 0, 0, 0xff, CONTROL], d::mode_select_6),
    entry(&[Opcode::RESERVE_6.0, 0, 0, 0, 0, CONTROL], |_| d::sharing(Sharing::Reserve)),
    entry(&[Opcode::RELEASE_6.0, 0, 0, 0, 0, CONTROL], |_| d::sharing(Sharing::Release)),
    entry(&[Opcode::MODE_SENSE_6.0, 0x08, 0xff, 0xff, 0xff, CONTROL], d::mode_sense_6),
    refusing(entry(&[Opcode::START_STOP_UNIT.0, 0x01, 0, 0, 0x07, CONTROL], d::start_stop_unit), POWER_CONDITION),
    entry(&[Opcode::RECEIVE_DIAGNOSTIC_RESULTS.0, 0x01, 0xff, 0xff, 0xff, CONTROL], d::receive_diagnostic_results),
    entry(&[Opcode::SEND_DIAGNOSTIC.0, 0xf7, 0, 0xff, 0xff, CONTROL], d::send_diagnostic),
    entry(&[Opcode::PREVENT_ALLOW_MEDIUM_REMOVAL.0, 0, 0, 0, 0x01, CONTROL], |cdb| {
        Command::PreventAllowMediumRemoval { prevent: cdb[4] & 1 != 0 }
    }),
    entry(&[Opcode::READ_CAPACITY_10.0, 0, 0, 0, 0, 0, 0, 0, 0, CONTROL], |_| Command::ReadCapacity10),
    refusing(entry(&[Opcode::READ_10.0, 0x1c, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, CONTROL],
        |cdb| d::read(cdb, CdbForm::Ten)), PROTECT),
    refusing(entry(&[Opcode::WRITE_10.0, 0x18, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, CONTROL],
        |cdb| d::write(cdb, CdbForm::Ten)), PROTECT),
    refusing(entry(&[Opcode::WRITE_AND_VERIFY_10.0, 0x16, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, CONTROL],
        |cdb| d::write_and_verify(cdb, CdbForm::Ten)), PROTECT),
    refusing(entry(&[Opcode::VERIFY_10.0, 0x16, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, CONTROL],
        |cdb| d::verify(cdb, CdbForm::Ten)), PROTECT),
    entry(&[Opcode::PRE_FETCH_10.0, 0x02, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, CONTROL],
        |cdb| d::pre_fetch(cdb, CdbForm::Ten)),
    entry(&[Opcode::SYNCHRONIZE_CACHE_10.0, 0x06, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, CONTROL],
        d::synchronize_cache_10),
    entry(&[Opcode::READ_DEFECT_DATA_10.0, 0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, CONTROL], d::read_defect_data_10),
    entry(&[Opcode::WRITE_BUFFER.0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, CONTROL], d::write_buffer),
    entry(&[Opcode::READ_BUFFER_10.0, 0x1f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, CONTROL], d::read_buffer_10),
    refusing(entry(&[Opcode::WRITE_SAME_10.0, 0x18, 0xff, 0xff, 0xff, 0xff, 0x3f, 0xff, 0xff, CONTROL],
        |cdb| d::write_same(cdb, CdbForm::Ten)), PROTECT),
    entry(&[Opcode::UNMAP.0, 0x01, 0, 0, 0, 0, 0x3f, 0xff, 0xff, CONTROL], d::unmap),
    lasting(service_action(&[Opcode::SANITIZE.0, 0xe0 | sanitize::OVERWRITE, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL], d::sanitize)),
    lasting(service_action(&[Opcode::SANITIZE.0, 0xe0 | sanitize::BLOCK_ERASE, 0, 0, 0, 0, 0, 0, 0, CONTROL], d::sanitize)),
    service_action(&[Opcode::SANITIZE.0, 0xe0 | sanitize::EXIT_FAILURE_MODE, 0, 0, 0, 0, 0, 0, 0, CONTROL], d::sanitize),
    entry(&[Opcode::LOG_SELECT.0, 0, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, CONTROL], d::log_select),
    entry(&[Opcode::LOG_SENSE.0, 0, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::log_sense),
    entry(&[Opcode::MODE_SELECT_10.0, 0x11, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL], d::mode_select_10),
    entry(&[Opcode::RESERVE_10.0, 0, 0, 0, 0, 0, 0, 0, 0, CONTROL], |_| d::sharing(Sharing::Reserve)),
    entry(&[Opcode::RELEASE_10.0, 0, 0, 0, 0, 0, 0, 0, 0, CONTROL], |_| d::sharing(Sharing::Release)),
    entry(&[Opcode::MODE_SENSE_10.0, 0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff, CONTROL], d::mode_sense_10),
    service_action(&[Opcode::PERSISTENT_RESERVE_IN.0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL], d::persistent_in),
    service_action(&[Opcode::PERSISTENT_RESERVE_IN.0, 1, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL], d::persistent_in),
    service_action(&[Opcode::PERSISTENT_RESERVE_IN.0, 2, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL], d::persistent_in),
    service_action(&[Opcode::PERSISTENT_RESERVE_IN.0, 3, 0, 0, 0, 0, 0, 0xff, 0xff, CONTROL], d::persistent_in),
    service_action(&[Opcode::PERSISTENT_RESERVE_OUT.0, 0, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::persistent_out),
    service_action(&[Opcode::PERSISTENT_RESERVE_OUT.0, 1, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::persistent_out),
    service_action(&[Opcode::PERSISTENT_RESERVE_OUT.0, 2, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::persistent_out),
    service_action(&[Opcode::PERSISTENT_RESERVE_OUT.0, 3, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::persistent_out),
    service_action(&[Opcode::PERSISTENT_RESERVE_OUT.0, 4, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::persistent_out),
    service_action(&[Opcode::PERSISTENT_RESERVE_OUT.0, 5, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::persistent_out),
    service_action(&[Opcode::PERSISTENT_RESERVE_OUT.0, 6, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::persistent_out),
    service_action(&[Opcode::PERSISTENT_RESERVE_OUT.0, 7, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::persistent_out),
    service_action(&[Opcode::PERSISTENT_RESERVE_OUT.0, 8, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, CONTROL], d::persistent_out),
    lasting(service_action(&[Opcode::THIRD_PARTY_COPY_OUT.0, copy_out::EXTENDED_COPY_LID1, 0, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::extended_copy)),
    lasting(service_action(&[Opcode::THIRD_PARTY_COPY_OUT.0, copy_out::EXTENDED_COPY_LID4, 0, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::extended_copy)),
    service_action(&[Opcode::THIRD_PARTY_COPY_OUT.0, copy_out::POPULATE_TOKEN, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], d::populate_token),
    service_action(&[Opcode::THIRD_PARTY_COPY_OUT.0, copy_out::WRITE_USING_TOKEN, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], d::write_using_token),
    service_action(&[Opcode::THIRD_PARTY_COPY_OUT.0, copy_out::COPY_OPERATION_ABORT, 0xff, 0xff, 0xff, 0xff,
        0, 0, 0, 0, 0, 0, 0, 0, 0, CONTROL], d::copy_abort),
    service_action(&[Opcode::THIRD_PARTY_COPY_IN.0, copy_in::COPY_STATUS_LID1, 0xff, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], |cdb| d::copy_result_1(cdb, CopyResult::Status)),
    service_action(&[Opcode::THIRD_PARTY_COPY_IN.0, copy_in::COPY_DATA_LID1, 0xff, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], |cdb| d::copy_result_1(cdb, CopyResult::Data)),
    service_action(&[Opcode::THIRD_PARTY_COPY_IN.0, copy_in::OPERATING_PARAMETERS, 0, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], |cdb| d::copy_result_0(cdb, CopyResult::OperatingParameters)),
    service_action(&[Opcode::THIRD_PARTY_COPY_IN.0, copy_in::FAILURE_DETAILS_LID1, 0xff, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], |cdb| d::copy_result_1(cdb, CopyResult::FailureDetails)),
    service_action(&[Opcode::THIRD_PARTY_COPY_IN.0, copy_in::COPY_STATUS_LID4, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], |cdb| d::copy_result_4(cdb, CopyResult::Status4)),
    service_action(&[Opcode::THIRD_PARTY_COPY_IN.0, copy_in::ROD_TOKEN_INFORMATION, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], |cdb| d::copy_result_4(cdb, CopyResult::RodToken)),
    service_action(&[Opcode::THIRD_PARTY_COPY_IN.0, copy_in::REPORT_ALL_ROD_TOKENS, 0, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], |cdb| d::copy_result_0(cdb, CopyResult::RodTokens)),
    refusing(entry(&[Opcode::READ_16.0, 0x1c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], |cdb| d::read(cdb, CdbForm::Sixteen)), PROTECT),
    refusing(entry(&[Opcode::COMPARE_AND_WRITE.0, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0, 0, 0, 0xff, 0x3f, CONTROL], d::compare_and_write), PROTECT),
    refusing(entry(&[Opcode::WRITE_16.0, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], |cdb| d::write(cdb, CdbForm::Sixteen)), PROTECT),
    refusing(entry(&[Opcode::ORWRITE_16.0, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], d::or_write), PROTECT),
    refusing(entry(&[Opcode::WRITE_AND_VERIFY_16.0, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], |cdb| d::write_and_verify(cdb, CdbForm::Sixteen)), PROTECT),
    refusing(entry(&[Opcode::VERIFY_16.0, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], |cdb| d::verify(cdb, CdbForm::Sixteen)), PROTECT),
    entry(&[Opcode::PRE_FETCH_16.0, 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], |cdb| d::pre_fetch(cdb, CdbForm::Sixteen)),
    entry(&[Opcode::SYNCHRONIZE_CACHE_16.0, 0x06, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], d::synchronize_cache_16),
    refusing(entry(&[Opcode::WRITE_SAME_16.0, 0x19, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], |cdb| d::write_same(cdb, CdbForm::Sixteen)), PROTECT),
    refusing(entry(&[Opcode::WRITE_ATOMIC_16.0, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL], d::write_atomic_16), PROTECT),
    service_action(&[Opcode::SERVICE_ACTION_IN_16.0, SERVICE_ACTION_READ_CAPACITY_16, 0, 0, 0, 0, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::read_capacity_16),
    service_action(&[Opcode::SERVICE_ACTION_IN_16.0, SERVICE_ACTION_GET_LBA_STATUS_16, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::get_lba_status_16),
    entry(&[Opcode::REPORT_LUNS.0, 0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::report_luns),
    service_action(&[Opcode::MAINTENANCE_IN.0, maintenance_in::REPORT_IDENTIFYING_INFORMATION, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0xfe, CONTROL], d::report_identifying),
    service_action(&[Opcode::MAINTENANCE_IN.0, 0xe0 | maintenance_in::REPORT_TARGET_PORT_GROUPS, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::report_port_groups),
    service_action(&[Opcode::MAINTENANCE_IN.0, maintenance_in::REPORT_SUPPORTED_OPCODES, 0x87, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::report_opcodes),
    service_action(&[Opcode::MAINTENANCE_IN.0, maintenance_in::REPORT_SUPPORTED_TASK_FUNCTIONS, 0x80, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::report_task_functions),
    service_action(&[Opcode::MAINTENANCE_IN.0, maintenance_in::REPORT_TIMESTAMP, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::report_timestamp),
    service_action(&[Opcode::MAINTENANCE_OUT.0, maintenance_out::SET_IDENTIFYING_INFORMATION, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0xfe, CONTROL], d::set_identifying),
    service_action(&[Opcode::MAINTENANCE_OUT.0, maintenance_out::SET_TARGET_PORT_GROUPS, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::set_port_groups),
    service_action(&[Opcode::MAINTENANCE_OUT.0, maintenance_out::SET_TIMESTAMP, 0, 0, 0, 0,
        0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::set_timestamp),
    refusing(entry(&[Opcode::READ_12.0, 0x1c, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL],
        |cdb| d::read(cdb, CdbForm::Twelve)), PROTECT),
    refusing(entry(&[Opcode::WRITE_12.0, 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL],
        |cdb| d::write(cdb, CdbForm::Twelve)), PROTECT),
    refusing(entry(&[Opcode::WRITE_AND_VERIFY_12.0, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL],
        |cdb| d::write_and_verify(cdb, CdbForm::Twelve)), PROTECT),
    refusing(entry(&[Opcode::VERIFY_12.0, 0x16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, CONTROL],
        |cdb| d::verify(cdb, CdbForm::Twelve)), PROTECT),
    entry(&[Opcode::READ_DEFECT_DATA_12.0, 0x1f, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, CONTROL], d::read_defect_data_12),
];

/// Where the entries of each operation code begin and end.
static RANGES: [(u8, u8); 256] = ranges();

const fn ranges() -> [(u8, u8); 256] {
    assert!(TABLE.len() <= u8::MAX as usize, "an index into the table fits a byte");
    let mut ranges = [(0, 0); 256];
    let mut at = 0;
    while at < TABLE.len() {
        let opcode = TABLE[at].usage[0] as usize;
        if ranges[opcode].1 == 0 {
            ranges[opcode].0 = at as u8;
        } else {
            assert!(ranges[opcode].1 == at as u8, "the entries of an operation code stand together");
        }
        ranges[opcode].1 = at as u8 + 1;
        at += 1;
    }
    ranges
}

/// The entries of an operation code: none if it is not supported, several if it has service actions.
#[inline]
pub(super) fn entries_of(opcode: u8) -> &'static [Entry] {
    let (first, end) = RANGES[opcode as usize];
    &TABLE[first as usize..end as usize]
}

/// The bits that may not be set in a CDB with this operation code, which has no service actions.
pub(super) const fn reserved_of(opcode: Opcode) -> u128 {
    let (first, end) = RANGES[opcode.0 as usize];
    assert!(first + 1 == end, "one entry");
    TABLE[first as usize].reserved
}

//! Commands that are rarely sent: each field of each CDB.

use super::*;
use crate::scsi::identifying::ReportIdentifying;
use crate::scsi::log::{LogControl, LogSelect, LogSense};
use crate::scsi::long::{FormatUnit, Sanitize, SanitizeAction};
use crate::scsi::mode::ModeSelect;
use crate::scsi::opcodes::SupportedOpcodes;
use crate::scsi::query::{CopyResult, Query};
use crate::scsi::sharing::Sharing;

fn long(command: LongCommand) -> Command {
    Command::Long(command)
}

fn setting(setting: Setting) -> Command {
    long(LongCommand::Setting(setting))
}

#[test]
fn mode_select() {
    let select =
        |ten, pf, sp, parameter_list_length| setting(Setting::Mode(ModeSelect { ten, pf, sp, parameter_list_length }));
    decodes(&[0x15, 0x10, 0, 0, 24, 0], select(false, true, false, 24));
    decodes(&[0x15, 0x01, 0, 0, 255, 0], select(false, false, true, 255));
    decodes(&[0x55, 0x11, 0, 0, 0, 0, 0, 1, 2, 0], select(true, true, true, 0x0102));
    assert_eq!(decode(&[0x15, 0x12, 0, 0, 24, 0]), Err(Sense::invalid_field(1, Some(1))), "RTD");
}

#[test]
fn log_pages() {
    let sense = LogSense {
        control: LogControl(2),
        page: 0x15,
        subpage: 0x16,
        parameter_pointer: 0x0102,
        allocation_length: 0x0304,
    };
    decodes(&[0x4d, 0, 0x95, 0x16, 0, 1, 2, 3, 4, 0], Command::Query(Query::LogSense(sense)));
    assert_eq!(decode(&[0x4d, 0x02, 0x55, 0, 0, 0, 0, 0, 4, 0]), Err(Sense::invalid_field(1, Some(1))), "PPC");
    assert_eq!(decode(&[0x4d, 0x01, 0x55, 0, 0, 0, 0, 0, 4, 0]), Err(Sense::invalid_field(1, Some(0))), "SP");
    let select = LogSelect { control: LogControl(3), page: 0x02, subpage: 0x05, parameter_list_length: 0x0102 };
    decodes(&[0x4c, 0, 0xc2, 0x05, 0, 0, 0, 1, 2, 0], setting(Setting::Log(select)));
    assert_eq!(decode(&[0x4c, 0x01, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Sense::invalid_field(1, Some(0))), "SP");
    assert_eq!(decode(&[0x4c, 0x02, 0x40, 0, 0, 0, 0, 0, 0, 0]), Err(Sense::invalid_field(1, Some(1))), "PCR");
}

#[test]
fn work_on_the_whole_medium() {
    let format = |has_list, long_list, list_format| {
        long(LongCommand::FormatUnit(FormatUnit { has_list, long_list, list_format }))
    };
    decodes(&[0x04, 0x1d, 0, 0, 0, 0], format(true, false, 5));
    decodes(&[0x04, 0x30, 0, 0, 0, 0], format(true, true, 0));
    assert_eq!(decode(&[0x04, 0x40, 0, 0, 0, 0]), Err(Sense::invalid_field(1, Some(7))), "FMTPINFO");
    let sanitize = |action, immed, may_exit| long(LongCommand::Sanitize(Sanitize { action, immed, may_exit }));
    let overwrite = SanitizeAction::Overwrite { parameter_list_length: 0x0102 };
    decodes(&[0x48, 0x81, 0, 0, 0, 0, 0, 1, 2, 0], sanitize(overwrite, true, false));
    decodes(&[0x48, 0x22, 0, 0, 0, 0, 0, 0, 0, 0], sanitize(SanitizeAction::BlockErase, false, true));
    decodes(&[0x48, 0x1f, 0, 0, 0, 0, 0, 0, 0, 0], sanitize(SanitizeAction::ExitFailureMode, false, false));
    assert_eq!(decode(&[0x48, 0x03, 0, 0, 0, 0, 0, 0, 0, 0]), Err(Sense::invalid_field(1, Some(4))), "no key to erase");
}

#[test]
fn reservations() {
    let sharing = |sharing| long(LongCommand::Sharing(sharing));
    decodes(&[0x16, 0, 0, 0, 0, 0], sharing(Sharing::Reserve));
    decodes(&[0x17, 0, 0, 0, 0, 0], sharing(Sharing::Release));
    decodes(&[0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0], sharing(Sharing::Reserve));
    decodes(&[0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0], sharing(Sharing::Release));
    for service_action in 0..4 {
        let command = Command::Query(Query::PersistentIn { service_action, allocation_length: 0x0102 });
        decodes(&[0x5e, service_action, 0, 0, 0, 0, 0, 1, 2, 0], command);
    }
    for service_action in 0..9 {
        let command =
            Sharing::PersistentOut { service_action, scope_and_type: 0x15, parameter_list_length: 0x0102_0304 };
        let cdb = [0x5f, service_action, 0x15, 0, 0, 1, 2, 3, 4, 0];
        // REGISTER, REGISTER AND IGNORE EXISTING KEY and CLEAR have no type.
        decodes(&cdb, sharing(command));
    }
    for (opcode, action) in [(0x5e, 4), (0x5e, 0x1f), (0x5f, 9)] {
        let cdb = [opcode, action, 0, 0, 0, 0, 0, 0, 24, 0];
        assert_eq!(decode(&cdb), Err(Sense::invalid_field(1, Some(4))), "{cdb:02x?}");
    }
}

#[test]
fn copies() {
    let out = |service_action: u8| [0x83, service_action, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0];
    let copy = |lid4| Command::Long(LongCommand::ExtendedCopy { lid4, parameter_list_length: 0x0102_0304 });
    decodes(&out(0), copy(false));
    decodes(&out(1), copy(true));
    let (list_id, parameter_list_length) = (0x0506_0708, 0x0102_0304);
    let with_id = |service_action: u8| [0x83, service_action, 0, 0, 0, 0, 5, 6, 7, 8, 1, 2, 3, 4, 0x3f, 0];
    decodes(&with_id(0x10), Command::Long(LongCommand::PopulateToken { list_id, parameter_list_length }));
    decodes(&with_id(0x11), Command::Long(LongCommand::WriteUsingToken { list_id, parameter_list_length }));
    let abort = [0x83, 0x1c, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    decodes(&abort, Command::Long(LongCommand::CopyAbort { list_id }));
    let asks = |what, list_id| Command::Query(Query::Copy { what, list_id, allocation_length: 0x0102_0304 });
    let one = |service_action: u8| [0x84, service_action, 9, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0];
    decodes(&one(0), asks(CopyResult::Status, 9));
    decodes(&one(1), asks(CopyResult::Data, 9));
    decodes(&one(4), asks(CopyResult::FailureDetails, 9));
    let four = |service_action: u8| [0x84, service_action, 5, 6, 7, 8, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0];
    decodes(&four(5), asks(CopyResult::Status4, list_id));
    decodes(&four(7), asks(CopyResult::RodToken, list_id));
    let none = |service_action: u8| [0x84, service_action, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0];
    decodes(&none(3), asks(CopyResult::OperatingParameters, 0));
    decodes(&none(8), asks(CopyResult::RodTokens, 0));
}

#[test]
fn maintenance() {
    let allocation_length = 0x0102_0304;
    let report = |query| Command::Query(query);
    let identifying = ReportIdentifying { information_type: 0x7f, allocation_length };
    decodes(&[0xa3, 0x05, 0, 0, 0, 0, 1, 2, 3, 4, 0xfe, 0], report(Query::Identifying(identifying)));
    decodes(&[0xa3, 0x2a, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0], report(Query::PortGroups { format: 1, allocation_length }));
    let opcodes = SupportedOpcodes { wanted: 0x83, opcode: 0x93, service_action: 0x0506, allocation_length };
    decodes(&[0xa3, 0x0c, 0x83, 0x93, 5, 6, 1, 2, 3, 4, 0, 0], report(Query::SupportedOpcodes(opcodes)));
    let functions = Query::SupportedTaskFunctions { repd: true, allocation_length };
    decodes(&[0xa3, 0x0d, 0x80, 0, 0, 0, 1, 2, 3, 4, 0, 0], report(functions));
    decodes(&[0xa3, 0x0f, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0], report(Query::Timestamp { allocation_length }));
    let parameter_list_length = 0x0102_0304;
    let identifying = Setting::Identifying { information_type: 2, parameter_list_length };
    decodes(&[0xa4, 0x06, 0, 0, 0, 0, 1, 2, 3, 4, 0x04, 0], setting(identifying));
    let groups = LongCommand::Sharing(Sharing::SetPortGroups { parameter_list_length });
    decodes(&[0xa4, 0x0a, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0], long(groups));
    decodes(&[0xa4, 0x0f, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0], setting(Setting::Timestamp { parameter_list_length }));
}

/// Tests of this file and the one above that have CDBs decoded.
const TESTS: [fn(); 26] = [
    read_6,
    write_6,
    read_10_12_16,
    write_10_12_16,
    hints_are_ignored,
    verify_and_write_and_verify,
    write_same,
    commands_that_are_atomic,
    unmap_and_get_lba_status,
    buffers,
    defects,
    diagnostics,
    pre_fetch,
    synchronize_cache,
    test_unit_ready_and_request_sense,
    inquiry,
    mode_sense,
    read_capacity,
    start_stop_unit,
    report_luns,
    mode_select,
    log_pages,
    work_on_the_whole_medium,
    reservations,
    copies,
    maintenance,
];

/// Whoever adds a command adds the bytes of a CDB that is decoded to a test.
#[test]
fn no_command_is_left_out() {
    TESTS.iter().for_each(|test| test());
    let decoded = DECODED.take();
    for entry in table::TABLE {
        let is_its = |cdb: &[u8; 2]| {
            cdb[0] == entry.usage[0] && entry.service_action.is_none_or(|action| cdb[1] & 0x1f == action)
        };
        let name = (entry.usage[0], entry.service_action);
        assert!(
            decoded.iter().any(is_its),
            "no test has a CDB decoded with operation code, service action {name:02x?}"
        );
    }
}

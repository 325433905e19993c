//! Where each field stands in its CDB (SPC-5, SBC-4). All bits that may not be set have been found clear before.

use super::super::command::{
    Be24, BufferAccess, ByteCheck, CdbForm, Command, ModeSense, PageControl, RangeCommand, RangeFlags, ReadDefectData,
};
use super::super::diagnostics::DiagnosticPage;
use super::super::identifying::ReportIdentifying;
use super::super::log::{LogControl, LogSelect, LogSense};
use super::super::long::{FormatUnit, LongCommand, Sanitize, SanitizeAction};
use super::super::mode::ModeSelect;
use super::super::opcodes::SupportedOpcodes;
use super::super::query::{CopyResult, Query};
use super::super::setting::Setting;
use super::super::sharing::Sharing;
use super::super::spec::{copy_out, sanitize as action};
use super::Cdb;

fn be16(cdb: &Cdb, at: usize) -> u16 {
    u16::from_be_bytes([cdb[at], cdb[at + 1]])
}

fn be32(cdb: &Cdb, at: usize) -> u32 {
    u32::from_be_bytes([cdb[at], cdb[at + 1], cdb[at + 2], cdb[at + 3]])
}

fn be64(cdb: &Cdb, at: usize) -> u64 {
    u64::from(be32(cdb, at)) << 32 | u64::from(be32(cdb, at + 4))
}

const fn bit(byte: u8, bit: u8) -> bool {
    byte & 1 << bit != 0
}

/// LBA and TRANSFER LENGTH of READ and WRITE. Only in the form of 6 bytes a length of 0 means 256 blocks.
#[inline(always)]
fn range(cdb: &Cdb, form: CdbForm) -> (u64, u32) {
    match form {
        CdbForm::Six => {
            let lba = be32(cdb, 0) & 0x001f_ffff;
            (lba.into(), if cdb[4] == 0 { 256 } else { cdb[4].into() })
        }
        CdbForm::Ten => (be32(cdb, 2).into(), be16(cdb, 7).into()),
        CdbForm::Twelve => (be32(cdb, 2).into(), be32(cdb, 6)),
        CdbForm::Sixteen => (be64(cdb, 2), be32(cdb, 10)),
    }
}

/// DPO and FUA; the form of 6 bytes has an address in their place.
#[inline(always)]
fn dpo_fua(cdb: &Cdb, form: CdbForm) -> (bool, bool) {
    match form {
        CdbForm::Six => (false, false),
        CdbForm::Ten | CdbForm::Twelve | CdbForm::Sixteen => (bit(cdb[1], 4), bit(cdb[1], 3)),
    }
}

#[inline(always)]
pub(super) fn read(cdb: &Cdb, form: CdbForm) -> Command {
    let (lba, blocks) = range(cdb, form);
    let (dpo, fua) = dpo_fua(cdb, form);
    Command::Read { lba, blocks, dpo, fua, form }
}

#[inline(always)]
pub(super) fn write(cdb: &Cdb, form: CdbForm) -> Command {
    let (lba, blocks) = range(cdb, form);
    let (dpo, fua) = dpo_fua(cdb, form);
    Command::Write { lba, blocks, dpo, fua, form }
}

pub(super) fn verify(cdb: &Cdb, form: CdbForm) -> Command {
    on_range(cdb, form, RangeCommand::Verify(byte_check(cdb)))
}

pub(super) fn write_and_verify(cdb: &Cdb, form: CdbForm) -> Command {
    on_range(cdb, form, RangeCommand::WriteAndVerify(byte_check(cdb)))
}

pub(super) fn or_write(cdb: &Cdb) -> Command {
    on_range(cdb, CdbForm::Sixteen, RangeCommand::OrWrite(fua(cdb)))
}

pub(super) fn write_same(cdb: &Cdb, form: CdbForm) -> Command {
    let mut flags = RangeFlags::empty();
    flags.set(RangeFlags::UNMAP, bit(cdb[1], 3));
    flags.set(RangeFlags::ANCHOR, bit(cdb[1], 4));
    flags.set(RangeFlags::NDOB, form == CdbForm::Sixteen && bit(cdb[1], 0));
    on_range(cdb, form, RangeCommand::WriteSame(flags))
}

pub(super) fn compare_and_write(cdb: &Cdb) -> Command {
    let what = RangeCommand::CompareAndWrite(fua(cdb));
    Command::OnRange { what, lba: be64(cdb, 2), blocks: cdb[13].into(), form: CdbForm::Sixteen }
}

pub(super) fn write_atomic_16(cdb: &Cdb) -> Command {
    let mut flags = fua(cdb);
    flags.set(RangeFlags::BOUNDARY, be16(cdb, 10) != 0);
    let what = RangeCommand::WriteAtomic(flags);
    Command::OnRange { what, lba: be64(cdb, 2), blocks: be16(cdb, 12).into(), form: CdbForm::Sixteen }
}

pub(super) fn get_lba_status_16(cdb: &Cdb) -> Command {
    Command::GetLbaStatus { lba: be64(cdb, 2), allocation_length: be32(cdb, 10) }
}

pub(super) fn pre_fetch(cdb: &Cdb, form: CdbForm) -> Command {
    let (lba, blocks) = range(cdb, form);
    Command::PreFetch { lba, blocks, immed: bit(cdb[1], 1) }
}

pub(super) fn read_defect_data_10(cdb: &Cdb) -> Command {
    let allocation_length = be16(cdb, 7).into();
    Command::ReadDefectData(ReadDefectData { twelve: false, wanted: cdb[2] & 0x1f, allocation_length })
}

pub(super) fn read_defect_data_12(cdb: &Cdb) -> Command {
    Command::ReadDefectData(ReadDefectData { twelve: true, wanted: cdb[1] & 0x1f, allocation_length: be32(cdb, 6) })
}

fn buffer(cdb: &Cdb) -> BufferAccess {
    let be24 = |at: usize| Be24([cdb[at], cdb[at + 1], cdb[at + 2]]);
    BufferAccess { mode: cdb[1] & 0x1f, id: cdb[2], offset: be24(3), len: be24(6) }
}

pub(super) fn read_buffer_10(cdb: &Cdb) -> Command {
    Command::ReadBuffer(buffer(cdb))
}

pub(super) fn write_buffer(cdb: &Cdb) -> Command {
    Command::Long(LongCommand::WriteBuffer(buffer(cdb)))
}

pub(super) fn send_diagnostic(cdb: &Cdb) -> Command {
    let (default, code) = (bit(cdb[1], 2), cdb[1] >> 5);
    match be16(cdb, 3) {
        0 => Command::Long(LongCommand::SelfTest { default, code }),
        parameter_list_length => setting(Setting::Diagnostic(DiagnosticPage {
            pf: bit(cdb[1], 4),
            with_self_test: default || code != 0,
            parameter_list_length,
        })),
    }
}

pub(super) fn receive_diagnostic_results(cdb: &Cdb) -> Command {
    let page = bit(cdb[1], 0).then_some(cdb[2]);
    Command::ReceiveDiagnosticResults { page, allocation_length: be16(cdb, 3) }
}

pub(super) fn reassign_blocks(cdb: &Cdb) -> Command {
    Command::Long(LongCommand::ReassignBlocks { long_lba: bit(cdb[1], 1), long_list: bit(cdb[1], 0) })
}

pub(super) fn unmap(cdb: &Cdb) -> Command {
    Command::Long(LongCommand::Unmap { anchor: bit(cdb[1], 0), parameter_list_length: be16(cdb, 7) })
}

pub(super) fn extended_copy(cdb: &Cdb) -> Command {
    let (lid4, parameter_list_length) = (cdb[1] & 0x1f == copy_out::EXTENDED_COPY_LID4, be32(cdb, 10));
    Command::Long(LongCommand::ExtendedCopy { lid4, parameter_list_length })
}

pub(super) fn populate_token(cdb: &Cdb) -> Command {
    Command::Long(LongCommand::PopulateToken { list_id: be32(cdb, 6), parameter_list_length: be32(cdb, 10) })
}

pub(super) fn write_using_token(cdb: &Cdb) -> Command {
    Command::Long(LongCommand::WriteUsingToken { list_id: be32(cdb, 6), parameter_list_length: be32(cdb, 10) })
}

pub(super) fn copy_abort(cdb: &Cdb) -> Command {
    Command::Long(LongCommand::CopyAbort { list_id: be32(cdb, 2) })
}

fn copy_result(cdb: &Cdb, what: CopyResult, list_id: u32) -> Command {
    Command::Query(Query::Copy { what, list_id, allocation_length: be32(cdb, 10) })
}

/// What asks about no copy in particular.
pub(super) fn copy_result_0(cdb: &Cdb, what: CopyResult) -> Command {
    copy_result(cdb, what, 0)
}

/// What asks by a list identifier of one byte.
pub(super) fn copy_result_1(cdb: &Cdb, what: CopyResult) -> Command {
    copy_result(cdb, what, cdb[2].into())
}

/// What asks by a list identifier of four bytes.
pub(super) fn copy_result_4(cdb: &Cdb, what: CopyResult) -> Command {
    copy_result(cdb, what, be32(cdb, 2))
}

pub(super) fn format_unit(cdb: &Cdb) -> Command {
    let (has_list, long_list) = (bit(cdb[1], 4), bit(cdb[1], 5));
    Command::Long(LongCommand::FormatUnit(FormatUnit { has_list, long_list, list_format: cdb[1] & 0x07 }))
}

pub(super) fn sanitize(cdb: &Cdb) -> Command {
    let action = match cdb[1] & 0x1f {
        action::OVERWRITE => SanitizeAction::Overwrite { parameter_list_length: be16(cdb, 7) },
        action::BLOCK_ERASE => SanitizeAction::BlockErase,
        _ => SanitizeAction::ExitFailureMode,
    };
    Command::Long(LongCommand::Sanitize(Sanitize { action, immed: bit(cdb[1], 7), may_exit: bit(cdb[1], 5) }))
}

fn on_range(cdb: &Cdb, form: CdbForm, what: RangeCommand) -> Command {
    let (lba, blocks) = range(cdb, form);
    Command::OnRange { what, lba, blocks, form }
}

fn fua(cdb: &Cdb) -> RangeFlags {
    if bit(cdb[1], 3) { RangeFlags::FUA } else { RangeFlags::empty() }
}

fn byte_check(cdb: &Cdb) -> ByteCheck {
    ByteCheck(cdb[1] >> 1 & 3)
}

/// SYNC_NV asks for less than is done.
pub(super) fn synchronize_cache_10(cdb: &Cdb) -> Command {
    Command::SynchronizeCache { lba: be32(cdb, 2).into(), blocks: be16(cdb, 7).into(), immed: bit(cdb[1], 1) }
}

pub(super) fn synchronize_cache_16(cdb: &Cdb) -> Command {
    Command::SynchronizeCache { lba: be64(cdb, 2), blocks: be32(cdb, 10), immed: bit(cdb[1], 1) }
}

pub(super) fn request_sense(cdb: &Cdb) -> Command {
    Command::RequestSense { desc: bit(cdb[1], 0), allocation_length: cdb[4] }
}

pub(super) fn inquiry(cdb: &Cdb) -> Command {
    Command::Inquiry { evpd: bit(cdb[1], 0), page: cdb[2], allocation_length: be16(cdb, 3) }
}

fn mode_sense(cdb: &Cdb, ten: bool, allocation_length: u16) -> Command {
    let control = match cdb[2] >> 6 {
        0 => PageControl::Current,
        1 => PageControl::Changeable,
        2 => PageControl::Default,
        _ => PageControl::Saved,
    };
    Command::ModeSense(ModeSense {
        ten,
        llbaa: ten && bit(cdb[1], 4),
        dbd: bit(cdb[1], 3),
        control,
        page: cdb[2] & 0x3f,
        subpage: cdb[3],
        allocation_length,
    })
}

pub(super) fn mode_sense_6(cdb: &Cdb) -> Command {
    mode_sense(cdb, false, cdb[4].into())
}

pub(super) fn mode_sense_10(cdb: &Cdb) -> Command {
    mode_sense(cdb, true, be16(cdb, 7))
}

pub(super) fn start_stop_unit(cdb: &Cdb) -> Command {
    let (no_flush, load_eject, start) = (bit(cdb[4], 2), bit(cdb[4], 1), bit(cdb[4], 0));
    Command::StartStopUnit { immed: bit(cdb[1], 0), no_flush, load_eject, start }
}

pub(super) fn read_capacity_16(cdb: &Cdb) -> Command {
    Command::ReadCapacity16 { allocation_length: be32(cdb, 10) }
}

fn setting(setting: Setting) -> Command {
    Command::Long(LongCommand::Setting(setting))
}

fn mode_select(cdb: &Cdb, ten: bool, parameter_list_length: u16) -> Command {
    let (pf, sp) = (bit(cdb[1], 4), bit(cdb[1], 0));
    setting(Setting::Mode(ModeSelect { ten, pf, sp, parameter_list_length }))
}

pub(super) fn mode_select_6(cdb: &Cdb) -> Command {
    mode_select(cdb, false, cdb[4].into())
}

pub(super) fn mode_select_10(cdb: &Cdb) -> Command {
    mode_select(cdb, true, be16(cdb, 7))
}

pub(super) fn log_select(cdb: &Cdb) -> Command {
    let (control, page, subpage) = (LogControl(cdb[2] >> 6), cdb[2] & 0x3f, cdb[3]);
    setting(Setting::Log(LogSelect { control, page, subpage, parameter_list_length: be16(cdb, 7) }))
}

pub(super) fn set_timestamp(cdb: &Cdb) -> Command {
    setting(Setting::Timestamp { parameter_list_length: be32(cdb, 6) })
}

pub(super) fn set_identifying(cdb: &Cdb) -> Command {
    setting(Setting::Identifying { information_type: cdb[10] >> 1, parameter_list_length: be32(cdb, 6) })
}

pub(super) fn sharing(sharing: Sharing) -> Command {
    Command::Long(LongCommand::Sharing(sharing))
}

pub(super) fn persistent_in(cdb: &Cdb) -> Command {
    Command::Query(Query::PersistentIn { service_action: cdb[1] & 0x1f, allocation_length: be16(cdb, 7) })
}

pub(super) fn persistent_out(cdb: &Cdb) -> Command {
    let (service_action, scope_and_type) = (cdb[1] & 0x1f, cdb[2]);
    sharing(Sharing::PersistentOut { service_action, scope_and_type, parameter_list_length: be32(cdb, 5) })
}

pub(super) fn report_port_groups(cdb: &Cdb) -> Command {
    Command::Query(Query::PortGroups { format: cdb[1] >> 5, allocation_length: be32(cdb, 6) })
}

pub(super) fn set_port_groups(cdb: &Cdb) -> Command {
    sharing(Sharing::SetPortGroups { parameter_list_length: be32(cdb, 6) })
}

pub(super) fn log_sense(cdb: &Cdb) -> Command {
    Command::Query(Query::LogSense(LogSense {
        control: LogControl(cdb[2] >> 6),
        page: cdb[2] & 0x3f,
        subpage: cdb[3],
        parameter_pointer: be16(cdb, 5),
        allocation_length: be16(cdb, 7),
    }))
}

pub(super) fn report_opcodes(cdb: &Cdb) -> Command {
    Command::Query(Query::SupportedOpcodes(SupportedOpcodes {
        wanted: cdb[2] & 0x87,
        opcode: cdb[3],
        service_action: be16(cdb, 4),
        allocation_length: be32(cdb, 6),
    }))
}

pub(super) fn report_task_functions(cdb: &Cdb) -> Command {
    Command::Query(Query::SupportedTaskFunctions { repd: bit(cdb[2], 7), allocation_length: be32(cdb, 6) })
}

pub(super) fn report_timestamp(cdb: &Cdb) -> Command {
    Command::Query(Query::Timestamp { allocation_length: be32(cdb, 6) })
}

pub(super) fn report_identifying(cdb: &Cdb) -> Command {
    let (information_type, allocation_length) = (cdb[10] >> 1, be32(cdb, 6));
    Command::Query(Query::Identifying(ReportIdentifying { information_type, allocation_length }))
}

pub(super) fn report_luns(cdb: &Cdb) -> Command {
    Command::ReportLuns { select_report: cdb[2], allocation_length: be32(cdb, 6) }
}

mod checks;
mod cold;

use std::cell::RefCell;
use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::scsi::command::{
    Be24, BufferAccess, ByteCheck, CdbForm, ModeSense, PageControl, RangeCommand, RangeFlags, ReadDefectData,
};
use crate::scsi::diagnostics::DiagnosticPage;
use crate::scsi::long::LongCommand;
use crate::scsi::setting::Setting;

thread_local! {
    /// First two bytes of the CDBs that a thread's tests have had decoded.
    static DECODED: RefCell<BTreeSet<[u8; 2]>> = const { RefCell::new(BTreeSet::new()) };
}

#[track_caller]
fn decodes(cdb: &[u8], expected: Command) {
    assert_eq!(decode(cdb), Ok(expected));
    DECODED.with_borrow_mut(|decoded| decoded.insert([cdb[0], cdb[1]]));
    let mut longer = cdb.to_vec();
    longer.resize(32, 0xff);
    assert_eq!(decode(&longer), Ok(expected), "what follows the CDB is not looked at");
    for len in 1..cdb.len() {
        let missing = Sense::invalid_field(len as u16, None);
        let too_short = decode(&cdb[..len]);
        let action_missing = Sense::invalid_field(1, Some(4));
        assert!(too_short == Err(missing) || (len == 1 && too_short == Err(action_missing)), "{too_short:?}");
    }
}

#[test]
fn read_6() {
    let read = |lba, blocks| Command::Read { lba, blocks, dpo: false, fua: false, form: CdbForm::Six };
    decodes(&[0x08, 0x1f, 0xff, 0xfe, 0x10, 0], read(0x1f_fffe, 16));
    decodes(&[0x08, 0, 0, 1, 0, 0], read(1, 256));
}

#[test]
fn write_6() {
    let write = |lba, blocks| Command::Write { lba, blocks, dpo: false, fua: false, form: CdbForm::Six };
    decodes(&[0x0a, 0x12, 0x34, 0x56, 0xff, 0], write(0x12_3456, 255));
    decodes(&[0x0a, 0, 0, 1, 0, 0], write(1, 256));
}

#[test]
fn read_10_12_16() {
    decodes(
        &[0x28, 0x08, 0x12, 0x34, 0x56, 0x78, 0, 0x01, 0x02, 0],
        Command::Read { lba: 0x1234_5678, blocks: 0x102, dpo: false, fua: true, form: CdbForm::Ten },
    );
    decodes(
        &[0xa8, 0x10, 0xff, 0xff, 0xff, 0xff, 0x01, 0x02, 0x03, 0x04, 0, 0],
        Command::Read { lba: 0xffff_ffff, blocks: 0x0102_0304, dpo: true, fua: false, form: CdbForm::Twelve },
    );
    decodes(
        &[0x88, 0x18, 1, 2, 3, 4, 5, 6, 7, 8, 0xff, 0xff, 0xff, 0xff, 0, 0],
        Command::Read { lba: 0x0102_0304_0506_0708, blocks: u32::MAX, dpo: true, fua: true, form: CdbForm::Sixteen },
    );
}

#[test]
fn write_10_12_16() {
    decodes(
        &[0x2a, 0x08, 0x12, 0x34, 0x56, 0x78, 0, 0x01, 0x02, 0],
        Command::Write { lba: 0x1234_5678, blocks: 0x102, dpo: false, fua: true, form: CdbForm::Ten },
    );
    decodes(
        &[0xaa, 0x10, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0],
        Command::Write { lba: 9, blocks: 0, dpo: true, fua: false, form: CdbForm::Twelve },
    );
    decodes(
        &[0x8a, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0],
        Command::Write { lba: u64::MAX, blocks: 1, dpo: false, fua: false, form: CdbForm::Sixteen },
    );
}

#[test]
fn hints_are_ignored() {
    let read = |form| Command::Read { lba: 0, blocks: 1, dpo: false, fua: false, form };
    decodes(&[0x28, 0x04, 0, 0, 0, 0, 0x3f, 0, 1, 0], read(CdbForm::Ten));
    decodes(&[0xa8, 0x04, 0, 0, 0, 0, 0, 0, 0, 1, 0x3f, 0], read(CdbForm::Twelve));
    decodes(&[0x88, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x3f, 0], read(CdbForm::Sixteen));
}

fn on_range(what: RangeCommand, lba: u64, blocks: u32, form: CdbForm) -> Command {
    Command::OnRange { what, lba, blocks, form }
}

#[test]
fn verify_and_write_and_verify() {
    for (opcodes, what) in [
        ([0x2f, 0xaf, 0x8f], RangeCommand::Verify as fn(ByteCheck) -> RangeCommand),
        ([0x2e, 0xae, 0x8e], RangeCommand::WriteAndVerify),
    ] {
        let command = |check, lba, blocks, form| on_range(what(ByteCheck(check)), lba, blocks, form);
        decodes(&[opcodes[0], 0x12, 1, 2, 3, 4, 0x3f, 5, 6, 0], command(1, 0x0102_0304, 0x0506, CdbForm::Ten));
        let twelve = [opcodes[1], 0x06, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0];
        decodes(&twelve, command(3, 0x0102_0304, 0x0506_0708, CdbForm::Twelve));
        let sixteen = [opcodes[2], 0x04, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0];
        decodes(&sixteen, command(2, 0x0102_0304_0506_0708, 0x090a_0b0c, CdbForm::Sixteen));
    }
}

#[test]
fn write_same() {
    let command = |flags, lba, blocks, form| on_range(RangeCommand::WriteSame(flags), lba, blocks, form);
    let (unmap, ndob) = (RangeFlags::UNMAP, RangeFlags::NDOB);
    decodes(&[0x41, 0x08, 1, 2, 3, 4, 0x3f, 5, 6, 0], command(unmap, 0x0102_0304, 0x0506, CdbForm::Ten));
    decodes(&[0x41, 0x18, 0, 0, 0, 0, 0, 0, 1, 0], command(unmap | RangeFlags::ANCHOR, 0, 1, CdbForm::Ten));
    let sixteen = [0x93, 0x01, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x3f, 0];
    decodes(&sixteen, command(ndob, 0x0102_0304_0506_0708, 0x090a_0b0c, CdbForm::Sixteen));
}

#[test]
fn commands_that_are_atomic() {
    let (none, fua) = (RangeFlags::empty(), RangeFlags::FUA);
    let lba = 0x0102_0304_0506_0708;
    let head = |opcode, byte_1| [&[opcode, byte_1], &[1, 2, 3, 4, 5, 6, 7, 8][..]].concat();
    let cdb = |opcode, byte_1, rest: [u8; 6]| [head(opcode, byte_1), rest.to_vec()].concat();
    let command = |what, blocks| on_range(what, lba, blocks, CdbForm::Sixteen);
    decodes(&cdb(0x89, 0x08, [0, 0, 0, 255, 0x3f, 0]), command(RangeCommand::CompareAndWrite(fua), 255));
    decodes(&cdb(0x89, 0x10, [0, 0, 0, 0, 0, 0]), command(RangeCommand::CompareAndWrite(none), 0));
    decodes(&cdb(0x8b, 0x18, [1, 2, 3, 4, 0x3f, 0]), command(RangeCommand::OrWrite(fua), 0x0102_0304));
    decodes(&cdb(0x9c, 0x18, [0, 0, 1, 2, 0x3f, 0]), command(RangeCommand::WriteAtomic(fua), 0x0102));
    let boundary = RangeCommand::WriteAtomic(RangeFlags::BOUNDARY);
    decodes(&cdb(0x9c, 0, [1, 0, 0, 1, 0, 0]), command(boundary, 1));
    decodes(&cdb(0x9c, 0, [0, 1, 0, 1, 0, 0]), command(boundary, 1));
}

#[test]
fn unmap_and_get_lba_status() {
    let unmap = |anchor| Command::Long(LongCommand::Unmap { anchor, parameter_list_length: 0x0102 });
    decodes(&[0x42, 0, 0, 0, 0, 0, 0x3f, 1, 2, 0], unmap(false));
    decodes(&[0x42, 1, 0, 0, 0, 0, 0x3f, 1, 2, 0], unmap(true));
    decodes(
        &[0x9e, 0x12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0],
        Command::GetLbaStatus { lba: 0x0102_0304_0506_0708, allocation_length: 0x090a_0b0c },
    );
}

#[test]
fn buffers() {
    let access = BufferAccess { mode: 0x0a, id: 2, offset: Be24([3, 4, 5]), len: Be24([6, 7, 8]) };
    decodes(&[0x3c, 0x0a, 2, 3, 4, 5, 6, 7, 8, 0], Command::ReadBuffer(access));
    decodes(&[0x3b, 0x0a, 2, 3, 4, 5, 6, 7, 8, 0], Command::Long(LongCommand::WriteBuffer(access)));
    assert_eq!(access.offset.get(), 0x0003_0405);
}

#[test]
fn defects() {
    let read = |twelve, wanted, allocation_length| {
        Command::ReadDefectData(ReadDefectData { twelve, wanted, allocation_length })
    };
    decodes(&[0x37, 0, 0x1d, 0, 0, 0, 0, 1, 2, 0], read(false, 0x1d, 0x0102));
    decodes(&[0xb7, 0x0b, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0], read(true, 0x0b, 0x0102_0304));
    let reassign = |long_lba, long_list| Command::Long(LongCommand::ReassignBlocks { long_lba, long_list });
    decodes(&[0x07, 1, 0, 0, 0, 0], reassign(false, true));
    decodes(&[0x07, 2, 0, 0, 0, 0], reassign(true, false));
}

#[test]
fn diagnostics() {
    let send = |default, code| Command::Long(LongCommand::SelfTest { default, code });
    decodes(&[0x1d, 0x04, 0, 0, 0, 0], send(true, 0));
    decodes(&[0x1d, 0xb3, 0, 0, 0, 0], send(false, 5));
    let page = |pf, with_self_test| {
        Command::Long(LongCommand::Setting(Setting::Diagnostic(DiagnosticPage {
            pf,
            with_self_test,
            parameter_list_length: 0x0102,
        })))
    };
    decodes(&[0x1d, 0x10, 0, 1, 2, 0], page(true, false));
    decodes(&[0x1d, 0x04, 0, 1, 2, 0], page(false, true));
    decodes(&[0x1d, 0xb3, 0, 1, 2, 0], page(true, true));
    let results = |page| Command::ReceiveDiagnosticResults { page, allocation_length: 0x0102 };
    decodes(&[0x1c, 1, 7, 1, 2, 0], results(Some(7)));
    decodes(&[0x1c, 0, 7, 1, 2, 0], results(None));
    decodes(&[0x1e, 0, 0, 0, 1, 0], Command::PreventAllowMediumRemoval { prevent: true });
}

#[test]
fn pre_fetch() {
    let command = |lba, blocks, immed| Command::PreFetch { lba, blocks, immed };
    decodes(&[0x34, 0x02, 1, 2, 3, 4, 0x3f, 5, 6, 0], command(0x0102_0304, 0x0506, true));
    let sixteen = [0x90, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x3f, 0];
    decodes(&sixteen, command(0x0102_0304_0506_0708, 0x090a_0b0c, false));
}

#[test]
fn synchronize_cache() {
    for flags in [0x02, 0x06] {
        let cache = Command::SynchronizeCache { lba: 0x1_0000, blocks: 8, immed: true };
        decodes(&[0x35, flags, 0, 1, 0, 0, 0, 0, 8, 0], cache);
    }
    decodes(
        &[0x91, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0],
        Command::SynchronizeCache { lba: 0x1_0000_0002, blocks: 0x1_0000, immed: false },
    );
}

#[test]
fn test_unit_ready_and_request_sense() {
    decodes(&[0x00, 0, 0, 0, 0, 0], Command::TestUnitReady);
    decodes(&[0x03, 0x01, 0, 0, 252, 0], Command::RequestSense { desc: true, allocation_length: 252 });
    decodes(&[0x03, 0, 0, 0, 18, 0], Command::RequestSense { desc: false, allocation_length: 18 });
}

#[test]
fn inquiry() {
    decodes(&[0x12, 0, 0, 0, 36, 0], Command::Inquiry { evpd: false, page: 0, allocation_length: 36 });
    decodes(&[0x12, 1, 0x83, 2, 1, 0], Command::Inquiry { evpd: true, page: 0x83, allocation_length: 0x201 });
}

#[test]
fn mode_sense() {
    decodes(
        &[0x1a, 0x08, 0x48, 0xff, 192, 0],
        Command::ModeSense(ModeSense {
            ten: false,
            llbaa: false,
            dbd: true,
            control: PageControl::Changeable,
            page: 0x08,
            subpage: 0xff,
            allocation_length: 192,
        }),
    );
    decodes(
        &[0x5a, 0x10, 0xbf, 0x01, 0, 0, 0, 0x01, 0x02, 0],
        Command::ModeSense(ModeSense {
            ten: true,
            llbaa: true,
            dbd: false,
            control: PageControl::Default,
            page: 0x3f,
            subpage: 0x01,
            allocation_length: 0x102,
        }),
    );
    let control = |byte| match decode(&[0x1a, 0, byte, 0, 0, 0]) {
        Ok(Command::ModeSense(request)) => request.control,
        other => panic!("{other:?}"),
    };
    assert_eq!((control(0x3f), control(0xc0)), (PageControl::Current, PageControl::Saved));
}

#[test]
fn read_capacity() {
    decodes(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], Command::ReadCapacity10);
    decodes(
        &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0],
        Command::ReadCapacity16 { allocation_length: 0x0102_0304 },
    );
}

#[test]
fn start_stop_unit() {
    let command = |immed, no_flush, start| Command::StartStopUnit { immed, no_flush, load_eject: false, start };
    decodes(&[0x1b, 0, 0, 0, 0, 0], command(false, false, false));
    decodes(&[0x1b, 1, 0, 0, 1, 0], command(true, false, true));
    decodes(&[0x1b, 0, 0, 0, 4, 0], command(false, true, false));
    let eject = Command::StartStopUnit { immed: false, no_flush: false, load_eject: true, start: false };
    decodes(&[0x1b, 0, 0, 0, 2, 0], eject);
}

#[test]
fn report_luns() {
    decodes(
        &[0xa0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 0],
        Command::ReportLuns { select_report: 2, allocation_length: 0x1_0000 },
    );
}

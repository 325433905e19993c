use bdev::Info;

use super::*;
use crate::scsi::attention::Attention;
use crate::scsi::mode::ModeState;
use crate::scsi::testing::{command, data, disk, info, refused, start};
use crate::scsi::{Behind, Hindrance};

const FLUSH: Step = Step::Block(BlockOp { kind: OpKind::Flush, offset: 0, len: 0 });
const GOOD: Step = Step::Done(Outcome::GOOD);

fn read_10(byte_1: u8, lba: u32, blocks: u16) -> [u8; 10] {
    ten(0x28, byte_1, lba, blocks)
}

fn write_10(byte_1: u8, lba: u32, blocks: u16) -> [u8; 10] {
    ten(0x2a, byte_1, lba, blocks)
}

fn ten(opcode: u8, byte_1: u8, lba: u32, blocks: u16) -> [u8; 10] {
    let ([a, b, c, d], [e, f]) = (lba.to_be_bytes(), blocks.to_be_bytes());
    [opcode, byte_1, a, b, c, d, 0, e, f, 0]
}

fn read_16(lba: u64, blocks: u32) -> Vec<u8> {
    [&[0x88, 0][..], &lba.to_be_bytes(), &blocks.to_be_bytes(), &[0, 0]].concat()
}

fn step(unit: &LogicalUnit, cdb: &[u8]) -> Step {
    let (step, data) = start(unit, cdb);
    assert!(data.is_empty());
    step
}

fn block(kind: OpKind, offset: u64, len: u64) -> Step {
    Step::Block(BlockOp { kind, offset, len })
}

#[test]
fn reads_and_writes_become_operations() {
    let unit = disk(&info());
    assert_eq!(step(&unit, &read_10(0, 2, 3)), block(OpKind::Read, 1024, 1536));
    assert_eq!(step(&unit, &[0x08, 0, 0, 9, 1, 0]), block(OpKind::Read, 4608, 512));
    assert_eq!(step(&unit, &write_10(0, 999, 1)), block(OpKind::Write { fua: false }, 511_488, 512));
    assert_eq!(step(&unit, &write_10(0x08, 0, 128)), block(OpKind::Write { fua: true }, 0, 65536));
    let large = disk(&Info { block_size: 4096, ..info() });
    assert_eq!(step(&large, &read_10(0x10, 2, 3)), block(OpKind::Read, 8192, 12288));
}

#[test]
fn operations_of_a_huge_disk_do_not_overflow() {
    let unit = disk(&Info { blocks: u64::MAX, block_size: 4096, ..info() });
    let last = u64::MAX / 4096 - 1;
    assert_eq!(unit.blocks(), last + 1);
    assert_eq!(step(&unit, &read_16(last, 1)), block(OpKind::Read, last * 4096, 4096));
    assert_eq!(refused(&unit, &read_16(last, 2)), Sense::lba_out_of_range(last + 1));
}

#[test]
fn a_transfer_of_no_blocks_is_no_error() {
    let unit = disk(&info());
    for cdb in [read_10(0, 0, 0), write_10(0x08, 999, 0), read_10(0x08, 1000, 0)] {
        assert_eq!(step(&unit, &cdb), GOOD);
    }
    assert_eq!(refused(&unit, &read_10(0, 1001, 0)), Sense::lba_out_of_range(1001));
    let protected = disk(&Info { read_only: true, ..info() });
    assert_eq!(step(&protected, &write_10(0, 0, 0)), GOOD, "nothing is written");
}

#[test]
fn ranges_that_do_not_exist() {
    let unit = disk(&info());
    assert_eq!(refused(&unit, &read_10(0, 1000, 1)), Sense::lba_out_of_range(1000));
    assert_eq!(refused(&unit, &write_10(0, 999, 2)), Sense::lba_out_of_range(1000), "the first that is not there");
    assert_eq!(refused(&unit, &read_10(0, u32::MAX, 1)), Sense::lba_out_of_range(u32::MAX.into()));
    assert_eq!(refused(&unit, &read_16(u64::MAX, u32::MAX)), Sense::lba_out_of_range(u64::MAX));
    assert_eq!(refused(&unit, &read_16(1, u32::MAX)), Sense::lba_out_of_range(1000));
    assert_eq!(refused(&unit, &[0x08, 0, 0x03, 0, 0, 0]), Sense::lba_out_of_range(1000), "256 blocks from 768");
}

#[test]
fn transfers_that_are_too_long() {
    let unit = disk(&Info { blocks: 1 << 30, ..info() });
    let too_long: [(&[u8], u16); 6] = [
        (&[0x08, 0, 0, 0, 129, 0], 4),
        (&[0x0a, 0, 0, 0, 0, 0], 4),
        (&[0x28, 0, 0, 0, 0, 0, 0, 0, 129, 0], 7),
        (&[0xaa, 0, 0, 0, 0, 0, 0, 0, 0, 129, 0, 0], 6),
        (&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 129, 0, 0], 10),
        (&[0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], 10),
    ];
    for (cdb, byte) in too_long {
        assert_eq!(refused(&unit, cdb), Sense::invalid_field(byte, None), "{cdb:x?}");
    }
    assert_eq!(step(&unit, &read_10(0, 0, 128)), block(OpKind::Read, 0, 65536));
    let unlimited = disk(&Info { blocks: 1 << 33, max_transfer: 0, ..info() });
    assert_eq!(step(&unlimited, &read_16(0, u32::MAX)), block(OpKind::Read, 0, u64::from(u32::MAX) * 512));
    let tiny = disk(&Info { max_transfer: 100, ..info() });
    assert_eq!(step(&tiny, &read_10(0, 0, 1)), block(OpKind::Read, 0, 512), "one block always works");
}

#[test]
fn a_write_protected_disk() {
    let unit = disk(&Info { read_only: true, ..info() });
    let protected = Sense::new(SenseKey(7), Asc(0x2700));
    assert_eq!(refused(&unit, &write_10(0, 0, 1)), protected);
    assert_eq!(refused(&unit, &[0x0a, 0, 0, 0, 1, 0]), protected);
    assert_eq!(refused(&unit, &write_10(0, 1000, 1)), Sense::lba_out_of_range(1000));
    assert_eq!(step(&unit, &read_10(0x08, 0, 1)), block(OpKind::Read, 0, 512), "nothing to write first");
    assert_eq!(step(&unit, &ten(0x35, 0, 0, 0)), GOOD);
    assert_eq!(step(&unit, &[0x1b, 0, 0, 0, 0, 0]), Step::Done(Outcome::good_with(Effect::Stopped(true))));
}

#[test]
fn write_protection_and_write_through_by_mode_select() {
    let unit = disk(&info());
    let with = |values, cdb: &[u8]| {
        let mode = ModeState { current: values, ..ModeState::default() };
        unit.start(&command(cdb), &Condition { mode, ..Condition::default() }, &mut Reply::new())
    };
    let protected = Step::Done(Outcome::check(Sense::new(SenseKey(7), Asc(0x2702))));
    assert_eq!(with(ModeValues::SWP, &write_10(0, 0, 1)), protected);
    assert_eq!(with(ModeValues::SWP, &read_10(0, 0, 1)), block(OpKind::Read, 0, 512));
    assert_eq!(with(ModeValues::WRITE_THROUGH, &write_10(0, 0, 1)), block(OpKind::Write { fua: true }, 0, 512));
    assert_eq!(with(ModeValues::D_SENSE, &write_10(0, 0, 1)), block(OpKind::Write { fua: false }, 0, 512));
}

#[test]
fn a_forced_read_writes_the_cache_first() {
    let unit = disk(&info());
    let cdb = read_10(0x08, 2, 3);
    assert_eq!(step(&unit, &cdb), FLUSH);
    let read = BlockOp { kind: OpKind::Read, offset: 1024, len: 1536 };
    assert_eq!(unit.resume(&command(&cdb), &BlockOp::FLUSH, Ok(())), Step::Block(read));
    assert_eq!(unit.resume(&command(&cdb), &read, Ok(())), GOOD);
    let through = disk(&Info { write_cache: WriteCache::WriteThrough, ..info() });
    assert_eq!(step(&through, &cdb), Step::Block(read));
}

#[test]
fn operations_that_fail_end_the_command() {
    let unit = disk(&info());
    let read = BlockOp { kind: OpKind::Read, offset: 0, len: 512 };
    let failed = |cdb: &[u8], op: &BlockOp, error| unit.resume(&command(cdb), op, Err(error));
    let sense = |key, asc| Step::Done(Outcome::check(Sense::new(SenseKey(key), Asc(asc))));
    let pair = BlockOp { len: 1024, ..read };
    assert_eq!(failed(&read_10(0, 0, 2), &pair, IoError::Medium), Step::Block(read), "which of the two?");
    assert_eq!(failed(&read_10(0x08, 0, 1), &BlockOp::FLUSH, IoError::Medium), sense(3, 0x0c00));
    assert_eq!(failed(&[0x1b, 0, 0, 0, 0, 0], &BlockOp::FLUSH, IoError::NoSpace), sense(7, 0x2707));
    assert_eq!(failed(&read_10(0, 0, 1), &read, IoError::Busy), Step::Done(Outcome::BUSY));
}

#[test]
fn a_medium_error_of_one_block_tells_which() {
    let unit = disk(&info());
    let failed = |kind, lba: u8, error| {
        let op = BlockOp { kind, offset: u64::from(lba) * 512, len: 512 };
        let Step::Done(outcome) = unit.resume(&command(&read_10(0, lba.into(), 1)), &op, Err(error)) else { panic!() };
        outcome.sense.unwrap().encode_fixed()[..13].to_vec()
    };
    let information = |key, lba, asc| vec![0xf0, 0, key, 0, 0, 0, lba, 10, 0, 0, 0, 0, asc];
    assert_eq!(failed(OpKind::Read, 7, IoError::Medium), information(3, 7, 0x11));
    assert_eq!(failed(OpKind::Write { fua: false }, 200, IoError::Medium), information(3, 200, 0x0c));
    assert_eq!(failed(OpKind::Read, 7, IoError::NoSpace), [0x70, 0, 7, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x27]);
}

#[test]
fn synchronize_cache_flushes_what_exists() {
    let unit = disk(&info());
    for cdb in [ten(0x35, 0, 0, 0), ten(0x35, 0, 990, 10), ten(0x35, 0, 1000, 0)] {
        assert_eq!(step(&unit, &cdb), FLUSH);
        assert_eq!(unit.resume(&command(&cdb), &BlockOp::FLUSH, Ok(())), GOOD);
    }
    assert_eq!(refused(&unit, &ten(0x35, 0, 990, 11)), Sense::lba_out_of_range(1000));
    assert_eq!(refused(&unit, &ten(0x35, 0, 1001, 0)), Sense::lba_out_of_range(1001));
    let sixteen = [&[0x91, 0][..], &1_u64.to_be_bytes(), &[0, 0, 0, 1, 0, 0]].concat();
    assert_eq!(step(&unit, &sixteen), FLUSH);
}

#[test]
fn with_immed_the_flush_goes_on_behind_the_command() {
    let behind = |behind| Step::Done(Outcome::good_with(Effect::Behind(behind)));
    let unit = disk(&info()).with_removable_medium(true);
    assert_eq!(step(&unit, &ten(0x35, 0x02, 990, 10)), behind(Behind::Flush));
    assert_eq!(refused(&unit, &ten(0x35, 0x02, 990, 11)), Sense::lba_out_of_range(1000));
    assert_eq!(step(&unit, &[0x1b, 1, 0, 0, 0, 0]), behind(Behind::Stopped));
    assert_eq!(step(&unit, &[0x1b, 1, 0, 0, 2, 0]), behind(Behind::Ejected));
    let stopped = Step::Done(Outcome::good_with(Effect::Stopped(true)));
    assert_eq!(step(&unit, &[0x1b, 1, 0, 0, 4, 0]), stopped, "without a flush");
    assert_eq!(step(&disk(&Info { read_only: true, ..info() }), &ten(0x35, 0x02, 0, 0)), GOOD);
}

#[test]
fn stop_flushes_unless_told_not_to() {
    let unit = disk(&info());
    let stop = [0x1b, 0, 0, 0, 0, 0];
    let stopped = |stopped| Step::Done(Outcome::good_with(Effect::Stopped(stopped)));
    assert_eq!(step(&unit, &stop), FLUSH);
    assert_eq!(unit.resume(&command(&stop), &BlockOp::FLUSH, Ok(())), stopped(true));
    assert_eq!(step(&unit, &[0x1b, 0, 0, 0, 4, 0]), stopped(true));
    assert_eq!(step(&unit, &[0x1b, 1, 0, 0, 1, 0]), stopped(false));
}

#[test]
fn a_medium_that_can_be_removed() {
    let (fixed, unit) = (disk(&info()), disk(&info()).with_removable_medium(true));
    let (eject, load, prevent) = ([0x1b, 0, 0, 0, 2, 0], [0x1b, 0, 0, 0, 3, 0], [0x1e, 0, 0, 0, 1, 0]);
    for cdb in [eject, load] {
        assert_eq!(refused(&fixed, &cdb), Sense::invalid_field(4, Some(1)));
    }
    assert_eq!(step(&fixed, &prevent), Step::Done(Outcome::GOOD));
    let with = |effect| Step::Done(Outcome::good_with(effect));
    assert_eq!(step(&unit, &prevent), with(Effect::Prevented(true)));
    assert_eq!(step(&unit, &[0x1e, 0, 0, 0, 0, 0]), with(Effect::Prevented(false)));
    assert_eq!(step(&unit, &eject), FLUSH);
    assert_eq!(unit.resume(&command(&eject), &BlockOp::FLUSH, Ok(())), with(Effect::Ejected(true)));
    assert_eq!(step(&unit, &load), with(Effect::Ejected(false)));
    let under = |condition: Condition<'_>, cdb: &[u8]| unit.start(&command(cdb), &condition, &mut Reply::new());
    let prevented = Condition { removal_prevented: true, ..Condition::default() };
    assert_eq!(under(prevented, &eject), Step::from(Sense::illegal(Asc(0x5302))));
    assert_eq!(under(prevented, &load), with(Effect::Ejected(false)));
    assert_eq!(under(prevented, &[0x1b, 0, 0, 0, 4, 0]), with(Effect::Stopped(true)), "it may stop inside");
    let out = Condition { hindrance: Some(Hindrance::NoMedium), ..Condition::default() };
    let absent = Step::from(Sense::new(SenseKey(2), Asc(0x3a00)));
    for cdb in
        [&[0; 6][..], &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[0x1b, 0, 0, 0, 1, 0]]
    {
        assert_eq!(under(out, cdb), absent, "{cdb:02x?}");
    }
    assert_eq!(under(out, &eject), with(Effect::Ejected(true)), "once more changes nothing");
    assert_eq!(under(out, &load), with(Effect::Ejected(false)));
}

#[test]
fn a_stopped_unit_does_not_touch_the_medium() {
    let unit = disk(&info());
    let condition = Condition { stopped: true, ..Condition::default() };
    let mut reply = Reply::new();
    let not_ready = Step::Done(Outcome::check(Sense::new(SenseKey(2), Asc(0x0402))));
    let test_unit_ready = [0; 6];
    let cdbs: [&[u8]; 5] =
        [&test_unit_ready, &read_10(0, 0, 1), &write_10(0, 0, 0), &read_10(0, 1001, 1), &ten(0x35, 0, 0, 0)];
    for cdb in cdbs {
        assert_eq!(unit.start(&command(cdb), &condition, &mut reply), not_ready, "{cdb:x?}");
    }
    assert_eq!(unit.start(&command(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]), &condition, &mut reply), GOOD);
    assert_eq!(reply.as_bytes().len(), 8);
    assert_eq!(step(&unit, &test_unit_ready), GOOD);
}

#[test]
fn request_sense_returns_what_is_pending() {
    let unit = disk(&info());
    let mut reply = Reply::new();
    let mut sense = |desc, condition: Condition<'_>| {
        let request = Command::RequestSense { desc, allocation_length: 252 };
        assert_eq!(unit.start(&request, &condition, &mut reply), GOOD);
        reply.as_bytes().to_vec()
    };
    let stopped = Condition { stopped: true, ..Condition::default() };
    let attention = Condition { attention: Some(Attention::LogicalUnitReset), ..stopped };
    let fixed = |key, asc, ascq| [0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0];
    assert_eq!(sense(false, Condition::default()), fixed(0, 0, 0));
    assert_eq!(sense(false, stopped), fixed(2, 0x04, 0x02));
    assert_eq!(sense(false, attention), fixed(6, 0x29, 0x03));
    assert_eq!(sense(true, attention), [0x72, 6, 0x29, 0x03, 0, 0, 0, 0]);
}

#[test]
fn inquiry_knows_pages_only_with_evpd() {
    let unit = disk(&info());
    assert_eq!(data(&unit, &[0x12, 0, 0, 0, 255, 0]).len(), 96);
    assert_eq!(data(&unit, &[0x12, 0, 0, 0, 5, 0]), [0, 0, 0x06, 0x32, 0x5b]);
    assert_eq!(refused(&unit, &[0x12, 0, 0x80, 0, 255, 0]), Sense::invalid_field(2, None));
}

#[test]
fn report_luns_lists_what_the_caller_knows() {
    let luns = [[0; 8], [0, 1, 0, 0, 0, 0, 0, 0]];
    let condition = Condition { luns: &luns, ..Condition::default() };
    let report = Command::ReportLuns { select_report: 0, allocation_length: 20 };
    let mut reply = Reply::new();
    assert_eq!(disk(&info()).start(&report, &condition, &mut reply), GOOD);
    assert_eq!(reply.as_bytes(), [0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn nothing_is_left_of_the_command_before() {
    let unit = disk(&info());
    let mut reply = Reply::new();
    let inquiry = command(&[0x12, 0, 0, 0, 255, 0]);
    unit.start(&inquiry, &Condition::default(), &mut reply);
    assert_eq!(reply.as_bytes().len(), 96);
    unit.start(&command(&read_10(0, 0, 1)), &Condition::default(), &mut reply);
    assert!(reply.as_bytes().is_empty());
}

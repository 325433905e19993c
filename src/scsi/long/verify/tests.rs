use bdev::{Info, IoError};

use crate::scsi::long::testing::Rig;
use crate::scsi::spec::{Asc, SenseKey};
use crate::scsi::testing::info;
use crate::scsi::{BlockOp, Outcome, Sense};

use super::*;

/// The data of a miscompare with this INFORMATION.
fn differs(at: u64) -> Sense {
    Sense { information: Some(at), ..Sense::new(SenseKey(0xe), Asc(0x1d00)) }
}

fn verify_10(byte_1: u8, lba: u8, blocks: u8) -> [u8; 10] {
    [0x2f, byte_1, 0, 0, 0, lba, 0, 0, blocks, 0]
}

/// What blocks of a new rig hold.
fn content(lbas: std::ops::Range<u8>) -> Vec<u8> {
    lbas.flat_map(|lba| [lba; 512]).collect()
}

#[test]
fn every_shape_reads_the_blocks() {
    let shapes: [&[u8]; 3] = [
        &[0x2f, 0x10, 0, 0, 0, 3, 0, 0, 2, 0],
        &[0xaf, 0x10, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0],
        &[0x8f, 0x10, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0],
    ];
    for cdb in shapes {
        let mut rig = Rig::plain();
        rig.good(cdb, &[]);
        assert_eq!(rig.done(), [(OpKind::Read, 3, 2)], "{cdb:02x?}");
    }
}

#[test]
fn a_cache_is_written_first() {
    let mut rig = Rig::new(&info());
    rig.good(&verify_10(0, 3, 1), &[]);
    assert_eq!(rig.done(), [(OpKind::Flush, 0, 0), (OpKind::Read, 3, 1)]);
    let mut rig = Rig::new(&Info { read_only: true, ..info() });
    rig.good(&verify_10(0, 3, 1), &[]);
    assert_eq!(rig.done(), [(OpKind::Read, 3, 1)]);
}

#[test]
fn blocks_are_compared_with_as_many_blocks() {
    let mut rig = Rig::plain();
    rig.good(&verify_10(2, 7, 3), &content(7..10));
    for (at, lba) in [(0, 7), (511, 7), (512, 8), (1535, 9)] {
        let mut data = content(7..10);
        data[at] ^= 1;
        assert_eq!(rig.refused(&verify_10(2, 7, 3), &data), differs(lba), "byte {at}");
    }
}

#[test]
fn blocks_are_compared_with_one_block() {
    let mut rig = Rig::plain();
    rig.bytes[512 * 20..512 * 300].fill(9);
    rig.good(&[0x8f, 6, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 1, 24, 0, 0], &[9; 512]);
    assert_eq!(rig.done(), [(OpKind::Read, 20, 128), (OpKind::Read, 148, 128), (OpKind::Read, 276, 24)]);
    rig.bytes[512 * 150 + 511] = 8;
    assert_eq!(rig.refused(&[0x2f, 6, 0, 0, 0, 20, 0, 1, 24, 0], &[9; 512]), differs(150));
}

#[test]
fn long_ranges_go_piece_by_piece() {
    let mut rig = Rig::new(&Info { max_transfer: 0, write_cache: bdev::WriteCache::WriteThrough, ..info() });
    rig.info.max_transfer = u32::MAX;
    let data = rig.bytes.clone();
    let cdb = [0x2f, 2, 0, 0, 0, 0, 0, 3, 232, 0];
    rig.good(&cdb, &data);
    assert_eq!(rig.done(), [(OpKind::Read, 0, 512), (OpKind::Read, 512, 488)]);
    let mut wrong = data;
    wrong[999 * 512] ^= 0x80;
    assert_eq!(rig.refused(&cdb, &wrong), differs(999));
}

#[test]
fn refusals_point_to_the_field() {
    let mut rig = Rig::plain();
    let bad = |byte, bit| Sense::invalid_field(byte, bit);
    assert_eq!(rig.refused(&verify_10(4, 0, 1), &[]), bad(1, Some(2)), "BYTCHK 10b");
    assert_eq!(rig.refused(&verify_10(0x20, 0, 1), &[]), bad(1, Some(7)), "VRPROTECT");
    assert_eq!(rig.refused(&verify_10(8, 0, 1), &[]), bad(1, Some(3)));
    let end = |blocks| [0x2f, 0, 0, 0, 3, 231, 0, 0, blocks, 0];
    assert_eq!(rig.refused(&end(2), &[]), Sense::lba_out_of_range(1000));
    rig.good(&end(1), &[]);
    // Only what is sent counts against the largest transfer.
    let many = |check| [0xaf, check, 0, 0, 0, 0, 0, 0, 0, 129, 0, 0];
    assert_eq!(rig.refused(&many(2), &[]), bad(6, None));
    rig.good(&many(0), &[]);
    assert_eq!(rig.ops.len(), 1 + 2);
}

#[test]
fn no_blocks_are_no_error() {
    let mut rig = Rig::plain();
    for check in [0, 2, 6] {
        assert_eq!(rig.run(&[0x2f, check, 0, 0, 3, 232, 0, 0, 0, 0], &[]).outcome, Outcome::GOOD);
    }
    assert_eq!(rig.refused(&[0x2f, 0, 0, 0, 3, 233, 0, 0, 0, 0], &[]), Sense::lba_out_of_range(1001));
    assert_eq!(rig.ops, []);
}

#[test]
fn a_block_that_cannot_be_read_ends_it() {
    let mut rig = Rig::plain();
    rig.fails = |op| (op.offset >= 128 * 512).then_some(IoError::Medium);
    assert_eq!(rig.refused(&[0x2f, 0, 0, 0, 0, 0, 0, 3, 0, 0], &[]), unreadable_at(Some(128)));
    assert_eq!(rig.done()[..2], [(OpKind::Read, 0, 128), (OpKind::Read, 128, 128)]);
}

/// The sense of a block that cannot be read.
fn unreadable_at(lba: Option<u64>) -> Sense {
    Sense { information: lba, ..Sense::new(SenseKey(3), Asc(0x1100)) }
}

/// Block 19 cannot be read, with whatever else.
fn at_19(op: &BlockOp) -> Option<IoError> {
    (op.offset <= 19 * 512 && 19 * 512 < op.offset + op.len).then_some(IoError::Medium)
}

#[test]
fn the_bad_block_is_looked_for() {
    let able = Info { verify_max: 64 * 512, compare: true, write_cache: bdev::WriteCache::WriteThrough, ..info() };
    for (rig, byte_1, kind) in [
        (Rig::plain(), 0, OpKind::Read),
        (Rig::plain(), 2, OpKind::Read),
        (Rig::new(&able), 0, OpKind::Verify),
        (Rig::new(&able), 2, OpKind::Compare),
    ] {
        let mut rig = Rig { fails: at_19, ..rig };
        let data = if byte_1 == 0 { vec![] } else { content(7..37) };
        assert_eq!(rig.refused(&verify_10(byte_1, 7, 30), &data), unreadable_at(Some(19)), "{kind:?}");
        let looks = [(7, 30), (7, 16), (7, 8), (15, 4), (19, 2), (19, 1)];
        assert_eq!(rig.done(), looks.map(|(lba, blocks)| (kind, lba, blocks)));
    }
}

#[test]
fn what_can_be_read_on_the_second_look_has_no_address() {
    let mut rig = Rig::plain();
    rig.fails = |op| (op.len == 30 * 512).then_some(IoError::Medium);
    assert_eq!(rig.refused(&verify_10(0, 7, 30), &[]), unreadable_at(None));
    rig.fails = |op| (op.len == 30 * 512).then_some(IoError::Medium).or((op.len < 4096).then_some(IoError::Gone));
    assert_eq!(rig.refused(&verify_10(0, 7, 30), &[]), Sense::new(SenseKey(4), Asc(0x3e01)), "what comes in between");
}

#[test]
fn blocks_that_differ_beside_a_bad_one_are_no_bad_ones() {
    let able = Info { compare: true, write_cache: bdev::WriteCache::WriteThrough, ..info() };
    let mut rig = Rig { fails: at_19, ..Rig::new(&able) };
    let mut data = content(7..37);
    data[0] ^= 1;
    assert_eq!(rig.refused(&verify_10(2, 7, 30), &data), unreadable_at(Some(19)));
}

#[test]
fn a_device_that_can_verifies_itself() {
    let able = Info { verify_max: 4 * 512, compare: true, write_cache: bdev::WriteCache::WriteThrough, ..info() };
    let mut rig = Rig::new(&able);
    rig.good(&verify_10(0, 3, 6), &[]);
    assert_eq!(rig.done(), [(OpKind::Verify, 3, 4), (OpKind::Verify, 7, 2)]);
    rig.fails = |op| (op.kind == OpKind::Verify).then_some(IoError::Medium);
    assert_eq!(rig.refused(&verify_10(0, 3, 6), &[]), unreadable_at(Some(3)));
    rig.fails = |_| None;
    rig.ops.clear();
    rig.good(&verify_10(2, 7, 3), &content(7..10));
    assert_eq!(rig.done(), [(OpKind::Compare, 7, 3)]);
    let mut data = content(7..10);
    data[513] ^= 1;
    rig.ops.clear();
    assert_eq!(rig.refused(&verify_10(2, 7, 3), &data), differs(8));
    assert_eq!(rig.done(), [(OpKind::Compare, 7, 3), (OpKind::Read, 7, 3)], "to find the block");
    rig.ops.clear();
    rig.good(&verify_10(6, 7, 1), &content(7..8));
    assert_eq!(rig.done(), [(OpKind::Read, 7, 1)], "one block for all is compared here");
}

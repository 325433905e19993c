//! POPULATE TOKEN and WRITE USING TOKEN on one disk.

use bdev::{Info, IoError, OpKind};

use super::super::testing::Rig;
use super::*;
use crate::scsi::SenseKey;
use crate::scsi::testing::info;

/// The CDB of a service action, with a list identifier and a length.
fn cdb(action: u8, list_id: u8, len: usize) -> [u8; 16] {
    let [high, low] = (len as u16).to_be_bytes();
    [0x83, action, 0, 0, 0, 0, 0, 0, 0, list_id, 0, 0, high, low, 0, 0]
}

fn descriptors(ranges: &[(u16, u16)]) -> Vec<u8> {
    let one = |&(lba, blocks): &(u16, u16)| {
        let ([a, b], [c, d]) = (lba.to_be_bytes(), blocks.to_be_bytes());
        [0, 0, 0, 0, 0, 0, a, b, 0, 0, c, d, 0, 0, 0, 0]
    };
    ranges.iter().flat_map(one).collect()
}

fn with_lengths(header: &mut [u8], ranges: &[(u16, u16)]) -> Vec<u8> {
    let len = ranges.len() * 16;
    let at = header.len();
    header[..2].copy_from_slice(&((at + len - 2) as u16).to_be_bytes());
    header[at - 2..].copy_from_slice(&(len as u16).to_be_bytes());
    [&header[..], &descriptors(ranges)].concat()
}

fn populate_list(ranges: &[(u16, u16)]) -> Vec<u8> {
    with_lengths(&mut [0; 16], ranges)
}

fn write_list(token: &[u8], offset: u8, ranges: &[(u16, u16)]) -> Vec<u8> {
    let mut header = [0; 536];
    header[15] = offset;
    header[16..528].copy_from_slice(token);
    with_lengths(&mut header, ranges)
}

/// RECEIVE ROD TOKEN INFORMATION of a list identifier.
fn information(rig: &mut Rig, list_id: u8) -> Vec<u8> {
    rig.good(&[0x84, 7, 0, 0, 0, list_id, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0], &[])
}

fn token(rig: &mut Rig, ranges: &[(u16, u16)]) -> Vec<u8> {
    let list = populate_list(ranges);
    rig.good(&cdb(0x10, 1, list.len()), &list);
    information(rig, 1)[38..].to_vec()
}

fn zero_token() -> Vec<u8> {
    let mut token = vec![0; 512];
    token[..8].copy_from_slice(&[0xff, 0xff, 0, 1, 0, 0, 0x01, 0xf8]);
    token
}

const WRITE: OpKind = OpKind::Write { fua: false };

#[test]
fn a_token_is_made_and_told() {
    let mut rig = Rig::plain();
    let list = populate_list(&[(10, 5), (100, 2)]);
    rig.good(&cdb(0x10, 3, list.len()), &list);
    let told = information(&mut rig, 3);
    assert_eq!(told[..16], [0, 0, 0x02, 0x22, 0x10, 0x01, 0, 0, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0xf1]);
    assert_eq!(told[16..38], [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x02, 0, 0]);
    assert_eq!(told[38..46], [0, 0x80, 0, 1, 0, 0, 0x01, 0xf8]);
    assert_eq!((&told[38 + 48..38 + 64], told.len()), (&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 14, 0][..], 550));
    let again = information(&mut rig, 3);
    assert_eq!((&again[..4], &again[32..]), (&[0, 0, 0, 32][..], &[0; 4][..]), "a token is told once");
    let all = rig.good(&[0x84, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0], &[]);
    assert_eq!((&all[..8], &all[8..]), (&[0, 0, 0, 100, 0, 0, 0, 0][..], &told[38..38 + 96]));
    assert_eq!(rig.ops, []);
    let unknown = rig.refused(&[0x84, 7, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0], &[]);
    assert_eq!(unknown, Sense::invalid_field(2, None));
}

#[test]
fn what_a_token_stands_for_is_written() {
    let mut rig = Rig::plain();
    let token = token(&mut rig, &[(10, 5), (100, 200)]);
    let list = write_list(&token, 2, &[(500, 4), (600, 150)]);
    rig.good(&cdb(0x11, 2, list.len()), &list);
    let expected = [
        (OpKind::Read, 12, 3),
        (WRITE, 500, 3),
        (OpKind::Read, 100, 1),
        (WRITE, 503, 1),
        (OpKind::Read, 101, 128),
        (WRITE, 600, 128),
        (OpKind::Read, 229, 22),
        (WRITE, 728, 22),
    ];
    assert_eq!(rig.done(), expected);
    assert_eq!([rig.bytes[500 * 512], rig.bytes[503 * 512], rig.bytes[600 * 512]], [12, 100, 101]);
    let told = information(&mut rig, 2);
    assert_eq!((told[4], told[5], &told[15..24]), (0x11, 0x01, &[0xf1, 0, 0, 0, 0, 0, 0, 0, 154][..]));
    assert_eq!(told.len(), 36, "and no token");
}

#[test]
fn a_token_can_be_deleted_with_its_last_use() {
    let mut rig = Rig::plain();
    let token = token(&mut rig, &[(10, 5)]);
    let mut list = write_list(&token, 0, &[(500, 5)]);
    rig.good(&cdb(0x11, 2, list.len()), &list);
    list[2] = 0x02;
    rig.good(&cdb(0x11, 2, list.len()), &list);
    assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), Sense::illegal(Asc(0x2309)));
}

#[test]
fn a_token_that_nobody_uses_expires() {
    let mut rig = Rig::plain();
    let token = token(&mut rig, &[(10, 5)]);
    let list = write_list(&token, 0, &[(500, 5)]);
    rig.now_ms = 60_000;
    rig.good(&cdb(0x11, 2, list.len()), &list);
    rig.now_ms = 120_001;
    assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), Sense::illegal(Asc(0x2307)));
    let mut short_lived = populate_list(&[(10, 5)]);
    short_lived[7] = 2;
    rig.good(&cdb(0x10, 1, short_lived.len()), &short_lived);
    let token = information(&mut rig, 1)[38..].to_vec();
    rig.now_ms += 2_001;
    let list = write_list(&token, 0, &[(500, 5)]);
    assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), Sense::illegal(Asc(0x2307)));
}

#[test]
fn a_token_that_is_told_in_part_is_told_again() {
    let mut rig = Rig::plain();
    let list = populate_list(&[(10, 5)]);
    rig.good(&cdb(0x10, 1, list.len()), &list);
    let with_room = |high: u8, low: u8| [0x84, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, high, low, 0, 0];
    assert_eq!(rig.good(&with_room(0x02, 0x25), &[]).len(), 549);
    assert_eq!(rig.good(&with_room(0x02, 0x26), &[]).len(), 550);
    assert_eq!(rig.good(&with_room(0x02, 0x26), &[]).len(), 36);
    rig.good(&cdb(0x10, 1, list.len()), &list);
    assert_eq!(rig.good(&with_room(0, 0), &[]), Vec::<u8>::new());
    assert_eq!(rig.good(&with_room(0x02, 0x26), &[]).len(), 36, "who has no room for it does not want it");
}

/// COPY ABORTED after so many blocks.
fn underrun(blocks: u64) -> Sense {
    Sense { information: Some(blocks), ..Sense::new(SenseKey(0xa), Asc(0x0d04)) }
}

#[test]
fn a_token_that_stands_for_too_little_is_written_as_far_as_it_goes() {
    let mut rig = Rig::plain();
    let token = token(&mut rig, &[(10, 5)]);
    let list = write_list(&token, 2, &[(500, 2), (600, 4)]);
    assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), underrun(3));
    assert_eq!(rig.done()[1..4], [(WRITE, 500, 2), (OpKind::Read, 14, 1), (WRITE, 600, 1)]);
    let told = information(&mut rig, 2);
    assert_eq!((&told[4..8], &told[12..24]), (&[0x11, 3, 0, 4][..], &[2, 20, 18, 0xf1, 0, 0, 0, 0, 0, 0, 0, 3][..]));
    assert_eq!(&told[32..50], underrun(3).encode(false).as_bytes());
    for offset in [5, 6] {
        let list = write_list(&token, offset, &[(500, 1)]);
        assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), Sense::invalid_parameter(8, None), "OFFSET INTO ROD");
    }
}

#[test]
fn a_token_that_is_cancelled_meanwhile_ends_the_write() {
    let mut rig = Rig::plain();
    let token = token(&mut rig, &[(10, 5), (100, 200)]);
    let all: &[u8; 512] = token[..].first_chunk().unwrap();
    let rod = rig.unit.rod(all, 0).unwrap().unwrap();
    rod.cancel();
    let list = write_list(&token, 0, &[(500, 4)]);
    assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), Sense::illegal(Asc(0x2308)));
    assert_eq!(rig.ops, []);
}

#[test]
fn zeroes_need_no_token_of_ours() {
    let mut rig = Rig::plain();
    let list = write_list(&zero_token(), 0, &[(10, 130), (500, 1)]);
    // A chunk is more than this disk takes at once.
    rig.good(&cdb(0x11, 2, list.len()), &list);
    assert_eq!(rig.done(), [(WRITE, 10, 128), (WRITE, 138, 2), (WRITE, 500, 1)]);
    assert!(rig.bytes[10 * 512..140 * 512].iter().all(|&byte| byte == 0));
    assert_eq!((rig.bytes[9 * 512], rig.bytes[140 * 512]), (9, 140));
    let mut able = Rig::new(&Info { write_zeroes_max: 51_200, ..info() });
    able.good(&cdb(0x11, 2, list.len()), &list);
    let zeroes = OpKind::WriteZeroes { unmap: false, fua: false };
    assert_eq!(able.done(), [(zeroes, 10, 100), (zeroes, 110, 30), (zeroes, 500, 1)]);
    assert_eq!(information(&mut able, 2)[16..24], [0, 0, 0, 0, 0, 0, 0, 131]);
}

#[test]
fn lists_that_are_wrong() {
    let mut rig = Rig::plain();
    let mut of = |action: u8, list: &[u8]| rig.refused(&cdb(action, 9, list.len()), list);
    let good = populate_list(&[(10, 5)]);
    let changed = |at: usize, byte: u8| {
        let mut list = good.clone();
        list[at] = byte;
        list
    };
    assert_eq!(of(0x10, &good[..15]), Sense::illegal(Asc(0x1a00)));
    assert_eq!(of(0x10, &good[..31]), Sense::illegal(Asc(0x1a00)), "there is no range in it");
    assert_eq!(of(0x10, &changed(1, 29)), Sense::invalid_parameter(0, None));
    assert_eq!(of(0x10, &changed(15, 15)), Sense::invalid_parameter(14, None));
    assert_eq!(of(0x10, &changed(5, 1)), Sense::invalid_parameter(4, None), "65,536 seconds");
    assert_eq!(of(0x10, &changed(2, 2)), Sense::invalid_parameter(8, None), "a type of its own");
    assert_eq!(of(0x10, &populate_list(&[(999, 2)])), Sense::lba_out_of_range(1000));
    assert_eq!(of(0x10, &populate_list(&[(5, 2), (0, 6)])), Sense::invalid_parameter(16, None), "overlap");
    assert_eq!(of(0x10, &populate_list(&[(0, 1); 65])), Sense::illegal(Asc(0x2608)));
    let write = write_list(&zero_token(), 0, &[(10, 5)]);
    assert_eq!(of(0x11, &write[..535]), Sense::illegal(Asc(0x1a00)));
    assert_eq!(of(0x11, &write_list(&zero_token(), 0, &[(999, 2)])), Sense::lba_out_of_range(1000));
    let other = |at: usize, byte: u8| {
        let mut token = zero_token();
        token[at] = byte;
        write_list(&token, 0, &[(10, 5)])
    };
    assert_eq!(of(0x11, &other(7, 0)), Sense::illegal(Asc(0x230a)));
    assert_eq!(of(0x11, &other(1, 0)), Sense::illegal(Asc(0x2301)));
    let mut remote = other(0, 0);
    remote[16..20].copy_from_slice(&[0, 0x80, 0, 1]);
    assert_eq!(of(0x11, &remote), Sense::illegal(Asc(0x2302)));
    rig.good(&cdb(0x10, 9, 0), &[]);
    rig.good(&cdb(0x11, 9, 0), &[]);
    let token = token(&mut rig, &[(10, 5)]);
    for at in [8, 300, 511] {
        let mut unknown = write_list(&token, 0, &[(20, 5)]);
        unknown[16 + at] ^= 1;
        assert_eq!(rig.refused(&cdb(0x11, 9, unknown.len()), &unknown), Sense::illegal(Asc(0x2304)));
    }
    assert_eq!(rig.ops, []);
    let mut protected = Rig::new(&Info { read_only: true, ..info() });
    assert_eq!(protected.refused(&cdb(0x11, 9, write.len()), &write), Sense::new(SenseKey(7), Asc(0x2700)));
}

#[test]
fn ranges_that_are_cut_off_do_not_count() {
    let mut rig = Rig::plain();
    let list = populate_list(&[(10, 5), (100, 2)]);
    rig.good(&cdb(0x10, 3, list.len() - 1), &list[..list.len() - 1]);
    assert_eq!(information(&mut rig, 3)[16..24], [0, 0, 0, 0, 0, 0, 0, 5]);
    let write = write_list(&zero_token(), 0, &[(10, 5), (100, 2)]);
    let short = &write[..write.len() - 1];
    assert_eq!(rig.refused(&cdb(0x11, 9, short.len()), short), Sense::illegal(Asc(0x1a00)));
}

#[test]
fn as_much_as_the_page_says_and_no_more() {
    let mut rig = Rig::new(&Info { blocks: 1 << 40, ..info() });
    for (blocks, is_good) in [(0x0002_0000_u32, true), (0x0002_0001, false)] {
        let mut list = populate_list(&[(0, 0)]);
        list[24..28].copy_from_slice(&blocks.to_be_bytes());
        let ended = rig.run(&cdb(0x10, 3, list.len()), &list).outcome;
        assert_eq!(ended.sense, (!is_good).then_some(Sense::invalid_parameter(16, None)), "64 MiB");
    }
}

#[test]
fn a_failure_is_told_with_the_result() {
    let mut rig = Rig::plain();
    let token = token(&mut rig, &[(10, 5), (100, 200)]);
    rig.fails = |op| op.kind.is_change().then_some(IoError::NoSpace);
    let list = write_list(&token, 0, &[(500, 5)]);
    let failed = Sense::new(SenseKey(7), Asc(0x2707));
    assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), failed);
    let told = information(&mut rig, 2);
    assert_eq!((told[5], &told[12..15], &told[32..50]), (0x02, &[2, 20, 18][..], failed.encode(false).as_bytes()));
    let zeroes = write_list(&zero_token(), 0, &[(10, 1)]);
    assert_eq!(rig.refused(&cdb(0x11, 2, zeroes.len()), &zeroes), failed);
    rig.fails = |op| (op.kind == OpKind::Read).then_some(IoError::Medium);
    let source = Sense::new(SenseKey(0xa), Asc(0x0d01));
    assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), source, "of another device, for all it knows");
    rig.fails = |op| (op.kind.is_change() && op.offset >= 600 * 512).then_some(IoError::NoSpace);
    let list = write_list(&token, 0, &[(500, 5), (600, 5)]);
    assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), underrun(5));
    let zeroes = write_list(&zero_token(), 0, &[(10, 3), (600, 1)]);
    assert_eq!(rig.refused(&cdb(0x11, 2, zeroes.len()), &zeroes), underrun(3));
}

#[test]
fn with_immed_only_the_result_tells_of_a_failure() {
    let mut rig = Rig::plain();
    let token = token(&mut rig, &[(10, 5), (100, 5)]);
    let immed = |token: &[u8], ranges: &[(u16, u16)]| {
        let mut list = write_list(token, 0, ranges);
        list[2] = 0x01;
        list
    };
    let list = immed(&token, &[(1000, 1)]);
    assert_eq!(rig.refused(&cdb(0x11, 2, list.len()), &list), Sense::lba_out_of_range(1000), "the list first");
    rig.fails = |op| (op.kind.is_change() && op.offset >= 600 * 512).then_some(IoError::NoSpace);
    for (list, status, blocks) in [
        (immed(&token, &[(500, 1)]), 0x01, 1),
        (immed(&token, &[(600, 1)]), 0x02, 0),
        (immed(&token, &[(500, 5), (600, 5)]), 0x03, 5),
        (immed(&token, &[(500, 11)]), 0x03, 10),
        (immed(&zero_token(), &[(500, 2), (600, 1)]), 0x03, 2),
    ] {
        rig.good(&cdb(0x11, 2, list.len()), &list);
        let told = information(&mut rig, 2);
        assert_eq!((told[5], told[23], told[14] > 0), (status, blocks, status != 0x01));
    }
}

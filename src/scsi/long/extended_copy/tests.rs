//! EXTENDED COPY on one disk, which is source and destination.

use bdev::{Info, IoError, OpKind};

use super::super::testing::Rig;
use super::*;
use crate::scsi::SenseKey;
use crate::scsi::sense::{FieldPointer, SenseKeySpecific};
use crate::scsi::testing::{disk, info};

/// An identification descriptor of the disk that all tests have.
fn cscd() -> [u8; 32] {
    let unit = disk(&info());
    let mut bytes = [0; 32];
    bytes[0] = 0xe4;
    (bytes[4], bytes[5], bytes[7]) = (1, 3, 8);
    bytes[8..16].copy_from_slice(unit.identity.naa().as_bytes());
    bytes[30] = 2;
    bytes
}

fn segment(source: u8, destination: u8, blocks: u16, from: u16, to: u16) -> [u8; 28] {
    let mut bytes = [0; 28];
    (bytes[0], bytes[3], bytes[5], bytes[7]) = (2, 24, source, destination);
    bytes[10..12].copy_from_slice(&blocks.to_be_bytes());
    bytes[18..20].copy_from_slice(&from.to_be_bytes());
    bytes[26..28].copy_from_slice(&to.to_be_bytes());
    bytes
}

fn list(cscds: &[[u8; 32]], segments: &[[u8; 28]]) -> Vec<u8> {
    let mut header = [0; 16];
    header[2..4].copy_from_slice(&(cscds.len() as u16 * 32).to_be_bytes());
    header[10..12].copy_from_slice(&(segments.len() as u16 * 28).to_be_bytes());
    [&header[..], cscds.as_flattened(), segments.as_flattened()].concat()
}

fn cdb(len: usize) -> [u8; 16] {
    let [high, low] = (len as u16).to_be_bytes();
    [0x83, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low, 0, 0]
}

fn refused(list: &[u8]) -> Sense {
    let mut rig = Rig::plain();
    let sense = rig.refused(&cdb(list.len()), list);
    assert_eq!(rig.ops, [], "nothing is copied of a list that is wrong");
    sense
}

const WRITE: OpKind = OpKind::Write { fua: false };

#[test]
fn segments_are_copied_one_after_the_other_in_pieces() {
    let mut rig = Rig::plain();
    let list = list(&[cscd()], &[segment(0, 0, 130, 10, 500), segment(0, 0, 0, 0, 0), segment(0, 0, 1, 500, 0)]);
    rig.good(&cdb(list.len()), &list);
    let expected = [
        (OpKind::Read, 10, 128),
        (WRITE, 500, 128),
        (OpKind::Read, 138, 2),
        (WRITE, 628, 2),
        (OpKind::Read, 500, 1),
        (WRITE, 0, 1),
    ];
    assert_eq!(rig.done(), expected);
    let first = |lba: usize| rig.bytes[lba * 512];
    assert_eq!([first(500), first(629), first(630), first(0), first(1)], [10, 139, 118, 10, 1]);
    rig.good(&cdb(0), &[]);
    let mut other_type = list.clone();
    other_type[16 + 1] = 0xc0;
    rig.good(&cdb(list.len()), &other_type);
    rig.good(&cdb(16), &[0; 16]);
}

#[test]
fn a_failure_tells_the_segment() {
    let mut rig = Rig::plain();
    rig.fails = |op| (op.offset == 500 * 512 && op.kind.is_change()).then_some(IoError::Medium);
    let list = list(&[cscd()], &[segment(0, 0, 1, 10, 20), segment(0, 0, 1, 10, 500)]);
    let sense = rig.refused(&cdb(list.len()), &list);
    assert_eq!(sense, Sense::new(SenseKey(0xa), Asc(0x0d01)).with_command_specific(1));
}

#[test]
fn lists_that_are_too_short_or_too_long() {
    let length_error = Sense::illegal(Asc(0x1a00));
    let good = list(&[cscd()], &[segment(0, 0, 1, 0, 1)]);
    assert_eq!(refused(&good[..15]), length_error);
    assert_eq!(refused(&good[..good.len() - 1]), length_error);
    assert_eq!(refused(&list(&[cscd(); 17], &[])), Sense::illegal(Asc(0x2606)));
    assert_eq!(refused(&list(&[cscd()], &[segment(0, 0, 1, 0, 1); 17])), Sense::illegal(Asc(0x2608)));
    assert_eq!(refused(&list(&[cscd(); 17], &[segment(0, 0, 1, 0, 1); 18])), length_error, "1,048 bytes");
    let mut inline = good.clone();
    inline[15] = 1;
    assert_eq!(refused(&inline), Sense::illegal(Asc(0x260b)));
    let mut odd = good;
    odd[11] = 27;
    assert_eq!(refused(&odd), Sense::invalid_parameter(8, None));
}

#[test]
fn descriptors_of_another_kind_or_of_another_device() {
    let aborted = |asc| Sense::new(SenseKey(0xa), Asc(asc)).with_command_specific(0);
    let with = |change: fn(&mut [u8; 32])| {
        let mut cscd = cscd();
        change(&mut cscd);
        refused(&list(&[cscd], &[segment(0, 0, 1, 0, 1)]))
    };
    assert_eq!(with(|cscd| cscd[0] = 0xe0), Sense::illegal(Asc(0x2607)));
    assert_eq!(with(|cscd| cscd[7] = 21), Sense::invalid_parameter(16 + 7, None));
    assert_eq!(with(|cscd| cscd[1] = 0x20), aborted(0x0d02), "NUL");
    assert_eq!(with(|cscd| cscd[1] = 0x01), aborted(0x0d03), "a tape");
    assert_eq!(with(|cscd| cscd[5] = 0x13), aborted(0x0d02), "a port");
    assert_eq!(with(|cscd| cscd[15] ^= 1), aborted(0x0d02));
    assert_eq!(with(|cscd| cscd[30] = 16), aborted_at(0x0000, 0, 16 + 29), "DISK BLOCK LENGTH");
}

/// COPY ABORTED by a segment, because of the field at a byte of the list.
fn aborted_at(asc: u16, segment: u64, byte: u16) -> Sense {
    let pointer = FieldPointer { in_cdb: false, byte, bit: None };
    let sense = Sense::new(SenseKey(0xa), Asc(asc)).with_command_specific(segment);
    Sense { specific: Some(SenseKeySpecific::Field(pointer)), ..sense }
}

#[test]
fn segments_that_cannot_be_copied() {
    let of = |segment| refused(&list(&[cscd()], &[segment]));
    let mut other = segment(0, 0, 1, 0, 1);
    other[0] = 0;
    assert_eq!(of(other), Sense::illegal(Asc(0x2609)));
    let mut short = segment(0, 0, 1, 0, 1);
    short[3] = 20;
    assert_eq!(of(short), Sense::invalid_parameter(16 + 32 + 2, None));
    assert_eq!(of(segment(0, 1, 1, 0, 1)), Sense::new(SenseKey(0xa), Asc(0x0d02)).with_command_specific(0));
    assert_eq!(of(segment(0, 0, 2, 999, 1)), aborted_at(0x0000, 0, 16 + 32 + 12));
    assert_eq!(of(segment(0, 0, 2, 1, 999)), aborted_at(0x0000, 0, 16 + 32 + 20));
    assert_eq!(of(segment(0, 0, 32_769, 0, 0)), aborted_at(0x0000, 0, 16 + 32 + 10), "16 MiB");
    let mut protected = Rig::new(&Info { read_only: true, ..info() });
    let list = list(&[cscd()], &[segment(0, 0, 1, 0, 1)]);
    let sense = Sense::new(SenseKey(7), Asc(0x2700)).with_command_specific(0);
    assert_eq!(protected.refused(&cdb(list.len()), &list), sense);
}

#[test]
fn a_segment_that_cannot_be_copied_comes_after_those_before_it() {
    let mut rig = Rig::plain();
    let list = list(&[cscd()], &[segment(0, 0, 1, 10, 20), segment(0, 0, 2, 999, 0), segment(0, 0, 1, 11, 21)]);
    assert_eq!(rig.refused(&cdb(list.len()), &list), aborted_at(0x0000, 1, 16 + 32 + 28 + 12));
    assert_eq!(rig.done(), [(OpKind::Read, 10, 1), (WRITE, 20, 1)]);
}

/// A segment of so many bytes from and to an offset into a block.
fn with_offset(bytes: u32, from: (u8, u16), to: (u8, u16)) -> [u8; 32] {
    let mut segment = [0; 32];
    (segment[0], segment[3]) = (0x0a, 28);
    segment[8..12].copy_from_slice(&bytes.to_be_bytes());
    (segment[19], segment[27]) = (from.0, to.0);
    segment[28..30].copy_from_slice(&from.1.to_be_bytes());
    segment[30..32].copy_from_slice(&to.1.to_be_bytes());
    segment
}

#[test]
fn segments_that_count_bytes() {
    let list = |segment: [u8; 32]| {
        let mut list = list(&[cscd()], &[]);
        list[11] = 32;
        [&list[..], &segment].concat()
    };
    let mut rig = Rig::plain();
    let good = list(with_offset(1024, (10, 0), (20, 512)));
    rig.good(&cdb(good.len()), &good);
    assert_eq!(rig.done(), [(OpKind::Read, 10, 2), (WRITE, 21, 2)]);
    let at = 16 + 32;
    assert_eq!(refused(&list(with_offset(1000, (0, 0), (9, 0)))), aborted_at(0x260a, 0, at + 12));
    assert_eq!(refused(&list(with_offset(512, (0, 0), (9, 100)))), aborted_at(0x260d, 0, at + 20));
    assert_eq!(refused(&list(with_offset(0x0100_0200, (0, 0), (9, 0)))), aborted_at(0x0000, 0, at + 8));
    assert_eq!(refused(&good[..good.len() - 1]), Sense::illegal(Asc(0x1a00)));
    let mut far = with_offset(512, (0, 512), (0, 0));
    far[12..20].fill(0xff);
    assert_eq!(refused(&list(far)), aborted_at(0x0000, 0, at + 12));
}

/// The same list for LID4, with a list identifier.
fn list_4(id: u8, cscds: &[[u8; 32]], segments: &[[u8; 28]]) -> Vec<u8> {
    let mut header = [0; 48];
    (header[0], header[3], header[16], header[23]) = (1, 32, 0xff, id);
    (header[43], header[45]) = (cscds.len() as u8 * 32, segments.len() as u8 * 28);
    [&header[..], cscds.as_flattened(), segments.as_flattened()].concat()
}

fn cdb_4(len: usize) -> [u8; 16] {
    let mut cdb = cdb(len);
    cdb[1] = 1;
    cdb
}

/// RECEIVE COPY STATUS and its like.
fn result(service_action: u8, id: [u8; 4]) -> [u8; 16] {
    let [a, b, c, d] = id;
    [0x84, service_action, a, b, c, d, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
}

#[test]
fn results_of_lid1() {
    let mut rig = Rig::plain();
    let mut list = list(&[cscd()], &[segment(0, 0, 3, 10, 20), segment(0, 0, 1, 10, 30)]);
    list[0] = 7;
    let unknown = Sense::invalid_field(2, None);
    assert_eq!(rig.refused(&result(0, [7, 0, 0, 0]), &[]), unknown);
    rig.good(&cdb(list.len()), &list);
    assert_eq!(rig.good(&result(1, [7, 0, 0, 0]), &[]), [0; 4], "no data is held");
    assert_eq!(rig.good(&result(4, [7, 0, 0, 0]), &[]), [0; 4], "nothing has failed");
    let told = rig.good(&result(5, [0, 0, 0, 7]), &[]);
    assert_eq!((told[4], told[5], told.len()), (0, 1, 32), "names are the same with one byte and with four");
    assert_eq!(rig.good(&result(0, [7, 0, 0, 0]), &[]), [0, 0, 0, 8, 1, 0, 2, 0, 0, 0, 0x08, 0]);
    assert_eq!(rig.refused(&result(0, [7, 0, 0, 0]), &[]), unknown, "it was forgotten with that");
    list[1] = 0x18;
    assert_eq!(rig.refused(&cdb(list.len()), &list), Sense::invalid_parameter(0, None));
    list[1] = 0x08;
    assert_eq!(rig.refused(&cdb(list.len()), &list), Sense::invalid_parameter(1, Some(4)));
    (list[0], list[1]) = (0, 0x18);
    rig.good(&cdb(list.len()), &list);
    assert_eq!(rig.refused(&result(0, [0; 4]), &[]), unknown, "it had no name");
}

#[test]
fn failure_details() {
    let mut rig = Rig::plain();
    rig.fails = |op| (op.offset == 500 * 512).then_some(IoError::Medium);
    let list = list(&[cscd()], &[segment(0, 0, 1, 10, 20), segment(0, 0, 1, 500, 20)]);
    let sense = rig.refused(&cdb(list.len()), &list);
    assert_eq!(rig.good(&result(0, [0; 4]), &[]), [0, 0, 0, 8, 2, 0, 2, 0, 0, 0, 2, 0]);
    let told = rig.good(&result(5, [0; 4]), &[]);
    assert_eq!(told[..16], [0, 0, 0, 48, 0, 2, 0, 2, 0xff, 0xff, 0xff, 0xfe, 2, 20, 18, 0], "two operations were done");
    assert_eq!((&told[32..50], &told[50..]), (sense.encode(false).as_bytes(), &[0, 0][..]));
    let mut short = result(4, [0; 4]);
    (short[12], short[13]) = (0, 77);
    assert_eq!(rig.good(&short, &[])[..4], [0, 0, 0, 74], "not all of it was told");
    let details = rig.good(&result(4, [0; 4]), &[]);
    assert_eq!((&details[..4], &details[56..60]), (&[0, 0, 0, 74][..], &[2, 0, 0, 18][..]));
    assert_eq!(&details[60..], sense.encode(false).as_bytes());
    assert_eq!(rig.refused(&result(4, [0; 4]), &[]), Sense::invalid_field(2, None), "all has been told");
    // Who has no room for them does not want them.
    rig.refused(&cdb(list.len()), &list);
    short[13] = 0;
    assert!(rig.good(&short, &[]).is_empty());
    assert_eq!(rig.good(&result(4, [0; 4]), &[]), [0; 4]);
}

#[test]
fn lid4() {
    let mut rig = Rig::plain();
    let good = list_4(9, &[cscd()], &[segment(0, 0, 3, 10, 20)]);
    rig.good(&cdb_4(good.len()), &good);
    assert_eq!(rig.done(), [(OpKind::Read, 10, 3), (WRITE, 20, 3)]);
    let status = rig.good(&result(5, [0, 0, 0, 9]), &[]);
    assert_eq!(status[..16], [0, 0, 0, 28, 1, 1, 0, 2, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0]);
    assert_eq!(status[16..], [0, 0, 0, 0, 0, 0, 0x06, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let mut with = |at: usize, byte: u8| {
        let mut list = good.clone();
        list[at] = byte;
        rig.refused(&cdb_4(list.len()), &list)
    };
    assert_eq!(with(0, 0), Sense::invalid_parameter(0, None));
    assert_eq!(with(3, 0), Sense::invalid_parameter(2, None));
    assert_eq!(with(15, 1), Sense::invalid_parameter(15, Some(0)), "IMMED");
    assert_eq!(with(15, 2), Sense::invalid_parameter(15, Some(1)), "G_SENSE");
    assert_eq!(with(16, 0), Sense::invalid_parameter(16, None));
    assert_eq!(with(47, 1), Sense::illegal(Asc(0x260b)));
    assert_eq!(with(43, 33), Sense::illegal(Asc(0x1a00)));
    assert_eq!(rig.refused(&cdb_4(47), &good[..47]), Sense::illegal(Asc(0x1a00)));
    rig.good(&cdb_4(0), &[]);
    let out = list_4(9, &[cscd()], &[segment(0, 0, 1, 999, 20), segment(0, 0, 2, 999, 20)]);
    assert_eq!(rig.refused(&cdb_4(out.len()), &out), aborted_at(0x0000, 1, 48 + 32 + 28 + 12));
    assert_eq!(rig.good(&result(5, [0, 0, 0, 9]), &[])[5], 2);
    let mut nameless = out.clone();
    nameless[1] = 0x18;
    assert_eq!(rig.refused(&cdb_4(out.len()), &nameless), Sense::invalid_parameter(20, None));
    nameless[1] = 0x08;
    assert_eq!(rig.refused(&cdb_4(out.len()), &nameless), Sense::invalid_parameter(1, Some(4)));
    let abort = [0x83, 0x1c, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(rig.refused(&abort, &[]), Sense::invalid_field(2, None), "there is none in progress");
}

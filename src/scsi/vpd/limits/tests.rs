use bdev::{Atomic, Discard, Info};

use super::*;
use crate::scsi::Threshold;
use crate::scsi::testing::{data, disk, info};

fn vpd(unit: &LogicalUnit, page: u8) -> Vec<u8> {
    data(unit, &[0x12, 0x01, page, 0x01, 0x00, 0])
}

fn padded_to(len: usize, head: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.resize(len, 0);
    bytes
}

fn thin(zeroes: bool) -> Info {
    Info { discard: Some(Discard { granularity: 65536, alignment: 0, max: 1 << 30, zeroes }), ..info() }
}

#[test]
fn block_limits_of_reads_and_writes() {
    let head = [0, 0xb0, 0, 0x3c, 0, 128, 0, 8, 0, 0, 0, 128, 0, 0, 0, 64];
    let write_same = [0, 0, 0, 0, 0, 0, 255, 255];
    let expected = [&head[..], &[0; 20], &write_same].concat();
    assert_eq!(vpd(&disk(&info()), 0xb0), padded_to(64, &expected));
    let unlimited = Info { max_transfer: 0, optimal_transfer: 0, physical_exponent: 0, ..info() };
    assert_eq!(vpd(&disk(&unlimited), 0xb0)[6..16], [0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(vpd(&disk(&Info { transfer_granularity: 65536, ..info() }), 0xb0)[6..8], [0, 128]);
}

#[test]
fn block_limits_of_unmap() {
    let unmap = [0, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 128, 0x80, 0, 0, 0];
    assert_eq!(vpd(&disk(&thin(true)), 0xb0)[20..36], unmap);
    let mut later = thin(true);
    later.discard.as_mut().unwrap().alignment = 4096;
    assert_eq!(vpd(&disk(&later), 0xb0)[32..36], [0x80, 0, 0, 8]);
}

#[test]
fn block_limits_of_atomic_writes() {
    let told = |atomic| vpd(&disk(&Info { atomic: Some(atomic), ..info() }), 0xb0)[44..].to_vec();
    let any = Atomic { unit: 512, max: 16384, natural: false, boundary: 0 };
    assert_eq!(told(any), [&[0, 0, 0, 32][..], &[0; 16]].concat());
    let units = [&[0, 0, 0, 32, 0, 0, 0, 8, 0, 0, 0, 8][..], &[0; 8]].concat();
    assert_eq!(told(Atomic { unit: 4096, natural: true, ..any }), units);
    assert_eq!(told(Atomic { max: 1 << 20, ..any })[..4], [0, 0, 0, 128], "no longer than a transfer");
}

#[test]
fn provisioning_is_what_the_initiator_can_do_about_it() {
    let page = |info: &Info| vpd(&disk(info), 0xb2);
    assert_eq!(page(&Info { thin: true, ..info() }), [0, 0xb2, 0, 4, 0, 0, 0, 0]);
    assert_eq!(page(&thin(true)), [0, 0xb2, 0, 4, 0, 0xe4, 2, 0]);
    assert_eq!(page(&thin(false)), [0, 0xb2, 0, 4, 0, 0xe0, 2, 0]);
    assert_eq!(page(&Info { anchor: true, ..thin(true) }), [0, 0xb2, 0, 4, 0, 0xe6, 2, 0], "ANC_SUP 001b");
    assert_eq!(page(&Info { anchor: true, ..info() })[5], 0, "nothing is unmapped");
    let with_threshold = |info: &Info| disk(info).with_threshold(Some(Threshold::of(info)));
    assert_eq!(vpd(&with_threshold(&thin(true)), 0xb2), [0, 0xb2, 0, 4, 11, 0xe4, 2, 0]);
    assert_eq!(vpd(&with_threshold(&info()), 0xb2)[4], 0, "nothing is thin");
}

#[test]
fn optimal_transfers_are_whole_and_possible() {
    let blocks = |optimal_transfer, max: Option<u32>, exponent| {
        optimal_blocks(&Info { optimal_transfer, ..info() }, max, exponent)
    };
    assert_eq!(blocks(65536, Some(100), 3), 96, "no longer than a transfer, whole physical blocks");
    assert_eq!(blocks(2048, None, 0), 0, "shorter than 4 KiB");
    assert_eq!(blocks(4096, None, 3), 8);
    assert_eq!(blocks(4095, None, 0), 0);
    assert_eq!(blocks(u32::MAX, None, 0), 65535, "no longer than READ (10) can ask for");
    assert_eq!(blocks(1 << 20, None, 15), 0, "not one physical block");
}

use bdev::Info;

use super::*;
use crate::scsi::testing::{data, disk, info, refused};
use crate::scsi::{Identity, Naa};

fn vpd(unit: &LogicalUnit, page: u8) -> Vec<u8> {
    data(unit, &[0x12, 0x01, page, 0x01, 0x00, 0])
}

fn padded_to(len: usize, head: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.resize(len, 0);
    bytes
}

#[test]
fn supported_pages() {
    let expected = [0, 0x00, 0, 6, 0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2];
    assert_eq!(vpd(&disk(&info()), 0x00), expected);
}

#[test]
fn every_page_that_is_listed_is_there_and_no_other() {
    let unit = disk(&info());
    let listed = &vpd(&unit, 0x00)[4..];
    for page in 0..=255 {
        if listed.contains(&page) {
            let bytes = vpd(&unit, page);
            assert_eq!(bytes[..2], [0, page]);
            assert_eq!(usize::from(bytes[2]) << 8 | usize::from(bytes[3]), bytes.len() - 4);
        } else {
            assert_eq!(refused(&unit, &[0x12, 0x01, page, 0, 255, 0]), Sense::invalid_field(2, None));
        }
    }
}

#[test]
fn unit_serial_number() {
    assert_eq!(vpd(&disk(&info()), 0x80), [0, 0x80, 0, 2, b'S', b'1']);
}

#[test]
fn device_identification() {
    let identity = Identity::derive("x").with_serial("S1").unwrap().with_naa(Naa::local(0x1234));
    let bytes = vpd(&LogicalUnit::new(identity.clone(), &info()), 0x83);
    let mut expected = vec![0, 0x83, 0, 42, 0x01, 0x03, 0, 8, 0x30, 0, 0, 0, 0, 0, 0x12, 0x34, 0x02, 0x01, 0, 26];
    expected.extend(b"ANNULUS ANNULUS DISK    S1");
    assert_eq!(bytes, expected);

    let long = identity.with_naa(Naa::parse("60014050000000000000000000000001").unwrap());
    let bytes = vpd(&LogicalUnit::new(long, &info()), 0x83);
    assert_eq!(bytes[..12], [0, 0x83, 0, 50, 0x01, 0x03, 0, 16, 0x60, 0x01, 0x40, 0x50]);
    assert_eq!(bytes[24..28], [0x02, 0x01, 0, 26]);
}

#[test]
fn block_limits() {
    let expected = padded_to(64, &[0, 0xb0, 0, 0x3c, 0, 0, 0, 8, 0, 0, 0, 128, 0, 0, 0, 64]);
    assert_eq!(vpd(&disk(&info()), 0xb0), expected);
    let unlimited = Info { max_transfer: 0, optimal_transfer: 0, physical_exponent: 0, ..info() };
    let expected = padded_to(64, &[0, 0xb0, 0, 0x3c, 0, 0, 0, 1]);
    assert_eq!(vpd(&disk(&unlimited), 0xb0), expected);
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

#[test]
fn block_device_characteristics() {
    assert_eq!(vpd(&disk(&info()), 0xb1), padded_to(64, &[0, 0xb1, 0, 0x3c, 0, 1]));
    let rotating = Info { solid_state: false, ..info() };
    assert_eq!(vpd(&disk(&rotating), 0xb1), padded_to(64, &[0, 0xb1, 0, 0x3c, 0, 0]));
}

#[test]
fn logical_block_provisioning() {
    let thin = Info { thin: true, ..info() };
    assert_eq!(vpd(&disk(&thin), 0xb2), [0, 0xb2, 0, 4, 0, 0, 0, 0]);
}

#[test]
fn the_page_length_is_that_of_the_whole_page() {
    let unit = disk(&info());
    let whole = vpd(&unit, 0xb0);
    for allocation_length in 0..=64 {
        let bytes = data(&unit, &[0x12, 0x01, 0xb0, 0, allocation_length, 0]);
        assert_eq!(bytes, whole[..usize::from(allocation_length)]);
    }
}

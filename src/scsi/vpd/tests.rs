use bdev::{Info, WriteCache};

use super::*;
use crate::scsi::testing::{data, disk, info, refused};
use crate::scsi::{Eui64, Identity, Naa, Port};

fn vpd(unit: &LogicalUnit, page: u8) -> Vec<u8> {
    data(unit, &[0x12, 0x01, page, 0x04, 0x00, 0])
}

fn padded_to(len: usize, head: &[u8]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    bytes.resize(len, 0);
    bytes
}

#[test]
fn supported_pages() {
    let expected = [0, 0x00, 0, 10, 0x00, 0x80, 0x83, 0x86, 0x87, 0x88, 0x8f, 0xb0, 0xb1, 0xb2];
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

fn port() -> Port {
    Port { relative: 0x0102, group: None, naa: Naa::local(0x55) }
}

/// Behind the names of the logical unit.
const PORT_NAMES: [u8; 20] = [0x01, 0x13, 0, 8, 0x30, 0, 0, 0, 0, 0, 0, 0x55, 0x01, 0x14, 0, 4, 0, 0, 0x01, 0x02];

#[test]
fn device_identification() {
    let identity = Identity::derive("x").with_serial("S1").unwrap().with_naa(Naa::local(0x1234));
    let bytes = vpd(&LogicalUnit::new(identity.clone(), &info()).at_port(port()), 0x83);
    let mut expected = vec![0, 0x83, 0, 90, 0x01, 0x03, 0, 8, 0x30, 0, 0, 0, 0, 0, 0x12, 0x34, 0x02, 0x01, 0, 26];
    expected.extend(b"ANNULUS ANNULUS DISK    S1");
    expected.extend(b"\x03\x08\0\x18naa.3000000000001234\0\0\0\0");
    expected.extend(PORT_NAMES);
    assert_eq!(bytes, expected);

    let long = identity.with_naa(Naa::parse("60014050000000000000000000000001").unwrap());
    let bytes = vpd(&LogicalUnit::new(long, &info()), 0x83);
    assert_eq!(bytes[..12], [0, 0x83, 0, 114, 0x01, 0x03, 0, 16, 0x60, 0x01, 0x40, 0x50]);
    assert_eq!(bytes[24..28], [0x02, 0x01, 0, 26]);
    assert_eq!(bytes[54..58], [0x03, 0x08, 0, 40]);
    assert_eq!(&bytes[58..98], b"naa.60014050000000000000000000000001\0\0\0\0");
}

#[test]
fn names_that_not_every_disk_has() {
    let eui64 = Eui64::parse("0011223344556677").unwrap();
    let nguid = Eui64::from([0x99; 16]);
    let identity = Identity::derive("x").with_serial("S1").unwrap().with_eui64(nguid).with_eui64(eui64);
    let identity = identity.with_uuid([0xaa; 16]);
    let bytes = vpd(&LogicalUnit::new(identity, &info()).at_port(Port { group: Some(3), ..port() }), 0x83);
    let eui64 = [0x01, 0x02, 0, 8, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77];
    let uuid = [&[0x01, 0x0a, 0, 18, 0x10, 0][..], &[0xaa; 16]].concat();
    let nguid = [&[0x01, 0x02, 0, 16][..], &[0x99; 16]].concat();
    assert_eq!(bytes[46..100], [&nguid[..], &eui64, &uuid].concat());
    assert_eq!(bytes[128..], [&PORT_NAMES[..], &[0x01, 0x15, 0, 4, 0, 0, 0, 3]].concat());
    assert_eq!(bytes[3] as usize, bytes.len() - 4);
}

#[test]
fn extended_inquiry() {
    let write_back = padded_to(64, &[0, 0x86, 0, 0x3c, 0, 0x07, 0x01, 0, 0, 0, 0, 0, 0, 40]);
    assert_eq!(vpd(&disk(&info()), 0x86), write_back);
    let through = Info { write_cache: WriteCache::WriteThrough, ..info() };
    assert_eq!(vpd(&disk(&through), 0x86)[4..8], [0, 0x07, 0, 0]);
}

#[test]
fn mode_page_policy() {
    assert_eq!(vpd(&disk(&info()), 0x87), [0, 0x87, 0, 4, 0x3f, 0xff, 0x00, 0]);
}

#[test]
fn scsi_ports() {
    let expected =
        [&[0, 0x88, 0, 24, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 12][..], &[1, 0x13, 0, 8, 0x30, 0, 0, 0, 0, 0, 0, 0x55]];
    let unit = disk(&info()).at_port(port());
    assert_eq!(vpd(&unit, 0x88), expected.concat());

    let other = Port { relative: 3, group: None, naa: Naa::local(0x77) };
    let mut reply = Reply::new();
    reply.begin(1000);
    page(&unit, 0x88, Some(&[port(), other]), &mut reply).unwrap();
    let other = [&[0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 12][..], &[1, 0x13, 0, 8, 0x30, 0, 0, 0, 0, 0, 0, 0x77]].concat();
    assert_eq!(reply.as_bytes(), [&[0, 0x88, 0, 48][..], &expected.concat()[4..], &other].concat());
}

#[test]
fn block_device_characteristics() {
    assert_eq!(vpd(&disk(&info()), 0xb1), padded_to(64, &[0, 0xb1, 0, 0x3c, 0, 1, 0, 0x40, 0x03]));
    let rotating = Info { solid_state: false, ..info() };
    assert_eq!(vpd(&disk(&rotating), 0xb1), padded_to(64, &[0, 0xb1, 0, 0x3c, 0, 0, 0, 0x40, 0x03]));
}

#[test]
fn the_page_length_is_that_of_the_whole_page() {
    let unit = disk(&info());
    for page in PAGES.map(|page| page.0) {
        let whole = vpd(&unit, page);
        for allocation_length in 0..=whole.len() as u8 {
            let bytes = data(&unit, &[0x12, 0x01, page, 0, allocation_length, 0]);
            assert_eq!(bytes, whole[..usize::from(allocation_length)]);
        }
    }
}

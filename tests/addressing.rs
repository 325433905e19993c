//! All that the eight bytes of a LUN can name, at a running target: every target, every form of a logical unit number, the
//! well-known logical unit, and what is not there.

mod common;

use std::fmt::Write;

use annulus_bench::Guest;
use annulus_bench::guest::cdb;
use annulus_bench::guest::scsi::{Command, Lun, Response};
use annulus_bench::guest::spec::response;
use common::io::{good, settle};
use common::{Target, cpumask, directory};
use rustix::process::Signal;
use tempfile::TempDir;

const FILE: &str = "annulus.toml";

/// Writes the configuration of one controller with an empty disk at each of these targets and logical units.
fn configure(dir: &TempDir, units: impl Iterator<Item = (u16, u16)>) {
    let mut config = format!("[[controller]]\nsocket = \"vm0.sock\"\ncpumask = \"{}\"\ndisks = [\n", cpumask(1));
    for (target, lun) in units {
        writeln!(config, "\"null:size=1M,target={target},lun={lun},serial=T{target}L{lun}\",")
            .expect("a string takes it");
    }
    std::fs::write(dir.path().join(FILE), config + "]\n").expect("write the configuration");
}

/// A target that serves such a controller, and its guest.
fn start(units: impl Iterator<Item = (u16, u16)>) -> (Target, Guest) {
    let dir = directory();
    configure(&dir, units);
    let target = Target::serve(dir, &["--config", FILE]);
    target.await_socket("vm0.sock");
    let guest = target.guest();
    (target, guest)
}

/// SIGHUP, to the end of the change.
fn reload(target: &Target) {
    let before = target.output().len();
    target.signal(Signal::HUP);
    target.until("the end of the change", || target.output()[before..].contains("reloaded\n"));
    assert!(!target.output()[before..].contains("nothing was changed"), "{}", &target.output()[before..]);
}

fn execute(guest: &mut Guest, lun: Lun, cdb: Vec<u8>, len: usize) -> Response {
    guest.execute(0, &Command::data_in(lun, cdb, len)).expect("an answer")
}

/// The serial number behind an address.
fn serial(guest: &mut Guest, lun: Lun) -> String {
    let page = good(guest, &Command::data_in(lun, cdb::inquiry(Some(0x80), 255), 255)).data;
    String::from_utf8(page[4..4 + usize::from(page[3])].to_vec()).expect("ASCII")
}

/// The entries of REPORT LUNS.
fn reported(guest: &mut Guest, lun: Lun, select: u8) -> Vec<[u8; 8]> {
    // All that there can be, and the well-known one.
    const ROOM: usize = 8 + 8 * (16_384 + 1);
    let list = good(guest, &Command::data_in(lun, cdb::report_luns(select, ROOM as u32), ROOM)).data;
    let len = u32::from_be_bytes(*list.first_chunk().expect("a length")) as usize;
    list[8..8 + len].as_chunks().0.to_vec()
}

#[test]
fn every_target_and_both_ends_of_each_form_of_number() {
    const HIGHEST: u16 = 16_383;
    let (target, mut guest) =
        start((0..=255).map(|target| (target, 0)).chain([(255, 255), (255, 256), (255, HIGHEST)]));
    for number in 0..=255 {
        let expected = format!("T{number}L0");
        assert_eq!(serial(&mut guest, Lun::new(number, 0)), expected, "flat space");
        assert_eq!(serial(&mut guest, Lun::peripheral(number, 0)), expected, "peripheral");
    }
    assert_eq!(serial(&mut guest, Lun::peripheral(255, 255)), "T255L255");
    for lun in [255, 256, HIGHEST] {
        assert_eq!(serial(&mut guest, Lun::new(255, lun)), format!("T255L{lun}"));
    }
    // Each target is a device of its own; the well-known logical unit of all lists those of all.
    let [zero, highest] = [[0; 8], [0x7f, 0xff, 0, 0, 0, 0, 0, 0]];
    let of_last = [zero, [0, 255, 0, 0, 0, 0, 0, 0], [0x41, 0, 0, 0, 0, 0, 0, 0], highest];
    let well_known = [0xc1, 0x01, 0, 0, 0, 0, 0, 0];
    for (select, expected) in [
        (0x00, of_last.to_vec()),
        (0x01, vec![well_known]),
        (0x02, [&of_last[..], &[well_known]].concat()),
        (0x10, vec![]),
        (0x11, of_last.to_vec()),
        (0x12, vec![]),
    ] {
        assert_eq!(reported(&mut guest, Lun::new(255, 0), select), expected, "SELECT REPORT {select:02x}h");
        assert_eq!(reported(&mut guest, Lun([1, 255, 0xc1, 0x01, 0, 0, 0, 0]), select), expected);
    }
    assert_eq!(reported(&mut guest, Lun::new(7, 0), 0), [zero]);
    let all = reported(&mut guest, Lun::WELL_KNOWN, 0);
    assert_eq!((all.len(), all[7], all[258]), (259, [1, 7, 0, 0, 0, 0, 0, 0], [1, 255, 0x7f, 0xff, 0, 0, 0, 0]));
    let refused = execute(&mut guest, Lun::new(255, 0), cdb::report_luns(0x03, 64), 64);
    assert_eq!(refused.sense_code(), Some((5, 0x24, 0)));
    target.stop();
}

#[test]
fn what_is_not_there_says_so() {
    let (target, mut guest) = start([(0, 3), (7, 0)].into_iter());
    settle(&mut guest, Lun::new(7, 0));
    for lun in [Lun::new(7, 1), Lun::peripheral(7, 255), Lun::new(7, 16_383), Lun::new(0, 0)] {
        let inquiry = execute(&mut guest, lun, cdb::inquiry(None, 96), 96);
        assert_eq!((inquiry.response, inquiry.status, inquiry.data[0]), (response::OK, 0, 0x7f), "{lun:02x?}");
        let pages = execute(&mut guest, lun, cdb::inquiry(Some(0), 96), 96);
        assert_eq!(pages.data_sent(), [0x7f, 0, 0, 1, 0]);
        let sense = execute(&mut guest, lun, vec![0x03, 0, 0, 0, 18, 0], 18);
        assert_eq!((sense.data[2], sense.data[12], sense.data[13]), (5, 0x25, 0));
        for cdb in [cdb::test_unit_ready(), cdb::read_capacity_10(), vec![0xfe; 10]] {
            assert_eq!(execute(&mut guest, lun, cdb, 96).sense_code(), Some((5, 0x25, 0)), "{lun:02x?}");
        }
    }
    // REPORT LUNS is answered at LUN 0 of a target in any case, and at no other number that is missing.
    assert_eq!(reported(&mut guest, Lun::new(0, 0), 0), [[0, 3, 0, 0, 0, 0, 0, 0]]);
    let refused = execute(&mut guest, Lun::new(0, 1), cdb::report_luns(0, 64), 64);
    assert_eq!(refused.sense_code(), Some((5, 0x25, 0)));
    for missing in [1, 6, 8, 255] {
        let answer = execute(&mut guest, Lun::new(missing, 0), cdb::inquiry(None, 96), 96);
        assert_eq!(answer.response, response::BAD_TARGET, "target {missing}");
    }
    // Two levels, extended addressing, another first byte.
    let odd = [
        ([1, 7, 0, 0, 0x40, 1, 0, 0], response::INCORRECT_LUN),
        ([1, 7, 1, 0, 0, 0, 0, 0], response::INCORRECT_LUN),
        ([1, 7, 0x80, 0, 0, 0, 0, 0], response::INCORRECT_LUN),
        ([1, 7, 0xd2, 0, 0, 1, 0, 0], response::INCORRECT_LUN),
        ([0, 7, 0, 0, 0, 0, 0, 0], response::BAD_TARGET),
        ([0xc1, 2, 0, 0, 0, 0, 0, 0], response::BAD_TARGET),
    ];
    for (bytes, expected) in odd {
        let answer = execute(&mut guest, Lun(bytes), cdb::inquiry(None, 96), 96);
        assert_eq!(answer.response, expected, "{bytes:02x?}");
    }
    target.stop();
}

/// A LUN as REPORT LUNS has it.
fn encoded(lun: u16) -> [u8; 8] {
    let [high, low] = lun.to_be_bytes();
    [if high == 0 { 0 } else { 0x40 | high }, low, 0, 0, 0, 0, 0, 0]
}

#[test]
fn as_many_logical_units_as_a_target_can_have() {
    const COUNT: u16 = 16_384;
    let (target, mut guest) = start((0..COUNT).map(|lun| (9, lun)));
    let expected: Vec<_> = (0..COUNT).map(encoded).collect();
    assert!(reported(&mut guest, Lun::new(9, 0), 0) == expected);
    assert!(reported(&mut guest, Lun::new(9, COUNT - 1), 2).len() == usize::from(COUNT) + 1, "the well-known one, too");
    for lun in 0..COUNT {
        assert_eq!(serial(&mut guest, Lun::new(9, lun)), format!("T9L{lun}"));
    }
    let memory = target.private_bytes();
    assert!(memory < 400 << 20, "{} MiB", memory >> 20);
    target.stop();
}

#[test]
fn many_logical_units_of_every_target_that_come_and_go() {
    const LUNS: u16 = 8;
    let all = || (0..=255).flat_map(|target| (0..LUNS).map(move |lun| (target, lun * 257)));
    let (target, mut guest) = start(all());
    assert_eq!(reported(&mut guest, Lun::WELL_KNOWN, 0).len(), 256 * usize::from(LUNS));
    for (number, lun) in all() {
        let at = Lun::new(number as u8, lun);
        assert_eq!(serial(&mut guest, at), format!("T{number}L{lun}"));
    }
    // Half of each go, others come in their place and beside them.
    let next = || (0..=255).flat_map(|target| (LUNS / 2..LUNS + 2).map(move |lun| (target, lun * 257)));
    configure(&target.directory(), next());
    reload(&target);
    let expected: Vec<_> = (LUNS / 2..LUNS + 2).map(|lun| encoded(lun * 257)).collect();
    for number in 0..=255 {
        settle(&mut guest, Lun::new(number, LUNS * 257));
        assert_eq!(reported(&mut guest, Lun::new(number, LUNS * 257), 0), expected);
        assert_eq!(serial(&mut guest, Lun::new(number, LUNS * 257)), format!("T{number}L{}", LUNS * 257));
    }
    target.stop();
}

use super::*;
use crate::scsi::sense::Sense;
use crate::scsi::{Identity, LogicalUnit, Step, Unit, testing};

fn answer(unit: &Unit, cdb: &[u8]) -> (Outcome, Vec<u8>) {
    let luns = [[0, 3, 0, 0, 0, 0, 0, 0]];
    let condition = Condition { luns: &luns, ..Condition::default() };
    let mut reply = Reply::new();
    let command = match unit.decode(cdb) {
        Ok(command) => command,
        Err(outcome) => return (outcome, vec![]),
    };
    match unit.start(&command, &condition, &mut reply) {
        Step::Done(outcome) => (outcome, reply.as_bytes().to_vec()),
        Step::Long => (unit.begin(&command, &condition).expect_err("nothing is here"), vec![]),
        Step::Block(op) => panic!("no device is behind this unit: {op:?}"),
    }
}

const ZERO: Unit = Unit::Missing(MissingUnit::new(true));
const OTHER: Unit = Unit::Missing(MissingUnit::new(false));

#[test]
fn inquiry_says_nothing_is_here() {
    let (outcome, data) = answer(&OTHER, &[0x12, 0, 0, 0, 96, 0]);
    assert_eq!((outcome, data[0], data.len()), (Outcome::GOOD, 0x7f, 36));
    assert_eq!(answer(&OTHER, &[0x12, 1, 0, 0, 96, 0]), (Outcome::GOOD, vec![0x7f, 0, 0, 1, 0]));
    assert_eq!(answer(&OTHER, &[0x12, 1, 0, 0, 2, 0]), (Outcome::GOOD, vec![0x7f, 0]));
    let refused = Outcome::check(Sense::invalid_field(2, None));
    assert_eq!(answer(&OTHER, &[0x12, 1, 0x83, 0, 96, 0]), (refused, vec![]));
    assert_eq!(answer(&OTHER, &[0x12, 0, 0x83, 0, 96, 0]), (refused, vec![]));
}

#[test]
fn request_sense_returns_the_reason_as_data() {
    let fixed = vec![0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x25, 0, 0, 0, 0, 0];
    assert_eq!(answer(&OTHER, &[0x03, 0, 0, 0, 18, 0]), (Outcome::GOOD, fixed));
    let descriptor = vec![0x72, 5, 0x25, 0, 0, 0, 0, 0];
    assert_eq!(answer(&OTHER, &[0x03, 1, 0, 0, 252, 0]), (Outcome::GOOD, descriptor));
}

#[test]
fn report_luns_works_at_lun_zero() {
    let cdb = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    let list = vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0];
    assert_eq!(answer(&ZERO, &cdb), (Outcome::GOOD, list));
    assert_eq!(answer(&OTHER, &cdb), (MissingUnit::NOT_SUPPORTED, vec![]));
}

#[test]
fn all_else_is_not_supported() {
    let not_supported = Outcome::check(Sense::illegal(Asc(0x2500)));
    let cdbs: [&[u8]; 5] = [&[0x00, 0, 0, 0, 0, 0], &[0x28; 10], &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[0xff; 16], &[]];
    for cdb in cdbs {
        assert_eq!(answer(&ZERO, cdb), (not_supported, vec![]), "{cdb:x?}");
    }
}

#[test]
fn a_disk_says_what_is_wrong_instead() {
    let disk = Unit::Disk(LogicalUnit::new(Identity::derive("x"), &testing::info()));
    let unknown = Outcome::check(Sense::illegal(Asc(0x2000)));
    assert_eq!(disk.decode(&[0xff; 16]), Err(unknown));
    assert!(disk.disk().is_some());
    assert!(ZERO.disk().is_none());
}

//! What is looked at beside the cores: who is told that space runs short, and when again, and how warm a device is.

use std::sync::Arc;

use super::bed::Bed;
use super::guest::{Data, TEST_UNIT_READY};
use super::sim_disk::SimDisk;

/// So much of the one threshold set is left.
const SHORT: u64 = 1 << 20;
const ENOUGH: u64 = 3 << 20;

/// Two guests at a disk with enough space.
fn bed() -> (Bed, SimDisk) {
    let disk = SimDisk::new(64);
    disk.set_available(ENOUGH);
    let mut bed = Bed::of(1, vec![Arc::new(disk.clone())]);
    (0..2).for_each(|_| assert!(bed.add_guest(1) < 2));
    (bed, disk)
}

/// The sense code that TEST UNIT READY tells, if any.
fn told(bed: &mut Bed, guest: usize) -> Option<u16> {
    bed.guests[guest].send(0, 0, &TEST_UNIT_READY, Data::Without);
    bed.run();
    bed.guests[guest].take_one().sense.map(|(_, code)| code)
}

/// MODE SELECT of LBPERE and ENABLED.
fn select(bed: &mut Bed, guest: usize, (lbpere, enabled): (bool, bool)) {
    let flag = |set| if set { 0x80 } else { 0 };
    let recovery = [0x01, 0x0a, 0, 0, 0, 0, 0, flag(lbpere), 0, 0, 0, 0];
    let provisioning = [&[0x5c, 0x02, 0, 20][..], &[0; 12], &[flag(enabled), 1, 0, 0, 0, 0, 0, 1]].concat();
    let list = [&[0; 4][..], &recovery, &provisioning].concat();
    bed.guests[guest].send(0, 0, &[0x15, 0x10, 0, 0, list.len() as u8, 0], Data::Out(&list));
    bed.run();
    assert_eq!(bed.guests[guest].take_one().status, 0);
}

fn survey(bed: &Bed) {
    bed.disks[0].sharing.survey();
}

#[test]
fn who_wants_to_know_is_told_once_each_time_space_runs_short() {
    let (mut bed, disk) = bed();
    select(&mut bed, 0, (true, true));
    assert_eq!(told(&mut bed, 1), Some(0x2a01), "they are those of the unit");
    for _ in 0..2 {
        survey(&bed);
        assert_eq!(told(&mut bed, 0), None, "there is enough");
        disk.set_available(SHORT);
        survey(&bed);
        assert_eq!([told(&mut bed, 0), told(&mut bed, 1)], [Some(0x3807); 2]);
        survey(&bed);
        assert_eq!([told(&mut bed, 0), told(&mut bed, 1)], [None; 2], "still short");
        disk.set_available(ENOUGH);
    }
}

#[test]
fn both_bits_are_needed() {
    let (mut bed, disk) = bed();
    disk.set_available(SHORT);
    for bits in [(true, false), (false, true)] {
        select(&mut bed, 1, bits);
        survey(&bed);
        assert_eq!(told(&mut bed, 1), None, "{bits:?}");
    }
    select(&mut bed, 1, (true, true));
    survey(&bed);
    assert_eq!(told(&mut bed, 1), Some(0x3807), "it was short before");
    select(&mut bed, 1, (false, true));
    survey(&bed);
    select(&mut bed, 1, (true, true));
    survey(&bed);
    assert_eq!(told(&mut bed, 1), Some(0x3807), "who asks anew is told anew");
}

#[test]
fn log_sense_tells_what_was_found() {
    let (mut bed, disk) = bed();
    let available = |bed: &mut Bed| {
        bed.guests[0].send(0, 0, &[0x4d, 0, 0x4c, 0, 0, 0, 0, 0, 64, 0], Data::In(64));
        bed.run();
        let data = bed.guests[0].take_one().data;
        assert_eq!(data[..8], [0x8c, 0, 0, 24, 0, 1, 3, 8]);
        data[11]
    };
    assert_eq!(available(&mut bed), 3);
    disk.set_available(7 << 20);
    assert_eq!(available(&mut bed), 3, "no command looks itself");
    survey(&bed);
    assert_eq!(available(&mut bed), 7);
}

#[test]
fn a_device_is_asked_how_it_is_and_may_not_say() {
    let disk = SimDisk::new(64);
    disk.set_temperature(40);
    let mut bed = Bed::of(1, vec![Arc::new(disk.clone())]);
    bed.add_guest(1);
    let temperature = |bed: &mut Bed| {
        bed.guests[0].send(0, 0, &[0x4d, 0, 0x4d, 0, 0, 0, 0, 0, 64, 0], Data::In(64));
        bed.run();
        bed.guests[0].take_one().data[9]
    };
    assert_eq!(temperature(&mut bed), 0xff, "nobody has asked");
    bed.disks[0].sharing.check_up();
    assert_eq!(temperature(&mut bed), 40);
    disk.set_temperature(50);
    survey(&bed);
    assert_eq!(temperature(&mut bed), 40, "nobody else asks");
    bed.disks[0].sharing.check_up();
    assert_eq!(temperature(&mut bed), 50);
}

//! What a driver sets, and what it finds afterwards: mode pages, clock, names; and the well-known logical units.

use std::sync::Arc;

use bdev::MemBdev;

use super::bed::Bed;
use super::guest::{Data, Ended, TEST_UNIT_READY, read_10, write_10};
use crate::scsi::Attention;
use crate::target::sharing::store::Store;
use crate::virtio_scsi::LunAddress;

const CHECK_CONDITION: u8 = 2;

fn bed() -> Bed {
    let mut bed = Bed::of(1, vec![Arc::new(MemBdev::new(1 << 20, 512).unwrap())]);
    bed.add_guest(1);
    bed
}

/// Sends one command to target 0 and takes its answer.
fn execute(bed: &mut Bed, cdb: &[u8], data: Data<'_>) -> Ended {
    bed.guest().send(0, 0, cdb, data);
    bed.run();
    bed.guest().take_one()
}

/// MODE SELECT (6) of the control page with D_SENSE and SWP.
fn select_control(bed: &mut Bed, save: bool, d_sense: bool, swp: bool) {
    let (d_sense, swp) = (u8::from(d_sense) << 2, u8::from(swp) << 3);
    let list = [0, 0, 0, 0, 0x0a, 0x0a, 0x22 | d_sense, 0x10, swp, 0, 0, 0, 0xff, 0xff, 0, 0];
    let ended = execute(bed, &[0x15, 0x10 | u8::from(save), 0, 0, 16, 0], Data::Out(&list));
    assert_eq!((ended.response, ended.status, ended.resid), (0, 0, 0));
}

/// MODE SENSE (6) of the control page: its bytes with D_SENSE and SWP.
fn control(bed: &mut Bed, page_control: u8) -> [u8; 2] {
    let ended = execute(bed, &[0x1a, 0x08, page_control << 6 | 0x0a, 0, 16, 0], Data::In(16));
    assert_eq!(ended.status, 0);
    [ended.data[6], ended.data[8]]
}

#[test]
fn software_write_protection() {
    let mut bed = bed();
    select_control(&mut bed, false, false, true);
    let ended = execute(&mut bed, &write_10(0, 1), Data::Out(&[1; 512]));
    assert_eq!((ended.status, ended.sense), (CHECK_CONDITION, Some((7, 0x2702))));
    assert_eq!(execute(&mut bed, &read_10(0, 1), Data::In(512)).status, 0);
    select_control(&mut bed, false, false, false);
    assert_eq!(execute(&mut bed, &write_10(0, 1), Data::Out(&[1; 512])).status, 0);
}

#[test]
fn sense_data_in_the_format_that_was_chosen() {
    let mut bed = bed();
    let out_of_range = [0x88, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
    select_control(&mut bed, false, true, false);
    let ended = execute(&mut bed, &out_of_range, Data::In(512));
    assert_eq!((ended.status, ended.sense, ended.descriptors), (CHECK_CONDITION, Some((5, 0x2100)), true));
    select_control(&mut bed, false, false, false);
    let ended = execute(&mut bed, &out_of_range, Data::In(512));
    assert_eq!((ended.status, ended.sense, ended.descriptors), (CHECK_CONDITION, Some((5, 0x2100)), false));
}

#[test]
fn a_reset_and_a_start_bring_back_what_was_saved() {
    let dir = tempfile::tempdir().unwrap();
    let start = || {
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let mut bed = Bed::keeping(1, vec![Arc::new(MemBdev::new(1 << 20, 512).unwrap())], Some(store));
        // The second one is another port of the same disk.
        bed.add_guest(1);
        bed.add_guest(1);
        bed
    };
    let mut bed = start();
    assert_eq!(control(&mut bed, 3), [0x22, 0x00]);
    select_control(&mut bed, true, true, false);
    select_control(&mut bed, false, false, true);
    assert_eq!(control(&mut bed, 0), [0x22, 0x08]);
    assert_eq!(control(&mut bed, 3), [0x26, 0x00]);
    for (others, expected) in [(1, [0x22, 0x08]), (0, [0x26, 0x00])] {
        if others == 0 {
            bed.guests[1].adapter.luns().port.end();
        }
        bed.guest().adapter.luns().raise(Attention::HardReset, |_| true);
        assert_eq!(execute(&mut bed, &TEST_UNIT_READY, Data::Without).status, CHECK_CONDITION);
        assert_eq!(control(&mut bed, 0), expected, "with {others} others at work");
    }
    drop(bed);
    let mut bed = start();
    assert_eq!([control(&mut bed, 0), control(&mut bed, 2), control(&mut bed, 3)], [[0x26, 0], [0x22, 0], [0x26, 0]]);
    bed.guests.remove(0);
    assert_eq!(control(&mut bed, 0), [0x26, 0x00], "at the other port, too");
}

#[test]
fn what_cannot_be_saved_is_not_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&dir.path().join("state")).unwrap());
    let mut bed = Bed::keeping(1, vec![Arc::new(MemBdev::new(1 << 20, 512).unwrap())], Some(store));
    bed.add_guest(1);
    std::fs::remove_dir(dir.path().join("state")).unwrap();
    let list = [0, 0, 0, 0, 0x0a, 0x0a, 0x26, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0];
    let ended = execute(&mut bed, &[0x15, 0x11, 0, 0, 16, 0], Data::Out(&list));
    assert_eq!((ended.status, ended.sense), (CHECK_CONDITION, Some((4, 0x4400))));
    assert_eq!([control(&mut bed, 0), control(&mut bed, 3)], [[0x22, 0], [0x22, 0]]);
}

#[test]
fn a_timestamp_runs_on() {
    let mut bed = bed();
    let report = [0xa3, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0];
    let first = execute(&mut bed, &report, Data::In(12)).data;
    assert_eq!(first[..4], [0, 10, 3, 0], "the clock of the host");
    assert!(first[4..10] > [0, 1, 0, 0, 0, 0][..], "it is not 1970");
    let set = [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    assert_eq!(execute(&mut bed, &[0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0], Data::Out(&set)).status, 0);
    let then = execute(&mut bed, &report, Data::In(12)).data;
    assert_eq!(then[..7], [0, 10, 2, 0, 0, 0, 1], "within the seconds that follow");
}

#[test]
fn what_a_host_calls_a_unit() {
    let mut bed = bed();
    let set = [0xa4, 0x06, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0];
    assert_eq!(execute(&mut bed, &set, Data::Out(b"vm7")).status, 0);
    let report = [0xa3, 0x05, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0];
    let ended = execute(&mut bed, &report, Data::In(64));
    assert_eq!((&ended.data[..7], ended.resid), (&b"\0\0\0\x03vm7"[..], 57));
    let short = execute(&mut bed, &set, Data::Out(b"v"));
    assert_eq!(short.response, 1, "a list that is not there is an overrun");
    assert_eq!(execute(&mut bed, &report, Data::In(64)).data[..7], ended.data[..7]);
}

#[test]
fn starts_are_counted() {
    let mut bed = bed();
    for start in [0, 1, 1, 0, 1] {
        assert_eq!(execute(&mut bed, &[0x1b, 0, 0, 0, start, 0], Data::Without).status, 0);
    }
    let ended = execute(&mut bed, &[0x4d, 0, 0x4e, 0, 0, 0, 0, 0, 12, 0], Data::In(12));
    assert_eq!(ended.data[..12], [0x8e, 0, 0, 8, 0, 4, 3, 4, 0, 0, 0, 2]);
}

#[test]
fn well_known_logical_units() {
    let mut bed = bed();
    let mut send = |lun: [u8; 8], cdb: &[u8], len| {
        bed.guest().send_to(0, lun, cdb, Data::In(len));
        bed.run();
        bed.guest().take_one()
    };
    let report = [0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0];
    let of_target = [1, 0, 0xc1, 0x01, 0, 0, 0, 0];
    let ended = send(of_target, &report, 16);
    assert_eq!(
        (ended.response, ended.status, &ended.data[..16]),
        (0, 0, &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..])
    );
    let of_all = LunAddress::REPORT_LUNS.0;
    let ended = send(of_all, &report, 16);
    assert_eq!(
        (ended.response, ended.status, &ended.data[..16]),
        (0, 0, &[0, 0, 0, 8, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0][..])
    );
    for lun in [of_target, of_all] {
        let ended = send(lun, &[0x12, 0, 0, 0, 36, 0], 36);
        assert_eq!((ended.response, ended.status, ended.data[0]), (0, 0, 0x1e));
        let ended = send(lun, &read_10(0, 1), 512);
        assert_eq!((ended.status, ended.sense, ended.resid), (CHECK_CONDITION, Some((5, 0x2000)), 512));
    }
}

#[test]
fn every_command_ends_whatever_data_buffer_it_has() {
    let mut bed = bed();
    for opcode in 0..=255 {
        for service_action in 0..32 {
            for data in [Data::Without, Data::In(64), Data::Out(&[0; 64]), Data::Out(&[])] {
                let mut cdb = [0; 16];
                (cdb[0], cdb[1]) = (opcode, service_action);
                bed.guest().send(0, 0, &cdb, data);
                bed.run();
                bed.guest().take_one();
            }
        }
    }
    // A list of no bytes asks for no change, in whichever direction a buffer lies beside it.
    let nothing: [&[u8]; 5] = [
        &[0x15, 0x10, 0, 0, 0, 0],
        &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x4c, 0, 0x40, 0, 0, 0, 0, 0, 0, 0],
        &[0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0xa4, 0x06, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ];
    for cdb in nothing {
        assert_eq!(execute(&mut bed, cdb, Data::Without).status, 0, "{cdb:02x?}");
        assert_eq!(execute(&mut bed, cdb, Data::In(64)).status, 0, "{cdb:02x?}");
    }
}

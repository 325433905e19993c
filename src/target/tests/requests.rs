//! One command at a time: framing, addresses, residuals, attention.

use std::sync::Arc;
use std::time::Duration;

use bdev::{Bdev, DelayBdev, Delays, IoError, MemBdev, NullBdev};

use super::bed::Bed;
use super::guest::{Data, Ended, TEST_UNIT_READY, read_10, write_10};
use super::sim_disk::SimDisk;
use crate::scsi::Attention;
use crate::virtio_scsi::spec::TMF_ABORT_TASK;

/// Responses of virtio-scsi.
const OK: u8 = 0;
const OVERRUN: u8 = 1;
const ABORTED: u8 = 2;
const BAD_TARGET: u8 = 3;
const FAILURE: u8 = 9;
const INCORRECT_LUN: u8 = 12;
/// SAM status.
const CHECK_CONDITION: u8 = 2;
/// Bytes of a response with its sense field.
const RESPONSE_LEN: u32 = 108;

fn bed_on(bdev: impl Bdev + 'static) -> Bed {
    let mut bed = Bed::of(1, vec![Arc::new(bdev)]);
    bed.add_guest(1);
    bed
}

fn mem() -> MemBdev {
    MemBdev::new(1 << 20, 512).unwrap()
}

/// Sends one command to target 0 and takes its answer.
/// What the driver is told was written where there is no sense data: behind it there are bytes that were not.
const PLAIN_LEN: u32 = 12;

fn execute(bed: &mut Bed, cdb: &[u8], data: Data<'_>) -> Ended {
    bed.guest().send(0, 0, cdb, data);
    bed.run();
    bed.guest().take_one()
}

#[test]
fn what_was_written_is_read() {
    let slow = DelayBdev::new(Arc::new(mem()), Delays::all(Duration::from_nanos(0)));
    for mut bed in [bed_on(mem()), bed_on(slow), bed_on(SimDisk::new(64))] {
        let ended = execute(&mut bed, &write_10(3, 2), Data::Out(&[0x5a; 1024]));
        assert_eq!((ended.response, ended.status, ended.resid, ended.written), (OK, 0, 0, PLAIN_LEN));
        let ended = execute(&mut bed, &read_10(4, 1), Data::In(512));
        assert_eq!((ended.response, ended.status, ended.resid, ended.written), (OK, 0, 0, PLAIN_LEN));
        assert_eq!(ended.data, [0x5a; 512]);
    }
}

#[test]
fn a_delayed_command_ends_when_its_time_has_come() {
    let mut bed =
        bed_on(DelayBdev::new(Arc::new(NullBdev::new(1 << 20, 512).unwrap()), Delays::all(Duration::from_secs(60))));
    bed.guest().read(0, 0, 0);
    bed.run();
    bed.now_ns = 59_999_999_999;
    bed.run();
    assert_eq!(bed.guest().open(), 1);
    bed.now_ns = 60_000_000_000;
    bed.run();
    assert_eq!(bed.guest().take_one().response, OK);
}

#[test]
fn a_read_that_goes_around_the_cache_flushes_first_and_keeps_its_buffer() {
    let disk = SimDisk::new(64);
    let mut bed = bed_on(disk.clone());
    execute(&mut bed, &write_10(5, 1), Data::Out(&[7; 512]));
    let mut read = read_10(5, 1);
    read[1] = 8;
    disk.hold();
    bed.guest().send(0, 0, &read, Data::In(512));
    bed.run();
    assert_eq!(disk.accepted(), [5, 0], "a flush has no block");
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!((bed.guest().open(), disk.accepted()), (1, vec![5, 0, 5]));
    disk.release_all();
    bed.run();
    assert_eq!(bed.guest().take_one().data, [7; 512]);
}

#[test]
fn a_failed_step_ends_the_command() {
    let disk = SimDisk::new(64);
    let mut bed = bed_on(disk.clone());
    disk.hold();
    let mut read = read_10(5, 1);
    read[1] = 8;
    bed.guest().send(0, 0, &read, Data::In(512));
    bed.run();
    disk.answer(0, Err(IoError::Medium));
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.response, ended.status, ended.sense), (OK, CHECK_CONDITION, Some((3, 0x0c00))));
    assert_eq!((ended.resid, ended.written), (512, RESPONSE_LEN));
    assert_eq!((ended.data, disk.held()), (vec![0xee; 512], 0));
}

#[test]
fn what_the_command_does_not_use_is_the_residual() {
    let mut bed = bed_on(mem());
    let ended = execute(&mut bed, &read_10(0, 1), Data::In(1000));
    assert_eq!((ended.response, ended.resid, ended.written), (OK, 488, PLAIN_LEN));
    assert_eq!(ended.data[512..], [0xee; 488], "nothing is written behind the data");
    let ended = execute(&mut bed, &write_10(0, 1), Data::Out(&[1; 700]));
    assert_eq!((ended.response, ended.resid), (OK, 188));
    let ended = execute(&mut bed, &TEST_UNIT_READY, Data::In(16));
    assert_eq!((ended.response, ended.resid, ended.data), (OK, 16, vec![0xee; 16]));
    // INQUIRY with room for less than it has.
    let ended = execute(&mut bed, &[0x12, 0, 0, 0, 36, 0], Data::In(64));
    assert_eq!((ended.response, ended.resid, ended.written), (OK, 28, PLAIN_LEN));
    // A block count of 0 is no error.
    let ended = execute(&mut bed, &read_10(0, 0), Data::In(512));
    assert_eq!((ended.response, ended.status, ended.resid), (OK, 0, 512));
}

#[test]
fn an_overrun_does_no_io() {
    let disk = SimDisk::new(64);
    let mut bed = bed_on(disk.clone());
    for (cdb, data) in [
        (&read_10(0, 2)[..], Data::In(1023)),
        (&read_10(0, 1), Data::Without),
        (&read_10(0, 1), Data::Out(&[0; 512])),
        (&write_10(0, 2), Data::Out(&[9; 512])),
        (&write_10(0, 1), Data::In(512)),
        (&[0x12, 0, 0, 0, 36, 0], Data::In(35)),
    ] {
        let ended = execute(&mut bed, cdb, data);
        let len = match data {
            Data::Without => 0,
            Data::In(len) => len,
            Data::Out(bytes) | Data::Both(bytes, _) => bytes.len() as u32,
        };
        assert_eq!((ended.response, ended.resid), (OVERRUN, len), "{cdb:02x?} {data:?}");
        assert!(ended.data.iter().all(|&byte| byte == 0xee), "{cdb:02x?} {data:?}");
    }
    assert_eq!(disk.accepted(), [0; 0]);
}

#[test]
fn addresses_without_a_logical_unit() {
    let mut bed = bed_on(mem());
    let mut send = |lun: [u8; 8], cdb: &[u8], len| {
        bed.guest().send_to(0, lun, cdb, Data::In(len));
        bed.run();
        bed.guest().take_one()
    };
    let inquiry = [0x12, 0, 0, 0, 36, 0];
    for (lun, response) in [
        ([1, 1, 0, 0, 0, 0, 0, 0], BAD_TARGET),
        ([1, 255, 0, 0, 0, 0, 0, 0], BAD_TARGET),
        ([0, 0, 0, 0, 0, 0, 0, 0], BAD_TARGET),
        ([1, 1, 0xc1, 0x01, 0, 0, 0, 0], BAD_TARGET),
        ([1, 0, 0, 0, 0, 1, 0, 0], INCORRECT_LUN),
        ([1, 0, 0x80, 0, 0, 0, 0, 0], INCORRECT_LUN),
    ] {
        let ended = send(lun, &inquiry, 36);
        assert_eq!((ended.response, ended.resid), (response, 36), "{lun:?}");
    }
    let missing = [1, 0, 0x40, 9, 0, 0, 0, 0];
    let ended = send(missing, &inquiry, 36);
    assert_eq!((ended.response, ended.status, ended.data[0]), (OK, 0, 0x7f));
    let ended = send(missing, &TEST_UNIT_READY, 16);
    assert_eq!((ended.status, ended.sense, ended.resid), (CHECK_CONDITION, Some((5, 0x2500)), 16));
    let ended = send(missing, &read_10(0, 1), 512);
    assert_eq!((ended.status, ended.sense), (CHECK_CONDITION, Some((5, 0x2500))));
}

#[test]
fn an_attention_is_told_once() {
    let mut bed = bed_on(mem());
    for (cdb, sense) in [(&read_10(0, 1)[..], (6, 0x2902)), (&[0xff; 6], (6, 0x2902))] {
        bed.guest().adapter.luns().raise(Attention::HardReset, |_| true);
        let ended = execute(&mut bed, &[0x12, 0, 0, 0, 36, 0], Data::In(36));
        assert_eq!((ended.status, ended.resid), (0, 0), "INQUIRY does not take it");
        let ended = execute(&mut bed, cdb, Data::In(512));
        assert_eq!((ended.status, ended.sense, ended.resid), (CHECK_CONDITION, Some(sense), 512));
        let ended = execute(&mut bed, &read_10(0, 1), Data::In(512));
        assert_eq!((ended.status, ended.sense), (0, None));
    }
    bed.guest().adapter.luns().raise(Attention::HardReset, |_| true);
    let ended = execute(&mut bed, &[3, 0, 0, 0, 18, 0], Data::In(18));
    assert_eq!((ended.status, ended.data[2], ended.data[12], ended.data[13]), (0, 6, 0x29, 2));
    assert_eq!(execute(&mut bed, &TEST_UNIT_READY, Data::Without).status, 0, "REQUEST SENSE has taken it");
}

#[test]
fn a_stopped_unit_does_no_io_until_it_is_started() {
    let disk = SimDisk::new(64);
    let mut bed = bed_on(disk.clone());
    assert_eq!(execute(&mut bed, &[0x1b, 0, 0, 0, 0, 0], Data::Without).status, 0);
    assert_eq!(disk.accepted(), [0], "the cache is written first");
    let ended = execute(&mut bed, &read_10(1, 1), Data::In(512));
    assert_eq!((ended.status, ended.sense), (CHECK_CONDITION, Some((2, 0x0402))));
    assert_eq!(execute(&mut bed, &[0x1b, 0, 0, 0, 1, 0], Data::Without).status, 0);
    assert_eq!(execute(&mut bed, &read_10(1, 1), Data::In(512)).status, 0);
    assert_eq!(disk.accepted(), [0, 1]);
}

#[test]
fn data_both_ways_is_a_failure() {
    let disk = SimDisk::new(64);
    let mut bed = bed_on(disk.clone());
    // One byte more than the header takes.
    let (id, _) = bed.guest().read_in_pieces(1, &[52], &[108 + 512]);
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.id, ended.response, ended.resid, ended.written), (id, FAILURE, 513, RESPONSE_LEN));
    assert_eq!(disk.accepted(), [0; 0]);
}

#[test]
fn with_buffers_both_ways_a_command_uses_its_own_and_leaves_the_other() {
    let disk = SimDisk::new(64);
    let mut bed = bed_on(disk.clone());
    let _ = bed.guest().retire();
    bed.guest().both_ways = true;
    bed.guest().start();
    bed.run();
    // Seven bytes more than the header takes, and room for data.
    let (id, data) = bed.guest().read_in_pieces(1, &[51, 7], &[108, 512]);
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.id, ended.response, ended.status, ended.resid), (id, OK, 0, 7));
    assert_eq!(ended.written, RESPONSE_LEN + 512);
    assert_eq!(bed.guest().drivers[2].read(data, 512), disk.block(1));
    bed.guest().send(0, 0, &write_10(2, 1), Data::Both(&[0x5a; 512], 20));
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.response, ended.status, ended.resid, ended.written), (OK, 0, 20, RESPONSE_LEN));
    assert_eq!(disk.block(2), [0x5a; 512]);
    assert_eq!(ended.data, [0xee; 20], "nothing is written there");
    bed.guest().send(0, 0, &write_10(2, 2), Data::Both(&[0x5a; 512], 512));
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.response, ended.resid), (OVERRUN, 512 + 512), "the other one's room does not help");
    assert_eq!(disk.accepted(), [1, 2]);
}

#[test]
fn every_framing_is_the_same_request() {
    let disk = SimDisk::new(64);
    let mut bed = bed_on(disk.clone());
    execute(&mut bed, &write_10(1, 1), Data::Out(&(0..=255).chain(0..=255).collect::<Vec<u8>>()));
    // Cuts of header, response and data: in the middle of each, all in one, byte by byte.
    for (readable, writable) in [
        (vec![51], vec![108 + 512]),
        (vec![10, 41], vec![12, 96, 512]),
        (vec![51], vec![100, 20, 500]),
        (vec![1; 51], vec![108, 512]),
        (vec![51], vec![4; 60].into_iter().chain([380]).collect()),
    ] {
        let cuts = (readable, writable);
        let (id, data) = bed.guest().read_in_pieces(1, &cuts.0, &cuts.1);
        bed.run();
        let ended = bed.guest().take_one();
        assert_eq!((ended.id, ended.response, ended.resid, ended.written), (id, OK, 0, PLAIN_LEN), "{cuts:?}");
        assert_eq!(bed.guest().drivers[2].read(data, 512), disk.block(1), "{cuts:?}");
    }
}

#[test]
fn a_block_that_cannot_be_read_is_named() {
    let (mut bed, disks) = Bed::simulated(1, 1, 1);
    const BAD: Result<(), IoError> = Err(IoError::Medium);
    disks[0].hold();
    let mut told = |blocks: u8, answers: &[Result<(), IoError>]| {
        bed.guest().send(0, 0, &read_10(5, blocks), Data::In(512 * u32::from(blocks)));
        for answer in answers {
            bed.run();
            disks[0].answer(0, *answer);
        }
        bed.run();
        let ended = bed.guest().take_one();
        assert_eq!((ended.sense.map(|(key, _)| key), ended.resid), (Some(3), 512 * u32::from(blocks)));
        (ended.sense_bytes[0], ended.sense_bytes[6])
    };
    assert_eq!(told(1, &[BAD]), (0xf0, 5), "VALID, and INFORMATION");
    assert_eq!(told(2, &[BAD, BAD]), (0xf0, 5));
    assert_eq!(told(2, &[BAD, Ok(()), BAD]), (0xf0, 6));
    assert_eq!(told(5, &[BAD, Ok(()), BAD]), (0xf0, 9));
    assert_eq!(told(2, &[BAD, Ok(()), Ok(())]).0, 0x70, "none is bad any more");
    assert_eq!(disks[0].accepted()[..], [5, 5, 5, 5, 5, 6, 5, 5, 9, 5, 5, 6]);
}

#[test]
fn a_look_for_a_bad_block_ends_when_it_is_aborted() {
    let (mut bed, disks) = Bed::simulated(1, 1, 1);
    disks[0].hold();
    let id = bed.guest().send(0, 0, &read_10(5, 8), Data::In(4096));
    bed.run();
    disks[0].answer(0, Err(IoError::Medium));
    bed.run();
    let tmf = bed.guest().manage(TMF_ABORT_TASK, 0, id);
    bed.run();
    disks[0].go();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, ABORTED), (tmf, OK)]);
    assert_eq!(disks[0].accepted().len(), 2, "it looks no further");
}

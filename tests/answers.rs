//! What a disk answers to commands that are wrong, short or long (SPC, SBC, and virtio 1.2, 5.6.6.1).

mod common;

use annulus_bench::guest::cdb::{self, Direction, Width};
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::guest::spec::response;
use common::io::{LUN, good, pattern, settle};
use common::{Target, directory, image};

const BLOCKS: u64 = 2048;

fn read(lba: u64, blocks: u32) -> Vec<u8> {
    cdb::transfer(Direction::Read, Width::Sixteen, lba, blocks, 0)
}

#[test]
fn blocks_beyond_the_end_are_out_of_range() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    for (lba, blocks) in [(BLOCKS, 1), (BLOCKS - 1, 2), (u64::MAX, 1), (u64::MAX, 2), (BLOCKS + 1, 0)] {
        for direction in [Direction::Read, Direction::Write] {
            let cdb = cdb::transfer(direction, Width::Sixteen, lba, blocks, 0);
            let command = match direction {
                Direction::Read => Command::data_in(LUN, cdb, 1024),
                Direction::Write => Command::data_out(LUN, cdb, vec![0; 1024]),
            };
            let answer = guest.execute(0, &command).unwrap();
            assert_eq!(answer.sense_code(), Some((5, 0x21, 0)), "{direction:?} of {blocks} at {lba:#x}: {answer:?}");
        }
    }
    good(&mut guest, &Command::data_in(LUN, read(BLOCKS - 1, 1), 512));
    target.stop();
}

#[test]
fn no_blocks_are_no_error() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    for width in [Width::Ten, Width::Twelve, Width::Sixteen] {
        for direction in [Direction::Read, Direction::Write] {
            good(&mut guest, &Command::new(LUN, cdb::transfer(direction, width, 5, 0, 0)));
        }
    }
    target.stop();
}

#[test]
fn a_longer_buffer_than_the_data_leaves_a_residual() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    let data = pattern(1, 512);
    good(&mut guest, &Command::write(LUN, 0, 512, data.clone()));
    let answer = good(&mut guest, &Command::data_in(LUN, read(0, 1), 2048));
    assert_eq!((answer.resid, answer.data_sent()), (1536, &data[..]));
    assert_eq!(answer.data[512..], [0; 1536], "nothing is written past the data");
    let capacity = good(&mut guest, &Command::data_in(LUN, cdb::read_capacity_10(), 100));
    assert_eq!(capacity.resid, 92);
    target.stop();
}

#[test]
fn a_shorter_buffer_than_the_data_is_an_overrun() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    let short = guest.execute(0, &Command::data_in(LUN, read(0, 4), 512)).unwrap();
    assert_eq!(short.response, response::OVERRUN, "{short:?}");
    let cdb = cdb::transfer(Direction::Write, Width::Sixteen, 0, 4, 0);
    let short = guest.execute(0, &Command::data_out(LUN, cdb, vec![1; 512])).unwrap();
    assert_eq!(short.response, response::OVERRUN, "{short:?}");
    target.stop();
}

#[test]
fn allocation_length_cuts_what_is_sent() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    let whole = good(&mut guest, &Command::data_in(LUN, cdb::inquiry(None, 96), 96)).data;
    for allocation in [0u16, 1, 5, 35] {
        let answer = good(&mut guest, &Command::data_in(LUN, cdb::inquiry(None, allocation), 96));
        let sent = usize::from(allocation);
        assert_eq!(answer.data_sent(), &whole[..sent]);
        assert_eq!(answer.data[sent..], vec![0; 96 - sent]);
    }
    target.stop();
}

#[test]
fn what_is_not_known_is_refused() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    let unknown = guest.execute(0, &Command::new(LUN, vec![0xFE; 16])).unwrap();
    assert_eq!(unknown.sense_code(), Some((5, 0x20, 0)));
    let page = guest.execute(0, &Command::data_in(LUN, cdb::inquiry(Some(0xDF), 96), 96)).unwrap();
    assert_eq!(page.sense_code(), Some((5, 0x24, 0)));
    let mode = guest.execute(0, &Command::data_in(LUN, cdb::mode_sense_6(0x15, 96), 96)).unwrap();
    assert_eq!(mode.sense_code(), Some((5, 0x24, 0)));
    let absent = guest.execute(0, &Command::data_in(Lun::new(0, 5), cdb::inquiry(None, 36), 36)).unwrap();
    // A target with other logical units answers for the missing one: not connected, or no such LUN.
    match absent.response {
        response::OK => assert_eq!(absent.data[0], 0x7F),
        other => assert!(matches!(other, response::BAD_TARGET | response::INCORRECT_LUN), "{absent:?}"),
    }
    target.stop();
}

#[test]
fn a_reset_is_told_with_a_unit_attention() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    guest.reset().unwrap();
    guest.start().unwrap();
    good(&mut guest, &Command::data_in(LUN, cdb::inquiry(None, 36), 36));
    let answer = guest.execute(0, &Command::new(LUN, cdb::test_unit_ready())).unwrap();
    assert!(matches!(answer.sense_code(), Some((6, 0x29, _))), "{answer:?}");
    good(&mut guest, &Command::new(LUN, cdb::test_unit_ready()));
    target.stop();
}

#[test]
fn a_read_only_disk_takes_no_writes() {
    let dir = directory();
    let path = image(dir.path(), "disk.img", 1 << 20);
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    let target = Target::start_in(dir, &["--disk", "path=disk.img,ro"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    let answer = guest.execute(0, &Command::write(LUN, 0, 512, vec![1; 512])).unwrap();
    assert_eq!(answer.sense_code(), Some((7, 0x27, 0)));
    let mode = good(&mut guest, &Command::data_in(LUN, cdb::mode_sense_6(0x3F, 255), 255)).data;
    assert_eq!(mode[2] & 0x80, 0x80, "write protected");
    assert_eq!(good(&mut guest, &Command::data_in(LUN, read(0, 1), 512)).data, [0; 512]);
    target.stop();
}

#[test]
fn sense_size_and_cdb_size_can_be_set() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let mut guest = target.guest();
    settle(&mut guest, LUN);
    guest.reset().unwrap();
    guest.negotiate().unwrap();
    let (device, connection) = guest.registers();
    device.set_config(connection, annulus_bench::guest::device::CONFIG_SENSE_SIZE, 20).unwrap();
    device.set_config(connection, annulus_bench::guest::device::CONFIG_CDB_SIZE, 64).unwrap();
    guest.read_config().unwrap();
    assert_eq!((guest.config().sense_size, guest.config().cdb_size), (20, 64));
    guest.set_up_queues().unwrap();
    let (device, connection) = guest.registers();
    device.driver_ok(connection).unwrap();
    settle(&mut guest, LUN);
    let answer = guest.execute(0, &Command::new(LUN, vec![0xFE; 16])).unwrap();
    assert_eq!(answer.sense_code(), Some((5, 0x20, 0)));
    assert!(answer.sense.len() <= 20 && answer.used_len == 32, "{answer:?}");
    common::io::verify_on(&mut guest, 0, 4, 4);
    guest.reset().unwrap();
    guest.start().unwrap();
    assert_eq!((guest.config().sense_size, guest.config().cdb_size), (96, 32), "a reset restores them");
    target.stop();
}

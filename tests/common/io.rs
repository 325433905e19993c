//! Commands that many tests send.

use annulus_bench::Guest;
use annulus_bench::guest::cdb;
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Lun, Response};
use annulus_bench::guest::spec::status;

use super::until;

/// The logical unit of a disk that was given no address.
pub const LUN: Lun = Lun::new(0, 0);

/// Bytes that tell where they belong: another sequence for every seed.
pub fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut bytes: Vec<u8> = words.take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

/// Takes the unit attentions that a logical unit has pending, until TEST UNIT READY is GOOD.
pub fn settle(guest: &mut Guest, lun: Lun) {
    for _ in 0..8 {
        let answer = guest.execute(0, &Command::new(lun, cdb::test_unit_ready())).expect("TEST UNIT READY");
        match answer.sense_code() {
            Some((6, ..)) => {}
            _ => {
                answer.good().expect("TEST UNIT READY");
                return;
            }
        }
    }
    panic!("unit attention without end");
}

/// A command that must end with GOOD.
pub fn good(guest: &mut Guest, command: &Command) -> Response {
    guest.execute(0, command).and_then(Response::good).unwrap_or_else(|error| panic!("{:02x?}: {error}", command.cdb))
}

/// A CDB of 16 bytes with an address of 8 bytes and a length of 4 (SBC-4).
pub fn sixteen(opcode: u8, byte_1: u8, lba: u64, blocks: u32) -> Vec<u8> {
    [&[opcode, byte_1][..], &lba.to_be_bytes(), &blocks.to_be_bytes(), &[0, 0]].concat()
}

/// UNMAP of one range (SBC-4).
pub fn unmap(lun: Lun, lba: u64, blocks: u32) -> Command {
    let list = [&[0, 22, 0, 16, 0, 0, 0, 0][..], &lba.to_be_bytes(), &blocks.to_be_bytes(), &[0; 4]].concat();
    Command::data_out(lun, vec![0x42, 0, 0, 0, 0, 0, 0, 0, list.len() as u8, 0], list)
}

/// Writes, reads and compares `blocks` blocks of 512 bytes at `lba`, on one queue.
pub fn verify_on(guest: &mut Guest, queue: u16, lba: u64, blocks: u32) {
    let data = pattern(lba ^ u64::from(blocks), blocks as usize * 512);
    let shape = Shape::default();
    let write = Command::write(LUN, lba, 512, data.clone());
    guest.execute_shaped(queue, &write, &shape).and_then(Response::good).expect("WRITE");
    let read = Command::read(LUN, lba, blocks, 512);
    let read = guest.execute_shaped(queue, &read, &shape).and_then(Response::good).expect("READ");
    assert!(read.data == data, "other data came back from LBA {lba}");
}

/// The guest's disk works.
pub fn alive(guest: &mut Guest) {
    settle(guest, LUN);
    verify_on(guest, 0, 8, 8);
}

/// Resets a device that has had enough, starts it again and uses it.
pub fn revive(guest: &mut Guest) {
    guest.reset().expect("reset");
    guest.start().expect("start");
    alive(guest);
}

/// Whether the device asks for a reset.
pub fn needs_reset(guest: &mut Guest) -> bool {
    guest.status().expect("status") & status::NEEDS_RESET != 0
}

/// The next event that the device tells of: what, of which unit, and why.
pub fn next_event(guest: &mut Guest) -> (u32, Lun, u32) {
    let mut event = None;
    until("an event", || {
        event = guest.poll_event().expect("a sound queue");
        event.is_some()
    });
    let event = event.expect("waited for");
    (event.event, event.lun, event.reason)
}

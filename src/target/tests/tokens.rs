//! Tokens for blocks, over the logical units of a controller, its disks, and others that show them.

use bdev::OpKind;

use super::bed::Bed;
use super::copies::{CACHE_OFF, SELECT, execute};
use super::guest::{Data, write_10};
use super::live_luns::change;
use super::long::{UNMAP, compare_and_write, unmap_list, write_same};
use super::sim_disk::SimDisk;
use crate::scsi::Attention;
use crate::virtio_scsi::Address;
use crate::virtio_scsi::spec::{TMF_ABORT_TASK, TMF_LOGICAL_UNIT_RESET};

const OK: u8 = 0;
const ABORTED: u8 = 2;
const RESERVE: [u8; 6] = [0x16, 0, 0, 0, 0, 0];
const UNKNOWN: Option<(u8, u16)> = Some((5, 0x2304));
const REMOTE: Option<(u8, u16)> = Some((5, 0x2302));
const CANCELLED: Option<(u8, u16)> = Some((5, 0x2308));

/// Two disks, of which the first has 7 in its block 3, and a guest on two cores; another guest has both, too.
fn bed() -> (Bed, SimDisk, SimDisk) {
    let (mut bed, mut disks) = Bed::simulated(1, 1, 2);
    bed.add_guest(1);
    let (second, first) = (disks.pop().expect("two"), disks.pop().expect("two"));
    bed.guest().write(0, 0, 3, 7);
    bed.run();
    bed.guest().ended.clear();
    (bed, first, second)
}

/// A token of the first guest for blocks from block 3 of its first disk on.
fn token(bed: &mut Bed, blocks: u8) -> Vec<u8> {
    let mut list = vec![0; 32];
    (list[1], list[15], list[23], list[27]) = (30, 16, 3, blocks);
    let populate = [0x83, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 32, 0, 0];
    assert_eq!(execute(bed, 0, &populate, Data::Out(&list)).status, 0);
    let information = [0x84, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];
    execute(bed, 0, &information, Data::In(1024)).data[38..550].to_vec()
}

/// WRITE USING TOKEN, and its list for blocks from block 5 on.
const USING: [u8; 16] = [0x83, 0x11, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0x02, 0x28, 0, 0];

fn using(token: &[u8], blocks: u8) -> Vec<u8> {
    let mut list = vec![0; 536 + 16];
    (list[0], list[1], list[535], list[543], list[547]) = (0x02, 0x26, 16, 5, blocks);
    list[16..528].copy_from_slice(token);
    list
}

/// What the first guest gets that writes a block of its second disk with a token.
fn write_using(bed: &mut Bed, token: &[u8]) -> Option<(u8, u16)> {
    execute(bed, 1, &USING, Data::Out(&using(token, 1))).sense
}

/// Whether commands of a guest take the short way to a disk.
fn is_usual(bed: &Bed, guest: usize, target: u8) -> bool {
    let luns = bed.guests[guest].adapter.luns();
    luns.entry(luns.find(Address { target, lun: 0 }).expect("it is there")).standing.is_usual()
}

#[test]
fn a_token_of_one_disk_is_of_use_to_another() {
    let (mut bed, first, second) = bed();
    let token = token(&mut bed, 1);
    let accepted = first.accepted();
    for _ in 0..2 {
        assert_eq!(write_using(&mut bed, &token), None);
    }
    assert_eq!((second.block(5), second.accepted()), (vec![7; 512], vec![5, 5]));
    assert_eq!(first.accepted().len(), accepted.len() + 2);
    let information = [0x84, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];
    let told = execute(&mut bed, 1, &information, Data::In(1024)).data;
    assert_eq!((&told[..6], &told[15..24]), (&[0, 0, 0, 32, 0x11, 1][..], &[0xf1, 0, 0, 0, 0, 0, 0, 0, 1][..]));
}

#[test]
fn two_tokens_have_little_in_common() {
    let (mut bed, ..) = bed();
    let (one, other) = (token(&mut bed, 1), token(&mut bed, 1));
    let same = one[256..].iter().zip(&other[256..]).filter(|(a, b)| a == b).count();
    assert!(same < 50, "{same} of 256 bytes");
}

#[test]
fn a_change_of_its_blocks_cancels_a_token_whoever_makes_it_and_no_other_change_does() {
    const NAMES: [&str; 8] =
        ["write", "beside", "write of another", "write same", "unmap", "compare and write", "other disk", "sanitize"];
    for (case, is_cancelled) in [true, false, true, true, true, true, false, true].into_iter().enumerate() {
        let (mut bed, ..) = bed();
        let token = token(&mut bed, 2);
        assert!(!is_usual(&bed, 0, 0) && !is_usual(&bed, 1, 0) && is_usual(&bed, 0, 1));
        let block = [1; 512];
        let (guest, target, cdb, data) = match case {
            0 => (0, 0, write_10(4, 1).to_vec(), block.to_vec()),
            1 => (0, 0, write_10(5, 1).to_vec(), block.to_vec()),
            2 => (1, 0, write_10(3, 1).to_vec(), block.to_vec()),
            3 => (1, 0, write_same(4).to_vec(), block.to_vec()),
            4 => (0, 0, UNMAP.to_vec(), unmap_list(4).to_vec()),
            5 => (1, 0, compare_and_write(4).to_vec(), [[0; 512], [1; 512]].concat()),
            6 => (0, 1, write_10(3, 1).to_vec(), block.to_vec()),
            _ => (1, 0, vec![0x48, 0x02, 0, 0, 0, 0, 0, 0, 0, 0], vec![]),
        };
        let data = if data.is_empty() { Data::Without } else { Data::Out(&data) };
        bed.guests[guest].send(0, target, &cdb, data);
        bed.run();
        let ended = bed.guests[guest].take_one();
        assert_eq!((ended.response, ended.status), (OK, 0), "{}: {:?}", NAMES[case], ended.sense);
        assert_eq!(write_using(&mut bed, &token), if is_cancelled { CANCELLED } else { None }, "{}", NAMES[case]);
        assert_eq!(is_usual(&bed, 0, 0) && is_usual(&bed, 1, 0), is_cancelled, "{}", NAMES[case]);
    }
}

#[test]
fn a_token_used_for_its_own_blocks_cancels_itself() {
    let (mut bed, first, _) = bed();
    let token = token(&mut bed, 4);
    // Blocks 3 to 6 become blocks 5 to 8, in one piece.
    let ended = execute(&mut bed, 0, &USING, Data::Out(&using(&token, 4)));
    assert_eq!((ended.status, first.block(5)), (0, vec![7; 512]));
    assert_eq!(write_using(&mut bed, &token), CANCELLED);
}

#[test]
fn a_token_is_of_use_on_its_own_controller_alone() {
    let (mut bed, _, second) = bed();
    let token = token(&mut bed, 1);
    bed.guests[1].send(0, 1, &USING, Data::Out(&using(&token, 1)));
    bed.run();
    assert_eq!(bed.guests[1].take_one().sense, REMOTE);
    assert_eq!(second.block(5), [0; 512]);
    let information = [0x84, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];
    bed.guests[1].send(0, 0, &information, Data::In(1024));
    bed.run();
    assert_eq!(bed.guests[1].take_one().sense, Some((5, 0x2400)), "nor is it told there");
}

#[test]
fn a_token_gives_no_right_to_read_or_to_write() {
    for (target, is_source) in [(0, true), (1, false)] {
        let (mut bed, _, second) = bed();
        let token = token(&mut bed, 1);
        bed.guests[1].send(0, target, &RESERVE, Data::Without);
        bed.run();
        assert_eq!(bed.guests[1].take_one().status, 0);
        let ended = execute(&mut bed, 1, &USING, Data::Out(&using(&token, 1)));
        let expected = if is_source { (2, Some((0xa, 0x0d01))) } else { (0x18, None) };
        assert_eq!(((ended.status, ended.sense), second.block(5)), (expected, vec![0; 512]));
        let mut list = vec![0; 32];
        (list[1], list[15], list[27]) = (30, 16, 1);
        let populate = [0x83, 0x10, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 32, 0, 0];
        assert_eq!(execute(&mut bed, target, &populate, Data::Out(&list)).status, 0x18, "nor is there a new one");
    }
}

#[test]
fn a_token_outlives_the_reset_of_its_unit_and_ends_with_the_device() {
    let (mut bed, ..) = bed();
    let token = token(&mut bed, 1);
    let tmf = bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(tmf, OK)]);
    assert_eq!(write_using(&mut bed, &token), None);
    bed.guest().adapter.luns().raise(Attention::HardReset, |address| address.target == 0);
    assert_eq!(write_using(&mut bed, &token), CANCELLED);
}

#[test]
fn what_tokens_write_to_a_disk_whose_writes_are_not_cached_is_on_its_medium() {
    let (mut bed, _, second) = bed();
    let zeroes = [&[0xff, 0xff, 0, 1, 0, 0, 0x01, 0xf8][..], &[0; 504]].concat();
    let copied = token(&mut bed, 1);
    for (token, is_off) in [(&copied, false), (&copied, true), (&zeroes, true)] {
        if is_off {
            assert_eq!(execute(&mut bed, 1, &SELECT, Data::Out(&CACHE_OFF)).status, 0);
        }
        assert_eq!(write_using(&mut bed, token), None);
        assert_eq!(second.kinds().pop(), Some(OpKind::Write { fua: is_off }));
    }
    assert_eq!(second.block(5), [0; 512], "that of zeroes was the last");
}

#[test]
fn a_token_goes_with_its_unit() {
    let (mut bed, ..) = bed();
    let token = token(&mut bed, 1);
    assert!(change(&mut bed, |luns| assert!(luns.remove(Address { target: 0, lun: 0 }))).is_open());
    assert_eq!(write_using(&mut bed, &token), UNKNOWN);
}

#[test]
fn a_write_with_a_token_is_aborted_where_it_is_and_goes_on_after_a_rest() {
    for is_aborted in [true, false] {
        let (mut bed, first, second) = bed();
        let token = token(&mut bed, 1);
        first.hold();
        second.hold();
        let id = bed.guest().send(0, 1, &USING, Data::Out(&using(&token, 1)));
        bed.run();
        if is_aborted {
            let tmf = bed.guest().manage(TMF_ABORT_TASK, 1, id);
            bed.run();
            assert_eq!(bed.guest().take_ended(), [(id, ABORTED), (tmf, OK)]);
            assert_eq!((first.cancelled(), second.accepted()), (1, vec![]));
            let information = [0x84, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0];
            assert_eq!(execute(&mut bed, 1, &information, Data::In(64)).data[5], 0x60);
            continue;
        }
        first.answer(0, Ok(()));
        bed.run();
        let gate = bed.rest();
        second.answer(0, Ok(()));
        bed.run();
        assert!(gate.is_open());
        bed.guest().go_on();
        bed.run();
        assert_eq!((bed.guest().take_one().status, second.accepted(), second.held()), (0, vec![5], 0));
    }
}

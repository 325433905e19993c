//! READs and WRITEs of one batch that their disks do here and now: where their data goes, and what becomes of one that is not
//! done.

use std::sync::Arc;

use bdev::{Bdev, MemBdev};

use super::bed::Bed;
use super::guest::{Data, Ended, TEST_UNIT_READY, read_10, write_10};
use super::live_luns::change;
use super::sim_disk::SimDisk;
use crate::scsi::IoStatistics;
use crate::target::known::KnownUnits;
use crate::target::lun_map::Placement;
use crate::virtio_scsi::{Address, LunAddress};

const OK: u8 = 0;
const CHECK_CONDITION: u8 = 2;
/// MEDIUM ERROR: UNRECOVERED READ ERROR, WRITE ERROR.
const CANNOT_READ: (u8, u16) = (3, 0x1100);
const CANNOT_WRITE: (u8, u16) = (3, 0x0c00);

/// The target of each command of a batch: the disk changes, and changes back to one that was met.
const TARGETS: [u8; 6] = [0, 0, 1, 1, 0, 0];

/// The command of this place in the batch writes, or else reads, the block of the same number.
fn writes(place: usize) -> bool {
    place.is_multiple_of(2)
}

/// One guest with two disks that do operations here and now. The second tells sense data in descriptors, and was the last
/// to be asked for something else. If `met`, the queue has met both.
fn running(met: bool) -> (Bed, Vec<SimDisk>) {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    disks.iter().for_each(SimDisk::begin_to_run);
    let d_sense = [0, 0, 0, 0, 0x0a, 0x0a, 0x26, 0x10, 0, 0, 0, 0, 0xff, 0xff, 0, 0];
    bed.guest().send(0, 1, &[0x15, 0x10, 0, 0, 16, 0], Data::Out(&d_sense));
    bed.run();
    assert_eq!(bed.guest().take_one().status, OK);
    if met {
        (0..2).for_each(|target| _ = bed.guest().read(0, target, 60));
        bed.run();
        assert_eq!(bed.guest().ended.drain(..).filter(|ended| ended.status == OK).count(), 2);
    }
    (bed, disks)
}

/// Sends the batch; what has ended, in order, and what the disks counted meanwhile.
fn run_batch(bed: &mut Bed) -> (Vec<u64>, Vec<Ended>, [IoStatistics; 2]) {
    let before = counted(bed);
    let send = |(place, &target): (usize, &u8)| match place as u8 {
        lba if writes(place) => bed.guest().write(0, target, lba, lba + 1),
        lba => bed.guest().read(0, target, lba),
    };
    let ids = TARGETS.iter().enumerate().map(send).collect();
    bed.run();
    let after = counted(bed);
    let more = |disk: usize| IoStatistics {
        reads: after[disk].reads - before[disk].reads,
        writes: after[disk].writes - before[disk].writes,
        read_blocks: after[disk].read_blocks - before[disk].read_blocks,
        written_blocks: after[disk].written_blocks - before[disk].written_blocks,
        read_errors: after[disk].read_errors - before[disk].read_errors,
        write_errors: after[disk].write_errors - before[disk].write_errors,
        ..IoStatistics::default()
    };
    (ids, bed.guest().ended.drain(..).collect(), [more(0), more(1)])
}

fn counted(bed: &Bed) -> [IoStatistics; 2] {
    [bed.disks[0].done(), bed.disks[1].done()]
}

/// What a disk counts of the batch, in which the command of this place fails, if any does.
fn expected(target: u8, failing: Option<usize>) -> IoStatistics {
    let its = || (0..TARGETS.len()).filter(|&place| TARGETS[place] == target);
    let count = |write, fails| {
        its().filter(|&place| writes(place) == write && (Some(place) == failing) == fails).count() as u64
    };
    let [read_blocks, written_blocks, read_errors, write_errors] =
        [(false, false), (true, false), (false, true), (true, true)].map(|(write, fails)| count(write, fails));
    IoStatistics {
        reads: read_blocks + read_errors,
        writes: written_blocks + write_errors,
        read_blocks,
        written_blocks,
        read_errors,
        write_errors,
        ..IoStatistics::default()
    }
}

#[test]
fn one_that_fails_ends_with_its_error_and_the_others_are_done() {
    for (met, failing) in [false, true].into_iter().flat_map(|met| (0..TARGETS.len()).map(move |place| (met, place))) {
        let (mut bed, disks) = running(met);
        disks[usize::from(TARGETS[failing])].set_bad(&[failing as u64]);
        let (ids, ended, counts) = run_batch(&mut bed);
        let name = format!("met before: {met}, the one that fails: {failing}");
        assert!(ended.iter().map(|ended| ended.id).eq(ids), "in order; {name}");
        for (place, ended) in ended.iter().enumerate() {
            let (target, block) = (TARGETS[place], disks[usize::from(TARGETS[place])].block(place as u64));
            assert_eq!(block, [if writes(place) && place != failing { place as u8 + 1 } else { 0 }; 512], "{name}");
            if place != failing {
                assert_eq!((ended.response, ended.status, ended.resid, ended.written), (OK, OK, 0, 12), "{name}");
                continue;
            }
            let sense = if writes(place) { CANNOT_WRITE } else { CANNOT_READ };
            assert_eq!((ended.response, ended.status, ended.sense), (OK, CHECK_CONDITION, Some(sense)), "{name}");
            assert_eq!((ended.resid, ended.descriptors), (512, target == 1), "as its own unit has it; {name}");
            let information = if ended.descriptors { &ended.sense_bytes[12..20] } else { &ended.sense_bytes[3..7] };
            assert_eq!(information.last(), Some(&(place as u8)), "{name}");
        }
        assert_eq!(counts, [0, 1].map(|target| expected(target, Some(failing))), "{name}");
    }
}

#[test]
fn the_bad_block_of_one_that_fails_is_looked_for() {
    for met in [false, true] {
        let (mut bed, disks) = running(met);
        disks[0].set_bad(&[9]);
        let before = bed.disks[0].done();
        let sent = [bed.guest().read(0, 0, 3), bed.guest().send(0, 0, &read_10(7, 3), Data::In(3 * 512))];
        let last = bed.guest().read(0, 0, 4);
        bed.run();
        let [first, bad] = sent;
        let mut ended: Vec<_> = bed.guest().ended.drain(..).collect();
        let at = ended.iter().position(|ended| ended.id == bad).expect("it has ended");
        let bad = ended.remove(at);
        assert!(
            ended.iter().map(|ended| (ended.id, ended.response, ended.status)).eq([(first, OK, OK), (last, OK, OK)])
        );
        assert_eq!((bad.sense, bad.resid), (Some(CANNOT_READ), 3 * 512));
        assert_eq!((bad.sense_bytes[0], &bad.sense_bytes[3..7]), (0xf0, &[0, 0, 0, 9][..]), "VALID, and INFORMATION");
        let after = bed.disks[0].done();
        assert_eq!((after.reads, after.read_blocks), (before.reads + 3, before.read_blocks + 2));
        assert_eq!(after.read_errors, 1);
    }
}

#[test]
fn what_is_not_run_is_submitted_and_counted_once() {
    for (met, waiting) in [false, true].into_iter().flat_map(|met| (0..TARGETS.len()).map(move |place| (met, place))) {
        let (mut bed, disks) = running(met);
        disks[usize::from(TARGETS[waiting])].set_unrun(&[waiting as u64]);
        let (ids, mut ended, counts) = run_batch(&mut bed);
        let name = format!("met before: {met}, the one that is submitted: {waiting}");
        ended.sort_unstable_by_key(|ended| ended.id);
        assert!(
            ended
                .iter()
                .map(|ended| (ended.id, ended.response, ended.status))
                .eq(ids.into_iter().map(|id| (id, OK, OK))),
            "{name}"
        );
        for (place, &target) in TARGETS.iter().enumerate().filter(|&(place, _)| writes(place)) {
            assert_eq!(disks[usize::from(target)].block(place as u64), [place as u8 + 1; 512], "{name}");
        }
        assert_eq!(counts, [0, 1].map(|target| expected(target, None)), "{name}");
    }
}

#[test]
fn a_batch_for_several_disks_reaches_each() {
    const COUNT: u8 = 16;
    let at = |target, lun| Address { target, lun };
    for (first, in_a_row) in [(at(0, 0), 1), (at(0, 0), 3), (at(0, 1), 1), (at(0, 1), 3)] {
        let mem = || Arc::new(MemBdev::new(1 << 20, 512).expect("a legal size")) as Arc<dyn Bdev>;
        let mut bed = Bed::of(1, vec![mem(), mem()]);
        bed.add_guest(1);
        if first != at(0, 0) {
            let disk = bed.disks[0].clone();
            let _ = change(&mut bed, |luns| {
                assert!(luns.remove(at(0, 0)));
                luns.add(Placement { address: first, disk });
            });
        }
        let luns = [first, at(1, 0)].map(LunAddress::of);
        let places = luns.map(KnownUnits::place);
        assert_eq!(places[0] == places[1], first == at(0, 1), "then each makes the queue forget the other");
        luns.iter().for_each(|lun| _ = bed.guest().send_to(0, lun.0, &TEST_UNIT_READY, Data::Without));
        bed.run();
        assert!(bed.guest().ended.drain(..).all(|ended| (ended.response, ended.status) == (OK, OK)));
        let lun = |place: u8| luns[usize::from(place / in_a_row % 2)].0;
        // Each block of a disk has another content than the same one of the other.
        let content = |place: u8| [if lun(place) == luns[0].0 { place } else { place | 0x80 }; 512];
        for place in 0..COUNT {
            bed.guest().send_to(0, lun(place), &write_10(place, 1), Data::Out(&content(place)));
            bed.guest().send_to(0, lun(place + in_a_row), &write_10(place, 1), Data::Out(&content(place + in_a_row)));
            if place % 8 == 7 {
                bed.run();
            }
        }
        assert!(bed.guest().ended.drain(..).all(|ended| (ended.response, ended.status) == (OK, OK)));
        for place in 0..COUNT {
            bed.guest().send_to(0, lun(place), &read_10(place, 1), Data::In(512));
        }
        bed.run();
        let read: Vec<_> = bed.guest().ended.drain(..).map(|ended| ended.data).collect();
        assert!(read.into_iter().eq((0..COUNT).map(|place| content(place).to_vec())), "{first:?}, {in_a_row}");
        let its = |disk: usize| (0..COUNT).filter(|&place| lun(place) == luns[disk].0).count() as u64;
        for (disk, done) in counted(&bed).into_iter().enumerate() {
            assert_eq!((done.writes, done.written_blocks), (16, 16), "{first:?}, {in_a_row}");
            assert_eq!((done.reads, done.read_blocks), (its(disk), its(disk)), "{first:?}, {in_a_row}");
        }
    }
}

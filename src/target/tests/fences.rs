//! COMPARE AND WRITE has its blocks for itself: two guests on one disk, each on a core of its own.

use std::sync::Arc;

use bdev::{Bdev, MemBdev};

use super::bed::Bed;
use super::guest::{Data, read_10, write_10};
use super::long::{UNMAP, change, compare_and_write, shared, unmap_list, write_same};
use super::sim_disk::{Cancels, SimDisk};
use crate::target::live::Part;
use crate::target::lun_map::LunMap;
use crate::virtio_scsi::Address;
use crate::virtio_scsi::spec::TMF_ABORT_TASK;

const OK: u8 = 0;
const ABORTED: u8 = 2;

/// A guest sends COMPARE AND WRITE of block 1 on core 0, which is granted its block and reads it: the disk has that operation
/// alone.
fn reading() -> (Bed, SimDisk) {
    let (mut bed, disk) = shared();
    disk.hold();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(0, 1)));
    bed.run();
    assert_eq!((disk.accepted(), disk.held()), (vec![1], 1));
    (bed, disk)
}

/// The next operation that the disk holds ends.
fn answer(bed: &mut Bed, disk: &SimDisk) {
    disk.answer(0, Ok(()));
    bed.run();
}

#[test]
fn what_is_in_flight_ends_before_it_reads() {
    let (mut bed, disk) = shared();
    disk.hold();
    bed.guests[1].write(1, 0, 1, 9);
    bed.guests[1].read(1, 0, 2);
    bed.run();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(9, 1)));
    bed.run();
    assert_eq!(disk.accepted(), [1, 2], "it waits for both");
    answer(&mut bed, &disk);
    assert_eq!(disk.accepted(), [1, 2]);
    answer(&mut bed, &disk);
    assert_eq!(disk.accepted(), [1, 2, 1], "it reads");
    disk.go();
    bed.run();
    assert_eq!((bed.guests[0].take_one().status, disk.block(1)), (0, vec![1; 512]));
}

#[test]
fn one_that_waits_for_what_is_in_flight_can_be_aborted() {
    let (mut bed, disk) = shared();
    disk.hold();
    disk.set_cancels(Cancels::Fail);
    let write = bed.guests[1].write(1, 0, 1, 9);
    bed.run();
    let id = bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(9, 1)));
    bed.run();
    let tmf = bed.guests[0].manage(TMF_ABORT_TASK, 0, id);
    bed.run();
    assert_eq!(bed.guests[0].take_ended(), [(id, ABORTED), (tmf, OK)], "whatever the disk does");
    assert_eq!([bed.core(0).asked(), bed.core(1).asked()], [0; 2], "nor does anybody ask any more");
    let other = bed.guests[1].read(0, 0, 1);
    bed.run();
    assert_eq!(disk.accepted(), [1, 1], "nobody has the block any more");
    disk.go();
    bed.run();
    let mut ended = bed.guests[1].take_ended();
    ended.sort_unstable();
    assert_eq!((ended, disk.block(1)), (vec![(write, OK), (other, OK)], vec![9; 512]));
}

/// Its reactor has not heard that it left, and takes commands on it.
#[test]
fn a_unit_that_leaves_keeps_out_as_others_do() {
    let (mut bed, disk) = shared();
    let mut luns = LunMap::clone(&bed.guests[1].adapter.luns());
    assert!(luns.remove(Address { target: 0, lun: 0 }));
    disk.hold();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(0, 1)));
    bed.run();
    bed.guests[1].write(1, 0, 1, 9);
    bed.run();
    assert_eq!(disk.accepted(), [1], "it waits");
    disk.go();
    bed.run();
    assert_eq!((bed.guests[0].take_one().status, disk.block(1)), (0, vec![9; 512]));
    luns.forget_leaving();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(9, 1)));
    disk.hold();
    bed.run();
    bed.guests[1].write(1, 0, 1, 8);
    bed.run();
    assert_eq!(disk.held(), 2, "nobody asks it any more");
}

#[test]
fn bits_are_set_without_anybody_in_between() {
    let or_write = [0x8b, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0];
    let (mut bed, disk) = shared();
    disk.hold();
    bed.guests[0].send(0, 0, &or_write, Data::Out(&[0x10; 512]));
    bed.run();
    bed.guests[1].write(1, 0, 1, 1);
    bed.run();
    assert_eq!((disk.accepted(), disk.held()), (vec![1], 1));
    disk.go();
    bed.run();
    assert_eq!([bed.guests[0].take_one().status, bed.guests[1].take_one().status], [0, 0]);
    assert_eq!(disk.block(1), [1; 512], "the write comes after both");
}

#[test]
fn nobody_reads_or_writes_between_its_read_and_its_write() {
    let others: [(&[u8], Data<'_>); 5] = [
        (&write_10(1, 1), Data::Out(&[7; 512])),
        (&write_10(0, 3), Data::Out(&[7; 1536])),
        (&read_10(1, 1), Data::In(512)),
        (&write_same(1), Data::Out(&[7; 512])),
        (&UNMAP, Data::Out(&unmap_list(1))),
    ];
    for (cdb, data) in others {
        let (mut bed, disk) = reading();
        let id = bed.guests[1].send(1, 0, cdb, data);
        bed.run();
        assert_eq!(disk.accepted(), [1], "{cdb:?} waits");
        answer(&mut bed, &disk);
        assert_eq!((disk.accepted(), disk.held()), (vec![1, 1], 1), "the write of the first one");
        disk.go();
        bed.run();
        assert_eq!(bed.guests[0].take_one().status, 0);
        let ended = bed.guests[1].take_one();
        assert_eq!((ended.id, ended.status), (id, 0));
        let expected = match cdb[0] {
            0x28 => 1,
            0x42 => 0,
            _ => 7,
        };
        assert_eq!(disk.block(1), [expected; 512]);
        if cdb[0] == 0x28 {
            assert_eq!(ended.data, [1; 512]);
        }
    }
}

#[test]
fn whoever_is_elsewhere_on_the_disk_goes_on() {
    let disk = SimDisk::new(1024);
    let mut bed = Bed::of(2, vec![Arc::new(disk.clone()) as Arc<dyn Bdev>]);
    bed.add_guest(2);
    bed.add_guest(2);
    disk.hold();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(0, 1)));
    bed.guests[0].write(1, 0, 200, 3);
    bed.run();
    bed.guests[1].write(1, 0, 150, 4);
    bed.guests[1].send(1, 0, &write_same(255), Data::Out(&[5; 512]));
    bed.run();
    let mut accepted = disk.accepted();
    accepted.sort_unstable();
    assert_eq!(accepted, [1, 150, 200, 255]);
    disk.go();
    bed.run();
    assert_eq!([bed.guests[0].take_ended().len(), bed.guests[1].take_ended().len()], [2, 2]);
}

#[test]
fn those_that_wait_are_served_before_the_next_of_its_kind() {
    let (mut bed, disk) = reading();
    let write = bed.guests[1].write(1, 0, 1, 9);
    bed.run();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(9, 2)));
    bed.run();
    answer(&mut bed, &disk);
    answer(&mut bed, &disk);
    assert_eq!((disk.accepted().len(), disk.held()), (3, 1), "the plain write");
    answer(&mut bed, &disk);
    assert_eq!(bed.guests[1].take_ended(), [(write, OK)]);
    disk.go();
    bed.run();
    let statuses: Vec<_> = bed.guests[0].ended.drain(..).map(|ended| ended.status).collect();
    assert_eq!((statuses, disk.block(1)), (vec![0, 0], vec![2; 512]), "the second one saw it");
}

#[test]
fn one_that_waits_ends_when_it_is_aborted() {
    let (mut bed, disk) = reading();
    let id = bed.guests[1].write(1, 0, 1, 9);
    bed.run();
    let tmf = bed.guests[1].manage(TMF_ABORT_TASK, 0, id);
    bed.run();
    assert_eq!(bed.guests[1].take_ended(), [(id, ABORTED), (tmf, OK)]);
    disk.go();
    bed.run();
    assert_eq!((bed.guests[0].take_one().status, disk.block(1)), (0, vec![1; 512]));
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(1, 2)));
    bed.run();
    assert_eq!(bed.guests[0].take_one().status, 0, "nobody waits any more");
}

#[test]
fn one_that_waits_ends_with_a_reset_and_is_put_back_by_a_rest() {
    let (mut bed, disk) = reading();
    bed.guests[1].write(1, 0, 1, 9);
    bed.run();
    let gate = bed.guests[1].retire();
    bed.run();
    assert!(gate.is_open() && !bed.guests[1].memory_is_held());
    let id = bed.guests[0].write(0, 0, 1, 8);
    bed.run();
    let gate = bed.rest();
    bed.run();
    assert!(!gate.is_open());
    disk.go();
    bed.run();
    assert!(gate.is_open() && !bed.guests[0].memory_is_held());
    assert_eq!((disk.block(1), bed.guests[0].is_open(id)), (vec![1; 512], true));
    bed.guests[0].go_on();
    bed.run();
    assert_eq!((disk.block(1), bed.guests[0].is_open(id)), (vec![8; 512], false));
}

#[test]
fn one_that_waits_for_another_guests_range_can_rest() {
    let (mut bed, disk) = reading();
    let write = bed.guests[1].write(1, 0, 1, 9);
    bed.run();
    let control = bed.guests[1].rest(Part::Control);
    bed.run();
    let gate = bed.guests[1].rest(Part::Requests);
    bed.run();
    assert!(control.is_open() && gate.is_open() && bed.guests[1].is_open(write));
    bed.guests[1].go_on();
    bed.run();
    assert_eq!(disk.accepted(), [1], "it waits again");
    disk.go();
    bed.run();
    assert_eq!([bed.guests[0].take_one().status, bed.guests[1].take_one().status], [0; 2]);
    assert_eq!(disk.block(1), [9; 512]);
}

#[test]
fn one_that_waits_for_what_another_guest_has_in_flight_can_rest() {
    let (mut bed, disk) = shared();
    disk.hold();
    bed.guests[1].write(1, 0, 1, 9);
    bed.run();
    let id = bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(9, 1)));
    bed.run();
    assert_eq!(bed.core(1).asked(), 1);
    let gate = bed.rest();
    bed.run();
    assert!(gate.is_open() && bed.guests[0].is_open(id));
    assert_eq!(bed.core(1).asked(), 0, "nobody wants to know");
    bed.guests[0].go_on();
    disk.go();
    bed.run();
    assert_eq!((bed.guests[0].take_one().status, disk.block(1)), (0, vec![1; 512]));
}

#[test]
fn one_that_waited_for_room_waits_for_the_range_then() {
    let (mut bed, disk) = shared();
    disk.hold();
    disk.set_room(1);
    bed.guests[1].write(1, 0, 40, 9);
    bed.run();
    bed.guests[1].write(1, 0, 1, 9);
    bed.run();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(0, 1)));
    bed.run();
    assert_eq!((disk.accepted(), disk.held()), (vec![40], 1), "both have no room");
    disk.set_room(2);
    answer(&mut bed, &disk);
    assert_eq!(disk.accepted()[..2], [40, 1], "one of the two");
    assert_eq!(disk.held(), 1, "and not the other");
    disk.go();
    bed.run();
    assert_eq!([bed.guests[0].take_ended().len(), bed.guests[1].take_ended().len()], [1, 2]);
}

#[test]
fn a_guest_that_comes_meanwhile_waits_too() {
    let (mut bed, disk) = reading();
    let place = bed.add_guest(1);
    bed.guests[place].write(0, 0, 1, 9);
    bed.run();
    assert_eq!(disk.accepted(), [1]);
    disk.go();
    bed.run();
    assert_eq!((bed.guests[place].take_ended().len(), disk.block(1)), (1, vec![9; 512]));
}

#[test]
fn on_a_disk_in_memory_too() {
    let mut bed = Bed::of(2, vec![Arc::new(MemBdev::new(1 << 20, 512).unwrap())]);
    bed.add_guest(2);
    bed.add_guest(2);
    // The batch of the other queue has met the disk, and remembers it.
    bed.guests[1].write(1, 0, 1, 0);
    bed.run();
    bed.guests[1].ended.clear();
    bed.guests[0].send(0, 0, &compare_and_write(1), Data::Out(&change(0, 1)));
    bed.step(0);
    bed.guests[1].write(1, 0, 1, 9);
    bed.step(1);
    assert_eq!(bed.guests[1].open(), 1, "it waits");
    bed.run();
    assert_eq!((bed.guests[0].take_one().status, bed.guests[1].take_one().status), (0, 0));
    bed.guests[1].send(1, 0, &read_10(1, 1), Data::In(512));
    bed.run();
    assert_eq!(bed.guests[1].take_one().data, [9; 512]);
}

//! Several queues on one core: what the driver is shown and when, what one queue or disk may do to another, going to sleep.

use std::sync::Arc;

use bdev::NullBdev;
use reactor::Context;

use super::bed::Bed;
use super::guest::{Data, TEST_UNIT_READY};
use super::live_luns;
use super::sim_disk::{Cancels, SimDisk};
use crate::target::batch::BATCH;
use crate::target::disk::DiskIndex;
use crate::target::lookout::TURNS;
use crate::virtio_scsi::Address;
use crate::virtio_scsi::spec::TMF_LOGICAL_UNIT_RESET;

const OK: u8 = 0;

#[test]
fn a_pass_is_published_once_and_interrupts_once() {
    let (mut bed, _disks) = Bed::simulated(1, 2, 1);
    for lba in 0..5 {
        bed.guest().read(0, 0, lba);
    }
    bed.step(0);
    assert_eq!(bed.guest().take_ended().len(), 5);
    assert_eq!([2, 3, 0].map(|queue| bed.guest().interrupts(queue)), [1, 0, 0]);
    bed.guest().drivers[2].set_no_interrupt(true);
    bed.guest().read(0, 0, 0);
    bed.run();
    assert_eq!((bed.guest().take_ended().len(), bed.guest().interrupts(2)), (1, 0), "only as asked");
}

#[test]
fn with_event_indexes_an_interrupt_comes_where_the_driver_wants_it() {
    let (mut bed, _disks) = Bed::simulated(1, 1, 1);
    bed.guest().retire();
    bed.guest().features.event_idx = true;
    bed.guest().start();
    bed.run();
    bed.guest().drivers[2].split().set_used_event(2);
    for interrupts in [0, 0, 1, 0] {
        bed.guest().read(0, 0, 0);
        bed.run();
        assert_eq!((bed.guest().take_ended().len(), bed.guest().interrupts(2)), (1, interrupts));
    }
}

#[test]
fn without_bus_mastering_there_is_no_interrupt() {
    let (mut bed, _disks) = Bed::simulated(1, 1, 1);
    bed.guest().set_bus_master(false);
    bed.guest().read(0, 0, 0);
    bed.run();
    assert_eq!(bed.guest().interrupts(2), 0);
}

#[test]
fn a_broken_ring_stops_its_device_and_no_other() {
    let (mut bed, disks) = Bed::simulated(1, 2, 1);
    bed.add_guest(1);
    disks[0].hold();
    let id = bed.guests[0].read(1, 0, 0);
    bed.run();
    bed.guests[0].drivers[2].split_mut().offer(999);
    bed.run();
    assert!(bed.guests[0].is_broken() && !bed.guests[1].is_broken());
    bed.guests[0].read(1, 0, 1);
    let other = bed.guests[1].read(0, 0, 2);
    bed.run();
    assert_eq!(disks[0].accepted(), [0, 2], "all queues of the broken device rest");
    disks[0].release_all();
    bed.run();
    assert_eq!(bed.guests[0].take_ended(), [(id, OK)], "what was begun ends");
    assert_eq!(bed.guests[1].take_ended(), [(other, OK)]);
    let gate = bed.guests[0].retire();
    bed.run();
    assert!(gate.is_open());
}

#[test]
fn a_full_disk_keeps_its_order_and_stops_no_other() {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    disks[0].hold();
    disks[0].set_room(2);
    let mut expected = Vec::new();
    for lba in 0..6 {
        bed.guest().read(0, 0, lba);
        expected.push(bed.guest().read(0, 1, lba));
        bed.run();
    }
    assert_eq!(bed.guest().take_ended(), expected.into_iter().map(|id| (id, OK)).collect::<Vec<_>>());
    for held in [2, 2, 2, 2, 1, 0] {
        disks[0].answer(0, Ok(()));
        bed.run();
        assert_eq!((disks[0].held(), bed.guest().take_ended().len()), (held, 1));
    }
    assert_eq!((disks[0].accepted(), disks[1].accepted()), (vec![0, 1, 2, 3, 4, 5], vec![0, 1, 2, 3, 4, 5]));
}

#[test]
fn all_that_waits_for_its_disk_is_handed_over_at_once_and_what_does_not_in_batches() {
    let (mut bed, disks) = Bed::simulated(1, 1, 1);
    disks[0].hold();
    for lba in 0..20 {
        bed.guest().read(0, 0, lba);
    }
    bed.step(0);
    assert_eq!(disks[0].held(), 20);
    let mut bed = Bed::of(1, vec![Arc::new(NullBdev::new(1 << 20, 512).unwrap())]);
    bed.add_guest(1);
    for lba in 0..20 {
        bed.guest().read(0, 0, lba);
    }
    for ended in [BATCH, 20 - BATCH] {
        bed.step(0);
        assert_eq!(bed.guest().take_ended().len(), ended);
    }
}

/// A core with one queue and disks that are files but for the first `others`.
fn with_files(disks: usize, others: usize) -> (Bed, Vec<SimDisk>) {
    Bed::wrapped(1, 1, (disks, 64), |index, disk| {
        if index >= others {
            disk.be_file();
        }
        Arc::new(disk)
    })
}

#[test]
fn what_goes_to_a_file_is_handed_over_in_batches() {
    let (mut bed, disks) = with_files(1, 0);
    disks[0].hold();
    for lba in 0..20 {
        bed.guest().read(0, 0, lba);
    }
    for held in [BATCH, 20] {
        bed.step(0);
        assert_eq!(disks[0].held(), held);
    }
}

#[test]
fn a_core_whose_last_file_has_gone_hands_over_all_at_once_again() {
    let (mut bed, disks) = with_files(3, 1);
    for (gone, held) in [(None, BATCH), (Some(1), BATCH), (Some(2), 20)] {
        if let Some(target) = gone {
            let index = DiskIndex(target.into());
            assert!(live_luns::change(&mut bed, |luns| assert!(luns.remove(Address { target, lun: 0 }))).is_open());
            assert!(live_luns::close(&mut bed, 1, index).is_open());
        }
        disks[0].hold();
        for lba in 0..20 {
            bed.guest().read(0, 0, lba);
        }
        bed.step(0);
        assert_eq!(disks[0].held(), held, "{gone:?}");
        disks[0].go();
        bed.run();
    }
}

#[test]
fn queues_that_wait_for_room_get_it_in_turn() {
    let (mut bed, disks) = Bed::simulated(1, 3, 1);
    disks[0].hold();
    disks[0].set_room(1);
    for queue in 0..3 {
        bed.guest().read(queue, 0, queue as u8);
        bed.guest().read(queue, 0, queue as u8);
    }
    bed.run();
    // The queue that the core looks at first sends another one for each that ends.
    for _ in 0..4 {
        disks[0].answer(0, Ok(()));
        bed.guest().read(2, 0, 2);
        bed.step(0);
        bed.run();
    }
    assert_eq!(disks[0].accepted(), [2, 2, 1, 0, 2]);
    disks[0].go();
    bed.run();
    assert_eq!(bed.guest().open(), 0);
}

#[test]
fn large_requests_on_a_sick_disk_keep_no_other_from_its_turn() {
    let (mut bed, disks) = Bed::simulated(1, 1, 2);
    disks[0].hold();
    disks[0].set_cancels(Cancels::Fail);
    for _ in 0..20 {
        bed.guest().read_in_pieces(0, &[51], &[[108].as_slice(), &[64; 8]].concat());
        bed.run();
    }
    assert_eq!(disks[0].held(), 20);
    let id = bed.guest().read(0, 1, 0);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, OK)]);
    let tmf = bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 1, 0);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(tmf, OK)]);
    disks[0].release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended().len(), 20);
}

#[test]
fn a_sleeping_core_wants_doorbells_and_an_awake_one_does_not() {
    let (mut bed, _disks) = Bed::simulated(1, 1, 1);
    assert!(!bed.guest().drivers[2].split().must_ring(0, 1));
    assert!(bed.core(0).may_sleep() && bed.core(0).arm());
    assert!([0, 2].into_iter().all(|queue| bed.guest().drivers[queue].split().must_ring(0, 1)));
    bed.core(0).disarm();
    assert!([0, 2].into_iter().all(|queue| !bed.guest().drivers[queue].split().must_ring(0, 1)));
    bed.guest().send(0, 0, &TEST_UNIT_READY, Data::Without);
    assert!(!bed.core(0).arm(), "what came before the driver saw the wish is found");
}

#[test]
fn a_core_does_not_sleep_on_what_a_pass_has_left() {
    let mut bed = Bed::of(1, vec![Arc::new(NullBdev::new(1 << 20, 512).unwrap())]);
    bed.add_guest(1);
    let ask = |bed: &mut Bed| {
        (0..8).for_each(|lba| _ = bed.guest().read(0, 0, lba));
        assert!(bed.step(0));
        bed.guest().take_ended().len()
    };
    assert!((0..100).any(|_| ask(&mut bed) == 4), "all of them for some passes, then halves");
    assert!(!bed.core(0).arm(), "the driver rings for none of the others any more");
    bed.core(0).disarm();
    assert!(bed.step(0));
    assert_eq!(bed.guest().take_ended().len(), 4);
    assert!(bed.core(0).arm());
    bed.core(0).disarm();
    assert_eq!(ask(&mut bed), 4);
}

#[test]
fn a_core_with_requests_that_wait_does_not_sleep() {
    let (mut bed, disks) = Bed::simulated(1, 1, 1);
    disks[0].set_room(0);
    bed.guest().read(0, 0, 0);
    bed.run();
    assert!(!bed.core(0).may_sleep());
    disks[0].set_room(1);
    bed.run();
    assert!(bed.core(0).may_sleep());
}

#[test]
fn a_function_whose_commands_end_while_its_core_falls_asleep_is_answered() {
    for before in [true, false] {
        let (mut bed, disks) = Bed::simulated(2, 2, 1);
        disks[0].hold();
        disks[0].set_cancels(Cancels::Fail);
        bed.guest().read(1, 0, 0);
        bed.run();
        bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
        bed.run();
        disks[0].answer(0, Ok(()));
        if before {
            // The other core ends the last command right before this one can be seen to sleep.
            bed.step(1);
            let (core, mailbox) = bed.parts(0);
            assert!(!mailbox.doze(|| core.arm()).0, "it must look again");
        } else {
            assert!(bed.sleeps_until_woken(0, |bed| _ = bed.step(1)));
        }
        bed.core(0).disarm();
        bed.run();
        assert_eq!(bed.guest().take_ended().len(), 2);
    }
}

/// Five guests with eight queues each on one core, all of which have had nothing for long.
fn many_quiet_queues() -> Bed {
    let (mut bed, _disks) = Bed::simulated(1, 8, 1);
    (0..4).for_each(|_| _ = bed.add_guest(8));
    bed.passes(300);
    bed
}

#[test]
fn a_quiet_one_of_many_queues_is_seen_when_it_wakes_up() {
    let mut bed = many_quiet_queues();
    for (guest, queue) in (0..5).flat_map(|guest| (0..8).map(move |queue| (guest, queue))) {
        let id = bed.guests[guest].read(queue, 0, 0);
        bed.passes(TURNS as usize);
        assert!(!bed.guests[guest].is_open(id), "queue {queue} of guest {guest}");
    }
}

#[test]
fn before_the_core_sleeps_and_after_it_all_of_many_queues_are_looked_at() {
    let mut bed = many_quiet_queues();
    for (guest, queue) in [(0, 0), (1, 3), (2, 6), (4, 7)] {
        bed.passes(300);
        let id = bed.guests[guest].read(queue, 0, 0);
        let (core, mailbox) = bed.parts(0);
        assert!(!mailbox.doze(|| core.arm()).0, "it must look again");
        bed.core(0).disarm();
        bed.passes(1);
        assert!(!bed.guests[guest].is_open(id), "queue {queue} of guest {guest}");
    }
}

#[test]
fn the_end_waits_for_commands_and_flushes_but_not_for_ever() {
    let (mut bed, disks) = Bed::simulated(1, 1, 1);
    disks[0].hold();
    disks[0].set_cancels(Cancels::Fail);
    bed.guest().write(0, 0, 1, 1);
    bed.run();
    let gate = bed.guest().retire();
    bed.run();
    assert!(!bed.drain(0));
    disks[0].go();
    assert!(bed.drained() && gate.is_open());
    assert_eq!(disks[0].accepted(), [1, 0], "a flush has no block");

    let (mut bed, disks) = Bed::simulated(1, 1, 1);
    disks[0].hold();
    disks[0].set_cancels(Cancels::Fail);
    bed.guest().write(0, 0, 1, 1);
    bed.run();
    bed.guest().retire();
    bed.run();
    assert!(!bed.drain(0));
    bed.now_ns += 9_999_999_999;
    assert!(!bed.drain(0));
    bed.now_ns += 1;
    assert!(bed.drain(0) && bed.guest().memory_is_held());
}

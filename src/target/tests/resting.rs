//! Rest and return: memory is let go of when nothing uses it, and not before; queues go on where they stopped.

use reactor::Context;

use super::bed::Bed;
use super::guest::{Data, TEST_UNIT_READY};
use super::sim_disk::Cancels;
use crate::target::live::Part;
use crate::virtio_scsi::spec::TMF_LOGICAL_UNIT_RESET;

const OK: u8 = 0;

#[test]
fn the_memory_goes_when_the_last_command_has_ended_and_not_before() {
    let (mut bed, disks) = Bed::simulated(2, 3, 1);
    disks[0].hold();
    let ids = [0, 1].map(|queue| bed.guest().read(queue, 0, 0));
    bed.run();
    let gate = bed.rest();
    bed.run();
    let late = bed.guest().read(0, 0, 1);
    bed.run();
    assert!(!gate.is_open() && bed.guest().memory_is_held());
    disks[0].answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(ids[0], OK)], "what ends meanwhile is published");
    assert!(!gate.is_open() && bed.guest().memory_is_held());
    disks[0].answer(0, Ok(()));
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(ids[1], OK)]);
    assert!(gate.is_open() && !bed.guest().memory_is_held());
    assert_eq!((disks[0].cancelled(), disks[0].held()), (0, 0), "a rest ends no command early, and starts none");
    bed.guest().go_on();
    bed.run();
    disks[0].release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(late, OK)]);
}

#[test]
fn idle_queues_rest_at_once() {
    let (mut bed, _disks) = Bed::simulated(2, 3, 1);
    let gate = bed.rest();
    bed.run();
    assert!(gate.is_open() && !bed.guest().memory_is_held());
    bed.run();
    bed.guest().send(1, 0, &TEST_UNIT_READY, Data::Without);
    bed.run();
    assert_eq!(bed.guest().open(), 1);
    bed.guest().go_on();
    bed.run();
    assert_eq!(bed.guest().take_ended().len(), 1);
}

#[test]
fn commands_that_wait_for_room_end_before_the_rest() {
    let (mut bed, disks) = Bed::simulated(1, 1, 1);
    disks[0].hold();
    disks[0].set_room(1);
    let ids = [0, 1, 2].map(|lba| bed.guest().read(0, 0, lba));
    bed.run();
    let gate = bed.rest();
    for id in ids {
        bed.run();
        assert!(!gate.is_open());
        disks[0].answer(0, Ok(()));
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(id, OK)]);
    }
    assert!(gate.is_open());
}

#[test]
fn a_ring_whose_memory_went_away_waits_for_it() {
    let (mut bed, disks) = Bed::simulated(2, 2, 1);
    for queue in 0..2 {
        bed.guest().read(queue, 0, 0);
    }
    bed.run();
    let gate = bed.rest();
    bed.run();
    assert!(gate.is_open());
    let map = bed.guest().show(false, true);
    bed.guest().live.as_mut().unwrap().go_on(&map);
    bed.guest().read(0, 0, 1);
    bed.run();
    assert_eq!((bed.guest().open(), bed.guest().is_broken()), (1, false), "it pauses, it does not break");
    drop(map);
    // It comes back in pieces: first what is no ring's, then the rings.
    for (rings, data, open) in [(false, true, 1), (true, true, 0)] {
        let map = bed.guest().show(rings, data);
        bed.guest().live.as_ref().unwrap().add_memory(&map);
        bed.run();
        assert_eq!((bed.guest().open(), bed.guest().is_broken()), (open, false));
    }
    assert_eq!(disks[0].accepted(), [0, 0, 1], "positions in the ring have stayed");
}

#[test]
fn memory_that_came_since_the_messages_of_a_pass_is_found_in_the_next() {
    let (mut bed, _disks) = Bed::simulated(1, 1, 1);
    let gate = bed.rest();
    bed.run();
    assert!(gate.is_open());
    let map = bed.guest().show(true, false);
    bed.guest().live.as_mut().unwrap().go_on(&map);
    bed.run();
    for is_mapped in [true, false] {
        if is_mapped {
            let map = bed.guest().show(true, true);
            bed.guest().live.as_ref().unwrap().add_memory(&map);
        } else {
            let gate = bed.rest();
            bed.run();
            assert!(gate.is_open());
            let map = bed.guest().show(true, false);
            bed.guest().live.as_mut().unwrap().go_on(&map);
            bed.run();
        }
        let id = bed.guest().read(0, 0, 0);
        // The rest of a pass that took its messages before.
        let now_ns = bed.now_ns;
        let _ = bed.core(0).poll(now_ns);
        assert!(!bed.guest().is_broken() && bed.guest().is_open(id));
        bed.run();
        assert_eq!((bed.guest().is_broken(), bed.guest().is_open(id)), (!is_mapped, !is_mapped));
    }
}

#[test]
fn a_second_rest_finds_the_queues_at_rest() {
    let (mut bed, _disks) = Bed::simulated(1, 1, 1);
    let first = bed.rest();
    bed.run();
    let second = bed.rest();
    bed.run();
    assert!(first.is_open() && second.is_open() && !bed.guest().memory_is_held());
}

#[test]
fn memory_that_is_added_is_used_without_a_rest() {
    let (mut bed, disks) = Bed::simulated(1, 1, 1);
    disks[0].hold();
    let id = bed.guest().read(0, 0, 0);
    bed.run();
    let map = bed.guest().show(true, true);
    bed.guest().live.as_ref().unwrap().add_memory(&map);
    drop(map);
    bed.run();
    assert!(bed.guest().memory_is_held(), "the queues have taken it up");
    disks[0].release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, OK)]);
}

#[test]
fn a_life_that_ends_takes_its_queues_and_its_memory() {
    let (mut bed, disks) = Bed::simulated(2, 3, 1);
    disks[0].hold();
    for queue in 0..3 {
        bed.guest().read(queue, 0, 0);
    }
    bed.run();
    let gate = bed.guest().retire();
    bed.run();
    assert!(gate.is_open() && !bed.guest().memory_is_held());
    assert_eq!((disks[0].cancelled(), disks[0].held()), (3, 0), "the disk was asked for them");
    disks[0].go();
    assert!(bed.drained());
}

#[test]
fn a_disk_that_does_not_answer_keeps_the_old_life_and_not_the_new_one() {
    let (mut bed, disks) = Bed::simulated(2, 2, 2);
    disks[0].hold();
    disks[0].set_cancels(Cancels::Fail);
    bed.guest().read(0, 0, 0);
    bed.guest().read(1, 0, 1);
    bed.run();
    bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    let gate = bed.guest().retire();
    bed.run();
    assert!(!gate.is_open() && bed.guest().memory_is_held());
    let old = bed.guest().leave();
    let told = old.told();
    bed.guest().start();
    bed.run();
    for (queue, lba) in [(0, 2), (1, 3)] {
        bed.guest().write(queue, 1, lba, 1);
        bed.guest().send(queue, 0, &TEST_UNIT_READY, Data::Without);
    }
    bed.run();
    assert_eq!((bed.guest().take_ended().len(), bed.guest().open()), (4, 0), "a new life works meanwhile");
    disks[0].answer(1, Ok(()));
    bed.run();
    assert!(!gate.is_open());
    disks[0].answer(0, Err(bdev::IoError::Medium));
    bed.run();
    assert!(gate.is_open());
    assert!(old.told() == told, "nothing was told the driver that has reset the device");
    assert!(!old.memory_is_held() && bed.guest().memory_is_held());
}

#[test]
fn an_end_during_a_rest_and_a_task_management_function() {
    let (mut bed, disks) = Bed::simulated(2, 2, 1);
    disks[0].hold();
    disks[0].set_cancels(Cancels::Fail);
    bed.guest().read(1, 0, 0);
    bed.run();
    bed.guest().manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    bed.guest().read(0, 0, 1);
    bed.run();
    let rest = bed.guest().rest(Part::Control);
    bed.run();
    assert!(rest.is_open(), "it waits for no function");
    let gate = bed.guest().retire();
    bed.run();
    assert!(!gate.is_open() && bed.guest().memory_is_held());
    disks[0].release_all();
    bed.run();
    assert!(gate.is_open() && rest.is_open() && !bed.guest().memory_is_held());
    disks[0].go();
    // What was held back in the old life is not in the new one.
    bed.guest().start();
    let id = bed.guest().read(1, 0, 0);
    bed.run();
    let ended = bed.guest().take_ended();
    assert_eq!(ended.last(), Some(&(id, OK)));
}

//! Requests in memory that the client does not share: fetched before they are looked at, stored before they are given back,
//! and never in the way of a rest.

use rustix::io::Errno;

use super::bed::Bed;
use super::guest::Data;
use super::sim_disk::{Cancels, SimDisk};
use crate::dma::{Access, MemMap};
use crate::virtio_scsi::spec::{TMF_ABORT_TASK_SET, TMF_LOGICAL_UNIT_RESET, TMF_QUERY_TASK};

const OK: u8 = 0;
const ABORTED: u8 = 2;
const RESET: u8 = 4;
const SUCCEEDED: u8 = 10;

/// One core, one request queue, one disk; nothing but the rings is shared.
fn bed() -> (Bed, SimDisk) {
    let (mut bed, mut disks) = Bed::simulated(1, 1, 1);
    let _ = bed.guest().retire();
    bed.run();
    bed.guest().share_no_data();
    bed.guest().start();
    bed.run();
    (bed, disks.pop().expect("one"))
}

/// Nothing was written to the addresses that only stand for the memory, so that it takes none of ours.
fn check_shadow(bed: &mut Bed) {
    let shadow = bed.guest().far().shadow.clone();
    let (start, len) = (shadow.start, shadow.len);
    let mut bytes = vec![1; len as usize];
    let mut done = 0;
    let map = MemMap::new(vec![shadow]);
    let copy = |segment: bdev::Segment, is_remote: bool| {
        assert!(is_remote);
        segment.read(0, &mut bytes[done..done + segment.len()]);
        done += segment.len();
        Ok(())
    };
    map.translate(&mut Default::default(), (start, len), Access::Read, copy).unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
}

#[test]
fn data_goes_there_and_back() {
    for tables in [false, true] {
        let (mut bed, disk) = bed();
        bed.guest().far().tables = tables;
        for value in 1..=3 {
            bed.guest().write(0, 0, value, value);
        }
        bed.run();
        assert!(bed.guest().take_ended().iter().all(|&(_, response)| response == OK));
        assert_eq!(disk.block(2), [2; 512]);
        bed.guest().read(0, 0, 3);
        bed.run();
        let ended = bed.guest().take_one();
        assert_eq!((ended.response, ended.status, ended.written), (OK, 0, 108 + 512));
        assert_eq!(ended.data, [3; 512]);
        bed.guest().send(0, 0, &[0x12, 0, 0, 0, 36, 0], Data::In(36));
        bed.run();
        assert_eq!(bed.guest().take_one().data[8..15], *b"ANNULUS");
        check_shadow(&mut bed);
    }
}

#[test]
fn a_pass_that_wants_a_table_takes_no_more_chains() {
    for own in [0, 8, 15, 16, 17] {
        let (mut bed, disk) = bed();
        disk.hold();
        for lba in 0..20 {
            bed.guest().far().tables = lba >= own;
            bed.guest().read(0, 0, lba);
        }
        bed.run();
        disk.go();
        bed.run();
        let ended = bed.guest().take_ended();
        assert_eq!((ended.len(), bed.guest().open()), (20, 0), "{own}");
    }
}

#[test]
fn only_what_was_written_is_stored() {
    let (mut bed, _disk) = bed();
    bed.guest().send(0, 0, &[0x12, 0, 0, 0, 8, 0], Data::In(200));
    bed.run();
    let ended = bed.guest().take_one();
    assert_eq!((ended.written, ended.resid), (108 + 8, 192));
    assert!(ended.data[8..].iter().all(|&byte| byte == 0xee));
    let client = &bed.guest().far().client;
    assert_eq!(client.read.iter().map(|&(_, len)| len).collect::<Vec<_>>(), [51]);
    assert_eq!(client.written.iter().map(|&(_, len)| len).collect::<Vec<_>>(), [108, 8]);
}

#[test]
fn commands_start_in_order() {
    let (mut bed, disk) = bed();
    bed.guest().far().client.waits = true;
    for lba in 0..3 {
        bed.guest().write(0, 0, lba, 1);
    }
    bed.guest().share_next();
    bed.guest().read(0, 0, 3);
    bed.run();
    assert_eq!((disk.accepted().len(), bed.guest().open()), (0, 4));
    bed.guest().far().client.waits = false;
    bed.run();
    assert_eq!((disk.accepted(), bed.guest().open()), (vec![0, 1, 2, 3], 0));
}

#[test]
fn a_chain_is_given_back_when_its_answer_is_there() {
    let (mut bed, disk) = bed();
    disk.hold();
    bed.guest().read(0, 0, 0);
    bed.run();
    assert_eq!(disk.held(), 1);
    bed.guest().far().client.waits = true;
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!((bed.guest().open(), bed.guest().interrupts(2)), (1, 0));
    bed.guest().far().client.waits = false;
    bed.run();
    assert_eq!((bed.guest().open(), bed.guest().interrupts(2)), (0, 1));
}

#[test]
fn a_rest_does_not_wait_for_a_client_that_waits_for_it() {
    for tables in [false, true] {
        let (mut bed, disk) = bed();
        bed.guest().far().tables = tables;
        bed.guest().far().client.waits = true;
        let ids = [0, 1].map(|lba| bed.guest().read(0, 0, lba));
        bed.run();
        let gate = bed.rest();
        bed.run();
        assert!(gate.is_open() && !bed.guest().memory_is_held());
        bed.guest().far().client.waits = false;
        // What was looked at before waits for its memory as the ring does.
        let map = bed.guest().show(true, false);
        bed.guest().live.as_mut().unwrap().go_on(&map);
        drop(map);
        bed.run();
        assert!(!bed.guest().is_broken());
        let map = bed.guest().show(true, true);
        bed.guest().live.as_mut().unwrap().add_memory(&map);
        bed.run();
        assert_eq!(bed.guest().take_ended(), ids.map(|id| (id, OK)));
        assert_eq!(disk.accepted(), [0, 1]);
    }
}

#[test]
fn an_answer_may_be_stored_after_the_rest_and_when_the_memory_is_back() {
    let (mut bed, disk) = bed();
    disk.hold();
    let id = bed.guest().read(0, 0, 0);
    bed.run();
    bed.guest().far().client.waits = true;
    disk.answer(0, Ok(()));
    bed.run();
    let gate = bed.rest();
    bed.run();
    assert!(gate.is_open() && !bed.guest().memory_is_held());
    bed.guest().far().client.waits = false;
    bed.guest().far().client.written.clear();
    let map = bed.guest().show(true, false);
    bed.guest().live.as_mut().unwrap().go_on(&map);
    bed.run();
    assert!(bed.guest().is_open(id) && !bed.guest().is_broken());
    assert_eq!(bed.guest().far().client.written, [], "nothing is written where nothing is mapped");
    let map = bed.guest().show(true, true);
    bed.guest().live.as_mut().unwrap().add_memory(&map);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, OK)]);
}

#[test]
fn an_answer_that_was_stored_during_the_rest_is_given_back_when_the_ring_is_there() {
    let (mut bed, disk) = bed();
    disk.hold();
    let id = bed.guest().read(0, 0, 0);
    bed.run();
    bed.guest().far().client.waits = true;
    disk.answer(0, Ok(()));
    bed.run();
    let gate = bed.rest();
    bed.run();
    assert!(gate.is_open());
    // The rings' memory is missing, that of the request is not.
    bed.guest().far().client.waits = false;
    let map = bed.guest().show(false, true);
    bed.guest().live.as_mut().unwrap().go_on(&map);
    bed.run();
    assert!(!bed.guest().far().client.written.is_empty() && bed.guest().is_open(id));
    let map = bed.guest().show(true, true);
    bed.guest().live.as_mut().unwrap().add_memory(&map);
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, OK)]);
}

#[test]
fn nothing_is_fetched_or_stored_for_a_life_that_is_over() {
    for is_storing in [false, true] {
        let (mut bed, disk) = bed();
        disk.hold();
        if is_storing {
            bed.guest().read(0, 0, 0);
            bed.run();
        }
        bed.guest().far().client.waits = true;
        disk.release_all();
        bed.guest().read(0, 0, 1);
        bed.run();
        let gate = bed.guest().retire();
        bed.run();
        assert!(gate.is_open());
        let client = &mut bed.guest().far().client;
        client.waits = false;
        client.read.clear();
        client.written.clear();
        bed.run();
        bed.guest().start();
        bed.run();
        let client = &bed.guest().far().client;
        assert!(client.read.is_empty() && client.written.is_empty());
        disk.go();
        let id = bed.guest().read(0, 0, 2);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(id, OK)]);
    }
}

#[test]
fn a_client_that_does_not_serve_its_memory_fails_its_device() {
    for is_storing in [false, true] {
        let (mut bed, disk) = bed();
        disk.hold();
        let id = bed.guest().read(0, 0, 0);
        if is_storing {
            bed.run();
        }
        bed.guest().far().client.refuses = Some(Errno::FAULT);
        bed.run();
        disk.release_all();
        bed.run();
        assert!(bed.guest().is_broken() && bed.guest().is_open(id));
        let gate = bed.rest();
        bed.run();
        assert!(gate.is_open(), "a broken device rests, too");
        bed.guest().go_on();
        let gate = bed.guest().retire();
        bed.run();
        assert!(gate.is_open());
    }
}

#[test]
fn task_management_finds_what_is_being_fetched_and_what_is_behind_it() {
    for (subtype, response) in [(TMF_ABORT_TASK_SET, ABORTED), (TMF_LOGICAL_UNIT_RESET, RESET)] {
        for tables in [false, true] {
            let (mut bed, disk) = bed();
            bed.guest().far().tables = tables;
            bed.guest().far().client.waits = true;
            let ids = [0, 1, 2].map(|lba| bed.guest().read(0, 0, lba));
            bed.run();
            bed.guest().far().tables = false;
            bed.guest().share_next();
            let function = bed.guest().manage(subtype, 0, 0);
            bed.run();
            assert!(bed.guest().is_open(function));
            bed.guest().far().client.waits = false;
            bed.run();
            let [a, b, c] = ids.map(|id| (id, response));
            assert_eq!(bed.guest().take_ended(), [a, b, c, (function, OK)]);
            assert!(disk.accepted().is_empty());
        }
    }
}

/// However many a driver makes available meanwhile.
#[test]
fn task_management_does_not_wait_for_what_came_after_it() {
    let (mut bed, _disk) = bed();
    bed.guest().far().client.waits = true;
    bed.guest().read(0, 0, 0);
    bed.run();
    bed.guest().share_next();
    let function = bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    bed.guest().far().client.waits = false;
    let mut newer = 0;
    while bed.guest().is_open(function) {
        newer += 1;
        assert!(newer < 20, "it is never answered");
        bed.guest().read(0, 0, 1);
        bed.step(0);
    }
    bed.run();
    assert_eq!(bed.guest().open(), 0);
}

#[test]
fn a_command_whose_answer_is_being_stored_has_not_ended() {
    let (mut bed, disk) = bed();
    disk.hold();
    let id = bed.guest().read(0, 0, 0);
    bed.run();
    bed.guest().far().client.waits = true;
    disk.answer(0, Ok(()));
    bed.run();
    bed.guest().share_next();
    let function = bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    assert!(bed.guest().is_open(function));
    bed.guest().far().client.waits = false;
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, OK), (function, OK)]);
}

#[test]
fn functions_may_lie_there_too() {
    for tables in [false, true] {
        let (mut bed, disk) = bed();
        bed.guest().far().tables = tables;
        disk.hold();
        let id = bed.guest().read(0, 0, 0);
        bed.run();
        let query = bed.guest().manage(TMF_QUERY_TASK, 0, id);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(query, SUCCEEDED)]);
        let abort = bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
        bed.run();
        assert_eq!(bed.guest().take_ended(), [(id, ABORTED), (abort, OK)]);
        check_shadow(&mut bed);
    }
}

#[test]
fn what_stands_in_for_memory_is_bounded() {
    let (mut bed, disk) = bed();
    disk.hold();
    // Half a MiB each time: 20 MiB, of 32.
    let ids = [0, 1].map(|lba| bed.guest().read_with_room(lba, 40));
    bed.run();
    assert_eq!(disk.held(), 1, "the second waits for the first to end");
    let function = bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    assert_eq!(
        bed.guest().take_ended(),
        ids.map(|id| (id, ABORTED)).into_iter().chain([(function, OK)]).collect::<Vec<_>>()
    );
    // A request that is held back over a rest gives its room back meanwhile.
    disk.set_cancels(Cancels::Fail);
    let first = bed.guest().read(0, 0, 0);
    bed.run();
    let function = bed.guest().manage(TMF_ABORT_TASK_SET, 0, 0);
    bed.run();
    let held_back = bed.guest().read_with_room(1, 40);
    bed.run();
    let gate = bed.rest();
    bed.run();
    assert!(!gate.is_open());
    disk.release_all();
    bed.run();
    assert!(gate.is_open() && !bed.guest().memory_is_held());
    bed.guest().go_on();
    bed.run();
    disk.release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(first, ABORTED), (function, OK), (held_back, OK)]);
    let id = bed.guest().read_with_room(0, 40);
    bed.run();
    disk.release_all();
    bed.run();
    assert_eq!(bed.guest().take_ended(), [(id, OK)]);
    bed.guest().read_with_room(0, 64);
    bed.run();
    assert!(bed.guest().is_broken(), "no sane driver needs so much");
}

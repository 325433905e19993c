//! Write caches that are turned off: what is in them by then comes to the medium all the same.

use std::sync::Arc;

use bdev::OpKind;

use super::bed::{Bed, execute};
use super::copies::{CACHE_OFF, SELECT};
use super::guest::{Data, TEST_UNIT_READY, write_10};
use super::long::{change, compare_and_write};
use super::sim_disk::SimDisk;
use crate::scsi::Attention;
use crate::target::sharing::store::Store;
use crate::virtio_scsi::spec::TMF_LOGICAL_UNIT_RESET;

/// What others wrote between the flush and the change, as writes that a cache may have.
#[test]
fn a_cache_that_is_turned_off_is_written_before_and_behind() {
    let (mut bed, mut disks) = Bed::simulated(2, 1, 1);
    let (other, disk) = (bed.add_guest(1), disks.pop().expect("one"));
    disk.hold();
    let select = bed.guests[0].send(0, 0, &SELECT, Data::Out(&CACHE_OFF));
    bed.run();
    assert_eq!((disk.held(), bed.guests[0].is_open(select)), (1, true), "its flush");
    disk.answer(0, Ok(()));
    bed.run();
    assert_eq!((disk.held(), bed.guests[0].take_ended()), (1, vec![(select, 0)]), "and one that it does not wait for");
    disk.go();
    bed.run();
    assert_eq!(execute(&mut bed, other, &TEST_UNIT_READY, Data::Without).sense, Some((6, 0x2a01)));
    let write = execute(&mut bed, other, &write_10(1, 1), Data::Out(&[7; 512]));
    assert_eq!((write.sense, disk.held()), (None, 0));
}

/// A write that was made ready while writes were cached, in flight or behind a command that has its block for itself.
#[test]
fn a_cache_that_is_turned_off_is_written_once_more_behind_what_others_had_begun() {
    const CACHED: OpKind = OpKind::Write { fua: false };
    for is_fenced in [false, true] {
        let (mut bed, mut disks) = Bed::simulated(2, 2, 1);
        let (other, disk) = (bed.add_guest(2), disks.pop().expect("one"));
        disk.hold();
        if is_fenced {
            bed.guests[0].send(1, 0, &compare_and_write(3), Data::Out(&change(0, 1)));
            bed.run();
        }
        bed.guests[other].write(1, 0, 3, 7);
        bed.run();
        let select = bed.guests[0].send(0, 0, &SELECT, Data::Out(&CACHE_OFF));
        let answer = |bed: &mut Bed, nth| {
            disk.answer(nth, Ok(()));
            bed.run();
        };
        bed.run();
        answer(&mut bed, 1);
        answer(&mut bed, 1);
        let first = if is_fenced { OpKind::Read } else { CACHED };
        assert_eq!(disk.kinds(), [first, OpKind::Flush, OpKind::Flush]);
        if is_fenced {
            answer(&mut bed, 0);
            assert_eq!(disk.kinds().pop(), Some(OpKind::Write { fua: true }), "it goes by the mode of now");
            answer(&mut bed, 0);
            assert_eq!(disk.kinds().pop(), Some(CACHED));
        }
        assert!(bed.guests[0].is_open(select) && disk.held() == 1);
        answer(&mut bed, 0);
        assert_eq!((disk.held(), disk.kinds().pop()), (1, Some(OpKind::Flush)));
        assert!(!bed.guests[0].is_open(select));
        disk.go();
        bed.run();
    }
}

/// What was saved may be a cache that is off: what was written until then is in it all the same.
#[test]
fn a_cache_that_is_turned_off_by_a_reset_is_written_behind_it() {
    let resets: [fn(&mut Bed); 2] = [
        |bed| {
            bed.guests[0].manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
            bed.run();
            bed.guests[0].take_ended();
        },
        |bed| {
            bed.guests[0].adapter.luns().port.end();
            bed.guests[0].adapter.luns().raise(Attention::HardReset, |_| true);
        },
    ];
    for reset in resets {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(dir.path()).unwrap());
        let sim = SimDisk::new(64);
        let mut bed = Bed::keeping(1, vec![Arc::new(sim.clone())], Some(store));
        bed.add_guest(1);
        for (saved, wce) in [(1, 0), (0, 4)] {
            let list = [&[0, 0, 0, 0, 0x08, 0x12, wce][..], &[0; 17]].concat();
            assert_eq!(execute(&mut bed, 0, &[0x15, 0x10 | saved, 0, 0, 24, 0], Data::Out(&list)).sense, None);
        }
        sim.hold();
        reset(&mut bed);
        bed.run();
        assert_eq!((sim.held(), sim.kinds().pop()), (1, Some(OpKind::Flush)));
        reset(&mut bed);
        bed.run();
        assert_eq!(sim.held(), 1, "it was off");
        sim.go();
        bed.run();
    }
}

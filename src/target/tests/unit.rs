//! Two guests on one disk, each at a port of its own: what one of them does to the logical unit holds for both.

use std::sync::Arc;

use bdev::MemBdev;
use reactor::Mailbox;

use super::bed::{Bed, execute};
use super::guest::{Data, TEST_UNIT_READY, read_10, write_10};
use super::sim_disk::SimDisk;
use crate::scsi::Attention;
use crate::target::disk::{Disk, DiskIndex};
use crate::target::lun_change::LunChange;
use crate::target::lun_map::{LunMap, Placement};
use crate::target::news::Wanted;
use crate::target::sharing::store::Store;
use crate::virtio_scsi::spec::{ASYNC_MEDIA_CHANGE, ASYNC_POWER_MGMT, TMF_I_T_NEXUS_RESET, TMF_LOGICAL_UNIT_RESET};
use crate::virtio_scsi::{Address, Event};

const UNIT: Address = Address { target: 0, lun: 0 };

const STOP: [u8; 6] = [0x1b, 0, 0, 0, 0, 0];
const START: [u8; 6] = [0x1b, 0, 0, 0, 1, 0];
const EJECT: [u8; 6] = [0x1b, 0, 0, 0, 2, 0];
const LOAD: [u8; 6] = [0x1b, 0, 0, 0, 3, 0];
const PREVENT: [u8; 6] = [0x1e, 0, 0, 0, 1, 0];
const ALLOW: [u8; 6] = [0x1e, 0, 0, 0, 0, 0];

const STOPPED: Option<(u8, u16)> = Some((2, 0x0402));
const NO_MEDIUM: Option<(u8, u16)> = Some((2, 0x3a00));
const STAYS_IN: Option<(u8, u16)> = Some((5, 0x5302));
const WRITE_PROTECTED: Option<(u8, u16)> = Some((7, 0x2702));

/// Two cores and two guests with a queue each, on one removable disk.
fn bed_with(store: Option<Arc<Store>>) -> Bed {
    let bdev = Arc::new(MemBdev::new(1 << 20, 512).unwrap());
    let disk = Disk::described("null:size=1M,removable", bdev, DiskIndex(0), store);
    let mut bed = Bed::on(2, vec![Arc::new(disk)]);
    bed.add_guest(1);
    bed.add_guest(1);
    bed
}

fn bed() -> Bed {
    bed_with(None)
}

/// Sense data of a command without data.
fn sense(bed: &mut Bed, guest: usize, cdb: &[u8]) -> Option<(u8, u16)> {
    execute(bed, guest, cdb, Data::Without).sense
}

/// What TEST UNIT READY tells each guest.
fn ready(bed: &mut Bed) -> [Option<(u8, u16)>; 2] {
    [0, 1].map(|guest| sense(bed, guest, &TEST_UNIT_READY))
}

fn write(bed: &mut Bed, guest: usize) -> Option<(u8, u16)> {
    execute(bed, guest, &write_10(1, 1), Data::Out(&[7; 512])).sense
}

/// MODE SELECT (6) of the control page with SWP.
fn protect(bed: &mut Bed, guest: usize, swp: bool, save: bool) {
    let list = [0, 0, 0, 0, 0x0a, 0x0a, 0x22, 0x10, u8::from(swp) << 3, 0, 0, 0, 0xff, 0xff, 0, 0];
    assert_eq!(execute(bed, guest, &[0x15, 0x10 | u8::from(save), 0, 0, 16, 0], Data::Out(&list)).sense, None);
}

/// The guest's device begins anew, and its driver finds out.
fn begin_anew(bed: &mut Bed, guest: usize) {
    bed.guests[guest].adapter.luns().raise(Attention::HardReset, |_| true);
    assert_eq!(sense(bed, guest, &TEST_UNIT_READY), Some((6, 0x2902)));
}

/// SPC-5, MODE SELECT: whoever has not sent it is told.
#[test]
fn mode_pages_are_those_of_the_unit() {
    let (mut bed, mailbox) = (bed(), Mailbox::new(4).expect("a bell"));
    bed.guests.iter().for_each(|guest| {
        guest.adapter.news.open(Wanted { hotplug: false, change: true }, mailbox.handle());
    });
    assert_eq!([0, 1].map(|guest| write(&mut bed, guest)), [None, None], "they have met the unit");
    protect(&mut bed, 0, true, false);
    assert_eq!(ready(&mut bed), [None, Some((6, 0x2a01))]);
    assert_eq!([0, 1].map(|guest| write(&mut bed, guest)), [WRITE_PROTECTED; 2]);
    let told = |bed: &Bed| [0, 1].map(|guest| bed.guests[guest].adapter.news.take().events);
    assert_eq!(told(&bed), [vec![], vec![Event::Changed { unit: UNIT, asc: 0x2a, ascq: 1 }]]);
    protect(&mut bed, 1, true, false);
    assert_eq!((ready(&mut bed), told(&bed)), ([None, None], [vec![], vec![]]), "nothing has changed");
    protect(&mut bed, 1, false, false);
    assert_eq!(ready(&mut bed), [Some((6, 0x2a01)), None]);
    assert_eq!([0, 1].map(|guest| write(&mut bed, guest)), [None, None]);
}

#[test]
fn a_guest_that_comes_finds_what_the_others_have_set() {
    let mut bed = bed();
    protect(&mut bed, 0, true, false);
    let new = bed.add_guest(1);
    assert_eq!((write(&mut bed, new), sense(&mut bed, new, &TEST_UNIT_READY)), (WRITE_PROTECTED, None));
    begin_anew(&mut bed, new);
    assert_eq!(write(&mut bed, 0), WRITE_PROTECTED, "who begins anew takes it from nobody");
    for guest in [0, 1] {
        bed.guests[guest].adapter.luns().port.end();
    }
    begin_anew(&mut bed, new);
    assert_eq!(write(&mut bed, new), None, "nobody else is at work");
}

#[test]
fn a_reset_of_the_unit_brings_back_what_was_saved() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let mut bed = bed_with(Some(store.clone()));
    protect(&mut bed, 0, true, true);
    protect(&mut bed, 0, false, false);
    assert_eq!(sense(&mut bed, 0, &STOP), None);
    bed.guests[1].manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    bed.guests[1].take_ended();
    assert_eq!(ready(&mut bed), [Some((6, 0x2903)); 2]);
    assert_eq!(ready(&mut bed), [None, Some((6, 0x2a01))], "it runs");
    assert_eq!([0, 1].map(|guest| write(&mut bed, guest)), [WRITE_PROTECTED; 2]);
    let mut again = bed_with(Some(store));
    assert_eq!([0, 1].map(|guest| write(&mut again, guest)), [WRITE_PROTECTED; 2], "after a start, too");
}

#[test]
fn a_unit_that_one_stops_is_stopped_for_all() {
    let (mut bed, mailbox) = (bed(), Mailbox::new(4).expect("a bell"));
    let guest = &bed.guests[1].adapter;
    guest.news.open(Wanted { hotplug: false, change: false }, mailbox.handle());
    guest.luns().entry(guest.luns().find(UNIT).unwrap()).standing.notes.subscribe(ASYNC_POWER_MGMT);
    assert_eq!([0, 1].map(|guest| write(&mut bed, guest)), [None, None], "they have met the unit");
    assert_eq!(sense(&mut bed, 0, &STOP), None);
    assert_eq!(ready(&mut bed), [STOPPED; 2]);
    assert_eq!(execute(&mut bed, 1, &read_10(0, 1), Data::In(512)).sense, STOPPED);
    assert_eq!((sense(&mut bed, 1, &START), ready(&mut bed)), (None, [None; 2]));
    let event = Event::Notify { unit: UNIT, events: ASYNC_POWER_MGMT };
    assert_eq!(bed.guests[1].adapter.news.take().events, [event, event]);
    for guest in [0, 1] {
        let cycles = execute(&mut bed, guest, &[0x4d, 0, 0x4e, 0, 0, 0, 0, 0, 12, 0], Data::In(12)).data;
        assert_eq!(cycles[8..12], [0, 0, 0, 1]);
    }
    assert_eq!(sense(&mut bed, 0, &STOP), None);
    begin_anew(&mut bed, 1);
    assert_eq!(ready(&mut bed), [STOPPED; 2], "the other still wants it");
    bed.guests[0].adapter.luns().port.end();
    begin_anew(&mut bed, 1);
    assert_eq!(sense(&mut bed, 1, &TEST_UNIT_READY), None);
}

#[test]
fn a_medium_is_out_for_all_and_whoever_has_not_loaded_it_is_told() {
    let (mut bed, mailbox) = (bed(), Mailbox::new(4).expect("a bell"));
    let guest = &bed.guests[0].adapter;
    guest.news.open(Wanted { hotplug: false, change: false }, mailbox.handle());
    guest.luns().entry(guest.luns().find(UNIT).unwrap()).standing.notes.subscribe(ASYNC_MEDIA_CHANGE);
    assert_eq!((sense(&mut bed, 0, &EJECT), ready(&mut bed)), (None, [NO_MEDIUM; 2]));
    assert_eq!((sense(&mut bed, 1, &LOAD), ready(&mut bed)), (None, [Some((6, 0x2800)), None]));
    assert_eq!((sense(&mut bed, 1, &LOAD), ready(&mut bed)), (None, [None; 2]), "it was in");
    let event = Event::Notify { unit: UNIT, events: ASYNC_MEDIA_CHANGE };
    assert_eq!(bed.guests[0].adapter.news.take().events, [event, event]);
}

#[test]
fn a_medium_stays_in_as_long_as_anybody_wants_it() {
    let mut bed = bed();
    for guest in [0, 1] {
        assert_eq!(sense(&mut bed, guest, &PREVENT), None);
    }
    assert_eq!([0, 1].map(|guest| sense(&mut bed, guest, &EJECT)), [STAYS_IN; 2]);
    assert_eq!((sense(&mut bed, 0, &ALLOW), sense(&mut bed, 0, &EJECT)), (None, STAYS_IN), "the other wants it");
    assert_eq!((sense(&mut bed, 1, &ALLOW), sense(&mut bed, 0, &EJECT)), (None, None));
}

/// Who was told that the medium stays in keeps it, whatever has begun before.
#[test]
fn a_medium_stays_in_that_is_kept_while_the_cache_is_written() {
    let sim = SimDisk::new(64);
    let disk = Disk::described("null:size=1M,removable", Arc::new(sim.clone()), DiskIndex(0), None);
    let mut bed = Bed::on(2, vec![Arc::new(disk)]);
    bed.add_guest(1);
    bed.add_guest(1);
    sim.hold();
    let eject = bed.guests[0].send(0, 0, &EJECT, Data::Without);
    bed.run();
    assert_eq!((sim.held(), bed.guests[0].is_open(eject)), (1, true), "its flush");
    assert_eq!(sense(&mut bed, 1, &PREVENT), None);
    sim.go();
    bed.run();
    assert_eq!((bed.guests[0].take_one().sense, ready(&mut bed)), (STAYS_IN, [None; 2]));
    assert_eq!((sense(&mut bed, 1, &ALLOW), sense(&mut bed, 0, &EJECT)), (None, None));
}

#[test]
fn who_goes_takes_his_prevention_with_him() {
    type End = fn(&mut Bed);
    let ends: [End; 5] = [
        |bed| {
            bed.guests[1].manage(TMF_I_T_NEXUS_RESET, 0, 0);
            bed.run();
        },
        |bed| bed.guests[1].adapter.luns().raise(Attention::HardReset, |_| true),
        |bed| bed.guests[1].adapter.luns().raise(Attention::PowerOn, |_| true),
        |bed| assert!(LunMap::clone(&bed.guests[1].adapter.luns()).remove(UNIT)),
        |bed| drop(bed.guests.remove(1)),
    ];
    for (number, end) in ends.into_iter().enumerate() {
        let mut bed = bed();
        assert_eq!((sense(&mut bed, 1, &PREVENT), sense(&mut bed, 0, &EJECT)), (None, STAYS_IN));
        if number == 4 {
            let gate = bed.guests[1].retire();
            bed.run();
            assert!(gate.is_open());
        }
        end(&mut bed);
        bed.disks[0].sharing.look(|_| ());
        assert_eq!(sense(&mut bed, 0, &EJECT), None, "end {number}");
    }
    let mut bed = bed();
    assert_eq!(sense(&mut bed, 1, &PREVENT), None);
    bed.guests[0].manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    bed.guests[0].take_ended();
    assert_eq!(sense(&mut bed, 0, &EJECT), Some((6, 0x2903)));
    assert_eq!(sense(&mut bed, 0, &EJECT), None, "nobody wants it after a reset of the unit");
}

#[test]
fn a_second_address_of_a_disk_takes_nothing_from_the_first() {
    const RESERVE: [u8; 6] = [0x16, 0, 0, 0, 0, 0];
    const REFUSED: [(u8, Option<(u8, u16)>); 2] = [(0x18, None), (2, STAYS_IN)];
    for (claim, refused) in [RESERVE, PREVENT].into_iter().zip(REFUSED) {
        let mut bed = bed();
        assert_eq!(execute(&mut bed, 0, &claim, Data::Without).status, 0);
        let eject = |bed: &mut Bed| {
            let ended = execute(bed, 1, &EJECT, Data::Without);
            (ended.status, ended.sense)
        };
        let disk = bed.disks[0].clone();
        let at = |lun| Placement { address: Address { target: 0, lun }, disk: disk.clone() };
        let (add, remove) = (|lun| vec![at(lun)], |lun| vec![Address { target: 0, lun }]);
        let first = bed.guests[0].adapter.luns();
        let (both, _) = LunChange { add: add(5), ..LunChange::default() }.apply(&first);
        let (second, _) = LunChange { remove: remove(0), ..LunChange::default() }.apply(&both);
        let others = LunChange { remove: remove(5), add: add(0), ..LunChange::default() };
        assert_eq!(eject(&mut bed), refused, "nor does the end of the first, as long as there is one");
        let (_third, _) = others.apply(&second);
        assert_eq!(eject(&mut bed), (0, None), "for a moment there was none");
    }
}

#[test]
fn what_one_calls_the_unit_the_other_finds_and_so_does_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    let name = |bed: &mut Bed, guest| {
        let report = [0xa3, 0x05, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0];
        execute(bed, guest, &report, Data::In(7)).data
    };
    let mut bed = bed_with(Some(store.clone()));
    let set = [0xa4, 0x06, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0];
    for told in [Some((6, 0x3f05)), None] {
        assert_eq!(execute(&mut bed, 0, &set, Data::Out(b"vm7")).sense, None);
        assert_eq!(ready(&mut bed), [None, told], "the other is told of a change");
    }
    assert_eq!([0, 1].map(|guest| name(&mut bed, guest)), [b"\0\0\0\x03vm7"; 2]);
    drop(bed);
    let mut bed = bed_with(Some(store));
    assert_eq!(name(&mut bed, 1), b"\0\0\0\x03vm7");
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert_eq!(execute(&mut bed, 0, &set, Data::Out(b"vm8")).sense, Some((4, 0x4400)), "it cannot be kept");
    assert_eq!((ready(&mut bed), name(&mut bed, 1)), ([None, None], b"\0\0\0\x03vm7".to_vec()));
}

#[test]
fn a_clock_that_one_sets_is_set_for_all() {
    let mut bed = bed();
    let origin = |bed: &mut Bed, guest| {
        let told = execute(bed, guest, &[0xa3, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0], Data::In(12)).data;
        (told[2], told[4..7] == [0, 0, 1])
    };
    let set = [0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0];
    let cdb = [0xa4, 0x0f, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0];
    assert_eq!(execute(&mut bed, 0, &cdb, Data::Out(&set)).sense, None);
    assert_eq!(ready(&mut bed), [None, Some((6, 0x2a10))]);
    assert_eq!([0, 1].map(|guest| origin(&mut bed, guest)), [(2, true); 2], "within the seconds that follow");
    bed.guests[1].manage(TMF_LOGICAL_UNIT_RESET, 0, 0);
    bed.run();
    bed.guests[1].take_ended();
    ready(&mut bed);
    assert_eq!([0, 1].map(|guest| origin(&mut bed, guest)), [(3, false); 2], "that of the host");
}

#[test]
fn self_tests_of_one_are_in_the_log_of_all() {
    let mut bed = bed();
    assert_eq!(sense(&mut bed, 0, &[0x1d, 0xa0, 0, 0, 0, 0]), None);
    let new = bed.add_guest(1);
    for guest in [0, 1, new] {
        let log = execute(&mut bed, guest, &[0x4d, 0, 0x50, 0, 0, 0, 0, 0, 44, 0], Data::In(44)).data;
        assert_eq!((&log[4..9], log[28]), (&[0, 1, 3, 16, 0xa0][..], 0), "one, in the foreground, of guest 0");
    }
}

/// SPC-5: MULTIP of the standard data, and the ports that the SCSI ports page has.
#[test]
fn a_disk_says_whether_it_has_several_ports() {
    let mut bed = bed();
    let byte_6 = |bed: &mut Bed| execute(bed, 0, &[0x12, 0, 0, 0, 36, 0], Data::In(36)).data[6];
    assert_eq!(byte_6(&mut bed), 0x10);
    assert!(LunMap::clone(&bed.guests[1].adapter.luns()).remove(UNIT));
    assert_eq!(byte_6(&mut bed), 0);
    let new = bed.add_guest(1);
    assert_eq!(byte_6(&mut bed), 0x10);
    let gate = bed.guests[new].retire();
    bed.run();
    assert!(gate.is_open());
    drop(bed.guests.remove(new));
    bed.disks[0].sharing.survey();
    assert_eq!(byte_6(&mut bed), 0, "its controller is gone");
}

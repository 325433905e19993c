//! What the event queue tells a guest, byte by byte, of disks that others reset and change, and what becomes of events that
//! find no buffer (virtio 1.2, 5.6.6.3). Disks that come, go and change their size are in `live_change`.

mod common;

use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::guest::spec::response;
use annulus_bench::guest::task::{Event, Function, TaskManagement};
use annulus_bench::{Guest, Options};
use common::io::{LUN, alive, good, next_event, settle};
use common::{Target, cpumask, directory};
use rustix::process::Signal;

/// The disk as an event has it: in the form of REPORT LUNS.
const NAMED: Lun = Lun([1, 0, 0, 0, 0, 0, 0, 0]);
/// Reason of a transport reset: somebody else has reset the logical unit.
const HARD_RESET: u32 = 0;
/// Additional sense codes, as the reason of a change has them: the code in the first byte, its qualifier in the second.
const RESERVATIONS_PREEMPTED: u32 = 0x032a;
const RESERVATIONS_RELEASED: u32 = 0x042a;
const MEDIUM_MAY_HAVE_CHANGED: u32 = 0x0028;
const REGISTRATIONS_PREEMPTED: u32 = 0x052a;
const ACCESS_STATE_CHANGED: u32 = 0x062a;

/// Service actions of PERSISTENT RESERVE OUT.
const REGISTER: u8 = 0;
const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const CLEAR: u8 = 3;
const PREEMPT: u8 = 4;

type Told = (u32, Lun, u32);

const fn changed(reason: u32) -> Told {
    (Event::PARAM_CHANGE, NAMED, reason)
}

const RESET: Told = (Event::TRANSPORT_RESET, NAMED, HARD_RESET);
const MISSED: Told = (Event::MISSED, Lun([0; 8]), 0);

/// Two guests that share a disk, each through a port group of its own.
fn start(options: &Options) -> (Target, [Guest; 2]) {
    let mask = cpumask(2);
    let ports = ["--socket", "a.sock", "--port-group", "1", "--socket", "b.sock", "--port-group", "2"];
    let target = Target::serve(directory(), &[&["--cpumask", &mask, "--disk", "mem:size=1M"], &ports[..]].concat());
    let guests = ["a.sock", "b.sock"].map(|socket| {
        let mut guest = target.guest_on(socket, options.clone());
        settle(&mut guest, LUN);
        guest
    });
    (target, guests)
}

/// PERSISTENT RESERVE OUT, which must do what it says.
fn persistent(guest: &mut Guest, (action, kind): (u8, u8), key: u8, action_key: u8) {
    settle(guest, LUN);
    let mut list = vec![0; 24];
    (list[7], list[15]) = (key, action_key);
    good(guest, &Command::data_out(LUN, vec![0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], list));
}

/// SET TARGET PORT GROUPS.
fn set_state(guest: &mut Guest, group: u8, state: u8) {
    settle(guest, LUN);
    let list = vec![0, 0, 0, 0, state, 0, 0, group];
    good(guest, &Command::data_out(LUN, vec![0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0], list));
}

fn reset(guest: &mut Guest) {
    let function = TaskManagement::on(Function::LogicalUnitReset, LUN);
    assert_eq!(guest.task_management(&function).expect("an answer"), response::OK);
}

fn layouts() -> [Options; 3] {
    [Options::default(), Options::default().packed(), Options::polling()]
}

#[test]
fn what_another_guest_resets_and_changes_is_told() {
    for options in layouts() {
        let (target, [mut a, mut b]) = start(&options);
        a.post_event_buffers(8).unwrap();
        b.post_event_buffers(8).unwrap();
        persistent(&mut a, (REGISTER, 0), 0, 1);
        persistent(&mut b, (REGISTER, 0), 0, 2);
        persistent(&mut a, (RESERVE, 5), 1, 0);
        persistent(&mut a, (RELEASE, 5), 1, 0);
        assert_eq!(next_event(&mut b), changed(RESERVATIONS_RELEASED));
        persistent(&mut a, (RESERVE, 5), 1, 0);
        persistent(&mut b, (PREEMPT, 5), 2, 1);
        assert_eq!(next_event(&mut a), changed(REGISTRATIONS_PREEMPTED));
        persistent(&mut a, (REGISTER, 0), 0, 1);
        persistent(&mut a, (CLEAR, 0), 1, 0);
        assert_eq!(next_event(&mut b), changed(RESERVATIONS_PREEMPTED));
        for state in [2, 0] {
            set_state(&mut a, 2, state);
            assert_eq!(next_event(&mut b), changed(ACCESS_STATE_CHANGED));
        }
        reset(&mut a);
        assert_eq!(next_event(&mut b), RESET);
        let attention = b.execute(0, &Command::new(LUN, vec![0; 6])).unwrap();
        assert_eq!(attention.sense_code(), Some((6, 0x29, 3)), "the attention comes all the same");
        // Nobody is told of what he has done himself: the next that comes is this.
        reset(&mut b);
        assert_eq!(next_event(&mut a), RESET);
        assert_eq!((a.poll_event().unwrap(), b.poll_event().unwrap()), (None, None));
        alive(&mut a);
        alive(&mut b);
        drop((a, b));
        target.stop();
    }
}

#[test]
fn a_state_that_the_user_sets_is_told_to_all() {
    let dir = directory();
    let write = |state: &str| {
        let text = format!(
            "cpumask = \"{}\"\ndisks = [\"mem:size=1M\"]\n[[controller]]\nsocket = \"a.sock\"\nport-group = 1\n\
             [[controller]]\nsocket = \"b.sock\"\nport-group = 2\naccess-state = \"{state}\"\n",
            cpumask(1)
        );
        std::fs::write(dir.path().join("annulus.toml"), text).expect("write the configuration");
    };
    write("optimized");
    let target = Target::serve(dir.clone(), &["--config", "annulus.toml"]);
    let mut guests = ["a.sock", "b.sock"].map(|socket| target.guest_on(socket, Options::default()));
    for guest in &mut guests {
        settle(guest, LUN);
        guest.post_event_buffers(8).unwrap();
    }
    for (state, refusal) in
        [("standby", Some((2, 4, 0x0b))), ("unavailable", Some((2, 4, 0x0c))), ("non-optimized", None)]
    {
        write(state);
        let before = target.output().len();
        target.signal(Signal::HUP);
        target.until("the end of the change", || target.output()[before..].contains("reloaded\n"));
        assert!(target.output()[before..].contains(&format!("port group 2: {state} now\n")));
        for guest in &mut guests {
            assert_eq!(next_event(guest), changed(ACCESS_STATE_CHANGED));
            let attention = guest.execute(0, &Command::new(LUN, vec![0; 6])).unwrap();
            assert_eq!(attention.sense_code(), Some((6, 0x2a, 6)));
        }
        let [a, b] = &mut guests;
        alive(a);
        assert_eq!(b.execute(0, &Command::new(LUN, vec![0; 6])).unwrap().sense_code(), refusal);
    }
    drop(guests);
    target.stop();
}

#[test]
fn events_that_find_no_buffer_are_missed() {
    for options in layouts() {
        let (target, [mut a, mut b]) = start(&options);
        // None at all: all goes on, and one event tells that there were others.
        (0..3).for_each(|_| reset(&mut a));
        alive(&mut b);
        assert_eq!(b.poll_event().unwrap(), None);
        b.post_event_buffers(1).unwrap();
        assert_eq!(next_event(&mut b), MISSED);
        // None again.
        reset(&mut a);
        alive(&mut b);
        b.post_event_buffers(3).unwrap();
        assert_eq!(next_event(&mut b), MISSED);
        // Two are left, which are enough for two; what comes then is missed.
        set_state(&mut a, 2, 1);
        assert_eq!(next_event(&mut b), changed(ACCESS_STATE_CHANGED));
        reset(&mut a);
        assert_eq!(next_event(&mut b), RESET);
        set_state(&mut a, 2, 0);
        alive(&mut b);
        b.post_event_buffers(8).unwrap();
        assert_eq!(next_event(&mut b), MISSED);
        reset(&mut a);
        assert_eq!(next_event(&mut b), RESET);
        assert_eq!(b.poll_event().unwrap(), None);
        drop((a, b));
        target.stop();
    }
}

#[test]
fn the_event_queue_may_be_reset_and_started_again() {
    let (target, [mut a, mut b]) = start(&Options::default());
    b.post_event_buffers(4).unwrap();
    b.reset().unwrap();
    reset(&mut a);
    b.start().unwrap();
    settle(&mut b, LUN);
    b.post_event_buffers(4).unwrap();
    reset(&mut a);
    assert_eq!(next_event(&mut b), RESET, "and nothing of what happened while it was away");
    assert_eq!(b.poll_event().unwrap(), None);
    drop((a, b));
    target.stop();
}

/// Classes of asynchronous notifications.
const POWER_MANAGEMENT: u32 = 4;
const MEDIA_CHANGE: u32 = 16;
const DEVICE_BUSY: u32 = 64;

/// Subscribes to these classes, of which the disk has so many.
fn subscribe(guest: &mut Guest, events: u32, granted: u32) {
    let request = [&2_u32.to_le_bytes()[..], &LUN.0, &events.to_le_bytes()].concat();
    guest.submit_control(&request, 5, &Shape::default()).unwrap();
    assert_eq!(guest.wait_control().unwrap(), [&granted.to_le_bytes()[..], &[response::OK]].concat());
}

/// START STOP UNIT, with LOEJ and START.
fn move_unit(guest: &mut Guest, bits: u8) {
    good(guest, &Command::new(LUN, vec![0x1b, 0, 0, 0, bits, 0]));
}

#[test]
fn what_a_driver_has_subscribed_to_is_told() {
    let mask = cpumask(2);
    let args = ["--cpumask", &mask, "--disk", "mem:size=1M,removable", "--socket", "a.sock", "--socket", "b.sock"];
    let target = Target::serve(directory(), &args);
    let [mut a, mut b] = ["a.sock", "b.sock"].map(|socket| {
        let mut guest = target.guest_on(socket, Options::default());
        settle(&mut guest, LUN);
        guest.post_event_buffers(16).unwrap();
        guest
    });
    let notified = |events| (Event::ASYNC_NOTIFY, NAMED, events);
    let (stop, start, eject, load) = (0, 1, 2, 3);
    move_unit(&mut a, stop);
    move_unit(&mut a, start);
    subscribe(&mut a, 0x7e, POWER_MANAGEMENT | MEDIA_CHANGE | DEVICE_BUSY);
    subscribe(&mut b, MEDIA_CHANGE, MEDIA_CHANGE);
    for (bits, events) in [(stop, Some(POWER_MANAGEMENT)), (stop, None), (start, Some(POWER_MANAGEMENT)), (start, None)]
    {
        move_unit(&mut a, bits);
        events.into_iter().for_each(|events| assert_eq!(next_event(&mut a), notified(events)));
    }
    for bits in [eject, load] {
        move_unit(&mut a, bits);
        assert_eq!([&mut a, &mut b].map(next_event), [notified(MEDIA_CHANGE); 2], "they share it");
    }
    assert_eq!(next_event(&mut b), changed(MEDIUM_MAY_HAVE_CHANGED), "whoever has not loaded it");
    settle(&mut b, LUN);
    for bits in [stop, start] {
        move_unit(&mut b, bits);
        assert_eq!(next_event(&mut a), notified(POWER_MANAGEMENT));
    }
    good(&mut b, &Command::new(LUN, vec![0x04, 0, 0, 0, 0, 0]));
    assert_eq!([next_event(&mut a), next_event(&mut a)], [notified(DEVICE_BUSY); 2], "its begin and its end");
    subscribe(&mut a, POWER_MANAGEMENT, POWER_MANAGEMENT);
    subscribe(&mut b, 0, 0);
    move_unit(&mut a, eject);
    move_unit(&mut a, load);
    assert_eq!(next_event(&mut b), changed(MEDIUM_MAY_HAVE_CHANGED), "that needs no subscription");
    for bits in [stop, start] {
        move_unit(&mut a, bits);
        assert_eq!(next_event(&mut a), notified(POWER_MANAGEMENT));
    }
    a.reset().unwrap();
    a.start().unwrap();
    settle(&mut a, LUN);
    a.post_event_buffers(8).unwrap();
    move_unit(&mut a, stop);
    move_unit(&mut a, start);
    alive(&mut b);
    assert_eq!((a.poll_event().unwrap(), b.poll_event().unwrap()), (None, None));
    drop((a, b));
    target.stop();
}

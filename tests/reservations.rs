//! Two guests share a disk of the real binary: reservations of each type, what they do to commands in flight, and what of
//! them outlives the target.

mod common;

use std::sync::Arc;

use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::{Command, Response};
use annulus_bench::guest::spec::response;
use annulus_bench::guest::task::{Event, Function, TaskManagement};
use annulus_bench::{Guest, Options};
use common::io::{LUN, good, settle};
use common::{Target, directory, image, until};
use tempfile::TempDir;

const GOOD: u8 = 0;
const CONFLICT: u8 = 0x18;

/// Service actions of PERSISTENT RESERVE OUT.
const REGISTER: u8 = 0;
const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const CLEAR: u8 = 3;
const PREEMPT: u8 = 4;
const PREEMPT_AND_ABORT: u8 = 5;

/// Two controllers that show `disk`.
fn start(dir: Arc<TempDir>, disk: &str) -> Target {
    let mask = common::cpumask(2);
    let args = ["--cpumask", &mask, "--idle", "adaptive", "--disk", disk, "--socket", "a.sock", "--socket", "b.sock"];
    Target::serve(dir, &args)
}

fn guests(target: &Target) -> [Guest; 2] {
    ["a.sock", "b.sock"].map(|socket| {
        let mut guest = target.guest_on(socket, Options::default());
        settle(&mut guest, LUN);
        guest
    })
}

fn out(action: u8, kind: u8, key: u8, action_key: u8) -> Command {
    let mut list = vec![0; 24];
    (list[7], list[15]) = (key, action_key);
    Command::data_out(LUN, vec![0x5f, action, kind, 0, 0, 0, 0, 0, 24, 0], list)
}

fn execute(guest: &mut Guest, command: &Command) -> Response {
    let answer = guest.execute(0, command).expect("an answer");
    assert_eq!(answer.response, response::OK);
    answer
}

fn persistent(guest: &mut Guest, (action, kind): (u8, u8), key: u8, action_key: u8) -> u8 {
    execute(guest, &out(action, kind, key, action_key)).status
}

/// Status of a READ and of a WRITE.
fn access(guest: &mut Guest) -> [u8; 2] {
    let read = execute(guest, &Command::read(LUN, 0, 1, 512)).status;
    [read, execute(guest, &Command::write(LUN, 0, 512, vec![7; 512])).status]
}

fn attention(guest: &mut Guest) -> Option<(u8, u8, u8)> {
    execute(guest, &Command::new(LUN, vec![0; 6])).sense_code()
}

/// The guests are registered with the keys 1 and 2.
fn register(guests: &mut [Guest; 2]) {
    for (guest, key) in guests.iter_mut().zip([1, 2]) {
        assert_eq!(persistent(guest, (REGISTER, 0), 0, key), GOOD);
    }
}

fn keys(guest: &mut Guest) -> Vec<u8> {
    let data = good(guest, &Command::data_in(LUN, vec![0x5e, 0, 0, 0, 0, 0, 0, 0, 64, 0], 64)).data;
    let len = usize::from(data[7]);
    data[8..8 + len].chunks(8).map(|key| key[7]).collect()
}

#[test]
fn each_type_keeps_others_out_and_lets_them_in_again() {
    let target = start(directory(), "mem:size=1M");
    let mut guests = guests(&target);
    let (all, none, read) = ([GOOD, GOOD], [CONFLICT, CONFLICT], [GOOD, CONFLICT]);
    for (kind, registered, stranger) in
        [(1, read, read), (3, none, none), (5, all, read), (6, all, none), (7, all, read), (8, all, none)]
    {
        register(&mut guests);
        let [a, b] = &mut guests;
        assert_eq!(persistent(a, (RESERVE, kind), 1, 0), GOOD);
        assert_eq!((access(a), access(b)), (all, registered), "type {kind}");
        assert_eq!(persistent(b, (REGISTER, 0), 2, 0), GOOD);
        assert_eq!(access(b), stranger, "type {kind}");
        assert_eq!(persistent(a, (RELEASE, kind), 1, 0), GOOD);
        assert_eq!(access(b), all);
        assert_eq!(persistent(a, (CLEAR, 0), 1, 0), GOOD);
        assert_eq!(keys(b), [0; 0]);
    }
    target.stop();
}

#[test]
fn who_loses_something_is_told() {
    let target = start(directory(), "mem:size=1M");
    let mut guests = guests(&target);
    register(&mut guests);
    let [a, b] = &mut guests;
    assert_eq!(persistent(a, (RESERVE, 5), 1, 0), GOOD);
    assert_eq!(persistent(a, (RELEASE, 5), 1, 0), GOOD);
    assert_eq!((attention(b), attention(b), attention(a)), (Some((6, 0x2a, 4)), None, None));
    assert_eq!(persistent(a, (RESERVE, 1), 1, 0), GOOD);
    assert_eq!(persistent(b, (PREEMPT, 3), 2, 1), GOOD);
    assert_eq!((attention(a), attention(a)), (Some((6, 0x2a, 5)), None));
    assert_eq!((access(a), access(b)), ([CONFLICT, CONFLICT], [GOOD, GOOD]));
    assert_eq!(persistent(a, (RELEASE, 3), 1, 0), CONFLICT, "it is not registered any more");
    assert_eq!(persistent(a, (REGISTER, 0), 0, 1), GOOD);
    assert_eq!(persistent(a, (CLEAR, 0), 1, 0), GOOD);
    assert_eq!(attention(b), Some((6, 0x2a, 3)));
    target.stop();
}

#[test]
fn reserve_and_release() {
    let target = start(directory(), "mem:size=1M");
    let [mut a, mut b] = guests(&target);
    let status = |guest: &mut Guest, opcode: u8| {
        execute(guest, &Command::new(LUN, vec![opcode, 0, 0, 0, 0, 0, 0, 0, 0, 0])).status
    };
    for (reserve, release) in [(0x16, 0x17), (0x56, 0x57), (0x16, 0x57)] {
        assert_eq!((status(&mut a, reserve), status(&mut b, reserve)), (GOOD, CONFLICT));
        assert_eq!((access(&mut a), access(&mut b)), ([GOOD, GOOD], [CONFLICT, CONFLICT]));
        assert_eq!((status(&mut b, release), access(&mut b)), (GOOD, [CONFLICT, CONFLICT]));
        assert_eq!((status(&mut a, release), access(&mut b)), (GOOD, [GOOD, GOOD]));
    }
    // It goes with the guest that has it.
    assert_eq!(status(&mut a, 0x16), GOOD);
    drop(a);
    until("the end of the reservation", || access(&mut b) == [GOOD, GOOD]);
    target.stop();
}

#[test]
fn preempt_and_abort_ends_what_is_in_flight() {
    let target = start(directory(), "mem:size=1M,delay=3600s");
    let mut guests = guests(&target);
    register(&mut guests);
    let [a, b] = &mut guests;
    assert_eq!(persistent(b, (RESERVE, 3), 2, 0), GOOD);
    for id in 1..=3 {
        b.submit(0, &Command::write(LUN, 0, 512, vec![9; 512]).with_id(id), &Shape::default()).unwrap();
    }
    // The target has taken them: what comes later in their queue is answered.
    assert_eq!(attention(b), None);
    assert_eq!(persistent(a, (PREEMPT_AND_ABORT, 1), 1, 2), GOOD);
    let mut ended = Vec::new();
    while let Some(completion) = b.poll(0).unwrap() {
        ended.push((completion.id, completion.response.response));
    }
    ended.sort_unstable();
    assert_eq!(ended, [1, 2, 3].map(|id| (id, response::ABORTED)), "all before the answer");
    assert_eq!((attention(b), attention(b)), (Some((6, 0x2f, 0)), Some((6, 0x2a, 5))));
    assert_eq!(execute(b, &Command::write(LUN, 0, 512, vec![9; 512])).status, CONFLICT);
    target.abandon();
}

/// TransportIDs of the registered initiators, by the port that they are registered at (READ FULL STATUS).
fn transport_ids(guest: &mut Guest) -> Vec<(u8, Vec<u8>)> {
    const DESCRIPTOR: usize = 48;
    let data = good(guest, &Command::data_in(LUN, vec![0x5e, 3, 0, 0, 0, 0, 0, 2, 0, 0], 512)).data;
    let len = u16::from_be_bytes([data[6], data[7]]).into();
    data[8..][..len].chunks(DESCRIPTOR).map(|one| (one[19], one[24..].to_vec())).collect()
}

#[test]
fn one_guest_registers_another_and_they_hand_the_reservation_on() {
    let target = start(directory(), "mem:size=1M");
    let mut guests = guests(&target);
    register(&mut guests);
    let [a, b] = &mut guests;
    let ids = transport_ids(a);
    let [(1, id_a), (2, id_b)] = &ids[..] else { panic!("{ids:x?}") };
    assert_eq!(persistent(a, (CLEAR, 0), 1, 0), GOOD);
    assert_eq!(attention(b), Some((6, 0x2a, 3)));

    // SPEC_I_PT and ALL_TG_PT: both initiators, each at both ports.
    let mut list = vec![0; 24];
    (list[15], list[20]) = (5, 0x0c);
    list.extend([0, 0, 0, 24].into_iter().chain(id_b.iter().copied()));
    let all = Command::data_out(LUN, vec![0x5f, REGISTER, 0, 0, 0, 0, 0, 0, 52, 0], list);
    assert_eq!((execute(a, &all).status, keys(b)), (GOOD, vec![5; 4]));
    assert_eq!((persistent(b, (RESERVE, 3), 5, 0), access(a), access(b)), (GOOD, [CONFLICT; 2], [GOOD; 2]));

    // REGISTER AND MOVE with UNREG, to the first initiator at port 1.
    let mut list = vec![0; 24];
    (list[7], list[15], list[17], list[19], list[23]) = (5, 6, 0x02, 1, 24);
    list.extend(id_a);
    let hand_on = Command::data_out(LUN, vec![0x5f, 7, 0, 0, 0, 0, 0, 0, 48, 0], list);
    assert_eq!((execute(b, &hand_on).status, access(a), access(b)), (GOOD, [GOOD; 2], [CONFLICT; 2]));
    assert_eq!(persistent(b, (RELEASE, 3), 5, 0), CONFLICT, "it is not registered any more");
    assert_eq!((persistent(a, (RELEASE, 3), 6, 0), access(b)), (GOOD, [GOOD; 2]));
    target.stop();
}

/// REGISTER with APTPL.
fn register_for_good(guest: &mut Guest, key: u8, action_key: u8) -> Response {
    let mut list = vec![0; 24];
    (list[7], list[15], list[20]) = (key, action_key, 1);
    execute(guest, &Command::data_out(LUN, vec![0x5f, REGISTER, 0, 0, 0, 0, 0, 0, 24, 0], list))
}

#[test]
fn what_is_to_stay_outlives_the_target() {
    let dir = directory();
    image(dir.path(), "disk.img", 1 << 20);
    let target = start(dir.clone(), "disk.img");
    let [mut a, mut b] = guests(&target);
    assert_eq!((register_for_good(&mut a, 0, 1).status, register_for_good(&mut b, 0, 2).status), (GOOD, GOOD));
    assert_eq!(persistent(&mut a, (RESERVE, 3), 1, 0), GOOD);
    target.kill();
    drop((a, b));
    let target = start(dir.clone(), "disk.img");
    let mut guests = guests(&target);
    let [a, b] = &mut guests;
    assert_eq!((keys(b), access(a), access(b)), (vec![1, 2], [GOOD, GOOD], [CONFLICT, CONFLICT]));
    // REGISTER without APTPL: nothing is kept any more.
    assert_eq!(persistent(a, (REGISTER, 0), 1, 5), GOOD);
    target.kill();
    let target = start(dir.clone(), "disk.img");
    let mut guests = self::guests(&target);
    assert_eq!((keys(&mut guests[0]), access(&mut guests[1])), (vec![], [GOOD, GOOD]));
    assert_eq!(register_for_good(&mut guests[0], 0, 1).status, GOOD);
    target.kill();
    spoil_what_was_kept(dir);
}

/// A file that cannot be understood keeps everyone out until somebody says what holds.
fn spoil_what_was_kept(dir: Arc<TempDir>) {
    let kept: Vec<_> =
        std::fs::read_dir(dir.path().join("state/annulus")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let mut image = std::fs::read(&kept[0]).unwrap();
    image[20] ^= 1;
    std::fs::write(&kept[0], image).unwrap();
    let target = start(dir, "disk.img");
    let [mut a, mut b] = guests(&target);
    assert!(target.output().contains("cannot be read: checksum does not match"));
    for guest in [&mut a, &mut b] {
        assert_eq!(execute(guest, &Command::read(LUN, 0, 1, 512)).sense_code(), Some((4, 0x44, 1)));
    }
    let mut replace = out(8, 1, 0, 7);
    replace.cdb[1] = 8;
    assert_eq!(execute(&mut a, &replace).status, GOOD);
    assert_eq!((keys(&mut a), access(&mut a), access(&mut b)), (vec![7], [GOOD, GOOD], [GOOD, CONFLICT]));
    target.stop();
}

#[test]
fn without_a_directory_nothing_is_promised() {
    let dir = directory();
    let mask = common::cpumask(1);
    let args = ["--cpumask", &mask, "--state-dir", "/proc/nowhere", "--socket", "a.sock", "--disk", "mem:size=1M"];
    let target = Target::serve(dir, &args);
    let mut guest = target.guest_on("a.sock", Options::default());
    settle(&mut guest, LUN);
    assert_eq!(register_for_good(&mut guest, 0, 1).sense_code(), Some((5, 0x26, 0)));
    assert!(target.output().contains("are not kept over a restart: /proc/nowhere"));
    target.stop();
}

fn next_event(guest: &mut Guest) -> (u32, [u8; 8], u32) {
    let mut event = None;
    until("an event", || {
        event = guest.poll_event().expect("a sound queue");
        event.is_some()
    });
    let event = event.expect("waited for");
    (event.event, event.lun.0, event.reason)
}

/// Additional sense code in the low byte, its qualifier in the next one.
#[test]
fn who_loses_something_gets_an_event_too() {
    const UNIT: [u8; 8] = [1, 0, 0, 0, 0, 0, 0, 0];
    let target = start(directory(), "mem:size=1M");
    let mut guests = guests(&target);
    register(&mut guests);
    let [a, b] = &mut guests;
    b.post_event_buffers(8).unwrap();
    assert_eq!(persistent(a, (RESERVE, 5), 1, 0), GOOD);
    assert_eq!(persistent(a, (RELEASE, 5), 1, 0), GOOD);
    assert_eq!(next_event(b), (Event::PARAM_CHANGE, UNIT, 0x042a), "RESERVATIONS RELEASED");
    assert_eq!(persistent(a, (PREEMPT, 5), 1, 2), GOOD);
    assert_eq!(next_event(b), (Event::PARAM_CHANGE, UNIT, 0x052a), "REGISTRATIONS PREEMPTED");
    let reset = TaskManagement::on(Function::LogicalUnitReset, LUN);
    assert_eq!(a.task_management(&reset).unwrap(), response::OK);
    assert_eq!(next_event(b), (Event::TRANSPORT_RESET, UNIT, 0), "a hard reset");
    assert_eq!(attention(b), Some((6, 0x29, 0x03)));
    assert_eq!(b.poll_event().unwrap(), None);
    a.post_event_buffers(1).unwrap();
    assert_eq!(a.poll_event().unwrap(), None, "who did it is told nothing");
    target.stop();
}

//! Disks and controllers come, go and change their sizes while guests work: SIGHUP on the real binary, byte by byte.

mod common;

use std::fs::OpenOptions;
use std::sync::Arc;

use annulus_bench::guest::cdb;
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::queue::Piece;
use annulus_bench::guest::scsi::{Command, Lun};
use annulus_bench::guest::spec::{feature, response};
use annulus_bench::guest::task::Event;
use annulus_bench::{Guest, Options};
use common::io::{LUN, alive, good, next_event, settle};
use common::loops::Loop;
use common::{Target, cpumask, directory, image, until};
use rustix::process::Signal;
use tempfile::TempDir;

const FILE: &str = "annulus.toml";
const ADDED: u32 = 1;
const REMOVED: u32 = 2;
/// CAPACITY DATA HAS CHANGED: 2A in the first byte, 09 in the second.
const CAPACITY: u32 = 0x092a;
const MISSED: u32 = 0x8000_0000;

/// Writes a file with one controller that has these disks, on `cpus` CPUs and with so many queues; `more` follows.
fn configure(dir: &TempDir, queues: u16, disks: &[&str], more: &str) {
    let text = format!(
        "cpumask = \"{}\"\n[[controller]]\nsocket = \"a.sock\"\nqueues = {queues}\ndisks = {disks:?}\n{more}",
        cpumask(2)
    );
    std::fs::write(dir.path().join(FILE), text).unwrap();
}

fn serve(dir: &Arc<TempDir>) -> Target {
    let target = Target::spawn(dir.clone(), &["--config", FILE]);
    until("word that it is ready", || target.output().contains("\nready\n"));
    target
}

/// SIGHUP, and all that the target has said of it.
fn reload(target: &Target) -> String {
    let before = target.output().len();
    target.signal(Signal::HUP);
    target.until("the end of the change", || target.output()[before..].contains("reloaded\n"));
    target.output()[before..].to_owned()
}

/// The address of a unit below 256 as events have it: in the form of REPORT LUNS.
const fn named(target: u8, lun: u8) -> Lun {
    Lun([1, target, 0, lun, 0, 0, 0, 0])
}

fn inquire(guest: &mut Guest, lun: Lun) -> u8 {
    guest.execute(0, &Command::data_in(lun, cdb::inquiry(None, 36), 36)).expect("INQUIRY").response
}

fn last_lba(guest: &mut Guest, lun: Lun) -> u32 {
    let data = good(guest, &Command::data_in(lun, cdb::read_capacity_10(), 8)).data;
    u32::from_be_bytes(data[..4].try_into().expect("four bytes"))
}

fn test_unit_ready(guest: &mut Guest, lun: Lun) -> Option<(u8, u8, u8)> {
    guest.execute(0, &Command::new(lun, cdb::test_unit_ready())).expect("TEST UNIT READY").sense_code()
}

fn guests() -> [Options; 3] {
    [Options::default(), Options::default().packed(), Options::polling()]
}

#[test]
fn disks_come_and_go_with_an_event_and_an_attention() {
    for options in guests() {
        let dir = directory();
        configure(&dir, 2, &["mem:size=1M,target=0,lun=1"], "");
        let target = serve(&dir);
        let mut guest = target.guest_on("a.sock", Options { request_queues: 2, ..options });
        guest.post_event_buffers(4).unwrap();
        let (first, neighbour, far) = (Lun::new(0, 1), Lun::new(0, 7), Lun::new(5, 0));
        settle(&mut guest, first);
        assert_eq!((inquire(&mut guest, far), guest.config().max_target), (response::BAD_TARGET, 0));

        configure(&dir, 2, &["mem:size=1M,target=0,lun=1", "mem:size=2M,target=0,lun=7", "mem:size=3M,target=5"], "");
        let said = reload(&target);
        assert!(said.contains("added mem:size=2M,target=0,lun=7 as target 0 lun 7"), "{said}");
        assert_eq!(next_event(&mut guest), (Event::TRANSPORT_RESET, named(0, 7), ADDED));
        assert_eq!(next_event(&mut guest), (Event::TRANSPORT_RESET, named(5, 0), ADDED));
        assert_eq!(test_unit_ready(&mut guest, first), Some((6, 0x3f, 0x0e)), "REPORTED LUNS DATA HAS CHANGED");
        assert_eq!(test_unit_ready(&mut guest, far), Some((6, 0x29, 0x01)), "POWER ON OCCURRED");
        settle(&mut guest, neighbour);
        assert_eq!((last_lba(&mut guest, neighbour), last_lba(&mut guest, far)), (4095, 6143));
        guest.read_config().unwrap();
        assert_eq!(guest.config().max_target, 5);

        configure(&dir, 2, &["mem:size=1M,target=0,lun=1"], "");
        reload(&target);
        assert_eq!(next_event(&mut guest), (Event::TRANSPORT_RESET, named(0, 7), REMOVED));
        assert_eq!(next_event(&mut guest), (Event::TRANSPORT_RESET, named(5, 0), REMOVED));
        assert_eq!(test_unit_ready(&mut guest, first), Some((6, 0x3f, 0x0e)));
        assert_eq!(test_unit_ready(&mut guest, neighbour), Some((5, 0x25, 0)), "LOGICAL UNIT NOT SUPPORTED");
        assert_eq!(inquire(&mut guest, far), response::BAD_TARGET);
        assert_eq!(test_unit_ready(&mut guest, first), None);
        drop(guest);
        target.stop();
    }
}

/// Growth is noticed by itself, a loss of blocks with SIGHUP; `resize` gives `disk`, of 1 MiB at first, so many bytes.
fn grows_and_shrinks(target: &Target, resize: impl Fn(u64)) {
    let mut guest = target.guest();
    guest.post_event_buffers(8).unwrap();
    settle(&mut guest, LUN);
    let last = |lba: u64| Command::read(LUN, lba, 1, 512);
    let mut end = 2048;
    for (bytes, blocks) in [(2 << 20, 4096), (1 << 19, 1024), (1 << 20, 2048)] {
        let before = target.output().len();
        resize(bytes);
        if u64::from(blocks) < end {
            let past = guest.execute(0, &last(end - 1)).unwrap();
            assert_eq!(past.sense_code(), Some((5, 0x21, 0)), "what is gone is never read as zeroes");
            reload(target);
        }
        end = blocks.into();
        let word = format!("has {bytes} now");
        target.until("word of the new size", || target.output()[before..].contains(&word));
        assert_eq!(next_event(&mut guest), (Event::PARAM_CHANGE, named(0, 0), CAPACITY));
        assert_eq!(test_unit_ready(&mut guest, LUN), Some((6, 0x2a, 0x09)), "CAPACITY DATA HAS CHANGED");
        assert_eq!(last_lba(&mut guest, LUN), blocks - 1);
        good(&mut guest, &last(u64::from(blocks) - 1));
        let past = guest.execute(0, &last(blocks.into())).unwrap();
        assert_eq!(past.sense_code(), Some((5, 0x21, 0)), "LOGICAL BLOCK ADDRESS OUT OF RANGE");
        assert_eq!(target.output()[before..].matches(" now\n").count(), 1, "told once");
    }
    assert_eq!(guest.poll_event().unwrap(), None);
    alive(&mut guest);
}

#[test]
fn a_file_grows_and_shrinks() {
    let dir = directory();
    let path = image(dir.path(), "a.img", 1 << 20);
    let resize = |len| OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
    let target = Target::start_in(dir, &["--disk", "a.img", "--disk", "mem:size=1M"]);
    grows_and_shrinks(&target, resize);
    resize(1000);
    reload(&target);
    // Warnings come on another stream than what ends the reload, and may be read later.
    target.until("word that it keeps its size", || target.output().contains("it keeps its size"));
    assert!(!reload(&target).contains("now"), "nothing has changed");
    resize(1 << 20);
    assert!(reload(&target).contains("has 1048576 now"), "what it had lost is lost");
    let mut guest = target.guest();
    assert_eq!(guest.poll_event().unwrap(), None);
    settle(&mut guest, LUN);
    alive(&mut guest);
    drop(guest);
    target.stop();
}

#[test]
fn a_block_device_grows_and_shrinks() {
    let dir = directory();
    let path = image(dir.path(), "a.img", 1 << 20);
    let Some(device) = Loop::over(&path) else {
        eprintln!("skipped: a loop device needs root and /dev/loop-control");
        return;
    };
    let target = Target::start_in(dir, &["--disk", device.path()]);
    grows_and_shrinks(&target, |len| {
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
        device.follow();
    });
    target.stop();
}

#[test]
fn events_without_a_buffer_are_missed_and_the_driver_is_told_once() {
    let dir = directory();
    let disks = |lun: &str| configure(&dir, 1, &["mem:size=1M", &format!("mem:size=1M,target=1,lun={lun}")], "");
    disks("1");
    let target = serve(&dir);
    let mut guest = target.guest_on("a.sock", Options::default());
    disks("2");
    reload(&target);
    assert_eq!(guest.poll_event().unwrap(), None);
    guest.post_event_buffers(2).unwrap();
    assert_eq!(next_event(&mut guest), (MISSED, LUN_NONE, 0), "it is told as soon as it gives a buffer");
    // One buffer is left, and of two events the second waits for the next one.
    disks("3");
    reload(&target);
    assert_eq!(next_event(&mut guest), (Event::TRANSPORT_RESET, named(1, 2), REMOVED));
    assert_eq!(guest.poll_event().unwrap(), None);
    guest.post_event_buffers(1).unwrap();
    assert_eq!(next_event(&mut guest), (Event::TRANSPORT_RESET, named(1, 3), ADDED));
    alive(&mut guest);
    drop(guest);
    target.stop();
}

/// The address of no unit.
const LUN_NONE: Lun = Lun([0; 8]);

#[test]
fn a_buffer_that_is_too_short_says_nothing_and_the_next_one_all() {
    let dir = directory();
    configure(&dir, 1, &["mem:size=1M"], "");
    let target = serve(&dir);
    let mut guest = target.guest_on("a.sock", Options::default());
    let window = guest.memory().allocate(16, 8).unwrap();
    window.write(0, &[0xee; 16]);
    let piece = Piece { gpa: window.gpa(), len: 7, device_writes: true };
    let head = guest.queue(1).add(&[piece]).unwrap();
    guest.queue(1).publish();
    guest.post_event_buffers(1).unwrap();
    configure(&dir, 1, &["mem:size=1M", "mem:size=1M,target=2"], "");
    reload(&target);
    let mut used = None;
    until("the short buffer", || {
        used = guest.queue(1).poll().unwrap();
        used.is_some()
    });
    assert_eq!(used.map(|used| (used.head, used.len)), Some((head, 7)));
    let mut bytes = [0; 16];
    window.read(0, &mut bytes);
    assert_eq!(bytes, [[0; 8], [0xee; 8]].concat()[1..].iter().chain(&[0xee]).copied().collect::<Vec<_>>()[..]);
    assert_eq!(next_event(&mut guest), (Event::TRANSPORT_RESET, named(2, 0), ADDED));
    drop(guest);
    target.stop();
}

#[test]
fn a_driver_that_took_neither_feature_gets_no_event() {
    for (without, expected) in [
        (feature::SCSI_HOTPLUG | feature::SCSI_CHANGE, None),
        (feature::SCSI_HOTPLUG, Some((Event::PARAM_CHANGE, named(0, 0), CAPACITY))),
        (feature::SCSI_CHANGE, Some((Event::TRANSPORT_RESET, named(3, 0), ADDED))),
    ] {
        let dir = directory();
        configure(&dir, 1, &["null:size=1M"], "");
        let target = serve(&dir);
        let options = Options::default();
        let options = Options { features: options.features & !without, ..options };
        let mut guest = target.guest_on("a.sock", options);
        guest.post_event_buffers(4).unwrap();
        configure(&dir, 1, &["null:size=2M", "null:size=1M,target=3"], "");
        reload(&target);
        // Attentions come all the same.
        assert_eq!(last_after_attentions(&mut guest), 4095);
        if let Some(expected) = expected {
            assert_eq!(next_event(&mut guest), expected);
        }
        assert_eq!(guest.poll_event().unwrap(), None);
        drop(guest);
        target.stop();
    }
}

fn last_after_attentions(guest: &mut Guest) -> u32 {
    settle(guest, LUN);
    settle(guest, Lun::new(3, 0));
    last_lba(guest, LUN)
}

#[test]
fn a_disk_that_goes_under_load_answers_each_request_once() {
    const QUEUES: u16 = 4;
    const EACH: usize = 40;
    let dir = directory();
    let slow = "mem:size=1M,target=1,delay=3600s";
    configure(&dir, QUEUES, &["mem:size=1M", slow], "");
    let target = serve(&dir);
    let mut guest = target.guest_on("a.sock", Options { request_queues: QUEUES, ..Options::default() });
    guest.post_event_buffers(2).unwrap();
    settle(&mut guest, LUN);
    settle(&mut guest, Lun::new(1, 0));
    let mut sent = Vec::new();
    for queue in 0..QUEUES {
        for number in 0..EACH {
            let command = Command::read(Lun::new(1, 0), number as u64, 8, 512);
            sent.push((queue, guest.submit(queue, &command, &Shape::default()).unwrap()));
        }
    }
    alive(&mut guest);
    configure(&dir, QUEUES, &["mem:size=1M"], "");
    reload(&target);
    let mut ended = Vec::new();
    for queue in 0..QUEUES {
        for _ in 0..EACH {
            let done = guest.wait(queue).expect("an answer");
            let code = done.response.response;
            assert!(matches!(code, response::TRANSPORT_FAILURE | response::BAD_TARGET), "{code}");
            ended.push((queue, done.id));
        }
        assert!(guest.poll(queue).unwrap().is_none());
    }
    sent.sort_unstable();
    ended.sort_unstable();
    assert_eq!(sent, ended);
    assert_eq!(next_event(&mut guest), (Event::TRANSPORT_RESET, named(1, 0), REMOVED));
    assert_eq!(inquire(&mut guest, Lun::new(1, 0)), response::BAD_TARGET);
    alive(&mut guest);
    drop(guest);
    // Its flush waits for as long as everything else.
    target.abandon();
}

#[test]
fn what_cannot_be_applied_changes_nothing() {
    let dir = directory();
    image(dir.path(), "b.img", 1 << 20);
    configure(&dir, 1, &["mem:size=1M"], "");
    let target = serve(&dir);
    let mut guest = target.guest_on("a.sock", Options::default());
    guest.post_event_buffers(2).unwrap();
    alive(&mut guest);
    let files = target.open_files();
    for (queues, disks, more, said) in [
        (2, &["mem:size=1M", "b.img"][..], "", "queues cannot change from 1 to 2"),
        (1, &["mem:size=1M", "b.img", "missing.img"], "", "missing.img"),
        (1, &["mem:size=1M", "b.img", "b.img,serial=2"], "", "b.img"),
        (
            1,
            &["mem:size=1M", "b.img"],
            "[[controller]]\nsocket = \"no/where.sock\"\ndisks = [\"null:size=1M\"]",
            "where",
        ),
        (1, &["mem:size=1M", "b.img"], "colour = 1", "colour"),
    ] {
        configure(&dir, queues, disks, more);
        let before = target.output().len();
        reload(&target);
        target.until("the reason", || target.output()[before..].contains("nothing was changed"));
        let told = target.output()[before..].to_owned();
        let errors: Vec<_> = told.lines().filter(|line| line.contains("nothing was changed")).collect();
        assert!(matches!(errors[..], [line] if line.contains(said)), "{told}");
        assert_eq!(guest.poll_event().unwrap(), None);
        target.until("the end of what was opened", || target.open_files() == files);
    }
    alive(&mut guest);
    drop(guest);
    target.stop();
}

#[test]
fn controllers_come_and_go_while_others_work() {
    let dir = directory();
    image(dir.path(), "b.img", 1 << 20);
    configure(&dir, 1, &["mem:size=1M"], "");
    let target = serve(&dir);
    let mut guest = target.guest_on("a.sock", Options::default());
    alive(&mut guest);
    // Each reactor makes its io_uring for the first file.
    let mut files = usize::MAX;
    for _ in 0..3 {
        configure(&dir, 1, &["mem:size=1M"], "[[controller]]\nsocket = \"b.sock\"\ndisks = [\"b.img\"]");
        assert!(reload(&target).contains("controller b.sock: added"));
        let mut other = target.guest_on("b.sock", Options::default());
        alive(&mut other);
        configure(&dir, 1, &["mem:size=1M"], "");
        assert!(reload(&target).contains("controller b.sock: removed"));
        assert!(other.status().is_err(), "its connection has ended");
        assert!(!target.path("b.sock").exists());
        alive(&mut guest);
        drop(other);
        target.until("the end of its files", || target.open_files() <= files);
        files = target.open_files();
    }
    drop(guest);
    target.stop();
}

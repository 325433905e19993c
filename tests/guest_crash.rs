//! A virtual machine is killed, or the target is: what others do meanwhile, and what is still there afterwards.

mod common;
mod guest;

use annulus_bench::Options;
use annulus_bench::guest::scsi::Command;
use common::io::{LUN, good, settle};
use common::{SOCKET, Target, cpumask, directory, image};
use guest::Lab;

/// How many requests more show that a guest goes on.
const SOME_REQUESTS: u64 = 200;
/// Blocks of the page cache's size are stored one by one.
const RECORD_BYTES: usize = 4096;
const RECORDS: u64 = 20;

#[test]
fn a_killed_machine_leaves_the_other_alone_and_its_place_free() {
    let lab = Lab::enter();
    let dir = directory();
    image(dir.path(), "a.img", 128 << 20);
    image(dir.path(), "b.img", 128 << 20);
    let mask = cpumask(2);
    let sockets = ["--socket", "a.sock", "--disk", "a.img", "--socket", "b.sock", "--disk", "b.img"];
    let target =
        Target::serve(dir, &[&["--cpumask", &mask, "--idle", "adaptive", "--queues", "2"], &sockets[..]].concat());
    let forever = "sh /job/jobs/forever";
    let mut a = lab.boot(&target, "a", forever, &["--socket", "a.sock"]);
    let mut b = lab.boot(&target, "b", forever, &["--socket", "b.sock"]);
    a.await_more("completed", SOME_REQUESTS);
    let before = b.await_more("completed", SOME_REQUESTS);
    a.kill();
    let after = b.await_more("completed", before + SOME_REQUESTS);
    let next = lab.boot(&target, "next", "sh /job/jobs/smoke", &["--socket", "a.sock", "--fail-on-warnings"]).finish();
    b.await_more("completed", after + SOME_REQUESTS);
    assert!(b.lives() && !b.console().contains("FAILED"), "the guest that nobody touched has failed");
    drop(next);
    b.kill();
    target.stop();
}

#[test]
fn what_a_guest_has_flushed_survives_the_target() {
    let lab = Lab::enter();
    let dir = directory();
    image(dir.path(), "disk.img", 64 << 20);
    let mask = cpumask(1);
    let args = ["--cpumask", &mask, "--socket", SOCKET, "--disk", "disk.img"];
    let target = Target::serve(dir, &args);
    let script = r#"
        record=0
        while :; do
            record=$((record + 1))
            echo "record $record" | dd of="$DISK" bs=4096 seek="$record" conv=sync,fsync 2>/tmp/dd || fail "$(cat /tmp/dd)"
            result stored "$record"
        done
    "#;
    let mut guest = lab.boot(&target, "writer", script, &["--socket", SOCKET]);
    guest.await_more("stored", RECORDS);
    target.kill();
    let stored: u64 = guest.results("stored").last().expect("there were some").parse().expect("a count");
    drop(guest);

    let target = Target::serve(target.directory(), &args);
    let mut guest = target.guest_on(SOCKET, Options::default());
    settle(&mut guest, LUN);
    for record in 1..=stored {
        let read = Command::read(LUN, record * (RECORD_BYTES / 512) as u64, (RECORD_BYTES / 512) as u32, 512);
        let mut expected = format!("record {record}\n").into_bytes();
        expected.resize(RECORD_BYTES, 0);
        assert!(good(&mut guest, &read).data == expected, "record {record} of {stored} is lost");
    }
    target.stop();
}

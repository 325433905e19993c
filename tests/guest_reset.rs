//! A guest resets its disk, takes its driver away, restarts: while I/O runs, and while a disk does not answer.

mod common;
mod guest;

use common::{SOCKET, Target, cpumask, directory, image};
use guest::Lab;
use rustix::process::Signal;

#[test]
fn a_disk_survives_resets_and_returns_after_its_removal() {
    let lab = Lab::enter();
    let dir = directory();
    image(dir.path(), "disk.img", 128 << 20);
    let mask = cpumask(2);
    let target = Target::serve(dir, &["--cpumask", &mask, "--queues", "2", "--socket", SOCKET, "--disk", "disk.img"]);
    let script = include_str!("guest/resets.sh");
    let guest = lab.boot(&target, "resets", script, &["--socket", SOCKET, "--cpus", "2"]).finish();
    assert_eq!(guest.results("resets"), ["of the logical unit", "of driver and function"]);
    target.stop();
}

/// At the first boot this loads the fast disk and restarts the machine in the middle of it, without a word to the disks;
/// at the second it uses the fast disk. It says both times how many reads of the slow disk have completed and how many
/// requests to it are in flight.
const BESIDE_A_SLOW_DISK: &str = r#"
slow=$(basename "$(disk_at 1:0)")
say_slow() {
    read -r reads _ <"/sys/block/$slow/stat"
    read -r reading writing <"/sys/block/$slow/inflight"
    result "$1" "$reads completed, $((reading + writing)) in flight"
}
if [ "$(dd if="$DISK" bs=4096 count=1 iflag=direct 2>/dev/null | head -n 1)" = restarted ]; then
    sh /job/jobs/smoke
    say_slow second
    sleep 1000
fi
SIZE_MIB=4 sh /job/jobs/verify
say_slow first
echo restarted | dd of="$DISK" bs=4096 count=1 conv=sync,fsync
(cd /job/fio && SIZE_MIB=32 fio --offset=1m forever.fio) &
sleep 0.5
echo b >/proc/sysrq-trigger
"#;

#[test]
fn a_disk_that_does_not_answer_holds_up_neither_the_others_nor_a_restart() {
    let lab = Lab::enter();
    let dir = directory();
    image(dir.path(), "disk.img", 128 << 20);
    let mask = cpumask(1);
    let disks = ["--disk", "disk.img", "--disk", "mem:size=64M,target=1,delay=60s,vendor=SLOW"];
    let target = Target::serve(dir, &[&["--cpumask", &mask, "--queues", "2", "--socket", SOCKET], &disks[..]].concat());
    // The firmware and modprobe would wait for the slow disk, as it is theirs to do: the first leaves out what it does not
    // boot from, the other is told not to.
    let args = ["--socket", SOCKET, "--append", "sd_mod.async_probe=1 sg.async_probe=1"];
    let qemu = ["--", "-boot", "strict=on", "-action", "reboot=reset"];
    let mut guest = lab.boot(&target, "slow", BESIDE_A_SLOW_DISK, &[&args[..], &qemu].concat());
    let waiting = "0 completed, 1 in flight";
    assert_eq!(guest.await_result("first", |_| true), waiting);
    assert_eq!(guest.await_result("second", |_| true), waiting);
    assert!(guest.lives(), "QEMU has ended");
    let connected = target.output().matches("client connected").count();
    assert_eq!(connected, 1, "QEMU lost its connection");
    guest.kill();
    // One disk does not answer to the flush at the end either: the exit code says so.
    target.signal(Signal::TERM);
    assert_eq!(target.wait().code(), Some(1));
}

//! A Linux guest sees disks appear, grow and vanish while it works, without that anybody rescans by hand.

mod common;
mod guest;

use std::fs::OpenOptions;

use common::{Target, cpumask, directory, image, until};
use guest::Lab;
use rustix::process::Signal;

/// Reports the size of the disk at an address whenever it changes, while fio verifies what it wrote on the first disk.
const WATCH: &str = r#"
fio --name=go --filename="$(disk_at 0:0)" --rw=randwrite --bs=4k --iodepth=8 --ioengine=libaio --direct=1 \
    --time_based --runtime=3600 --size=32m --verify=crc32c --verify_backlog=64 --verify_fatal=1 \
    >/tmp/fio 2>&1 &
fio=$!
before=none
result size none
while kill -0 "$fio"; do
    size=none
    dev=$(disk_at 1:0 2>/dev/null) && [ -n "$dev" ] && size=$(lsblk -bdno SIZE "$dev" | tr -d ' ')
    if [ "$size" != "$before" ]; then
        before=$size
        result size "$size"
        # The disk is in use when it goes.
        [ "$size" = none ] || fio --name=use --filename="$dev" --rw=randread --bs=4k --iodepth=16 --ioengine=libaio \
            --direct=1 --time_based --runtime=3600 >/dev/null 2>&1 &
        [ "$size" != 33554432 ] || result grown yes
    fi
    [ ! -e /tmp/done ] || break
    if [ "$before" = none ] && [ -n "$(cat /tmp/seen 2>/dev/null)" ]; then break; fi
    [ "$size" = none ] || echo yes > /tmp/seen
    sleep 0.2
done
# A shell lets what is in the background ignore SIGINT.
kill -TERM "$fio"
wait "$fio" || true
result fio "$(grep -c 'verify:.*bad\|error=' /tmp/fio)"
"#;

#[test]
fn a_disk_appears_grows_and_vanishes_under_io() {
    let lab = Lab::enter();
    let dir = directory();
    let path = image(dir.path(), "b.img", 16 << 20);
    let configure = |disks: &str| {
        let mask = cpumask(2);
        let text =
            format!("cpumask = \"{mask}\"\nqueues = 2\n[[controller]]\nsocket = \"a.sock\"\ndisks = [{disks}]\n");
        std::fs::write(dir.path().join("annulus.toml"), text).unwrap();
    };
    configure("\"mem:size=64M\"");
    let target = Target::spawn(dir.clone(), &["--config", "annulus.toml"]);
    until("word that it is ready", || target.output().contains("\nready\n"));
    let reload = || {
        let before = target.output().len();
        target.signal(Signal::HUP);
        until("the end of the change", || target.output()[before..].contains("reloaded\n"));
    };
    let mut guest = lab.boot(&target, "hotplug", WATCH, &["--socket", "a.sock", "--cpus", "2"]);
    guest.await_result("size", |size| size == "none");
    configure("\"mem:size=64M\", \"b.img\"");
    reload();
    guest.await_result("size", |size| size == "16777216");
    OpenOptions::new().write(true).open(&path).unwrap().set_len(32 << 20).unwrap();
    guest.await_result("size", |size| size == "33554432");
    configure("\"mem:size=64M\"");
    reload();
    let guest = guest.finish();
    assert_eq!(guest.results("size"), ["none", "16777216", "33554432", "none"]);
    assert_eq!(guest.results("fio"), ["0"], "the other disk has gone on");
    target.stop();
}

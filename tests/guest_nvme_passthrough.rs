//! Inside a guest with QEMU's NVMe device: the suite of the backends on its namespaces, and the real binary that serves them
//! to the driver in user space.

mod common;
mod guest;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{SOCKET, Target, cpumask, directory};
use guest::Lab;
use guest::programs::{integration_test, load_generator, provide};

/// The size that the suite of `bdev` wants.
const SUITE_BYTES: u64 = (4 << 20) + 5 * 4096;
const DISK_BYTES: u64 = 64 << 20;

/// With commands of 128 KiB, and 16 blocks that are written as a whole: as many in normal operation as when power fails.
const NVME: &str = "nvme,id=nvme0,serial=S123,mdts=5,atomic.dn=on,atomic.awun=15,atomic.awupf=15";

const SCRIPT: &str = r#"
cd /job/files
# node NSID: the end that the names of a namespace's nodes share (0n1). The kernel gives them out in whatever order its
# scan ends, so that nvme0n1 need not be the namespace 1.
node() {
    for disk in /sys/block/nvme0n*; do
        [ "$(cat "$disk/nsid")" != "$1" ] || { echo "${disk##*/nvme}"; return; }
    done
    fail "no namespace $1"
}
# One after the other: they share namespaces, and the first wants them as they are.
{
    ANNULUS_TEST_NVME=/dev/ng$(node 1),/dev/ng$(node 2) ./suite --exact namespaces --nocapture &&
        ANNULUS_TEST_ATOMIC=/dev/nvme$(node 1),/dev/nvme$(node 2) ./suite --exact atomic_block_devices --nocapture
} >/tmp/suite 2>&1 || { cat /tmp/suite; fail "the suite"; }
result suite "$(grep -c '^NVMe namespace' /tmp/suite)"
result atomic "$(grep -c '^block device .* atomic writes of up to ' /tmp/suite)"

# serve DISK: on a socket, until stop.
serve() {
    ./annulus serve --cpumask 0x1 --idle adaptive --socket /tmp/n.sock --disk "$1" >/tmp/serve 2>&1 &
    served=$!
    tenths=0
    until grep -q '^ready$' /tmp/serve; do
        tenths=$((tenths + 1))
        [ "$tenths" -lt 300 ] && kill -0 "$served" || { cat /tmp/serve; fail "nothing serves $1"; }
        sleep 0.1
    done
}
stop() {
    kill -INT "$served"
    wait "$served" || { cat /tmp/serve; fail "the target did not end well"; }
    rm -f /tmp/n.sock
}

# Commands that the device counts, of whatever way they came.
commands() { nvme smart-log /dev/nvme0 | sed -n "s/^[Hh]ost[_ ]$1[_ ][Cc]ommands[^:]*: *\([0-9,]*\).*/\1/p" | tr -d ,; }

for disk in "nvme:/dev/ng$(node 3)" "/dev/ng$(node 4)"; do
    name=nvme${disk##*/ng}
    before=$(commands '[Ww]rite')
    serve "$disk"
    grep -q 'NVMe namespace' /tmp/serve || { cat /tmp/serve; fail "$disk goes another way"; }
    ! ./annulus serve --socket /tmp/other.sock --disk "/dev/$name" >/tmp/other 2>&1 || fail "served twice"
    result refused "$(grep -c 'in use' /tmp/other)"
    ./annulus-bench run --socket /tmp/n.sock --cpus 1 --rw randrw --bssplit 4k/50:64k/30:1m/20 --size 32m --verify \
        --number-ios 200 --runtime 30s >/tmp/bench 2>&1 || { cat /tmp/bench /tmp/serve; fail "the load on $disk"; }
    ANNULUS_TEST_INSIDE=/tmp/n.sock ./inside --exact atomic_writes_reach_the_disk --nocapture >/tmp/inside 2>&1 ||
        { cat /tmp/inside /tmp/serve; fail "atomic writes to $disk"; }
    grep '^ANNULUS-RESULT' /tmp/inside
    stop
    result blocks "$(blockdev --getss "/dev/$name")"
    # The pattern of the load is on the device, as its block device shows.
    result holds_data "$(dd if="/dev/$name" bs=1M count=32 2>/dev/null | tr -d '\0' | head -c 1 | wc -c)"
    result writes "$(($(commands '[Ww]rite') - before))"
done
"#;

#[test]
fn namespaces_are_served_by_their_own_commands() {
    let lab = Lab::enter();
    let annulus = Path::new(env!("CARGO_BIN_EXE_annulus"));
    let inside = integration_test(&["--test", "inside"], "tests/inside.rs");
    let suite = integration_test(&["-p", "annulus-bdev", "--test", "nvme"], "tests/nvme.rs");
    // The lab's own helpers want a target; this one only lends its directory.
    let mask = cpumask(1);
    let target = Target::serve(directory(), &["--cpumask", &mask, "--socket", SOCKET, "--disk", "mem:size=1M"]);
    let programs = [
        provide(&target.path(""), annulus, "annulus"),
        provide(&target.path(""), &load_generator(), "annulus-bench"),
        provide(&target.path(""), &suite, "suite"),
        provide(&target.path(""), &inside, "inside"),
    ];
    let mut args = vec!["--env".into(), "DISK=/dev/nvme0n1".into(), "--memory".into(), "1G".into()];
    // The kernel takes no atomic limits over to namespaces that may have several paths.
    args.extend(["--cpus", "2", "--append", "nvme_core.multipath=N"].map(str::to_owned));
    args.extend(programs.into_iter().flat_map(|name| ["--file".into(), name]));
    args.extend(["--".into(), "-device".into(), NVME.into()]);
    for (index, (bytes, block)) in
        [(SUITE_BYTES, 512), (SUITE_BYTES, 4096), (DISK_BYTES, 512), (DISK_BYTES, 4096)].into_iter().enumerate()
    {
        let file = format!("n{index}.raw");
        File::create(target.path(&file)).and_then(|file| file.set_len(bytes)).expect("a namespace's file");
        let path = target.path(&file);
        args.push("-drive".into());
        args.push(format!("file={},if=none,id=n{index},format=raw,discard=unmap", path.display()));
        args.push("-device".into());
        args.push(format!(
            "nvme-ns,bus=nvme0,nsid={},drive=n{index},logical_block_size={block},physical_block_size={block}",
            index + 1
        ));
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let guest = lab.boot(&target, "nvme", SCRIPT, &args).finish();
    assert_eq!(guest.results("suite"), ["2"]);
    assert_eq!(guest.results("atomic"), ["4"], "two disks, served by both engines");
    assert_eq!(guest.results("refused"), ["1", "1"]);
    assert_eq!(guest.results("atomic_blocks"), ["16", "16"]);
    assert_eq!(guest.results("blocks"), ["512", "4096"]);
    assert_eq!(guest.results("holds_data"), ["1", "1"]);
    for writes in guest.results("writes") {
        assert!(writes.parse::<u64>().expect("a count") > 50, "the device has seen {writes} writes");
    }
    for index in 0..2 {
        let held = target.path(&format!("n{index}.raw")).metadata().expect("the namespace's file").blocks() * 512;
        assert!(held < SUITE_BYTES, "nothing was deallocated: it holds {held} bytes");
    }
    target.stop();
}

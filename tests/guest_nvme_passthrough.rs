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
const NVME: &str = "mdts=5,atomic.dn=on,atomic.awun=15,atomic.awupf=15";

/// Controllers by their serial numbers, and what becomes of their queues where the kernel wants one to poll: of a single one
/// none is left for that.
const CONTROLLERS: [(&str, &str, &str); 2] =
    [("POLLED", "", ", iopoll"), ("RINGING", ",max_ioqpairs=1", ", no iopoll: the device has no poll queues")];

/// What QEMU writes of the flushes and deallocations that its disks are told.
const TRACE: &str = "nvme.trace";

/// Namespaces of each, from number 1 on: bytes and block size.
const NAMESPACES: [(u64, u32); 4] = [(SUITE_BYTES, 512), (SUITE_BYTES, 4096), (DISK_BYTES, 512), (DISK_BYTES, 4096)];

const SCRIPT: &str = r#"
cd /job/files
# The kernel numbers controllers and namespaces in whatever order its scans end, so that nvme0n1 need not be the first.
# controller SERIAL: nvme0
controller() {
    for one in /sys/class/nvme/nvme*; do
        [ "$(tr -d ' ' <"$one/serial")" != "$1" ] || { echo "${one##*/}"; return; }
    done
    fail "no controller $1"
}
# node SERIAL NSID: the end that the names of a namespace's nodes share (0n1).
node() {
    controller=$(controller "$1")
    for disk in "/sys/block/${controller}n"*; do
        [ "$(cat "$disk/nsid")" != "$2" ] || { echo "${disk##*/nvme}"; return; }
    done
    fail "no namespace $2 of $1"
}
# nodes PREFIX NSID...: of both controllers
nodes() {
    prefix=$1 comma=
    shift
    for serial in POLLED RINGING; do
        for nsid in "$@"; do printf '%s/dev/%s%s' "$comma" "$prefix" "$(node "$serial" "$nsid")"; comma=,; done
    done
}
# One after the other: they share namespaces, and the first wants them as they are.
{
    ANNULUS_TEST_NVME=$(nodes ng 1 2) ./suite --exact namespaces --nocapture &&
        ANNULUS_TEST_WRAPPED=/dev/ng$(node POLLED 3) ./suite --exact wrapped_namespaces --nocapture &&
        ANNULUS_TEST_ATOMIC=$(nodes nvme 1) ./suite --exact atomic_block_devices --nocapture
} >/tmp/suite 2>&1 || { cat /tmp/suite; fail "the suite"; }
cat /tmp/suite
result suite "$(grep -c '^NVMe namespace' /tmp/suite)"
result polled "$(grep -c '^NVMe namespace.*, iopoll$' /tmp/suite)"
result wrapped "$(grep -c '^wrapped: .*NVMe namespace' /tmp/suite)"
result atomic "$(grep -c '^block device .* atomic writes of up to ' /tmp/suite)"

# serve DISK: on a socket, until stop.
serve() {
    ./annulus serve --cpumask 0x1 --idle adaptive --socket /tmp/n.sock --disk "$1" >/tmp/serve 2>&1 &
    served=$!
    tenths=0
    until grep -q '^ready$' /tmp/serve; do
        tenths=$((tenths + 1))
        [ "$tenths" -lt 600 ] && kill -0 "$served" || { cat /tmp/serve; fail "nothing serves $1"; }
        sleep 0.1
    done
}
stop() {
    kill -INT "$served"
    wait "$served" || { cat /tmp/serve; fail "the target did not end well"; }
    rm -f /tmp/n.sock
}

# commands CONTROLLER KIND: those that the device counts, of whatever way they came.
commands() { nvme smart-log "/dev/$1" | sed -n "s/^[Hh]ost[_ ]$2[_ ][Cc]ommands[^:]*: *\([0-9,]*\).*/\1/p" | tr -d ,; }
# interrupts CONTROLLER: of its queues for I/O.
interrupts() { awk -v queue="$1q[1-9]" '$0 ~ queue { for (i = 2; i <= 3; i++) n += $i } END { print n + 0 }' /proc/interrupts; }

# try SERIAL NSID KIND: serves a namespace to a load, and to tests of what else it does.
try() {
    controller=$(controller "$1")
    node=$(node "$1" "$2")
    name=nvme$node
    before=$(commands "$controller" '[Ww]rite')
    serve "$3/dev/ng$node"
    result disk "$(grep 'target 0 lun 0' /tmp/serve)"
    ! ./annulus serve --socket /tmp/other.sock --disk "/dev/$name" >/tmp/other 2>&1 || fail "served twice"
    result refused "$(grep -c 'in use' /tmp/other)"
    rings=$(interrupts "$controller")
    ./annulus-bench run --socket /tmp/n.sock --cpus 1 --rw randrw --bssplit 4k/50:64k/30:1m/20 --size 32m --verify \
        --number-ios 200 --runtime 200s >/tmp/bench 2>&1 || { cat /tmp/bench /tmp/serve; fail "the load on $name"; }
    result interrupts "$(($(interrupts "$controller") - rings))"
    for test in what_compares_and_changes_reaches_the_disk atomic_writes_reach_the_disk; do
        ANNULUS_TEST_INSIDE=/tmp/n.sock ./inside --exact "$test" --nocapture >/tmp/inside 2>&1 ||
            { cat /tmp/inside /tmp/serve; fail "$test: $name"; }
    done
    grep '^ANNULUS-RESULT' /tmp/inside
    stop
    result blocks "$(blockdev --getss "/dev/$name")"
    # The pattern of the load is on the device, as its block device shows.
    result holds_data "$(dd if="/dev/$name" bs=1M count=32 2>/dev/null | tr -d '\0' | head -c 1 | wc -c)"
    result writes "$(($(commands "$controller" '[Ww]rite') - before))"
}
try POLLED 3 nvme:
try POLLED 4 ''
try RINGING 3 nvme:
try RINGING 4 ''
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
    let mut args = vec!["--env".into(), "DISK=none".into(), "--memory".into(), "1G".into()];
    // The kernel takes no atomic limits over to namespaces that may have several paths.
    args.extend(["--cpus", "2", "--append", "nvme_core.multipath=N nvme.poll_queues=1"].map(str::to_owned));
    args.extend(programs.into_iter().flat_map(|name| ["--file".into(), name]));
    args.push("--".into());
    for option in ["-trace", "pci_nvme_flush_ns", "-trace", "pci_nvme_dsm", "-D", TRACE] {
        args.push(option.to_owned());
    }
    for (serial, queues, _) in CONTROLLERS {
        args.extend(["-device".into(), format!("nvme,id={serial},serial={serial},{NVME}{queues}")]);
        for (index, (bytes, block)) in NAMESPACES.into_iter().enumerate() {
            let (id, nsid) = (format!("{serial}{index}"), index + 1);
            let file = target.path(&format!("{id}.raw"));
            File::create(&file).and_then(|file| file.set_len(bytes)).expect("a namespace's file");
            let size = format!("logical_block_size={block},physical_block_size={block}");
            args.push("-drive".into());
            args.push(format!("file={},if=none,id={id},format=raw,discard=unmap", file.display()));
            args.push("-device".into());
            args.push(format!("nvme-ns,bus={serial},nsid={nsid},drive={id},{size}"));
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let guest = lab.boot(&target, "nvme", SCRIPT, &args).finish();
    assert_eq!((guest.results("suite"), guest.results("polled")), (vec!["4".to_owned()], vec!["2".to_owned()]));
    assert_eq!(guest.results("wrapped"), ["3"]);
    assert_eq!(guest.results("atomic"), ["4"], "two disks, served by both engines");
    assert_eq!(guest.results("refused"), ["1"; 4]);
    assert_eq!(guest.results("atomic_blocks"), ["16"; 4]);
    assert_eq!(guest.results("blocks"), ["512", "4096", "512", "4096"]);
    assert_eq!(guest.results("holds_data"), ["1"; 4]);
    for writes in guest.results("writes") {
        assert!(writes.parse::<u64>().expect("a count") > 50, "the device has seen {writes} writes");
    }
    let ways = CONTROLLERS.iter().flat_map(|(_, _, way)| [way; 2]);
    for (disk, way) in guest.results("disk").iter().zip(ways) {
        assert!(disk.contains("NVMe namespace") && disk.contains(way), "{way}: {disk}");
    }
    let rings: Vec<bool> = guest.results("interrupts").iter().map(|count| count != "0").collect();
    assert_eq!(rings, [false, false, true, true], "interrupts of reads and writes: {:?}", guest.results("interrupts"));
    for (serial, ..) in CONTROLLERS {
        for index in 0..2 {
            let file = target.path(&format!("{serial}{index}.raw"));
            let held = file.metadata().expect("the namespace's file").blocks() * 512;
            assert!(held < SUITE_BYTES, "nothing was deallocated: it holds {held} bytes");
        }
    }
    let trace = std::fs::read_to_string(target.path(TRACE)).expect("what the device has seen");
    let seen = |words: &str| trace.lines().filter(|line| line.trim_end().ends_with(words)).count();
    for nsid in 1..=NAMESPACES.len() {
        assert!(seen(&format!("pci_nvme_flush_ns nsid {nsid:#x}")) > 0, "no flush of namespace {nsid} has arrived");
    }
    assert!(seen("pci_nvme_dsm nr 1 attr 0x4") > 80, "there is a deallocation for each awkward range");
    target.stop();
}

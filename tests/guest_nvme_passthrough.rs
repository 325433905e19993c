//! Inside a guest with QEMU's NVMe device: the suite of the backends on its namespaces, and the real binary that serves them
//! to the driver in user space.

mod common;
mod guest;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use common::{SOCKET, Target, cpumask, directory};
use guest::programs::{integration_test, load_generator, provide};
use guest::{Lab, Machine};

/// The size that the suite of `bdev` wants.
const SUITE_BYTES: u64 = (4 << 20) + 5 * 4096;
const DISK_BYTES: u64 = 64 << 20;

/// With commands of 128 KiB, and 16 blocks that are written as a whole: as many in normal operation as when power fails.
const NVME: &str = "mdts=5,atomic.dn=on,atomic.awun=15,atomic.awupf=15";

/// Controllers by their serial numbers, the number before that of their first namespace, and what becomes of their queues where
/// the kernel wants one to poll: of a single one none is left for that.
const CONTROLLERS: [(&str, usize, &str, &str); 2] =
    [("POLLED", 0, "", ", iopoll"), ("RINGING", 10, ",max_ioqpairs=1", ", no iopoll: the device has no poll queues")];

const SCRIPT: &str = concat!(include_str!("guest/nvme_passthrough.sh"), include_str!("guest/nvme_grows.sh"));

/// What QEMU writes of each command to a namespace.
const TRACE: &str = "nvme.trace";

/// Bytes that `tests/inside.rs` writes at the end of a disk that has grown, none of them zero.
const GROWN_BYTES: usize = 4096;

/// Namespaces of each controller: bytes and block size.
const NAMESPACES: [(u64, u32); 4] = [(SUITE_BYTES, 512), (SUITE_BYTES, 4096), (DISK_BYTES, 512), (DISK_BYTES, 4096)];

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
    for option in ["-trace", "pci_nvme_io_cmd", "-D", TRACE] {
        args.push(option.to_owned());
    }
    for (serial, base, queues, _) in CONTROLLERS {
        args.extend(["-device".into(), format!("nvme,id={serial},serial={serial},{NVME}{queues}")]);
        for (index, (bytes, block)) in NAMESPACES.into_iter().enumerate() {
            let (id, nsid) = (format!("{serial}{index}"), base + index + 1);
            let file = target.path(&format!("{id}.raw"));
            File::create(&file).and_then(|file| file.set_len(bytes)).expect("a namespace's file");
            let size = format!("logical_block_size={block},physical_block_size={block}");
            args.push("-drive".into());
            args.push(format!("file={},if=none,id={id},format=raw,discard=unmap", file.display()));
            args.push("-device".into());
            let names = format!("eui64={:#x},nguid={},uuid={}", eui64(nsid), nguid(nsid), uuid(nsid));
            args.push(format!("nvme-ns,bus={serial},nsid={nsid},drive={id},{size},{names}"));
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let guest = lab.boot(&target, "nvme", SCRIPT, &args).finish();
    assert_eq!((guest.results("suite"), guest.results("polled")), (vec!["4".to_owned()], vec!["2".to_owned()]));
    assert_eq!(guest.results("wrapped"), ["6"], "a polled namespace of 512 bytes, and one of 4096 with interrupts");
    assert_eq!(guest.results("forced"), ["1 1"; 4], "writes with FUA, and those of them that a guest has sent");
    assert_eq!(guest.results("atomic"), ["4"], "two disks, served by both engines");
    assert_eq!(guest.results("refused"), ["1"; 4]);
    assert_eq!(guest.results("atomic_blocks"), ["16"; 4]);
    assert_eq!(guest.results("blocks"), ["512", "4096", "512", "4096"]);
    assert_eq!(guest.results("holds_data"), ["1"; 4]);
    for writes in guest.results("writes") {
        assert!(writes.parse::<u64>().expect("a count") > 50, "the device has seen {writes} writes");
    }
    let ways = CONTROLLERS.iter().flat_map(|(_, _, _, way)| [way; 2]);
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
    for nsid in CONTROLLERS.iter().flat_map(|(_, base, ..)| (1..=NAMESPACES.len()).map(move |index| base + index)) {
        let namespace = format!(" nsid {nsid:#x} ");
        let of = |opcode: u8| {
            let opcode = format!(" opc {opcode:#x} ");
            trace.lines().filter(|line| line.contains(&namespace) && line.contains(&opcode)).count()
        };
        // Flush, Compare, Write Zeroes, Dataset Management.
        assert!(of(0) > 0 && of(9) > 0, "namespace {nsid}: {} flushes, {} deallocations", of(0), of(9));
        if nsid % 10 < 3 {
            assert!(of(5) > 0 && of(8) > 0, "namespace {nsid}: {} Compare, {} Write Zeroes", of(5), of(8));
            assert!(of(9) > 20, "namespace {nsid}: a deallocation for each awkward range, not {}", of(9));
        }
    }
    says_what_the_device_says(&guest);
    stands_in_and_is_protected(&guest);
    let looped = &guest.results("looped")[0];
    assert!(looped.contains("NVMe namespace") && looped.contains("no compare, no verify"), "{looped}");
    assert_eq!(guest.results("grown"), [GROWN_BYTES.to_string(), GROWN_BYTES.to_string()]);
    target.stop();
}

/// The pages that a guest reads, beside what the kernel and the device of that guest say.
fn says_what_the_device_says(guest: &Machine) {
    let [serials, designators, limits, provisioning] = ["80", "83", "b0", "b2"].map(|page| {
        let pages = guest.results(&format!("page_{page}"));
        assert_eq!(pages.len(), 5, "four namespaces, and one by its block device: {pages:?}");
        pages.iter().map(|page| unhex(page)).collect::<Vec<_>>()
    });
    let said = |key: &str| guest.results(key);
    let number = |key: &str, index: usize| said(key)[index].parse::<u32>().expect("a number");
    for (index, (serial, nsid)) in
        [("POLLED", 3), ("POLLED", 4), ("RINGING", 13), ("RINGING", 14)].into_iter().enumerate()
    {
        assert_eq!(serials[index][4..], *format!("{serial}_{nsid}").as_bytes());
        let designator = |kind: u8, id: &[u8]| [&[0x01, kind, 0, id.len() as u8][..], id].concat();
        let eui64 = eui64(nsid).to_be_bytes();
        assert_eq!((&said("eui64")[index], &said("nguid")[index]), (&hex(&eui64), &nguid(nsid)));
        assert_eq!(said("uuid")[index], uuid(nsid));
        // SPC-5: EUI-64 based ones of 8 and 16 bytes; a UUID stands behind two bytes.
        let uuid = [&[0x10, 0][..], &unhex(&uuid(nsid).replace('-', ""))].concat();
        for wanted in [designator(2, &eui64), designator(2, &unhex(&nguid(nsid))), designator(0xa, &uuid)] {
            let found = designators[index].windows(wanted.len()).any(|part| part == wanted);
            assert!(found, "{serial} {nsid}: no {} in {}", hex(&wanted), hex(&designators[index]));
        }
        let page = &limits[index];
        let field = |at: usize| u32::from_be_bytes(page[at..at + 4].try_into().expect("4 bytes"));
        // Both count from 0 in the device; its alignments divide its sizes.
        let granularity = u32::from(u16::from_be_bytes([page[6], page[7]]));
        assert_eq!(granularity, number("npwg", index) + 1, "OPTIMAL TRANSFER LENGTH GRANULARITY");
        assert_eq!((number("npwa", index), number("npda", index)), (number("npwg", index), number("npdg", index)));
        assert_eq!(field(8) * number("blocks", index), 128 << 10, "MAXIMUM TRANSFER LENGTH: MDTS");
        assert_eq!(field(28), number("npdg", index) + 1, "OPTIMAL UNMAP GRANULARITY");
        assert_eq!(field(32), 1 << 31, "UNMAP GRANULARITY ALIGNMENT");
        assert_eq!(field(44), 16, "MAXIMUM ATOMIC TRANSFER LENGTH");
        // LBPU, LBPWS, LBPWS10, and LBPRZ if deallocated blocks read as zeroes.
        let zeroes = if number("dlfeat", index) & 7 == 1 { 0x04 } else { 0 };
        assert_eq!((provisioning[index][5], provisioning[index][6] & 7), (0xe0 | zeroes, 2));
    }
    // QEMU's device has 323 K, and is too hot from 343 K on.
    assert_eq!(said("temperatures"), ["50 70"; 5], "whichever way it is served");
    // Whichever way it is served it is one disk.
    assert_eq!((&serials[4], &designators[4]), (&serials[0], &designators[0]));
}

/// The block device in the place of commands, and what is read-only.
fn stands_in_and_is_protected(guest: &Machine) {
    let only = |key: &str| guest.results(key).pop().unwrap_or_default();
    let instead = only("instead");
    assert!(
        instead.contains(", threads, direct") && instead.contains("instead of the commands of /dev/ng"),
        "{instead}"
    );
    let warnings = only("warnings");
    assert!(warnings.starts_with("1 ") && warnings.contains("kernel.io_uring_disabled"), "{warnings}");
    assert!(warnings.contains("is served instead by threads"), "{warnings}");
    assert!(only("insisted").contains("Leave `nvme:` out"), "{}", only("insisted"));
    assert!(only("key").contains("does not fit an NVMe namespace"), "{}", only("key"));
    assert_eq!(guest.results("read_only"), ["7 27 0"; 2]);
    let protected = guest.results("protected");
    assert!(protected.len() == 2 && protected.iter().all(|said| said.contains("Add `ro`")), "{protected:?}");
}

const fn eui64(nsid: usize) -> u64 {
    0x5254_0012_3456_0000 + nsid as u64
}

fn nguid(nsid: usize) -> String {
    format!("{:032x}", (0x1111_2222_3333_4444_u128 << 64) + nsid as u128)
}

fn uuid(nsid: usize) -> String {
    format!("6bb1b5a3-6aa9-4a5c-8a6b-{nsid:012x}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

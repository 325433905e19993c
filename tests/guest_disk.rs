//! A Linux guest in QEMU uses its disks: file system, checksums, identity, and the same bytes at the next boot.

mod common;
mod guest;

use common::{SOCKET, Target, cpumask, directory, image};
use guest::Lab;

/// Prints what the guest's tools say of every disk: a line each, under its address.
const DESCRIBE: &str = r#"
for disk in /sys/class/scsi_disk/*; do
    address=${disk##*/}
    dev=/dev/$(ls "$disk/device/block")
    tags=$(for page in "" --page=sn --page=di; do
        # shellcheck disable=SC2086
        sg_inq --export $page "$dev" | grep -E '^SCSI_(VENDOR|MODEL|REVISION|IDENT_SERIAL|IDENT_LUN_NAA[A-Z_]*)=' | cut -d = -f 2-
    done | tr '\n' ' ')
    luns=$(sg_luns --readonly --quiet "$dev" | tr '\n' ' ')
    capacity=$(sg_readcap --readonly --long --brief "$dev")
    result disk "${address#*:*:} $tags$capacity ro=$(blockdev --getro "$dev") luns: ${luns% }"
done
"#;

#[test]
fn a_disk_works_and_the_next_boot_finds_the_same_bytes() {
    let lab = Lab::enter();
    let dir = directory();
    image(dir.path(), "disk.img", 256 << 20);
    image(dir.path(), "ro.img", 64 << 20);
    let mask = cpumask(2);
    let common = ["--cpumask", &mask, "--idle", "adaptive", "--queues", "4", "--socket", SOCKET];

    let target = Target::serve_verbose(dir, &[&common[..], &["--disk", "disk.img"]].concat());
    let script = "sh /job/jobs/verify\nsh /job/jobs/smoke";
    let args = ["--socket", SOCKET, "--cpus", "4", "--fail-on-warnings"];
    let first = lab.boot(&target, "first", script, &args).finish();
    assert_eq!(first.results("queues"), ["4"]);
    // The firmware has used the disk before, and then lost and got back all memory under its queue.
    assert!(first.firmware().contains("virtio-scsi vendor='ANNULUS'"), "{}", first.firmware());
    assert!(target.output().contains("queue waits for its memory"), "the firmware's queue never lost its memory");
    let dir = target.directory();
    target.stop();

    // The same disk under another identity, beside others.
    let disks = [
        "path=disk.img,vendor=ACME,product=ROUND,revision=7.1,serial=A1,naa=3000000000000001",
        "mem:size=64M,target=1,block-size=4096,serial=B1,naa=3000000000000002",
        "null:size=4T,target=1,lun=5,serial=B2,naa=3000000000000003",
        "null:size=4G,target=1,lun=300,serial=B3,naa=3000000000000004",
        "path=ro.img,ro,target=7,lun=3,serial=C1,naa=3000000000000005",
    ];
    let disks: Vec<&str> = disks.iter().flat_map(|disk| ["--disk", disk]).collect();
    let target = Target::serve(dir, &[&common[..], &disks].concat());
    let script = format!("DISK=$(disk_at 0:0) sh /job/jobs/recheck\n{DESCRIBE}");
    let args = ["--socket", SOCKET, "--fail-on-warnings"];
    let second = lab.boot(&target, "second", &script, &args).finish();
    let mut described = second.results("disk");
    described.sort();
    // Linux counts LUNs from 256 on with the bits of their addressing method: 300 is 0x412c.
    let expected = [
        "0:0 ACME ROUND 7.1 A1 3000000000000001 0x80000 0x200 ro=0 luns: 0000000000000000",
        "1:0 ANNULUS ANNULUS_DISK 1.0 B1 3000000000000002 0x4000 0x1000 ro=0 luns: \
         0000000000000000 0005000000000000 412c000000000000",
        "1:16684 ANNULUS ANNULUS_DISK 1.0 B3 3000000000000004 0x800000 0x200 ro=0 luns: \
         0000000000000000 0005000000000000 412c000000000000",
        "1:5 ANNULUS ANNULUS_DISK 1.0 B2 3000000000000003 0x200000000 0x200 ro=0 luns: \
         0000000000000000 0005000000000000 412c000000000000",
        "7:3 ANNULUS ANNULUS_DISK 1.0 C1 3000000000000005 0x20000 0x200 ro=1 luns: 0003000000000000",
    ];
    assert_eq!(described, expected);
    target.stop();
}

#[test]
fn a_disk_of_large_blocks_works_far_up_in_memory_and_with_a_wire_for_interrupts() {
    let lab = Lab::enter();
    let mask = cpumask(1);
    let disk = ["--disk", "mem:size=128M,block-size=4096"];
    let target = Target::serve(directory(), &[&["--cpumask", &mask, "--socket", SOCKET], &disk[..]].concat());
    let script = r#"
        result interrupts "$(grep -w virtio0 /proc/interrupts | tr -s ' ')"
        sh /job/jobs/smoke
        ENGINE=io_uring SIZE_MIB=8 sh /job/jobs/verify
    "#;
    let args = ["--socket", SOCKET, "--memory", "4G", "--append", "pci=nomsi", "--fail-on-warnings"];
    let guest = lab.boot(&target, "other", script, &args).finish();
    let interrupts = guest.results("interrupts").concat();
    assert!(interrupts.contains("IO-APIC"), "its interrupts are: {interrupts}");
    target.stop();
}

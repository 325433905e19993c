//! The target inside a guest, on an NVMe disk: with poll queues it polls, without it says why not, and either way the disk
//! holds what was written.

mod common;
mod guest;

use common::{directory, image};
use guest::Lab;
use guest::programs::{LIBRARY, integration_test, load_generator, provide};

/// What the target printed of the disk, twice, and how often the disk interrupted at first.
fn run(name: &'static str, block: &str, poll_queues: &str) -> (Vec<String>, u64) {
    let lab = Lab::enter();
    let dir = directory();
    image(dir.path(), "nvme.img", 64 << 20);
    let bench = load_generator();
    let inside = provide(dir.path(), &integration_test(&["--test", "inside"], "tests/inside.rs"), "inside");
    let words = format!("nvme.poll_queues={poll_queues}");
    let device = format!("nvme-ns,drive=disk,logical_block_size={block},physical_block_size={block}");
    let block = format!("BLOCK={block}");
    let annulus = env!("CARGO_BIN_EXE_annulus");
    let files =
        [annulus, bench.to_str().expect("a path in UTF-8"), &inside, LIBRARY].map(|file| ["--file", file]).concat();
    let args = [&files[..], &["--env", "DISK=/dev/nvme0n1", "--env", &block, "--append", &words]].concat();
    let machine = ["--memory", "1G", "--cpus", "2", "--fail-on-warnings", "--"];
    let disk = ["-drive", "file=nvme.img,if=none,id=disk,format=raw", "-device", "nvme,serial=S1", "-device", &device];
    let args = [&args[..], &machine, &disk].concat();
    let machine = lab.boot_in(dir.path(), name, include_str!("guest/nvme.sh"), &args).finish();
    let completed = machine.results("completed");
    let completed: Vec<u64> = completed[0].split(' ').map(|count| count.parse().expect("a count")).collect();
    // 1,024 writes, some 512 of each, 64 writes, 64 reads.
    assert!(completed[0] >= 500 && completed[1] >= 1500, "reads, writes, flushes: {completed:?}");
    assert!(completed[2] > 0, "a target that stops flushes its disks: {completed:?}");
    let changes: Vec<u64> =
        machine.results("changes")[0].split(' ').map(|count| count.parse().expect("a count")).collect();
    assert!(changes[2] > changes[0] && changes[3] > changes[1], "discards and flushes, before and after: {changes:?}");
    assert!(machine.results("refusal")[0].contains("only direct I/O can be polled for"));
    (machine.results("disk"), machine.results("interrupts")[0].parse().expect("a count"))
}

#[test]
fn a_disk_with_poll_queues_does_not_interrupt() {
    for (name, block) in [("polled", "512"), ("polled-4k", "4096")] {
        let (disks, interrupts) = run(name, block, "1");
        assert!(disks[0].contains(&format!(" of {block} bytes, block device")), "{disks:?}");
        assert!(disks[0].contains("direct, iopoll,"), "{disks:?}");
        assert!(!disks[1].contains("iopoll"), "as it was asked for: {disks:?}");
        assert_eq!(interrupts, 0);
    }
}

#[test]
fn a_disk_without_poll_queues_interrupts_and_the_target_says_why() {
    for (name, block) in [("interrupts", "512"), ("interrupts-4k", "4096")] {
        let (disks, interrupts) = run(name, block, "0");
        assert!(disks[0].contains("direct, no iopoll: the device has no poll queues,"), "{disks:?}");
        assert!(interrupts > 0);
    }
}

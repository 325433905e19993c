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
    let block_bytes: u64 = block.parse().expect("a number");
    let block = format!("BLOCK={block}");
    let annulus = env!("CARGO_BIN_EXE_annulus");
    let files =
        [annulus, bench.to_str().expect("a path in UTF-8"), &inside, LIBRARY].map(|file| ["--file", file]).concat();
    let args = [&files[..], &["--env", "DISK=/dev/nvme0n1", "--env", &block, "--append", &words]].concat();
    let machine = ["--memory", "1G", "--cpus", "2", "--fail-on-warnings", "--"];
    let disk = ["-drive", "file=nvme.img,if=none,id=disk,format=raw", "-device", "nvme,serial=S1", "-device", &device];
    let args = [&args[..], &machine, &disk].concat();
    let machine = lab.boot_in(dir.path(), name, include_str!("guest/nvme.sh"), &args).finish();
    let moved = machine.results("moved");
    let moved: Vec<u64> = moved[0].split(' ').map(|count| count.parse().expect("a count")).collect();
    // The kernel may put commands together, and cut them: what they are about stays the same. 4 MiB were read; 4 MiB were
    // written in small pieces, and 4 MiB in large ones.
    assert!(
        moved[0] * block_bytes >= 4 << 20 && moved[1] * block_bytes >= 8 << 20,
        "read, written, flushes: {moved:?}"
    );
    assert!(moved[2] > 0, "a target that stops flushes its disks: {moved:?}");
    let changes: Vec<u64> =
        machine.results("changes")[0].split(' ').map(|count| count.parse().expect("a count")).collect();
    let (before, after) = changes.split_at(3);
    let all_grew = before.iter().zip(after).all(|(before, after)| after > before);
    assert!(all_grew, "Dataset Management, Flush and Write Zeroes before and after: {changes:?}");
    assert_eq!(machine.results("forced"), ["1 1"], "writes with FUA, and those of them that a guest has sent");
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

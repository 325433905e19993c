//! The target inside a guest, on block devices of the guest's kernel: `scsi_debug`, `null_blk`, ublk and the device mapper, in
//! blocks of 512 and 4096 bytes. The suite of the backends runs on each of them, too.

mod common;
mod guest;

use std::path::Path;

use common::directory;
use guest::programs::{LIBRARY, integration_test, load_generator, provide, ublk};
use guest::{Lab, Machine};

const DEVICES: [&str; 4] = ["ublk", "scsi_debug", "null_blk", "dm-linear"];

/// What the job reported of each device under a key, in the order of [`DEVICES`].
fn of_each(guest: &Machine, key: &str) -> Vec<String> {
    let results = guest.results(key);
    let of = |name: &&str| {
        let said = results.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        said.unwrap_or_else(|| panic!("no {key} of {name}: {results:?}")).to_owned()
    };
    DEVICES.iter().map(of).collect()
}

fn counts(guest: &Machine, key: &str) -> Vec<u64> {
    of_each(guest, key).iter().map(|count| count.parse().expect("a count")).collect()
}

fn serve_devices(name: &'static str, block: &str) {
    let lab = Lab::enter();
    let dir = directory();
    let suite = integration_test(&["-p", "annulus-bdev", "--test", "block"], "tests/block.rs");
    let inside = integration_test(&["--test", "inside"], "tests/inside.rs");
    let files = [
        provide(dir.path(), Path::new(env!("CARGO_BIN_EXE_annulus")), "annulus"),
        provide(dir.path(), &load_generator(), "annulus-bench"),
        provide(dir.path(), &suite, "suite"),
        provide(dir.path(), &inside, "inside"),
        provide(dir.path(), &ublk(), "ublk"),
    ];
    let block_size = format!("BLOCK={block}");
    let files = files.iter().flat_map(|file| ["--file", file.as_str()]);
    let machine = ["--file", LIBRARY, "--env", "DISK=none", "--env", &block_size, "--memory", "1G", "--cpus", "2"];
    let args: Vec<&str> = files.chain(machine).collect();
    let guest = lab.boot_in(dir.path(), name, include_str!("guest/block.sh"), &args).finish();

    assert_eq!(of_each(&guest, "suite"), ["1", "1", "5", "1"]);
    // One for each awkward range, and some at random.
    assert!(counts(&guest, "discards").iter().all(|count| *count > 20), "{:?}", guest.results("discards"));
    assert!(counts(&guest, "flushes").iter().all(|count| *count > 50), "{:?}", guest.results("flushes"));
    // UNMAP and SYNCHRONIZE CACHE of a guest come to the device as what they are.
    for key in ["unmapped", "synchronized"] {
        assert!(counts(&guest, key).iter().all(|count| *count > 0), "{key}: {:?}", guest.results(key));
    }
    for (name, said) in DEVICES.iter().zip(of_each(&guest, "disk")) {
        assert!(said.contains(&format!(" of {block} bytes, block device")), "{name}: {said}");
        assert!(said.contains(", io_uring, direct") && said.contains(", unmap"), "{name}: {said}");
    }
    assert!(counts(&guest, "writes").iter().all(|count| *count >= 64), "{:?}", guest.results("writes"));
    assert_eq!(of_each(&guest, "holds"), ["1"; 4]);
    for said in of_each(&guest, "twice").into_iter().chain(guest.results("claimed")) {
        assert!(said.contains("is in use"), "{said}");
    }
    assert_eq!(guest.results("claimed").len(), 1);
    let pulled = guest.results("pulled");
    let worked = |said: &String| {
        said.split(' ').next().and_then(|count| count.parse().ok()).is_some_and(|count: u64| count > 1000)
    };
    assert!(pulled.len() == 2 && pulled.iter().all(worked), "two disks were taken away while they worked: {pulled:?}");
    let maps = guest.results("map");
    let written = (4 << 20) / block.parse::<u64>().expect("a number") - 1;
    let first: Option<u64> = maps[0].split(',').next().and_then(|range| range.strip_prefix("0-")?.parse().ok());
    assert!(first.is_some_and(|last| last >= written) && maps[1].is_empty(), "{maps:?}");
    assert!(guest.results("zoned")[0].contains("is a zoned device"), "{:?}", guest.results("zoned"));
    let forbidden = guest.results("forbidden");
    assert!(forbidden[0].contains(", threads, direct"), "{forbidden:?}");
    assert_eq!(guest.results("warning"), ["1"]);
}

#[test]
fn block_devices_of_every_kind_are_served() {
    serve_devices("block", "512");
}

#[test]
fn block_devices_with_large_blocks_are_served() {
    serve_devices("block-4k", "4096");
}

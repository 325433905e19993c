//! Inside a guest with QEMU's NVMe devices: they are taken away while the real binary serves them under load.

mod common;
mod guest;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::directory;
use common::io::pattern;
use guest::Lab;
use guest::programs::{integration_test, provide};

const DISK_BYTES: u64 = 64 << 20;
/// As `tests/inside.rs` has them.
const CHUNK: usize = 4096;
const OLD_CHUNKS: u64 = 64;

/// Namespace `nsid` of the controller `serial`.
fn file_of(serial: &str, nsid: usize) -> String {
    format!("{serial}{nsid}.raw")
}

#[test]
fn nvme_disks_are_pulled_under_load() {
    let lab = Lab::enter();
    let dir = directory();
    let inside = integration_test(&["--test", "inside"], "tests/inside.rs");
    let mut args = vec!["--env".to_owned(), "DISK=/dev/nvme0n1".to_owned()];
    args.extend(["--memory", "1G", "--cpus", "2"].map(str::to_owned));
    for (program, name) in [(Path::new(env!("CARGO_BIN_EXE_annulus")), "annulus"), (&inside, "inside")] {
        args.extend(["--file".to_owned(), provide(dir.path(), program, name)]);
    }
    args.push("--".to_owned());
    for serial in ["ORDER", "TORN"] {
        args.extend(["-device".to_owned(), format!("nvme,id={serial},serial={serial}")]);
        for nsid in [1, 2] {
            let file = file_of(serial, nsid);
            File::create(dir.path().join(&file)).and_then(|file| file.set_len(DISK_BYTES)).expect("a namespace's file");
            let drive = format!("file={file},if=none,id={serial}{nsid},format=raw");
            args.extend(["-drive".to_owned(), drive, "-device".to_owned()]);
            args.push(format!("nvme-ns,bus={serial},nsid={nsid},drive={serial}{nsid}"));
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let machine = lab.boot_in(dir.path(), "removal", include_str!("guest/nvme_removal.sh"), &args).finish();

    // What was GOOD is on the disk.
    let written = machine.results("written");
    assert_eq!(written.len(), 4, "two disks of two controllers");
    let files = [("ORDER", 1), ("ORDER", 2), ("TORN", 1), ("TORN", 2)];
    for (index, ((serial, nsid), count)) in files.into_iter().zip(written).enumerate() {
        let count: u64 = count.parse().expect("a count");
        assert!(count > 0, "{serial} {nsid}: no write ended well before it was pulled");
        let file = File::open(dir.path().join(file_of(serial, nsid))).expect("a namespace's file");
        for chunk in 0..OLD_CHUNKS + count {
            let mut bytes = vec![0; CHUNK];
            file.read_exact_at(&mut bytes, chunk * CHUNK as u64).expect("read the namespace's file");
            let disk = index as u64 % 2;
            assert!(bytes == pattern(chunk << 8 | disk, CHUNK), "{serial} {nsid}: chunk {chunk} is not on the disk");
        }
    }
}

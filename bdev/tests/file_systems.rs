//! The suite on each file system that a Linux host is likely to have.

mod support;

use bdev::{Bdev, Direct, Engine, FileBdev, FileOptions};
use support::fs::LoopFs;
use support::place::Place;
use support::promises::{SIZE, keeps_its_promises};

/// Large enough for the smallest xfs and btrfs.
const FS_SIZE: u64 = 512 << 20;

fn suite_on(kind: &str) {
    let Some(fs) = LoopFs::new(kind, FS_SIZE) else { return };
    for (block_size, direct, engine, is_sparse) in [
        (512, Direct::Auto, Engine::Uring, true),
        (512, Direct::Auto, Engine::Uring, false),
        (4096, Direct::Off, Engine::Uring, true),
        (512, Direct::Auto, Engine::Threads, true),
    ] {
        let place = Place::within(fs.path(), SIZE);
        if !is_sparse {
            place.preallocate();
        }
        let options = FileOptions { block_size: Some(block_size), direct, engine, ..FileOptions::default() };
        let bdev = FileBdev::open(&place.path, options).unwrap();
        let info = bdev.info();
        println!("{}", info.description);
        assert!(info.thin == is_sparse && info.discard.is_some_and(|discard| discard.zeroes), "{kind}: {info:?}");
        assert!(info.write_zeroes_max >= SIZE);
        assert_eq!(info.anchor, kind != "btrfs", "which copies on write");
        keeps_its_promises(&bdev);
    }
}

#[test]
fn ext4() {
    suite_on("ext4");
}

#[test]
fn xfs() {
    suite_on("xfs");
}

#[test]
fn btrfs() {
    suite_on("btrfs");
}

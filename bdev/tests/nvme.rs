//! The suite on NVMe namespaces. It overwrites them: only on those that `ANNULUS_TEST_NVME` names, paths with commas between
//! them, each of the size that the suite wants and full of zeroes. All write atomically, and so do the block devices that
//! `ANNULUS_TEST_ATOMIC` names, of that size, too. Every second one is tested with registered memory. Those that
//! `ANNULUS_TEST_WRAPPED` names hold several times that size, for one wrapper beside the other.
//! `tests/guest_nvme_passthrough.rs` has such.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bdev::{
    Bdev, DelayBdev, Delays, Engine, ErrorBdev, Errors, FileBdev, FileOptions, IoError, NvmeBdev, NvmeOptions,
    SplitBdev,
};
use support::arena::with_registered_memory;
use support::atomic::writes_whole_or_not_at_all;
use support::promises::{SIZE, keeps_its_promises, read_all_as, whole};
use support::rig::Rig;

/// The paths that a variable holds.
fn paths(variable: &str) -> Vec<String> {
    let paths = std::env::var(variable).unwrap_or_default();
    paths.split(',').filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

#[test]
fn namespaces() {
    for (path, registered) in paths("ANNULUS_TEST_NVME").iter().zip([false, true].into_iter().cycle()) {
        let bdev = NvmeBdev::open(Path::new(path), NvmeOptions::default()).unwrap();
        let info = bdev.info();
        println!("{}", info.description);
        assert!(info.discard.is_some() && info.write_zeroes_max > 0 && info.atomic.is_some(), "{info:?}");
        // VERIFY is tested by whether it is announced: QEMU's controller does not.
        assert!(info.compare, "{info:?}");
        if registered {
            let fixed = with_registered_memory(|| keeps_its_promises(&bdev));
            println!("{fixed} commands used registered memory");
            // Of the 10,000 operations at random every second one has its memory in one piece, or nearly. Which they are depends
            // on what ends when, so that this is well below what it must be.
            assert!(fixed > 2_000, "{fixed} commands used it");
        } else {
            keeps_its_promises(&bdev);
        }
    }
}

/// A part each, so that each wrapper finds zeroes: alone, and around the part.
#[test]
fn wrapped_namespaces() {
    for path in paths("ANNULUS_TEST_WRAPPED") {
        let inner: Arc<dyn Bdev> = Arc::new(NvmeBdev::open(Path::new(&path), NvmeOptions::default()).unwrap());
        let part = |index: u64| SplitBdev::new(inner.clone(), index * SIZE, SIZE).unwrap();
        let never = Errors { rate: 0.0, ..Errors::all(IoError::Medium) };
        let wrapped: [Box<dyn Bdev>; 3] = [
            Box::new(part(1)),
            Box::new(ErrorBdev::new(Arc::new(part(2)), never)),
            Box::new(DelayBdev::new(Arc::new(part(3)), Delays::all(Duration::from_millis(1)))),
        ];
        for bdev in wrapped {
            println!("wrapped: {}", bdev.info().description);
            keeps_its_promises(bdev.as_ref());
        }
    }
}

#[test]
fn atomic_block_devices() {
    for path in paths("ANNULUS_TEST_ATOMIC") {
        for engine in [Engine::Uring, Engine::Threads] {
            let bdev = FileBdev::open(Path::new(&path), FileOptions { engine, ..FileOptions::default() }).unwrap();
            println!("{}", bdev.info().description);
            assert!(bdev.info().atomic.is_some_and(|atomic| atomic.natural), "{:?}", bdev.info());
            let mut rig = Rig::new(&bdev);
            let mut model = rig.read(0, &whole(SIZE as usize)).unwrap();
            writes_whole_or_not_at_all(&bdev, &mut rig, Some(&mut model));
            read_all_as(&mut rig, &model);
            rig.close();
        }
    }
}

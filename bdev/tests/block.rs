//! The suite on block devices. It overwrites them: only on those that `ANNULUS_TEST_BLOCK` names, paths with commas between
//! them, each at least of the size that the suite wants and at most of what one operation takes. With `ANNULUS_TEST_WAYS=all`
//! threads serve them as well, parts of them are tested, and the other wrappers around them. `tests/guest_block.rs` has such devices.

mod support;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bdev::{Bdev, DelayBdev, Delays, Engine, ErrorBdev, Errors, FileBdev, FileOptions, IoError, SplitBdev};
use support::promises::{SIZE, keeps_its_promises};

#[test]
fn devices() {
    let paths = std::env::var("ANNULUS_TEST_BLOCK").unwrap_or_default();
    let in_all_ways = std::env::var("ANNULUS_TEST_WAYS").is_ok_and(|ways| ways == "all");
    for path in paths.split(',').filter(|path| !path.is_empty()).map(Path::new) {
        check(open_cleared(path, Engine::Uring));
        if in_all_ways {
            check(open_cleared(path, Engine::Threads));
            let whole = open_cleared(path, Engine::Uring);
            let block = u64::from(whole.info().block_size);
            check(SplitBdev::new(Arc::new(whole), block, SIZE).unwrap());
            let whole = || Arc::new(open_cleared(path, Engine::Uring));
            check(DelayBdev::new(whole(), Delays::all(Duration::from_millis(1))));
            check(ErrorBdev::new(whole(), Errors { rate: 0.0, ..Errors::all(IoError::Medium) }));
        }
    }
}

fn check(bdev: impl Bdev) {
    let info = bdev.info();
    println!("suite on {} of {} bytes, {:?}", info.description, info.block_size, info.discard);
    assert!(info.description.contains(" direct") && info.write_zeroes_max > 0, "{info:?}");
    keeps_its_promises(&bdev);
}

/// The device, full of zeroes.
fn open_cleared(path: &Path, engine: Engine) -> FileBdev {
    let open = |engine| FileBdev::open(path, FileOptions { engine, ..FileOptions::default() }).unwrap();
    let size = open(engine).info().size();
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all(&vec![0; size as usize]).unwrap();
    file.sync_all().unwrap();
    drop(file);
    open(engine)
}

//! The suite on NVMe namespaces. It overwrites them: only on those that `ANNULUS_TEST_NVME` names, paths with commas between
//! them, each of the size that the suite wants and full of zeroes. `tests/guest_nvme_passthrough.rs` has such.

mod support;

use std::path::Path;

use bdev::{Bdev, NvmeBdev, NvmeOptions};
use support::promises::keeps_its_promises;

#[test]
fn namespaces() {
    let paths = std::env::var("ANNULUS_TEST_NVME").unwrap_or_default();
    for path in paths.split(',').filter(|path| !path.is_empty()) {
        let bdev = NvmeBdev::open(Path::new(path), NvmeOptions::default()).unwrap();
        let info = bdev.info();
        println!("{}", info.description);
        assert!(info.discard.is_some() && info.write_zeroes_max > 0, "{info:?}");
        keeps_its_promises(&bdev);
    }
}

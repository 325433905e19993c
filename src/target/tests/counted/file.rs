//! A file behind io_uring for what is counted and traced. It is in the page cache, so that the kernel answers reads in the call
//! that brings them, and no other thread and no interrupt has a part in it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bdev::{Bdev, Direct, FileBdev, FileOptions, Registrar};

use crate::target::tests::guest::Guest;

/// Longest time until memory is registered.
const REGISTERED_WITHIN: Duration = Duration::from_secs(20);

/// A disk of so many bytes. `None` where io_uring is forbidden.
pub(super) fn disk(len: u64) -> Option<Arc<dyn Bdev>> {
    // Beside this program: file systems for temporary files may be of a kind that hands reads to threads.
    let program = std::env::current_exe().expect("this program");
    let image = tempfile::NamedTempFile::new_in(program.parent().expect("its directory")).expect("a file");
    std::fs::write(image.path(), vec![0; len as usize]).expect("room");
    let disk = FileBdev::open(image.path(), FileOptions { direct: Direct::Off, ..FileOptions::default() });
    let disk = disk.expect("a file can be a disk");
    disk.needs_ring().then(|| Arc::new(disk) as Arc<dyn Bdev>)
}

/// What registers memory.
pub(super) fn registrar() -> Registrar {
    Registrar::new(None).expect("memory can be registered")
}

/// Has all memory of the guest registered. Cores use it from their next pass on.
pub(super) fn register(guest: &mut Guest, registrar: &Registrar) {
    let map = guest.show(true, true);
    let wanted = registrar.registered_bytes() + map.regions().iter().map(|region| region.len).sum::<u64>();
    map.register(registrar);
    let deadline = Instant::now() + REGISTERED_WITHIN;
    while registrar.registered_bytes() < wanted {
        assert!(Instant::now() < deadline, "memory is not registered: the limit of locked memory may be too low");
        std::thread::sleep(Duration::from_millis(1));
    }
}

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;
use crate::channel::Bdev;

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap())
    }

    fn file(&self, size: u64) -> PathBuf {
        let path = self.0.path().join("disk.img");
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }
}

fn refusal(path: &Path, options: FileOptions) -> OpenError {
    open(path, options).map(|bdev| bdev.info().description.clone()).unwrap_err()
}

fn read_only() -> FileOptions {
    FileOptions { read_only: true, ..FileOptions::default() }
}

#[test]
fn what_is_no_disk_is_said_so() {
    let dir = Dir::new();
    let missing = dir.0.path().join("missing.img");
    let error = refusal(&missing, FileOptions::default());
    assert!(matches!(error, OpenError::NotFound { .. }));
    assert!(error.to_string().starts_with(&format!("{}: no such file. ", missing.display())), "{error}");
    let below_a_file = dir.file(512).join("x");
    assert!(matches!(refusal(&below_a_file, FileOptions::default()), OpenError::NotFound { .. }));
    assert!(matches!(refusal(dir.0.path(), FileOptions::default()), OpenError::Directory { .. }));
    let error = refusal(Path::new("/dev/null"), FileOptions::default());
    assert!(matches!(error, OpenError::Kind { kind: "character device", .. }), "{error}");
    let socket = dir.0.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    assert!(matches!(refusal(&socket, FileOptions::default()), OpenError::Kind { kind: "socket", .. }));
}

#[test]
fn a_pipe_is_refused_without_waiting_for_its_other_end() {
    let dir = Dir::new();
    let pipe = dir.0.path().join("pipe");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(refusal(&pipe, FileOptions::default()), OpenError::Kind { kind: "pipe", .. }));
}

#[test]
fn a_size_that_makes_no_blocks_is_said_so() {
    let dir = Dir::new();
    assert!(matches!(refusal(&dir.file(0), FileOptions::default()), OpenError::Empty { .. }));
    assert!(matches!(refusal(&dir.file(1000), FileOptions::default()), OpenError::Size { size: 1000, .. }));
    let large_blocks = FileOptions { block_size: Some(4096), ..FileOptions::default() };
    assert!(matches!(refusal(&dir.file(512 * 9), large_blocks), OpenError::Size { block_size: 4096, .. }));
    let odd_blocks = FileOptions { block_size: Some(520), ..FileOptions::default() };
    assert!(matches!(refusal(&dir.file(5200), odd_blocks), OpenError::BlockSize { block_size: 520, .. }));
}

#[test]
fn a_file_that_nobody_may_write_is_served_as_read_only_or_not_at_all() {
    let dir = Dir::new();
    let path = dir.file(4096);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
    let error = refusal(&path, FileOptions::default());
    assert!(matches!(error, OpenError::ReadOnly { .. }));
    assert!(error.to_string().contains("Add `ro`"), "{error}");
    let bdev = open(&path, read_only()).unwrap();
    assert!(bdev.info().read_only && !bdev.info().description.contains("unmap"));
}

#[test]
fn a_file_is_served_once_or_by_several_as_read_only() {
    let dir = Dir::new();
    let path = dir.file(4096);
    let writer = open(&path, FileOptions::default()).unwrap();
    assert!(matches!(refusal(&path, FileOptions::default()), OpenError::Locked { .. }));
    assert!(matches!(refusal(&path, read_only()), OpenError::Locked { .. }));
    drop(writer);
    let _readers = [open(&path, read_only()).unwrap(), open(&path, read_only()).unwrap()];
    assert!(matches!(refusal(&path, FileOptions::default()), OpenError::Locked { .. }));
}

#[test]
fn tells_geometry_and_how_it_serves() {
    let dir = Dir::new();
    let path = dir.file(1 << 20);
    let buffered = FileOptions { direct: Direct::Off, ..FileOptions::default() };
    let bdev = open(&path, buffered).unwrap();
    let info = bdev.info();
    assert_eq!((info.block_size, info.blocks, info.physical_exponent), (512, 2048, 3));
    assert_eq!((info.thin, info.write_cache), (true, WriteCache::WriteBack));
    let said = format!("file {}, io_uring, buffered: as asked for, unmap, write zeroes", path.display());
    assert!(info.description.starts_with(&said), "{}", info.description);
    assert!(!bdev.is_direct());
    drop(bdev);
    std::fs::write(&path, vec![1; 8192]).unwrap();
    let bdev = open(&path, FileOptions { block_size: Some(4096), ..buffered }).unwrap();
    assert_eq!((bdev.info().blocks, bdev.info().physical_exponent, bdev.info().thin), (2, 0, false));
}

#[test]
fn direct_that_cannot_be_had_is_an_error_if_demanded_and_buffered_if_not() {
    let path = PathBuf::from("/dev/shm").join(format!("annulus-open-{}", std::process::id()));
    File::create(&path).unwrap().set_len(4096).unwrap();
    let demanded = open(&path, FileOptions { direct: Direct::On, ..FileOptions::default() });
    let automatic = open(&path, FileOptions::default());
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(demanded, Err(OpenError::NoDirect { .. })), "tmpfs states no alignment");
    let automatic = automatic.unwrap();
    assert!(!automatic.is_direct());
    assert!(automatic.info().description.contains("buffered: the file system does not offer it"));
}

#[test]
fn polling_is_refused_where_it_cannot_be_had() {
    let dir = Dir::new();
    let path = dir.file(1 << 20);
    let error = refusal(&path, FileOptions { iopoll: Iopoll::On, ..FileOptions::default() });
    assert!(matches!(error, OpenError::NoPoll { .. }));
    assert!(
        error.to_string().contains("no polling for results: it is no block device. Ask for `iopoll=auto`"),
        "{error}"
    );
    let bdev = open(&path, FileOptions::default()).unwrap();
    assert!(!bdev.polled && !bdev.info().description.contains(", no iopoll"));
}

#[test]
fn a_device_that_takes_no_writes_or_takes_them_in_order_is_refused() {
    let plain = Queue::of(0, 0);
    let said =
        |queue: &Queue, read_only| check(Path::new("/dev/x"), queue, read_only).map_err(|error| error.to_string());
    assert_eq!(said(&plain, false), Ok(()));
    let protected = Queue { read_only: true, ..plain.clone() };
    assert!(said(&protected, false).unwrap_err().contains("write-protected"));
    assert_eq!(said(&protected, true), Ok(()));
    let zoned = Queue { is_zoned: true, ..plain };
    for read_only in [false, true] {
        let why = said(&zoned, read_only).unwrap_err();
        assert!(why.contains("zoned device") && why.contains("dm-zoned"), "{why}");
    }
}

#[test]
fn a_device_with_poll_queues_is_polled_for_where_that_is_possible() {
    let with = Queue { can_poll: true, ..Queue::of(0, 0) };
    let without = Queue { can_poll: false, ..with.clone() };
    assert_eq!(choose_polling(Some(&with), Engine::Uring, true), Ok(()));
    assert_eq!(choose_polling(Some(&with), Engine::Threads, true), Err("threads do not poll"));
    assert_eq!(choose_polling(Some(&with), Engine::Uring, false), Err("only direct I/O can be polled for"));
    assert_eq!(choose_polling(Some(&without), Engine::Uring, true), Err("the device has no poll queues"));
    assert!(choose_polling(None, Engine::Uring, true).is_err());
}

#[test]
fn whether_a_file_system_makes_ranges_zero_is_tried_and_told_and_changes_nothing() {
    for place in [env!("CARGO_MANIFEST_DIR"), "/dev/shm"] {
        let dir = tempfile::tempdir_in(place).unwrap();
        let path = dir.path().join("disk.img");
        std::fs::write(&path, [7; 8192]).unwrap();
        let before = path.metadata().unwrap();
        let bdev = open(&path, FileOptions::default()).unwrap();
        let after = path.metadata().unwrap();
        assert_eq!((after.len(), after.blocks()), (before.len(), before.blocks()), "{place}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{place}");
        let can = rustix::fs::fallocate(&*bdev.file, FallocateFlags::ZERO_RANGE, 0, 4096).is_ok();
        let said = &bdev.info().description;
        assert_eq!(said.contains(", write zeroes as holes"), !can, "{said}");
        assert!(said.contains(", unmap, write zeroes"), "{said}");
    }
}

#[test]
fn where_nothing_can_be_tried_nothing_is_known_of_ranges_of_zeroes() {
    let dir = Dir::new();
    let path = dir.file(4096);
    let file = File::open(&path).unwrap();
    assert!(has_zero_range(&file, &path).is_some());
    assert_eq!(has_zero_range(&file, Path::new("/nowhere/disk.img")), None, "no folder");
    assert_eq!(has_zero_range(&file, Path::new("/proc/version")), None, "a folder without room for files");
    let status = File::open("/proc/version").unwrap();
    assert_eq!(has_zero_range(&status, &path), None, "another file system");
}

use rustix::fs::{MemfdFlags, Mode, OFlags, fstat, ftruncate, memfd_create, open};
use rustix::io::{Errno, pread, pwrite};

use super::super::memory_files::{memfd, pages, segment};
use super::super::{Access, RegionCache, TranslateError};
use super::*;

const P: u64 = PAGE_LEN;

fn table() -> Table {
    Table::default()
}

/// The entry of our own address space that shows the memfd called `name`, from smaps.
fn smaps(name: &str) -> Option<String> {
    let all = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let from = all.find(&format!("/memfd:{name} "))?;
    let end = from + all[from..].find("VmFlags:")?;
    let line = end + all[end..].find('\n')?;
    Some(all[from..line].into())
}

#[test]
fn impossible_ranges_are_refused() {
    let mut table = table();
    let good = pages(1, 1, 0);
    let unaligned = MapError::Unaligned { page_len: P };
    let cases = [
        (MapRequest { len: 0, ..good }, MapError::Empty),
        (MapRequest { gpa: Gpa(P + 1), ..good }, unaligned),
        (MapRequest { len: P + 512, ..good }, unaligned),
        (MapRequest { offset: 2048, ..good }, unaligned),
        (MapRequest { gpa: Gpa(0_u64.wrapping_sub(P)), len: 2 * P, ..good }, MapError::Wraps),
        (MapRequest { gpa: Gpa(0_u64.wrapping_sub(P)), ..good }, MapError::Wraps),
        (MapRequest { gpa: Gpa(P), len: 0_u64.wrapping_sub(P), ..good }, MapError::Wraps),
        (MapRequest { readable: false, writable: false, ..good }, MapError::NoAccess),
    ];
    for (request, error) in cases {
        assert_eq!(table.map(&request, Some(memfd("ranges", 4))), Err(error), "{request:?}");
        assert_eq!(error.errno(), Errno::INVAL);
    }
    assert!(table.snapshot().regions().is_empty());
}

#[test]
fn regions_may_touch_but_not_overlap() {
    let mut table = table();
    table.map(&pages(4, 4, 0), Some(memfd("a", 4))).unwrap();
    for (first, count) in [(3, 2), (7, 2), (5, 1), (2, 8), (4, 3), (4, 5), (5, 3)] {
        let result = table.map(&pages(first, count, 0), Some(memfd("b", 8)));
        assert_eq!(result, Err(MapError::Overlap(Gpa(4 * P))), "{first} {count}");
        assert_eq!(result.unwrap_err().errno(), Errno::EXIST);
    }
    table.map(&pages(2, 2, 0), Some(memfd("c", 2))).unwrap();
    table.map(&pages(8, 2, 0), None).unwrap();
    assert_eq!(table.map(&pages(3, 6, 0), None).unwrap_err().errno(), Errno::EXIST);
    assert_eq!(table.snapshot().regions().len(), 3);
}

#[test]
fn the_very_same_region_again_is_no_error() {
    let mut table = table();
    let (file, other) = (memfd("same", 4), memfd("other", 4));
    let request = pages(1, 2, 1);
    table.map(&request, Some(file.try_clone().unwrap())).unwrap();
    let before = table.snapshot();
    assert_eq!(table.map(&request, Some(file.try_clone().unwrap())), Ok(()));
    assert!(Arc::ptr_eq(&before, &table.snapshot()));
    let overlap = Err(MapError::Overlap(request.gpa));
    assert_eq!(table.map(&request, Some(other)), overlap);
    assert_eq!(table.map(&request, None), overlap);
    assert_eq!(table.map(&MapRequest { offset: 0, ..request }, Some(file.try_clone().unwrap())), overlap);
    assert_eq!(table.map(&MapRequest { writable: false, ..request }, Some(file)), overlap);
}

#[test]
fn a_region_lies_within_its_file() {
    let mut table = table();
    let file = memfd("short", 4);
    for (count, offset) in [(5, 0), (1, 4), (4, 1), (1, (1 << 52) - 1), (1, 1 << 51)] {
        let result = table.map(&pages(1, count, offset), Some(file.try_clone().unwrap()));
        let error = MapError::BeyondFile { offset: offset * P, len: count * P, file_len: 4 * P };
        assert_eq!(result, Err(error));
        assert_eq!(error.errno(), Errno::INVAL);
    }
    ftruncate(&file, 4 * P - 1).unwrap();
    assert!(table.map(&pages(1, 4, 0), Some(file.try_clone().unwrap())).is_err());
    assert_eq!(table.map(&pages(1, 3, 0), Some(file)), Ok(()));
}

#[test]
fn only_memory_files_are_memory() {
    let mut table = table();
    let (pipe, _other_end) = std::io::pipe().unwrap();
    let zero = open("/dev/zero", OFlags::RDWR, Mode::empty()).unwrap();
    let folder = open("/", OFlags::RDONLY, Mode::empty()).unwrap();
    let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).unwrap();
    let status = open("/proc/self/status", OFlags::RDONLY, Mode::empty()).unwrap();
    for fd in [pipe.into(), zero, folder, eventfd, status, file_on_disk()] {
        let request = MapRequest { writable: false, ..pages(1, 1, 0) };
        let error = table.map(&request, Some(fd)).unwrap_err();
        assert_eq!((error, error.errno()), (MapError::NotMemoryFile, Errno::INVAL));
    }
    let shm = tempfile::tempfile_in("/dev/shm").unwrap();
    shm.set_len(P).unwrap();
    table.map(&pages(1, 1, 0), Some(shm.into())).unwrap();
}

/// A page in a file where this project is built, which is a disk nearly everywhere.
fn file_on_disk() -> OwnedFd {
    let file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    file.set_len(P).unwrap();
    file.into()
}

#[test]
fn a_file_is_mapped_only_for_what_it_is_open_for() {
    let mut table = table();
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    file.as_file().set_len(P).unwrap();
    let opened = |flags| Some(open(file.path(), flags, Mode::empty()).unwrap());
    let (both, read) = (pages(1, 1, 0), MapRequest { writable: false, ..pages(1, 1, 0) });
    assert_eq!(table.map(&both, opened(OFlags::RDONLY)), Err(MapError::FileAccess));
    assert_eq!(table.map(&both, opened(OFlags::WRONLY)), Err(MapError::FileAccess));
    assert_eq!(table.map(&read, opened(OFlags::WRONLY)), Err(MapError::FileAccess));
    assert_eq!(table.map(&read, opened(OFlags::PATH)), Err(MapError::FileAccess));
    assert_eq!(MapError::FileAccess.errno(), Errno::ACCESS);
    assert_eq!(table.map(&read, opened(OFlags::RDONLY)), Ok(()));
}

#[test]
fn the_device_cannot_write_what_is_mapped_for_reading() {
    let mut table = table();
    table.map(&MapRequest { writable: false, ..pages(1, 1, 0) }, Some(memfd("rom", 1))).unwrap();
    let map = table.snapshot();
    let denied = map.translate(&mut RegionCache::default(), (Gpa(P), 8), Access::Write, |_, _| Ok(()));
    assert_eq!(denied, Err(TranslateError::Denied(Gpa(P))));
    assert!(map.contiguous(Gpa(P), 8, Access::Read).is_ok());
    assert!(
        std::fs::read_to_string("/proc/self/maps")
            .unwrap()
            .lines()
            .any(|line| line.contains("r--s") && line.contains("memfd:rom "))
    );
}

#[test]
fn limits_hold_and_unmapping_makes_room() {
    let limits = Limits { regions_max: 3, shared_bytes_max: 4 * P, shadow_bytes_max: 2 * P };
    let mut table = Table::new(limits);
    assert_eq!(table.limits(), limits);
    assert_eq!(table.map(&pages(0, 3, 0), None), Err(MapError::TooManyBytes(2 * P)));
    table.map(&pages(0, 2, 0), None).unwrap();
    assert_eq!(table.map(&pages(2, 1, 0), None), Err(MapError::TooManyBytes(2 * P)));
    table.map(&pages(2, 3, 0), Some(memfd("limit", 3))).unwrap();
    assert_eq!(table.map(&pages(8, 2, 0), Some(memfd("limit", 3))), Err(MapError::TooManyBytes(4 * P)));
    table.map(&pages(8, 1, 0), Some(memfd("limit", 3))).unwrap();
    let error = table.map(&pages(9, 1, 0), None).unwrap_err();
    assert_eq!((error, error.errno()), (MapError::TooManyRegions(3), Errno::NOSPC));
    table.unmap(Gpa(0), 2 * P).unwrap();
    assert_eq!(table.map(&pages(0, 2, 0), None), Ok(()));
    table.unmap(Gpa(8 * P), P).unwrap();
    assert_eq!(table.map(&pages(8, 1, 0), Some(memfd("limit", 1))), Ok(()));
}

#[test]
fn unmapping_takes_the_region_that_is_named_exactly() {
    let mut table = table();
    for first in [2, 4, 8] {
        table.map(&pages(first, 2, 0), Some(memfd("unmap", 2))).unwrap();
    }
    for (gpa, len) in [
        (0, 2 * P),
        (2 * P, P),
        (3 * P, P),
        (2 * P, 4 * P),
        (0, 100 * P),
        (2 * P, 0),
        (2 * P + 1, 2 * P),
        (0, u64::MAX),
    ] {
        assert_eq!(table.unmap(Gpa(gpa), len), Err(MapError::NotMapped), "{len:#x} at {gpa:#x}");
    }
    assert_eq!(table.unmap(Gpa(8 * P), 2 * P), Ok(2 * P));
    assert_eq!(table.unmap(Gpa(8 * P), 2 * P), Err(MapError::NotMapped));
    assert_eq!(table.snapshot().regions().len(), 2);
    assert_eq!(MapError::NotMapped.errno(), Errno::NOENT);
}

#[test]
fn everything_can_be_unmapped_at_once() {
    let mut table = table();
    assert_eq!(table.unmap_all(), 0);
    table.map(&pages(1, 2, 0), Some(memfd("all", 2))).unwrap();
    assert_eq!(table.snapshot().regions().len(), 1);
    table.map(&pages(5, 1, 0), None).unwrap();
    assert_eq!(table.snapshot().regions().len(), 2);
    assert_eq!(table.unmap_all(), 3 * P);
    assert!(table.snapshot().regions().is_empty());
}

#[test]
fn memory_is_shared_with_the_file_at_its_offset() {
    let mut table = table();
    let file = memfd("shared", 4);
    table.map(&pages(16, 2, 1), Some(file.try_clone().unwrap())).unwrap();
    let map = table.snapshot();
    segment(&map, 17 * P + 5, 3).write(0, b"out");
    let mut bytes = [0; 3];
    pread(&file, &mut bytes, 2 * P + 5).unwrap();
    assert_eq!(&bytes, b"out");
    pwrite(&file, b"in", P).unwrap();
    let mut bytes = [0; 2];
    segment(&map, 16 * P, 2).read(0, &mut bytes);
    assert_eq!(&bytes, b"in");
    assert!(map.regions()[0].mapping.is_shared());
}

#[test]
fn memory_without_a_file_is_a_shadow_of_zeroes() {
    let mut table = table();
    table.map(&MapRequest { writable: false, ..pages(1, 1 << 20, 0) }, None).unwrap();
    let map = table.snapshot();
    assert!(!map.regions()[0].mapping.is_shared());
    assert!(matches!(map.contiguous(Gpa(P), 8, Access::Read), Err(TranslateError::NotShared(_))));
    let mut bytes = [1; 4];
    map.translate(&mut RegionCache::default(), (Gpa(P), 4), Access::Read, |piece, remote| {
        assert!(remote);
        piece.read(0, &mut bytes);
        Ok(())
    })
    .unwrap();
    assert_eq!(bytes, [0; 4]);
}

#[test]
fn mapping_is_lazy_and_closes_the_file() {
    let mut table = table();
    let file = memfd("lazy-and-closed", 1 << 26);
    let opened = || {
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        links
            .filter_map(|link| std::fs::read_link(link.path()).ok())
            .filter(|to| to.to_string_lossy().contains("lazy-and-closed"))
            .count()
    };
    table.map(&pages(0, 1 << 26, 0), Some(file.try_clone().unwrap())).unwrap();
    assert_eq!(fstat(&file).unwrap().st_blocks, 0);
    assert_eq!(opened(), 1);
}

#[test]
fn guest_memory_is_in_no_core_dump_and_no_child() {
    let mut table = table();
    table.map(&pages(0, 1, 0), Some(memfd("advice", 1))).unwrap();
    let entry = smaps("advice").expect("it is mapped");
    let flags = entry.rsplit_once("VmFlags:").unwrap().1;
    for flag in ["rd", "wr", "sh", "dc", "dd"] {
        assert!(flags.split_whitespace().any(|word| word == flag), "{flag} of {flags}");
    }
}

#[test]
fn a_snapshot_keeps_memory_mapped_after_the_unmap() {
    let mut table = table();
    table.map(&pages(1, 1, 0), Some(memfd("kept-alive", 1))).unwrap();
    let before = table.snapshot();
    let bytes = segment(&before, P, 4);
    table.unmap(Gpa(P), P).unwrap();
    assert!(table.snapshot().regions().is_empty());
    bytes.write(0, &[1, 2, 3, 4]);
    assert!(smaps("kept-alive").is_some());
    drop(before);
    assert!(smaps("kept-alive").is_none());
}

#[test]
fn a_refused_request_changes_nothing() {
    let mut table = table();
    table.map(&pages(1, 1, 0), Some(memfd("still", 1))).unwrap();
    let before = table.snapshot();
    table.map(&pages(1, 2, 0), Some(memfd("still", 2))).unwrap_err();
    table.map(&pages(4, 2, 0), Some(memfd("still", 1))).unwrap_err();
    table.unmap(Gpa(8 * P), P).unwrap_err();
    assert!(Arc::ptr_eq(&before, &table.snapshot()));
    table.unmap(Gpa(P), P).unwrap();
    assert!(!Arc::ptr_eq(&before, &table.snapshot()));
}

#[test]
fn huge_pages_are_mapped_whole() {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
    // Kernels without huge pages have nothing to test here.
    let Ok(file) = memfd_create("huge", flags) else {
        return;
    };
    ftruncate(&file, 4 << 20).unwrap();
    let error = Err(MapError::Unaligned { page_len: 2 << 20 });
    assert_eq!(table().map(&pages(512, 1, 0), Some(file.try_clone().unwrap())), error);
    assert_eq!(table().map(&pages(512, 512, 1), Some(file.try_clone().unwrap())), error);
}

#[test]
fn memory_that_is_mapped_again_while_it_is_there_keeps_its_place() {
    let mut table = table();
    let file = memfd("again", 8);
    let twin = || Some(file.try_clone().unwrap());
    table.map(&pages(16, 8, 0), twin()).unwrap();
    let held = table.snapshot();
    let base = segment(&held, 16 * P, P).as_ptr();
    table.unmap(Gpa(16 * P), 8 * P).unwrap();
    // In two pieces, and the other way round.
    table.map(&pages(32, 3, 5), twin()).unwrap();
    table.map(&pages(16, 5, 0), twin()).unwrap();
    let after = table.snapshot();
    assert_eq!(segment(&after, 16 * P, 5 * P).as_ptr(), base);
    assert_eq!(segment(&after, 32 * P, 3 * P).as_ptr(), base.wrapping_add(5 * P as usize));
    drop(held);
    segment(&after, 34 * P, 4).write(0, b"here");
    let mut bytes = [0; 4];
    pread(&file, &mut bytes, 7 * P).unwrap();
    assert_eq!(&bytes, b"here");
}

#[test]
fn a_mapping_is_shared_only_with_what_it_is_of() {
    let mut table = table();
    let (file, other) = (memfd("one", 8), memfd("other", 8));
    table.map(&pages(16, 4, 2), Some(file.try_clone().unwrap())).unwrap();
    let held = table.snapshot();
    let place = segment(&held, 16 * P, P).as_ptr().addr();
    let within = place..place + 4 * P as usize;
    let read_only = MapRequest { writable: false, ..pages(64, 1, 2) };
    for (request, file, why) in [
        (pages(32, 1, 2), &other, "another file"),
        (pages(40, 1, 1), &file, "before it"),
        (pages(48, 3, 4), &file, "past its end"),
        (read_only, &file, "another access"),
    ] {
        table.map(&request, Some(file.try_clone().unwrap())).unwrap();
        let map = table.snapshot();
        let mut cache = RegionCache::default();
        let looked_at = map.translate(&mut cache, (request.gpa, 1), Access::Read, |segment, _| {
            assert!(!within.contains(&segment.as_ptr().addr()), "{why}");
            Ok(())
        });
        looked_at.unwrap();
    }
}

#[test]
fn memory_that_was_lost_is_mapped_anew() {
    let mut table = table();
    let file = memfd("lost and found", 2);
    table.map(&pages(16, 2, 0), Some(file.try_clone().unwrap())).unwrap();
    let held = table.snapshot();
    ftruncate(&file, 0).unwrap();
    segment(&held, 16 * P, 1).read(0, &mut [0]);
    assert_eq!(held.lost(), Some(Gpa(16 * P)));
    ftruncate(&file, 2 * P).unwrap();
    table.unmap(Gpa(16 * P), 2 * P).unwrap();
    table.map(&pages(16, 2, 0), Some(file)).unwrap();
    assert_eq!(table.snapshot().lost(), None);
}

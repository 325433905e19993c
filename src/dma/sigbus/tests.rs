use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};

use rustix::fs::ftruncate;
use rustix::mm::mmap;

use super::super::memory_files::{memfd, pages, segment};
use super::super::{Gpa, PAGE_LEN, Table};
use super::*;

const P: u64 = PAGE_LEN;

#[test]
fn a_file_that_shrinks_harms_only_its_own_guest() {
    let (mut victim, mut other) = (Table::default(), Table::default());
    let file = memfd("shrinks", 8);
    victim.map(&pages(1, 8, 0), Some(file.try_clone().unwrap())).unwrap();
    other.map(&pages(1, 8, 0), Some(memfd("stays", 8))).unwrap();
    let (map, other_map) = (victim.snapshot(), other.snapshot());
    let memory = segment(&map, P, 8 * P);
    memory.fill(0xa5);
    segment(&other_map, P, 8 * P).fill(0x5a);
    assert_eq!(map.lost(), None);

    ftruncate(&file, P).unwrap();
    let before = faults();
    let mut bytes = [1; 16];
    memory.read(3 * P as usize, &mut bytes);
    assert_eq!(bytes, [0; 16]);
    memory.write(7 * P as usize, b"nobody reads this");
    memory.fill(7);
    assert!(faults() > before);
    assert_eq!(map.lost(), Some(Gpa(P)));

    assert_eq!(other_map.lost(), None);
    segment(&other_map, P, 8 * P).read(5 * P as usize, &mut bytes);
    assert_eq!(bytes, [0x5a; 16]);
}

#[test]
fn a_range_that_ends_in_vanished_memory_is_survived_too() {
    let mut table = Table::default();
    let file = memfd("tail", 4);
    table.map(&pages(0, 4, 0), Some(file.try_clone().unwrap())).unwrap();
    let map = table.snapshot();
    ftruncate(&file, 2 * P).unwrap();
    let mut bytes = vec![1; 2 * P as usize];
    segment(&map, P, 2 * P).read(0, &mut bytes);
    assert!(bytes.iter().all(|&byte| byte == 0));
    assert_eq!(map.lost(), Some(Gpa(0)));
}

#[test]
fn threads_that_meet_the_same_fault_survive() {
    for _ in 0..50 {
        let mut table = Table::default();
        let file = memfd("together", 4);
        table.map(&pages(0, 4, 0), Some(file.try_clone().unwrap())).unwrap();
        let map = table.snapshot();
        let touch = || (0..4).for_each(|page| segment(&map, page * P, 64).fill(page as u8));
        std::thread::scope(|scope| {
            scope.spawn(touch);
            scope.spawn(touch);
            ftruncate(&file, 0).unwrap();
        });
    }
}

#[test]
fn a_new_mapping_does_not_inherit_the_loss() {
    let base = NonNull::<u8>::dangling();
    let watch = Watch::new(base, 1, true).unwrap();
    SLOTS[watch.0].faults.store(1, Ordering::Relaxed);
    assert!(watch.is_lost());
    drop(watch);
    // Other tests take and free slots meanwhile, so look at several.
    let watches: Vec<_> = (0..64).map(|_| Watch::new(base, 1, true).unwrap()).collect();
    assert!(watches.iter().all(|watch| !watch.is_lost()));
}

#[test]
fn a_slot_is_read_whole_or_not_at_all() {
    let watch = Watch::new(NonNull::<u8>::dangling(), 7, false).unwrap();
    let index = watch.0;
    assert_eq!(SLOTS[index].read(), Some((1, 7, false)));
    SLOTS[index].start.store(0, Ordering::Relaxed);
    assert_eq!(SLOTS[index].read(), None);
    assert!(index < SLOTS_USED.load(Ordering::Relaxed));
}

/// Runs the test `name` again, as a process of its own in which `ANNULUS_TEST_FAULT` is set.
fn alone(name: &str) -> Option<ExitStatus> {
    if std::env::var_os("ANNULUS_TEST_FAULT").is_some() {
        return None;
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", &format!("dma::sigbus::tests::{name}")]).env("ANNULUS_TEST_FAULT", "1");
    Some(child.output().unwrap().status)
}

/// Touches memory that is no guest's and has no page.
fn fault_elsewhere() {
    let (file, len) = (memfd("not-a-guest", 1), P as usize);
    // SAFETY: a new mapping, which this process keeps to its end. The read ends the process.
    unsafe {
        let base = mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, &file, 0).unwrap();
        ftruncate(&file, 0).unwrap();
        base.cast::<u8>().read_volatile();
    }
}

fn no_core_dump() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(rustix::process::Resource::Core, none).unwrap();
}

#[test]
fn a_fault_elsewhere_still_kills() {
    if let Some(status) = alone("a_fault_elsewhere_still_kills") {
        assert_eq!(status.signal(), Some(libc::SIGBUS));
        return;
    }
    no_core_dump();
    let _table = Table::default();
    fault_elsewhere();
}

#[test]
fn a_signal_that_somebody_sends_still_kills() {
    if let Some(status) = alone("a_signal_that_somebody_sends_still_kills") {
        assert_eq!(status.signal(), Some(libc::SIGBUS));
        return;
    }
    no_core_dump();
    // The runtime's own handler lets one such signal pass.
    // SAFETY: the default action needs nothing.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
    let _table = Table::default();
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::BUS).unwrap();
}

extern "C" fn exit_with_42(_signal: c_int) {
    // SAFETY: async-signal-safe.
    unsafe { libc::_exit(42) }
}

#[test]
fn a_fault_elsewhere_goes_to_the_handler_before_us() {
    if let Some(status) = alone("a_fault_elsewhere_goes_to_the_handler_before_us") {
        assert_eq!(status.code(), Some(42));
        return;
    }
    // SAFETY: the handler has the right type and is async-signal-safe.
    unsafe { libc::signal(libc::SIGBUS, exit_with_42 as *const () as usize) };
    let _table = Table::default();
    fault_elsewhere();
}

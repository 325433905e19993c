//! Where io_uring is forbidden, as in most containers, the same files are served by threads.

mod support;

use std::collections::BTreeMap;

use bdev::{Bdev, Engine, FileBdev, FileOptions};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use support::place::Place;
use support::promises::{SIZE, keeps_its_promises};

/// The calling thread, and those that it starts, can make no ring from now on.
fn forbid_io_uring() {
    let calls = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let rules: BTreeMap<_, _> = calls.into_iter().map(|call| (call, vec![])).collect();
    let errno = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, TargetArch::x86_64).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Each test has a thread of its own, which the filter ends with.
#[test]
fn threads_take_over_by_themselves() {
    forbid_io_uring();
    let place = Place::on_disk(SIZE);
    let bdev = FileBdev::open(&place.path, FileOptions::default()).unwrap();
    assert!(bdev.info().description.contains(", threads, "), "{}", bdev.info().description);
    keeps_its_promises(&bdev);
}

#[test]
fn who_insists_on_io_uring_is_told_where_to_look() {
    forbid_io_uring();
    let place = Place::on_disk(SIZE);
    let options = FileOptions { engine: Engine::Uring, ..FileOptions::default() };
    let bdev = FileBdev::open(&place.path, options).unwrap();
    let error = bdev.channel(&mut bdev::Io::default()).err().unwrap().to_string();
    assert!(error.contains("kernel.io_uring_disabled"), "{error}");
}

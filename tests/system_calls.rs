//! The way of an I/O makes no system call of its own: none on null and mem, on a file only that which hands a whole batch to
//! the kernel or fetches its results. So no lock is ever waited for, either.
//!
//! The real binary is watched with ptrace, which stops the reactor's thread at each of its system calls.
#![allow(unsafe_code, reason = "there is no safe ptrace")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::ptr::{null_mut, without_provenance_mut};
use std::sync::atomic::{AtomicBool, Ordering};

use annulus_bench::Options;
use common::io::{LUN, settle};
use common::load::{QUEUES, load};
use common::{Target, image};

/// I/Os that are watched.
const WATCHED: usize = 100_000;
/// I/Os before: rings and lists are in use, pages are there.
const WARM_UP: usize = 5_000;
const DISK_LEN: u64 = 16 << 20;

/// System calls by number.
type Calls = BTreeMap<u64, u64>;

/// A thread of another process, stopped whenever it enters or leaves a system call. To be used on one thread.
struct Watched(libc::pid_t);

impl Watched {
    /// The thread is not stopped by this.
    fn seize(thread: libc::pid_t) -> Self {
        let watched = Self(thread);
        watched.request(libc::PTRACE_SEIZE, libc::PTRACE_O_TRACESYSGOOD as usize);
        watched
    }

    fn request(&self, what: libc::c_uint, data: usize) {
        // SAFETY: none of the requests made here reads or writes memory of this process.
        let result = unsafe { libc::ptrace(what, self.0, null_mut::<u8>(), without_provenance_mut::<u8>(data)) };
        assert_eq!(result, 0, "ptrace {what:#x}: {}", std::io::Error::last_os_error());
    }

    /// What it stopped for: a signal number, with more in its upper bits. `None` if it runs.
    fn stopped(&self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: the status is written to a variable of that type.
        let found = unsafe { libc::waitpid(self.0, &mut status, libc::__WALL | libc::WNOHANG) };
        assert!(found >= 0, "waitpid: {}", std::io::Error::last_os_error());
        assert!(found == 0 || libc::WIFSTOPPED(status), "the reactor's thread has ended");
        (found > 0).then_some(status >> 8)
    }

    /// The number of the system call that it is about to enter; `None` if it leaves one.
    fn entering(&self) -> Option<u64> {
        // SAFETY: all zeros are a valid value.
        let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
        let len = without_provenance_mut::<u8>(size_of_val(&info));
        // SAFETY: the kernel writes no more than the length that it is told.
        let written = unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, self.0, len, &raw mut info) };
        assert!(written > 0, "PTRACE_GET_SYSCALL_INFO: {}", std::io::Error::last_os_error());
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            return None;
        }
        // SAFETY: this member is the valid one for this kind of stop.
        Some(unsafe { info.u.entry.nr })
    }

    /// Counts its system calls until `over`.
    fn count(&self, over: &AtomicBool) -> Calls {
        let mut calls = Calls::new();
        self.request(libc::PTRACE_INTERRUPT, 0);
        loop {
            let last = over.load(Ordering::Acquire);
            if last {
                self.request(libc::PTRACE_INTERRUPT, 0);
            }
            let stop = loop {
                match self.stopped() {
                    Some(stop) => break stop,
                    None if !last && over.load(Ordering::Acquire) => break 0,
                    None => std::thread::yield_now(),
                }
            };
            if stop == libc::SIGTRAP | 0x80 {
                self.entering().into_iter().for_each(|number| *calls.entry(number).or_default() += 1);
            }
            match stop {
                0 => {}
                _ if last => break,
                _ => self.request(libc::PTRACE_SYSCALL, 0),
            }
        }
        self.request(libc::PTRACE_DETACH, 0);
        calls
    }
}

/// The thread of the only reactor.
fn reactor_of(target: &Target) -> libc::pid_t {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", target.pid())).expect("the target lives");
    let is_it = |task: &Path| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with("reactor-"));
    let task = tasks.map(|task| task.expect("a thread").path()).find(|task| is_it(task)).expect("there is a reactor");
    task.file_name().and_then(|name| name.to_str()?.parse().ok()).expect("a number")
}

/// System calls of the reactor during the watched I/Os on a disk.
fn watch(disk: &str) -> Calls {
    let queues = QUEUES.to_string();
    let target = Target::start_in(common::directory(), &["--idle", "spin", "--disk", disk, "--queues", &queues]);
    let options = Options { request_queues: QUEUES, queue_size: 256, ..Options::polling() };
    let mut guest = target.guest_on(common::SOCKET, options);
    settle(&mut guest, LUN);
    load(&mut guest, WARM_UP);
    let (reactor, over, started) = (reactor_of(&target), AtomicBool::new(false), AtomicBool::new(false));
    let calls = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let watched = Watched::seize(reactor);
            started.store(true, Ordering::Release);
            watched.count(&over)
        });
        common::until("the watcher", || started.load(Ordering::Acquire) || watcher.is_finished());
        load(&mut guest, WATCHED);
        over.store(true, Ordering::Release);
        watcher.join().expect("the watcher does not panic")
    });
    drop(guest);
    target.stop();
    calls
}

/// Where user space cannot read the clock by itself, that is a system call, and nothing of ours.
fn without_clock(mut calls: Calls) -> Calls {
    calls.remove(&(libc::SYS_clock_gettime as u64));
    calls
}

#[test]
fn an_io_in_memory_makes_no_system_call() {
    for disk in ["null:size=16M", "mem:size=16M"] {
        assert_eq!(without_clock(watch(disk)), Calls::new(), "system calls in {WATCHED} I/Os on {disk}");
    }
}

#[test]
fn a_file_makes_few_for_a_batch_and_no_other() {
    let directory = common::directory();
    let path = image(directory.path(), "disk.img", DISK_LEN);
    let mut calls = without_clock(watch(path.to_str().expect("a plain path")));
    let enters = calls.remove(&(libc::SYS_io_uring_enter as u64)).unwrap_or(0);
    // A reactor that has nothing to do offers its CPU to the kernel's threads that do the work.
    calls.remove(&(libc::SYS_sched_yield as u64));
    assert_eq!(calls, Calls::new(), "other system calls in {WATCHED} I/Os");
    assert!(enters > 0, "the watcher sees no system call");
    assert!(enters < WATCHED as u64, "{enters} system calls in {WATCHED} I/Os: more than one for each");
}

//! The load generator's `run` against the real binary: what it finds out by itself, and what it says when something is wrong.

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use annulus_bench::load::cpu;
use annulus_bench::load::session::Session;
use annulus_bench::load::words::RunWords;
use clap::Parser;
use common::{SOCKET, Target};

/// Options of `annulus-bench run` on the target's only controller.
fn words(target: &Target, more: &str) -> RunWords {
    let socket = target.path(SOCKET);
    let socket = socket.to_str().expect("temporary directories have plain names");
    RunWords::parse_from(["run", "--socket", socket].into_iter().chain(more.split_whitespace()))
}

fn attach(target: &Target, more: &str) -> anyhow::Result<(Session, RunWords)> {
    let words = words(target, more);
    Session::attach(&words.device, &words.load, &words.ring).map(|session| (session, words))
}

/// Why a device is not loaded.
fn refusal(target: &Target, more: &str) -> String {
    format!("{:#}", attach(target, more).expect_err(more))
}

#[test]
fn the_cpu_of_the_target_is_found_without_being_told() {
    let target = Target::start(&["--disk", "null:size=16M"]);
    let cpus = cpu::allowed().expect("own CPUs");
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    let (session, RunWords { device, load, .. }) = attach(&target, "").expect("it attaches");
    // On one CPU alone there is no pair.
    let expected = (first != last).then_some((first, last));
    assert_eq!(session.cpus(&device, &load).expect("own CPUs"), expected);
    let told = words(&target, "--target-cpu 7 --cpus 3");
    assert_eq!(session.cpus(&told.device, &told.load).expect("own CPUs"), Some((7, 3)));
    let same = words(&target, &format!("--cpus {first}"));
    assert_eq!(session.cpus(&same.device, &same.load).expect("own CPUs"), None);
    let any = words(&target, "--any-placement");
    assert_eq!(session.cpus(&any.device, &any.load).expect("own CPUs"), None);
    drop(session);
    target.stop();
}

/// The load is to be on a CPU that need not be there, so that the queue may be on either of two.
#[test]
fn of_several_cpus_of_the_target_that_of_the_queue_is_found() {
    let cpus = cpu::allowed().expect("own CPUs");
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    if first == last {
        return;
    }
    let dir = common::directory();
    for home in [first, last] {
        let (mask, queue) = (format!("[{first},{last}]"), format!("0:{home}"));
        let serve = ["--cpumask", &mask, "--queue-cpus", &queue, "--socket", SOCKET, "--disk", "null:size=16M"];
        let target = Target::serve(Arc::clone(&dir), &serve);
        let (session, RunWords { device, load, .. }) = attach(&target, "--cpus 1023").expect("it attaches");
        assert_eq!(session.cpus(&device, &load).expect("own CPUs"), Some((home, 1023)));
        drop(session);
        target.stop();
    }
}

#[test]
fn a_target_that_ends_is_noticed() {
    let target = Target::start(&["--disk", "null:size=16M"]);
    let (mut session, RunWords { load, .. }) = attach(&target, "--polling --runtime 1h").expect("it attaches");
    target.kill();
    let error = session.run(&load).expect_err("nobody answers");
    assert!(error.to_string().contains("the target has ended"), "{error:#}");
}

#[test]
fn a_run_that_shall_end_early_has_a_result_if_anything_was_measured() {
    let target = Target::start(&["--disk", "null:size=16M"]);
    let (mut session, RunWords { load, .. }) = attach(&target, "--ramp 0 --runtime 1h").expect("it attaches");
    load.stop.store(true, Ordering::Relaxed);
    let stats = session.run(&load).expect("it has a result").stats;
    assert_eq!((stats.errors, stats.measured_ns < 3_600_000_000_000), (0, true), "{stats:?}");
    let load = words(&target, "--ramp 1h").load;
    load.stop.store(true, Ordering::Relaxed);
    let error = session.run(&load).expect_err("it was still in its ramp");
    assert!(error.to_string().contains("interrupted"), "{error:#}");
    drop(session);
    target.stop();
}

#[test]
fn what_cannot_be_loaded_says_why() {
    let target = Target::start(&["--disk", "null:size=16M,target=1"]);
    for (options, words) in [
        ("--target 2", "cannot use target 2 LUN 0: the device has no such target"),
        ("--target 1 --lun 3", "cannot use target 1 LUN 3: the target has no such logical unit"),
        ("--luns 2", "the device has no more logical units than 1"),
        ("--target 1 --queues 3", "the device has no more request queues than 1"),
        ("--target 1 --queues 1 --busy-queues 2", "not more busy queues than queues"),
        ("--target 1 --bs 1000", "a request of 1000 bytes is no number of whole blocks"),
        ("--target 1 --bs 32m", "longer than 32768 blocks"),
        ("--target 1 --size 1g", "the disk has only 32768 blocks of 512 bytes"),
        ("--target 1 --iodepth 100", "use --indirect or a smaller --iodepth"),
    ] {
        let said = refusal(&target, options);
        assert!(said.contains(words), "{options}: {said}");
    }
    target.stop();
}

#[test]
fn verified_reads_of_a_disk_that_keeps_nothing_are_no_ios() {
    let target = Target::start(&["--disk", "null:size=16M"]);
    let (mut session, RunWords { load, .. }) =
        attach(&target, "--verify --number-ios 100 --ramp 0").expect("it attaches");
    let stats = session.run(&load).expect("it runs").stats;
    assert_eq!((stats.errors, stats.read.ios, stats.verified_blocks), (100, 0, 0), "{:?}", stats.first_error);
    drop(session);
    target.stop();
}

#[test]
fn one_sequence_of_reads_and_writes_brings_back_what_it_has_written() {
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let (mut session, RunWords { load, .. }) =
        attach(&target, "--rw rw --bssplit 512/50:4k --verify --number-ios 4000 --ramp 0").expect("it attaches");
    let stats = session.run(&load).expect("it runs").stats;
    assert_eq!((stats.errors, stats.read.ios + stats.write.ios), (0, 4000), "{:?}", stats.first_error);
    assert!(stats.verified_blocks > 0 && stats.write.ios > 1000, "{stats:?}");
    drop(session);
    target.stop();
}

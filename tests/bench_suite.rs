//! The suite of the load generator against the real binary, as short as can be. Nothing here asks how fast anything is.

use std::path::Path;

use annulus_bench::suite::options::SuiteOptions;
use annulus_bench::suite::record::Record;
use annulus_bench::suite::run;
use clap::Parser;

/// As short as can be.
const SHORT: &str = "--quick --runs 1 --runtime 20ms --ramp 5ms --size 1m --depths 2";

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    options: SuiteOptions,
}

/// Runs the suite with these words, on the binary under test.
fn suite(words: &str, out: &Path) -> anyhow::Result<()> {
    let out = out.to_str().expect("temporary directories have plain names");
    let fixed = ["suite", "--target", env!("CARGO_BIN_EXE_annulus"), "--out", out];
    run(&Cli::parse_from(fixed.into_iter().chain(words.split_whitespace())).options, None)
}

#[test]
fn a_short_suite_measures_what_it_was_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    suite(&format!("{SHORT} --only null,mem,file,busy,luns,regions,start,memory"), dir.path()).expect("it runs");
    let record = Record::read(&dir.path().join("suite.json")).expect("what it wrote");

    let points: Vec<_> = record.points.iter().map(|point| (point.series.as_str(), point.sides.len())).collect();
    assert_eq!(points, [("depth", 4), ("depth", 4), ("depth", 3), ("busy", 3), ("luns", 6), ("regions", 4)]);
    for side in record.points.iter().flat_map(|point| &point.sides) {
        // On a machine whose CPUs move all the time even the last try may not count.
        assert!(side.runs.len() == 1 || (side.runs.is_empty() && side.thrown_away > 1), "{side:?}");
        // How much such a short run gets through is up to the machine.
        assert!(side.runs.iter().all(|run| run.iops >= 0.0), "{side:?}");
        // A load has one thread; the one that keeps the other CPU busy beside io_uring alone is no part of it.
        assert!(side.runs.iter().all(|run| run.load_cpus > 0.0 && run.load_cpus < 1.1), "{side:?}");
        assert!(side.name != "raw" || side.runs.iter().all(|run| run.target_cpus.is_none()), "{side:?}");
    }
    let mut runs = record.points.iter().flat_map(|point| &point.sides).flat_map(|side| &side.runs);
    assert!(runs.any(|run| run.iops > 0.0 && run.p99_us > 0.0), "nothing was measured: {record:?}");
    let figures: Vec<_> = record.figures.iter().map(|figure| (figure.name.as_str(), figure.value > 0.0)).collect();
    assert_eq!(figures, [("memory", true), ("memory-one", true), ("start", true)]);
    for file in ["suite.md", "plots/null-iops.svg", "plots/null-iops.png", "plots/mem-latency.svg"] {
        assert!(dir.path().join(file).exists(), "{file}");
    }
}

/// One point of the matrix for this disk: the target beside what the kernel gives without it.
fn compares(record: &Record, disk: &str) {
    let [point] = &record.points[..] else { panic!("one point: {record:?}") };
    assert_eq!((point.series.as_str(), point.disk.as_str()), ("depth", disk));
    let has_peer = |against: &String| point.sides.iter().any(|side| side.name == *against);
    assert!(point.sides.iter().any(|side| side.against.as_ref().is_some_and(has_peer)), "{:?}", point.sides);
    assert!(record.left_out.iter().all(|left| !left.why.contains("failed")), "{:?}", record.left_out);
}

#[test]
fn a_disk_that_is_there_is_compared_with_itself() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("disk.img");
    std::fs::write(&path, vec![7; 1 << 20]).expect("a disk");
    let disk = path.to_str().expect("temporary directories have plain names");
    suite(&format!("{SHORT} --only disk --disk {disk}"), dir.path()).expect("it runs");
    compares(&Record::read(&dir.path().join("suite.json")).expect("what it wrote"), disk);
}

#[test]
fn a_loop_device_is_made_and_compared() {
    if !rustix::process::geteuid().is_root() || !Path::new("/dev/loop-control").exists() {
        eprintln!("skipped: a loop device needs root and /dev/loop-control");
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    suite(&format!("{SHORT} --only loop"), dir.path()).expect("it runs");
    compares(&Record::read(&dir.path().join("suite.json")).expect("what it wrote"), "loop");
}

#[test]
fn idle_reactors_sleep_and_wake() {
    let dir = tempfile::tempdir().expect("a directory");
    suite(&format!("{SHORT} --only wake,idle-cpu"), dir.path()).expect("it runs");
    let record = Record::read(&dir.path().join("suite.json")).expect("what it wrote");
    let value = |name| record.figure(name).unwrap_or_else(|| panic!("{name} is missing")).value;
    assert!(value("wake-p50") > 0.0 && value("wake-p99") >= value("wake-p50"));
    assert!(value("socket-p50") > 0.0 && value("idle-cpu") >= 0.0);
}

#[test]
fn a_target_that_does_not_start_fails_the_suite_and_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let error = suite(&format!("{SHORT} --only null --serve-option=--no-such-option"), dir.path()).unwrap_err();
    assert!(format!("{error:#}").contains("--no-such-option"), "{error:#}");
    let record = Record::read(&dir.path().join("suite.json")).expect("it is written all the same");
    assert!(record.points.is_empty() && record.left_out.iter().any(|left| left.why.contains("failed")), "{record:?}");
}

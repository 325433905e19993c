//! libiscsi's SCSI tests, run by Linux on the SCSI disk, each in a process of its own. What becomes of each stands in
//! `guest_libiscsi.txt`, with the reason where it is not `pass`: a change for the worse fails, one for the better asks for a
//! new line.

mod common;
mod guest;

use std::collections::BTreeMap;
use std::fmt::Write;

use common::{Target, cpumask, directory, image};
use guest::Lab;

/// What is expected: a line for each case, its name, what becomes of it, and why.
const EXPECTED: &str = include_str!("guest_libiscsi.txt");

/// Why a case need not pass, and how many have to.
const REASONS: [&str; 4] = [
    "tests iSCSI itself",
    "the guest's kernel does not let it through",
    "a fault of the tool",
    // SANITIZE has the service actions that can be true of a disk without encryption.
    "nothing is encrypted, so that no key can be thrown away",
];
const PASS_MIN: usize = 165;

/// Outcome by case; the reasons are for people.
fn outcomes<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, &'a str> {
    let outcome = |line: &'a str| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    };
    lines.filter(|line| !line.starts_with('#')).filter_map(outcome).collect()
}

/// Every disk is there by both ways before the first test begins.
const SCRIPT: &str = r#"
for place in 0:0 1:0 2:0 3:0 4:0; do
    until [ "$(disk_at "$place" | wc -l)" = 2 ]; do sleep 0.1; done
done
sh /job/jobs/iscsi-tests
"#;

#[test]
fn what_does_not_pass_has_a_reason_that_stands() {
    let cases = || EXPECTED.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    let passes = |line: &str| line.split_whitespace().nth(1) == Some("pass");
    assert!(cases().filter(|line| passes(line)).count() >= PASS_MIN);
    for line in cases().filter(|line| !passes(line)) {
        let reason = line.splitn(3, ' ').nth(2).map_or("", str::trim);
        assert!(REASONS.iter().any(|known| reason.starts_with(known)), "{line}");
    }
}

#[test]
fn every_case_has_the_outcome_that_the_table_says() {
    let lab = Lab::enter();
    let dir = directory();
    image(dir.path(), "disk.img", 256 << 20);
    image(dir.path(), "ro.img", 16 << 20);
    let mask = cpumask(1);
    // Few file systems have atomic writes; the disk that keeps nothing has them everywhere.
    let disks = ["disk.img", "ro.img,ro", "null:size=256M", "mem:size=16M,removable", "mem:size=16M,block-size=4096"];
    let disks: Vec<_> = disks.iter().flat_map(|disk| ["--disk", disk]).collect();
    let ways = ["--socket", "a.sock", "--socket", "b.sock"];
    let target = Target::serve(dir, &[&["--cpumask", &mask][..], &disks, &ways].concat());
    let args = [&ways[..], &["--env", "READ_ONLY=1:0", "--env", "ATOMIC=2:0"]].concat();
    let args = [&args[..], &["--env", "REMOVABLE=3:0", "--env", "WHOLE=4:0", "--env", "UNZEROED=2:0"]].concat();
    let guest = lab.boot(&target, "libiscsi", SCRIPT, &args).finish();
    let said = guest.results("case");
    let (found, expected) = (outcomes(said.iter().map(String::as_str)), outcomes(EXPECTED.lines()));
    assert_eq!(guest.results("cases"), [found.len().to_string()], "cases that ran");
    let missing: Vec<_> = expected.keys().filter(|name| !found.contains_key(*name)).collect();
    assert!(missing.is_empty(), "cases of guest_libiscsi.txt that did not run: {missing:?}");
    let mut differs = String::new();
    for line in &said {
        let (name, outcome) = outcomes(std::iter::once(&**line)).pop_first().expect("a case");
        if expected.get(name) != Some(&outcome) {
            let expected = expected.get(name).unwrap_or(&"nothing");
            writeln!(differs, "{line}\n    (the table says {expected})").expect("a string takes it");
        }
    }
    assert!(differs.is_empty(), "not as guest_libiscsi.txt says:\n{differs}");
    let passes = found.values().filter(|outcome| **outcome == "pass").count();
    assert!(passes >= PASS_MIN, "{passes} cases passed");
    target.stop();
}

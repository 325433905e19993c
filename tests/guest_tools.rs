//! sg3-utils and sdparm in a Linux guest: what they show is what the disk does, nothing that it says puzzles them, and they have the
//! same names for its sense codes.

mod common;
mod guest;

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;

use common::{SOCKET, Target, cpumask, directory, image};
use guest::Lab;

/// All sense keys and additional sense codes that the target sends, in the lines that the job wants.
fn names() -> String {
    let mut lines = String::new();
    let (_, keys) = include_str!("../src/scsi/spec.rs").split_once("impl SenseKey {").expect("the keys stand there");
    let keys = keys.split("\n}").next().expect("there is a first part");
    for key in keys.split("pub const ").skip(1) {
        let (name, value) = key.split_once(": Self = Self(0x").expect("a key is hexadecimal");
        let digits = value.split(')').next().expect("the number ends");
        writeln!(lines, "key {digits} {}", name.replace('_', " ")).expect("a string takes it");
    }
    // The list against which the target's own constants are compared.
    for row in include_str!("../src/scsi/spec/t10.rs").lines().filter_map(|line| line.strip_prefix("    (0x")) {
        let (code, rest) = row.split_once(", 0x").expect("a row has a code");
        let (qualifier, rest) = rest.split_once(", \"").expect("and a qualifier");
        writeln!(lines, "code {code} {qualifier} {}", rest.trim_end_matches("\"),")).expect("a string takes it");
    }
    lines
}

#[test]
fn the_tools_of_users_work_as_they_say() {
    let lab = Lab::enter();
    let dir = directory();
    let disk = image(dir.path(), "disk.img", 64 << 20);
    let mask = cpumask(1);
    let disks = ["--disk", "disk.img", "--disk", "mem:size=16M", "--disk", "null:size=16M"];
    let target = Target::serve(dir, &[&["--cpumask", &mask, "--socket", SOCKET], &disks[..]].concat());
    let names = names();
    let script =
        format!("sh /job/jobs/sg3-utils\ncat >/tmp/names <<'END'\n{names}END\nsh /job/jobs/sense-names /tmp/names");
    let guest = lab.boot(&target, "tools", &script, &["--socket", SOCKET]).finish();
    let wrong = guest.results("wrong");
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), guest.console());
    let ran: u32 = guest.results("ran").concat().parse().expect("a number of commands");
    assert!(ran > 150, "only {ran} commands ran");
    assert!(names.lines().count() > 70, "{names}");
    assert_eq!(guest.results("compared"), [names.lines().count().to_string()]);
    // The last one has given back all space: no block of the file is left.
    assert_eq!(disk.metadata().expect("the file").blocks(), 0);
    target.stop();
}

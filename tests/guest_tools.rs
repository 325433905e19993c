//! sg3-utils and sdparm in a Linux guest: what they show is what the disk does, and nothing that it says puzzles them.

mod common;
mod guest;

use std::os::unix::fs::MetadataExt;

use common::{SOCKET, Target, cpumask, directory, image};
use guest::Lab;

#[test]
fn the_tools_of_users_work_as_they_say() {
    let lab = Lab::enter();
    let dir = directory();
    let disk = image(dir.path(), "disk.img", 64 << 20);
    let mask = cpumask(1);
    let disks = ["--disk", "disk.img", "--disk", "mem:size=16M", "--disk", "null:size=16M"];
    let target = Target::serve(dir, &[&["--cpumask", &mask, "--socket", SOCKET], &disks[..]].concat());
    let guest = lab.boot(&target, "tools", "sh /job/jobs/sg3-utils", &["--socket", SOCKET]).finish();
    let wrong = guest.results("wrong");
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), guest.console());
    let ran: u32 = guest.results("ran").concat().parse().expect("a number of commands");
    assert!(ran > 150, "only {ran} commands ran");
    // The last one has given back all space: no block of the file is left.
    assert_eq!(disk.metadata().expect("the file").blocks(), 0);
    target.stop();
}

//! What a target does about the limit on open files: takes all it may, and says so when that is not enough.

mod common;

use common::{SOCKET, Target};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A soft limit such as shells set, enough for this test itself.
const SOFT_LIMIT: u64 = 256;

#[test]
fn takes_as_many_as_it_may_and_tells_when_they_run_out() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(SOFT_LIMIT), maximum }).unwrap();
    let target = Target::start(&["--disk", "mem:size=1M"]);
    let before = target.limit_open_files(Rlimit { current: Some(3), maximum });
    assert_eq!(before.current, maximum, "the soft limit is raised at start");

    let waiting = target.silent(SOCKET);
    target.until("word of the client that waits", || target.output().contains("ulimit -n"));
    assert!(target.output().contains("vm0.sock has to wait"));
    drop(waiting);
    target.limit_open_files(before);
    common::io::alive(&mut target.guest());
    target.stop();
}

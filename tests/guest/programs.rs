//! Programs of this project for guests to run: built beside the test, and put where `scripts/guest` finds them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What each of them needs to run there.
pub const LIBRARY: &str = "/lib/x86_64-linux-gnu/libgcc_s.so.1";

/// Runs cargo, in the same profile as the target was built in; what it said.
fn cargo(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    if beside_target("annulus").parent().is_some_and(|dir| dir.ends_with("release")) {
        command.arg("--release");
    }
    let output = command.output().expect("run cargo");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn beside_target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_annulus")).with_file_name(name)
}

/// Builds the load generator. Where it is.
pub fn load_generator() -> PathBuf {
    cargo(&["build", "-p", "annulus-bench", "--bin", "annulus-bench"]);
    beside_target("annulus-bench")
}

/// Builds the server of a ublk disk in memory. Where it is.
pub fn ublk() -> PathBuf {
    cargo(&["build", "-p", "annulus-bdev", "--example", "ublk"]);
    beside_target("examples").join("ublk")
}

/// Builds the integration test in the file `source` of its package, chosen by `arguments`. Where its program is.
pub fn integration_test(arguments: &[&str], source: &str) -> PathBuf {
    let said = cargo(&[&["test", "--no-run"], arguments].concat());
    // It says "Executable tests/nvme.rs (PATH)".
    let path = said.lines().filter(|line| line.contains(source)).find_map(|line| line.split(['(', ')']).nth(1));
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path.unwrap_or_else(|| panic!("no path in: {said}")))
}

/// Puts a program without what only debuggers want into `dir`, under `name`.
pub fn provide(dir: &Path, program: &Path, name: &str) -> String {
    let stripped = Command::new("strip").arg("-o").arg(dir.join(name)).arg(program).status();
    assert!(stripped.expect("run strip").success());
    name.to_owned()
}

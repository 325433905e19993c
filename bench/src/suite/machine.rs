//! What a suite ran on: CPU, memory, kernel, commit.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::record::Machine;

/// As far as it can be found out. `tree` is a directory of the source.
pub fn look(cpus: usize, tree: Option<&Path>) -> Machine {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let uname = rustix::system::uname();
    Machine {
        cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or("unknown CPU").to_owned(),
        cpus,
        memory_mib: field(&read("/proc/meminfo"), "MemTotal").map_or(0, kib) / 1024,
        kernel: version(&uname.release().to_string_lossy()).to_owned(),
        commit: tree.and_then(commit).unwrap_or_default(),
        command: command(std::env::args()),
        began_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        took_s: 0.0,
    }
}

/// The version in a kernel's release, without what was added where it was built.
fn version(release: &str) -> &str {
    release.split_once('-').map_or(release, |(version, _)| version)
}

/// The value of a line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let values = text.lines().filter_map(|line| line.split_once(':'));
    values.into_iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
}

fn kib(text: &str) -> u64 {
    text.trim_end_matches("kB").trim().parse().unwrap_or(0)
}

/// The words of this process, program without its directory.
fn command(words: impl Iterator<Item = String>) -> String {
    let mut words: Vec<_> = words.collect();
    if let Some(program) = words.first_mut()
        && let Some((_, name)) = program.rsplit_once('/')
    {
        *program = name.to_owned();
    }
    words.join(" ")
}

fn commit(tree: &Path) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(tree)
        .args(["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_name() {
        let text = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC: one\nmodel name\t: other\n";
        assert_eq!(field(text, "model name"), Some("AMD EPYC: one"));
        assert_eq!(field(text, "name"), None);
        assert_eq!(kib("24658112 kB"), 24_658_112);
    }

    #[test]
    fn the_command_is_as_it_was_typed() {
        let words = ["target/release/annulus-bench", "suite", "--quick"].map(str::to_owned);
        assert_eq!(command(words.into_iter()), "annulus-bench suite --quick");
    }

    #[test]
    fn a_kernel_is_told_by_its_version() {
        assert_eq!((version("6.12.5-amd64"), version("6.18.44")), ("6.12.5", "6.18.44"));
    }

    #[test]
    fn a_machine_has_a_kernel() {
        let machine = look(2, None);
        assert!(!machine.kernel.is_empty() && machine.memory_mib > 0 && machine.commit.is_empty(), "{machine:?}");
    }
}

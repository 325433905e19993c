//! A file system that is soon full.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system in memory with a bound, until it is dropped.
pub struct SmallFileSystem(PathBuf);

impl SmallFileSystem {
    /// One of `len` bytes at `path`, a new directory. None, and a word about it, where this may not be made.
    pub fn mount(path: &Path, len: u64) -> Option<Self> {
        std::fs::create_dir(path).expect("a directory for it");
        let options = format!("size={len},mode=700");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            _ => {
                // Past the test runner, which keeps to itself what a test that passes has said.
                let _ = writeln!(
                    std::io::stderr(),
                    "skipped: a host that is full, for a file system of its own needs root"
                );
                None
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes a file that has `len` bytes of it.
    pub fn fill(&self, name: &str, len: u64) {
        std::fs::write(self.0.join(name), vec![1; len as usize]).expect("room for it");
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        // The target may still hold it: it goes when that does.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

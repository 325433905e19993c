//! A loop device over a file, for tests of block devices on the host.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

/// It goes with this value. Once detached, its number may be somebody else's.
pub struct Loop {
    path: String,
    file: PathBuf,
    is_detached: Cell<bool>,
}

impl Loop {
    /// `None` where we may not make one.
    pub fn over(file: &Path) -> Option<Self> {
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        let path = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        made.status.success().then(|| Self { path, file: file.to_owned(), is_detached: Cell::new(false) })
    }

    /// Takes it from its file, under whoever uses it.
    pub fn detach(&self) {
        let done = Command::new("losetup").args(["--detach", &self.path]).status().expect("losetup has made it");
        assert!(done.success(), "losetup --detach {}", self.path);
        self.is_detached.set(true);
    }

    /// Whether a device still has its file.
    pub fn is_there(&self) -> bool {
        let found = Command::new("losetup").arg("--associated").arg(&self.file).output().expect("losetup has made it");
        !found.stdout.is_empty()
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Takes the file's size over.
    pub fn follow(&self) {
        let done = Command::new("losetup").args(["--set-capacity", &self.path]).status().expect("losetup has made it");
        assert!(done.success(), "losetup --set-capacity {}", self.path);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if !self.is_detached.get() {
            let _ = Command::new("losetup").args(["--detach", &self.path]).output();
        }
    }
}

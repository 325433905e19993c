//! A loop device over a file, for tests of block devices on the host.

use std::path::Path;
use std::process::Command;

/// It goes with this value.
pub struct Loop(String);

impl Loop {
    /// `None` where we may not make one.
    pub fn over(file: &Path) -> Option<Self> {
        let made = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        made.status.success().then(|| Self(String::from_utf8_lossy(&made.stdout).trim().to_owned()))
    }

    pub fn path(&self) -> &str {
        &self.0
    }

    /// Takes the file's size over.
    pub fn follow(&self) {
        let done = Command::new("losetup").args(["--set-capacity", &self.0]).status().expect("losetup has made it");
        assert!(done.success(), "losetup --set-capacity {}", self.0);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = Command::new("losetup").args(["--detach", &self.0]).output();
    }
}

//! A loop device over a file, and a file system on one, for tests on the host.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// It goes with this value. Once detached, its number may be somebody else's.
pub struct Loop {
    path: String,
    file: PathBuf,
    is_detached: Cell<bool>,
}

impl Loop {
    /// With sectors of 512 bytes. `None` where we may not make one.
    pub fn over(file: &Path) -> Option<Self> {
        Self::with_sectors(file, 512)
    }

    /// The same with sectors of so many bytes.
    pub fn with_sectors(file: &Path, bytes: u32) -> Option<Self> {
        let sector = bytes.to_string();
        let words = ["--find", "--show", "--sector-size", &sector];
        let made = Command::new("losetup").args(words).arg(file).output().ok()?;
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

/// A file system on a loop device of its own.
pub struct Mounted {
    dir: TempDir,
    _device: Loop,
}

impl Mounted {
    /// Makes one on all of `file`, and mounts it. `None` where that cannot be done.
    pub fn on(file: &Path, kind: &str) -> Option<Self> {
        let force = if kind == "ext4" { "-F" } else { "-f" };
        let is_made = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let device = Loop::over(file)?;
        let dir = tempfile::tempdir().expect("a directory to mount it on");
        let is_there = is_made(Command::new(format!("mkfs.{kind}")).args(["-q", force, device.path()]))
            && is_made(Command::new("mount").args(["-t", kind, device.path()]).arg(dir.path()));
        is_there.then_some(Self { dir, _device: device })
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The kernel may still be taking a ring apart that had a file here open.
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).output();
    }
}

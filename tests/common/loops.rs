//! A loop device over a file, and a file system on one, for tests on the host.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Whether this test may make them. Says so if not: who may finds all that it takes, or fails.
fn may() -> bool {
    let may = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    if !may {
        eprintln!("skipped: a loop device needs root and /dev/loop-control");
    }
    may
}

/// What a command says, which ends well.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

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
        may().then(|| {
            let path = output(Command::new("losetup").args(words).arg(file));
            Self { path, file: file.to_owned(), is_detached: Cell::new(false) }
        })
    }

    /// Takes it from its file, under whoever uses it.
    pub fn detach(&self) {
        output(Command::new("losetup").args(["--detach", &self.path]));
        self.is_detached.set(true);
    }

    /// Whether a device still has its file.
    pub fn is_there(&self) -> bool {
        !output(Command::new("losetup").arg("--associated").arg(&self.file)).is_empty()
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    /// Takes the file's size over.
    pub fn follow(&self) {
        output(Command::new("losetup").args(["--set-capacity", &self.path]));
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
    /// Makes one on all of `file`, and mounts it. `None` where we may not.
    pub fn on(file: &Path, kind: &str) -> Option<Self> {
        let force = if kind == "ext4" { "-F" } else { "-f" };
        let device = Loop::over(file)?;
        let dir = tempfile::tempdir().expect("a directory to mount it on");
        output(Command::new(format!("mkfs.{kind}")).args(["-q", force, device.path()]));
        output(Command::new("mount").args(["-t", kind, device.path()]).arg(dir.path()));
        Some(Self { dir, _device: device })
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

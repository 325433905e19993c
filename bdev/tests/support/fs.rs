//! File systems on loop devices: made for a test, mounted, taken apart again.

use std::path::Path;
use std::process::Command;

use super::place::{Loop, output};

/// A file system of some kind on a loop device of its own.
pub struct LoopFs {
    dir: tempfile::TempDir,
    device: Loop,
}

impl LoopFs {
    /// Makes and mounts one of `size` bytes, if this machine can. Says so if not.
    pub fn new(kind: &str, size: u64) -> Option<Self> {
        let program = format!("mkfs.{kind}");
        if Command::new(&program).arg("-V").output().is_err() {
            eprintln!("skipped: {kind} needs {program}");
            return None;
        }
        let device = Loop::new(size, 512);
        let force = if kind == "ext4" { "-F" } else { "-f" };
        output(&program, &["-q", force], &device.path);
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().to_str().unwrap();
        let mounted = Command::new("mount").args(["-t", kind]).arg(&device.path).arg(target).output().unwrap();
        if !mounted.status.success() {
            eprintln!("skipped: no {kind} here: {}", String::from_utf8_lossy(&mounted.stderr).trim());
            return None;
        }
        Some(Self { dir, device })
    }

    /// The device that it is on.
    pub fn device(&self) -> &Path {
        &self.device.path
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for LoopFs {
    fn drop(&mut self) {
        // The kernel may still be taking a ring apart that had a file here open.
        output("umount", &["--lazy"], self.dir.path());
    }
}

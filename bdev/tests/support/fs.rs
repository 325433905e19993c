//! File systems on loop devices: made for a test, mounted, taken apart again.

use std::path::Path;

use super::place::{self, Loop, output};

/// A file system of some kind on a loop device of its own.
pub struct LoopFs {
    dir: tempfile::TempDir,
    device: Loop,
}

impl LoopFs {
    /// Makes and mounts one of `size` bytes. `None` where we may not; who may finds the programs and the kernel for it, or fails.
    pub fn new(kind: &str, size: u64) -> Option<Self> {
        if !place::may("a file system on a loop device") {
            return None;
        }
        let device = Loop::new(size, 512);
        let force = if kind == "ext4" { "-F" } else { "-f" };
        output(&format!("mkfs.{kind}"), &["-q", force], &device.path);
        let dir = tempfile::tempdir().unwrap();
        output("mount", &["-t", kind, device.path.to_str().unwrap()], dir.path());
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

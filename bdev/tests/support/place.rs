//! Places for disk files: the build's own file system, memory, loop devices, small file systems. All are cleaned up.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::fs::{AtFlags, StatxFlags};

/// A file that goes with this value.
pub struct Place {
    dir: tempfile::TempDir,
    pub path: PathBuf,
}

impl Place {
    /// A sparse file of `size` bytes where the tests are built.
    pub fn on_disk(size: u64) -> Self {
        Self::within(Path::new(env!("CARGO_TARGET_TMPDIR")), size)
    }

    /// The same in memory.
    pub fn on_tmpfs(size: u64) -> Self {
        Self::within(Path::new("/dev/shm"), size)
    }

    pub fn within(parent: &Path, size: u64) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir_in(parent).unwrap();
        let path = dir.path().join(format!("disk{}.img", NUMBER.fetch_add(1, Ordering::Relaxed)));
        File::create_new(&path).unwrap().set_len(size).unwrap();
        Self { dir, path }
    }

    /// Sets the file's space aside: it is allocated, and reads as zeroes until it is written.
    pub fn preallocate(&self) {
        let file = File::options().write(true).open(&self.path).unwrap();
        let size = file.metadata().unwrap().len();
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size).unwrap();
    }

    pub fn resize(&self, size: u64) {
        File::options().write(true).open(&self.path).unwrap().set_len(size).unwrap();
    }

    /// Bytes of the file, read by the way of everybody else.
    pub fn bytes(&self, offset: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        File::open(&self.path).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        bytes
    }

    /// Alignment of offsets for direct I/O, if the kernel states one.
    pub fn direct_alignment(&self) -> Option<u32> {
        let file = File::open(&self.path).unwrap();
        let answer = rustix::fs::statx(&file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).unwrap();
        let stated = answer.stx_mask & StatxFlags::DIOALIGN.bits() != 0 && answer.stx_dio_offset_align != 0;
        stated.then_some(answer.stx_dio_offset_align)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Whether this test may use what only root may. Says so if not.
pub fn may(what: &str) -> bool {
    let may = rustix::process::geteuid().is_root() && Path::new("/dev/loop-control").exists();
    if !may {
        eprintln!("skipped: {what} needs root and /dev/loop-control");
    }
    may
}

/// A loop device over a file in memory.
pub struct Loop {
    pub backing: Place,
    pub path: PathBuf,
    /// Its number may be somebody else's soon.
    is_pulled: AtomicBool,
}

impl Loop {
    pub fn new(size: u64, sector: u32) -> Self {
        let backing = Place::on_tmpfs(size);
        let sector = sector.to_string();
        let path = output("losetup", &["--find", "--show", "--sector-size", &sector], &backing.path);
        Self { backing, path: PathBuf::from(path.trim()), is_pulled: AtomicBool::new(false) }
    }
}

impl Loop {
    /// Resizes its file, and tells it.
    pub fn set_size(&self, size: u64) {
        self.backing.resize(size);
        output("losetup", &["--set-capacity"], &self.path);
    }

    /// Detaches it from its file, under whoever uses it.
    pub fn pull(&self) {
        output("losetup", &["--detach"], &self.path);
        self.is_pulled.store(true, Ordering::Relaxed);
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if !self.is_pulled.load(Ordering::Relaxed) {
            let _ = Command::new("losetup").arg("--detach").arg(&self.path).output();
        }
    }
}

/// A file system in memory that holds only so much.
pub struct SmallFs {
    dir: tempfile::TempDir,
}

impl SmallFs {
    pub fn new(size: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        output("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "annulus-test"], dir.path());
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for SmallFs {
    fn drop(&mut self) {
        // Another test's child that has not come to its own program yet may hold a file of ours.
        output("umount", &["--lazy"], self.dir.path());
    }
}

pub fn output(program: &str, arguments: &[&str], path: &Path) -> String {
    let output = Command::new(program).args(arguments).arg(path).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

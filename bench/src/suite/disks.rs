//! What is read: disks without a file, a file that is made for it, a loop device over memory, disks that are there.
//!
//! What is made here goes away with the [`Disk`]. A loop device goes even if this process is killed: it is told at once to
//! go when nobody has it open, and we have it open.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::OFlags;
use tempfile::NamedTempFile;

use crate::load::work::Random;

/// Where the memory is that a loop device is over.
const MEMORY: &str = "/dev/shm";
/// What a file is written in.
const PIECE: usize = 1 << 20;

/// Something to read from.
#[derive(Debug)]
pub struct Disk {
    /// Its name in tables.
    pub name: String,
    /// As `annulus serve --disk` has it.
    pub serve: String,
    /// The same file or device without a target: its limit. The limit of others is that of the CPUs.
    pub raw: Option<RawFile>,
    /// Bytes to write before it is read, so that there is something to read; 0 if that is no matter.
    pub fill: u64,
    /// Kept for as long as it is used.
    _made: Made,
}

/// A file or device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFile {
    /// Where.
    pub path: PathBuf,
    /// Whether the file system has no direct I/O.
    pub buffered: bool,
    /// Whether it is a block device with poll queues: a target polls those.
    pub iopoll: bool,
}

#[derive(Debug)]
enum Made {
    Nothing,
    File(#[expect(dead_code, reason = "removed when it is dropped")] NamedTempFile),
    Loop(#[expect(dead_code, reason = "holds the device")] File),
}

impl Disk {
    /// A disk of nothing.
    pub fn null() -> Self {
        Self { name: "null".into(), serve: "null:size=1T".into(), raw: None, fill: 0, _made: Made::Nothing }
    }

    /// A disk in the target's memory.
    pub fn mem(size: u64) -> Self {
        Self { name: "mem".into(), serve: format!("mem:size={size}"), raw: None, fill: size, _made: Made::Nothing }
    }

    /// A file or device that is there. Beside a character device for NVMe commands, its limit is the namespace's block device.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn existing(name: String, path: &Path) -> Result<Self> {
        let Some(block) = block_device_of(path) else { return Self::over(name, path.to_owned(), Made::Nothing) };
        Ok(Self { serve: served("nvme", path), ..Self::over(name, block, Made::Nothing)? })
    }

    /// The file that a user named.
    ///
    /// # Errors
    /// As above.
    pub fn file(path: &Path) -> Result<Self> {
        Self::existing(format!("{} file", file_system(path)?), path)
    }

    /// A new file in `dir`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new_file(dir: &Path, size: u64) -> Result<Self> {
        let file = written(dir, size)?;
        let path = file.path().to_owned();
        Self::over(format!("{} file", file_system(&path)?), path, Made::File(file))
    }

    /// A new loop device over memory.
    ///
    /// # Errors
    /// We may not make one.
    pub fn new_loop(size: u64) -> Result<Self> {
        let file = written(Path::new(MEMORY), size)?;
        let found = losetup(&["--find", "--show", &file.path().to_string_lossy()])?;
        let path = PathBuf::from(found.trim());
        let device = File::open(&path).with_context(|| format!("cannot open {}", path.display()));
        // From here on it lives for as long as it is open, and the memory as long as it.
        losetup(&["--detach", &path.to_string_lossy()])?;
        Self::over("loop".into(), path, Made::Loop(device?))
    }

    fn over(name: String, path: PathBuf, made: Made) -> Result<Self> {
        let (serve, buffered, iopoll) = (served("file", &path), !has_direct_io(&path)?, has_poll_queues(&path));
        Ok(Self { name, serve, raw: Some(RawFile { path, buffered, iopoll }), fill: 0, _made: made })
    }
}

/// A disk of this kind, only to be read.
fn served(kind: &str, path: &Path) -> String {
    // A comma in a path is written twice.
    format!("{kind}:path={},ro", path.to_string_lossy().replace(',', ",,"))
}

/// The block device of an NVMe namespace, if `path` is its character device: `nvme0n1` stands beside `ng0n1`.
fn block_device_of(path: &Path) -> Option<PathBuf> {
    path.metadata().ok().filter(|metadata| metadata.file_type().is_char_device())?;
    Some(path.with_file_name(format!("nvme{}", path.file_name()?.to_str()?.strip_prefix("ng")?)))
}

/// What the kernel says of the queue of the disk that this is, or that it is a part of.
fn has_poll_queues(path: &Path) -> bool {
    let Some(device) = path.metadata().ok().filter(|metadata| metadata.file_type().is_block_device()) else {
        return false;
    };
    let number = device.rdev();
    let folder = format!("/sys/dev/block/{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    // The folder of a part lies in that of its disk.
    ["queue", "../queue"].into_iter().any(|queue| {
        std::fs::read_to_string(Path::new(&folder).join(queue).join("io_poll")).is_ok_and(|text| text.trim() == "1")
    })
}

/// A file of bytes that no disk can take for less than they are.
fn written(dir: &Path, size: u64) -> Result<NamedTempFile> {
    let cannot = || format!("cannot write a file of {size} bytes in {}", dir.display());
    let mut file = tempfile::Builder::new().prefix("annulus-suite.").tempfile_in(dir).with_context(cannot)?;
    let mut random = Random::new(1);
    let mut piece = vec![0; PIECE];
    let mut left = size;
    while left > 0 {
        piece.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&random.next().to_le_bytes()));
        let len = left.min(PIECE as u64);
        file.write_all(&piece[..len as usize]).with_context(cannot)?;
        left -= len;
    }
    file.as_file().sync_all().with_context(cannot)?;
    Ok(file)
}

fn losetup(words: &[&str]) -> Result<String> {
    let output = Command::new("losetup").args(words).output().context("cannot run losetup")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "losetup {}: {}", words.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn has_direct_io(path: &Path) -> Result<bool> {
    File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(OpenOptions::new().read(true).custom_flags(OFlags::DIRECT.bits() as i32).open(path).is_ok())
}

/// The name of a file system, by its magic number (statfs(2)).
fn file_system(path: &Path) -> Result<&'static str> {
    let found = rustix::fs::statfs(path).with_context(|| format!("cannot ask about {}", path.display()))?;
    Ok(match found.f_type as u32 {
        0xEF53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683E => "btrfs",
        0x0102_1994 => "tmpfs",
        0x794C_7630 => "overlay",
        0x2FC1_2FC1 => "zfs",
        _ => "other",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new_file(dir.path(), 3 * PIECE as u64 / 2).unwrap();
        let path = disk.raw.as_ref().unwrap().path.clone();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 3 * PIECE / 2);
        assert_ne!(bytes[..4096], bytes[4096..8192]);
        assert!(disk.name.ends_with(" file") && disk.serve.ends_with(",ro"), "{disk:?}");
        drop(disk);
        assert!(!path.exists());
    }

    #[test]
    fn commas_in_paths_are_the_targets_business() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a,b");
        std::fs::write(&path, [0; 4096]).unwrap();
        let disk = Disk::existing("disk".into(), &path).unwrap();
        assert!(disk.serve.contains("/a,,b,ro"), "{}", disk.serve);
        assert!(Disk::existing("disk".into(), &dir.path().join("nothing")).is_err());
    }

    #[test]
    fn only_devices_for_nvme_commands_have_a_block_device_beside_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ng0n1");
        std::fs::write(&path, [0; 4096]).unwrap();
        assert_eq!(block_device_of(&path), None, "a file is what it is, whatever its name");
        assert_eq!(block_device_of(Path::new("/dev/null")), None);
        assert!(!has_poll_queues(&path));
    }

    #[test]
    fn memory_is_filled_and_nothing_is_not() {
        assert_eq!((Disk::mem(1 << 20).fill, Disk::null().fill), (1 << 20, 0));
        assert_eq!(Disk::mem(4096).serve, "mem:size=4096");
    }
}

//! Opens a namespace: claims it, asks it what it is, and tries whether the kernel takes commands for it.
//!
//! Runs once for each disk, on the control thread. Every way in which it fails says what to do.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::OpenError;
use crate::file::{Iopoll, claim, failed};
use crate::sysfs;

use super::device::Device;
use super::health::Checkup;
use super::jobs::Fixed;
use super::probe;
use super::words::{Found, memory_alignment};
use super::{NvmeBdev, NvmeOptions, refused};

/// The class of the kernel's devices for commands to a namespace. Their major number is dynamic, this is not.
const CLASS: &str = "nvme-generic";

/// The name that the kernel has for the namespace's device for commands, `ng0n1`; `None` if `path` is none.
pub(super) fn generic_name(path: &Path) -> Option<String> {
    let metadata = path.metadata().ok().filter(|metadata| metadata.file_type().is_char_device())?;
    let (major, minor) = (rustix::fs::major(metadata.rdev()), rustix::fs::minor(metadata.rdev()));
    let device = PathBuf::from(format!("/sys/dev/char/{major}:{minor}"));
    let class = std::fs::read_link(device.join("subsystem")).ok()?;
    if class.file_name()? != CLASS {
        return None;
    }
    let device = device.canonicalize().ok()?;
    Some(device.file_name()?.to_str()?.to_owned())
}

/// The name of the block device of the same namespace: `nvme0n1` beside `ng0n1`.
pub(super) fn sibling(generic: &str) -> Option<String> {
    generic.strip_prefix("ng").map(|numbers| format!("nvme{numbers}"))
}

pub(super) fn open(path: &Path, options: NvmeOptions) -> Result<NvmeBdev, OpenError> {
    let name = name_of(path)?;
    let sibling = sibling(&name).unwrap_or_default();
    let block = PathBuf::from(format!("/sys/block/{sibling}"));
    if !options.read_only {
        check_protection(path, &block)?;
    }
    let claim = claim_sibling(&sibling, options.read_only)?;
    let file = open_file(path, options.read_only)?;
    claim::lock(path, &file, options.read_only)?;
    let device = Device::identify(path, &file)?;
    device.check(path, options)?;
    let queue = block.join("queue");
    let mut terms = device.terms(&queue);
    probe::commands(path, &file, &terms)?;
    let polling = match options.iopoll {
        Iopoll::Off => None,
        _ => Some(probe::polling(&queue, &file, &terms)),
    };
    if let (Iopoll::On, Some(Err(reason))) = (options.iopoll, polling) {
        return Err(OpenError::NoPoll { path: path.to_owned(), reason });
    }
    // It costs some speed not to have it, so that not to know is no reason to fail.
    terms.fixed = probe::fixed(&file, &terms).unwrap_or(Fixed::Piece);
    let mut info = device.info(path, &terms)?;
    info.read_only |= options.read_only;
    let (controller, limits, memory_alignment) = (&device.controller, &terms.limits, memory_alignment(&queue));
    let fixed = terms.fixed;
    info.description = Found { path, controller, info: &info, limits, memory_alignment, fixed, polling }.describe();
    let size_file = block.join("size");
    let (claim, polled) = (claim.map(Arc::new), polling == Some(Ok(())));
    let checkup = Checkup::of(controller);
    Ok(NvmeBdev { info, names: device.names(), terms, polled, checkup, file: Arc::new(file), claim, size_file })
}

pub(super) fn name_of(path: &Path) -> Result<String, OpenError> {
    if let Err(source) = path.metadata() {
        return Err(match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => refused(
                path,
                "no such device. Give the character device of an NVMe namespace, for example nvme:/dev/ng0n1"
                    .to_owned(),
            ),
            _ => failed(path, "look at", source),
        });
    }
    generic_name(path).ok_or_else(|| {
        refused(
            path,
            "is not the character device of an NVMe namespace (for example /dev/ng0n1). Leave `nvme:` out to serve \
             a block device or a file"
                .to_owned(),
        )
    })
}

/// Commands go past what the kernel keeps from its block device; who told it to keep writes from that meant the namespace.
/// `block` is the folder of that device.
fn check_protection(path: &Path, block: &Path) -> Result<(), OpenError> {
    if sysfs::flag(&block.join("ro")) {
        let reason = "its block device is write-protected".to_owned();
        return Err(OpenError::ReadOnly { path: path.to_owned(), reason });
    }
    Ok(())
}

/// Claims the block device of the same namespace: one that is mounted is not served, and one that is served is not mounted.
fn claim_sibling(sibling: &str, read_only: bool) -> Result<Option<File>, OpenError> {
    let block = PathBuf::from(format!("/dev/{sibling}"));
    let is_block_device = block.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
    if is_block_device { claim::open(&block, true, read_only).map(Some) } else { Ok(None) }
}

pub(super) fn open_file(path: &Path, read_only: bool) -> Result<File, OpenError> {
    let opened = OpenOptions::new().read(true).write(!read_only).open(path);
    opened.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => OpenError::Permission { path: path.to_owned(), write: !read_only },
        _ => failed(path, "open", source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_things_are_no_namespaces() {
        for path in ["/dev/null", "/", "/nowhere"] {
            assert!(generic_name(Path::new(path)).is_none(), "{path}");
            let error = open(Path::new(path), NvmeOptions::default()).unwrap_err().to_string();
            assert!(error.contains("/dev/ng0n1"), "{error}");
        }
        let block = tempfile::tempdir().unwrap();
        let protection = |flag| {
            std::fs::write(block.path().join("ro"), flag).unwrap();
            check_protection(Path::new("/dev/ng0n1"), block.path()).map_err(|error| error.to_string())
        };
        assert_eq!(protection("0\n"), Ok(()));
        assert!(protection("1\n").unwrap_err().contains("Add `ro`"));
        assert_eq!(sibling("ng12n3").as_deref(), Some("nvme12n3"));
    }
}

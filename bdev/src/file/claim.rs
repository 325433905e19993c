//! Opens a disk so that nobody else serves or mounts it meanwhile: what it is, whether we may, whether it is free.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::OpenError;
use crate::file::failed;
use crate::nvme;

/// How long to wait for what a target that was killed still holds, and how long between two looks: the kernel takes its
/// rings, and the files registered with them, apart in the background.
const WAIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

/// Whether the path is a block device, else it is a regular file. Looked at before it is opened: opening a pipe waits for
/// its other end, and a tape would be wound.
pub(super) fn is_block_device(path: &Path) -> Result<bool, OpenError> {
    let metadata = path.metadata().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::NotFound { path: path.to_owned() },
        io::ErrorKind::PermissionDenied => OpenError::Permission { path: path.to_owned(), write: false },
        _ => failed(path, "look at", source),
    })?;
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(OpenError::Directory { path: path.to_owned() });
    }
    let other = if kind.is_fifo() {
        "pipe"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_char_device() {
        if nvme::is_generic(path) {
            return Err(OpenError::NvmeGeneric { path: path.to_owned() });
        }
        "character device"
    } else {
        return Ok(kind.is_block_device());
    };
    Err(OpenError::Kind { path: path.to_owned(), kind: other })
}

/// Opens and claims it: a file with a lock that others who serve disks look at, a block device also so that the kernel
/// neither mounts it nor has it mounted. As read-only it can be shared with others who only read.
pub(crate) fn open(path: &Path, is_block_device: bool, read_only: bool) -> Result<File, OpenError> {
    let exclusive = is_block_device && !read_only;
    let deadline = Instant::now() + WAIT;
    let file = loop {
        match open_file(path, read_only, exclusive) {
            Err(OpenError::InUse { .. }) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            result => break result?,
        }
    };
    lock_until(path, &file, read_only, deadline)?;
    Ok(file)
}

/// Claims what is open already.
pub(crate) fn lock(path: &Path, file: &File, read_only: bool) -> Result<(), OpenError> {
    lock_until(path, file, read_only, Instant::now() + WAIT)
}

fn open_file(path: &Path, read_only: bool, exclusive: bool) -> Result<File, OpenError> {
    let read = || OpenOptions::new().read(true).open(path);
    if read_only {
        return read().map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => OpenError::Permission { path: path.to_owned(), write: false },
            _ => failed(path, "open", source),
        });
    }
    let read_only = |reason: String| Err(OpenError::ReadOnly { path: path.to_owned(), reason });
    // Without O_CREAT it means to the kernel: a block device that nobody else has claimed.
    let flags = if exclusive { libc::O_EXCL } else { 0 };
    match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(file) => {
            // Root may write what nobody may. Whoever took the write permission away meant it.
            let mode = file.metadata().map_err(|source| failed(path, "look at", source))?.mode() & 0o7777;
            if mode & 0o222 == 0 { read_only(format!("its mode is {mode:04o}")) } else { Ok(file) }
        }
        Err(source) => match source.kind() {
            io::ErrorKind::ResourceBusy => Err(OpenError::InUse { path: path.to_owned() }),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::ExecutableFileBusy => {
                match read() {
                    Ok(_) => read_only(source.to_string()),
                    Err(_) => Err(OpenError::Permission { path: path.to_owned(), write: true }),
                }
            }
            _ => Err(failed(path, "open", source)),
        },
    }
}

/// Keeps others from serving the same file: they would not know of each other's writes.
fn lock_until(path: &Path, file: &File, read_only: bool, deadline: Instant) -> Result<(), OpenError> {
    let operation =
        if read_only { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
    loop {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => return Err(OpenError::Locked { path: path.to_owned() }),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot lock the disk: see that nothing else serves it");
                return Ok(());
            }
        }
    }
}

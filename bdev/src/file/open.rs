//! Opens a disk file: what it is, whether we may, whether somebody else has it, its size, and direct I/O.
//!
//! Runs once for each disk, on the control thread. Every way in which it fails has its own [`OpenError`].

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FlockOperation, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::error::OpenError;
use crate::file::{Alignment, Direct, FileBdev, FileOptions};
use crate::info::{Info, MAX_TRANSFER, WriteCache, blocks_of};

/// How long to wait for the lock of a target that was killed, and how long between two looks.
const LOCK_WAIT: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Size of the blocks that a file system or a modern disk works in, in bytes.
const PHYSICAL_BLOCK: u32 = 4096;

pub(super) fn open(path: &Path, options: FileOptions) -> Result<FileBdev, OpenError> {
    let is_block_device = check_kind(path)?;
    let mut file = open_file(path, options.read_only)?;
    lock(path, &file, options.read_only)?;

    let sector = if is_block_device { rustix::fs::ioctl_blksszget(&file).ok() } else { None };
    let block_size = options.block_size.or(sector).unwrap_or(512);
    // A block device has no length in its metadata; its end is where a seek leads.
    let size = file.seek(SeekFrom::End(0)).map_err(|source| failed(path, "find the size", source))?;
    let blocks = blocks_of(|| path.display().to_string(), size, block_size)?;

    let (alignment, how) = match choose(&file, options.direct, block_size, sector) {
        Ok(alignment) => (Some(alignment), "direct".to_owned()),
        Err(reason) if options.direct == Direct::On => {
            return Err(OpenError::NoDirect { path: path.to_owned(), reason });
        }
        Err(reason) => (None, format!("buffered: {reason}")),
    };
    let metadata = file.metadata().map_err(|source| failed(path, "look at", source))?;
    let kind = if is_block_device { "block device" } else { "file" };
    let mut description = format!("{kind} {}, io_uring, {how}", path.display());
    if options.read_only {
        description.push_str(", read-only");
    }
    let physical = if is_block_device { rustix::fs::ioctl_blkpbszget(&file).ok() } else { None };
    let info = Info {
        block_size,
        blocks,
        physical_exponent: (physical.unwrap_or(PHYSICAL_BLOCK) / block_size).max(1).ilog2() as u8,
        read_only: options.read_only,
        write_cache: WriteCache::WriteBack,
        // st_blocks counts in units of 512 bytes: a file with holes has fewer than its length says.
        thin: !is_block_device && metadata.blocks().saturating_mul(512) < size,
        max_transfer: MAX_TRANSFER,
        optimal_transfer: 0,
        solid_state: true,
        discard: None,
        write_zeroes_max: 0,
        atomic_write_max: 0,
        description,
    };
    Ok(FileBdev { info, file: Arc::new(file), alignment })
}

/// Whether the path is a block device, else it is a regular file. Looked at before it is opened: opening a pipe waits for
/// its other end, and a tape would be wound.
fn check_kind(path: &Path) -> Result<bool, OpenError> {
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
        "character device"
    } else {
        return Ok(kind.is_block_device());
    };
    Err(OpenError::Kind { path: path.to_owned(), kind: other })
}

fn open_file(path: &Path, read_only: bool) -> Result<File, OpenError> {
    let read = || OpenOptions::new().read(true).open(path);
    if read_only {
        return read().map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => OpenError::Permission { path: path.to_owned(), write: false },
            _ => failed(path, "open", source),
        });
    }
    let read_only = |reason: String| Err(OpenError::ReadOnly { path: path.to_owned(), reason });
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(file) => {
            // Root may write what nobody may. Whoever took the write permission away meant it.
            let mode = file.metadata().map_err(|source| failed(path, "look at", source))?.mode() & 0o7777;
            if mode & 0o222 == 0 { read_only(format!("its mode is {mode:04o}")) } else { Ok(file) }
        }
        Err(source) => match source.kind() {
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
///
/// A target that was killed holds its locks a little longer than it lives: the kernel takes its rings, and the files
/// registered with them, apart in the background. So this asks again for a while.
fn lock(path: &Path, file: &File, read_only: bool) -> Result<(), OpenError> {
    let operation =
        if read_only { FlockOperation::NonBlockingLockShared } else { FlockOperation::NonBlockingLockExclusive };
    let deadline = Instant::now() + LOCK_WAIT;
    loop {
        match rustix::fs::flock(file, operation) {
            Ok(()) => return Ok(()),
            Err(Errno::WOULDBLOCK) if Instant::now() < deadline => std::thread::sleep(LOCK_PAUSE),
            Err(Errno::WOULDBLOCK) => return Err(OpenError::Locked { path: path.to_owned() }),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot lock the disk: see that nothing else serves it");
                return Ok(());
            }
        }
    }
}

/// Turns direct I/O on if that is wanted and can be had; else says why not.
fn choose(file: &File, direct: Direct, block_size: u32, sector: Option<u32>) -> Result<Alignment, String> {
    if direct == Direct::Off {
        return Err("as asked for".to_owned());
    }
    let alignment = ask_alignment(file, sector).ok_or("the file system does not offer it")?;
    if alignment.offset > block_size {
        return Err(format!(
            "the file system takes multiples of {} bytes, the disk has blocks of {block_size}",
            alignment.offset
        ));
    }
    let flags = rustix::fs::fcntl_getfl(file).map_err(|error| error.to_string())?;
    rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT).map_err(|error| error.to_string())?;
    Ok(alignment)
}

fn ask_alignment(file: &File, sector: Option<u32>) -> Option<Alignment> {
    let answer = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN).ok();
    let said = answer.filter(|answer| answer.stx_mask & StatxFlags::DIOALIGN.bits() != 0);
    let (memory, offset) = match (said, sector) {
        (Some(answer), _) => (answer.stx_dio_mem_align, answer.stx_dio_offset_align),
        // A block device of a kernel that does not answer: its sectors are always enough.
        (None, Some(sector)) => (sector, sector),
        (None, None) => return None,
    };
    // 0 means that this file cannot.
    (memory.is_power_of_two() && offset.is_power_of_two()).then_some(Alignment { memory, offset })
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), action, source }
}

#[cfg(test)]
#[path = "open_tests.rs"]
mod tests;

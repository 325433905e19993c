//! Makes disk files: sparse, with their space set aside, or full of zeroes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation};
use rustix::io::Errno;

/// Bytes written at once where a file is filled.
const FILL_BYTES: usize = 1 << 20;

/// How much of the space of a new disk is there from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Preallocate {
    /// Nothing: space is taken as it is written.
    #[default]
    None,
    /// All of it is set aside (`fallocate`): quick, and a write never finds the file system full.
    Falloc,
    /// All of it is written with zeroes: slow, and a later write has nothing left to allocate or convert.
    Full,
}

/// What a new disk is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreateOptions {
    /// Bytes; a multiple of the block size.
    pub size: u64,
    /// Logical block size with which it will be served, 512 or 4096.
    pub block_size: u32,
    /// Space from the beginning.
    pub preallocate: Preallocate,
    /// Replace a regular file that is there; what it holds is lost.
    pub force: bool,
}

/// Why a disk file could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Something has this path.
    #[error("{}: is there already. Choose another path, or add --force to replace it and lose what it holds", .0.display())]
    Exists(PathBuf),
    /// What is there is no regular file: not replaced in any case.
    #[error("{}: is no regular file. Choose the path of a new file", .0.display())]
    NotAFile(PathBuf),
    /// What is there is being served.
    #[error("{}: is being served. Stop that first", .0.display())]
    Served(PathBuf),
    /// Not a size for a disk.
    #[error("{}: size {size} is no multiple of the block size {block_size}, or 0. Try {}", .path.display(), .size.next_multiple_of(u64::from(*.block_size)).max(u64::from(*.block_size)))]
    Size {
        /// As it was asked for.
        path: PathBuf,
        /// In bytes.
        size: u64,
        /// In bytes.
        block_size: u32,
    },
    /// The file system has not so much.
    #[error("{}: the file system has no room for {size} bytes. Make it smaller, choose another place, or leave out the preallocation", .path.display())]
    NoSpace {
        /// As it was asked for.
        path: PathBuf,
        /// In bytes.
        size: u64,
    },
    /// Space cannot be set aside here.
    #[error("{}: the file system cannot set space aside. Use --preallocate full or none", .0.display())]
    NoFalloc(PathBuf),
    /// Anything else that the kernel says.
    #[error("{}: cannot {action}: {source}", .path.display())]
    Io {
        /// As it was asked for.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

/// Makes the file at `path`. A new file that cannot be finished is removed again.
///
/// # Errors
/// [`CreateError`], in words that tell what to do. Nothing that was there is lost then, unless it was to be replaced.
pub fn create(path: &Path, options: CreateOptions) -> Result<(), CreateError> {
    let CreateOptions { size, block_size, .. } = options;
    if size == 0 || !size.is_multiple_of(u64::from(block_size)) || i64::try_from(size).is_err() {
        return Err(CreateError::Size { path: path.to_owned(), size, block_size });
    }
    let (mut file, is_new) = open(path, options.force)?;
    let made = fill(path, &mut file, options);
    if made.is_err() && is_new {
        let _ = std::fs::remove_file(path);
    }
    made
}

/// A new file, or one that is to be replaced and that nobody serves.
fn open(path: &Path, force: bool) -> Result<(File, bool), CreateError> {
    let failed = |action, source| CreateError::Io { path: path.to_owned(), action, source };
    match OpenOptions::new().read(true).write(true).create_new(true).open(path) {
        Ok(file) => return Ok((file, true)),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create it", error)),
        Err(_) => {}
    }
    // Looked at before it is opened: opening a pipe waits for its other end.
    if !path.metadata().map_err(|error| failed("look at it", error))?.is_file() {
        return Err(CreateError::NotAFile(path.to_owned()));
    }
    if !force {
        return Err(CreateError::Exists(path.to_owned()));
    }
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| failed("open it", error))?;
    if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(CreateError::Served(path.to_owned()));
    }
    file.set_len(0).map_err(|error| failed("empty it", error))?;
    Ok((file, false))
}

fn fill(path: &Path, file: &mut File, options: CreateOptions) -> Result<(), CreateError> {
    let size = options.size;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            CreateError::NoSpace { path: path.to_owned(), size }
        }
        io::ErrorKind::Unsupported => CreateError::NoFalloc(path.to_owned()),
        _ => CreateError::Io { path: path.to_owned(), action: "give it its size", source: error },
    };
    match options.preallocate {
        Preallocate::None => file.set_len(size),
        Preallocate::Falloc => rustix::fs::fallocate(&*file, FallocateFlags::empty(), 0, size).map_err(io::Error::from),
        Preallocate::Full => set_aside_if_possible(file, size).and_then(|()| write_zeroes(file, size)),
    }
    .and_then(|()| file.sync_all())
    .map_err(failed)
}

/// So that a file system which has no room says so before it is full.
fn set_aside_if_possible(file: &File, size: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        result => result.map_err(io::Error::from),
    }
}

fn write_zeroes(file: &mut File, size: u64) -> io::Result<()> {
    let zeroes = vec![0; FILL_BYTES];
    let mut left = size;
    while left > 0 {
        let part = left.min(FILL_BYTES as u64) as usize;
        file.write_all(&zeroes[..part])?;
        left -= part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::file::{FileBdev, FileOptions};

    const OPTIONS: CreateOptions =
        CreateOptions { size: 1 << 20, block_size: 4096, preallocate: Preallocate::None, force: false };

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap()
    }

    #[test]
    fn has_its_size_and_the_space_that_was_asked_for() {
        let dir = dir();
        for (preallocate, full) in [(Preallocate::None, false), (Preallocate::Falloc, true), (Preallocate::Full, true)]
        {
            let path = dir.path().join(format!("{preallocate:?}"));
            create(&path, CreateOptions { preallocate, ..OPTIONS }).unwrap();
            let metadata = path.metadata().unwrap();
            assert_eq!((metadata.len(), metadata.blocks() * 512 >= 1 << 20), (1 << 20, full), "{preallocate:?}");
            assert!(std::fs::read(&path).unwrap().iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn keeps_what_is_there_unless_told_otherwise() {
        let dir = dir();
        let path = dir.path().join("disk.img");
        std::fs::write(&path, "data").unwrap();
        assert!(matches!(create(&path, OPTIONS), Err(CreateError::Exists(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"data");
        create(&path, CreateOptions { force: true, ..OPTIONS }).unwrap();
        assert!(std::fs::read(&path).unwrap() == vec![0; 1 << 20], "nothing of the old file is left");
        assert!(matches!(create(dir.path(), CreateOptions { force: true, ..OPTIONS }), Err(CreateError::NotAFile(_))));
    }

    #[test]
    fn does_not_replace_what_is_served() {
        let dir = dir();
        let path = dir.path().join("disk.img");
        create(&path, OPTIONS).unwrap();
        let _served = FileBdev::open(&path, FileOptions::default()).unwrap();
        assert!(matches!(create(&path, CreateOptions { force: true, ..OPTIONS }), Err(CreateError::Served(_))));
        assert_eq!(path.metadata().unwrap().len(), 1 << 20);
    }

    #[test]
    fn a_size_that_cannot_be_leaves_nothing_behind() {
        let dir = dir();
        let path = dir.path().join("disk.img");
        for size in [0, 4095, !4095] {
            assert!(matches!(create(&path, CreateOptions { size, ..OPTIONS }), Err(CreateError::Size { .. })));
        }
        let huge = CreateOptions { size: 1 << 60, preallocate: Preallocate::Falloc, ..OPTIONS };
        let error = create(&path, huge).unwrap_err().to_string();
        assert!(error.contains("no room for 1152921504606846976 bytes"), "{error}");
        assert!(!path.exists());
        // One that is to be filled is told so before it is.
        let file = File::create(&path).unwrap();
        assert!(set_aside_if_possible(&file, 1 << 60).is_err());
    }
}

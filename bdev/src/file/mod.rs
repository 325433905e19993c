//! The device in a file (or on a block device), served through the io_uring of each core.
//!
//! Owns the open file and the rules of its alignment. Guest memory is the buffer of the I/O; only memory that direct I/O
//! does not take as it lies goes through a bounce buffer. It never answers for data that the file does not hold: a read
//! past an end that has moved is [`IoError::BeyondEnd`](crate::IoError), and once that was seen so is all that touches what
//! was lost, until the disk is [resized](Bdev::resized). (A write there before anybody has seen it makes the file grow again:
//! Linux has none that does not.)
//!
//! A flush is `fdatasync` and is submitted after the completion of the writes that it covers; FUA is `RWF_DSYNC`, so that
//! only the writes that ask for it wait. Where io_uring is forbidden, threads do the same with system calls that wait.

mod channel;
pub(crate) mod claim;
mod create;
mod direct;
pub(crate) mod end;
pub(crate) mod extents;
mod fiemap;
mod kind;
mod open;
mod queue;
mod words;

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::channel::{Bdev, Channel, Io};
use crate::error::OpenError;
use crate::file::end::End;
use crate::health::Health;
use crate::info::{Info, Space};
use crate::nvme::Checkup;
use crate::space::Ways;

pub(crate) use kind::{FILE, THREADS, URING};

pub use create::{CreateError, CreateOptions, Preallocate, create};

/// Whether the page cache is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direct {
    /// Where the file system can, and in the block size of the disk.
    #[default]
    Auto,
    /// Always: else the disk is not opened.
    On,
    /// Never.
    Off,
}

/// Who does the I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// The io_uring of each core where that is allowed, else threads.
    #[default]
    Auto,
    /// The io_uring of each core.
    Uring,
    /// Threads beside each core: slower, and there everywhere.
    Threads,
}

/// Whether results are looked for in the device's own queues (`IORING_SETUP_IOPOLL`), so that it does not interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Iopoll {
    /// Where a block device has queues for that, io_uring serves it, and the page cache is left out.
    #[default]
    Auto,
    /// Always: else the disk is not opened.
    On,
    /// Never.
    Off,
}

/// How a file is to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileOptions {
    /// Size of a logical block in bytes, 512 or 4096. `None`: 512, or what a block device has.
    pub block_size: Option<u32>,
    /// Refuse writes.
    pub read_only: bool,
    /// Whether the page cache is left out.
    pub direct: Direct,
    /// Who does the I/O.
    pub engine: Engine,
    /// Whether results are polled for.
    pub iopoll: Iopoll,
}

/// What direct I/O demands, in bytes: powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alignment {
    /// Of the address of each segment.
    memory: u32,
    /// Of offsets on the device and of the length of each segment. Divides the block size.
    offset: u32,
}

impl Alignment {
    /// What the page cache demands.
    const NONE: Self = Self { memory: 1, offset: 1 };
}

/// A device in a file.
#[derive(Debug)]
pub struct FileBdev {
    info: Info,
    file: Arc<File>,
    /// How much of it is there.
    end: Arc<End>,
    /// `None` if the page cache is used.
    alignment: Option<Alignment>,
    ways: Ways,
    engine: Engine,
    /// Results of reads and writes are polled for.
    polled: bool,
    /// Of an NVMe namespace.
    checkup: Option<Checkup>,
}

impl FileBdev {
    /// Opens the file or block device at `path` and keeps others from it until the last user of the device is gone: it is
    /// locked (`flock`, shared if read-only), and a block device that is to be written can be mounted by nobody. What was
    /// chosen stands in the description of [`Info`].
    ///
    /// # Errors
    /// [`OpenError`], in words that tell what to do.
    pub fn open(path: &Path, options: FileOptions) -> Result<Self, OpenError> {
        open::open(path, options)
    }

    /// Whether the page cache is left out.
    pub fn is_direct(&self) -> bool {
        self.alignment.is_some()
    }
}

impl Bdev for FileBdev {
    fn info(&self) -> &Info {
        &self.info
    }

    fn size_now(&self) -> io::Result<u64> {
        self.end.look(&self.file)
    }

    fn resized(&self) -> Result<Option<Arc<dyn Bdev>>, OpenError> {
        // It may be made longer again before it is looked at the next time.
        let _ = self.end.look(&self.file);
        let info = match self.info.in_size(extents::size(&self.file))? {
            Some(info) => info,
            // What it had is lost, and whoever made it as large as before has put something else there.
            None if self.end.is_cut() => self.info.clone(),
            None => return Ok(None),
        };
        let end = Arc::new(self.end.anew(info.size()));
        let Self { ref file, alignment, ways, engine, polled, checkup, .. } = *self;
        Ok(Some(Arc::new(Self { info, file: file.clone(), end, alignment, ways, engine, polled, checkup })))
    }

    fn needs_ring(&self) -> bool {
        self.engine != Engine::Threads
    }

    fn space(&self) -> Option<Space> {
        extents::space(&self.file)
    }

    fn health(&self) -> Option<Health> {
        self.checkup.and_then(|checkup| checkup.ask(&self.file))
    }

    fn channel(&self, io: &mut Io) -> io::Result<Box<dyn Channel>> {
        if self.engine == Engine::Threads {
            channel::through_threads(self, io)
        } else {
            channel::through_ring(self, io)
        }
    }
}

pub(crate) fn failed(path: &Path, action: &'static str, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), action, source }
}

#[cfg(test)]
mod tests;

//! An NVMe namespace, by the kernel's character device for its commands (`/dev/ng0n1`).
//!
//! Owns the open device, the commands and what their results mean. Commands go to the driver through an io_uring of each
//! core, past the block layer's scheduler, page cache and partitions. It never formats, and sends no admin commands but
//! Identify and Get Log Page. Opened by the table of `wanted`, and by `file` where a path alone was given; [`Io`] has the ring.

mod channel;
mod command;
mod cut;
mod device;
mod health;
mod identify;
mod ioctl;
mod jobs;
mod kind;
mod limits;
mod open;
mod probe;
mod ring;
mod spec;
mod stand_in;
mod status;
mod words;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::channel::{Bdev, Channel, Io};
use crate::error::OpenError;
use crate::file::Iopoll;
use crate::health::Health;
use crate::info::{Info, Names};
use crate::sysfs;

pub(crate) use health::Checkup;
pub(crate) use kind::KIND;
pub(crate) use ring::NvmeRing;

use jobs::Terms;

/// How a namespace is to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NvmeOptions {
    /// The size of a logical block in bytes that the user expects. It is the namespace's own, or the disk is not opened.
    pub block_size: Option<u32>,
    /// Refuse writes.
    pub read_only: bool,
    /// Whether to look for results in the device's own queues.
    pub iopoll: Iopoll,
}

/// A namespace.
#[derive(Debug)]
pub struct NvmeBdev {
    info: Info,
    names: Names,
    terms: Terms,
    /// Results of reads and writes are looked for in the device's own queues.
    polled: bool,
    checkup: Checkup,
    file: Arc<File>,
    /// The block device of the same namespace, claimed so that nobody mounts it meanwhile.
    claim: Option<Arc<File>>,
    /// Where the kernel says how large that is.
    size_file: PathBuf,
}

impl NvmeBdev {
    /// Opens the character device of a namespace, `/dev/ngXnY`, and keeps others from serving it or mounting its block
    /// device until the last user is gone.
    ///
    /// # Errors
    /// [`OpenError`], in words that tell what to do. [`OpenError::NoCommands`]: its block device may be served instead, which
    /// [`open_any`] does.
    pub fn open(path: &Path, options: NvmeOptions) -> Result<Self, OpenError> {
        open::open(path, options)
    }
}

impl Bdev for NvmeBdev {
    fn info(&self) -> &Info {
        &self.info
    }

    fn size_now(&self) -> io::Result<u64> {
        // Of a namespace without a block device nobody tells but the device, which takes its time.
        Ok(sysfs::number::<u64>(&self.size_file).map_or(self.info.size(), |sectors| sectors << 9))
    }

    fn resized(&self) -> Result<Option<Arc<dyn Bdev>>, OpenError> {
        let Some(info) = self.info.in_size(self.size_now())? else { return Ok(None) };
        let &Self { terms, polled, checkup, .. } = self;
        let Self { names, file, claim, size_file, .. } = self;
        let (names, file, claim, size_file) = (names.clone(), file.clone(), claim.clone(), size_file.clone());
        Ok(Some(Arc::new(Self { info, names, terms, polled, checkup, file, claim, size_file })))
    }

    fn needs_ring(&self) -> bool {
        true
    }

    fn names(&self) -> Option<&Names> {
        Some(&self.names)
    }

    fn health(&self) -> Option<Health> {
        self.checkup.ask(&self.file)
    }

    fn channel(&self, io: &mut Io) -> io::Result<Box<dyn Channel>> {
        channel::open(self, io)
    }
}

/// Opens a namespace as [`NvmeBdev::open`] does; where no commands can be sent to it, its block device under the same names,
/// with a warning.
///
/// # Errors
/// [`OpenError`], in words that tell what to do.
pub fn open_any(path: &Path, options: NvmeOptions) -> Result<Arc<dyn Bdev>, OpenError> {
    match NvmeBdev::open(path, options) {
        // What it had claimed is free again.
        Err(OpenError::NoCommands { why, .. }) => stand_in::open(path, options, &why),
        opened => Ok(Arc::new(opened?)),
    }
}

fn refused(path: &Path, why: String) -> OpenError {
    OpenError::Nvme { path: path.to_owned(), why }
}

/// Whether `path` is the character device of an NVMe namespace.
pub fn is_generic(path: &Path) -> bool {
    open::generic_name(path).is_some()
}

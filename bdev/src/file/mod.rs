//! The device in a file (or on a block device), served through the io_uring of each core.
//!
//! Owns the open file and the rules of its alignment. Guest memory is the buffer of the I/O; only memory that direct I/O
//! does not take as it lies goes through a bounce buffer. It never answers for data that the file does not hold: a read
//! past an end that has moved is [`IoError::BeyondEnd`]. (A write there makes the file grow again.)
//!
//! A flush is `fdatasync` and is submitted after the completion of the writes that it covers; FUA is `RWF_DSYNC`, so that
//! only the writes that ask for it wait.

mod open;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::channel::{Bdev, Channel, ChannelId, Completion, Io, SubmitError, Tag};
use crate::error::OpenError;
use crate::info::Info;
use crate::op::{IoError, Op, OpKind};
use crate::segment::Segment;
use crate::uring::FileId;

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

/// How a file is to be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileOptions {
    /// Size of a logical block in bytes, 512 or 4096. `None`: 512, or what a block device has.
    pub block_size: Option<u32>,
    /// Refuse writes.
    pub read_only: bool,
    /// Whether the page cache is left out.
    pub direct: Direct,
}

/// What direct I/O demands, in bytes: powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alignment {
    /// Of the address of each segment.
    memory: u32,
    /// Of offsets on the device and of the length of each segment. Divides the block size.
    offset: u32,
}

/// A device in a file.
#[derive(Debug)]
pub struct FileBdev {
    info: Info,
    file: Arc<File>,
    /// `None` if the page cache is used.
    alignment: Option<Alignment>,
}

impl FileBdev {
    /// Opens the file at `path` and locks it (`flock`, shared if read-only) until the last user of the device is gone.
    /// What was chosen stands in the description of [`Info`].
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

    fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
        let alignment = self.alignment.unwrap_or(Alignment { memory: 1, offset: 1 });
        io.open_ring()?;
        let id = io.register()?;
        let file = io.ring_mut().add_file(id, &self.file, alignment.offset).inspect_err(|_| io.unregister(id))?;
        Ok(Box::new(FileChannel {
            id,
            file,
            size: self.info.size(),
            read_only: self.info.read_only,
            address_mask: alignment.memory as usize - 1,
            length_mask: alignment.offset as usize - 1,
        }))
    }
}

struct FileChannel {
    id: ChannelId,
    file: FileId,
    size: u64,
    read_only: bool,
    address_mask: usize,
    length_mask: usize,
}

impl FileChannel {
    /// What can be said without asking the file.
    fn answer_at_once(&self, op: &Op) -> Option<Result<(), IoError>> {
        match op.kind {
            OpKind::Flush => None,
            kind if kind.is_change() && self.read_only => Some(Err(IoError::ReadOnly)),
            _ if op.offset > self.size || op.len > self.size - op.offset => Some(Err(IoError::BeyondEnd)),
            _ if op.len == 0 => Some(Ok(())),
            kind if !kind.moves_data() => Some(Err(IoError::Unsupported)),
            _ => None,
        }
    }

    /// Whether direct I/O does not take the segments as they lie.
    fn needs_bounce(&self, segments: &[Segment], len: u64) -> bool {
        let (mut addresses, mut lengths, mut sum) = (0, 0, 0);
        for segment in segments {
            addresses |= segment.as_ptr().addr();
            lengths |= segment.len();
            sum += segment.len() as u64;
        }
        assert_eq!(sum, len, "an operation's segments hold its length");
        addresses & self.address_mask != 0 || lengths & self.length_mask != 0
    }
}

impl Channel for FileChannel {
    fn id(&self) -> ChannelId {
        self.id
    }

    fn has_timers(&self) -> bool {
        false
    }

    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        io.admit(self.id)?;
        if let Some(result) = self.answer_at_once(op) {
            io.complete(self.id, Completion { tag, result });
            return Ok(());
        }
        let through_bounce = op.kind.moves_data() && self.needs_bounce(op.segments.as_slice(), op.len);
        let started = io.ring_mut().start(self.file, op, tag, through_bounce);
        if started.is_err() {
            io.release(self.id);
        }
        started
    }

    fn cancel(&mut self, io: &mut Io, tag: Tag) {
        if let Some(completion) = io.ring_mut().cancel(self.file, tag) {
            io.complete(self.id, completion);
        }
    }

    fn close(&mut self, io: &mut Io) {
        io.ring_mut().remove_file(self.file);
        io.unregister(self.id);
    }
}

#[cfg(test)]
mod tests;

//! Block devices: what a disk can do, a channel to it for each core, and the backends.
//!
//! This crate owns operations, completions and the I/O engine of a core. It never sees a SCSI command, a ring or a
//! guest address: its caller hands it byte ranges of a device and [`Segment`]s of host memory.

mod admission;
pub mod channel;
mod errno;
pub mod error;
mod extents;
pub mod file;
mod health;
pub mod info;
mod io;
mod mapping;
pub mod mem;
pub mod null;
pub mod nvme;
pub mod op;
mod pool;
mod quota;
pub mod segment;
mod space;
mod sysfs;
mod uring;
pub mod wanted;
pub mod wrappers;

pub use channel::{Bdev, Channel, Completion, Io, Ran, SubmitError, Tag};
pub use error::OpenError;
pub use file::{CreateError, CreateOptions, Direct, Engine, FileBdev, FileOptions, Iopoll, Preallocate, create};
pub use health::Health;
pub use info::{Atomic, AtomicMisfit, Discard, Extent, Info, MAX_TRANSFER, Names, Provision, Space, WriteCache};
pub use io::{ChannelId, IoConfig, IoStats, LateRegistrar};
pub use mem::MemBdev;
pub use null::NullBdev;
pub use nvme::{NvmeBdev, NvmeOptions};
pub use op::{IoError, Op, OpKind};
pub use segment::{Segment, SegmentSlice};
pub use uring::{Registrar, Registration};
pub use wanted::{Data, Wanted};
pub use wrappers::delay::{DelayBdev, Delays};
pub use wrappers::error::{ErrorBdev, Errors, Kinds};
pub use wrappers::read_only::ReadOnlyBdev;
pub use wrappers::split::SplitBdev;

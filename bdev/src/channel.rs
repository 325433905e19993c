//! The way from a core to a device: [`Bdev`] is shared, a [`Channel`] belongs to one core, [`Io`] is that core's engine.
//!
//! Nothing here blocks: `submit` queues (that of a file hands some over at once, see [`Io::has_files`]), [`Io::submit`] hands everything
//! queued to the kernel with one system call, [`Io::reap`] collects completions.

use std::sync::Arc;

use crate::error::OpenError;
use crate::health::Health;
use crate::info::{Info, Names, Space};
use crate::op::{IoError, Op};

pub use crate::io::{ChannelId, Io};

/// The caller's name of an operation, given back with its completion. Opaque here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub u64);

/// The end of an operation. Each accepted operation has exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// As given to `submit`.
    pub tag: Tag,
    /// All bytes were moved, or why not. After an error any part of the range may have been moved.
    pub result: Result<(), IoError>,
}

/// Why an operation was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// No room for another operation of this channel for now: nothing was done, try again after the next reap.
    #[error("the channel's room on this core is full")]
    Full,
}

/// A block device, shared by all cores.
pub trait Bdev: Send + Sync + std::fmt::Debug {
    /// What it is.
    fn info(&self) -> &Info;

    /// The device that this one is around, if it is around one: what the methods with a default tell is up to that, but for
    /// [`Bdev::resized`], which has to put the same around it again.
    fn inside(&self) -> Option<&dyn Bdev> {
        None
    }

    /// Bytes that the backing store has now, which may have grown or shrunk since [`Bdev::info`] was made; of a file that was cut,
    /// the fewest that it was ever seen to have. Does not wait.
    ///
    /// # Errors
    /// Whatever the kernel says.
    fn size_now(&self) -> std::io::Result<u64> {
        self.inside().map_or_else(|| Ok(self.info().size()), Bdev::size_now)
    }

    /// The same device in the size that it has by now, if that is another one or it has been cut meanwhile. What was opened of it before keeps the size that
    /// it had then. It may wait: not for cores.
    ///
    /// # Errors
    /// The size cannot be found, or is none that a device can have.
    fn resized(&self) -> Result<Option<Arc<dyn Bdev>>, OpenError> {
        Ok(None)
    }

    /// Whether its channels want an io_uring of their core.
    fn needs_ring(&self) -> bool {
        self.inside().is_some_and(Bdev::needs_ring)
    }

    /// How much space it has and can still get, where that can be told. It may wait for the file system: not for cores.
    fn space(&self) -> Option<Space> {
        self.inside().and_then(Bdev::space)
    }

    /// What it tells of its own condition, if it does. It may wait for the device: not for cores.
    fn health(&self) -> Option<Health> {
        self.inside().and_then(Bdev::health)
    }

    /// Names that the device has of its own, if it has any.
    fn names(&self) -> Option<&Names> {
        self.inside().and_then(Bdev::names)
    }

    /// A channel for the core that `io` belongs to.
    ///
    /// # Errors
    /// Whatever the kernel says when the device is registered with the core's ring.
    fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>>;
}

/// What became of operations that were to be done at once, see [`Channel::run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ran {
    /// So many succeeded, from the first on.
    pub done: usize,
    /// The one behind those failed; if there is one, and it did not, it was not tried.
    pub failed: Option<IoError>,
}

/// One core's way to one device. It is used by that core alone and lives as long as its operations.
pub trait Channel {
    /// What [`Io::register`] called it: a wrapper counts its operations under the name of the channel inside.
    fn id(&self) -> ChannelId;

    /// Whether this device never makes an operation wait, so that [`Channel::run`] does it.
    fn runs(&self) -> bool {
        false
    }

    /// Does operations here and now, one after the other, up to the first that fails, or that it would rather not do here: that
    /// one has to be submitted. Nothing of them is in flight then, and no completion comes. What [`Channel::submit`] does with
    /// them is the same, but for the detour over the list of completions. A device that may make one wait does none of them: they
    /// have to be submitted.
    fn run(&mut self, ops: &[Op]) -> Ran {
        let _ = ops;
        Ran::default()
    }

    /// Takes an operation over. Its completion, with `tag`, appears in `io`: perhaps at once, perhaps much later.
    ///
    /// # Errors
    /// [`SubmitError::Full`]: nothing was done.
    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError>;

    /// Tries to end an operation early. Its one completion still comes: as [`IoError::Cancelled`], or as whatever
    /// happened first.
    fn cancel(&mut self, io: &mut Io, tag: Tag);

    /// Whether [`Channel::poll`] ever has something to do: if not, nobody need call it.
    fn has_timers(&self) -> bool {
        true
    }

    /// Does what is due by `io.now_ns()` (timers of wrappers). Returns the number of things done. Called once a pass.
    fn poll(&mut self, io: &mut Io) -> usize {
        let _ = io;
        0
    }

    /// Nanoseconds on `io`'s clock at which [`Channel::poll`] next has something to do: bounds the sleep of an idle core.
    fn next_deadline_ns(&self) -> Option<u64> {
        None
    }

    /// Removes what the channel registered with `io`, its name included. No operation is in flight.
    fn close(&mut self, io: &mut Io) {
        io.unregister(self.id());
    }
}

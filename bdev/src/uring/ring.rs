//! One of a core's rings in the kernel: its two queues, the files and the memory that are registered with it.
//!
//! A core has one that is interrupted for results, and makes another one, which polls, when the first disk wants that. Both
//! serve the same operations and files, which [`Rings`](super::Rings) owns and gives out.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{IoUring, cqueue, squeue};

use crate::io::IoConfig;
use crate::uring::Registrar;
use crate::uring::buffers::{BufferTable, Registered};
use crate::uring::enter::Enter;
use crate::uring::files::FileId;
use crate::uring::setup::{self, Kind};

pub(crate) struct Ring<S: squeue::EntryMarker, C: cqueue::EntryMarker> {
    // Before the ring: it is given back first.
    enter: Enter,
    pub(crate) ring: IoUring<S, C>,
    pub(crate) kind: Kind,
    description: String,
    /// The kernel takes several segments of a registered buffer.
    pub(crate) vectored_fixed: bool,
    files_registered: bool,
    /// What is registered of others' memory.
    pub(crate) registered: Option<Registered>,
}

impl<S: squeue::EntryMarker, C: cqueue::EntryMarker> Ring<S, C> {
    /// A ring for the calling thread. `bell` wakes the core when memory comes or goes.
    pub(crate) fn new(
        kind: Kind,
        config: &IoConfig,
        registrar: Option<&Registrar>,
        bell: &OwnedFd,
    ) -> io::Result<Self> {
        let made = setup::ring(config.in_flight_max(), kind)?;
        let enter = Enter::new(&made.ring);
        let files_registered = match made.ring.submitter().register_files_sparse(config.channels) {
            Ok(()) => true,
            Err(error) => {
                tracing::info!(%error, "files are not registered with io_uring: each operation costs a little more");
                false
            }
        };
        Ok(Self {
            description: made.description(enter.is_registered(), files_registered),
            enter,
            kind,
            vectored_fixed: made.vectored_fixed,
            ring: made.ring,
            files_registered,
            registered: registrar.map(|registrar| Registered::new(registrar, bell)).transpose()?,
        })
    }

    /// What the kernel gave, for people.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// Registers a file. Returns whether the kernel knows it by its place now.
    pub(crate) fn add_file(&self, id: FileId, file: &File) -> bool {
        if !self.files_registered {
            return false;
        }
        let done = self.ring.submitter().register_files_update(id.index(), &[file.as_raw_fd()]);
        done.inspect_err(|error| tracing::info!(%error, "a file is not registered with io_uring")).is_ok()
    }

    /// Lets a file go that is registered.
    pub(crate) fn remove_file(&self, id: FileId) {
        if let Err(error) = self.ring.submitter().register_files_update(id.index(), &[-1]) {
            tracing::warn!(%error, "a closed file stays registered with io_uring");
        }
    }

    /// Takes over what has changed of registered memory.
    #[inline]
    pub(crate) fn take_over_memory(&mut self, buffers: &mut BufferTable) {
        if let Some(registered) = &mut self.registered
            && registered.is_stale()
        {
            registered.update(&self.ring.submitter(), buffers);
        }
    }

    /// Whether there is registered memory to take over.
    pub(crate) fn is_stale(&self) -> bool {
        self.registered.as_ref().is_some_and(Registered::is_stale)
    }

    /// Whether another entry has no place.
    #[inline]
    pub(crate) fn is_full(&mut self) -> bool {
        self.ring.submission().is_full()
    }

    /// Queues an entry, if there is a place.
    ///
    /// # Safety
    /// What the entry points to stays until its completion.
    #[inline]
    pub(crate) unsafe fn push(&mut self, entry: &S) -> bool {
        // SAFETY: as the caller promises.
        unsafe { self.ring.submission().push(entry) }.is_ok()
    }

    /// Entries that wait for the kernel.
    #[inline]
    pub(crate) fn queued(&mut self) -> u32 {
        self.ring.submission().len() as u32
    }

    /// Entries that wait for the kernel, and whether the kernel has put work off for this thread.
    #[inline]
    pub(crate) fn queued_and_asked(&mut self) -> (u32, bool) {
        let queue = self.ring.submission();
        (queue.len() as u32, queue.taskrun() || queue.cq_overflow())
    }

    /// Hands `queued` entries to the kernel; with `asked` runs what it has put off, and a ring that polls looks for results.
    /// Returns how many entries were taken.
    pub(crate) fn enter(&mut self, queued: u32, asked: bool) -> usize {
        // SAFETY: who pushed the queued entries has promised it.
        unsafe { self.enter.hand_over(queued, asked) }
    }
}

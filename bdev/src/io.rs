//! The I/O engine of one core: its io_uring and the completions that wait to be collected.
//!
//! Owns the list of completions and, once a channel needs it, the ring. It bounds what is in flight on the core, whatever
//! the backend, so that a completion always has a place. Made and used on one thread.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use crate::channel::Completion;
use crate::uring::{ENTRIES_MAX, Uring};

/// Sizes of a core's engine. All memory is taken when the engine or its ring is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoConfig {
    /// Operations in flight on this core, of all devices together: 1 to 32,768, rounded up to a power of two.
    pub entries: u32,
    /// Files that the ring can serve at a time: 1 to 32,768.
    pub files: u32,
    /// Buffers for memory that direct I/O does not take as it lies, at least 1.
    pub bounce_buffers: u32,
    /// Size of each in bytes, rounded up to a multiple of 4,096. Larger operations go through one in several steps.
    pub bounce_buffer_bytes: u32,
}

impl Default for IoConfig {
    fn default() -> Self {
        Self { entries: 2048, files: 1024, bounce_buffers: 64, bounce_buffer_bytes: 128 << 10 }
    }
}

impl IoConfig {
    fn within_bounds(self) -> Self {
        Self {
            entries: self.entries.clamp(1, ENTRIES_MAX).next_power_of_two(),
            files: self.files.clamp(1, ENTRIES_MAX),
            bounce_buffers: self.bounce_buffers.clamp(1, ENTRIES_MAX),
            bounce_buffer_bytes: self.bounce_buffer_bytes.clamp(4096, 1 << 30).next_multiple_of(4096),
        }
    }
}

/// What the ring of a core has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoStats {
    /// Operations accepted.
    pub accepted: u64,
    /// Operations refused for want of room ([`SubmitError::Full`](crate::SubmitError::Full)).
    pub refused: u64,
    /// System calls made to submit or to collect.
    pub enters: u64,
    /// Operations whose memory or offsets direct I/O does not take, so that their data was copied.
    pub bounced: u64,
    /// Further parts of operations: after a short count, past 1,024 segments, past the size of a bounce buffer, or because
    /// the kernel said to try again.
    pub resubmitted: u64,
    /// Operations that somebody tried to end early.
    pub cancels: u64,
}

/// One core's engine. Every channel of the core submits through it. It stays on the thread that made it.
#[derive(Debug)]
pub struct Io {
    now_ns: u64,
    done: VecDeque<Completion>,
    held: usize,
    config: IoConfig,
    ring: Option<Box<Uring>>,
    /// The kernel takes a ring's submissions from one thread only.
    one_thread: PhantomData<*const ()>,
}

impl Default for Io {
    fn default() -> Self {
        Self::new(IoConfig::default())
    }
}

impl Io {
    /// An engine without a ring: that is made when a channel first needs it, so that backends without files work where
    /// io_uring is forbidden. Sizes out of their bounds are brought into them.
    pub fn new(config: IoConfig) -> Self {
        let config = config.within_bounds();
        Self {
            now_ns: 0,
            done: VecDeque::with_capacity(config.entries as usize),
            held: 0,
            config,
            ring: None,
            one_thread: PhantomData,
        }
    }

    /// Time of this pass, in nanoseconds on a monotonic clock.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Starts a pass: sets the time that timers compare with.
    #[inline]
    pub fn set_now_ns(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Ends an operation.
    #[inline]
    pub fn complete(&mut self, completion: Completion) {
        self.done.push_back(completion);
    }

    /// Whether this core has no room for another operation, of whichever device. A channel that does not use the ring
    /// answers [`SubmitError::Full`](crate::SubmitError::Full) then.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.in_flight() >= self.config.entries as usize
    }

    /// Counts an operation that a channel keeps with itself, until [`Io::release`].
    #[inline]
    pub fn hold(&mut self) {
        self.held += 1;
    }

    /// Ends [`Io::hold`]: the operation is completed or handed on right after.
    ///
    /// # Panics
    /// If nothing is held.
    #[inline]
    pub fn release(&mut self) {
        self.held = self.held.checked_sub(1).expect("each release has its hold");
    }

    /// Hands everything queued to the kernel: at most one system call. Returns the number of operations handed over.
    #[inline]
    pub fn submit(&mut self) -> usize {
        self.ring.as_mut().map_or(0, |ring| ring.submit())
    }

    /// Moves what the kernel has completed to where [`Io::next_completion`] finds it. No system call unless the kernel
    /// asks for one.
    #[inline]
    pub fn reap(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.reap(&mut self.done);
        }
    }

    /// The next collected completion, in the order in which they were collected.
    #[inline]
    pub fn next_completion(&mut self) -> Option<Completion> {
        self.done.pop_front()
    }

    /// Operations that were accepted and whose completions have not been taken.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.held + self.done.len() + self.ring.as_ref().map_or(0, |ring| ring.in_flight())
    }

    /// Makes the ring now, on the calling thread, to learn early whether it can be had.
    ///
    /// # Errors
    /// What the kernel says, with a hint for people.
    pub fn open_ring(&mut self) -> io::Result<()> {
        if self.ring.is_none() {
            self.ring = Some(Box::new(Uring::new(&self.config)?));
        }
        Ok(())
    }

    /// The core is about to sleep: from now on [`Io::bell`] becomes readable when [`Io::reap`] would find something. True
    /// if there is nothing yet: it may sleep. [`Io::disarm`] follows.
    pub fn arm(&mut self) -> bool {
        if !self.done.is_empty() {
            return false;
        }
        self.ring.as_mut().is_none_or(|ring| {
            ring.arm().unwrap_or_else(|error| {
                tracing::debug!(%error, "io_uring rings no bell: this CPU does not sleep");
                false
            })
        })
    }

    /// The core is awake again and looks for results itself.
    pub fn disarm(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.disarm();
        }
    }

    /// What a sleeping core watches, after [`Io::arm`]. `None` if there is no ring.
    pub fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.ring.as_ref().map(|ring| ring.bell())
    }

    /// What the ring has done; all zero if there is none.
    pub fn stats(&self) -> IoStats {
        self.ring.as_ref().map_or_else(IoStats::default, |ring| ring.stats())
    }

    /// The ring, made if there is none yet.
    pub(crate) fn need_ring(&mut self) -> io::Result<&mut Uring> {
        self.open_ring()?;
        Ok(self.ring_mut())
    }

    /// The ring of a channel that has registered with it.
    #[inline]
    pub(crate) fn ring_mut(&mut self) -> &mut Uring {
        self.ring.as_mut().expect("the channel was opened with this engine, which made the ring")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Tag;

    fn done(tag: u64) -> Completion {
        Completion { tag: Tag(tag), result: Ok(()) }
    }

    #[test]
    fn completions_come_in_the_order_in_which_they_were_made() {
        let mut io = Io::default();
        for tag in 0..3 {
            io.complete(done(tag));
        }
        let tags: Vec<_> = std::iter::from_fn(|| io.next_completion()).map(|completion| completion.tag.0).collect();
        assert_eq!(tags, [0, 1, 2]);
    }

    #[test]
    fn counts_what_is_held_and_what_is_not_taken_and_is_full_at_its_size() {
        let mut io = Io::new(IoConfig { entries: 2, ..IoConfig::default() });
        io.hold();
        assert_eq!((io.in_flight(), io.is_full()), (1, false));
        io.complete(done(1));
        assert_eq!((io.in_flight(), io.is_full()), (2, true));
        io.release();
        assert_eq!((io.in_flight(), io.is_full()), (1, false));
        io.next_completion();
        assert_eq!(io.in_flight(), 0);
    }

    #[test]
    fn has_no_ring_until_one_is_needed() {
        let mut io = Io::default();
        assert!(io.bell().is_none());
        assert_eq!(io.submit(), 0);
        io.reap();
        io.open_ring().unwrap();
        assert!(io.bell().is_some());
    }

    #[test]
    fn sizes_are_brought_within_their_bounds() {
        let config = IoConfig { entries: 0, files: 0, bounce_buffers: 0, bounce_buffer_bytes: 1 }.within_bounds();
        assert_eq!(config, IoConfig { entries: 1, files: 1, bounce_buffers: 1, bounce_buffer_bytes: 4096 });
        let config = IoConfig { entries: u32::MAX, files: u32::MAX, bounce_buffers: 3, bounce_buffer_bytes: 4097 };
        let config = config.within_bounds();
        assert_eq!((config.entries, config.files, config.bounce_buffer_bytes), (32768, 32768, 8192));
    }
}

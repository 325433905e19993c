//! The I/O engine of one core: its io_uring and the completions that wait to be collected.
//!
//! Owns the list of completions, the count of what each channel has in flight and, once a channel needs it, the ring. It
//! bounds what is in flight, whatever the backend, so that a completion always has a place; and each channel has a reserve
//! that disks which do not answer cannot use up. Made and used on one thread.

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;

use crate::channel::{Completion, SubmitError};
use crate::quota::Quota;
use crate::uring::{ENTRIES_MAX, Registrar, Uring};

/// Sizes of a core's engine. All memory is taken when the engine or its ring is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoConfig {
    /// Operations in flight on this core that all channels share, past their reserves: 1 to 16,384, rounded up to a power
    /// of two. One channel gets half of them at most.
    pub entries: u32,
    /// Channels that can be open at a time: 1 to 16,384.
    pub channels: u32,
    /// Operations that each channel can have in flight whatever the others do: at least 1. Fewer than asked for if all
    /// channels together would pass 32,768 operations.
    pub reserve: u32,
    /// Buffers for memory that direct I/O does not take as it lies, at least 1: all channels share them. Each has one more
    /// for itself.
    pub bounce_buffers: u32,
    /// Size of each in bytes, rounded up to a multiple of 4,096. Larger operations go through one in several steps.
    pub bounce_buffer_bytes: u32,
}

impl Default for IoConfig {
    fn default() -> Self {
        Self { entries: 2048, channels: 64, reserve: 32, bounce_buffers: 64, bounce_buffer_bytes: 128 << 10 }
    }
}

impl IoConfig {
    fn within_bounds(self) -> Self {
        let entries = self.entries.clamp(1, ENTRIES_MAX / 2).next_power_of_two();
        let channels = self.channels.clamp(1, ENTRIES_MAX / 2);
        Self {
            entries,
            channels,
            reserve: self.reserve.clamp(1, (ENTRIES_MAX - entries) / channels),
            bounce_buffers: self.bounce_buffers.clamp(1, ENTRIES_MAX),
            bounce_buffer_bytes: self.bounce_buffer_bytes.clamp(4096, 1 << 30).next_multiple_of(4096),
        }
    }

    /// Most operations in flight on the core, of a configuration within its bounds: [`ENTRIES_MAX`] at most.
    pub(crate) fn in_flight_max(&self) -> u32 {
        self.entries + self.channels * self.reserve
    }
}

/// A channel's name towards its core's engine, from [`Io::register`] to [`Io::unregister`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelId(u32);

impl ChannelId {
    #[cfg(test)]
    pub(crate) const fn for_test(index: u32) -> Self {
        Self(index)
    }
}

/// A completion that waits to be collected, and the channel that it counts for until then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) channel: ChannelId,
    pub(crate) completion: Completion,
}

/// What the ring of a core has done since it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoStats {
    /// Operations accepted.
    pub accepted: u64,
    /// Operations on files refused for want of a bounce buffer ([`SubmitError::Full`]).
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
    /// Parts of operations whose memory the kernel found in a registered buffer.
    pub fixed: u64,
    /// Times that the CPU was offered to others while the kernel had operations.
    pub yields: u64,
}

/// One core's engine. Every channel of the core submits through it. It stays on the thread that made it.
#[derive(Debug)]
pub struct Io {
    now_ns: u64,
    done: VecDeque<Done>,
    quota: Quota,
    /// Operations in flight by channel.
    held: Box<[u32]>,
    /// Channels that are not open.
    unused: Vec<ChannelId>,
    in_flight: usize,
    config: IoConfig,
    registrar: Option<Registrar>,
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
            done: VecDeque::with_capacity(config.in_flight_max() as usize),
            quota: Quota::new(config.reserve, config.entries),
            held: vec![0; config.channels as usize].into_boxed_slice(),
            unused: (0..config.channels).rev().map(ChannelId).collect(),
            in_flight: 0,
            config,
            registrar: None,
            ring: None,
            one_thread: PhantomData,
        }
    }

    /// The same; its ring uses the memory that `registrar` has registered.
    pub fn with_registrar(config: IoConfig, registrar: Registrar) -> Self {
        Self { registrar: Some(registrar), ..Self::new(config) }
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

    /// A name and a reserve for a channel that is being opened.
    ///
    /// # Errors
    /// There are as many as [`IoConfig::channels`] says.
    pub fn register(&mut self) -> io::Result<ChannelId> {
        let none = || io::Error::other("no room for another disk on this CPU: spread the disks over more CPUs");
        self.unused.pop().ok_or_else(none)
    }

    /// Gives the name of a channel back that is being closed.
    pub fn unregister(&mut self, channel: ChannelId) {
        // What is still in flight, against the promise, keeps its name: another channel's count stays right.
        if self.held[channel.0 as usize] == 0 {
            self.unused.push(channel);
        }
    }

    /// Counts an operation that a channel accepts: until its completion is taken, or [`Io::release`].
    ///
    /// # Errors
    /// [`SubmitError::Full`]: the channel has used up its reserve, and its part of what all share or all of that. Nothing
    /// was counted.
    #[inline]
    pub fn admit(&mut self, channel: ChannelId) -> Result<(), SubmitError> {
        if !self.quota.take(&mut self.held[channel.0 as usize]) {
            return Err(SubmitError::Full);
        }
        self.in_flight += 1;
        Ok(())
    }

    /// Ends [`Io::admit`] without a completion: the operation is handed on or was not accepted after all.
    ///
    /// # Panics
    /// If the channel has nothing in flight.
    #[inline]
    pub fn release(&mut self, channel: ChannelId) {
        self.quota.put(&mut self.held[channel.0 as usize]);
        self.in_flight -= 1;
    }

    /// Most operations that one channel ever has in flight.
    pub fn channel_max(&self) -> usize {
        self.quota.channel_max() as usize
    }

    /// Ends an operation that was admitted.
    #[inline]
    pub fn complete(&mut self, channel: ChannelId, completion: Completion) {
        self.done.push_back(Done { channel, completion });
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

    /// Tells that a pass found nothing to do: with operations in the kernel, others may have the CPU for a moment.
    #[inline]
    pub fn pass_in_vain(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.pass_in_vain();
        }
    }

    /// The next collected completion, in the order in which they were collected.
    #[inline]
    pub fn next_completion(&mut self) -> Option<Completion> {
        let Done { channel, completion } = self.done.pop_front()?;
        self.release(channel);
        Some(completion)
    }

    /// Operations that were accepted and whose completions have not been taken.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Makes the ring now, on the calling thread, to learn early whether it can be had.
    ///
    /// # Errors
    /// What the kernel says, with a hint for people.
    pub fn open_ring(&mut self) -> io::Result<()> {
        if self.ring.is_none() {
            self.ring = Some(Box::new(Uring::new(&self.config, self.registrar.as_ref())?));
        }
        Ok(())
    }

    /// What the kernel gave the ring, for people. `None` if there is no ring.
    pub fn ring_description(&self) -> Option<&str> {
        self.ring.as_ref().map(|ring| ring.description())
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

    fn small() -> IoConfig {
        IoConfig { entries: 4, channels: 3, reserve: 2, ..IoConfig::default() }
    }

    #[test]
    fn completions_come_in_the_order_in_which_they_were_made() {
        let mut io = Io::default();
        let channel = io.register().unwrap();
        for tag in 0..3 {
            io.admit(channel).unwrap();
            io.complete(channel, done(tag));
        }
        let tags: Vec<_> = std::iter::from_fn(|| io.next_completion()).map(|completion| completion.tag.0).collect();
        assert_eq!(tags, [0, 1, 2]);
    }

    #[test]
    fn an_operation_counts_until_its_completion_is_taken() {
        let mut io = Io::new(small());
        let channel = io.register().unwrap();
        let fill = |io: &mut Io| std::iter::from_fn(|| io.admit(channel).ok()).count();
        assert_eq!((fill(&mut io), io.in_flight(), io.channel_max()), (4, 4, 4));
        io.complete(channel, done(1));
        assert_eq!((fill(&mut io), io.in_flight()), (0, 4));
        io.next_completion();
        assert_eq!((io.in_flight(), fill(&mut io)), (3, 1));
        io.release(channel);
        assert_eq!((io.in_flight(), fill(&mut io)), (3, 1));
    }

    #[test]
    fn a_channel_that_was_closed_makes_room_for_another() {
        let mut io = Io::new(small());
        let channels = [(); 3].map(|()| io.register().unwrap());
        assert!(io.register().is_err());
        io.admit(channels[0]).unwrap();
        io.unregister(channels[0]);
        assert!(io.register().is_err(), "its operation would count for another");
        io.unregister(channels[1]);
        assert_eq!(io.register().unwrap(), channels[1]);
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
        let bounded = |entries, channels, reserve, bounce_buffer_bytes| {
            let config = IoConfig { entries, channels, reserve, bounce_buffers: 0, bounce_buffer_bytes };
            config.within_bounds()
        };
        let least = IoConfig { entries: 1, channels: 1, reserve: 1, bounce_buffers: 1, bounce_buffer_bytes: 4096 };
        assert_eq!(bounded(0, 0, 0, 1), least);
        let most = bounded(u32::MAX, u32::MAX, u32::MAX, 4097);
        assert_eq!((most.entries, most.channels, most.reserve), (16384, 16384, 1));
        assert_eq!((most.in_flight_max(), most.bounce_buffer_bytes), (32768, 8192));
        let many = bounded(2048, 1500, 32, 4096);
        assert_eq!((many.reserve, many.in_flight_max() <= ENTRIES_MAX), (20, true));
        let usual = bounded(2048, 8, 32, 4096);
        assert_eq!((usual.reserve, usual.in_flight_max()), (32, 2304), "it grows with the number of channels");
    }
}

//! The I/O engine of one core: its io_uring and the completions that wait to be collected.
//!
//! Owns the list of completions, the count of what each channel has in flight and, once a channel needs it, the ring. It
//! bounds what is in flight, whatever the backend, so that a completion always has a place; and each channel has a reserve
//! that disks which do not answer cannot use up. Made and used on one thread.

mod files;
mod stats;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use crate::channel::{Completion, SubmitError};
use crate::nvme::NvmeRing;
use crate::pool::{Mailbox, new_bell};
use crate::quota::Quota;
use crate::uring::{ENTRIES_MAX, Registrar, Uring};

pub use stats::IoStats;

/// A [`Registrar`] that may come when the first channel is opened that has something of it.
pub type LateRegistrar = Arc<OnceLock<Registrar>>;

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
    /// See [`Io::has_files`].
    files: usize,
    config: IoConfig,
    registrar: LateRegistrar,
    ring: Option<Box<Uring>>,
    /// For devices' own commands.
    commands: Option<Box<NvmeRing>>,
    /// Where threads that serve channels of this core leave what has ended.
    mailbox: Option<Arc<Mailbox>>,
    /// What wakes the core: the ring and the mailbox have it, too.
    bell: Option<OwnedFd>,
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
            files: 0,
            config,
            registrar: LateRegistrar::default(),
            ring: None,
            commands: None,
            mailbox: None,
            bell: None,
            one_thread: PhantomData,
        }
    }

    /// The same; its ring uses the memory that `registrar` has registered.
    pub fn with_registrar(config: IoConfig, registrar: Registrar) -> Self {
        Self::with_late_registrar(config, Arc::new(registrar.into()))
    }

    /// The same with one that may come later, if only it comes before the first channel that needs a ring.
    pub fn with_late_registrar(config: IoConfig, registrar: LateRegistrar) -> Self {
        Self { registrar, ..Self::new(config) }
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

    /// Bytes that go through a buffer of the engine in one piece.
    pub(crate) fn bounce_bytes(&self) -> u32 {
        self.config.bounce_buffer_bytes
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

    /// Hands everything still queued to the kernel, and has it end what it has put off: at most one system call for each ring.
    /// Returns the number of operations handed over.
    #[inline]
    pub fn submit(&mut self) -> usize {
        let handed_over = self.ring.as_mut().map_or(0, |ring| ring.submit());
        handed_over + self.commands.as_mut().map_or(0, |ring| ring.submit())
    }

    /// Moves what the kernel has completed to where [`Io::next_completion`] finds it. No system call: what the kernel has put
    /// off is done with the next [`Io::submit`], so that this goes behind it.
    #[inline]
    pub fn reap(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.reap(&mut self.done);
        }
        if let Some(ring) = &mut self.commands {
            ring.reap(&mut self.done);
        }
        if let Some(mailbox) = &self.mailbox {
            mailbox.take(&mut self.done);
        }
    }

    /// Tells that a pass found nothing to do: with operations in the kernel, others may have the CPU for a moment.
    #[inline]
    pub fn pass_in_vain(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.pass_in_vain();
        }
        if let Some(ring) = &mut self.commands {
            ring.pass_in_vain();
        }
    }

    /// Whether anything works for this core beside itself: if not, there is nothing to [`Io::submit`] and to [`Io::reap`].
    #[inline]
    pub fn has_engines(&self) -> bool {
        self.ring.is_some() || self.commands.is_some() || self.mailbox.is_some()
    }

    /// Whether there are completions that nobody has taken.
    #[inline]
    pub fn has_completions(&self) -> bool {
        !self.done.is_empty()
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

    /// Operations of one channel that were accepted and whose completions have not been taken.
    pub fn in_flight_of(&self, channel: ChannelId) -> usize {
        self.held[channel.0 as usize] as usize
    }

    /// Makes the ring now, on the calling thread, to learn early whether it can be had.
    ///
    /// # Errors
    /// What the kernel says, with a hint for people.
    pub fn open_ring(&mut self) -> io::Result<()> {
        if self.ring.is_none() {
            let bell = self.another_bell()?;
            self.ring = Some(Box::new(Uring::new(&self.config, self.registrar.get(), bell)?));
        }
        Ok(())
    }

    /// Makes the ring for devices' own commands, on the calling thread, unless it is there.
    ///
    /// # Errors
    /// What the kernel says, with a hint for people.
    pub(crate) fn open_command_ring(&mut self) -> io::Result<()> {
        if self.commands.is_none() {
            let bell = self.another_bell()?;
            self.commands = Some(Box::new(NvmeRing::new(&self.config, self.registrar.get(), bell)?));
        }
        Ok(())
    }

    /// The ring for commands of a channel that has registered with it.
    #[inline]
    pub(crate) fn commands_mut(&mut self) -> &mut NvmeRing {
        self.commands.as_mut().expect("the channel was opened with this engine, which made the ring")
    }

    /// What the kernel gave the ring, for people. `None` if there is no ring.
    pub fn ring_description(&self) -> Option<&str> {
        self.ring.as_ref().map(|ring| ring.description())
    }

    /// Where threads leave the completions of operations that they do for a channel of this core.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn mailbox(&mut self) -> io::Result<Arc<Mailbox>> {
        if self.mailbox.is_none() {
            self.mailbox = Some(Arc::new(Mailbox::new(self.another_bell()?)));
        }
        Ok(Arc::clone(self.mailbox.as_ref().expect("just made")))
    }

    /// The core's one bell, under one more descriptor.
    fn another_bell(&mut self) -> io::Result<OwnedFd> {
        if self.bell.is_none() {
            self.bell = Some(new_bell()?);
        }
        self.bell.as_ref().expect("just made").try_clone()
    }

    /// The core is about to sleep: from now on [`Io::bell`] becomes readable when [`Io::reap`] would find something. True
    /// if there is nothing yet: it may sleep. [`Io::disarm`] follows.
    pub fn arm(&mut self) -> bool {
        if !self.done.is_empty() {
            return false;
        }
        // All, whatever the first says: `disarm` follows in any case.
        let no_mail = self.mailbox.as_ref().is_none_or(|mailbox| mailbox.arm());
        let no_result = self.ring.as_mut().is_none_or(|ring| or_awake(ring.arm()));
        let no_answer = self.commands.as_mut().is_none_or(|ring| or_awake(ring.arm()));
        no_mail && no_result && no_answer
    }

    /// The core is awake again and looks for results itself.
    pub fn disarm(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.disarm();
        }
        if let Some(ring) = &mut self.commands {
            ring.disarm();
        }
        if let Some(mailbox) = &self.mailbox {
            mailbox.disarm();
        }
    }

    /// What a sleeping core watches, after [`Io::arm`]. `None` if nothing ends behind its back.
    pub fn bell(&self) -> Option<BorrowedFd<'_>> {
        let ring = self.ring.as_ref().map(|ring| ring.bell());
        let ring = ring.or_else(|| self.commands.as_ref().map(|ring| ring.bell()));
        ring.or_else(|| self.mailbox.as_ref().map(|mailbox| mailbox.bell()))
    }

    /// What the rings have done; all zero if there are none.
    pub fn stats(&self) -> IoStats {
        let files = self.ring.as_ref().map_or_else(IoStats::default, |ring| ring.stats());
        let commands = self.commands.as_ref().map_or_else(IoStats::default, |ring| ring.stats());
        files.and(commands)
    }

    /// The ring of a channel that has registered with it.
    #[inline]
    pub(crate) fn ring_mut(&mut self) -> &mut Uring {
        self.ring.as_mut().expect("the channel was opened with this engine, which made the ring")
    }
}

fn or_awake(armed: io::Result<bool>) -> bool {
    armed.unwrap_or_else(|error| {
        tracing::debug!(%error, "io_uring rings no bell: this CPU does not sleep");
        false
    })
}

#[cfg(test)]
mod tests;

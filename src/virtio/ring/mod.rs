//! Virtqueues (virtio 1.2, section 2.6 on): from what the driver made available to chains of host memory, and back.
//!
//! Owns the positions in a ring and the host addresses of its areas. Never looks into a buffer, never signals anybody,
//! never waits. The queue workers in `target` call it, each ring from one thread.
//!
//! One pass over a ring: [`Ring::look`] once, [`Ring::pop_usual`] and [`Ring::pop`] as often as there is work and room for it,
//! [`Ring::push`] for what is finished, [`Ring::publish`] once; its answer says whether the driver wants an interrupt.
//!
//! [`Ring`] is an enumeration and not a trait, so that every call is direct: the ring format is chosen once a device and
//! the branch on it is always predicted.

mod areas;
pub mod chain;
mod descriptor;
mod error;
mod glance;
mod packed;
mod packed_areas;
mod packed_usual;
mod split;
mod split_usual;
mod table;
mod taken;
mod three;
mod usual;

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod garbage_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod packed_garbage_tests;
#[cfg(test)]
mod packed_hostile_tests;
#[cfg(test)]
mod packed_model_tests;
#[cfg(test)]
mod packed_tests;
#[cfg(test)]
mod split_tests;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod three_tests;

pub use chain::{Chain, MAX_SEGMENTS, RemoteRange};
pub use error::{Area, ChainFault, RingError};
pub use glance::Glance;
pub use packed::PackedRing;
pub use split::SplitRing;
pub use usual::{USUAL_SEGMENTS, UsualChain};

use std::num::NonZero;

use crate::dma::{Gpa, MemMap};

/// Where a ring lies in the guest's memory, as the driver programmed it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingLayout {
    /// Entries: at most 32768, and of a split ring a power of two.
    pub size: u16,
    /// Descriptor table or packed ring ("descriptor area"), on a 16-byte boundary.
    pub desc: Gpa,
    /// Available ring, on a 2-byte boundary, or the driver's event suppression, on a 4-byte boundary ("driver area").
    pub avail: Gpa,
    /// Used ring or the device's event suppression ("device area"), on a 4-byte boundary.
    pub used: Gpa,
}

/// The negotiated features that change how a ring is read and written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RingFeatures {
    /// `VIRTIO_F_EVENT_IDX`: notifications are suppressed by index, not by flag.
    pub event_idx: bool,
    /// `VIRTIO_F_INDIRECT_DESC`: a descriptor may point to a table of descriptors.
    pub indirect: bool,
}

/// The right to give one chain back, exactly once, with [`Ring::push`] on the ring that it came from.
///
/// It cannot be copied, so that a request that is finished twice does not compile.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a chain that is not given back is lost to the driver"]
pub struct Head {
    id: u16,
    descriptors: NonZero<u16>,
}

impl Head {
    /// That of a chain of so many of the ring's own descriptors, which are never none.
    #[inline(always)]
    fn new(id: u16, descriptors: u16) -> Self {
        Self { id, descriptors: NonZero::new(descriptors).expect("a chain has descriptors") }
    }

    /// The chain's name in the ring: index of its first descriptor (split), buffer id (packed).
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Descriptors of the ring itself that the chain takes, those in an indirect table not counted.
    pub fn descriptors(&self) -> u16 {
        self.descriptors.get()
    }
}

/// What [`Ring::pop`] found.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Popped {
    /// Nothing is left of the batch that [`Ring::look`] saw, or nothing at all (packed).
    Empty,
    /// A chain, now described by the caller's [`Chain`].
    Chain(Head),
    /// The next chain's indirect table is in memory that the client does not share. Nothing was taken: fetch `len` bytes
    /// at `gpa`, hand them to [`Ring::table_fetched`], and pop again.
    NeedsFetch {
        /// First byte of the table.
        gpa: Gpa,
        /// Its length in bytes.
        len: u32,
    },
}

/// What [`Ring::walk`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Walked {
    /// The chain, now described by the caller's [`Chain`].
    Chain,
    /// As [`Popped::NeedsFetch`].
    NeedsFetch {
        /// First byte of the table.
        gpa: Gpa,
        /// Its length in bytes.
        len: u32,
    },
}

/// A virtqueue of either format.
///
/// The host addresses in it come from a [`MemMap`]. Whoever binds the ring keeps that snapshot, or a later one with the
/// same mappings, alive until the ring is unbound or dropped: the quiesce protocol sees to it.
#[derive(Debug)]
pub enum Ring {
    /// Section 2.7.
    Split(SplitRing),
    /// Section 2.8.
    Packed(PackedRing),
}

impl Ring {
    /// A split ring, bound to `map`.
    ///
    /// # Errors
    /// [`RingError`]: the size is not legal, or an area is not aligned or not in shared memory.
    pub fn split(layout: RingLayout, features: RingFeatures, map: &MemMap) -> Result<Self, RingError> {
        SplitRing::new(layout, features, map).map(Self::Split)
    }

    /// A packed ring, bound to `map`.
    ///
    /// # Errors
    /// As [`Ring::split`].
    pub fn packed(layout: RingLayout, features: RingFeatures, map: &MemMap) -> Result<Self, RingError> {
        PackedRing::new(layout, features, map).map(Self::Packed)
    }

    /// Finds the areas in `map`. The positions stay: a ring goes on where it stopped.
    ///
    /// # Errors
    /// [`RingError`]; the ring is then unbound.
    pub fn rebind(&mut self, map: &MemMap) -> Result<(), RingError> {
        match self {
            Self::Split(ring) => ring.rebind(map),
            Self::Packed(ring) => ring.rebind(map),
        }
    }

    /// Forgets the host addresses: the ring is paused, nothing is read or written until [`Ring::rebind`].
    pub fn unbind(&mut self) {
        match self {
            Self::Split(ring) => ring.unbind(),
            Self::Packed(ring) => ring.unbind(),
        }
    }

    /// Whether the ring has host addresses.
    pub fn is_bound(&self) -> bool {
        match self {
            Self::Split(ring) => ring.is_bound(),
            Self::Packed(ring) => ring.is_bound(),
        }
    }

    /// The driver is ready (`DRIVER_OK`): tells it that the ring is polled. Not sooner, for some drivers clear the ring
    /// after they have enabled the queue.
    pub fn start(&mut self) {
        match self {
            Self::Split(ring) => ring.start(),
            Self::Packed(ring) => ring.start(),
        }
    }

    /// Whether there is something to [`Ring::look`] at: one read, for queues that mostly have nothing.
    #[inline]
    pub fn has_new(&self) -> bool {
        match self {
            Self::Split(ring) => ring.has_new(),
            Self::Packed(ring) => ring.has_new(),
        }
    }

    /// What [`Ring::has_new`] says, for whoever has no more than this at hand. It is right until a chain is taken or the ring
    /// is unbound.
    #[inline]
    pub fn glance(&self) -> Glance {
        let glance = match self {
            Self::Split(ring) => ring.glance(),
            Self::Packed(ring) => ring.glance(),
        };
        glance.unwrap_or(Glance::NEVER)
    }

    /// Looks whether chains wait, with one read: a bound on how many, 0 if there are none. A packed ring does not tell how
    /// many, so that it is as many as there can be; [`Ring::pop`] finds the end.
    ///
    /// # Errors
    /// [`RingError::AvailJump`] (split), [`RingError::Overrun`] (packed).
    #[inline]
    pub fn look(&mut self) -> Result<u16, RingError> {
        match self {
            Self::Split(ring) => ring.available(),
            Self::Packed(ring) => ring.look(),
        }
    }

    /// As [`Ring::look`], but how many chains wait exactly: a packed ring counts them.
    ///
    /// # Errors
    /// As [`Ring::look`].
    #[inline]
    pub fn available(&mut self) -> Result<u16, RingError> {
        match self {
            Self::Split(ring) => ring.available(),
            Self::Packed(ring) => ring.available(),
        }
    }

    /// Takes chains of the batch that [`Ring::look`] saw, one into each place of `into`, as long as they are usual ones: cut
    /// in a few pieces, each whole in one region. Returns how many, 16 at most. What comes next is for [`Ring::pop`] to say.
    #[inline]
    pub fn pop_usual(&mut self, map: &MemMap, into: &mut [UsualChain]) -> usize {
        match self {
            Self::Split(ring) => ring.pop_usual(map, into),
            Self::Packed(ring) => ring.pop_usual(map, into),
        }
    }

    /// Takes the next chain of the batch that [`Ring::look`] saw into `chain`. In a packed ring that may be one that
    /// was made available since.
    ///
    /// # Errors
    /// [`RingError`]: the ring is broken, the device needs a reset. Nothing was taken.
    pub fn pop(&mut self, map: &MemMap, chain: &mut Chain) -> Result<Popped, RingError> {
        let mut usual = UsualChain::empty();
        if self.pop_usual(map, std::slice::from_mut(&mut usual)) == 1 {
            chain.describe(&usual);
            return Ok(Popped::Chain(usual.take_head()));
        }
        match self {
            Self::Split(ring) => ring.pop_with_care(map, chain),
            Self::Packed(ring) => ring.pop_with_care(map, chain),
        }
    }

    /// Takes the table that [`Popped::NeedsFetch`] asked for. It serves for one chain, unless the ring is unbound before.
    pub fn table_fetched(&mut self, gpa: Gpa, table: Box<[u8]>) {
        match self {
            Self::Split(ring) => ring.table_fetched(gpa, table),
            Self::Packed(ring) => ring.table_fetched(gpa, table),
        }
    }

    /// Describes a chain that was taken before in `chain` again, for memory has changed since: as [`Ring::pop`] would, but
    /// nothing is taken.
    ///
    /// # Errors
    /// As for `pop`; on a ring that is not bound, the chain has no memory.
    pub fn walk(&mut self, map: &MemMap, chain: &mut Chain, head: &Head) -> Result<Walked, RingError> {
        match self {
            Self::Split(ring) => ring.walk(map, chain, head),
            Self::Packed(ring) => ring.walk(map, chain, head),
        }
    }

    /// Chains taken so far, modulo 2^16.
    pub fn position(&self) -> u16 {
        match self {
            Self::Split(ring) => ring.position(),
            Self::Packed(ring) => ring.position(),
        }
    }

    /// Gives a chain back, with the number of bytes written to its writable part, counted from its first byte.
    /// The driver sees it after [`Ring::publish`]. On an unbound ring the chain is lost.
    #[inline]
    pub fn push(&mut self, head: Head, written: u32) {
        match self {
            Self::Split(ring) => ring.push(head, written),
            Self::Packed(ring) => ring.push(head, written),
        }
    }

    /// As [`Ring::push`], for all of `chains`, which are as [`Ring::pop_usual`] has left them.
    #[inline]
    pub fn push_usual(&mut self, chains: &[UsualChain], written: u32) {
        match self {
            Self::Split(ring) => ring.push_usual(chains, written),
            Self::Packed(ring) => ring.push_usual(chains, written),
        }
    }

    /// Shows the driver everything pushed since the last time. True if it wants an interrupt for it.
    #[inline]
    #[must_use = "the driver waits for its interrupt"]
    pub fn publish(&mut self) -> bool {
        match self {
            Self::Split(ring) => ring.publish(),
            Self::Packed(ring) => ring.publish(),
        }
    }

    /// Asks for doorbells, then looks again. True if there is work already: do not sleep.
    ///
    /// # Errors
    /// As [`Ring::look`].
    pub fn enable_notify(&mut self) -> Result<bool, RingError> {
        match self {
            Self::Split(ring) => ring.enable_notify(),
            Self::Packed(ring) => ring.enable_notify(),
        }
    }

    /// Asks for no more doorbells: the ring is polled.
    pub fn disable_notify(&mut self) {
        match self {
            Self::Split(ring) => ring.disable_notify(),
            Self::Packed(ring) => ring.disable_notify(),
        }
    }

    /// Chains taken and not given back.
    #[inline]
    pub fn in_flight(&self) -> u16 {
        match self {
            Self::Split(ring) => ring.in_flight(),
            Self::Packed(ring) => ring.in_flight(),
        }
    }

    /// Entries.
    #[inline]
    pub fn size(&self) -> u16 {
        match self {
            Self::Split(ring) => ring.size(),
            Self::Packed(ring) => ring.size(),
        }
    }
}

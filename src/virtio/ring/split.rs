//! The split ring (virtio 1.2, section 2.7), seen from the device.

use std::sync::atomic::{Ordering, fence};

use super::areas::Areas;
use super::chain::Memory;
use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, Descriptor};
use super::glance::Glance;
use super::split_usual::{BATCH_MAX, Taking};
use super::table::{Stop, Tables};
use super::{Chain, ChainFault, Head, Popped, RingError, RingFeatures, RingLayout, UsualChain, Walked};
use crate::dma::{Gpa, MemMap, RegionCache};

/// How far the driver may run past the event index before it is moved along: any distance well short of a full turn
/// keeps it from ringing.
const EVENT_LAG_MAX: u16 = 0x4000;

/// A split ring: [`Ring`](super::Ring) documents each call.
#[derive(Debug)]
pub struct SplitRing {
    areas: Option<Areas>,
    /// The driver's index when it was last read.
    avail_seen: u16,
    next_avail: u16,
    next_used: u16,
    /// The used index that the driver has been shown.
    published: u16,
    in_flight: u16,
    size: u16,
    cache: RegionCache,
    tables: Tables,
    avail_event: u16,
    started: bool,
    polled: bool,
    layout: RingLayout,
    features: RingFeatures,
}

impl SplitRing {
    /// See [`Ring::split`](super::Ring::split).
    ///
    /// # Errors
    /// [`RingError`].
    pub fn new(layout: RingLayout, features: RingFeatures, map: &MemMap) -> Result<Self, RingError> {
        let areas = Areas::resolve(&layout, features, map)?;
        Ok(Self {
            areas: Some(areas),
            avail_seen: 0,
            next_avail: 0,
            next_used: 0,
            published: 0,
            in_flight: 0,
            size: layout.size,
            cache: RegionCache::default(),
            tables: Tables::new(features.indirect),
            avail_event: 0,
            started: false,
            polled: true,
            layout,
            features,
        })
    }

    /// See [`Ring::rebind`](super::Ring::rebind).
    ///
    /// # Errors
    /// [`RingError`].
    pub fn rebind(&mut self, map: &MemMap) -> Result<(), RingError> {
        self.unbind();
        self.areas = Some(Areas::resolve(&self.layout, self.features, map)?);
        if self.started {
            self.tell_notify();
        }
        Ok(())
    }

    /// See [`Ring::unbind`](super::Ring::unbind).
    pub fn unbind(&mut self) {
        self.areas = None;
        self.avail_seen = self.next_avail;
        self.tables.forget();
        self.cache = RegionCache::default();
    }

    /// See [`Ring::is_bound`](super::Ring::is_bound).
    pub fn is_bound(&self) -> bool {
        self.areas.is_some()
    }

    /// See [`Ring::start`](super::Ring::start).
    pub fn start(&mut self) {
        self.started = true;
        self.tell_notify();
    }

    /// See [`Ring::has_new`](super::Ring::has_new).
    #[inline]
    pub fn has_new(&self) -> bool {
        self.areas.as_ref().is_some_and(|areas| areas.avail_index() != self.next_avail)
    }

    /// See [`Ring::glance`](super::Ring::glance).
    #[inline]
    pub fn glance(&self) -> Option<Glance> {
        self.areas.as_ref().map(|areas| Glance::until_not(areas.avail_index_at(), self.next_avail))
    }

    /// See [`Ring::available`](super::Ring::available).
    ///
    /// # Errors
    /// [`RingError::AvailJump`].
    #[inline]
    pub fn available(&mut self) -> Result<u16, RingError> {
        let Some(areas) = &self.areas else { return Ok(0) };
        let index = areas.avail_index();
        let ahead = index.wrapping_sub(self.next_avail);
        let room = self.size - self.in_flight;
        if ahead > room {
            return Err(RingError::AvailJump { ahead, room });
        }
        self.avail_seen = index;
        let event_lags = self.features.event_idx && index.wrapping_sub(self.avail_event) > EVENT_LAG_MAX;
        if event_lags && self.polled && self.started {
            self.tell_notify();
        }
        Ok(ahead)
    }

    /// See [`Ring::pop_usual`](super::Ring::pop_usual).
    #[inline(never)]
    pub fn pop_usual(&mut self, map: &MemMap, into: &mut [UsualChain]) -> usize {
        let Some(areas) = &self.areas else { return 0 };
        let most = into.len().min(self.avail_seen.wrapping_sub(self.next_avail).into()).min(BATCH_MAX);
        let mut taking = Taking { areas, tables: &self.tables, memory: Memory { map, cache: &mut self.cache } };
        let count = taking.take(self.next_avail, &mut into[..most]);
        self.next_avail = self.next_avail.wrapping_add(count);
        self.in_flight += count;
        count.into()
    }

    /// See [`Ring::pop`](super::Ring::pop).
    ///
    /// # Errors
    /// [`RingError`].
    pub fn pop_with_care(&mut self, map: &MemMap, chain: &mut Chain) -> Result<Popped, RingError> {
        let Some(areas) = self.areas.as_ref().filter(|_| self.next_avail != self.avail_seen) else {
            return Ok(Popped::Empty);
        };
        let head = areas.avail_head(self.next_avail);
        let Some(first) = areas.descriptor(head) else {
            return Err(RingError::HeadOutOfRange { head, size: self.size });
        };
        match walk(areas, &mut self.tables, first, Memory { map, cache: &mut self.cache }, chain) {
            Ok(descriptors) => {
                self.next_avail = self.next_avail.wrapping_add(1);
                self.in_flight += 1;
                Ok(Popped::Chain(Head::new(head, descriptors)))
            }
            Err(stop) => {
                chain.clear();
                match stop {
                    Stop::NeedsFetch { gpa, len } => Ok(Popped::NeedsFetch { gpa, len }),
                    Stop::Fault(fault) => Err(RingError::Chain { head, fault }),
                }
            }
        }
    }

    /// See [`Ring::table_fetched`](super::Ring::table_fetched).
    pub fn table_fetched(&mut self, gpa: Gpa, table: Box<[u8]>) {
        self.tables.fetched(gpa, table);
    }

    /// See [`Ring::walk`](super::Ring::walk).
    ///
    /// # Errors
    /// [`RingError`].
    pub fn walk(&mut self, map: &MemMap, chain: &mut Chain, head: &Head) -> Result<Walked, RingError> {
        chain.clear();
        let Some(areas) = &self.areas else { return Ok(Walked::Chain) };
        let out_of_range = RingError::HeadOutOfRange { head: head.id, size: self.size };
        let first = areas.descriptor(head.id).ok_or(out_of_range)?;
        let stop = match walk(areas, &mut self.tables, first, Memory { map, cache: &mut self.cache }, chain) {
            Ok(_) => return Ok(Walked::Chain),
            Err(stop) => stop,
        };
        chain.clear();
        match stop {
            Stop::NeedsFetch { gpa, len } => Ok(Walked::NeedsFetch { gpa, len }),
            Stop::Fault(fault) => Err(RingError::Chain { head: head.id, fault }),
        }
    }

    /// See [`Ring::position`](super::Ring::position).
    pub fn position(&self) -> u16 {
        self.next_avail
    }

    /// See [`Ring::push`](super::Ring::push).
    #[inline]
    pub fn push(&mut self, head: Head, written: u32) {
        self.in_flight = self.in_flight.checked_sub(1).expect("a head is given back to the ring that it came from");
        if let Some(areas) = &self.areas {
            areas.set_used(self.next_used, head.id, written);
            self.next_used = self.next_used.wrapping_add(1);
        }
    }

    /// See [`Ring::push_usual`](super::Ring::push_usual).
    #[inline]
    pub fn push_usual(&mut self, chains: &[UsualChain], written: u32) {
        let left = self.in_flight.checked_sub(chains.len() as u16);
        self.in_flight = left.expect("heads are given back to the ring that they came from");
        for chain in chains {
            let head = chain.take_head();
            if let Some(areas) = &self.areas {
                areas.set_used(self.next_used, head.id, written);
                self.next_used = self.next_used.wrapping_add(1);
            }
        }
    }

    /// See [`Ring::publish`](super::Ring::publish).
    #[inline]
    #[must_use = "the driver waits for its interrupt"]
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.next_used);
        let Some(areas) = self.areas.as_ref().filter(|_| old != new) else { return false };
        areas.set_used_index(new);
        self.published = new;
        // A driver about to sleep asks for interrupts, then looks at the index; we set the index, then look whether it
        // asks. Without a full fence between our store and our load both could miss the other (2.7.7.2, 2.7.13.4.1).
        fence(Ordering::SeqCst);
        areas.wants_interrupt(old, new)
    }

    /// See [`Ring::enable_notify`](super::Ring::enable_notify).
    ///
    /// # Errors
    /// [`RingError::AvailJump`].
    pub fn enable_notify(&mut self) -> Result<bool, RingError> {
        self.polled = false;
        self.tell_notify();
        // The mirror image of `publish`: we ask for the doorbell, then look at the index; the driver sets the index,
        // then looks whether to ring.
        fence(Ordering::SeqCst);
        Ok(self.available()? != 0)
    }

    /// See [`Ring::disable_notify`](super::Ring::disable_notify).
    pub fn disable_notify(&mut self) {
        self.polled = true;
        self.tell_notify();
    }

    /// See [`Ring::in_flight`](super::Ring::in_flight).
    #[inline]
    pub fn in_flight(&self) -> u16 {
        self.in_flight
    }

    /// See [`Ring::size`](super::Ring::size).
    #[inline]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Writes down for the driver whether it shall ring.
    fn tell_notify(&mut self) {
        let Some(areas) = &self.areas else { return };
        areas.set_no_notify(self.polled);
        if self.features.event_idx {
            // The driver rings when it passes the event index: at the next chain, or, just behind what it has already
            // passed, only a full turn later.
            self.avail_event = if self.polled { self.next_avail.wrapping_sub(1) } else { self.next_avail };
            areas.set_avail_event(self.avail_event);
        }
    }
}

/// Follows the chain that starts with `descriptor` to its end. Returns the number of the ring's own descriptors in it.
#[inline(never)]
fn walk(
    areas: &Areas,
    tables: &mut Tables,
    mut descriptor: Descriptor,
    mut memory: Memory<'_>,
    chain: &mut Chain,
) -> Result<u16, Stop> {
    let (mut filling, entries) = (chain.fill(), areas.size());
    let mut taken = 1;
    while descriptor.flags & DESC_F_INDIRECT == 0 {
        filling.add(memory.borrow(), descriptor.addr, descriptor.len, descriptor.access())?;
        if descriptor.flags & DESC_F_NEXT == 0 {
            filling.finish()?;
            return Ok(taken);
        }
        if taken == entries {
            return Err(ChainFault::Loop.into());
        }
        taken += 1;
        let next = descriptor.link;
        descriptor = areas.descriptor(next).ok_or(ChainFault::NextOutOfRange { next, entries })?;
    }
    tables.walk_linked(descriptor, memory, filling)?;
    Ok(taken)
}

//! The split ring (virtio 1.2, section 2.7), seen from the device.
#![allow(unsafe_code)]

use std::sync::atomic::{Ordering, fence};

use bdev::Segment;

use super::areas::{Areas, DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_SIZE, Descriptor};
use super::{Chain, ChainFault, Head, MAX_SEGMENTS, Popped, RingError, RingFeatures, RingLayout};
use crate::dma::{Access, Gpa, MemMap, RegionCache};

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
    indirect: bool,
    cache: RegionCache,
    avail_event: u16,
    started: bool,
    polled: bool,
    /// The indirect table in unshared memory of which our copy is in step.
    fetched: Option<(Gpa, u32)>,
    layout: RingLayout,
    features: RingFeatures,
}

/// How a walk along a chain ended.
enum Walked {
    /// Descriptors of the ring that it took.
    Whole(u16),
    NeedsFetch(Gpa, u32),
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
            indirect: features.indirect,
            cache: RegionCache::default(),
            avail_event: 0,
            started: false,
            polled: true,
            fetched: None,
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
        self.fetched = None;
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

    /// See [`Ring::pop`](super::Ring::pop).
    ///
    /// # Errors
    /// [`RingError`].
    #[inline]
    pub fn pop(&mut self, map: &MemMap, chain: &mut Chain) -> Result<Popped, RingError> {
        if self.next_avail == self.avail_seen {
            return Ok(Popped::Empty);
        }
        let areas = self.areas.as_ref().expect("an unbound ring has seen nothing");
        let head = areas.avail_head(self.next_avail);
        let Some(first) = areas.descriptor(head) else {
            return Err(RingError::HeadOutOfRange { head, size: self.size });
        };
        match self.walk(first, map, chain) {
            Ok(Walked::Whole(descriptors)) => {
                self.next_avail = self.next_avail.wrapping_add(1);
                self.in_flight += 1;
                Ok(Popped::Chain(Head { id: head, descriptors }))
            }
            Ok(Walked::NeedsFetch(gpa, len)) => Ok(Popped::NeedsFetch { gpa, len }),
            Err(fault) => Err(RingError::Chain { head, fault }),
        }
    }

    /// See [`Ring::table_fetched`](super::Ring::table_fetched).
    pub fn table_fetched(&mut self, gpa: Gpa, len: u32) {
        self.fetched = Some((gpa, len));
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

    /// Follows the chain that starts with `descriptor`.
    #[inline]
    fn walk(&mut self, mut descriptor: Descriptor, map: &MemMap, chain: &mut Chain) -> Result<Walked, ChainFault> {
        chain.clear();
        for taken in 1..=self.size {
            if descriptor.flags & DESC_F_INDIRECT != 0 {
                return self.walk_table(taken, descriptor, map, chain);
            }
            add(chain, (map, &mut self.cache), &descriptor)?;
            if descriptor.flags & DESC_F_NEXT == 0 {
                return Ok(Walked::Whole(taken));
            }
            let areas = self.areas.as_ref().expect("checked by the caller");
            let next = descriptor.next;
            descriptor = areas.descriptor(next).ok_or(ChainFault::NextOutOfRange { next, entries: self.size })?;
        }
        Err(ChainFault::Loop)
    }

    /// Follows the rest of a chain in the indirect table that `pointer`, descriptor number `taken`, points to (2.7.5.3).
    /// The direction in `pointer` means nothing.
    #[inline]
    fn walk_table(
        &mut self,
        taken: u16,
        pointer: Descriptor,
        map: &MemMap,
        chain: &mut Chain,
    ) -> Result<Walked, ChainFault> {
        let entries = self.check_table(&pointer)?;
        let Some(table) = self.find_table(&pointer, map)? else {
            return Ok(Walked::NeedsFetch(pointer.addr, pointer.len));
        };
        let mut index = 0;
        for _ in 0..entries {
            let descriptor = table.fetch(index, (map, &mut self.cache))?;
            if descriptor.flags & DESC_F_INDIRECT != 0 {
                return Err(ChainFault::NestedIndirect);
            }
            add(chain, (map, &mut self.cache), &descriptor)?;
            if descriptor.flags & DESC_F_NEXT == 0 {
                return Ok(Walked::Whole(taken));
            }
            index = descriptor.next;
            if index >= entries {
                return Err(ChainFault::NextOutOfRange { next: index, entries });
            }
        }
        Err(ChainFault::Loop)
    }

    /// The number of descriptors in a table, if its pointer keeps to the rules.
    #[inline]
    fn check_table(&self, pointer: &Descriptor) -> Result<u16, ChainFault> {
        if !self.indirect {
            return Err(ChainFault::IndirectNotNegotiated);
        }
        if pointer.flags & DESC_F_NEXT != 0 {
            return Err(ChainFault::IndirectAndNext);
        }
        if pointer.len == 0 || !pointer.len.is_multiple_of(DESC_SIZE) {
            return Err(ChainFault::TableLength(pointer.len));
        }
        let entries = pointer.len / DESC_SIZE;
        if entries as usize > MAX_SEGMENTS {
            return Err(ChainFault::TableTooLong(pointer.len));
        }
        Ok(entries as u16)
    }

    /// The table in host memory; none if it is remote and has not been fetched.
    #[inline]
    fn find_table(&mut self, pointer: &Descriptor, map: &MemMap) -> Result<Option<Table>, ChainFault> {
        let (gpa, len) = (pointer.addr, pointer.len);
        let (mut first, mut remote) = (None, false);
        map.translate(&mut self.cache, (gpa, u64::from(len)), Access::Read, |segment, is_remote| {
            first.get_or_insert(segment);
            remote |= is_remote;
            Ok(())
        })?;
        if remote && self.fetched.take() != Some((gpa, len)) {
            return Ok(None);
        }
        Ok(Some(Table { gpa, whole: first.filter(|segment| segment.len() == len as usize) }))
    }
}

/// An indirect table: at one host address, or, if it crosses regions, looked up descriptor by descriptor.
struct Table {
    gpa: Gpa,
    whole: Option<Segment>,
}

impl Table {
    /// Descriptor `index`, which is inside the table.
    #[inline]
    fn fetch(&self, index: u16, (map, cache): (&MemMap, &mut RegionCache)) -> Result<Descriptor, ChainFault> {
        let at = usize::from(index) * DESC_SIZE as usize;
        let Some(whole) = self.whole else {
            return fetch_in_pieces(Gpa(self.gpa.0 + at as u64), map, cache);
        };
        assert!(at + DESC_SIZE as usize <= whole.len(), "the index was checked against the table");
        // SAFETY: the 16 bytes are inside the segment, as just checked, and that is mapped.
        Ok(unsafe { Descriptor::fetch(whole.as_ptr().add(at)) })
    }
}

#[cold]
fn fetch_in_pieces(gpa: Gpa, map: &MemMap, cache: &mut RegionCache) -> Result<Descriptor, ChainFault> {
    let (mut bytes, mut done) = ([0; DESC_SIZE as usize], 0);
    map.translate(cache, (gpa, u64::from(DESC_SIZE)), Access::Read, |segment, _| {
        segment.read(0, &mut bytes[done..done + segment.len()]);
        done += segment.len();
        Ok(())
    })?;
    Ok(Descriptor::parse(bytes))
}

/// Adds what a descriptor points to.
#[inline]
fn add(chain: &mut Chain, memory: (&MemMap, &mut RegionCache), descriptor: &Descriptor) -> Result<(), ChainFault> {
    let access = if descriptor.flags & DESC_F_WRITE != 0 { Access::Write } else { Access::Read };
    chain.add(memory, descriptor.addr, descriptor.len, access)
}

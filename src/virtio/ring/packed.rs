//! The packed ring (virtio 1.2, section 2.8), seen from the device.
//!
//! One ring of descriptors for both ways. The driver makes descriptors available in order; the device writes a used
//! descriptor for each chain over the oldest ones that it has taken, in the order in which chains end, and skips as many
//! as that chain had. What a descriptor is, and for which turn, its flags tell against a wrap counter on each side.

use std::sync::atomic::{Ordering, fence};

use super::chain::Memory;
use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, Descriptor};
use super::glance::Glance;
use super::packed_areas::{Answer, Event, PackedAreas, Position, Used};
use super::packed_usual::Taking;
use super::table::{Stop, Tables};
use super::taken::{TakenChains, fetch_chain};
use super::usual::{USUAL_SEGMENTS, UsualChain};
use super::{Chain, Head, Popped, RingError, RingFeatures, RingLayout, Walked};
use crate::dma::{Gpa, MemMap, RegionCache};

/// A packed ring: [`Ring`](super::Ring) documents each call.
#[derive(Debug)]
pub struct PackedRing {
    areas: Option<PackedAreas>,
    next_avail: Position,
    next_used: Position,
    /// Descriptors that the driver cannot make available: of chains in flight, or used and not yet shown to it.
    taken: u16,
    in_flight: u16,
    /// Chains taken so far, modulo 2^16.
    position: u16,
    size: u16,
    /// Used descriptors from here on have not been shown to the driver: it looks no further than the first of them, which
    /// is held back until they are published.
    held_back: Option<(Position, Used)>,
    /// Descriptors that they will give back.
    unpublished: u16,
    taken_chains: TakenChains,
    /// The descriptors of the chain that is being taken.
    fetched: Vec<Descriptor>,
    cache: RegionCache,
    tables: Tables,
    started: bool,
    polled: bool,
    layout: RingLayout,
    features: RingFeatures,
}

impl PackedRing {
    /// See [`Ring::packed`](super::Ring::packed).
    ///
    /// # Errors
    /// [`RingError`].
    pub fn new(layout: RingLayout, features: RingFeatures, map: &MemMap) -> Result<Self, RingError> {
        let areas = PackedAreas::resolve(&layout, map)?;
        Ok(Self {
            areas: Some(areas),
            next_avail: Position::START,
            next_used: Position::START,
            taken: 0,
            in_flight: 0,
            position: 0,
            size: layout.size,
            held_back: None,
            unpublished: 0,
            taken_chains: TakenChains::new(layout.size),
            fetched: Vec::with_capacity(USUAL_SEGMENTS),
            cache: RegionCache::default(),
            tables: Tables::new(features.indirect),
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
        self.areas = Some(PackedAreas::resolve(&self.layout, map)?);
        if self.started {
            self.tell_notify();
        }
        Ok(())
    }

    /// See [`Ring::unbind`](super::Ring::unbind).
    pub fn unbind(&mut self) {
        self.areas = None;
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
        let first = |areas: &PackedAreas| areas.descriptor(self.next_avail.index()).flags;
        self.areas.as_ref().is_some_and(|areas| self.next_avail.is_available(first(areas)))
    }

    /// See [`Ring::glance`](super::Ring::glance).
    #[inline]
    pub fn glance(&self) -> Option<Glance> {
        self.areas.as_ref().map(|areas| areas.glance(self.next_avail))
    }

    /// See [`Ring::available`](super::Ring::available).
    ///
    /// # Errors
    /// [`RingError::Overrun`].
    pub fn available(&mut self) -> Result<u16, RingError> {
        let room = self.look()?;
        let Some(areas) = &self.areas else { return Ok(0) };
        let (mut at, mut chains) = (self.next_avail, 0);
        for _ in 0..room {
            let flags = areas.descriptor(at.index()).flags;
            if !at.is_available(flags) {
                break;
            }
            chains += u16::from(flags & DESC_F_NEXT == 0);
            at = at.next(self.size);
        }
        Ok(chains)
    }

    /// See [`Ring::look`](super::Ring::look).
    ///
    /// # Errors
    /// [`RingError::Overrun`].
    #[inline]
    pub fn look(&mut self) -> Result<u16, RingError> {
        let Some(areas) = &self.areas else { return Ok(0) };
        let first = areas.descriptor(self.next_avail.index());
        if !self.next_avail.is_available(first.flags) {
            return Ok(0);
        }
        match self.size - self.taken {
            0 => Err(RingError::Overrun(self.next_avail.index())),
            room => Ok(room),
        }
    }

    /// See [`Ring::pop_usual`](super::Ring::pop_usual).
    #[inline(never)]
    pub fn pop_usual(&mut self, map: &MemMap, into: &mut [UsualChain]) -> usize {
        let Self { areas: Some(areas), tables, cache, taken_chains, fetched, .. } = self else { return 0 };
        let (memory, at, room) = (Memory { map, cache }, self.next_avail, self.size - self.taken);
        let mut taking = Taking { areas, tables, memory, taken_chains, fetched, at, room };
        let count = taking.take(into);
        (self.next_avail, self.taken) = (taking.at, self.size - taking.room);
        self.in_flight += count;
        self.position = self.position.wrapping_add(count);
        count.into()
    }

    /// See [`Ring::pop`](super::Ring::pop).
    ///
    /// # Errors
    /// [`RingError`].
    pub fn pop_with_care(&mut self, map: &MemMap, chain: &mut Chain) -> Result<Popped, RingError> {
        let Some(areas) = &self.areas else { return Ok(Popped::Empty) };
        let at = self.next_avail;
        let first = areas.descriptor(at.index());
        if !at.is_available(first.flags) {
            return Ok(Popped::Empty);
        }
        let room = self.size - self.taken;
        if room == 0 {
            return Err(RingError::Overrun(at.index()));
        }
        let fetched = &mut self.fetched;
        let taken = fetch_chain(areas, (at, room), first, fetched)
            .map_err(Stop::from)
            .and_then(|()| describe(&mut self.tables, fetched, Memory { map, cache: &mut self.cache }, chain));
        let stop = match taken {
            Ok(()) => return self.take().map(Popped::Chain).inspect_err(|_| chain.clear()),
            Err(stop) => stop,
        };
        chain.clear();
        match stop {
            Stop::NeedsFetch { gpa, len } => Ok(Popped::NeedsFetch { gpa, len }),
            Stop::Fault(fault) => Err(RingError::Chain { head: at.index(), fault }),
        }
    }

    /// Takes the chain that was fetched.
    #[inline]
    fn take(&mut self) -> Result<Head, RingError> {
        let descriptors = self.fetched.len() as u16;
        let id = self.taken_chains.take(&mut self.fetched)?;
        self.next_avail = self.next_avail.advance(descriptors, self.size);
        self.taken += descriptors;
        self.in_flight += 1;
        self.position = self.position.wrapping_add(1);
        Ok(Head::new(id, descriptors))
    }

    /// See [`Ring::table_fetched`](super::Ring::table_fetched).
    pub fn table_fetched(&mut self, gpa: Gpa, table: Box<[u8]>) {
        self.tables.fetched(gpa, table);
    }

    /// See [`Ring::walk`](super::Ring::walk). The ring's own descriptors may have given way to used ones by now, or to those
    /// of newer chains: they come from our copy.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn walk(&mut self, map: &MemMap, chain: &mut Chain, head: &Head) -> Result<Walked, RingError> {
        chain.clear();
        if self.areas.is_none() {
            return Ok(Walked::Chain);
        }
        self.taken_chains.copy_of(head.id, &mut self.fetched);
        let stop = match describe(&mut self.tables, &self.fetched, Memory { map, cache: &mut self.cache }, chain) {
            Ok(()) => return Ok(Walked::Chain),
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
        self.position
    }

    /// See [`Ring::push`](super::Ring::push).
    #[inline]
    pub fn push(&mut self, head: Head, written: u32) {
        self.in_flight = self.in_flight.checked_sub(1).expect("a head is given back to the ring that it came from");
        self.taken_chains.give_back(head.id);
        let descriptors = head.descriptors();
        let Some(areas) = &self.areas else {
            self.taken -= descriptors;
            return;
        };
        let used = self.next_used.used(head.id, self.next_used.answer(written));
        match self.held_back {
            Some(_) => areas.set_used(used),
            None => self.held_back = Some((self.next_used, used)),
        }
        self.next_used = self.next_used.advance(descriptors, self.size);
        self.unpublished += descriptors;
    }

    /// See [`Ring::push_usual`](super::Ring::push_usual).
    #[inline]
    pub fn push_usual(&mut self, chains: &[UsualChain], written: u32) {
        let Some((first, others)) = chains.split_first() else { return };
        // It may be the one that is held back.
        self.push(first.take_head(), written);
        let Some(areas) = &self.areas else {
            return others.iter().for_each(|chain| self.push(chain.take_head(), written));
        };
        let left = self.in_flight.checked_sub(others.len() as u16);
        self.in_flight = left.expect("heads are given back to the ring that they came from");
        let (mut at, mut answer, mut unpublished) = (self.next_used, self.next_used.answer(written), 0);
        for chain in others {
            let head = chain.take_head();
            self.taken_chains.give_back(head.id);
            areas.set_used(at.used(head.id, answer));
            let by = head.descriptors();
            unpublished += by;
            match at.advance_in_turn(by, self.size) {
                Some(next) => at = next,
                None => (at, answer) = next_turn(at.advance(by, self.size), written),
            }
        }
        self.next_used = at;
        self.unpublished += unpublished;
    }

    /// See [`Ring::publish`](super::Ring::publish).
    #[inline]
    #[must_use = "the driver waits for its interrupt"]
    pub fn publish(&mut self) -> bool {
        let Some(areas) = &self.areas else { return false };
        let Some((first, used)) = self.held_back.take() else { return false };
        areas.set_used(used);
        let count = std::mem::take(&mut self.unpublished);
        self.taken -= count;
        // A driver about to sleep asks for interrupts, then looks at the descriptor; we write the descriptor, then look
        // whether it asks. Without a full fence between our store and our load both could miss the other.
        fence(Ordering::SeqCst);
        areas.driver_event(self.features.event_idx).wants(first, count, self.size)
    }

    /// See [`Ring::enable_notify`](super::Ring::enable_notify).
    ///
    /// # Errors
    /// [`RingError::Overrun`].
    pub fn enable_notify(&mut self) -> Result<bool, RingError> {
        self.polled = false;
        self.tell_notify();
        // The mirror image of `publish`: we ask for the doorbell, then look at the descriptor; the driver writes the
        // descriptor, then looks whether to ring.
        fence(Ordering::SeqCst);
        Ok(self.look()? != 0)
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
        areas.set_device_event(match (self.polled, self.features.event_idx) {
            (true, _) => Event::Disable,
            (false, true) => Event::At(self.next_avail),
            (false, false) => Event::Enable,
        });
    }
}

/// A place in a new turn, and the answer there: so seldom that nobody else is to pay for it.
#[cold]
#[inline(never)]
fn next_turn(at: Position, written: u32) -> (Position, Answer) {
    (at, at.answer(written))
}

/// Describes a chain of these descriptors.
#[inline(never)]
fn describe(
    tables: &mut Tables,
    descriptors: &[Descriptor],
    mut memory: Memory<'_>,
    chain: &mut Chain,
) -> Result<(), Stop> {
    let mut filling = chain.fill();
    if let [pointer] = descriptors
        && pointer.flags & DESC_F_INDIRECT != 0
    {
        return tables.walk_packed(*pointer, memory, filling);
    }
    for descriptor in descriptors {
        filling.add(memory.borrow(), descriptor.addr, descriptor.len, descriptor.access())?;
    }
    Ok(filling.finish()?)
}

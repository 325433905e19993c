//! The chains of a packed ring that are in flight. Owns a copy of their descriptors, for those in the ring give way to used
//! ones. [`packed`](super::packed) alone asks it.

use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, Descriptor};
use super::packed_areas::{PackedAreas, Position};
use super::usual::USUAL_SEGMENTS;
use super::{ChainFault, RingError};

/// The descriptors of the chains in flight, by buffer id. The driver tells chains by that: one that came twice would be
/// used twice, with whatever length the driver remembers for it. There is room for the usual number from the start; the
/// copies of longer chains grow, once.
#[derive(Debug)]
pub(super) struct TakenChains(Box<[Vec<Descriptor>]>);

impl TakenChains {
    pub fn new(size: u16) -> Self {
        Self((0..size).map(|_| Vec::with_capacity(USUAL_SEGMENTS)).collect())
    }

    /// Takes a chain over, and leaves an empty list in its place. Returns its id.
    #[inline]
    pub fn take(&mut self, descriptors: &mut Vec<Descriptor>) -> Result<u16, RingError> {
        // The last descriptor holds it (2.8.6).
        let id = descriptors.last().expect("a chain has descriptors").link;
        let size = self.0.len() as u16;
        let place = self.0.get_mut(usize::from(id)).ok_or(RingError::IdOutOfRange { id, size })?;
        if !place.is_empty() {
            return Err(RingError::IdInUse(id));
        }
        std::mem::swap(place, descriptors);
        Ok(id)
    }

    #[inline]
    pub fn give_back(&mut self, id: u16) {
        self.0[usize::from(id)].clear();
    }

    /// The descriptors of a chain in flight.
    pub fn of(&self, id: u16) -> &[Descriptor] {
        &self.0[usize::from(id)]
    }
}

/// Fetches the descriptors of the chain that starts with `first`, which is `at` that place. The driver can have made `room`
/// descriptors available.
#[inline(never)]
pub(super) fn fetch_chain(
    areas: &PackedAreas,
    (mut at, room): (Position, u16),
    first: Descriptor,
    fetched: &mut Vec<Descriptor>,
) -> Result<(), ChainFault> {
    fetched.clear();
    fetched.push(first);
    if first.flags & DESC_F_INDIRECT != 0 {
        return Ok(());
    }
    let (mut descriptor, mut left) = (first, room - 1);
    while descriptor.flags & DESC_F_NEXT != 0 {
        left = left.checked_sub(1).ok_or(ChainFault::TooLong)?;
        at = at.next(areas.size());
        descriptor = areas.descriptor(at.index());
        if !at.is_available_and_direct(descriptor.flags) {
            let is_available = at.is_available(descriptor.flags);
            return Err(if is_available { ChainFault::IndirectInChain } else { ChainFault::NotAvailable(at.index()) });
        }
        fetched.push(descriptor);
    }
    Ok(())
}

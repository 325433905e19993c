//! The chains of a packed ring that are in flight. Owns a copy of their descriptors, for those in the ring give way to used
//! ones. [`packed`](super::packed) alone asks it.

use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, Descriptor};
use super::packed_areas::{PackedAreas, Position};
use super::usual::USUAL_SEGMENTS;
use super::{ChainFault, RingError};

/// Descriptors of a chain that are beside its place: those of a request header, a response and one piece of data.
pub(super) const NEAR: usize = 3;

/// The descriptors of the chains in flight, by buffer id. The driver tells chains by that: one that came twice would be
/// used twice, with whatever length the driver remembers for it. There is room for the usual number
/// from the start; the lists of longer chains grow, once.
#[derive(Debug)]
pub(super) struct TakenChains {
    places: Box<[Place]>,
    far: Box<[Vec<Descriptor>]>,
}

/// A chain, in one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Place {
    /// How many descriptors it has, 0 if there is none with this id.
    count: u16,
    /// All of them, if they are not more.
    near: [Descriptor; NEAR],
}

impl TakenChains {
    pub fn new(size: u16) -> Self {
        const FREE: Place = Place { count: 0, near: [Descriptor::EMPTY; NEAR] };
        Self {
            places: (0..size).map(|_| FREE).collect(),
            far: (0..size).map(|_| Vec::with_capacity(USUAL_SEGMENTS)).collect(),
        }
    }

    /// Takes a chain of at most [`NEAR`] descriptors over, the first `count` of these. Returns its id, or none if that is not
    /// one that it may have.
    #[inline(always)]
    pub fn take_near(&mut self, descriptors: [Descriptor; NEAR], count: u16) -> Option<u16> {
        // The last descriptor holds it (2.8.6).
        let id = descriptors[usize::from(count) - 1].link;
        let place = self.places.get_mut(usize::from(id)).filter(|place| place.count == 0)?;
        *place = Place { count, near: descriptors };
        Some(id)
    }

    /// Takes a chain over, and leaves an empty list in its place. Returns its id.
    pub fn take(&mut self, descriptors: &mut Vec<Descriptor>) -> Result<u16, RingError> {
        let id = descriptors.last().expect("a chain has descriptors").link;
        let size = self.places.len() as u16;
        let place = self.places.get_mut(usize::from(id)).ok_or(RingError::IdOutOfRange { id, size })?;
        if place.count != 0 {
            return Err(RingError::IdInUse(id));
        }
        place.count = descriptors.len() as u16;
        match place.near.get_mut(..descriptors.len()) {
            Some(near) => near.copy_from_slice(descriptors),
            None => std::mem::swap(&mut self.far[usize::from(id)], descriptors),
        }
        descriptors.clear();
        Ok(id)
    }

    #[inline(always)]
    pub fn give_back(&mut self, id: u16) {
        self.places[usize::from(id)].count = 0;
    }

    /// The descriptors of a chain in flight.
    pub fn of(&self, id: u16) -> &[Descriptor] {
        let place = &self.places[usize::from(id)];
        place.near.get(..usize::from(place.count)).unwrap_or(&self.far[usize::from(id)])
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::Gpa;

    fn chain(id: u16, count: u16) -> Vec<Descriptor> {
        // Only the id of the last one counts.
        let link = |at| if at + 1 == count { id } else { !id };
        (0..count).map(|at| Descriptor { addr: Gpa(at.into()), len: 1, flags: DESC_F_NEXT, link: link(at) }).collect()
    }

    #[test]
    fn a_chain_of_any_length_is_kept_until_it_is_given_back() {
        let mut taken = TakenChains::new(4);
        for count in [1, 2, 3, 4, 9, 3, 12, 1] {
            let whole = chain(2, count);
            assert_eq!(taken.take(&mut whole.clone()), Ok(2));
            assert_eq!((taken.of(2), taken.of(1)), (&whole[..], &[][..]));
            assert_eq!(taken.take(&mut chain(2, 4)), Err(RingError::IdInUse(2)));
            taken.give_back(2);
            if let Some(near) = whole.first_chunk() {
                assert_eq!(taken.take_near(*near, 3), (count == 3).then_some(2));
                assert_eq!(taken.take_near(*near, 3), None, "in use, or not in the ring");
                assert_eq!(taken.of(2).len(), if count == 3 { 3 } else { 0 });
                taken.give_back(2);
            }
        }
        assert_eq!(taken.take(&mut chain(4, 1)), Err(RingError::IdOutOfRange { id: 4, size: 4 }));
    }
}

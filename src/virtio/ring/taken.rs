//! The chains of a packed ring that are in flight. Owns a copy of their descriptors, for those in the ring give way to used
//! ones. [`packed`](super::packed) alone asks it.

use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, Descriptor, RawDescriptor};
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
pub(super) struct Place {
    /// All of its descriptors, if they are not more.
    near: [RawDescriptor; NEAR],
    /// How many it has, 0 if there is none with this id.
    count: u16,
}

impl Place {
    /// That with this `id`, if there is one, and no chain in flight has it.
    #[inline(always)]
    pub fn free(places: &mut [Self], id: u16) -> Option<&mut Self> {
        places.get_mut(usize::from(id)).filter(|place| place.count == 0)
    }

    /// Puts the descriptors of a chain that is about to be taken here, while there is none.
    #[inline(always)]
    pub fn put(&mut self, descriptors: [RawDescriptor; NEAR]) {
        debug_assert_eq!(self.count, 0);
        self.near = descriptors;
    }

    /// The chain of the first `count` descriptors that were put here is taken.
    #[inline(always)]
    pub fn take(&mut self, count: u16) {
        self.count = count;
    }

    /// The chain of this descriptor is taken.
    #[inline(always)]
    pub fn take_one(&mut self, descriptor: RawDescriptor) {
        (self.near[0], self.count) = (descriptor, 1);
    }
}

impl TakenChains {
    pub fn new(size: u16) -> Self {
        const FREE: Place = Place { count: 0, near: [RawDescriptor::EMPTY; NEAR] };
        Self {
            places: (0..size).map(|_| FREE).collect(),
            far: (0..size).map(|_| Vec::with_capacity(USUAL_SEGMENTS)).collect(),
        }
    }

    /// The places of the ring's chains, by id.
    #[inline(always)]
    pub fn places(&mut self) -> &mut [Place] {
        &mut self.places
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
            Some(near) => {
                near.iter_mut().zip(&*descriptors).for_each(|(place, one)| *place = RawDescriptor::of_packed(one));
            }
            None => std::mem::swap(&mut self.far[usize::from(id)], descriptors),
        }
        descriptors.clear();
        Ok(id)
    }

    #[inline(always)]
    pub fn give_back(&mut self, id: u16) {
        self.places[usize::from(id)].count = 0;
    }

    /// Puts the descriptors of a chain in flight in `into`.
    pub fn copy_of(&self, id: u16, into: &mut Vec<Descriptor>) {
        let place = &self.places[usize::from(id)];
        into.clear();
        match place.near.get(..usize::from(place.count)) {
            Some(near) => into.extend(near.iter().map(|one| one.packed())),
            None => into.extend_from_slice(&self.far[usize::from(id)]),
        }
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
        let (mut taken, mut copy) = (TakenChains::new(4), Vec::new());
        for count in [1, 2, 3, 4, 9, 3, 12, 1] {
            let whole = chain(2, count);
            assert!(Place::free(taken.places(), 2).is_some());
            assert_eq!(taken.take(&mut whole.clone()), Ok(2));
            taken.copy_of(2, &mut copy);
            assert_eq!(copy, whole);
            assert_eq!(taken.take(&mut chain(2, 4)), Err(RingError::IdInUse(2)));
            assert!(Place::free(taken.places(), 2).is_none(), "in use");
            taken.copy_of(1, &mut copy);
            assert_eq!(copy, []);
            taken.give_back(2);
        }
        assert_eq!(taken.take(&mut chain(4, 1)), Err(RingError::IdOutOfRange { id: 4, size: 4 }));
        assert!(Place::free(taken.places(), 4).is_none(), "not in the ring");
    }

    #[test]
    fn what_was_put_is_kept_when_it_is_taken() {
        let (mut taken, mut copy, whole) = (TakenChains::new(4), Vec::new(), chain(1, 3));
        let descriptors = [0, 1, 2].map(|at| RawDescriptor::of_packed(&whole[at]));
        Place::free(taken.places(), 1).expect("there is none").put(descriptors);
        taken.copy_of(1, &mut copy);
        assert_eq!(copy, [], "it was not taken");
        Place::free(taken.places(), 1).expect("there is still none").take(3);
        taken.copy_of(1, &mut copy);
        assert!(copy == whole && Place::free(taken.places(), 1).is_none());
        taken.give_back(1);
        Place::free(taken.places(), 1).expect("it was given back").take_one(RawDescriptor::of_packed(&whole[2]));
        taken.copy_of(1, &mut copy);
        assert_eq!(copy, whole[2..]);
    }
}

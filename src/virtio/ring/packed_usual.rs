//! Usual chains of a packed ring, a batch at a time: from its descriptors to places in memory, and to where those of the
//! chains in flight are kept. What is kept and found is what was judged. [`packed`](super::packed) alone asks for them.
//!
//! Chains that are alike are taken in one loop, which keeps in registers what it needs for all of them.

use arrayvec::ArrayVec;

use super::chain::Memory;
use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, Descriptor, RawDescriptor};
use super::packed_areas::{PackedAreas, Position, Shared};
use super::table::Tables;
use super::taken::{Place, TakenChains};
use super::three::{Finding, THREE, TableOfThree, Three};
use super::usual::UsualChain;
use crate::dma::RegionCache;

/// Chains whose tables are looked for at one go.
const TABLES_MAX: usize = 16;

/// Chains in tables: the descriptor that points to each, its id, and the table.
type Tabled = ArrayVec<(RawDescriptor, u16, TableOfThree), TABLES_MAX>;

/// What chains are taken with.
pub(super) struct Taking<'a> {
    pub areas: &'a PackedAreas,
    pub tables: &'a Tables,
    pub memory: Memory<'a>,
    pub taken_chains: &'a mut TakenChains,
    /// Room for descriptors.
    pub fetched: &'a mut Vec<Descriptor>,
    /// Where the next chain begins.
    pub at: Position,
    /// Descriptors that the driver can have made available.
    pub room: u16,
}

impl Taking<'_> {
    /// Takes chains, one into each place of `into`, up to the first that is no usual one. Returns how many.
    #[inline(always)]
    pub fn take(&mut self, into: &mut [UsualChain]) -> u16 {
        let mut done = 0;
        while let Some(rest @ [_, ..]) = into.get_mut(usize::from(done)..) {
            let first = self.areas.descriptor(self.at.index()).flags;
            if !self.at.is_available(first) {
                break;
            }
            let took = match self.take_threes(first, rest) {
                0 => self.take_any(&mut rest[0]).map_or(0, |()| 1),
                took => took,
            };
            if took == 0 {
                break;
            }
            done += took;
        }
        done
    }

    /// Takes chains of three, all of the ring's own descriptors or all in tables, as the `first` flags say. Returns how many.
    #[inline(always)]
    fn take_threes(&mut self, first: u16, into: &mut [UsualChain]) -> u16 {
        let (areas, at, places) = (self.areas, self.at, self.taken_chains.places());
        let cache = &mut *self.memory.cache;
        if first & DESC_F_INDIRECT != 0 {
            let (mut found, most) = (ArrayVec::new_const(), into.len().min(self.room.into()));
            if self.tables.may_be() {
                find_tables(areas, (at, most), cache, &mut found);
            }
            let count = match take_tables(&found, places, into, cache.near()) {
                0 => take_tables(&found, places, into, cache),
                took => took,
            };
            self.advance(count);
            return count;
        }
        let (mut threes, mut around) = (areas.threes(at, self.room), None);
        if threes.is_empty() && self.room >= THREE {
            threes = std::slice::from_ref(around.insert(areas.three_around(at)));
        }
        let count = match take_direct((at, threes), places, into, cache.near()) {
            0 => take_direct((at, threes), places, into, cache),
            took => took,
        };
        self.advance(count * THREE);
        count
    }

    /// So many descriptors were taken.
    fn advance(&mut self, descriptors: u16) {
        self.at = self.at.advance(descriptors, self.areas.size());
        self.room -= descriptors;
    }

    /// Takes one chain, of any number of descriptors that is usual.
    #[inline(never)]
    fn take_any(&mut self, chain: &mut UsualChain) -> Option<()> {
        let (areas, fetched, mut last) = (self.areas, &mut *self.fetched, self.at);
        let first = areas.descriptor(last.index());
        if !last.is_available(first.flags) || self.room == 0 {
            return None;
        }
        fetched.clear();
        fetched.push(first);
        let descriptors = if first.flags & DESC_F_INDIRECT != 0 {
            let table = self.tables.usual(&first, self.memory.borrow())?;
            let mut index = 0;
            let mut entry = |_: &Descriptor| {
                let descriptor = table.get(index).map(RawDescriptor::packed);
                index += 1;
                // Of the flags only the direction means anything.
                let next = if index < table.count() { DESC_F_NEXT } else { 0 };
                descriptor.map(|one| Descriptor { flags: one.flags & DESC_F_WRITE | next, ..one })
            };
            let first = entry(&first)?;
            chain.fill(self.memory.borrow(), first, entry)?;
            1
        } else {
            chain.fill(self.memory.borrow(), first, |_| {
                last = last.next(areas.size());
                let descriptor = areas.descriptor(last.index());
                fetched.push(descriptor);
                last.is_available_and_direct(descriptor.flags).then_some(descriptor)
            })?
        };
        if descriptors > self.room {
            return None;
        }
        let id = self.taken_chains.take(self.fetched).ok()?;
        self.advance(descriptors);
        chain.prefetch();
        chain.set_id(id);
        chain.popped(descriptors);
        Some(())
    }
}

/// Takes chains of these descriptors, of which the first is at this position. Returns how many.
#[inline(never)]
fn take_direct(
    (at, threes): (Position, &[[Shared; 3]]),
    places: &mut [Place],
    into: &mut [UsualChain],
    mut finding: impl Finding,
) -> u16 {
    let mut count = 0;
    for (chain, descriptors) in into.iter_mut().zip(threes) {
        let Some(fetched) = at.judge(descriptors) else { break };
        let [first, middle, last] = fetched.map(RawDescriptor::packed);
        // The last descriptor holds the id (2.8.6).
        let id = last.link;
        let Some(place) = Place::free(places, id) else { break };
        if count > 0 {
            Shared::prefetch_ahead(descriptors);
        }
        place.put(fetched);
        let three = Three::new([first, middle, last].map(|one| (one.addr, one.len)), middle.flags.into());
        if !chain.describe_three(&three, &mut finding) {
            break;
        }
        place.take(THREE);
        chain.set_id(id);
        chain.popped(THREE);
        count += 1;
    }
    count
}

/// Finds the tables of three of the chains from this position on, of so many at most. They are all on their way before the first
/// is looked into.
#[inline(never)]
fn find_tables(areas: &PackedAreas, (mut at, most): (Position, usize), cache: &RegionCache, into: &mut Tabled) {
    for _ in 0..most.min(TABLES_MAX) {
        let raw = areas.raw(at.index());
        let pointer = raw.packed();
        if !at.is_available(pointer.flags) || !TableOfThree::may_be_at(&pointer) {
            return;
        }
        let Some(table) = TableOfThree::find(pointer.addr, cache) else { return };
        into.push((raw, pointer.link, table));
        at = at.next(areas.size());
    }
}

/// Takes chains in tables that were found. Returns how many.
#[inline(never)]
fn take_tables(found: &Tabled, places: &mut [Place], into: &mut [UsualChain], mut finding: impl Finding) -> u16 {
    let mut count = 0;
    for (chain, &(pointer, id, table)) in into.iter_mut().zip(found) {
        let Some(three) = Three::side_by_side(table.words()) else { break };
        let Some(place) = Place::free(places, id) else { break };
        if !chain.describe_three(&three, &mut finding) {
            break;
        }
        place.take_one(pointer);
        chain.set_id(id);
        chain.popped(1);
        count += 1;
    }
    count
}

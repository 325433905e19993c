//! Usual chains of a packed ring: from its descriptors to places in memory, each read once, and copied to where the chains in
//! flight are kept.

use super::Head;
use super::chain::Memory;
use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, Descriptor, RawDescriptor};
use super::packed_areas::{PackedAreas, Position};
use super::table::Tables;
use super::taken::{NEAR, TakenChains};
use super::usual::UsualChain;

/// What chains are taken with.
pub(super) struct Taking<'a> {
    pub areas: &'a PackedAreas,
    pub tables: &'a Tables,
    pub memory: Memory<'a>,
    pub taken_chains: &'a mut TakenChains,
    /// Room for descriptors.
    pub fetched: &'a mut Vec<Descriptor>,
}

impl Taking<'_> {
    /// Takes the chain that begins at `at`, if it is a usual one, of no more than `room` descriptors. Returns where the next
    /// one begins, too.
    #[inline(always)]
    pub fn take(&mut self, chain: &mut UsualChain, at: Position, room: u16) -> Option<(Head, Position)> {
        let (areas, size) = (self.areas, self.areas.size());
        let first = areas.descriptor(at.index());
        if !at.is_available(first.flags) || room == 0 {
            return None;
        }
        if first.flags & DESC_F_INDIRECT != 0 {
            self.describe_table(chain, first)?;
            let id = self.taken_chains.take_near([first; NEAR], 1)?;
            return Some((Head { id, descriptors: 1 }, at.next(size)));
        }
        let (mut copies, mut count, mut last) = ([first; NEAR], 1, at);
        let next = |_: &Descriptor| {
            last = last.next(size);
            let descriptor = areas.descriptor(last.index());
            copies[count] = descriptor;
            count += 1;
            last.is_available_and_direct(descriptor.flags).then_some(descriptor)
        };
        match chain.fill_three(self.memory.cache, first, next) {
            Some(descriptors) if descriptors <= room => {
                let id = self.taken_chains.take_near(copies, descriptors)?;
                Some((Head { id, descriptors }, last.next(size)))
            }
            _ => self.take_any(chain, first, at, room),
        }
    }

    /// As [`Taking::take`], for one of another number of descriptors, of which `first` is the first.
    #[inline(never)]
    fn take_any(
        &mut self,
        chain: &mut UsualChain,
        first: Descriptor,
        at: Position,
        room: u16,
    ) -> Option<(Head, Position)> {
        let (areas, fetched, mut last) = (self.areas, &mut *self.fetched, at);
        fetched.clear();
        fetched.push(first);
        let descriptors = chain.fill(self.memory.borrow(), first, |_| {
            last = last.next(areas.size());
            let descriptor = areas.descriptor(last.index());
            fetched.push(descriptor);
            last.is_available_and_direct(descriptor.flags).then_some(descriptor)
        })?;
        if descriptors > room {
            return None;
        }
        let id = self.taken_chains.take(self.fetched).ok()?;
        Some((Head { id, descriptors }, last.next(areas.size())))
    }

    /// Describes the chain whose table `pointer` points to.
    #[inline(always)]
    fn describe_table(&mut self, chain: &mut UsualChain, pointer: Descriptor) -> Option<u16> {
        let table = self.tables.usual(&pointer, self.memory.borrow())?;
        let entries = || {
            let mut index = 0;
            move |_: &Descriptor| {
                let descriptor = table.get(index).map(RawDescriptor::packed);
                index += 1;
                // Of the flags only the direction means anything.
                let next = if index < table.count() { DESC_F_NEXT } else { 0 };
                descriptor.map(|one| Descriptor { flags: one.flags & DESC_F_WRITE | next, ..one })
            }
        };
        let mut three = entries();
        let first = three(&pointer)?;
        if let Some(count) = chain.fill_three(self.memory.cache, first, three) {
            return Some(count);
        }
        let mut all = entries();
        let first = all(&pointer)?;
        chain.fill(self.memory.borrow(), first, all)
    }
}

//! Usual chains of a split ring, a batch at a time: from its heads to places in memory. [`split`](super::split) alone asks for
//! them.
//!
//! Chains that are alike are taken in one loop, which keeps in registers what it needs for all of them.

use arrayvec::ArrayVec;

use super::areas::Areas;
use super::chain::Memory;
use super::descriptor::{DESC_F_INDIRECT, Descriptor, RawDescriptor};
use super::table::Tables;
use super::three::{Finding, LinkedTable, THREE, TableOfThree, Three};
use super::usual::UsualChain;
use crate::dma::RegionCache;

/// Chains that are taken at one go at most.
pub(super) const BATCH_MAX: usize = 16;

/// What chains are taken with.
pub(super) struct Taking<'a> {
    pub areas: &'a Areas,
    pub tables: &'a Tables,
    pub memory: Memory<'a>,
}

impl Taking<'_> {
    /// Takes the chains from position `first` on, one into each place of `into`, of which there are [`BATCH_MAX`] at most, up
    /// to the first that is no usual one. Returns how many.
    #[inline(always)]
    pub fn take(&mut self, first: u16, into: &mut [UsualChain]) -> u16 {
        for (step, chain) in (0..).zip(&mut *into) {
            let head = self.areas.avail_head(first.wrapping_add(step));
            self.areas.descriptors().prefetch(head);
            chain.set_id(head);
        }
        let mut done = 0;
        while let Some(rest @ [_, ..]) = into.get_mut(done..) {
            let took = match self.take_threes(rest) {
                0 => self.take_any(&mut rest[0]),
                took => took,
            };
            if took == 0 {
                break;
            }
            done += took;
        }
        done as u16
    }

    /// Takes chains of three, all of the ring's own descriptors or all in tables. Returns how many.
    #[inline(always)]
    fn take_threes(&mut self, into: &mut [UsualChain]) -> usize {
        let (table, cache) = (self.areas.table(), &mut *self.memory.cache);
        if table.is_indirect(into[0].id()) {
            let mut found = ArrayVec::new_const();
            if self.tables.may_be() {
                find_tables(table, into, cache, &mut found);
            }
            return match take_tables(&found, into, cache.near()) {
                0 => take_tables(&found, into, cache),
                took => took,
            };
        }
        match take_direct(table, into, cache.near()) {
            0 => take_direct(table, into, cache),
            took => took,
        }
    }

    /// Takes one chain, of any number of descriptors that is usual. Returns how many.
    #[inline(never)]
    fn take_any(&mut self, chain: &mut UsualChain) -> usize {
        let Some(descriptors) = self.describe(chain) else { return 0 };
        chain.prefetch();
        chain.popped(descriptors);
        1
    }

    /// Describes a chain if it is a usual one: the ring's own descriptors in it.
    fn describe(&mut self, chain: &mut UsualChain) -> Option<u16> {
        let mut table = self.areas.descriptors();
        let mut first = table.get(chain.id())?.split();
        let is_indirect = first.flags & DESC_F_INDIRECT != 0;
        if is_indirect {
            table = self.tables.usual(&first, self.memory.borrow())?;
            first = table.get(0)?.split();
        }
        let next = |before: &Descriptor| table.get(before.link).map(RawDescriptor::split);
        let count = chain.fill(self.memory.borrow(), first, next)?;
        match (count <= table.count(), is_indirect) {
            (false, _) => None,
            (true, true) => Some(1),
            (true, false) => Some(count),
        }
    }
}

/// Takes chains of three of the ring's own descriptors. Returns how many.
#[inline(never)]
fn take_direct(table: LinkedTable, into: &mut [UsualChain], mut finding: impl Finding) -> usize {
    let mut count = 0;
    for chain in into {
        let Some(three) = table.three(chain.id()) else { break };
        if !chain.describe_three(&three, &mut finding) {
            break;
        }
        chain.popped(THREE);
        count += 1;
    }
    count
}

/// Finds the tables of three of these chains. They are all on their way before the first is looked into.
#[inline(never)]
fn find_tables(
    table: LinkedTable,
    of: &[UsualChain],
    cache: &RegionCache,
    into: &mut ArrayVec<TableOfThree, BATCH_MAX>,
) {
    for chain in of {
        let Some(gpa) = table.to_three(chain.id()) else { return };
        let Some(table) = TableOfThree::find(gpa, cache) else { return };
        into.push(table);
    }
}

/// Takes chains in tables that were found. Returns how many.
#[inline(never)]
fn take_tables(tables: &[TableOfThree], into: &mut [UsualChain], mut finding: impl Finding) -> usize {
    let mut count = 0;
    for (chain, table) in into.iter_mut().zip(tables) {
        let Some(three) = Three::in_order(table.words()) else { break };
        if !chain.describe_three(&three, &mut finding) {
            break;
        }
        chain.popped(1);
        count += 1;
    }
    count
}

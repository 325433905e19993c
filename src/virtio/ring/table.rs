//! Indirect tables (virtio 1.2, sections 2.7.5.3 and 2.8.7): the rest of a chain, in memory of its own.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use bdev::Segment;

use super::chain::{Filling, Memory};
use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_SIZE, Descriptor, Descriptors, RawDescriptor};
use super::usual::USUAL_SEGMENTS;
use super::{ChainFault, MAX_SEGMENTS};
use crate::dma::{Access, Gpa};

/// Why a chain could not be taken.
pub(super) enum Stop {
    /// It breaks the rules.
    Fault(ChainFault),
    /// Its table is not in shared memory: see [`Popped::NeedsFetch`](super::Popped::NeedsFetch).
    NeedsFetch { gpa: Gpa, len: u32 },
}

impl From<ChainFault> for Stop {
    fn from(fault: ChainFault) -> Self {
        Self::Fault(fault)
    }
}

/// What a ring knows of indirect tables.
#[derive(Debug)]
pub(super) struct Tables {
    negotiated: bool,
    /// A table from unshared memory, for the next chain.
    fetched: Option<(Gpa, Box<[u8]>)>,
    /// The one that was walked last: it stays in place as long as anybody may look at it.
    walked: Box<[u8]>,
}

impl Tables {
    /// Whether there may be any is `negotiated`.
    pub fn new(negotiated: bool) -> Self {
        Self { negotiated, fetched: None, walked: Box::default() }
    }

    /// Whether there may be any.
    #[inline(always)]
    pub fn may_be(&self) -> bool {
        self.negotiated
    }

    /// This is the table at `gpa`.
    pub fn fetched(&mut self, gpa: Gpa, table: Box<[u8]>) {
        self.fetched = Some((gpa, table));
    }

    /// Memory has changed: what was fetched from it is of no use.
    pub fn forget(&mut self) {
        self.fetched = None;
    }

    /// Follows the rest of a split ring's chain in the table that `pointer` points to, from link to link. The direction in
    /// `pointer` means nothing.
    #[inline]
    pub fn walk_linked(
        &mut self,
        pointer: Descriptor,
        mut memory: Memory<'_>,
        mut filling: Filling<'_>,
    ) -> Result<(), Stop> {
        let entries = self.check(&pointer)?;
        let table = self.find(&pointer, memory.borrow())?;
        let mut index = 0;
        for _ in 0..entries {
            let descriptor = table.fetch(index, memory.borrow())?.split();
            if descriptor.flags & DESC_F_INDIRECT != 0 {
                return Err(ChainFault::NestedIndirect.into());
            }
            filling.add(memory.borrow(), descriptor.addr, descriptor.len, descriptor.access())?;
            if descriptor.flags & DESC_F_NEXT == 0 {
                return Ok(filling.finish()?);
            }
            index = descriptor.link;
            if index >= entries {
                return Err(ChainFault::NextOutOfRange { next: index, entries }.into());
            }
        }
        Err(ChainFault::Loop.into())
    }

    /// Follows a packed ring's table, which is the whole chain: its descriptors one after the other, of whose flags only the
    /// direction means anything.
    #[inline]
    pub fn walk_packed(
        &mut self,
        pointer: Descriptor,
        mut memory: Memory<'_>,
        mut filling: Filling<'_>,
    ) -> Result<(), Stop> {
        let entries = self.check(&pointer)?;
        let table = self.find(&pointer, memory.borrow())?;
        for index in 0..entries {
            let descriptor = table.fetch(index, memory.borrow())?.packed();
            filling.add(memory.borrow(), descriptor.addr, descriptor.len, descriptor.access())?;
        }
        Ok(filling.finish()?)
    }

    /// The table that `pointer` points to, if it is a short one, whole in one region, and its pointer keeps to the rules.
    #[inline(always)]
    pub fn usual(&self, pointer: &Descriptor, memory: Memory<'_>) -> Option<Descriptors> {
        let mut whole = Segment::EMPTY;
        let is_usual = self.check(pointer).is_ok_and(|entries| usize::from(entries) <= USUAL_SEGMENTS)
            && memory.map.hit_into(memory.cache, (pointer.addr, u64::from(pointer.len)), Access::Read, &mut whole);
        let base = NonNull::new(whole.as_ptr())?;
        // SAFETY: the segment is as long as so many descriptors, and mapped.
        is_usual.then(|| unsafe { Descriptors::new(base, (whole.len() / DESC_SIZE as usize) as u16) })
    }

    /// The number of descriptors in a table, if its pointer keeps to the rules.
    #[inline]
    fn check(&self, pointer: &Descriptor) -> Result<u16, ChainFault> {
        if !self.negotiated {
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

    /// The table in host memory.
    #[inline]
    fn find(&mut self, pointer: &Descriptor, memory: Memory<'_>) -> Result<Table, Stop> {
        let gpa = pointer.addr;
        match memory.map.hit(memory.cache, (gpa, u64::from(pointer.len)), Access::Read) {
            Some(whole) => Ok(Table { gpa, whole: Some(whole) }),
            None => self.search(pointer, memory),
        }
    }

    #[cold]
    #[inline(never)]
    fn search(&mut self, pointer: &Descriptor, memory: Memory<'_>) -> Result<Table, Stop> {
        let (gpa, len) = (pointer.addr, pointer.len);
        let (mut first, mut remote) = (None, false);
        let note = |segment, is_remote| {
            first.get_or_insert(segment);
            remote |= is_remote;
            Ok(())
        };
        memory.map.translate(memory.cache, (gpa, u64::from(len)), Access::Read, note).map_err(ChainFault::from)?;
        if remote {
            return self.take_fetched(gpa, len).ok_or(Stop::NeedsFetch { gpa, len });
        }
        Ok(Table { gpa, whole: first.filter(|segment: &Segment| segment.len() == len as usize) })
    }

    /// The table that was fetched, if it is this one.
    fn take_fetched(&mut self, gpa: Gpa, len: u32) -> Option<Table> {
        let fetched = self.fetched.take().filter(|(at, table)| (*at, table.len()) == (gpa, len as usize));
        self.walked = fetched?.1;
        let base = NonNull::new(self.walked.as_mut_ptr()).expect("a box is not null");
        // SAFETY: the bytes stay where they are until the next table is taken; this one is done with before.
        Some(Table { gpa, whole: Some(unsafe { Segment::new(base, self.walked.len()) }) })
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
    fn fetch(&self, index: u16, memory: Memory<'_>) -> Result<RawDescriptor, ChainFault> {
        let at = usize::from(index) * DESC_SIZE as usize;
        let Some(whole) = self.whole else {
            return fetch_in_pieces(Gpa(self.gpa.0 + at as u64), memory);
        };
        assert!(at + DESC_SIZE as usize <= whole.len(), "the index was checked against the table");
        // SAFETY: the 16 bytes are inside the segment, as just checked, and that is mapped.
        Ok(unsafe { RawDescriptor::fetch(whole.as_ptr().add(at)) })
    }
}

#[cold]
#[inline(never)]
fn fetch_in_pieces(gpa: Gpa, memory: Memory<'_>) -> Result<RawDescriptor, ChainFault> {
    let (mut bytes, mut done) = ([0; DESC_SIZE as usize], 0);
    memory.map.translate(memory.cache, (gpa, u64::from(DESC_SIZE)), Access::Read, |segment, _| {
        segment.read(0, &mut bytes[done..done + segment.len()]);
        done += segment.len();
        Ok(())
    })?;
    Ok(RawDescriptor::from_bytes(bytes))
}

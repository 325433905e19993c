//! The most usual chain of all: a request header, one piece of data and a response. Its descriptors are fetched together, and
//! what they say beside addresses and lengths is judged at once, in a few instructions for all three.
//!
//! What is not so is for others: nothing here ever says that a chain is wrong.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use bdev::Segment;

use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_SIZE, Descriptor};
use crate::dma::{Access, Gpa, Near, RegionCache};

/// Descriptors of such a chain.
pub(super) const THREE: u16 = 3;
/// Bytes of their table, if they are in one.
const TABLE_LEN: u32 = THREE as u32 * DESC_SIZE;

const NEXT: u32 = DESC_F_NEXT as u32;
const WRITE: u32 = DESC_F_WRITE as u32;
const INDIRECT: u32 = DESC_F_INDIRECT as u32;
/// Where the link is.
const LINK: u32 = 0xffff << 16;
/// All flags that mean something in a split ring.
const FLAGS: u32 = NEXT | WRITE | INDIRECT;

/// The buffers of such a chain. The first is readable, the last writable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Three {
    pub buffers: [(Gpa, u32); THREE as usize],
    /// 1 if the one in the middle is writable, else 2.
    pub readable_count: u16,
}

/// A descriptor, fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words {
    pub addr: Gpa,
    pub len: u32,
    /// What is behind the length. Split: the flags, and above them the link. Packed: the buffer id, and above it the flags.
    pub rest: u32,
}

/// Nothing promises that an indirect table is aligned.
#[repr(C, packed)]
struct Unaligned<T>(T);

impl Words {
    /// Reads a descriptor, each part of it once.
    ///
    /// # Safety
    /// 16 bytes at `at` are mapped and readable.
    #[inline(always)]
    pub unsafe fn fetch(at: *const u8) -> Self {
        // SAFETY: by the promise of the caller; these types ask for no alignment.
        let (addr, len, rest) = unsafe {
            let addr = at.cast::<Unaligned<u64>>().read_volatile();
            let len = at.add(8).cast::<Unaligned<u32>>().read_volatile();
            (addr.0, len.0, at.add(12).cast::<Unaligned<u32>>().read_volatile().0)
        };
        Self { addr: Gpa(u64::from_le(addr)), len: u32::from_le(len), rest: u32::from_le(rest) }
    }
}

/// The descriptor table of a split ring.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkedTable {
    base: NonNull<u8>,
    /// How far from the first descriptor the last one is, in bytes.
    last: u32,
}

impl LinkedTable {
    /// The `size` descriptors at `base`.
    ///
    /// # Safety
    /// The size is a power of two, and they are mapped and readable for as long as this is used.
    #[inline(always)]
    pub unsafe fn new(base: NonNull<u8>, size: u16) -> Self {
        Self { base, last: u32::from(size - 1) * DESC_SIZE }
    }

    /// The descriptor that is `at` bytes from the first, to where as many turns around the table lead.
    #[inline(always)]
    fn words(self, at: u32) -> Words {
        // SAFETY: it is one of the descriptors that the maker promised: there is a power of two of them.
        unsafe { Words::fetch(self.base.as_ptr().add((at & self.last) as usize)) }
    }

    /// The chain that begins with descriptor `head`, if it is one of three.
    #[inline(always)]
    pub fn three(self, head: u16) -> Option<Three> {
        let at = u32::from(head) * DESC_SIZE;
        if at > self.last || self.last < DESC_SIZE * (THREE as u32 - 1) {
            return None;
        }
        // What reserved flags add to a link is less than a descriptor, and masked.
        let link = |words: Words| words.rest >> (16 - DESC_SIZE.ilog2());
        // SAFETY: it is the last one or one before.
        let first = unsafe { Words::fetch(self.base.as_ptr().add(at as usize)) };
        let second = self.words(link(first));
        let third = self.words(link(second));
        let beyond = !self.last << (16 - DESC_SIZE.ilog2()) & LINK;
        let linked = (first.rest ^ NEXT) | (second.rest & !WRITE ^ NEXT);
        let wrong = linked & (FLAGS | beyond) | (third.rest ^ WRITE) & FLAGS;
        (wrong == 0).then(|| Three::of([first, second, third], second.rest))
    }

    /// Whether the chain that begins with descriptor `head` is in a table, if there is such a descriptor.
    #[inline(always)]
    pub fn is_indirect(self, head: u16) -> bool {
        self.words(u32::from(head) * DESC_SIZE).rest & INDIRECT != 0
    }

    /// Where the chain is that begins with descriptor `head`, if that points to a table of three.
    #[inline(always)]
    pub fn to_three(self, head: u16) -> Option<Gpa> {
        let at = u32::from(head) * DESC_SIZE;
        let pointer = self.words(at);
        let is_pointer = pointer.rest & (NEXT | INDIRECT) == INDIRECT && pointer.len == TABLE_LEN;
        (at <= self.last && is_pointer).then_some(pointer.addr)
    }
}

impl Three {
    /// Those of these descriptors, of which the one in the middle has these flags.
    #[inline(always)]
    pub fn new(buffers: [(Gpa, u32); THREE as usize], middle: u32) -> Self {
        Self { buffers, readable_count: 2 - (middle / WRITE % 2) as u16 }
    }

    /// Whether the one in the middle is writable.
    #[inline(always)]
    pub fn is_in(&self) -> bool {
        self.readable_count == 1
    }

    /// The chain of these descriptors, a table of a split ring, if they are linked in their order.
    #[inline(always)]
    pub fn in_order(words: [Words; 3]) -> Option<Self> {
        let [first, second, third] = words;
        let linked = (first.rest ^ (1 << 16 | NEXT)) | (second.rest & !WRITE ^ (2 << 16 | NEXT));
        let wrong = linked & (FLAGS | LINK) | (third.rest ^ WRITE) & FLAGS;
        (wrong == 0).then(|| Self::of(words, second.rest))
    }

    /// The chain of these descriptors, a table of a packed ring: of the flags only the direction means anything.
    #[inline(always)]
    pub fn side_by_side(words: [Words; 3]) -> Option<Self> {
        let [first, second, third] = words;
        let is_written = (third.rest & !first.rest) >> 16 & WRITE != 0;
        is_written.then(|| Self::of(words, second.rest >> 16))
    }

    #[inline(always)]
    fn of(words: [Words; 3], middle: u32) -> Self {
        Self::new(words.map(|one| (one.addr, one.len)), middle)
    }
}

/// How the buffers of such chains are found.
pub(super) trait Finding {
    /// Puts each buffer in its place, or says that it cannot.
    fn find(&mut self, three: &Three, places: [&mut Segment; THREE as usize]) -> bool;
}

/// All in one region. Nothing is written but the places, so that a loop keeps in registers what it needs.
impl Finding for Near {
    #[inline(always)]
    fn find(&mut self, three: &Three, [header, middle, end]: [&mut Segment; THREE as usize]) -> bool {
        let [first, second, third] = three.buffers;
        self.reach(first, header) && self.reach(second, middle) && self.reach(third, end)
    }
}

/// Each in a region that was hit before. That of the first is near from then on.
impl Finding for &mut RegionCache {
    #[inline(always)]
    fn find(&mut self, three: &Three, [header, middle, end]: [&mut Segment; THREE as usize]) -> bool {
        let [first, second, third] = three.buffers;
        let near = self.turn_to(first.0);
        let access = if three.is_in() { Access::Write } else { Access::Read };
        let hit = |(gpa, len): (Gpa, u32), access, place: &mut Segment| {
            near.reach((gpa, len), place) || self.hit((gpa, u64::from(len)), access, place)
        };
        near.reach(first, header) && hit(second, access, middle) && hit(third, Access::Write, end)
    }
}

/// A table of three descriptors, in a region that was hit before.
#[derive(Debug, Clone, Copy)]
pub(super) struct TableOfThree(NonNull<u8>);

impl TableOfThree {
    /// That at `gpa`, on its way from the driver's cache. It is to be used before the `cache` is cleared.
    #[inline(always)]
    pub fn find(gpa: Gpa, cache: &RegionCache) -> Option<Self> {
        let (range, mut table) = ((gpa, TABLE_LEN), Segment::EMPTY);
        if !cache.near().reach(range, &mut table) && !cache.around(gpa).reach(range, &mut table) {
            return None;
        }
        table.prefetch_read();
        table.prefetch_last();
        NonNull::new(table.as_ptr()).map(Self)
    }

    /// Whether there may be one where this descriptor of a packed ring points.
    #[inline(always)]
    pub fn may_be_at(pointer: &Descriptor) -> bool {
        pointer.flags & (DESC_F_NEXT | DESC_F_INDIRECT) == DESC_F_INDIRECT && pointer.len == TABLE_LEN
    }

    /// Its descriptors, fetched.
    #[inline(always)]
    pub fn words(self) -> [Words; 3] {
        // SAFETY: the table was found whole in a region, which stays mapped.
        [0, 1, 2].map(|index| unsafe { Words::fetch(self.0.as_ptr().add(index * DESC_SIZE as usize)) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::descriptor::RawDescriptor;
    use super::*;
    use crate::dma::{MemMap, testing};

    /// A descriptor of a split ring, of which only what is judged matters.
    fn bytes(flags: u32, link: u32) -> [u8; 16] {
        let words = [0x11, 0x22, 0x3344_5566, flags & 0xffff | link << 16];
        words.map(u32::to_le_bytes).concat().try_into().expect("sixteen bytes")
    }

    /// All flags that three descriptors may have, and whether they are a header, data and a response.
    fn all_flags() -> impl Iterator<Item = ([u32; 3], bool)> {
        (0..8 * 8 * 8).map(|flags| {
            let flags = [flags & 7, flags >> 3 & 7, flags >> 6];
            (flags, flags[0] == NEXT && flags[1] & !WRITE == NEXT && flags[2] == WRITE)
        })
    }

    #[test]
    fn linked_descriptors_are_three_if_all_of_them_are_right() {
        for (flags, fit) in all_flags() {
            for (links, exist) in
                [([0, 3], true), ([4, 3], false), ([0, 4], false), ([0x8000, 3], false), ([0, 0xffff], false)]
            {
                // Reserved flags mean nothing, nor does what is no link.
                let [header, middle, end] = flags.map(|flags| flags | 0xfff8);
                let table = [bytes(middle, links[1]), [0xff; 16], bytes(header, links[0]), bytes(end, 0xffff)];
                // SAFETY: the table has four descriptors.
                let table = unsafe { LinkedTable::new(NonNull::from_ref(&table).cast(), 4) };
                let expected = (fit && exist).then_some(flags[1] & WRITE != 0);
                assert_eq!(table.three(2).map(|three| three.is_in()), expected, "{flags:?} {links:?}");
                assert_eq!(table.is_indirect(2), flags[0] & INDIRECT != 0);
                assert_eq!((table.three(4), table.three(0x8002), table.to_three(0x8002)), (None, None, None));
            }
        }
    }

    #[test]
    fn a_ring_of_two_has_no_chain_of_three() {
        let table = [bytes(NEXT, 1), bytes(NEXT, 0), bytes(WRITE, 0)];
        // SAFETY: the table has more than two descriptors.
        let table = unsafe { LinkedTable::new(NonNull::from_ref(&table).cast(), 2) };
        assert_eq!(table.three(0), None);
    }

    #[test]
    fn a_pointer_is_to_three_if_its_table_is_so_long() {
        for flags in 0..8 {
            for len in [0, 16, 32, 47, 48, 49, 64, 48 << 16] {
                let mut table = [bytes(flags, 9)];
                table[0][8..12].copy_from_slice(&u32::to_le_bytes(len));
                let split = RawDescriptor::from_bytes(table[0]).split();
                // SAFETY: the table has one descriptor.
                let table = unsafe { LinkedTable::new(NonNull::from_ref(&table).cast(), 1) };
                let expected = flags & !WRITE == INDIRECT && len == 48;
                assert_eq!(table.to_three(0), expected.then_some(Gpa(0x22_0000_0011)), "{flags} {len}");
                assert_eq!(TableOfThree::may_be_at(&split), expected);
            }
        }
    }

    /// The table of these descriptors, in guest memory.
    fn found(descriptors: [[u8; 16]; 3]) -> [Words; 3] {
        let (map, mut cache) = (MemMap::new(vec![testing::region(0x1000, 0x1000)]), RegionCache::default());
        // It does not have to be aligned.
        let table = map.hit(&mut cache, (Gpa(0x1ff0 - 0x21), 48), Access::Write).expect("it is mapped");
        table.write(0, &descriptors.concat());
        assert!(TableOfThree::find(Gpa(0x1ff1 - 0x20), &cache).is_none(), "a byte of it is outside");
        TableOfThree::find(Gpa(0x1ff0 - 0x21), &cache).expect("its region was hit").words()
    }

    #[test]
    fn tables_are_three_if_all_their_descriptors_are_right() {
        for (flags, fit) in all_flags() {
            for (links, in_order) in [([1, 2], true), ([2, 2], false), ([1, 1], false), ([1, 0x8002], false)] {
                let words = found([bytes(flags[0], links[0]), bytes(flags[1], links[1]), bytes(flags[2], 7)]);
                let expected = (fit && in_order).then_some(flags[1] & WRITE != 0);
                let three = Three::in_order(words);
                assert_eq!(three.map(|three| three.is_in()), expected, "{flags:?} {links:?}");
                assert!(three.is_none_or(|three| three.buffers == [(Gpa(0x22_0000_0011), 0x3344_5566); 3]));
            }
            // Of a packed ring: what the flags are of a split one is the id, and the other way around.
            let words = found(flags.map(|flags| bytes(0xffff, flags)));
            let is_three = flags[0] & WRITE == 0 && flags[2] & WRITE != 0;
            let expected = is_three.then_some(flags[1] & WRITE != 0);
            assert_eq!(Three::side_by_side(words).map(|three| three.is_in()), expected, "{flags:?}");
        }
    }
}

//! The regions of the last hits: what makes the usual translation a subtraction, two comparisons and an addition.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use bdev::Segment;

use super::map::{Access, Gpa};

/// Parts of the guest's address space, each of which has a place for the region that was hit there last.
const PARTS: usize = 64;
/// Ways of each part.
const WAYS: usize = 2;
/// log2 of the least length of a part: that of a page.
const SHIFT_MIN: u32 = 12;

/// Remembers the regions of the last hits, two for each part of the address space: where a guest has many regions that are
/// alike, each has a place of its own, also where a part reaches from one into the next.
///
/// It is used with one map, or later ones that have the same mappings and more, and cleared before any of those goes.
#[derive(Debug, Clone, Copy)]
pub struct RegionCache {
    /// Of each part the region that was added last, and the one before.
    parts: [[Recent; WAYS]; PARTS],
    /// log2 of the length of a part in bytes; what is further up begins from the first again.
    shift: u32,
    near: Near,
}

impl Default for RegionCache {
    fn default() -> Self {
        Self { parts: [[Recent::default(); WAYS]; PARTS], shift: u64::BITS - 1, near: Near::default() }
    }
}

impl RegionCache {
    /// log2 of the length of a part in bytes, so that each of `ranges` finds a place in all parts that it reaches into: they
    /// are in order, from the first byte to the last. It is the longest such length. Where there is none, as few as can be
    /// are in the way of each other; and where there are more than places, the parts together reach as far as they do.
    pub(super) fn shift_for(ranges: &[(u64, u64)]) -> u32 {
        let Some((&(first, _), &(_, last))) = ranges.first().zip(ranges.last()) else { return u64::BITS - 1 };
        let span = (u64::BITS - (last - first).leading_zeros()).saturating_sub(PARTS.ilog2()).max(SHIFT_MIN);
        if ranges.len() > PARTS * WAYS {
            return span;
        }
        let mut best = (usize::MAX, span);
        for shift in (SHIFT_MIN..=span).rev() {
            let crowd = crowd(ranges, shift);
            if crowd < best.0 {
                best = (crowd, shift);
            }
            if crowd == 0 {
                break;
            }
        }
        best.1
    }

    /// Puts the range in `place`, if it has bytes and all of them are within reach of what was hit last in its part. Returns
    /// whether that is so.
    #[inline(always)]
    pub fn hit(&self, range: (Gpa, u64), access: Access, place: &mut Segment) -> bool {
        let [last, other] = self.part(range.0);
        last.reach(range, access, place) || other.reach(range, access, place)
    }

    /// The region that [`RegionCache::turn_to`] came to last.
    #[inline(always)]
    pub fn near(&self) -> Near {
        self.near
    }

    /// The region around `gpa`, if it is remembered; else another.
    #[inline(always)]
    pub fn around(&self, gpa: Gpa) -> Near {
        let [last, other] = self.part(gpa);
        let recent = if gpa.0.wrapping_sub(last.start) < last.reach[Access::Read as usize] { last } else { other };
        let [readable, writable] = recent.reach;
        Near { base: recent.base, start: recent.start, reach: readable.min(writable) }
    }

    /// As [`RegionCache::around`], and that is near from now on.
    #[inline(always)]
    pub fn turn_to(&mut self, gpa: Gpa) -> Near {
        self.near = self.around(gpa);
        self.near
    }

    #[inline(always)]
    fn part(&self, gpa: Gpa) -> &[Recent; 2] {
        &self.parts[(gpa.0 >> self.shift) as usize % PARTS]
    }

    /// Remembers the region of `gpa`. Any `shift` below 64 is right at any time: what is remembered says itself what it is.
    pub(super) fn remember(&mut self, gpa: Gpa, shift: u32, recent: Recent) {
        self.shift = shift;
        let [last, other] = &mut self.parts[(gpa.0 >> shift) as usize % PARTS];
        if last.start != recent.start {
            *other = *last;
        }
        *last = recent;
    }
}

/// How many of `ranges` are too many for the parts that they reach into, if those are `1 << shift` bytes long.
fn crowd(ranges: &[(u64, u64)], shift: u32) -> usize {
    let mut counts = [0_usize; PARTS];
    for (first, last) in ranges.iter().map(|(first, last)| (first >> shift, last >> shift)) {
        let reached = (last - first).min(PARTS as u64 - 1);
        (first..=first + reached).for_each(|part| counts[part as usize % PARTS] += 1);
    }
    counts.iter().map(|count| count.saturating_sub(WAYS)).sum()
}

/// A region, as far as it may be used without more ado.
#[derive(Debug, Clone, Copy)]
pub struct Recent {
    start: u64,
    base: NonNull<u8>,
    /// Bytes that may be read, and that may be written.
    reach: [u64; 2],
}

// SAFETY: an address in memory that is mapped for all threads as long as the cache is used.
unsafe impl Send for Recent {}

impl Default for Recent {
    /// None: it reaches nothing.
    fn default() -> Self {
        Self::new(Gpa(0), NonNull::dangling(), [0; 2])
    }
}

impl Recent {
    /// The region from `start` on, at `base`. Of it `reach` bytes may be read, and written.
    pub fn new(start: Gpa, base: NonNull<u8>, reach: [u64; 2]) -> Self {
        Self { start: start.0, base, reach }
    }

    /// Puts the range in `place`, if it has bytes and all of them are within reach. Returns whether that is so.
    #[inline(always)]
    pub fn reach(&self, (gpa, len): (Gpa, u64), access: Access, place: &mut Segment) -> bool {
        let (offset, reach) = (gpa.0.wrapping_sub(self.start), self.reach[access as usize]);
        if offset >= reach || len.wrapping_sub(1) >= reach - offset {
            return false;
        }
        // SAFETY: the range is within the region's mapping, which the map keeps alive that the cache is used with; whoever
        // holds the segment keeps the map until it is done (the quiesce protocol).
        *place = unsafe { Segment::new(self.base.add(offset as usize), len as usize) };
        true
    }
}

/// A region that may be read and written, for as long as the cache that it comes from is not cleared.
#[derive(Debug, Clone, Copy)]
pub struct Near {
    start: u64,
    base: NonNull<u8>,
    /// Bytes that may be both read and written.
    reach: u64,
}

// SAFETY: as for `Recent`.
unsafe impl Send for Near {}

impl Default for Near {
    /// None: it reaches nothing.
    fn default() -> Self {
        Self { start: 0, base: NonNull::dangling(), reach: 0 }
    }
}

impl Near {
    /// Puts the range in `place`, if it has bytes and all of them are within reach. Returns whether that is so.
    #[inline(always)]
    pub fn reach(&self, (gpa, len): (Gpa, u32), place: &mut Segment) -> bool {
        let (offset, len) = (gpa.0.wrapping_sub(self.start), u64::from(len));
        // Of no bytes, the last one is before the first: that overflows, or is past the end of any region.
        let (last, overflows) = offset.overflowing_add(len.wrapping_sub(1));
        if overflows || last >= self.reach {
            return false;
        }
        // SAFETY: as for `Recent::reach`, whose region it is.
        *place = unsafe { Segment::new(self.base.add(offset as usize), len as usize) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(start: u64) -> Recent {
        Recent::new(Gpa(start), NonNull::dangling(), [0x1000; 2])
    }

    #[test]
    fn two_regions_of_one_part_are_both_remembered() {
        let mut cache = RegionCache::default();
        let hits = |cache: &RegionCache, at: u64| cache.hit((Gpa(at), 16), Access::Write, &mut Segment::EMPTY.clone());
        for start in [0x1000, 0x2000, 0x2000, 0x1000] {
            cache.remember(Gpa(start), 20, region(start));
        }
        assert!(hits(&cache, 0x1ff0) && hits(&cache, 0x2ff0) && !hits(&cache, 0x1ff1) && !hits(&cache, 0x3000));
        assert_eq!((cache.turn_to(Gpa(0x2800)).start, cache.around(Gpa(0x1800)).start), (0x2000, 0x1000));
        assert_eq!(cache.near().start, 0x2000);
        cache.remember(Gpa(0x3000), 20, region(0x3000));
        assert!(hits(&cache, 0x3000) && hits(&cache, 0x1000) && !hits(&cache, 0x2000), "the older one makes room");
    }

    #[test]
    fn a_region_reaches_what_is_whole_in_it() {
        let mut cache = RegionCache::default();
        let base = NonNull::without_provenance(std::num::NonZero::new(0x7000).unwrap());
        cache.remember(Gpa(0x1000), 20, Recent::new(Gpa(0x1000), base, [0x1000; 2]));
        for (gpa, len, at) in [
            (0x1000, 1, Some(0x7000)),
            (0x1000, 0x1000, Some(0x7000)),
            (0x1fff, 1, Some(0x7fff)),
            (0x1000, 0, None),
            (0x1001, 0, None),
            (0x2000, 0, None),
            (0x1000, 0x1001, None),
            (0x1fff, 2, None),
            (0x2000, 1, None),
            (0xfff, 2, None),
            (0xfff, 1, None),
            (0, u32::MAX, None),
            (u64::MAX, 0x1002, None),
            (u64::MAX, u32::MAX, None),
        ] {
            let mut segment = Segment::EMPTY;
            let reached = cache.around(Gpa(0x1000)).reach((Gpa(gpa), len), &mut segment);
            let found = reached.then_some((segment.as_ptr() as usize, segment.len()));
            assert_eq!(found, at.map(|at| (at, len as usize)), "{gpa:#x} {len:#x}");
        }
        assert!(!Near::default().reach((Gpa(0), 1), &mut Segment::EMPTY.clone()));
        assert!(!Near::default().reach((Gpa(0), 0), &mut Segment::EMPTY.clone()));
        cache.remember(Gpa(0x3000), 20, Recent::new(Gpa(0x3000), base, [0x1000, 0]));
        assert!(
            !cache.around(Gpa(0x3000)).reach((Gpa(0x3000), 16), &mut Segment::EMPTY.clone()),
            "it may not be written"
        );
    }

    /// Regions from `first` on, all of one length, and as far from each other.
    fn row(first: u64, count: u64, len: u64) -> Vec<(u64, u64)> {
        (0..count).map(|index| first + 2 * index * len).map(|start| (start, start + len - 1)).collect()
    }

    #[test]
    fn regions_far_up_and_near_each_other_have_places_of_their_own() {
        let small = vec![(0, 0x9_ffff)];
        for ranges in [row(1 << 32, 32, 2 << 20), row(0, 64, 1 << 12), [small, row(1 << 40, 32, 1 << 21)].concat()] {
            let (shift, mut cache) = (RegionCache::shift_for(&ranges), RegionCache::default());
            for &(first, _) in &ranges {
                cache.remember(Gpa(first), shift, region(first));
            }
            for &(first, _) in &ranges {
                assert!(cache.hit((Gpa(first), 0x1000), Access::Read, &mut Segment::EMPTY.clone()), "{first:#x}");
            }
        }
    }

    #[test]
    fn parts_are_as_long_as_they_can_be() {
        assert_eq!(RegionCache::shift_for(&[]), 63);
        assert_eq!(RegionCache::shift_for(&[(0, (1 << 33) - 1)]), 27, "one sixty-fourth of it");
        assert_eq!(RegionCache::shift_for(&[(0, 0)]), SHIFT_MIN);
        assert_eq!(RegionCache::shift_for(&[(0, u64::MAX)]), 58);
        assert_eq!(RegionCache::shift_for(&row(0, 1000, 1 << 20)), 25, "too many: all of the two gigabytes");
    }
}

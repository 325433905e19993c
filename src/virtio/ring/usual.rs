//! A chain as drivers nearly always cut it: in a few buffers, each whole in one region. It is described
//! in place, by whoever takes a batch of chains, and nothing of it is copied again.
//!
//! What is not so is for [`Chain`](super::Chain): nothing here ever says that a chain is wrong.

use std::cell::Cell;
use std::fmt;

use bdev::Segment;

use super::Head;
use super::chain::{MAX_TOTAL_LEN, Memory};
use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, Descriptor};
use crate::dma::{Access, RegionCache};

/// Descriptors of a usual chain at most.
pub const USUAL_SEGMENTS: usize = 8;

/// A usual chain: the readable part, then the writable part. Made once, refilled by
/// [`Ring::pop_usual`](super::Ring::pop_usual).
#[repr(C, align(64))]
pub struct UsualChain {
    total_len: u64,
    readable_count: u8,
    count: u8,
    /// There from the pop on, until somebody takes it.
    pub(super) head: Cell<Option<Head>>,
    /// Three of them are in one cache line with what is above.
    segments: [Segment; USUAL_SEGMENTS],
}

impl fmt::Debug for UsualChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsualChain").field("readable", &self.readable()).field("writable", &self.writable()).finish()
    }
}

const _: () = assert!(std::mem::offset_of!(UsualChain, segments) == 16);

impl UsualChain {
    /// No chain.
    pub const fn empty() -> Self {
        let (segments, head) = ([Segment::EMPTY; USUAL_SEGMENTS], Cell::new(None));
        Self { segments, total_len: 0, readable_count: 0, count: 0, head }
    }

    /// A chain of these segments, for the tests of every room.
    #[cfg(test)]
    pub fn of(readable: &[Segment], writable: &[Segment]) -> Self {
        let mut chain = Self::empty();
        for (place, segment) in chain.segments.iter_mut().zip(readable.iter().chain(writable)) {
            *place = *segment;
        }
        (chain.readable_count, chain.count) = (readable.len() as u8, (readable.len() + writable.len()) as u8);
        chain.total_len = bdev::segment::total_len(readable) + bdev::segment::total_len(writable);
        chain
    }

    /// What the driver wrote for the device.
    #[inline(always)]
    pub fn readable(&self) -> &[Segment] {
        &self.segments[..usize::from(self.readable_count)]
    }

    /// What the device may write for the driver.
    #[inline(always)]
    pub fn writable(&self) -> &[Segment] {
        &self.segments[usize::from(self.readable_count)..usize::from(self.count)]
    }

    /// Bytes of both parts.
    #[inline(always)]
    pub fn total_len(&self) -> u64 {
        self.total_len
    }

    /// The right to give it back.
    ///
    /// # Panics
    /// If somebody has taken it before.
    #[inline(always)]
    pub fn take_head(&self) -> Head {
        self.head.take().expect("a chain that was popped is given back once")
    }

    /// As [`UsualChain::fill`], for the most usual of all: a request header, one piece of data and a response, in regions that
    /// were hit before.
    #[inline(always)]
    pub(super) fn fill_three(
        &mut self,
        cache: &RegionCache,
        first: Descriptor,
        mut next: impl FnMut(&Descriptor) -> Option<Descriptor>,
    ) -> Option<u16> {
        const FLAGS: u16 = DESC_F_NEXT | DESC_F_WRITE | DESC_F_INDIRECT;
        let [header, middle, end, ..] = &mut self.segments;
        let near = cache.recent(first.addr);
        if first.flags & FLAGS != DESC_F_NEXT || !near.reach((first.addr, u64::from(first.len)), Access::Read, header) {
            return None;
        }
        let second = next(&first)?;
        let is_in = second.flags & DESC_F_WRITE != 0;
        let access = if is_in { Access::Write } else { Access::Read };
        if second.flags & (DESC_F_NEXT | DESC_F_INDIRECT) != DESC_F_NEXT
            || !cache.hit_near(near, (second.addr, u64::from(second.len)), access, middle)
        {
            return None;
        }
        let third = next(&second)?;
        if third.flags & FLAGS != DESC_F_WRITE
            || !cache.hit_near(near, (third.addr, u64::from(third.len)), Access::Write, end)
        {
            return None;
        }
        self.total_len = u64::from(first.len) + u64::from(second.len) + u64::from(third.len);
        (self.readable_count, self.count) = (2 - u8::from(is_in), 3);
        (self.total_len <= MAX_TOTAL_LEN).then_some(3)
    }

    /// Describes the chain that begins with `first`; `next` gives the descriptor behind another. Returns the number of
    /// descriptors. `None` says only that the chain has to be walked with care.
    #[inline(never)]
    pub(super) fn fill(
        &mut self,
        memory: Memory<'_>,
        first: Descriptor,
        mut next: impl FnMut(&Descriptor) -> Option<Descriptor>,
    ) -> Option<u16> {
        let (mut descriptor, mut total_len) = (first, 0);
        // Set in the descriptors from the first that is to be written on.
        let (mut direction, mut readable_count) = (0, 0);
        for (place, segment) in self.segments.iter_mut().enumerate() {
            let Descriptor { addr, len, flags, .. } = descriptor;
            if flags & DESC_F_INDIRECT != 0 || flags & DESC_F_WRITE < direction {
                return None;
            }
            direction = flags & DESC_F_WRITE;
            let access = if direction == 0 { Access::Read } else { Access::Write };
            if !memory.map.hit_into(memory.cache, (addr, u64::from(len)), access, segment) {
                return None;
            }
            total_len += u64::from(len);
            readable_count += u8::from(direction == 0);
            if flags & DESC_F_NEXT == 0 {
                if total_len > MAX_TOTAL_LEN {
                    return None;
                }
                (self.total_len, self.readable_count, self.count) = (total_len, readable_count, place as u8 + 1);
                return Some(place as u16 + 1);
            }
            descriptor = next(&descriptor)?;
        }
        None
    }

    /// Header, response and data, and whether that is from the driver, if the first readable and the first writable
    /// buffer hold nothing else, as far as one can tell without their lengths.
    #[inline(always)]
    pub fn parts(&self) -> Option<(&Segment, &Segment, &[Segment], bool)> {
        let [header, middle, end, ..] = &self.segments;
        match (self.readable_count, self.count) {
            (1, 3) => Some((header, middle, std::slice::from_ref(end), false)),
            (2, 3) => Some((header, end, std::slice::from_ref(middle), true)),
            (1, 2..) => Some((header, middle, self.segments.get(2..self.count.into())?, false)),
            (2.., count) if count == self.readable_count + 1 => {
                let (response, data) = self.segments.get(1..count.into())?.split_last()?;
                Some((header, response, data, true))
            }
            _ => None,
        }
    }

    /// The first writable buffer: the response of a chain with [`parts`](Self::parts).
    #[inline(always)]
    pub fn response(&self) -> &Segment {
        &self.segments[usize::from(self.readable_count) % USUAL_SEGMENTS]
    }

    /// Has what is looked at first, and what is written last, brought from the driver's cache.
    #[inline(always)]
    pub(super) fn prefetch(&self) {
        self.segments[0].prefetch_read();
        self.response().prefetch_write();
    }
}

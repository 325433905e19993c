//! A chain as drivers nearly always cut it: in a few buffers, each whole in one region. It is described
//! in place, by whoever takes a batch of chains, and nothing of it is copied again.
//!
//! What is not so is for [`Chain`](super::Chain): nothing here ever says that a chain is wrong.

use std::cell::Cell;
use std::fmt;
use std::num::NonZero;

use bdev::Segment;

use super::Head;
use super::chain::{MAX_TOTAL_LEN, Memory};
use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, Descriptor};
use super::three::{Finding, Three};
use crate::dma::Access;

/// Descriptors of a usual chain at most.
pub const USUAL_SEGMENTS: usize = 8;

/// A usual chain: the readable part, then the writable part. Made once, refilled by
/// [`Ring::pop_usual`](super::Ring::pop_usual).
#[repr(C, align(64))]
pub struct UsualChain {
    total_len: u64,
    count: u16,
    /// Of the ring itself, in the head that is there from the pop on: none when somebody has taken it.
    head_descriptors: Cell<u16>,
    /// The chain's name in the ring: that of the head, or of one that may yet become it.
    id: u16,
    readable_count: u16,
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
        let (segments, head_descriptors) = ([Segment::EMPTY; USUAL_SEGMENTS], Cell::new(0));
        Self { segments, total_len: 0, readable_count: 0, count: 0, head_descriptors, id: 0 }
    }

    /// A chain of these segments, for the tests of every room.
    #[cfg(test)]
    pub fn of(readable: &[Segment], writable: &[Segment]) -> Self {
        let mut chain = Self::empty();
        for (place, segment) in chain.segments.iter_mut().zip(readable.iter().chain(writable)) {
            *place = *segment;
        }
        (chain.readable_count, chain.count) = (readable.len() as u16, (readable.len() + writable.len()) as u16);
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
        let descriptors = NonZero::new(self.head_descriptors.take());
        Head { id: self.id, descriptors: descriptors.expect("a chain that was popped is given back once") }
    }

    /// What its head is going to be called.
    #[inline(always)]
    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Its head is going to have this name.
    #[inline(always)]
    pub(super) fn set_id(&mut self, id: u16) {
        self.id = id;
    }

    /// It was popped, and has a head of so many of the ring's own descriptors.
    #[inline(always)]
    pub(super) fn popped(&mut self, descriptors: u16) {
        self.head_descriptors.set(descriptors);
    }

    /// Describes the most usual chain of all, if each of its buffers can be found. What is looked at first, and what is written
    /// last, is brought from the driver's cache.
    #[inline(always)]
    pub(super) fn describe_three(&mut self, three: &Three, finding: &mut impl Finding) -> bool {
        let [(_, header), (_, middle), (_, end)] = three.buffers;
        // Less than a chain may have: what overflows is for those who look closely.
        let Some(total_len) = header.checked_add(middle).and_then(|sum| sum.checked_add(end)) else { return false };
        let [header, middle, end, ..] = &mut self.segments;
        if !finding.find(three, [header, middle, end]) {
            return false;
        }
        header.prefetch_read();
        if three.is_in() { middle } else { end }.prefetch_write();
        self.total_len = u64::from(total_len);
        (self.readable_count, self.count) = (three.readable_count, 3);
        true
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
            readable_count += u16::from(direction == 0);
            if flags & DESC_F_NEXT == 0 {
                if total_len > MAX_TOTAL_LEN {
                    return None;
                }
                (self.total_len, self.readable_count, self.count) = (total_len, readable_count, place as u16 + 1);
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

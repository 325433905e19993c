//! The memory of a packed ring: the only place that reads and writes it, but for a [`Glance`].
//!
//! The driver may write any of it at any time, so that each value is loaded once, with an atomic access, into private
//! memory and judged there.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::areas::place;
use super::descriptor::{DESC_F_INDIRECT, DESC_F_NEXT, DESC_F_WRITE, DESC_SIZE, Descriptor, RawDescriptor};
use super::glance::Glance;
use super::{Area, RingError, RingLayout};
use crate::dma::{Access, MemMap};

/// `VIRTQ_DESC_F_AVAIL`.
const DESC_F_AVAIL: u16 = 1 << 7;
/// `VIRTQ_DESC_F_USED`.
const DESC_F_USED: u16 = 1 << 15;
/// Largest ring (2.8).
const SIZE_MAX: u16 = 1 << 15;
/// Bytes of an event suppression structure (2.8.14).
const EVENT_LEN: u64 = 4;
/// `RING_EVENT_FLAGS_ENABLE`.
const EVENT_ENABLE: u16 = 0;
/// `RING_EVENT_FLAGS_DISABLE`.
const EVENT_DISABLE: u16 = 1;
/// `RING_EVENT_FLAGS_DESC`.
const EVENT_DESC: u16 = 2;
/// The bits of the flags that say anything.
const EVENT_FLAGS: u16 = 3;
/// The wrap counter in an event offset.
const EVENT_WRAP: u16 = 1 << 15;

/// Bytes of a descriptor before its flags.
const FLAGS_AT: usize = 14;
/// Both marks of a descriptor.
const MARKS: u16 = DESC_F_AVAIL | DESC_F_USED;

/// A place in the ring, and the wrap counter of whoever is there (2.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    index: u16,
    /// The marks that an available descriptor has in this turn: they tell the wrap counter.
    available: u16,
}

impl Position {
    /// Where both sides begin.
    pub const START: Self = Self { index: 0, available: DESC_F_AVAIL };

    /// Index of the descriptor.
    #[inline]
    pub fn index(self) -> u16 {
        self.index
    }

    /// `by` descriptors further on, at most once around.
    #[inline]
    pub fn advance(self, by: u16, size: u16) -> Self {
        let index = u32::from(self.index) + u32::from(by);
        if index < u32::from(size) {
            Self { index: index as u16, ..self }
        } else {
            Self { index: (index - u32::from(size)) as u16, available: self.available ^ MARKS }
        }
    }

    /// As [`Position::advance`], if that is in the same turn.
    #[inline(always)]
    pub fn advance_in_turn(self, by: u16, size: u16) -> Option<Self> {
        let index = u32::from(self.index) + u32::from(by);
        (index < u32::from(size)).then_some(Self { index: index as u16, ..self })
    }

    /// The next descriptor.
    #[inline]
    pub fn next(self, size: u16) -> Self {
        let index = self.index + 1;
        if index == size { Self { index: 0, available: self.available ^ MARKS } } else { Self { index, ..self } }
    }

    /// Whether a descriptor with `flags` is available to whoever is here.
    #[inline]
    pub fn is_available(self, flags: u16) -> bool {
        flags & MARKS == self.available
    }

    /// Whether one is available that is not indirect.
    #[inline]
    pub fn is_available_and_direct(self, flags: u16) -> bool {
        flags & (MARKS | DESC_F_INDIRECT) == self.available
    }

    fn wrap(self) -> bool {
        self.available == DESC_F_AVAIL
    }

    /// What a used descriptor says in this turn, but for its id.
    #[inline]
    pub fn answer(self, written: u32) -> Answer {
        let marks = if self.wrap() { MARKS } else { 0 };
        let flags = marks | if written > 0 { DESC_F_WRITE } else { 0 };
        Answer(u64::from(written) | u64::from(flags) << 48)
    }

    /// All that a used descriptor says, here; the answer is of this turn.
    #[inline]
    pub fn used(self, id: u16, answer: Answer) -> Used {
        Used { index: self.index, rest: answer.0 | u64::from(id) << 32 }
    }

    /// If these descriptors, of which the first is here, are a chain of a request header, one piece of data and a response, and
    /// all available: as they were fetched.
    #[inline(always)]
    pub fn judge(self, descriptors: &[Shared; 3]) -> Option<[RawDescriptor; 3]> {
        const NEXT: u64 = (DESC_F_NEXT as u64) << 48;
        const WRITE: u64 = (DESC_F_WRITE as u64) << 48;
        const JUDGED: u64 = (MARKS as u64) << 48 | NEXT | WRITE | (DESC_F_INDIRECT as u64) << 48;
        let rests = descriptors.each_ref().map(Shared::rest);
        let [first, second, third] = rests.map(u64::from_le);
        let marks = u64::from(self.available) << 48;
        let wrong = (first ^ (marks | NEXT)) | (second & !WRITE ^ (marks | NEXT)) | (third ^ (marks | WRITE));
        let fetched = |at: usize| RawDescriptor::from_halves([descriptors[at].addr.load(Ordering::Relaxed), rests[at]]);
        (wrong & JUDGED == 0).then(|| [0, 1, 2].map(fetched))
    }

    fn event(self) -> u16 {
        self.index | if self.wrap() { EVENT_WRAP } else { 0 }
    }
}

/// What is the same in many used descriptors of one turn: length and flags.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer(u64);

/// A descriptor as it lies in the ring, in the guest's byte order.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Shared {
    addr: AtomicU64,
    /// Length, and above it buffer id and flags.
    rest: AtomicU64,
}

impl Shared {
    /// One of our own.
    pub fn of(descriptor: &Descriptor) -> Self {
        let [addr, rest] = RawDescriptor::of_packed(descriptor).halves();
        Self { addr: AtomicU64::new(addr), rest: AtomicU64::new(rest) }
    }

    /// Acquire: if the descriptor is available, it and all that the driver wrote before are seen as written.
    #[inline(always)]
    fn rest(&self) -> u64 {
        self.rest.load(Ordering::Acquire)
    }

    /// Asks for the line of the third chain behind this one, to be read and, as a used descriptor, written. It is for chains
    /// that have others before them: where there is one at a time, the driver would lose the line that it is about to write.
    #[inline(always)]
    pub fn prefetch_ahead(of: &[Self; 3]) {
        bdev::segment::prefetch_write(of.as_ptr().wrapping_add(9).cast());
    }
}

/// A used descriptor, to be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Used {
    index: u16,
    /// Length, buffer id and flags. The address means nothing (2.8.4).
    rest: u64,
}

/// When one side wants to be told (2.8.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Always.
    Enable,
    /// Never.
    Disable,
    /// When this place is passed. Only with event indexes.
    At(Position),
}

impl Event {
    fn encode(self) -> u32 {
        let (at, flags) = match self {
            Self::Enable => (0, EVENT_ENABLE),
            Self::Disable => (0, EVENT_DISABLE),
            Self::At(position) => (position.event(), EVENT_DESC),
        };
        u32::from(at) | u32::from(flags) << 16
    }

    /// What the driver asks for. A value that means nothing asks for everything: one interrupt too many harms nobody.
    fn decode(value: u32, event_idx: bool) -> Self {
        let (at, flags) = (value as u16, (value >> 16) as u16 & EVENT_FLAGS);
        match flags {
            EVENT_DISABLE => Self::Disable,
            EVENT_DESC if event_idx => {
                let available = if at & EVENT_WRAP != 0 { DESC_F_AVAIL } else { DESC_F_USED };
                Self::At(Position { index: at & !EVENT_WRAP, available })
            }
            _ => Self::Enable,
        }
    }

    /// Whether to tell of the `count` descriptors from `old` on, in a ring of `size`.
    pub fn wants(self, old: Position, count: u16, size: u16) -> bool {
        // Two turns, after which index and wrap counter are the same again.
        let size = u32::from(size);
        let turns = |position: Position| u32::from(position.index) + if position.wrap() { 0 } else { size };
        match self {
            Self::Enable => true,
            Self::Disable => false,
            Self::At(event) => (turns(event) + 2 * size - turns(old)) % (2 * size) < u32::from(count),
        }
    }
}

/// Host addresses of the three areas.
#[derive(Debug)]
pub(super) struct PackedAreas {
    desc: NonNull<u8>,
    driver: NonNull<u8>,
    device: NonNull<u8>,
    size: u16,
}

// SAFETY: addresses of memory that is shared with the guest; whoever binds the ring keeps it mapped, on any thread.
unsafe impl Send for PackedAreas {}

impl PackedAreas {
    /// Looks the areas up in `map`.
    pub fn resolve(layout: &RingLayout, map: &MemMap) -> Result<Self, RingError> {
        if layout.size == 0 || layout.size > SIZE_MAX {
            return Err(RingError::Size(layout.size));
        }
        let desc = (layout.desc, u64::from(DESC_SIZE) * u64::from(layout.size));
        let place = |area, range, align, access| place(map, area, range, align, access);
        place(Area::Desc, desc, 16, Access::Read)?;
        Ok(Self {
            desc: place(Area::Desc, desc, 16, Access::Write)?,
            driver: place(Area::Avail, (layout.avail, EVENT_LEN), EVENT_LEN, Access::Read)?,
            device: place(Area::Used, (layout.used, EVENT_LEN), EVENT_LEN, Access::Write)?,
            size: layout.size,
        })
    }

    /// Entries of the ring.
    #[inline]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// What tells whether the descriptor there is available.
    #[inline]
    pub fn glance(&self, at: Position) -> Glance {
        // SAFETY: every position is one of the `size` descriptors that were resolved; their flags come last.
        let flags = unsafe { self.desc.add(usize::from(at.index) * DESC_SIZE as usize + FLAGS_AT).cast() };
        Glance::until(flags, MARKS, at.available)
    }

    /// Descriptor `index`. Acquire: if it is available, it and all that the driver wrote before are seen as written.
    #[inline]
    pub fn descriptor(&self, index: u16) -> Descriptor {
        self.raw(index).packed()
    }

    /// As [`PackedAreas::descriptor`], as it lies there.
    #[inline]
    pub fn raw(&self, index: u16) -> RawDescriptor {
        let [addr, rest] = self.halves(index);
        // The half with the flags first: the address belongs to them.
        let rest = rest.load(Ordering::Acquire);
        RawDescriptor::from_halves([addr.load(Ordering::Relaxed), rest])
    }

    /// The descriptors from `at` on that are side by side, three by three, of `room` at most.
    #[inline(always)]
    pub fn threes(&self, at: Position, room: u16) -> &[[Shared; 3]] {
        let count = room.min(self.size.saturating_sub(at.index)) / 3;
        // SAFETY: as for `halves`, for so many descriptors.
        unsafe {
            let first = self.desc.as_ptr().add(usize::from(at.index) * DESC_SIZE as usize);
            std::slice::from_raw_parts(first.cast(), count.into())
        }
    }

    /// Three descriptors from `at` on, fetched around the end of the ring, with the marks that they would have before it.
    #[inline(never)]
    pub fn three_around(&self, at: Position) -> [Shared; 3] {
        let mut place = at;
        [(); 3].map(|()| {
            let mut descriptor = self.descriptor(place.index);
            descriptor.flags ^= place.available ^ at.available;
            place = place.next(self.size);
            Shared::of(&descriptor)
        })
    }

    /// Writes a used descriptor. Release: whoever sees it sees the buffer, and the used descriptors written before.
    #[inline]
    pub fn set_used(&self, used: Used) {
        self.halves(used.index)[1].store(used.rest.to_le(), Ordering::Release);
    }

    /// What the driver asks for.
    #[inline]
    pub fn driver_event(&self, event_idx: bool) -> Event {
        // SAFETY: the area has 4 bytes, was resolved aligned, and stays mapped while the ring is bound.
        let value = unsafe { AtomicU32::from_ptr(self.driver.as_ptr().cast()) };
        Event::decode(u32::from_le(value.load(Ordering::Relaxed)), event_idx)
    }

    /// Tells the driver when to ring. One store, so that it never sees half of it.
    pub fn set_device_event(&self, event: Event) {
        // SAFETY: as in `driver_event`.
        let value = unsafe { AtomicU32::from_ptr(self.device.as_ptr().cast()) };
        value.store(event.encode().to_le(), Ordering::Relaxed);
    }

    #[inline]
    fn halves(&self, index: u16) -> &[AtomicU64; 2] {
        assert!(index < self.size, "a position is inside its ring");
        // SAFETY: the ring has `size` descriptors of 16 bytes, was resolved whole, aligned, and stays mapped while the
        // ring is bound.
        unsafe { &*self.desc.as_ptr().add(usize::from(index) * DESC_SIZE as usize).cast() }
    }
}

#[cfg(test)]
mod tests;

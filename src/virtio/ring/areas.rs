//! The memory of a split ring: the only place that reads and writes it, but for its table of descriptors
//! ([`Descriptors`]) and a [`Glance`](super::Glance).
//!
//! The driver may write any of it at any time, so that each value is loaded once, with a volatile or atomic access, into
//! private memory and judged there. An index is masked or checked here, whoever calls.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use super::descriptor::{DESC_SIZE, Descriptor, Descriptors, RawDescriptor};
use super::three::LinkedTable;
use super::{Area, RingError, RingFeatures, RingLayout};
use crate::dma::{Access, Gpa, MemMap};

/// `VIRTQ_AVAIL_F_NO_INTERRUPT`.
const AVAIL_F_NO_INTERRUPT: u16 = 1;
/// `VIRTQ_USED_F_NO_NOTIFY`.
const USED_F_NO_NOTIFY: u16 = 1;
/// Bytes of `flags` and `idx`, before the entries of either ring.
const ENTRIES_AT: usize = 4;

/// Host addresses of the three areas.
#[derive(Debug)]
pub(super) struct Areas {
    desc: NonNull<u8>,
    avail: NonNull<u8>,
    used: NonNull<u8>,
    size: u16,
    event_idx: bool,
}

// SAFETY: addresses of memory that is shared with the guest; whoever binds the ring keeps it mapped, on any thread.
unsafe impl Send for Areas {}

impl Areas {
    /// Looks the areas up in `map`.
    pub fn resolve(layout: &RingLayout, features: RingFeatures, map: &MemMap) -> Result<Self, RingError> {
        if !layout.size.is_power_of_two() {
            return Err(RingError::Size(layout.size));
        }
        let (size, event) = (u64::from(layout.size), if features.event_idx { 2 } else { 0 });
        let (desc_len, entries) = (u64::from(DESC_SIZE) * size, ENTRIES_AT as u64);
        let place = |area, range, align, access| place(map, area, range, align, access);
        Ok(Self {
            desc: place(Area::Desc, (layout.desc, desc_len), 16, Access::Read)?,
            avail: place(Area::Avail, (layout.avail, entries + 2 * size + event), 2, Access::Read)?,
            used: place(Area::Used, (layout.used, entries + 8 * size + event), 4, Access::Write)?,
            size: layout.size,
            event_idx: features.event_idx,
        })
    }

    /// Entries of the ring.
    #[inline]
    pub fn size(&self) -> u16 {
        self.size
    }

    /// The descriptor table.
    #[inline(always)]
    pub fn descriptors(&self) -> Descriptors {
        // SAFETY: the table has `size` descriptors of 16 bytes, was resolved whole, and stays mapped while the ring is bound.
        unsafe { Descriptors::new(self.desc, self.size) }
    }

    /// Descriptor `index`, if the table has it.
    #[inline]
    pub fn descriptor(&self, index: u16) -> Option<Descriptor> {
        self.descriptors().get(index).map(RawDescriptor::split)
    }

    /// The descriptor table, for chains of three.
    #[inline(always)]
    pub fn table(&self) -> LinkedTable {
        // SAFETY: as for `descriptors`; the size is a power of two.
        unsafe { LinkedTable::new(self.desc, self.size) }
    }

    /// The driver's index. Acquire: entries and descriptors up to it are seen as the driver wrote them.
    #[inline]
    pub fn avail_index(&self) -> u16 {
        u16::from_le(self.avail_u16(2).load(Ordering::Acquire))
    }

    /// Where that is.
    #[inline]
    pub fn avail_index_at(&self) -> NonNull<u16> {
        // SAFETY: inside the area.
        unsafe { self.avail.add(2).cast() }
    }

    /// The head that the driver put at `position`.
    #[inline]
    pub fn avail_head(&self, position: u16) -> u16 {
        let slot = usize::from(position & (self.size - 1));
        u16::from_le(self.avail_u16(ENTRIES_AT + 2 * slot).load(Ordering::Relaxed))
    }

    /// Whether the driver wants an interrupt for the used entries from `old` to `new` (2.7.7, 2.7.10).
    #[inline]
    pub fn wants_interrupt(&self, old: u16, new: u16) -> bool {
        if self.event_idx {
            let event = self.avail_u16(ENTRIES_AT + 2 * usize::from(self.size)).load(Ordering::Relaxed);
            need_event(u16::from_le(event), new, old)
        } else {
            u16::from_le(self.avail_u16(0).load(Ordering::Relaxed)) & AVAIL_F_NO_INTERRUPT == 0
        }
    }

    /// Writes the used entry at `position`.
    #[inline]
    pub fn set_used(&self, position: u16, id: u16, written: u32) {
        let at = ENTRIES_AT + 8 * usize::from(position & (self.size - 1));
        // One store: nobody looks at it before the index, and an entry that is 8 bytes long is aligned to 4 alone.
        let entry = u64::from(id) | u64::from(written) << 32;
        // SAFETY: as for `avail_u16`; the place is inside the entries.
        unsafe { self.used.as_ptr().add(at).cast::<u64>().write_unaligned(entry.to_le()) }
    }

    /// Publishes the used entries before `index`. Release: they, and the buffers, are seen by whoever sees the index.
    #[inline]
    pub fn set_used_index(&self, index: u16) {
        self.used_u16(2).store(index.to_le(), Ordering::Release);
    }

    /// Sets `used.flags`. With event indexes it has to stay 0 (2.7.10.1).
    pub fn set_no_notify(&self, no_notify: bool) {
        let flags = if no_notify && !self.event_idx { USED_F_NO_NOTIFY } else { 0 };
        self.used_u16(0).store(flags.to_le(), Ordering::Relaxed);
    }

    /// Asks for a doorbell when the driver passes `index`. Only with event indexes.
    pub fn set_avail_event(&self, index: u16) {
        assert!(self.event_idx, "the field exists only with event indexes");
        self.used_u16(ENTRIES_AT + 8 * usize::from(self.size)).store(index.to_le(), Ordering::Relaxed);
    }

    #[inline]
    fn avail_u16(&self, at: usize) -> &AtomicU16 {
        // SAFETY: every caller's offset is even and inside the area, which was resolved whole, aligned, and stays
        // mapped while the ring is bound.
        unsafe { AtomicU16::from_ptr(self.avail.as_ptr().add(at).cast()) }
    }

    #[inline]
    fn used_u16(&self, at: usize) -> &AtomicU16 {
        // SAFETY: as for `avail_u16`.
        unsafe { AtomicU16::from_ptr(self.used.as_ptr().add(at).cast()) }
    }
}

/// The host address of an area: `len` bytes of one piece, aligned on both sides.
pub(super) fn place(
    map: &MemMap,
    area: Area,
    (gpa, len): (Gpa, u64),
    align: u64,
    access: Access,
) -> Result<NonNull<u8>, RingError> {
    let segment = map.contiguous(gpa, len, access).map_err(|error| RingError::Unreachable { area, error })?;
    let base = NonNull::new(segment.as_ptr()).expect("a segment's base is not null");
    // Atomic accesses need the host address aligned too; a mapping of whole pages keeps the guest's alignment.
    if gpa.0.is_multiple_of(align) && (base.as_ptr() as u64).is_multiple_of(align) {
        Ok(base)
    } else {
        Err(RingError::Misaligned { area, gpa })
    }
}

/// Whether the step from `old` to `new` passes `event` (2.7.10): all three go around at 65536.
#[inline]
fn need_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_needed_when_the_index_passes_it() {
        for (event, old, new, needed) in [
            (0, 0, 1, true),
            (1, 0, 1, false),
            (4, 0, 4, false),
            (4, 0, 5, true),
            (4, 5, 6, false),
            (0xffff, 0xfffe, 0, true),
            (0xfffe, 0xfffe, 0, true),
            (0, 0xfffe, 0, false),
            (0xfffd, 0xfffe, 3, false),
        ] {
            assert_eq!(need_event(event, new, old), needed, "event {event} old {old} new {new}");
        }
    }
}

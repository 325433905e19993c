//! The driver's side of a split virtqueue, for load (virtio 1.2, 2.7).
//!
//! A slot's chain is always in the same descriptors, so that none has to be found.

use std::sync::atomic::{Ordering, fence};

use crate::guest::memory::Window;
use crate::guest::queue::{Queue, needs_event};
use crate::guest::spec::ring;

use super::ring::{Buffer, DriverRing};

/// Bytes before the entries of avail and used ring.
const RING: usize = 4;

/// The driver's side of a split ring.
#[derive(Debug)]
pub struct SplitRing {
    desc: Window,
    avail: Window,
    used: Window,
    mask: u16,
    /// Descriptors of a slot.
    entries: u16,
    event_idx: bool,
    avail_next: u16,
    avail_published: u16,
    /// Chains published since the last look whether the device asks for a bell.
    unbelled: u32,
    used_next: u16,
    used_seen: u16,
}

impl SplitRing {
    fn head(&self, slot: u16) -> u16 {
        slot * self.entries
    }

    /// The slot whose chain begins at `head`.
    #[inline]
    fn slot_of(&self, head: u32) -> Result<u16, u32> {
        // The usual lengths have their divisors known, which makes them multiplications.
        let slot = match u32::from(self.entries) {
            1 => head,
            3 if head.is_multiple_of(3) => head / 3,
            entries if head.is_multiple_of(entries) => head / entries,
            _ => return Err(head),
        };
        if head <= u32::from(self.mask) { Ok(slot as u16) } else { Err(head) }
    }

    #[inline]
    fn used_element(&self, position: u16) -> u64 {
        let mut element = [0; 8];
        self.used.read(RING + 8 * usize::from(position & self.mask), &mut element);
        u64::from_le_bytes(element)
    }
}

impl DriverRing for SplitRing {
    fn take_over(queue: &Queue, entries: u16) -> Self {
        let Queue::Split(queue) = queue else { panic!("queue {} is packed", queue.number()) };
        let [desc, avail, used] = queue.windows().map(Window::clone);
        let (avail_next, used_next) = (queue.avail_idx(), queue.used_idx());
        assert_eq!(avail_next, used_next, "the queue is at rest");
        let size = queue.layout().size;
        assert!(size.is_power_of_two(), "the size of a split ring is a power of two");
        Self {
            desc,
            avail,
            used,
            mask: size - 1,
            entries,
            event_idx: queue.has_event_idx(),
            avail_next,
            avail_published: avail_next,
            unbelled: 0,
            used_next,
            used_seen: used_next,
        }
    }

    fn size(&self) -> u16 {
        self.mask + 1
    }

    #[inline]
    fn put(&mut self, slot: u16, index: u16, buffer: Buffer) {
        let at = self.head(slot) + index;
        let next = if buffer.flags & ring::DESC_NEXT == 0 { 0 } else { at + 1 };
        self.desc.write(usize::from(at) * ring::DESCRIPTOR_LEN, &encode(buffer, next));
    }

    #[inline]
    fn offer(&mut self, slot: u16, _: u16) {
        let head = self.head(slot);
        self.avail.store_u16(RING + 2 * usize::from(self.avail_next & self.mask), head, Ordering::Relaxed);
        self.avail_next = self.avail_next.wrapping_add(1);
    }

    #[inline]
    fn table_entry(index: u16, buffer: Buffer) -> [u8; ring::DESCRIPTOR_LEN] {
        encode(buffer, if buffer.flags & ring::DESC_NEXT == 0 { 0 } else { index + 1 })
    }

    #[inline]
    fn publish(&mut self) {
        if self.avail_next != self.avail_published {
            let published = self.avail_next.wrapping_sub(self.avail_published);
            self.unbelled = self.unbelled.saturating_add(published.into());
            self.avail_published = self.avail_next;
            self.avail.store_u16(2, self.avail_next, Ordering::Release);
        }
    }

    #[inline]
    fn wants_bell(&mut self) -> bool {
        let published = std::mem::take(&mut self.unbelled);
        if published == 0 {
            return false;
        }
        // What was published must be visible before we look.
        fence(Ordering::SeqCst);
        if !self.event_idx {
            return self.used.load_u16(0, Ordering::Relaxed) & ring::USED_NO_NOTIFY == 0;
        }
        let event = self.used.load_u16(RING + 8 * usize::from(self.size()), Ordering::Relaxed);
        // As many as an index can have passed: then it has passed any.
        published > u16::MAX.into()
            || needs_event(event, self.avail_published, self.avail_published.wrapping_sub(published as u16))
    }

    #[inline]
    fn look(&mut self) -> bool {
        self.used_seen = self.used.load_u16(2, Ordering::Acquire);
        self.used_seen != self.used_next
    }

    #[inline]
    fn ahead(&mut self, mut visit: impl FnMut(u16)) {
        let count = self.used_seen.wrapping_sub(self.used_next).min(self.mask + 1);
        for ahead in 0..count {
            let Ok(slot) = self.slot_of(self.used_element(self.used_next.wrapping_add(ahead)) as u32) else { continue };
            // Written anew soon, and the device had them last. The third of a usual chain is on the second line.
            let first = usize::from(self.head(slot)) * ring::DESCRIPTOR_LEN;
            self.desc.prefetch_to_write(first);
            if self.entries > 2 {
                self.desc.prefetch_to_write(first + 2 * ring::DESCRIPTOR_LEN);
            }
            visit(slot);
        }
    }

    #[inline]
    fn take(&mut self) -> Option<Result<u16, u32>> {
        if self.used_seen == self.used_next {
            return None;
        }
        let element = self.used_element(self.used_next);
        self.used_next = self.used_next.wrapping_add(1);
        Some(self.slot_of(element as u32))
    }
}

/// A descriptor's 16 bytes (2.7.5).
#[inline]
fn encode(buffer: Buffer, next: u16) -> [u8; ring::DESCRIPTOR_LEN] {
    let Buffer { addr, len, flags } = buffer;
    (u128::from(addr) | u128::from(len) << 64 | u128::from(flags) << 96 | u128::from(next) << 112).to_le_bytes()
}

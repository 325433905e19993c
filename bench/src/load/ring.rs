//! The driver's side of a split virtqueue, for load: nothing is allocated, searched or looked up (virtio 1.2, 2.7).
//!
//! Takes over a [`Queue`] that was set up in the orderly way and is at rest. It asks for no interrupts and rings no bell:
//! it drives devices that poll. Which descriptors make up a chain is the business of [`slots`](super::slots).

use std::sync::atomic::Ordering;

use crate::guest::memory::Window;
use crate::guest::queue::Queue;
use crate::guest::spec::ring;

/// Bytes before the entries of avail and used ring.
const RING: usize = 4;

/// The driver's side of a ring.
#[derive(Debug)]
pub struct DriverRing {
    desc: Window,
    avail: Window,
    used: Window,
    mask: u16,
    avail_next: u16,
    avail_published: u16,
    used_next: u16,
    used_seen: u16,
}

impl DriverRing {
    /// Goes on where `queue` is. Nothing is in flight there, and nobody uses it any more.
    pub fn take_over(queue: &Queue) -> Self {
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
            avail_next,
            avail_published: avail_next,
            used_next,
            used_seen: used_next,
        }
    }

    /// Entries.
    pub fn size(&self) -> u16 {
        self.mask + 1
    }

    /// Writes descriptor `index`.
    #[inline]
    pub fn write_descriptor(&self, index: u16, bytes: &[u8; ring::DESCRIPTOR_LEN]) {
        self.desc.write(usize::from(index) * ring::DESCRIPTOR_LEN, bytes);
    }

    /// Offers a chain; the device sees it after [`publish`](Self::publish).
    #[inline]
    pub fn offer(&mut self, head: u16) {
        self.avail.store_u16(RING + 2 * usize::from(self.avail_next & self.mask), head, Ordering::Relaxed);
        self.avail_next = self.avail_next.wrapping_add(1);
    }

    /// Shows the device all that was offered. One release store, none if there is nothing new.
    #[inline]
    pub fn publish(&mut self) {
        if self.avail_next != self.avail_published {
            self.avail_published = self.avail_next;
            self.avail.store_u16(2, self.avail_next, Ordering::Release);
        }
    }

    /// Looks how far the device is. Whether there is something to [`take`](Self::take).
    #[inline]
    pub fn look(&mut self) -> bool {
        self.used_seen = self.used.load_u16(2, Ordering::Acquire);
        self.used_seen != self.used_next
    }

    /// Heads of the chains that the last look found, for those who want to look ahead.
    #[inline]
    pub fn ahead(&self) -> impl Iterator<Item = u32> + '_ {
        let count = self.used_seen.wrapping_sub(self.used_next).min(self.mask + 1);
        (0..count).map(|ahead| {
            let mut head = [0; 4];
            let position = self.used_next.wrapping_add(ahead) & self.mask;
            self.used.read(RING + 8 * usize::from(position), &mut head);
            u32::from_le_bytes(head)
        })
    }

    /// Asks for the line of descriptor `index`, to write it soon.
    #[inline]
    pub fn prefetch_descriptor(&self, index: u16) {
        self.desc.prefetch_to_write(usize::from(index) * ring::DESCRIPTOR_LEN);
    }

    /// The next chain given back, of those that the last look found. Its head can be anything: the device wrote it.
    #[inline]
    pub fn take(&mut self) -> Option<(u32, u32)> {
        if self.used_seen == self.used_next {
            return None;
        }
        let mut element = [0; 8];
        self.used.read(RING + 8 * usize::from(self.used_next & self.mask), &mut element);
        self.used_next = self.used_next.wrapping_add(1);
        let element = u64::from_le_bytes(element);
        Some((element as u32, (element >> 32) as u32))
    }
}

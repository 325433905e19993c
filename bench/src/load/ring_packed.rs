//! The driver's side of a packed virtqueue, for load (virtio 1.2, 2.8).
//!
//! A slot's number is its buffer id; its chain is wherever the ring has come to.

use std::sync::atomic::{Ordering, fence};

use crate::guest::memory::Window;
use crate::guest::queue::Queue;
use crate::guest::queue_packed::{FLAGS_AT, Position, encode, wants_event};
use crate::guest::spec::{packed, ring};

use super::ring::{Buffer, DriverRing};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Lines of descriptors that are asked for when several chains came back.
const LINES_AHEAD: usize = 14;

/// The driver's side of a packed ring.
#[derive(Debug)]
pub struct PackedRing {
    desc: Window,
    device: Window,
    size: u16,
    next_avail: Position,
    /// The first descriptor that is not published, and the flags that publish all.
    held_back: Option<(Position, u16)>,
    /// Descriptors written since the last publication.
    added: u16,
    /// Descriptors published since the last look whether the device asks for a bell.
    unbelled: u32,
    next_used: Position,
    /// Used descriptors that were found and not taken.
    found: u16,
    /// By slot: descriptors of its chain, 0 if it is not with the device.
    lens: Vec<u16>,
}

impl PackedRing {
    #[inline]
    fn is_used(&self, at: Position) -> bool {
        at.is_used(self.desc.load_u16(at.offset() + FLAGS_AT, Ordering::Acquire))
    }

    #[inline]
    fn id(&self, at: Position) -> u16 {
        self.desc.load_u16(at.offset() + FLAGS_AT - 2, Ordering::Relaxed)
    }

    /// Asks for the descriptors behind `at`, which the device has used as well, it seems, and for those that we write
    /// next: one after the other they would take a line's way each.
    #[inline]
    fn prefetch(&self, at: Position) {
        for line in 1..=LINES_AHEAD {
            self.desc.prefetch(at.offset() + line * LINE);
            self.desc.prefetch_to_write(self.next_avail.offset() + (line - 1) * LINE);
        }
    }

    /// Descriptors of the chain with that id, 0 if there is none.
    #[inline]
    fn len_of(&self, id: u16) -> u16 {
        self.lens.get(usize::from(id)).copied().unwrap_or(0)
    }
}

impl DriverRing for PackedRing {
    fn take_over(queue: &Queue, _: u16) -> Self {
        let Queue::Packed(queue) = queue else { panic!("queue {} is split", queue.number()) };
        let [desc, _, device] = queue.windows().map(Window::clone);
        let size = queue.layout().size;
        assert_eq!(queue.free_descriptors(), usize::from(size), "the queue is at rest");
        let (next_avail, next_used) = queue.positions();
        Self {
            desc,
            device,
            size,
            next_avail,
            held_back: None,
            added: 0,
            unbelled: 0,
            next_used,
            found: 0,
            lens: vec![0; size.into()],
        }
    }

    fn size(&self) -> u16 {
        self.size
    }

    #[inline]
    fn put(&mut self, slot: u16, _: u16, buffer: Buffer) {
        let at = self.next_avail;
        let flags = buffer.flags | at.available();
        let bytes = encode(buffer.addr, buffer.len, slot, flags);
        if self.added == 0 {
            // Without its flags the device sees neither this one nor those that follow.
            self.held_back = Some((at, flags));
            self.desc.write(at.offset(), &bytes[..FLAGS_AT]);
        } else {
            self.desc.write(at.offset(), &bytes);
        }
        self.added += 1;
        self.next_avail = at.plus(1, self.size);
    }

    #[inline]
    fn offer(&mut self, slot: u16, count: u16) {
        self.lens[usize::from(slot)] = count;
    }

    #[inline]
    fn table_entry(_: u16, buffer: Buffer) -> [u8; ring::DESCRIPTOR_LEN] {
        // Nothing but WRITE means anything there (2.8.7).
        encode(buffer.addr, buffer.len, 0, buffer.flags & ring::DESC_WRITE)
    }

    #[inline]
    fn publish(&mut self) {
        if let Some((at, flags)) = self.held_back.take() {
            self.desc.store_u16(at.offset() + FLAGS_AT, flags, Ordering::Release);
            self.unbelled = self.unbelled.saturating_add(std::mem::take(&mut self.added).into());
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
        let flags = self.device.load_u16(packed::EVENT_FLAGS, Ordering::Acquire);
        let event = self.device.load_u16(0, Ordering::Relaxed);
        // A whole turn has passed any descriptor.
        let published = published.min(self.size.into()) as u16;
        wants_event(event, flags, self.next_avail, published, self.size)
    }

    #[inline]
    fn look(&mut self) -> bool {
        self.is_used(self.next_used)
    }

    #[inline]
    fn ahead(&mut self, mut visit: impl FnMut(u16)) {
        let mut at = self.next_used;
        // Each chain is at least one descriptor of the ring.
        while self.found < self.size && self.is_used(at) {
            let id = self.id(at);
            self.found += 1;
            if self.found == 2 {
                self.prefetch(at);
            }
            match self.len_of(id) {
                // Nothing tells where the next one is: `take` says what is wrong.
                0 => return,
                len => at = at.plus(len, self.size),
            }
            visit(id);
        }
    }

    #[inline]
    fn take(&mut self) -> Option<Result<u16, u32>> {
        self.found = self.found.checked_sub(1)?;
        let id = self.id(self.next_used);
        let len = self.len_of(id);
        if len == 0 {
            return Some(Err(id.into()));
        }
        self.lens[usize::from(id)] = 0;
        self.next_used = self.next_used.plus(len, self.size);
        Some(Ok(id))
    }
}

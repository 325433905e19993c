//! A device loop that does the least, on a packed ring (virtio 1.2, 2.8).

use std::sync::atomic::Ordering;

use crate::guest::memory::Window;
use crate::guest::queue::Queue;
use crate::guest::queue_packed::{FLAGS_AT, Position};
use crate::guest::spec::{packed, ring, scsi};

use super::limit::{BATCH, Device, read_header};

/// Bytes of a cache line.
const LINE: usize = 64;
/// Lines of descriptors that are asked for when there is a batch.
const LINES_AHEAD: usize = 14;

/// The device's side of a packed ring.
#[derive(Debug)]
pub struct PackedDevice {
    desc: Window,
    memory: Window,
    size: u16,
    next_avail: Position,
    next_used: Position,
    /// Sum of what was read, so that it is read.
    seen: u64,
}

/// What a device needs to know of a descriptor.
#[derive(Debug, Clone, Copy)]
struct Descriptor {
    /// Offset in guest memory.
    at: usize,
    id: u16,
    flags: u16,
}

impl Device for PackedDevice {
    fn new(queue: &Queue, memory: Window) -> Self {
        let [desc, _, device] = queue.windows().map(Window::clone);
        device.store_u16(packed::EVENT_FLAGS, packed::EVENT_DISABLE, Ordering::Relaxed);
        let size = queue.layout().size;
        Self { desc, memory, size, next_avail: Position::START, next_used: Position::START, seen: 0 }
    }

    fn pass(&mut self) {
        self.prefetch();
        // Only its flags show the driver the first of a batch, and with it the others.
        let mut held_back = None;
        for _ in 0..BATCH {
            if !self.is_available(self.next_avail) {
                break;
            }
            let (id, count) = self.answer();
            let at = self.next_used;
            // Used length and id lie side by side.
            let body = scsi::RESPONSE_HEADER_LEN as u64 | u64::from(id) << 32;
            self.desc.write(at.offset() + 8, &body.to_le_bytes()[..6]);
            if held_back.is_none() {
                held_back = Some(at);
            } else {
                self.desc.store_u16(at.offset() + FLAGS_AT, at.used(), Ordering::Relaxed);
            }
            self.next_used = at.plus(count, self.size);
        }
        if let Some(at) = held_back {
            self.desc.store_u16(at.offset() + FLAGS_AT, at.used(), Ordering::Release);
        }
    }
}

impl PackedDevice {
    #[inline]
    fn is_available(&self, at: Position) -> bool {
        at.is_available(self.desc.load_u16(at.offset() + FLAGS_AT, Ordering::Acquire))
    }

    /// Asks for header and response of the chains of a batch, so that they come together.
    #[inline]
    fn prefetch(&self) {
        let mut at = self.next_avail;
        for chain in 0..BATCH {
            if !self.is_available(at) {
                return;
            }
            if chain == 1 {
                // There are several: their descriptors lie one after the other. Alone, this would only take from the driver
                // the lines that it writes next.
                (1..=LINES_AHEAD).for_each(|line| self.desc.prefetch_to_write(at.offset() + line * LINE));
            }
            let first = self.descriptor(&self.desc, at.offset());
            self.memory.prefetch(first.at);
            let (mut last, mut seen) = (first, false);
            at = at.plus(1, self.size);
            while last.flags & ring::DESC_NEXT != 0 {
                last = self.descriptor(&self.desc, at.offset());
                if last.flags & ring::DESC_WRITE != 0 && !seen {
                    self.memory.prefetch_to_write(last.at);
                    seen = true;
                }
                at = at.plus(1, self.size);
            }
        }
    }

    /// Takes and answers the next chain: its id and how many descriptors of the ring it has.
    #[inline]
    fn answer(&mut self) -> (u16, u16) {
        let first = self.descriptor(&self.desc, self.next_avail.offset());
        if first.flags & ring::DESC_INDIRECT != 0 {
            let (header, mut entry) = (self.descriptor(&self.memory, first.at), 1);
            let response = loop {
                let next = self.descriptor(&self.memory, first.at + entry * ring::DESCRIPTOR_LEN);
                if next.flags & ring::DESC_WRITE != 0 {
                    break next;
                }
                entry += 1;
            };
            self.respond(header, response);
            self.next_avail = self.next_avail.plus(1, self.size);
            return (first.id, 1);
        }
        let (mut last, mut response, mut count) = (first, None, 0);
        loop {
            count += 1;
            self.next_avail = self.next_avail.plus(1, self.size);
            if last.flags & ring::DESC_WRITE != 0 {
                response.get_or_insert(last);
            }
            if last.flags & ring::DESC_NEXT == 0 {
                break;
            }
            last = self.descriptor(&self.desc, self.next_avail.offset());
        }
        self.respond(first, response.unwrap_or(last));
        (last.id, count)
    }

    #[inline]
    fn respond(&mut self, header: Descriptor, response: Descriptor) {
        self.seen = self.seen.wrapping_add(read_header(&self.memory, header.at));
        self.memory.write(response.at, &[0; scsi::RESPONSE_HEADER_LEN]);
    }

    #[inline]
    fn descriptor(&self, table: &Window, at: usize) -> Descriptor {
        let mut bytes = [0; ring::DESCRIPTOR_LEN];
        table.read(at, &mut bytes);
        let value = u128::from_le_bytes(bytes);
        let at = (value as u64 - self.memory.gpa().0) as usize;
        Descriptor { at, id: (value >> 96) as u16, flags: (value >> 112) as u16 }
    }
}

//! A device loop that does the least, on a split ring (virtio 1.2, 2.7).

use std::sync::atomic::Ordering;

use crate::guest::memory::Window;
use crate::guest::queue::Queue;
use crate::guest::spec::{ring, scsi};

use super::limit::{BATCH, Device, read_header};

/// Bytes before the entries of avail and used ring.
const RING: usize = 4;

/// The device's side of a split ring.
#[derive(Debug)]
pub struct SplitDevice {
    desc: Window,
    avail: Window,
    used: Window,
    memory: Window,
    mask: u16,
    next: u16,
    /// Sum of what was read, so that it is read.
    seen: u64,
}

/// What a device needs to know of a descriptor.
struct Descriptor {
    /// Offset in guest memory.
    at: usize,
    flags: u16,
    next: u16,
}

impl Device for SplitDevice {
    fn new(queue: &Queue, memory: Window) -> Self {
        let [desc, avail, used] = queue.windows().map(Window::clone);
        used.store_u16(0, ring::USED_NO_NOTIFY, Ordering::Relaxed);
        Self { desc, avail, used, memory, mask: queue.layout().size - 1, next: 0, seen: 0 }
    }

    fn pass(&mut self) {
        let available = self.avail.load_u16(2, Ordering::Acquire);
        if available == self.next {
            return;
        }
        let batch = available.wrapping_sub(self.next).min(BATCH);
        for ahead in 0..batch {
            self.prefetch(self.head(self.next.wrapping_add(ahead)));
        }
        for _ in 0..batch {
            let head = self.head(self.next);
            self.answer(head);
            let element = u64::from(head) | (scsi::RESPONSE_HEADER_LEN as u64) << 32;
            self.used.write(RING + 8 * usize::from(self.next & self.mask), &element.to_le_bytes());
            self.next = self.next.wrapping_add(1);
        }
        self.used.store_u16(2, self.next, Ordering::Release);
    }
}

impl SplitDevice {
    /// The logical units that the requests name which wait, all of them direct chains.
    #[cfg(test)]
    pub fn waiting_luns(&self) -> Vec<crate::guest::scsi::Lun> {
        let waiting = self.avail.load_u16(2, Ordering::Acquire).wrapping_sub(self.next);
        let lun = |ahead| {
            let mut lun = crate::guest::scsi::Lun([0; 8]);
            let head = self.head(self.next.wrapping_add(ahead));
            self.memory.read(self.descriptor(&self.desc, head).at, &mut lun.0);
            lun
        };
        (0..waiting).map(lun).collect()
    }

    #[inline]
    fn head(&self, position: u16) -> u16 {
        self.avail.load_u16(RING + 2 * usize::from(position & self.mask), Ordering::Relaxed)
    }

    /// Asks for the header and, if it is the second buffer of a direct chain, the response. An indirect table is asked
    /// for itself.
    #[inline]
    fn prefetch(&self, head: u16) {
        let first = self.descriptor(&self.desc, head);
        self.memory.prefetch(first.at);
        if first.flags & ring::DESC_INDIRECT == 0 {
            let second = self.descriptor(&self.desc, first.next);
            if second.flags & ring::DESC_WRITE != 0 {
                self.memory.prefetch_to_write(second.at);
            }
        }
    }

    #[inline]
    fn answer(&mut self, head: u16) {
        let first = self.descriptor(&self.desc, head);
        if first.flags & ring::DESC_INDIRECT == 0 {
            self.follow(&first, |device, index| device.descriptor(&device.desc, index));
        } else {
            let table = first.at;
            let entry = move |device: &Self, index: u16| {
                device.decode(&device.memory, table + usize::from(index) * ring::DESCRIPTOR_LEN)
            };
            let first = entry(self, 0);
            self.follow(&first, entry);
        }
    }

    /// Reads the header and walks to the response.
    #[inline]
    fn follow(&mut self, first: &Descriptor, entry: impl Fn(&Self, u16) -> Descriptor) {
        self.seen = self.seen.wrapping_add(read_header(&self.memory, first.at));
        let mut response = entry(self, first.next);
        while response.flags & ring::DESC_WRITE == 0 {
            response = entry(self, response.next);
        }
        self.memory.write(response.at, &[0; scsi::RESPONSE_HEADER_LEN]);
    }

    #[inline]
    fn descriptor(&self, table: &Window, index: u16) -> Descriptor {
        self.decode(table, usize::from(index) * ring::DESCRIPTOR_LEN)
    }

    #[inline]
    fn decode(&self, table: &Window, at: usize) -> Descriptor {
        let mut bytes = [0; ring::DESCRIPTOR_LEN];
        table.read(at, &mut bytes);
        let value = u128::from_le_bytes(bytes);
        let at = (value as u64 - self.memory.gpa().0) as usize;
        Descriptor { at, flags: (value >> 96) as u16, next: (value >> 112) as u16 }
    }
}

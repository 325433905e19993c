//! The driver's side of a split virtqueue (virtio 1.2, 2.7).
//!
//! Owns a ring in guest memory and knows which descriptors are free. Never talks to the device: [`SplitQueue::publish`] says
//! whether the doorbell is to be rung, and the caller rings it. What the device may have changed (descriptors are the
//! driver's alone) is checked: a head that is not in flight is an error. Beside the orderly way in there are raw accessors,
//! for those who test what a device does with nonsense.

use std::sync::atomic::{Ordering, fence};

use super::error::{Error, Result};
use super::memory::{GuestMemory, Window};
use super::queue::{Piece, QueueLayout, Used, needs_event};
use super::spec::ring;

/// A descriptor as it is in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Descriptor {
    /// Guest address of the buffer.
    pub addr: u64,
    /// Length of the buffer in bytes.
    pub len: u32,
    /// See [`ring`].
    pub flags: u16,
    /// Index of the next descriptor, if flags say that there is one.
    pub next: u16,
}

impl Descriptor {
    /// The 16 bytes of the table.
    pub fn encode(self) -> [u8; ring::DESCRIPTOR_LEN] {
        let mut bytes = [0; ring::DESCRIPTOR_LEN];
        bytes[..8].copy_from_slice(&self.addr.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.flags.to_le_bytes());
        bytes[14..].copy_from_slice(&self.next.to_le_bytes());
        bytes
    }
}

impl Piece {
    fn descriptor(&self, next: Option<u16>) -> Descriptor {
        let write = if self.device_writes { ring::DESC_WRITE } else { 0 };
        let more = if next.is_some() { ring::DESC_NEXT } else { 0 };
        Descriptor { addr: self.gpa.0, len: self.len, flags: write | more, next: next.unwrap_or(0) }
    }
}

/// The driver's side of a split ring.
#[derive(Debug)]
pub struct SplitQueue {
    number: u16,
    size: u16,
    desc: Window,
    avail: Window,
    used: Window,
    event_idx: bool,
    /// Free descriptors, the next one to take last.
    free: Vec<u16>,
    /// By head: the descriptors of the chain in flight, empty if there is none.
    in_flight: Vec<Vec<u16>>,
    avail_next: u16,
    avail_published: u16,
    used_next: u16,
    interrupts: bool,
}

const RING: usize = 4;

impl SplitQueue {
    /// Lays out an empty ring of `size` entries, a power of two, in `memory`.
    ///
    /// # Errors
    /// No room in memory.
    pub fn new(memory: &mut GuestMemory, number: u16, size: u16, event_idx: bool) -> Result<Self> {
        let entries = usize::from(size);
        let desc = memory.allocate(entries * ring::DESCRIPTOR_LEN, 4096)?;
        let avail = memory.allocate(RING + 2 * entries + 2, 2)?;
        let used = memory.allocate(RING + 8 * entries + 2, 4096)?;
        Ok(Self::on(number, size, [desc, avail, used], event_idx))
    }

    /// A ring on `windows` for descriptors, avail and used ring, each at least as long as 2.7 says.
    pub fn on(number: u16, size: u16, windows: [Window; 3], event_idx: bool) -> Self {
        let [desc, avail, used] = windows;
        Self {
            number,
            size,
            desc,
            avail,
            used,
            event_idx,
            free: (0..size).rev().collect(),
            in_flight: vec![Vec::new(); usize::from(size)],
            avail_next: 0,
            avail_published: 0,
            used_next: 0,
            interrupts: true,
        }
    }

    /// The queue's number at the device.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Where it is.
    pub fn layout(&self) -> QueueLayout {
        QueueLayout { size: self.size, desc: self.desc.gpa(), driver: self.avail.gpa(), device: self.used.gpa() }
    }

    /// Gives its memory back. The device must have been told to forget it.
    pub fn free(self, memory: &mut GuestMemory) {
        for window in [&self.desc, &self.avail, &self.used] {
            memory.free(window);
        }
    }

    /// Whether both sides tell by index when they want to hear (VIRTIO_F_EVENT_IDX).
    pub fn has_event_idx(&self) -> bool {
        self.event_idx
    }

    /// Descriptors that no chain in flight has.
    pub fn free_descriptors(&self) -> usize {
        self.free.len()
    }

    /// Adds a chain of these pieces, one descriptor each. The device sees it after [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`Error::Full`]: not enough descriptors.
    pub fn add(&mut self, pieces: &[Piece]) -> Result<u16> {
        if pieces.is_empty() || pieces.len() > self.free.len() {
            return Err(Error::Full("descriptors"));
        }
        let mut chain = self.free.split_off(self.free.len() - pieces.len());
        chain.reverse();
        for (index, piece) in pieces.iter().enumerate() {
            self.write_descriptor(chain[index], piece.descriptor(chain.get(index + 1).copied()));
        }
        Ok(self.offer(chain))
    }

    /// Adds a chain of these pieces as an indirect table (2.7.5.3), which is written to `table`.
    ///
    /// # Errors
    /// [`Error::Full`]: no descriptor, or too short a table.
    pub fn add_indirect(&mut self, table: &Window, pieces: &[Piece]) -> Result<u16> {
        let len = pieces.len() * ring::DESCRIPTOR_LEN;
        if len > table.len() {
            return Err(Error::Full("indirect table"));
        }
        let index = self.free.pop().ok_or(Error::Full("descriptors"))?;
        for (index, piece) in pieces.iter().enumerate() {
            let next = (index + 1 < pieces.len()).then_some(index as u16 + 1);
            table.write(index * ring::DESCRIPTOR_LEN, &piece.descriptor(next).encode());
        }
        let descriptor =
            Descriptor { addr: table.gpa().0, len: len as u32, flags: ring::DESC_INDIRECT, ..Descriptor::default() };
        self.write_descriptor(index, descriptor);
        Ok(self.offer(vec![index]))
    }

    /// Puts a chain of descriptors, already written, in the next avail slot.
    fn offer(&mut self, chain: Vec<u16>) -> u16 {
        let head = chain[0];
        self.in_flight[usize::from(head)] = chain;
        self.offer_head(head);
        head
    }

    /// Makes everything added visible to the device. Whether the device wants to be notified (2.7.10, 2.7.13).
    pub fn publish(&mut self) -> bool {
        let old = self.avail_published;
        self.set_avail_idx(self.avail_next);
        // The index must be visible before we look whether the device asks for a doorbell.
        fence(Ordering::SeqCst);
        if self.event_idx {
            let event = self.used.load_u16(RING + 8 * usize::from(self.size), Ordering::Relaxed);
            return needs_event(event, self.avail_next, old);
        }
        old != self.avail_next && self.used.load_u16(0, Ordering::Relaxed) & ring::USED_NO_NOTIFY == 0
    }

    /// Takes the next chain that the device has given back.
    ///
    /// # Errors
    /// [`Error::UnknownHead`]: not in flight.
    pub fn poll(&mut self) -> Result<Option<Used>> {
        if self.used_idx() == self.used_next {
            return Ok(None);
        }
        let mut element = [0; 8];
        self.used.read(RING + 8 * usize::from(self.used_next % self.size), &mut element);
        self.used_next = self.used_next.wrapping_add(1);
        if self.event_idx && self.interrupts {
            self.set_used_event(self.used_next);
        }
        let [head, len] = [0, 4].map(|at| u32::from_le_bytes(element[at..at + 4].try_into().expect("four bytes")));
        let chain = self.in_flight.get_mut(head as usize).map(std::mem::take).unwrap_or_default();
        if chain.is_empty() {
            return Err(Error::UnknownHead { queue: self.number, head });
        }
        self.free.extend(chain.into_iter().rev());
        Ok(Some(Used { head: head as u16, len }))
    }

    /// Asks for an interrupt with the next chain given back, or for none. Whether there is one already: then poll instead
    /// of waiting (2.7.7).
    pub fn set_interrupts(&mut self, wanted: bool) -> bool {
        self.interrupts = wanted;
        if self.event_idx {
            // Without interrupts: an index that is as far away as can be.
            self.set_used_event(if wanted { self.used_next } else { self.used_next.wrapping_sub(1) });
        } else {
            self.avail.store_u16(0, if wanted { 0 } else { ring::AVAIL_NO_INTERRUPT }, Ordering::Relaxed);
        }
        fence(Ordering::SeqCst);
        self.used_idx() != self.used_next
    }

    /// Sets all ring memory to zero and forgets what is in flight: a ring as it was laid out.
    pub fn clear(&mut self) {
        for window in [&self.desc, &self.avail, &self.used] {
            window.fill(0);
        }
        let windows = [self.desc.clone(), self.avail.clone(), self.used.clone()];
        *self = Self::on(self.number, self.size, windows, self.event_idx);
    }

    /// Descriptor table, avail ring and used ring: to write anything anywhere.
    pub fn windows(&self) -> [&Window; 3] {
        [&self.desc, &self.avail, &self.used]
    }

    /// Writes any descriptor, in use or not.
    pub fn write_descriptor(&self, index: u16, descriptor: Descriptor) {
        self.desc.write(usize::from(index) * ring::DESCRIPTOR_LEN, &descriptor.encode());
    }

    /// Puts any head in the next avail slot, as [`add`](Self::add) does. If the device gives it back and it is not in
    /// flight, [`poll`](Self::poll) says so.
    pub fn offer_head(&mut self, head: u16) {
        self.avail.write(RING + 2 * usize::from(self.avail_next % self.size), &head.to_le_bytes());
        self.avail_next = self.avail_next.wrapping_add(1);
    }

    /// Counts a chain that was written by hand as in flight, so that [`poll`](Self::poll) takes it back. Its descriptors
    /// must not be free ones that `add` may take meanwhile.
    pub fn expect_head(&mut self, head: u16) {
        self.free.retain(|&index| index != head);
        self.in_flight[usize::from(head)] = vec![head];
    }

    /// The avail index that the device sees.
    pub fn avail_idx(&self) -> u16 {
        self.avail_published
    }

    /// Sets the avail index to anything.
    pub fn set_avail_idx(&mut self, index: u16) {
        self.avail_published = index;
        self.avail.store_u16(2, index, Ordering::Release);
    }

    /// The device's used index.
    pub fn used_idx(&self) -> u16 {
        self.used.load_u16(2, Ordering::Acquire)
    }

    /// The device's flags in the used ring.
    pub fn used_flags(&self) -> u16 {
        self.used.load_u16(0, Ordering::Relaxed)
    }

    /// Sets the index at which the device shall interrupt (2.7.7.1).
    pub fn set_used_event(&self, index: u16) {
        self.avail.store_u16(RING + 2 * usize::from(self.size), index, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "queue_split_tests.rs"]
mod tests;

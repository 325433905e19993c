//! The driver's side of a packed virtqueue (virtio 1.2, 2.8).
//!
//! Owns a ring in guest memory and knows which buffer ids are free. Never talks to the device: [`PackedQueue::publish`]
//! says whether the doorbell is to be rung, and the caller rings it. What the device may have written (it writes
//! descriptors here) is checked: an id that is not in flight is an error.

use std::sync::atomic::{Ordering, fence};

use super::error::{Error, Result};
use super::memory::{GuestMemory, Window};
use super::queue::{Piece, QueueLayout, Used, needs_event};
use super::spec::{packed, ring};

/// Offset of the flags in a descriptor; address, length and id come before.
pub const FLAGS_AT: usize = 14;

/// A place in the ring and the wrap counter that belongs to it (2.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Index of the descriptor.
    pub index: u16,
    /// The wrap counter: turns over whenever the index comes round.
    pub wrap: bool,
}

impl Position {
    /// Where both sides begin.
    pub const START: Self = Self { index: 0, wrap: true };

    /// `count` descriptors on in a ring of `size`, which has at least so many.
    #[inline]
    pub fn plus(self, count: u16, size: u16) -> Self {
        let index = u32::from(self.index) + u32::from(count);
        match index.checked_sub(size.into()) {
            Some(index) => Self { index: index as u16, wrap: !self.wrap },
            None => Self { index: index as u16, ..self },
        }
    }

    /// Flags that make the descriptor here available.
    #[inline]
    pub fn available(self) -> u16 {
        if self.wrap { packed::DESC_AVAIL } else { packed::DESC_USED }
    }

    /// Flags that make the descriptor here used.
    #[inline]
    pub fn used(self) -> u16 {
        if self.wrap { packed::DESC_AVAIL | packed::DESC_USED } else { 0 }
    }

    /// Whether a descriptor here with these flags has been used.
    #[inline]
    pub fn is_used(self, flags: u16) -> bool {
        flags & (packed::DESC_AVAIL | packed::DESC_USED) == self.used()
    }

    /// Whether a descriptor here with these flags has been made available.
    #[inline]
    pub fn is_available(self, flags: u16) -> bool {
        flags & (packed::DESC_AVAIL | packed::DESC_USED) == self.available()
    }

    /// Its offset in the descriptor area in bytes.
    #[inline]
    pub fn offset(self) -> usize {
        usize::from(self.index) * ring::DESCRIPTOR_LEN
    }

    /// As a descriptor event (2.8.14).
    pub fn event(self) -> u16 {
        self.index | if self.wrap { packed::EVENT_WRAP } else { 0 }
    }
}

/// Whether the `added` descriptors before `now` are to be told of, to a side that wrote `event` and `flags` (2.8.10).
pub fn wants_event(event: u16, flags: u16, now: Position, added: u16, size: u16) -> bool {
    match flags & 3 {
        packed::EVENT_DISABLE => false,
        packed::EVENT_DESC => {
            let index = event & !packed::EVENT_WRAP;
            // An index of the turn before is that much behind.
            let same_turn = (event & packed::EVENT_WRAP != 0) == now.wrap;
            let index = if same_turn { index } else { index.wrapping_sub(size) };
            needs_event(index, now.index, now.index.wrapping_sub(added))
        }
        _ => added > 0,
    }
}

/// A descriptor's 16 bytes (2.8.13).
#[inline]
pub fn encode(addr: u64, len: u32, id: u16, flags: u16) -> [u8; ring::DESCRIPTOR_LEN] {
    (u128::from(addr) | u128::from(len) << 64 | u128::from(id) << 96 | u128::from(flags) << 112).to_le_bytes()
}

/// The driver's side of a packed ring.
#[derive(Debug)]
pub struct PackedQueue {
    number: u16,
    size: u16,
    desc: Window,
    driver: Window,
    device: Window,
    event_idx: bool,
    /// Free buffer ids, the next one to take last.
    ids: Vec<u16>,
    /// By id: descriptors of the chain in flight, 0 if there is none.
    in_flight: Vec<u16>,
    /// Descriptors that are not in flight.
    free: u16,
    next_avail: Position,
    next_used: Position,
    /// The first descriptor that was added and not published, and the flags that publish all.
    held_back: Option<(Position, u16)>,
    /// Descriptors added since the last publication.
    added: u16,
    interrupts: bool,
}

impl PackedQueue {
    /// Lays out an empty ring of `size` entries in `memory`.
    ///
    /// # Errors
    /// No room in memory.
    pub fn new(memory: &mut GuestMemory, number: u16, size: u16, event_idx: bool) -> Result<Self> {
        let desc = memory.allocate(usize::from(size) * ring::DESCRIPTOR_LEN, 4096)?;
        // Each side writes its own: they share no cache line.
        let [driver, device] = [memory.allocate(packed::EVENT_LEN, 128)?, memory.allocate(packed::EVENT_LEN, 128)?];
        Ok(Self::on(number, size, [desc, driver, device], event_idx))
    }

    /// A ring on `windows` of descriptor, driver and device area.
    pub fn on(number: u16, size: u16, windows: [Window; 3], event_idx: bool) -> Self {
        let [desc, driver, device] = windows;
        Self {
            number,
            size,
            desc,
            driver,
            device,
            event_idx,
            ids: (0..size).rev().collect(),
            in_flight: vec![0; usize::from(size)],
            free: size,
            next_avail: Position::START,
            next_used: Position::START,
            held_back: None,
            added: 0,
            interrupts: true,
        }
    }

    /// The queue's number at the device.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Where it is.
    pub fn layout(&self) -> QueueLayout {
        QueueLayout { size: self.size, desc: self.desc.gpa(), driver: self.driver.gpa(), device: self.device.gpa() }
    }

    /// Gives its memory back. The device must have been told to forget it.
    pub fn free(self, memory: &mut GuestMemory) {
        for window in [&self.desc, &self.driver, &self.device] {
            memory.free(window);
        }
    }

    /// Descriptors that no chain in flight has.
    pub fn free_descriptors(&self) -> usize {
        self.free.into()
    }

    /// Adds a chain of these pieces, one descriptor each; returns its id. The device sees it after
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`Error::Full`]: not enough descriptors.
    pub fn add(&mut self, pieces: &[Piece]) -> Result<u16> {
        if pieces.is_empty() || pieces.len() > usize::from(self.free) {
            return Err(Error::Full("descriptors"));
        }
        let id = self.begin(pieces.len() as u16)?;
        for (index, piece) in pieces.iter().enumerate() {
            let more = if index + 1 < pieces.len() { ring::DESC_NEXT } else { 0 };
            self.put(piece.gpa.0, piece.len, id, write_flag(piece) | more);
        }
        Ok(id)
    }

    /// Adds a chain of these pieces as an indirect table (2.8.7), which is written to `table`.
    ///
    /// # Errors
    /// [`Error::Full`]: no descriptor, or too short a table.
    pub fn add_indirect(&mut self, table: &Window, pieces: &[Piece]) -> Result<u16> {
        let len = pieces.len() * ring::DESCRIPTOR_LEN;
        if len > table.len() {
            return Err(Error::Full("indirect table"));
        }
        let id = self.begin(1)?;
        for (index, piece) in pieces.iter().enumerate() {
            let bytes = encode(piece.gpa.0, piece.len, 0, write_flag(piece));
            table.write(index * ring::DESCRIPTOR_LEN, &bytes);
        }
        self.put(table.gpa().0, len as u32, id, ring::DESC_INDIRECT);
        Ok(id)
    }

    /// Takes an id and descriptors for a chain.
    fn begin(&mut self, descriptors: u16) -> Result<u16> {
        self.free = self.free.checked_sub(descriptors).ok_or(Error::Full("descriptors"))?;
        let id = self.ids.pop().expect("each chain has a descriptor, and there are as many ids");
        self.in_flight[usize::from(id)] = descriptors;
        Ok(id)
    }

    /// Writes the next descriptor. The first since the last publication stays unavailable, and with it all that follow.
    fn put(&mut self, addr: u64, len: u32, id: u16, flags: u16) {
        let at = self.next_avail;
        let flags = flags | at.available();
        if self.held_back.is_none() {
            self.held_back = Some((at, flags));
            self.desc.write(at.offset(), &encode(addr, len, id, flags)[..FLAGS_AT]);
        } else {
            self.desc.write(at.offset(), &encode(addr, len, id, flags));
        }
        self.added += 1;
        self.next_avail = at.plus(1, self.size);
    }

    /// Makes everything added visible to the device. Whether the device wants to be notified (2.8.21).
    pub fn publish(&mut self) -> bool {
        let Some((at, flags)) = self.held_back.take() else { return false };
        self.desc.store_u16(at.offset() + FLAGS_AT, flags, Ordering::Release);
        let added = std::mem::take(&mut self.added);
        // The descriptors must be visible before we look whether the device asks for a doorbell.
        fence(Ordering::SeqCst);
        let flags = self.device.load_u16(packed::EVENT_FLAGS, Ordering::Acquire);
        wants_event(self.device.load_u16(0, Ordering::Relaxed), flags, self.next_avail, added, self.size)
    }

    /// Takes the next chain that the device has given back.
    ///
    /// # Errors
    /// [`Error::UnknownHead`]: not in flight.
    pub fn poll(&mut self) -> Result<Option<Used>> {
        if !self.has_used() {
            return Ok(None);
        }
        let mut bytes = [0; ring::DESCRIPTOR_LEN];
        self.desc.read(self.next_used.offset(), &mut bytes);
        let (id, len) = (u16::from_le_bytes([bytes[12], bytes[13]]), u32::from_le_bytes(four(&bytes[8..12])));
        let descriptors = self.in_flight.get_mut(usize::from(id)).map_or(0, std::mem::take);
        if descriptors == 0 {
            return Err(Error::UnknownHead { queue: self.number, head: id.into() });
        }
        self.ids.push(id);
        self.free += descriptors;
        self.next_used = self.next_used.plus(descriptors, self.size);
        if self.event_idx && self.interrupts {
            self.driver.store_u16(0, self.next_used.event(), Ordering::Relaxed);
        }
        Ok(Some(Used { head: id, len }))
    }

    fn has_used(&self) -> bool {
        let flags = self.desc.load_u16(self.next_used.offset() + FLAGS_AT, Ordering::Acquire);
        self.free < self.size && self.next_used.is_used(flags)
    }

    /// Asks for an interrupt with the next chain given back, or for none. Whether there is one already: then poll instead
    /// of waiting (2.8.22).
    pub fn set_interrupts(&mut self, wanted: bool) -> bool {
        self.interrupts = wanted;
        let flags = match (wanted, self.event_idx) {
            (false, _) => packed::EVENT_DISABLE,
            (true, false) => packed::EVENT_ENABLE,
            (true, true) => packed::EVENT_DESC,
        };
        if flags == packed::EVENT_DESC {
            self.driver.store_u16(0, self.next_used.event(), Ordering::Relaxed);
        }
        self.driver.store_u16(packed::EVENT_FLAGS, flags, Ordering::Release);
        fence(Ordering::SeqCst);
        self.has_used()
    }

    /// Descriptor, driver and device area: to write anything anywhere.
    pub fn windows(&self) -> [&Window; 3] {
        [&self.desc, &self.driver, &self.device]
    }

    /// Where the next chain goes, and where the next used descriptor is looked for.
    pub fn positions(&self) -> (Position, Position) {
        (self.next_avail, self.next_used)
    }
}

fn write_flag(piece: &Piece) -> u16 {
    if piece.device_writes { ring::DESC_WRITE } else { 0 }
}

fn four(bytes: &[u8]) -> [u8; 4] {
    bytes.try_into().expect("four bytes")
}

#[cfg(test)]
#[path = "queue_packed_tests.rs"]
mod tests;

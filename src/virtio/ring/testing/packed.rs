//! The driver's side of a packed ring. It counts descriptors since the beginning and works out places and turns from that,
//! as the device does not.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Buffer, FakeDriver, INDIRECT, NEXT, RING_AT, Ring, RingFeatures, RingLayout};
use crate::dma::{Gpa, MemMap};

/// `VIRTQ_DESC_F_AVAIL`.
pub const AVAIL: u16 = 0x80;
/// `VIRTQ_DESC_F_USED`.
pub const USED: u16 = 0x8000;
/// `RING_EVENT_FLAGS_ENABLE`.
pub const ENABLE: u16 = 0;
/// `RING_EVENT_FLAGS_DISABLE`.
pub const DISABLE: u16 = 1;
/// `RING_EVENT_FLAGS_DESC`.
pub const DESC: u16 = 2;

/// A driver that owns one packed ring.
#[derive(Debug)]
pub struct PackedDriver {
    memory: FakeDriver,
    features: RingFeatures,
    /// Descriptors made available since the beginning.
    pub made: u64,
    /// Descriptors got back since the beginning.
    pub back: u64,
    free: Vec<u16>,
    lens: HashMap<u16, u16>,
}

impl PackedDriver {
    /// A ring of `size` entries in memory of its own.
    pub fn new(size: u16, features: RingFeatures) -> Self {
        Self::over(FakeDriver::new(1, features), Self::layout_at(RING_AT, size), features)
    }

    /// A ring of `size` entries in memory that is there.
    pub fn in_map(map: Arc<MemMap>, size: u16, features: RingFeatures) -> Self {
        Self::laid_out(map, Self::layout_at(RING_AT, size), features)
    }

    /// The same anywhere in it.
    pub fn laid_out(map: Arc<MemMap>, layout: RingLayout, features: RingFeatures) -> Self {
        Self::over(FakeDriver::in_map(map, layout, features), layout, features)
    }

    fn over(mut memory: FakeDriver, layout: RingLayout, features: RingFeatures) -> Self {
        memory.layout = layout;
        let free = (0..layout.size).rev().collect();
        Self { memory, features, made: 0, back: 0, free, lens: HashMap::new() }
    }

    /// The three areas one behind the other, from `base` on.
    pub fn layout_at(base: u64, size: u16) -> RingLayout {
        let driver = base + 16 * u64::from(size);
        RingLayout { size, desc: Gpa(base), avail: Gpa(driver), used: Gpa(driver + 4) }
    }

    /// Guest memory.
    pub fn map(&self) -> &Arc<MemMap> {
        self.memory.map()
    }

    /// Where the ring is.
    pub fn layout(&self) -> RingLayout {
        self.memory.layout()
    }

    /// The device's side of this ring, started.
    pub fn ring(&self) -> Ring {
        let mut ring = Ring::packed(self.layout(), self.features, self.map()).expect("the layout is legal");
        ring.start();
        ring
    }

    /// Writes guest memory.
    pub fn write(&self, gpa: u64, bytes: &[u8]) {
        self.memory.write(gpa, bytes);
    }

    /// Reads guest memory.
    pub fn read(&self, gpa: u64, len: usize) -> Vec<u8> {
        self.memory.read(gpa, len)
    }

    /// Descriptor `index` of the ring.
    pub fn bytes(&self, index: u16) -> [u8; 16] {
        self.read(self.layout().desc.0 + 16 * u64::from(index), 16).try_into().expect("sixteen bytes")
    }

    /// Writes descriptor `index` of the table or ring at `table`.
    pub fn write_descriptor(&self, table: u64, index: u16, buffer: Buffer, id: u16, flags: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&buffer.gpa.to_le_bytes());
        bytes[8..12].copy_from_slice(&buffer.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&id.to_le_bytes());
        bytes[14..].copy_from_slice(&(buffer.flags() | flags).to_le_bytes());
        self.write(table + 16 * u64::from(index), &bytes);
    }

    /// The marks of a descriptor that is made available, `ahead` descriptors from the next one on.
    fn marks(&self, ahead: u64) -> u16 {
        if self.turn(self.made + ahead).is_multiple_of(2) { AVAIL } else { USED }
    }

    fn turn(&self, count: u64) -> u64 {
        count / u64::from(self.layout().size)
    }

    fn index(&self, count: u64) -> u16 {
        (count % u64::from(self.layout().size)) as u16
    }

    /// Makes descriptors available as they are: each a buffer, an id, and flags beside those of direction and turn.
    pub fn offer(&mut self, descriptors: &[(Buffer, u16, u16)]) {
        for (ahead, (buffer, id, flags)) in (0..descriptors.len() as u32).zip(descriptors).rev() {
            let ahead = u64::from(ahead);
            let (index, flags) = (self.index(self.made + ahead), flags | self.marks(ahead));
            self.write_descriptor(self.layout().desc.0, index, *buffer, *id, flags);
        }
        self.made += descriptors.len() as u64;
    }

    /// The id that the next chain will have, if there is one.
    pub fn free_id(&self) -> Option<u16> {
        self.free.last().copied()
    }

    /// Makes a chain of direct descriptors available. Returns its id, or none if descriptors are short.
    pub fn add(&mut self, buffers: &[Buffer]) -> Option<u16> {
        let with_driver = self.made - self.back + buffers.len() as u64;
        let id = *self.free.last()?;
        if with_driver > u64::from(self.layout().size) {
            return None;
        }
        let last = buffers.len() - 1;
        // Only the id of the last one counts.
        let descriptor = |(place, buffer): (usize, &Buffer)| {
            if place == last { (*buffer, id, 0) } else { (*buffer, !id, NEXT) }
        };
        let descriptors: Vec<_> = buffers.iter().enumerate().map(descriptor).collect();
        self.free.pop();
        self.lens.insert(id, buffers.len() as u16);
        self.offer(&descriptors);
        Some(id)
    }

    /// Makes a chain in an indirect table of `buffers` at `table` available.
    pub fn add_indirect(&mut self, table: u64, buffers: &[Buffer]) -> Option<u16> {
        for (index, buffer) in (0..).zip(buffers) {
            self.write_descriptor(table, index, *buffer, 0, 0);
        }
        if self.made - self.back == u64::from(self.layout().size) {
            return None;
        }
        let id = self.free.pop().expect("as many ids as descriptors");
        self.lens.insert(id, 1);
        self.offer(&[(Buffer::readable(table, 16 * buffers.len() as u32), id, INDIRECT)]);
        Some(id)
    }

    /// The next used descriptor, id, length and flags without the marks, if the device published one.
    pub fn take_used(&mut self) -> Option<(u16, u32, u16)> {
        let bytes = self.bytes(self.index(self.back));
        let flags = u16::from_le_bytes([bytes[14], bytes[15]]);
        let marks = if self.turn(self.back).is_multiple_of(2) { AVAIL | USED } else { 0 };
        if flags & (AVAIL | USED) != marks || self.lens.is_empty() {
            return None;
        }
        let id = u16::from_le_bytes([bytes[12], bytes[13]]);
        self.back += u64::from(self.lens.remove(&id).expect("the id of a chain that is with the device"));
        self.free.push(id);
        Some((id, u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes")), flags & !(AVAIL | USED)))
    }

    /// Asks for interrupts: always, never, or when the descriptor is used that is `count` since the beginning.
    pub fn set_event(&self, flags: u16, count: u64) {
        let wrap = if self.turn(count).is_multiple_of(2) { 0x8000 } else { 0 };
        let [low, high] = (self.index(count) | wrap).to_le_bytes();
        let [flags, reserved] = flags.to_le_bytes();
        self.write(self.layout().avail.0, &[low, high, flags, reserved]);
    }

    /// The device's event suppression.
    pub fn device_event(&self) -> [u8; 4] {
        self.read(self.layout().used.0, 4).try_into().expect("four bytes")
    }

    /// Whether a driver that has just made `count` descriptors available has to ring.
    pub fn must_ring(&self, count: u64) -> bool {
        let event = self.device_event();
        let at = u16::from_le_bytes([event[0], event[1]]);
        match u16::from_le_bytes([event[2], event[3]]) {
            ENABLE => true,
            DISABLE => false,
            DESC => (self.made - count..self.made).any(|made| {
                let wrap = if self.turn(made).is_multiple_of(2) { 0x8000 } else { 0 };
                self.index(made) | wrap == at
            }),
            other => panic!("{other} is reserved"),
        }
    }
}

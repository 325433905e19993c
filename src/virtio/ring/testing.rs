//! The driver's side of a split ring (a packed one is below), for the tests of every room that works on rings: it lays out real rings in guest
//! memory, and can break any rule.

pub mod either;
pub mod packed;

use std::collections::HashMap;
use std::sync::Arc;

use bdev::Segment;

use super::{Chain, Head, Popped, Ring, RingFeatures, RingLayout};
use crate::dma::{Access, Gpa, MemMap, RegionCache, testing};

/// `VIRTQ_DESC_F_NEXT`.
pub const NEXT: u16 = 1;
/// `VIRTQ_DESC_F_WRITE`.
pub const WRITE: u16 = 2;
/// `VIRTQ_DESC_F_INDIRECT`.
pub const INDIRECT: u16 = 4;

/// Length of the memory that [`FakeDriver::new`] makes, from address 0 on.
pub const MEMORY_LEN: usize = 0x4_0000;
/// Where it lays out the ring. It is above 0, for an address of 0 means "not set" to some.
pub const RING_AT: u64 = 0x1000;
/// From here to the end the memory is free, for rings of up to 1024 entries.
pub const DATA_AT: u64 = 0x1_0000;

/// A buffer of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// First byte.
    pub gpa: u64,
    /// Length in bytes.
    pub len: u32,
    /// For the device to write.
    pub writable: bool,
}

impl Buffer {
    /// A buffer that the device reads.
    pub fn readable(gpa: u64, len: u32) -> Self {
        Self { gpa, len, writable: false }
    }

    /// A buffer that the device writes.
    pub fn writable(gpa: u64, len: u32) -> Self {
        Self { gpa, len, writable: true }
    }

    fn flags(&self) -> u16 {
        if self.writable { WRITE } else { 0 }
    }
}

/// A driver that owns one ring.
#[derive(Debug)]
pub struct FakeDriver {
    map: Arc<MemMap>,
    layout: RingLayout,
    features: RingFeatures,
    next_avail: u16,
    used_seen: u16,
    free: Vec<u16>,
    chains: HashMap<u16, Vec<u16>>,
}

impl FakeDriver {
    /// A ring of `size` entries in memory of its own.
    pub fn new(size: u16, features: RingFeatures) -> Self {
        let map = Arc::new(MemMap::new(vec![testing::region(0, MEMORY_LEN)]));
        Self::in_map(map, Self::layout_at(RING_AT, size), features)
    }

    /// A ring in memory that is there.
    pub fn in_map(map: Arc<MemMap>, layout: RingLayout, features: RingFeatures) -> Self {
        let free = (0..layout.size).rev().collect();
        Self { map, layout, features, next_avail: 0, used_seen: 0, free, chains: HashMap::new() }
    }

    /// The three areas one behind the other, from `base` on.
    pub fn layout_at(base: u64, size: u16) -> RingLayout {
        let avail = base + 16 * u64::from(size);
        let used = (avail + 6 + 2 * u64::from(size)).next_multiple_of(4);
        RingLayout { size, desc: Gpa(base), avail: Gpa(avail), used: Gpa(used) }
    }

    /// Guest memory.
    pub fn map(&self) -> &Arc<MemMap> {
        &self.map
    }

    /// Where the ring is.
    pub fn layout(&self) -> RingLayout {
        self.layout
    }

    /// The device's side of this ring, started.
    pub fn ring(&self) -> Ring {
        let mut ring = Ring::split(self.layout, self.features, &self.map).expect("the layout is legal");
        ring.start();
        ring
    }

    /// Writes guest memory.
    pub fn write(&self, gpa: u64, bytes: &[u8]) {
        let mut done = 0;
        self.each_piece(gpa, bytes.len(), Access::Write, |piece| {
            piece.write(0, &bytes[done..done + piece.len()]);
            done += piece.len();
        });
    }

    /// Reads guest memory.
    pub fn read(&self, gpa: u64, len: usize) -> Vec<u8> {
        let (mut bytes, mut done) = (vec![0; len], 0);
        self.each_piece(gpa, len, Access::Read, |piece| {
            piece.read(0, &mut bytes[done..done + piece.len()]);
            done += piece.len();
        });
        bytes
    }

    fn each_piece(&self, gpa: u64, len: usize, access: Access, mut visit: impl FnMut(Segment)) {
        let emit = |piece, _| {
            visit(piece);
            Ok(())
        };
        self.map.translate(&mut RegionCache::default(), (Gpa(gpa), len as u64), access, emit).expect("it is mapped");
    }

    fn write_u16(&self, gpa: u64, value: u16) {
        self.write(gpa, &value.to_le_bytes());
    }

    fn read_u16(&self, gpa: u64) -> u16 {
        u16::from_le_bytes(self.read(gpa, 2).try_into().expect("two bytes"))
    }

    /// Writes descriptor `index` of the table at `table`.
    pub fn write_descriptor(&self, table: u64, index: u16, buffer: Buffer, flags: u16, next: u16) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&buffer.gpa.to_le_bytes());
        bytes[8..12].copy_from_slice(&buffer.len.to_le_bytes());
        bytes[12..14].copy_from_slice(&(buffer.flags() | flags).to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.write(table + 16 * u64::from(index), &bytes);
    }

    /// Writes descriptor `index` of the ring.
    pub fn descriptor(&self, index: u16, buffer: Buffer, flags: u16, next: u16) {
        self.write_descriptor(self.layout.desc.0, index, buffer, flags, next);
    }

    /// Writes an indirect table with `buffers` one after the other, and gives the buffer that names it.
    pub fn table(&self, gpa: u64, buffers: &[Buffer]) -> Buffer {
        for (index, buffer) in (0_u16..).zip(buffers) {
            let last = usize::from(index) + 1 == buffers.len();
            self.write_descriptor(gpa, index, *buffer, if last { 0 } else { NEXT }, if last { 0 } else { index + 1 });
        }
        Buffer::readable(gpa, 16 * buffers.len() as u32)
    }

    /// Makes a chain of direct descriptors available. Returns its head, or none if descriptors are short.
    pub fn add(&mut self, buffers: &[Buffer]) -> Option<u16> {
        self.add_with_table(buffers, None)
    }

    /// Makes a chain of `direct` descriptors and then an indirect table of `buffers` at `table` available.
    pub fn add_indirect(&mut self, table: u64, direct: &[Buffer], buffers: &[Buffer]) -> Option<u16> {
        let table = self.table(table, buffers);
        self.add_with_table(direct, Some(table))
    }

    fn add_with_table(&mut self, direct: &[Buffer], table: Option<Buffer>) -> Option<u16> {
        let all: Vec<_> =
            direct.iter().map(|buffer| (*buffer, 0)).chain(table.map(|table| (table, INDIRECT))).collect();
        let from = self.free.len().checked_sub(all.len())?;
        let taken: Vec<u16> = self.free.split_off(from).into_iter().rev().collect();
        for (position, (buffer, flags)) in all.into_iter().enumerate() {
            let next = taken.get(position + 1);
            let flags = flags | if next.is_some() { NEXT } else { 0 };
            self.descriptor(taken[position], buffer, flags, next.copied().unwrap_or(0));
        }
        let head = taken[0];
        self.chains.insert(head, taken);
        self.offer(head);
        Some(head)
    }

    /// Puts `head` into the available ring and moves the index on, whatever it is.
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.next_avail % self.layout.size);
        self.write_u16(self.layout.avail.0 + 4 + 2 * slot, head);
        self.set_avail_idx(self.next_avail.wrapping_add(1));
    }

    /// Sets the available index, whatever it is.
    pub fn set_avail_idx(&mut self, index: u16) {
        self.next_avail = index;
        self.write_u16(self.layout.avail.0 + 2, index);
    }

    /// The next used entry, id and length, if the device published one. Its descriptors are free again.
    pub fn take_used(&mut self) -> Option<(u16, u32)> {
        if self.used_seen == self.used_idx() {
            return None;
        }
        let slot = u64::from(self.used_seen % self.layout.size);
        let entry = self.read(self.layout.used.0 + 4 + 8 * slot, 8);
        self.used_seen = self.used_seen.wrapping_add(1);
        let id = u32::from_le_bytes(entry[..4].try_into().expect("four bytes"));
        let id = u16::try_from(id).expect("an id names a descriptor");
        self.free.extend(self.chains.remove(&id).into_iter().flatten());
        Some((id, u32::from_le_bytes(entry[4..].try_into().expect("four bytes"))))
    }

    /// `used.idx`.
    pub fn used_idx(&self) -> u16 {
        self.read_u16(self.layout.used.0 + 2)
    }

    /// `used.flags`: 1 asks for no doorbells.
    pub fn used_flags(&self) -> u16 {
        self.read_u16(self.layout.used.0)
    }

    /// The device's event index: it wants a doorbell when the available index passes it.
    pub fn avail_event(&self) -> u16 {
        self.read_u16(self.layout.used.0 + 4 + 8 * u64::from(self.layout.size))
    }

    /// Whether a driver that moves the available index from `old` to `new` has to ring.
    pub fn must_ring(&self, old: u16, new: u16) -> bool {
        if self.features.event_idx {
            new.wrapping_sub(self.avail_event()).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.used_flags() & 1 == 0
        }
    }

    /// Sets the driver's event index: it wants an interrupt when the used index passes it.
    pub fn set_used_event(&self, index: u16) {
        self.write_u16(self.layout.avail.0 + 4 + 2 * u64::from(self.layout.size), index);
    }

    /// Sets `avail.flags`.
    pub fn set_no_interrupt(&self, no_interrupt: bool) {
        self.write_u16(self.layout.avail.0, u16::from(no_interrupt));
    }
}

/// A chain of requests to test parsers with: the readable bytes cut into pieces as given, and writable pieces of the
/// lengths given, filled with AAh. Returns the driver, for its memory, and the address of the first writable piece: they
/// follow each other.
pub fn chain_of(readable: &[&[u8]], writable: &[u32]) -> (FakeDriver, Chain, u64) {
    let mut driver = FakeDriver::new(512, RingFeatures::default());
    let (mut at, mut buffers) = (DATA_AT, Vec::new());
    for bytes in readable {
        driver.write(at, bytes);
        buffers.push(Buffer::readable(at, bytes.len() as u32));
        at += bytes.len() as u64;
    }
    let writable_at = at;
    for len in writable {
        driver.write(at, &vec![0xaa; *len as usize]);
        buffers.push(Buffer::writable(at, *len));
        at += u64::from(*len);
    }
    driver.add(&buffers).expect("the ring has room");
    let (mut ring, mut chain) = (driver.ring(), Chain::new());
    assert_eq!(ring.available(), Ok(1));
    let _ = pop_one(&mut ring, driver.map(), &mut chain);
    (driver, chain, writable_at)
}

/// Pops a chain that must be there.
pub fn pop_one(ring: &mut Ring, map: &MemMap, chain: &mut Chain) -> Head {
    match ring.pop(map, chain) {
        Ok(Popped::Chain(head)) => head,
        other => panic!("a chain was expected, not {other:?}"),
    }
}

//! Guest memory of a queue's requests: one slot for each that can be in flight, laid out when the queue starts.
//!
//! Slot `n` always has the same header, response, data and descriptors, so that a request is made by writing its fields
//! and nothing is looked for. Descriptors are written anew for each request, as drivers do that get their buffers from
//! others: a device must not find them in its cache only because this one could leave them alone.

use crate::guest::Result;
use crate::guest::memory::{GuestMemory, Window};
use crate::guest::scsi::Lun;
use crate::guest::spec::{response, ring, scsi};

use super::ring::DriverRing;
use super::work::Io;

/// Slots share no cache line, and no pair of lines that is fetched together.
const LINE: usize = 128;
const PAGE: usize = 4096;
/// Bytes of a slot before its table: a line pair for the request, one for the response.
const RESPONSE_AT: usize = LINE;
/// Descriptors of a chain beside those of data: request and response.
const FIXED_PIECES: usize = 2;
/// Offset of the identifier in the request.
const ID_AT: usize = 8;
/// Offset of the residual count in the response; status and response code follow at 10 and 11.
const RESID_AT: usize = 4;

/// How requests are laid out.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Requests in flight at most.
    pub depth: u16,
    /// Pieces of data.
    pub segments: u16,
    /// Descriptors are in an indirect table.
    pub indirect: bool,
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of the longest request.
    pub max_bytes: u32,
    /// Bytes of a CDB in a request.
    pub cdb_size: usize,
    /// Bytes of sense in a response.
    pub sense_size: usize,
}

impl Layout {
    /// Descriptors of the ring that a request takes.
    pub fn ring_entries(&self) -> usize {
        if self.indirect { 1 } else { FIXED_PIECES + usize::from(self.segments) }
    }

    fn table_len(&self) -> usize {
        let pieces = FIXED_PIECES + usize::from(self.segments);
        if self.indirect { (pieces * ring::DESCRIPTOR_LEN).next_multiple_of(LINE) } else { 0 }
    }

    fn response_len(&self) -> usize {
        scsi::RESPONSE_HEADER_LEN + self.sense_size
    }

    fn table_at(&self) -> usize {
        RESPONSE_AT + self.response_len().next_multiple_of(LINE)
    }

    fn stride(&self) -> usize {
        self.table_at() + self.table_len()
    }

    fn data_stride(&self) -> usize {
        (self.max_bytes as usize).next_multiple_of(PAGE)
    }

    /// Bytes of guest memory that all slots take, with room for alignment.
    pub fn memory(&self) -> usize {
        usize::from(self.depth) * (self.stride() + self.data_stride()) + 2 * PAGE
    }
}

/// How a request ended, as its response says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Transport's response code.
    pub response: u8,
    /// SCSI status.
    pub status: u8,
    /// Bytes not transferred.
    pub resid: u32,
}

impl Outcome {
    /// All of it was done.
    pub const GOOD: Self = Self { response: response::OK, status: 0, resid: 0 };
}

/// The slots of one queue.
#[derive(Debug)]
pub struct Slots {
    layout: Layout,
    /// Requests, responses and tables.
    meta: Window,
    data: Window,
    /// Bytes of all pieces but the last, if data has several.
    piece: u32,
    /// Writes an impossible answer before each request, so that a missing one shows.
    poison: bool,
}

impl Slots {
    /// Slots for requests to `lun`.
    ///
    /// # Errors
    /// No room in memory.
    pub fn new(memory: &mut GuestMemory, layout: Layout, lun: Lun, poison: bool) -> Result<Self> {
        assert!(scsi::REQUEST_HEADER_LEN + layout.cdb_size <= RESPONSE_AT && layout.cdb_size >= 16);
        let depth = usize::from(layout.depth);
        let meta = memory.allocate(depth * layout.stride(), PAGE)?;
        let data = memory.allocate(depth * layout.data_stride(), PAGE)?;
        for slot in 0..depth {
            meta.write(slot * layout.stride(), &lun.0);
        }
        // Pieces of whole blocks, as many as data has: short requests have fewer.
        let blocks = layout.max_bytes / layout.block_size;
        let piece = blocks.div_ceil(layout.segments.into()) * layout.block_size;
        Ok(Self { layout, meta, data, piece, poison })
    }

    /// How many there are.
    pub fn depth(&self) -> u16 {
        self.layout.depth
    }

    /// Bytes of data in `slot`, from `offset` on.
    #[inline]
    pub fn read_data(&self, slot: u16, offset: usize, into: &mut [u8]) {
        self.data.read(usize::from(slot) * self.layout.data_stride() + offset, into);
    }

    /// Sets bytes of data in `slot`, from `offset` on.
    #[inline]
    pub fn write_data(&self, slot: u16, offset: usize, bytes: &[u8]) {
        self.data.write(usize::from(slot) * self.layout.data_stride() + offset, bytes);
    }

    /// Makes a request in `slot` and its chain in `ring`; returns the chain's head.
    #[inline]
    pub fn prepare(&self, slot: u16, io: Io, ring: &DriverRing) -> u16 {
        let at = usize::from(slot) * self.layout.stride();
        self.meta.write(at + ID_AT, &u64::from(slot).to_le_bytes());
        self.meta.write(at + scsi::REQUEST_HEADER_LEN, &cdb(io));
        if self.poison {
            self.meta.write(at + RESPONSE_AT + RESID_AT, &[0xFF; 8]);
        }
        let first = if self.layout.indirect { 0 } else { slot * self.layout.ring_entries() as u16 };
        let chain = Chain { slots: self, ring, table: at + self.layout.table_at(), next: first };
        let pieces = chain.write(slot, at, io);
        if !self.layout.indirect {
            return first;
        }
        let table = self.meta.gpa().plus((at + self.layout.table_at()) as u64).0;
        let len = u32::from(pieces) * ring::DESCRIPTOR_LEN as u32;
        ring.write_descriptor(slot, &descriptor(table, len, ring::DESC_INDIRECT, 0));
        slot
    }

    /// Asks for the lines that the end of the request in `slot` and the next request in it will touch.
    #[inline]
    pub fn prefetch(&self, slot: u16, ring: &DriverRing) {
        let at = usize::from(slot) * self.layout.stride();
        self.meta.prefetch(at + RESPONSE_AT);
        self.meta.prefetch_to_write(at);
        if self.layout.indirect {
            self.meta.prefetch_to_write(at + self.layout.table_at());
            ring.prefetch_descriptor(slot);
        } else {
            let first = slot * self.layout.ring_entries() as u16;
            ring.prefetch_descriptor(first);
            ring.prefetch_descriptor(first + FIXED_PIECES as u16);
        }
    }

    /// The slot of a chain that came back, if there can be one with that head.
    #[inline]
    pub fn slot_of(&self, head: u32) -> Option<u16> {
        let slot = if self.layout.indirect {
            head
        } else {
            // The usual chain of three has its divisor known, which makes it a multiplication.
            match self.layout.ring_entries() as u32 {
                3 if head.is_multiple_of(3) => head / 3,
                entries if head.is_multiple_of(entries) => head / entries,
                _ => return None,
            }
        };
        (slot < u32::from(self.layout.depth)).then_some(slot as u16)
    }

    /// What the device says of the request in `slot`.
    #[inline]
    pub fn outcome(&self, slot: u16) -> Outcome {
        let mut bytes = [0; 8];
        self.meta.read(usize::from(slot) * self.layout.stride() + RESPONSE_AT + RESID_AT, &mut bytes);
        let [a, b, c, d, _, _, status, response] = bytes;
        Outcome { response, status, resid: u32::from_le_bytes([a, b, c, d]) }
    }

    /// Sense of the request in `slot`: key, code, qualifier, if it is of fixed format.
    pub fn sense(&self, slot: u16) -> (u8, u8, u8) {
        let mut bytes = [0; 14];
        let at = usize::from(slot) * self.layout.stride() + RESPONSE_AT + scsi::RESPONSE_HEADER_LEN;
        self.meta.read(at, &mut bytes);
        (bytes[2] & 0xF, bytes[12], bytes[13])
    }
}

/// A chain that is being written.
struct Chain<'a> {
    slots: &'a Slots,
    ring: &'a DriverRing,
    /// Offset of the table in `meta`.
    table: usize,
    /// Index of the next descriptor, in the ring or in the table.
    next: u16,
}

impl Chain<'_> {
    /// Request, data out, response, data in (5.6.6.1). How many descriptors that took.
    #[inline]
    fn write(mut self, slot: u16, at: usize, io: Io) -> u16 {
        let (first, slots) = (self.next, self.slots);
        let meta = slots.meta.gpa().plus(at as u64).0;
        let data = slots.data.gpa().plus((usize::from(slot) * slots.layout.data_stride()) as u64).0;
        let bytes = io.blocks * slots.layout.block_size;
        self.piece(meta, (scsi::REQUEST_HEADER_LEN + slots.layout.cdb_size) as u32, ring::DESC_NEXT);
        let response = (meta + RESPONSE_AT as u64, slots.layout.response_len() as u32);
        if io.write {
            self.data(data, bytes, ring::DESC_NEXT, true);
            self.piece(response.0, response.1, ring::DESC_WRITE);
        } else {
            self.piece(response.0, response.1, ring::DESC_WRITE | ring::DESC_NEXT);
            self.data(data, bytes, ring::DESC_WRITE, false);
        }
        self.next - first
    }

    #[inline]
    fn data(&mut self, mut gpa: u64, mut bytes: u32, flags: u16, goes_on: bool) {
        while bytes > self.slots.piece {
            self.piece(gpa, self.slots.piece, flags | ring::DESC_NEXT);
            gpa += u64::from(self.slots.piece);
            bytes -= self.slots.piece;
        }
        self.piece(gpa, bytes, if goes_on { flags | ring::DESC_NEXT } else { flags });
    }

    #[inline]
    fn piece(&mut self, gpa: u64, len: u32, flags: u16) {
        let bytes = descriptor(gpa, len, flags, if flags & ring::DESC_NEXT == 0 { 0 } else { self.next + 1 });
        if self.slots.layout.indirect {
            self.slots.meta.write(self.table + usize::from(self.next) * ring::DESCRIPTOR_LEN, &bytes);
        } else {
            self.ring.write_descriptor(self.next, &bytes);
        }
        self.next += 1;
    }
}

/// A descriptor's 16 bytes (2.7.5).
#[inline]
fn descriptor(addr: u64, len: u32, flags: u16, next: u16) -> [u8; ring::DESCRIPTOR_LEN] {
    (u128::from(addr) | u128::from(len) << 64 | u128::from(flags) << 96 | u128::from(next) << 112).to_le_bytes()
}

/// READ (10) or WRITE (10) where it reaches, else the command of 16 bytes (SBC-4).
#[inline]
fn cdb(io: Io) -> [u8; 16] {
    let long = io.lba > u64::from(u32::MAX) || io.blocks > u32::from(u16::MAX);
    if long {
        let opcode: u128 = if io.write { 0x8A } else { 0x88 };
        return (opcode << 120 | u128::from(io.lba) << 48 | u128::from(io.blocks) << 16).to_be_bytes();
    }
    let opcode: u128 = if io.write { 0x2A } else { 0x28 };
    (opcode << 120 | u128::from(io.lba) << 80 | u128::from(io.blocks) << 56).to_be_bytes()
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;

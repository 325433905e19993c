//! Guest memory of a queue's requests: one slot for each that can be in flight, laid out when the queue starts.
//!
//! Slot `n` always has the same header, response and data, so that a request is made by writing its fields and nothing is
//! looked for. Descriptors are written anew for each request, as drivers do that get their buffers from others: a device
//! must not find them in its cache only because this one could leave them alone.

use crate::guest::Result;
use crate::guest::memory::{GuestMemory, Window};
use crate::guest::scsi::Lun;
use crate::guest::spec::{response, ring, scsi};

use super::ring::{Buffer, DriverRing};
use super::work::Io;

/// Slots share no cache line, and no pair of lines that is fetched together.
const LINE: usize = 128;
const PAGE: usize = 4096;
/// Bytes of a slot before its table: a line pair for the request, one for the response.
const RESPONSE_AT: usize = LINE;
/// Descriptors of a chain beside those of data: request and response.
const FIXED_PIECES: usize = 2;
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
    /// How far from a page boundary data begins.
    pub align_offset: u16,
    /// Requests and responses are on pages of their own.
    pub scatter: bool,
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
    /// Descriptors of a chain at most.
    fn chain_len(&self) -> usize {
        FIXED_PIECES + usize::from(self.segments)
    }

    /// Descriptors of the ring that a request takes at most.
    pub fn ring_entries(&self) -> usize {
        if self.indirect { 1 } else { self.chain_len() }
    }

    fn response_len(&self) -> usize {
        scsi::RESPONSE_HEADER_LEN + self.sense_size
    }

    fn table_at(&self) -> usize {
        RESPONSE_AT + self.response_len().next_multiple_of(LINE)
    }

    /// Bytes of request, response and table.
    fn meta_len(&self) -> usize {
        let table = if self.indirect { self.chain_len() * ring::DESCRIPTOR_LEN } else { 0 };
        self.table_at() + table.next_multiple_of(LINE)
    }

    /// Bytes from one slot to the next.
    fn stride(&self) -> usize {
        // Each begins at another place of its first page.
        if self.scatter { self.meta_len().next_multiple_of(PAGE) + PAGE } else { self.meta_len() }
    }

    /// Where slot number `slot` begins in its part of a pile: at a place of its page where few others begin, for such share a
    /// set of the caches.
    fn shift(&self, slot: usize) -> usize {
        if self.scatter { slot * self.meta_len() % PAGE } else { 0 }
    }

    /// Bytes of a piece of data, all but the last of a request: whole blocks, so that short requests have fewer pieces.
    fn piece(&self) -> u32 {
        (self.max_bytes / self.block_size).div_ceil(self.segments.into()) * self.block_size
    }

    fn data_len(&self) -> usize {
        (self.max_bytes.div_ceil(self.piece()) * self.piece()) as usize
    }

    /// Bytes of guest memory that `slots` of them take, with room for alignment.
    pub fn memory(&self, slots: usize) -> usize {
        let data = (usize::from(self.align_offset) + self.data_len()).next_multiple_of(PAGE);
        slots * (self.stride() + data) + 3 * PAGE
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

/// Where the buffers of a slot are.
#[derive(Debug)]
struct Place {
    /// Request, response and table.
    meta: Window,
    meta_gpa: u64,
    data: Window,
    data_gpa: u64,
}

/// The slots of one queue.
#[derive(Debug)]
pub struct Slots {
    layout: Layout,
    places: Vec<Place>,
    /// The logical units, as requests name them.
    luns: Vec<Lun>,
    /// Bytes of all pieces but the last, if data has several.
    piece: u32,
    /// Where the first piece is in data. The others come before it, so that no two are one run of bytes.
    first_piece: u32,
    /// Writes an impossible answer before each request, so that a missing one shows.
    poison: bool,
}

impl Slots {
    /// Slots for requests to `luns`, dealt out over the regions of memory.
    ///
    /// # Errors
    /// No room in memory.
    pub fn new(memory: &mut GuestMemory, layout: Layout, luns: Vec<Lun>, poison: bool) -> Result<Self> {
        assert!(scsi::REQUEST_HEADER_LEN + layout.cdb_size <= RESPONSE_AT && layout.cdb_size >= 16);
        let (depth, regions) = (usize::from(layout.depth), memory.regions().count());
        let offset = usize::from(layout.align_offset);
        // What a region has of them lies side by side. In whatever gaps there are between rings, which are all alike, they would
        // be at one place of their pages, and so in one set of the caches.
        let piles = (0..regions.min(depth)).map(|region| {
            // Regions begin at huge pages: the same holds for them.
            if region > 0 {
                memory.allocate_in(region, region * layout.meta_len() % PAGE, LINE)?;
            }
            let align = if layout.scatter { PAGE } else { LINE };
            memory.allocate_in(region, (depth - region).div_ceil(regions) * layout.stride(), align)
        });
        let piles = piles.collect::<Result<Vec<_>>>()?;
        let meta = (0..depth).map(|slot| {
            let at = slot / regions * layout.stride() + layout.shift(slot);
            piles[slot % regions].part(at, layout.meta_len())
        });
        let place = |(slot, meta): (usize, Window)| {
            // A request's header and its data have nothing to do with each other.
            let data = memory.allocate_in((slot + 1) % regions, offset + layout.data_len(), PAGE)?;
            let data = data.part(offset, layout.data_len());
            Ok(Place { meta_gpa: meta.gpa().0, meta, data_gpa: data.gpa().0, data })
        };
        let places = meta.enumerate().map(place).collect::<Result<_>>()?;
        let piece = layout.piece();
        let first_piece = layout.data_len() as u32 - piece;
        Ok(Self { layout, places, luns, piece, first_piece, poison })
    }

    /// How many there are.
    pub fn depth(&self) -> u16 {
        self.layout.depth
    }

    /// Where byte `offset` of a request's data is in the data of its slot.
    #[inline]
    fn data_at(&self, offset: usize) -> usize {
        let piece = self.piece as usize;
        self.first_piece as usize - offset / piece * piece + offset % piece
    }

    /// Bytes of data in `slot`, from `offset` on: not across pieces.
    #[inline]
    pub fn read_data(&self, slot: u16, offset: usize, into: &mut [u8]) {
        self.places[usize::from(slot)].data.read(self.data_at(offset), into);
    }

    /// Sets bytes of data in `slot`, from `offset` on: not across pieces.
    #[inline]
    pub fn write_data(&self, slot: u16, offset: usize, bytes: &[u8]) {
        self.places[usize::from(slot)].data.write(self.data_at(offset), bytes);
    }

    /// Makes a request in `slot` and offers its chain in `ring`.
    #[inline]
    pub fn prepare<R: DriverRing>(&self, slot: u16, io: Io, ring: &mut R) {
        let place = &self.places[usize::from(slot)];
        let names = u128::from(u64::from_le_bytes(self.luns[usize::from(io.unit)].0)) | u128::from(slot) << 64;
        place.meta.write(0, &names.to_le_bytes());
        place.meta.write(scsi::REQUEST_HEADER_LEN, &cdb(io));
        if self.poison {
            place.meta.write(RESPONSE_AT + RESID_AT, &[0xFF; 8]);
        }
        if !self.layout.indirect {
            let count = self.chain(place, io, |index, buffer| ring.put(slot, index, buffer));
            ring.offer(slot, count);
            return;
        }
        let table = self.layout.table_at();
        let count = self.chain(place, io, |index, buffer| {
            place.meta.write(table + usize::from(index) * ring::DESCRIPTOR_LEN, &R::table_entry(index, buffer));
        });
        let (addr, len) = (place.meta_gpa + table as u64, u32::from(count) * ring::DESCRIPTOR_LEN as u32);
        ring.put(slot, 0, Buffer { addr, len, flags: ring::DESC_INDIRECT });
        ring.offer(slot, 1);
    }

    /// Request, data out, response, data in (5.6.6.1): `put` gets each descriptor. How many there are.
    #[inline]
    fn chain(&self, place: &Place, io: Io, mut put: impl FnMut(u16, Buffer)) -> u16 {
        let mut count = 0;
        let mut put = |addr, len, flags| {
            put(count, Buffer { addr, len, flags });
            count += 1;
        };
        let request_len = (scsi::REQUEST_HEADER_LEN + self.layout.cdb_size) as u32;
        put(place.meta_gpa, request_len, ring::DESC_NEXT);
        let (response, response_len) = (place.meta_gpa + RESPONSE_AT as u64, self.layout.response_len() as u32);
        if io.write {
            self.data(place, io, |addr, len, _| put(addr, len, ring::DESC_NEXT));
            put(response, response_len, ring::DESC_WRITE);
        } else {
            put(response, response_len, ring::DESC_WRITE | ring::DESC_NEXT);
            self.data(place, io, |addr, len, next| put(addr, len, ring::DESC_WRITE | next));
        }
        count
    }

    /// Address and length of each piece of data, and the flag that says whether there is another.
    #[inline]
    fn data(&self, place: &Place, io: Io, mut put: impl FnMut(u64, u32, u16)) {
        let mut bytes = io.blocks * self.layout.block_size;
        let mut addr = place.data_gpa + u64::from(self.first_piece);
        while bytes > self.piece {
            put(addr, self.piece, ring::DESC_NEXT);
            addr -= u64::from(self.piece);
            bytes -= self.piece;
        }
        put(addr, bytes, 0);
    }

    /// Asks for the lines that the end of the request in `slot` and the next request in it will touch, if there is such a
    /// slot.
    #[inline]
    pub fn prefetch(&self, slot: u16) {
        let Some(place) = self.places.get(usize::from(slot)) else { return };
        place.meta.prefetch(RESPONSE_AT);
        place.meta.prefetch_to_write(0);
        if self.layout.indirect {
            place.meta.prefetch_to_write(self.layout.table_at());
        }
    }

    /// What the device says of the request in `slot`.
    #[inline]
    pub fn outcome(&self, slot: u16) -> Outcome {
        let mut bytes = [0; 8];
        self.places[usize::from(slot)].meta.read(RESPONSE_AT + RESID_AT, &mut bytes);
        let [a, b, c, d, _, _, status, response] = bytes;
        Outcome { response, status, resid: u32::from_le_bytes([a, b, c, d]) }
    }

    /// Sense of the request in `slot`: key, code, qualifier, if it is of fixed format.
    pub fn sense(&self, slot: u16) -> (u8, u8, u8) {
        let mut bytes = [0; 14];
        self.places[usize::from(slot)].meta.read(RESPONSE_AT + scsi::RESPONSE_HEADER_LEN, &mut bytes);
        (bytes[2] & 0xF, bytes[12], bytes[13])
    }
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

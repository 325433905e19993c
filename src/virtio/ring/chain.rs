//! One chain as host memory: scratch space that is filled anew for each request.

use bdev::Segment;
use bdev::segment::total_len;

use super::{ChainFault, UsualChain};
use crate::dma::{Access, Gpa, MemMap, RegionCache, TranslateError};

/// Pieces of host memory that a chain may have, and descriptors that an indirect table may have: 1024 for data, which is
/// what one vectored operation takes, and room for headers in odd framings and buffers that cross regions.
pub const MAX_SEGMENTS: usize = 1280;

/// Most bytes in a chain (2.7.5).
pub(super) const MAX_TOTAL_LEN: u64 = 1 << 32;

/// A part of a chain that lies in memory which the client does not share. The segment in its place must not be touched:
/// memory of our own is to stand in for it, brought in step by messages before it is read and after it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteRange {
    /// First byte.
    pub gpa: Gpa,
    /// Length in bytes, never 0.
    pub len: u64,
    /// What the device does with it.
    pub access: Access,
    /// Number of its segment, counted from the first of the readable part.
    pub place: usize,
}

/// On cache lines of their own: they are written for each request.
#[derive(Debug)]
#[repr(align(64))]
struct Segments([Segment; MAX_SEGMENTS]);

/// A request's memory: the readable part, then the writable part. Made once, refilled by [`Ring::pop`](super::Ring::pop)
/// without allocation.
#[derive(Debug)]
pub struct Chain {
    segments: Box<Segments>,
    count: usize,
    readable_count: usize,
    readable_len: u64,
    writable_len: u64,
    remote: Vec<RemoteRange>,
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Chain {
    /// An empty chain with room for [`MAX_SEGMENTS`].
    pub fn new() -> Self {
        Self {
            segments: Box::new(Segments([Segment::EMPTY; MAX_SEGMENTS])),
            count: 0,
            readable_count: 0,
            readable_len: 0,
            writable_len: 0,
            remote: Vec::with_capacity(MAX_SEGMENTS),
        }
    }

    /// What the driver wrote for the device.
    #[inline]
    pub fn readable(&self) -> &[Segment] {
        &self.segments.0[..self.readable_count]
    }

    /// What the device may write for the driver.
    #[inline]
    pub fn writable(&self) -> &[Segment] {
        &self.segments.0[self.readable_count..self.count]
    }

    /// Bytes of the readable part.
    #[inline]
    pub fn readable_len(&self) -> u64 {
        self.readable_len
    }

    /// Bytes of the writable part.
    #[inline]
    pub fn writable_len(&self) -> u64 {
        self.writable_len
    }

    /// The parts in memory that the client does not share, in order; nearly always none.
    #[inline]
    pub fn remote(&self) -> &[RemoteRange] {
        &self.remote
    }

    /// Puts `segment` in the place of that of a [`RemoteRange`].
    ///
    /// # Panics
    /// If there is no such segment, or it has another length.
    pub fn replace(&mut self, place: usize, segment: Segment) {
        let old = &mut self.segments.0[..self.count][place];
        assert_eq!(old.len(), segment.len(), "one segment stands in for another of its length");
        *old = segment;
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.readable_count = 0;
        self.readable_len = 0;
        self.writable_len = 0;
        self.remote.clear();
    }

    /// Starts over. The chain describes the new request when [`Filling::finish`] has been called.
    #[inline]
    pub(super) fn fill(&mut self) -> Filling<'_> {
        self.remote.clear();
        Filling { chain: self, count: 0, total_len: 0, readable: None }
    }

    /// Becomes the same as `usual`.
    pub fn describe(&mut self, usual: &UsualChain) {
        let (readable, writable) = (usual.readable(), usual.writable());
        self.readable_count = readable.len();
        self.count = readable.len() + writable.len();
        self.segments.0[..readable.len()].copy_from_slice(readable);
        self.segments.0[readable.len()..self.count].copy_from_slice(writable);
        self.readable_len = total_len(readable);
        self.writable_len = total_len(writable);
        self.remote.clear();
    }

    /// Puts the pieces of a buffer that is not simply in the region of the last hit behind `count` others. Returns how
    /// many there are then.
    #[cold]
    #[inline(never)]
    fn put_pieces(
        &mut self,
        mut count: usize,
        memory: Memory<'_>,
        gpa: Gpa,
        len: u32,
        access: Access,
    ) -> Result<usize, ChainFault> {
        let mut at = gpa.0;
        memory.map.translate(memory.cache, (gpa, u64::from(len)), access, |segment, is_remote| {
            let place = self.segments.0.get_mut(count).ok_or(TranslateError::TooManyPieces(gpa))?;
            *place = segment;
            if is_remote {
                // There are no more ranges than segments, so that the list never grows past what `new` set aside.
                self.remote.push(RemoteRange { gpa: Gpa(at), len: segment.len() as u64, access, place: count });
            }
            count += 1;
            at = at.wrapping_add(segment.len() as u64);
            Ok(())
        })?;
        Ok(count)
    }
}

/// A chain that is being filled. The counters are here and not in [`Chain`], so that they stay in registers for the length
/// of a walk.
pub(super) struct Filling<'a> {
    chain: &'a mut Chain,
    count: usize,
    /// Cannot overflow: there are at most 2^16 descriptors of 2^32 bytes.
    total_len: u64,
    /// Segments and bytes of the readable part, once it has ended.
    readable: Option<(usize, u64)>,
}

impl Filling<'_> {
    /// Adds a descriptor's buffer. One of no bytes is legal and adds nothing, but keeps to the order.
    ///
    /// # Errors
    /// [`ChainFault`]: order, number of pieces, memory.
    #[inline]
    pub fn add(&mut self, memory: Memory<'_>, gpa: Gpa, len: u32, access: Access) -> Result<(), ChainFault> {
        match (access, self.readable) {
            (Access::Read, Some(_)) => return Err(ChainFault::ReadableAfterWritable),
            (Access::Write, None) => self.readable = Some((self.count, self.total_len)),
            _ => {}
        }
        self.total_len += u64::from(len);
        let hit = memory.map.hit(memory.cache, (gpa, u64::from(len)), access);
        match (hit, self.chain.segments.0.get_mut(self.count)) {
            (Some(segment), Some(place)) => {
                *place = segment;
                self.count += 1;
            }
            _ => self.count = self.chain.put_pieces(self.count, memory, gpa, len, access)?,
        }
        Ok(())
    }

    /// The last descriptor was added: the chain describes the request now.
    ///
    /// # Errors
    /// [`ChainFault::TotalLength`].
    #[inline]
    pub fn finish(self) -> Result<(), ChainFault> {
        if self.total_len > MAX_TOTAL_LEN {
            return Err(ChainFault::TotalLength);
        }
        let (readable_count, readable_len) = self.readable.unwrap_or((self.count, self.total_len));
        self.chain.count = self.count;
        self.chain.readable_count = readable_count;
        self.chain.readable_len = readable_len;
        self.chain.writable_len = self.total_len - readable_len;
        Ok(())
    }
}

/// What a walk along a chain looks addresses up in.
pub(super) struct Memory<'a> {
    /// Guest memory.
    pub map: &'a MemMap,
    /// The ring's last hit.
    pub cache: &'a mut RegionCache,
}

impl Memory<'_> {
    /// The same, for a call.
    #[inline]
    pub fn borrow(&mut self) -> Memory<'_> {
        Memory { map: self.map, cache: self.cache }
    }
}

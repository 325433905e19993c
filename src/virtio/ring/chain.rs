//! One chain as host memory: scratch space that is filled anew for each request.

use bdev::Segment;

use super::ChainFault;
use crate::dma::{Access, Gpa, MemMap, RegionCache, TranslateError};

/// Pieces of host memory that a chain may have, and descriptors that an indirect table may have: 1024 for data, which is
/// what one vectored operation takes, and room for headers in odd framings and buffers that cross regions.
pub const MAX_SEGMENTS: usize = 1280;

/// Most bytes in a chain (2.7.5).
const MAX_TOTAL_LEN: u64 = 1 << 32;

/// A part of a chain that lies in memory which the client does not share. Our copy has to be brought in step by
/// messages: before it is read, and after it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteRange {
    /// First byte.
    pub gpa: Gpa,
    /// Length in bytes, never 0.
    pub len: u64,
    /// What the device does with it.
    pub access: Access,
}

/// A request's memory: the readable part, then the writable part. Made once, refilled by [`Ring::pop`](super::Ring::pop)
/// without allocation.
#[derive(Debug)]
pub struct Chain {
    segments: Box<[Segment]>,
    count: usize,
    readable_count: usize,
    writing: bool,
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
            segments: vec![Segment::EMPTY; MAX_SEGMENTS].into_boxed_slice(),
            count: 0,
            readable_count: 0,
            writing: false,
            readable_len: 0,
            writable_len: 0,
            remote: Vec::with_capacity(MAX_SEGMENTS),
        }
    }

    /// What the driver wrote for the device.
    #[inline]
    pub fn readable(&self) -> &[Segment] {
        &self.segments[..self.readable_count]
    }

    /// What the device may write for the driver.
    #[inline]
    pub fn writable(&self) -> &[Segment] {
        &self.segments[self.readable_count..self.count]
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

    /// Forgets everything.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.readable_count = 0;
        self.writing = false;
        self.readable_len = 0;
        self.writable_len = 0;
        self.remote.clear();
    }

    /// Adds a descriptor's buffer. One of no bytes is legal and adds nothing, but keeps to the order.
    ///
    /// # Errors
    /// [`ChainFault`]: order, total length, number of pieces, memory.
    #[inline]
    pub(super) fn add(
        &mut self,
        (map, cache): (&MemMap, &mut RegionCache),
        gpa: Gpa,
        len: u32,
        access: Access,
    ) -> Result<(), ChainFault> {
        match access {
            Access::Read if self.writing => return Err(ChainFault::ReadableAfterWritable),
            Access::Read => self.readable_len += u64::from(len),
            Access::Write => {
                self.writing = true;
                self.writable_len += u64::from(len);
            }
        }
        if self.readable_len + self.writable_len > MAX_TOTAL_LEN {
            return Err(ChainFault::TotalLength);
        }
        let Self { segments, count, remote, .. } = self;
        let mut at = gpa.0;
        map.translate(cache, (gpa, u64::from(len)), access, |segment, is_remote| {
            let place = segments.get_mut(*count).ok_or(TranslateError::TooManyPieces(gpa))?;
            *place = segment;
            *count += 1;
            if is_remote {
                note_remote(remote, RemoteRange { gpa: Gpa(at), len: segment.len() as u64, access });
            }
            at = at.wrapping_add(segment.len() as u64);
            Ok(())
        })?;
        if access == Access::Read {
            self.readable_count = self.count;
        }
        Ok(())
    }
}

/// There are no more ranges than segments, so that the list never grows past what `new` set aside.
#[cold]
fn note_remote(remote: &mut Vec<RemoteRange>, range: RemoteRange) {
    remote.push(range);
}

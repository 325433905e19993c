//! The snapshot of guest memory that a core works with, and translation through it.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::Arc;

use bdev::{Registrar, Segment};

use super::recent::{Recent, RegionCache};

/// An address in the guest's memory, as the device sees it (an I/O virtual address).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Gpa(pub u64);

impl Gpa {
    /// The address `offset` bytes on, if there is one.
    pub fn checked_add(self, offset: u64) -> Option<Self> {
        self.0.checked_add(offset).map(Self)
    }
}

impl std::fmt::Display for Gpa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// What the device wants to do with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The device reads what the guest wrote.
    Read,
    /// The device writes for the guest to read.
    Write,
}

/// Why a guest address could not be translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TranslateError {
    /// No region holds this address.
    #[error("guest address {0} is not mapped")]
    Unmapped(Gpa),
    /// The region does not allow the access.
    #[error("guest address {0} does not allow this access")]
    Denied(Gpa),
    /// Address plus length is past 2^64.
    #[error("guest address {0} plus length wraps around")]
    Wraps(Gpa),
    /// The range is in memory that the client gave no file for, and the use needs shared memory.
    #[error(
        "guest address {0} is in memory that the client does not share; start the virtual machine with shared memory \
         (QEMU: share=on for its memory backend)"
    )]
    NotShared(Gpa),
    /// The range is in more pieces than the caller has room for.
    #[error("guest address {0} is in too many pieces")]
    TooManyPieces(Gpa),
}

/// Host memory behind a region. Dropping it unmaps.
pub trait Mapping: Send + Sync + std::fmt::Debug {
    /// First byte; stays valid, with the length that the region has, until the drop.
    fn base(&self) -> NonNull<u8>;

    /// Whether the client shares this memory. If not, it is a shadow: nobody reads or writes it. It only gives the range
    /// addresses that translation can work with, and memory of the device's own stands in for it request by request.
    fn is_shared(&self) -> bool;

    /// Whether the client took the memory away behind our back. Then its bytes are garbage.
    fn is_lost(&self) -> bool {
        false
    }

    /// Has it registered with io_uring for as long as it is mapped, if it can be. Asked for again, nothing happens.
    fn register(&self, _registrar: &Registrar) {}
}

/// One region of guest memory.
#[derive(Debug, Clone)]
pub struct Region {
    /// First guest address.
    pub start: Gpa,
    /// Length in bytes, never 0; `start + len` does not wrap.
    pub len: u64,
    /// The client lets the device read.
    pub readable: bool,
    /// The client lets the device write.
    pub writable: bool,
    /// Where it is in our own address space.
    pub mapping: Arc<dyn Mapping>,
}

impl Region {
    /// The address behind the last byte.
    pub fn end(&self) -> u64 {
        self.start.0 + self.len
    }
}

/// What translation needs of a region, in one cache line.
#[derive(Debug, Clone, Copy)]
struct Window {
    start: u64,
    len: u64,
    base: NonNull<u8>,
    readable: bool,
    writable: bool,
    shared: bool,
}

impl Window {
    /// What of it may be used without more ado.
    fn recent(&self) -> Recent {
        let reach = |allowed| if allowed && self.shared { self.len } else { 0 };
        Recent::new(Gpa(self.start), self.base, [reach(self.readable), reach(self.writable)])
    }
}

/// An immutable picture of guest memory. Holding it keeps every mapping in it alive.
#[derive(Debug, Default)]
pub struct MemMap {
    windows: Vec<Window>,
    /// For caches of regions.
    shift: u32,
    regions: Vec<Region>,
}

// SAFETY: the raw pointers in `windows` point into the mappings that `regions` keeps alive, and those are Send.
unsafe impl Send for MemMap {}
// SAFETY: the map is immutable.
unsafe impl Sync for MemMap {}

impl MemMap {
    /// A map of `regions`, which do not overlap.
    ///
    /// # Panics
    /// If they overlap: the table checks that before.
    pub fn new(mut regions: Vec<Region>) -> Self {
        regions.sort_by_key(|region| region.start);
        assert!(regions.windows(2).all(|pair| pair[0].end() <= pair[1].start.0));
        let shared = regions.iter().filter(|region| region.mapping.is_shared());
        let ranges: Vec<_> = shared.map(|region| (region.start.0, region.end() - 1)).collect();
        let shift = RegionCache::shift_for(&ranges);
        let windows = regions
            .iter()
            .map(|region| Window {
                start: region.start.0,
                len: region.len,
                base: region.mapping.base(),
                readable: region.readable,
                writable: region.writable,
                shared: region.mapping.is_shared(),
            })
            .collect();
        Self { windows, shift, regions }
    }

    /// The regions, by address.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Has all memory registered that the device may read and write.
    pub fn register(&self, registrar: &Registrar) {
        for region in self.regions.iter().filter(|region| region.readable && region.writable) {
            region.mapping.register(registrar);
        }
    }

    /// The first region whose memory the client took away, if there is one. The device that uses it cannot go on.
    pub fn lost(&self) -> Option<Gpa> {
        self.regions.iter().find(|region| region.mapping.is_lost()).map(|region| region.start)
    }

    /// Translates `len` bytes at `gpa` and hands `emit` each piece of host memory in order. A range may lie in several
    /// regions that touch. `remote` tells whether a piece is in memory that the client does not share.
    ///
    /// # Errors
    /// [`TranslateError`]; pieces before the fault have been emitted.
    #[inline]
    pub fn translate(
        &self,
        cache: &mut RegionCache,
        (gpa, len): (Gpa, u64),
        access: Access,
        mut emit: impl FnMut(Segment, bool) -> Result<(), TranslateError>,
    ) -> Result<(), TranslateError> {
        let (mut at, mut left) = (gpa.0, len);
        if at.checked_add(len).is_none() {
            return Err(TranslateError::Wraps(gpa));
        }
        while left > 0 {
            let window = self.window(at)?;
            cache.remember(Gpa(at), self.shift, window.recent());
            if !match access {
                Access::Read => window.readable,
                Access::Write => window.writable,
            } {
                return Err(TranslateError::Denied(Gpa(at)));
            }
            let offset = at - window.start;
            let part = left.min(window.len - offset);
            // SAFETY: `offset + part` is within the mapping, which `self.regions` keeps alive; whoever holds the segment
            // keeps the snapshot until it is done (the quiesce protocol).
            let segment = unsafe { Segment::new(window.base.add(offset as usize), part as usize) };
            emit(segment, !window.shared)?;
            at = at.wrapping_add(part);
            left -= part;
        }
        Ok(())
    }

    /// The usual case of [`MemMap::translate`], and nothing else: the range has bytes, is whole in one region, shared, and
    /// the access allowed. None says only that it has to be looked up.
    #[inline]
    pub fn hit(&self, cache: &mut RegionCache, range: (Gpa, u64), access: Access) -> Option<Segment> {
        let mut segment = Segment::EMPTY;
        self.hit_into(cache, range, access, &mut segment).then_some(segment)
    }

    /// As [`MemMap::hit`], for a segment that has its place already.
    #[inline]
    pub fn hit_into(&self, cache: &mut RegionCache, range: (Gpa, u64), access: Access, place: &mut Segment) -> bool {
        cache.hit(range, access, place) || self.hit_elsewhere(cache, range, access, place)
    }

    /// A guest with many regions has its data in all of them: not rare enough to go the long way.
    #[inline(never)]
    fn hit_elsewhere(&self, cache: &mut RegionCache, range: (Gpa, u64), access: Access, place: &mut Segment) -> bool {
        let Ok(window) = self.window(range.0.0) else { return false };
        cache.remember(range.0, self.shift, window.recent());
        cache.hit(range, access, place)
    }

    /// Translates a range that must be one piece of shared memory, as rings are.
    ///
    /// # Errors
    /// [`TranslateError`], also if the range is in several pieces or not shared.
    pub fn contiguous(&self, gpa: Gpa, len: u64, access: Access) -> Result<Segment, TranslateError> {
        let mut found: Option<Segment> = None;
        self.translate(&mut RegionCache::default(), (gpa, len), access, |segment, remote| {
            if remote {
                return Err(TranslateError::NotShared(gpa));
            }
            found = Some(match found {
                None => segment,
                Some(before) if before.as_ptr().wrapping_add(before.len()) == segment.as_ptr() => {
                    let base = NonNull::new(before.as_ptr()).expect("a segment's base is not null");
                    // SAFETY: both pieces are mapped, one right behind the other.
                    unsafe { Segment::new(base, before.len() + segment.len()) }
                }
                Some(_) => return Err(TranslateError::TooManyPieces(gpa)),
            });
            Ok(())
        })?;
        Ok(found.unwrap_or(Segment::EMPTY))
    }

    /// The guest address of a segment that translation through this map gave, or a part of one; `None` for other memory.
    pub fn locate(&self, segment: &Segment) -> Option<Gpa> {
        let offset = |window: &Window| (segment.as_ptr().addr() as u64).wrapping_sub(window.base.addr().get() as u64);
        let window = self.windows.iter().find(|window| offset(window) < window.len)?;
        Some(Gpa(window.start + offset(window)))
    }

    /// The region that holds `at`.
    fn window(&self, at: u64) -> Result<&Window, TranslateError> {
        let after = self.windows.partition_point(|window| window.start <= at);
        let window = after.checked_sub(1).map(|index| &self.windows[index]);
        window.filter(|window| at - window.start < window.len).ok_or(TranslateError::Unmapped(Gpa(at)))
    }
}

/// Guest memory on the heap, for the tests of every room.
#[cfg(test)]
pub mod testing {
    use std::sync::OnceLock;

    use bdev::Registration;

    use super::*;

    #[derive(Debug)]
    struct Bytes(Box<[std::cell::UnsafeCell<u8>]>);

    // SAFETY: used by tests as memory shared with a guest, through raw pointers only.
    unsafe impl Send for Bytes {}
    // SAFETY: as above.
    unsafe impl Sync for Bytes {}

    /// A mapping of zeroed heap memory.
    #[derive(Debug)]
    pub struct HeapMapping {
        bytes: Arc<Bytes>,
        shared: bool,
        registration: OnceLock<Registration>,
    }

    impl Mapping for HeapMapping {
        fn base(&self) -> NonNull<u8> {
            NonNull::new(self.bytes.0.as_ptr() as *mut u8).expect("a box is not null")
        }
        fn is_shared(&self) -> bool {
            self.shared
        }
        fn register(&self, registrar: &Registrar) {
            if !self.shared {
                return;
            }
            // SAFETY: the bytes stay until the registrar has let go of them.
            let whole = unsafe { Segment::new(self.base(), self.bytes.0.len()) };
            self.registration.get_or_init(|| registrar.register(whole, self.bytes.clone()));
        }
    }

    /// A readable, writable, shared region of `len` zero bytes at `start`.
    pub fn region(start: u64, len: usize) -> Region {
        region_with(start, len, true)
    }

    /// As [`region`], shared or not.
    pub fn region_with(start: u64, len: usize, shared: bool) -> Region {
        let bytes = Box::into_raw(vec![0_u8; len].into_boxed_slice());
        // SAFETY: a cell lies in memory as what is in it. Made byte by byte it would take the most part of what valgrind counts.
        let bytes = unsafe { Box::from_raw(bytes as *mut [std::cell::UnsafeCell<u8>]) };
        Region {
            start: Gpa(start),
            len: len as u64,
            readable: true,
            writable: true,
            mapping: Arc::new(HeapMapping { bytes: Arc::new(Bytes(bytes)), shared, registration: OnceLock::new() }),
        }
    }
}

#[cfg(test)]
mod tests;

//! The guest's memory: files without a name, mapped here and handed to the device.
//!
//! Owns the mappings and says which parts of them are in use. Never talks to the device: [`Guest`] maps the regions
//! there. Whoever lays out rings or buffers takes a [`Window`] and reads and writes through it, always within bounds.
//!
//! [`Guest`]: super::Guest
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::fs::MemfdFlags;
use rustix::mm::{MapFlags, ProtFlags};

use super::allocator::Allocator;
use super::error::{Error, Result};

/// An address in the guest's memory, as the device sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Gpa(pub u64);

impl Gpa {
    /// The address `offset` bytes on; wraps, for those who want to see what the device makes of that.
    pub const fn plus(self, offset: u64) -> Self {
        Self(self.0.wrapping_add(offset))
    }
}

impl std::fmt::Display for Gpa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// Alignment, and unit of length, of regions that a hugepage driver shares.
pub const HUGE_PAGE: usize = 2 << 20;

/// One region: a memory file, mapped whole.
#[derive(Debug)]
pub struct Region {
    gpa: Gpa,
    len: usize,
    base: NonNull<u8>,
    file: OwnedFd,
}

// SAFETY: the pointer is to shared memory that only `Window` touches, by copies and atomics; it is valid until the drop.
unsafe impl Send for Region {}
// SAFETY: as above; racing with the device is what this memory is for.
unsafe impl Sync for Region {}

impl Region {
    /// `len` bytes, a multiple of the page size, that the device will find at `gpa`.
    ///
    /// # Errors
    /// The kernel has no memory or no file descriptor left.
    pub fn new(gpa: Gpa, len: usize) -> Result<Self> {
        let file = memory_file(len)?;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0)
        }
        .map_err(Error::system("map guest memory"))?;
        let base = NonNull::new(base.cast()).expect("a mapping is never at 0");
        Ok(Self { gpa, len, base, file })
    }

    /// `len` bytes, a multiple of [`HUGE_PAGE`], whose guest address is its address in this process, as drivers in user
    /// space without an IOMMU have it.
    ///
    /// # Errors
    /// The kernel has no memory or no file descriptor left.
    pub fn at_own_address(len: usize) -> Result<Self> {
        let file = memory_file(len)?;
        let reserved = len + HUGE_PAGE;
        // SAFETY: a new mapping at an address of the kernel's choice, that only reserves addresses.
        let room = unsafe {
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), reserved, ProtFlags::empty(), MapFlags::PRIVATE)
        }
        .map_err(Error::system("reserve addresses"))? as usize;
        let start = room.next_multiple_of(HUGE_PAGE);
        // SAFETY: replaces a part of the reservation just made, which nothing else knows of.
        let base = unsafe {
            rustix::mm::mmap(
                start as *mut _,
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED | MapFlags::FIXED,
                &file,
                0,
            )
        }
        .map_err(Error::system("map guest memory"))?;
        // SAFETY: what is left of the reservation on both sides is ours, and nothing points there.
        unsafe {
            if start > room {
                let _ = rustix::mm::munmap(room as *mut _, start - room);
            }
            let end = start + len;
            if room + reserved > end {
                let _ = rustix::mm::munmap(end as *mut _, room + reserved - end);
            }
        }
        let base = NonNull::new(base.cast()).expect("a mapping is never at 0");
        Ok(Self { gpa: Gpa(start as u64), len, base, file })
    }

    /// Where the device finds it.
    pub fn gpa(&self) -> Gpa {
        self.gpa
    }

    /// Length in bytes.
    #[allow(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The memory file; the region is all of it.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    fn offset_of(&self, gpa: Gpa, len: usize) -> Option<usize> {
        let offset = usize::try_from(gpa.0.checked_sub(self.gpa.0)?).ok()?;
        (offset.checked_add(len)? <= self.len).then_some(offset)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`; every window holds the region, so none is left.
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

fn memory_file(len: usize) -> Result<OwnedFd> {
    let file =
        rustix::fs::memfd_create("guest-memory", MemfdFlags::CLOEXEC).map_err(Error::system("create guest memory"))?;
    rustix::fs::ftruncate(&file, len as u64).map_err(Error::system("size guest memory"))?;
    Ok(file)
}

/// A part of guest memory, to read and write. Cheap to clone; keeps its region alive.
#[derive(Debug, Clone)]
pub struct Window {
    region: Arc<Region>,
    offset: usize,
    len: usize,
    /// Its first byte, so that an access does not go through the region.
    start: NonNull<u8>,
}

// SAFETY: as for the region, which the window keeps mapped.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// `len` bytes from `offset` of a region that has them.
    fn new(region: Arc<Region>, offset: usize, len: usize) -> Self {
        assert!(
            offset.checked_add(len).is_some_and(|end| end <= region.len),
            "{offset}+{len} is outside of the region"
        );
        // SAFETY: within the mapping.
        let start = unsafe { region.base.add(offset) };
        Self { region, offset, len, start }
    }

    /// Where the device finds it.
    pub fn gpa(&self) -> Gpa {
        self.region.gpa.plus(self.offset as u64)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    fn at(&self, offset: usize, len: usize) -> *mut u8 {
        if offset > self.len || len > self.len - offset {
            self.refuse(offset, len);
        }
        // SAFETY: within the window, which is within the mapping.
        unsafe { self.start.as_ptr().add(offset) }
    }

    #[cold]
    fn refuse(&self, offset: usize, len: usize) -> ! {
        panic!("{offset}+{len} is outside of {self:?}")
    }

    #[inline]
    fn atomic_u16(&self, offset: usize) -> &AtomicU16 {
        let pointer = self.at(offset, 2).cast::<u16>();
        assert!(pointer.is_aligned(), "u16 at offset {offset} of {self:?} is not aligned");
        // SAFETY: within bounds, aligned, valid as long as `self` holds the region; others access it atomically.
        unsafe { AtomicU16::from_ptr(pointer) }
    }

    /// Reads the little-endian u16 at `offset`.
    ///
    /// # Panics
    /// Outside of the window or not aligned; so do the other accessors.
    #[inline]
    pub fn load_u16(&self, offset: usize, ordering: Ordering) -> u16 {
        u16::from_le(self.atomic_u16(offset).load(ordering))
    }

    /// Writes the little-endian u16 at `offset`.
    #[inline]
    pub fn store_u16(&self, offset: usize, value: u16, ordering: Ordering) {
        self.atomic_u16(offset).store(value.to_le(), ordering);
    }

    /// Copies out `into.len()` bytes from `offset`.
    #[inline]
    pub fn read(&self, offset: usize, into: &mut [u8]) {
        let from = self.at(offset, into.len());
        // SAFETY: both ranges are valid for the length and do not overlap; bytes that the device writes meanwhile are a
        // mix of old and new, as on any machine.
        unsafe { std::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), into.len()) };
    }

    /// Copies `bytes` in at `offset`.
    #[inline]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        let to = self.at(offset, bytes.len());
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Sets every byte.
    pub fn fill(&self, byte: u8) {
        let to = self.at(0, self.len);
        // SAFETY: all of the window.
        unsafe { std::ptr::write_bytes(to, byte, self.len) };
    }

    /// Asks for the cache line at `offset`, to read it soon. Anywhere else it does nothing.
    #[inline]
    pub fn prefetch(&self, offset: usize) {
        if offset < self.len {
            fetch_line(self.at(offset, 1));
        }
    }

    /// Asks for the cache line at `offset`, to write it soon. Anywhere else it does nothing.
    #[inline]
    pub fn prefetch_to_write(&self, offset: usize) {
        if offset < self.len {
            fetch_line_to_write(self.at(offset, 1));
        }
    }

    /// Copies out all of it.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len];
        self.read(0, &mut bytes);
        bytes
    }

    /// `len` bytes from `offset`.
    pub fn part(&self, offset: usize, len: usize) -> Self {
        self.at(offset, len);
        Self::new(Arc::clone(&self.region), self.offset + offset, len)
    }
}

#[inline]
fn fetch_line(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint, which reads nothing and faults nowhere.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

#[inline]
fn fetch_line_to_write(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above. Processors that do not know the instruction take it for none.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) at, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// All regions of a guest and what is free in them.
#[derive(Debug)]
pub struct GuestMemory {
    regions: Vec<(Arc<Region>, Allocator)>,
}

impl GuestMemory {
    /// Memory of these regions, which must not overlap.
    pub fn new(regions: Vec<Region>) -> Self {
        let regions = regions
            .into_iter()
            .map(|region| {
                let allocator = Allocator::new(region.gpa().0, region.len() as u64);
                (Arc::new(region), allocator)
            })
            .collect();
        Self { regions }
    }

    /// The regions, in the order in which they were given.
    pub fn regions(&self) -> impl Iterator<Item = &Arc<Region>> {
        self.regions.iter().map(|(region, _)| region)
    }

    /// `len` bytes at a multiple of `align`, zeroed, from the first region that has room. `len` may be 0.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn allocate(&mut self, len: usize, align: usize) -> Result<Window> {
        (0..self.regions.len())
            .find_map(|index| self.allocate_in(index, len, align).ok())
            .ok_or(Error::Full("guest memory"))
    }

    /// The same from region number `index`.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn allocate_in(&mut self, index: usize, len: usize, align: usize) -> Result<Window> {
        let (region, allocator) = self.regions.get_mut(index).ok_or(Error::Full("guest memory"))?;
        let start = allocator.allocate(len.max(1) as u64, align as u64).ok_or(Error::Full("guest memory"))?;
        let window = Window::new(Arc::clone(region), (start - region.gpa.0) as usize, len);
        window.fill(0);
        Ok(window)
    }

    /// Gives back what [`allocate`](Self::allocate) gave. The device must be done with it.
    pub fn free(&mut self, window: &Window) {
        let owner = self.regions.iter_mut().find(|(region, _)| Arc::ptr_eq(region, &window.region));
        if let Some((_, allocator)) = owner {
            allocator.free(window.gpa().0, window.len.max(1) as u64);
        }
    }

    /// Any range of one region, allocated or not.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn window(&self, gpa: Gpa, len: usize) -> Result<Window> {
        self.regions
            .iter()
            .find_map(|(region, _)| {
                let offset = region.offset_of(gpa, len)?;
                Some(Window::new(Arc::clone(region), offset, len))
            })
            .ok_or(Error::NoMemory(gpa, len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_reads_what_was_written_through_another() {
        let memory = GuestMemory::new(vec![Region::new(Gpa(0x10_0000), 0x2000).unwrap()]);
        memory.window(Gpa(0x10_0ffe), 4).unwrap().write(0, &[1, 2, 3, 4]);
        let window = memory.window(Gpa(0x10_1000), 2).unwrap();
        assert_eq!(window.to_vec(), [3, 4]);
        assert_eq!(window.load_u16(0, Ordering::Relaxed), 0x0403);
    }

    #[test]
    fn the_file_holds_the_same_bytes() {
        let region = Region::new(Gpa(0), 0x1000).unwrap();
        let memory = GuestMemory::new(vec![region]);
        memory.window(Gpa(0x10), 3).unwrap().write(0, b"abc");
        let mut bytes = [0; 3];
        let region = memory.regions().next().unwrap();
        rustix::io::pread(region.file(), &mut bytes, 0x10).unwrap();
        assert_eq!(&bytes, b"abc");
    }

    #[test]
    fn nothing_is_found_outside_of_the_regions() {
        let memory = GuestMemory::new(vec![Region::new(Gpa(0x1000), 0x1000).unwrap()]);
        assert!(memory.window(Gpa(0xfff), 2).is_err());
        assert!(memory.window(Gpa(0x1fff), 2).is_err());
        assert!(memory.window(Gpa(0x1fff), 1).is_ok());
        assert!(memory.window(Gpa(u64::MAX), 1).is_err());
    }

    #[test]
    fn allocation_moves_on_to_the_next_region_and_comes_back() {
        let mut memory = GuestMemory::new(vec![
            Region::new(Gpa(0x1000), 0x1000).unwrap(),
            Region::new(Gpa(0x10000), 0x1000).unwrap(),
        ]);
        let first = memory.allocate(0x1000, 0x1000).unwrap();
        let second = memory.allocate(0x800, 16).unwrap();
        assert_eq!((first.gpa(), second.gpa()), (Gpa(0x1000), Gpa(0x10000)));
        assert!(memory.allocate(0x1000, 16).is_err());
        memory.free(&first);
        assert_eq!(memory.allocate(0x1000, 16).unwrap().gpa(), Gpa(0x1000));
    }

    #[test]
    fn a_region_at_its_own_address_is_aligned_to_huge_pages() {
        let region = Region::at_own_address(HUGE_PAGE).unwrap();
        assert_eq!(region.gpa().0 % HUGE_PAGE as u64, 0);
        assert_eq!(region.gpa().0, region.base.as_ptr() as u64);
    }
}

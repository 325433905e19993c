//! Descriptors as they lie in the guest's memory: those of a split ring (virtio 1.2, 2.7.5) and of a packed one (2.8.13)
//! differ in what is behind the length.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use bdev::Segment;

use crate::dma::{Access, Gpa};

/// `VIRTQ_DESC_F_NEXT`.
pub(super) const DESC_F_NEXT: u16 = 1;
/// `VIRTQ_DESC_F_WRITE`.
pub(super) const DESC_F_WRITE: u16 = 2;
/// `VIRTQ_DESC_F_INDIRECT`.
pub(super) const DESC_F_INDIRECT: u16 = 4;
/// Bytes of a descriptor.
pub(super) const DESC_SIZE: u32 = 16;

/// A descriptor, fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub addr: Gpa,
    pub len: u32,
    pub flags: u16,
    /// The next descriptor of a chain in a split ring, the buffer id in a packed one.
    pub link: u16,
}

impl Descriptor {
    /// What the device does with the buffer.
    #[inline]
    pub fn access(&self) -> Access {
        if self.flags & DESC_F_WRITE != 0 { Access::Write } else { Access::Read }
    }
}

/// The two halves of a descriptor, fetched in the guest's byte order; nothing promises that an indirect table is aligned.
#[derive(Debug, Clone, Copy)]
#[repr(C, packed)]
pub(super) struct RawDescriptor {
    addr: u64,
    rest: u64,
}

impl RawDescriptor {
    /// Reads a descriptor once.
    ///
    /// # Safety
    /// 16 bytes at `at` are mapped and readable.
    #[inline]
    pub unsafe fn fetch(at: *const u8) -> Self {
        // SAFETY: by the promise of the caller; the type asks for no alignment.
        unsafe { at.cast::<Self>().read_volatile() }
    }

    /// One of nothing.
    pub const EMPTY: Self = Self { addr: 0, rest: 0 };

    /// From its halves, in the guest's byte order.
    #[inline]
    pub fn from_halves([addr, rest]: [u64; 2]) -> Self {
        Self { addr, rest }
    }

    /// The other way around.
    pub fn halves(self) -> [u64; 2] {
        [self.addr, self.rest]
    }

    /// From the bytes.
    pub fn from_bytes(bytes: [u8; DESC_SIZE as usize]) -> Self {
        let (halves, _) = bytes.as_chunks();
        Self { addr: u64::from_ne_bytes(halves[0]), rest: u64::from_ne_bytes(halves[1]) }
    }

    /// As a split ring lays it out.
    #[inline]
    pub fn split(self) -> Descriptor {
        let (addr, rest) = (u64::from_le(self.addr), u64::from_le(self.rest));
        Descriptor { addr: Gpa(addr), len: rest as u32, flags: (rest >> 32) as u16, link: (rest >> 48) as u16 }
    }

    /// As a packed ring lays it out.
    #[inline]
    pub fn packed(self) -> Descriptor {
        let (addr, rest) = (u64::from_le(self.addr), u64::from_le(self.rest));
        Descriptor { addr: Gpa(addr), len: rest as u32, link: (rest >> 32) as u16, flags: (rest >> 48) as u16 }
    }

    /// The other way around.
    #[inline]
    pub fn of_packed(descriptor: &Descriptor) -> Self {
        let Descriptor { addr, len, flags, link } = *descriptor;
        let rest = u64::from(len) | u64::from(link) << 32 | u64::from(flags) << 48;
        Self { addr: addr.0.to_le(), rest: rest.to_le() }
    }
}

/// Descriptors side by side in mapped memory: those of a split ring, or a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Descriptors {
    base: NonNull<u8>,
    count: u16,
}

impl Descriptors {
    /// The `count` descriptors at `base`.
    ///
    /// # Safety
    /// They are mapped and readable for as long as this is used.
    #[inline(always)]
    pub unsafe fn new(base: NonNull<u8>, count: u16) -> Self {
        Self { base, count }
    }

    /// How many there are.
    #[inline(always)]
    pub fn count(&self) -> u16 {
        self.count
    }

    /// Descriptor `index`, if there is one.
    #[inline(always)]
    pub fn get(&self, index: u16) -> Option<RawDescriptor> {
        if index >= self.count {
            return None;
        }
        // SAFETY: it is one of the descriptors that the maker promised.
        Some(unsafe { RawDescriptor::fetch(self.base.as_ptr().add(usize::from(index) * DESC_SIZE as usize)) })
    }

    /// Asks for the cache line of descriptor `index`, wherever that is.
    #[inline(always)]
    pub fn prefetch(&self, index: u16) {
        let at = self.base.as_ptr().wrapping_add(usize::from(index) * DESC_SIZE as usize);
        // SAFETY: only a prefetch is made of it, which never faults.
        let segment = unsafe { Segment::new(NonNull::new_unchecked(at), DESC_SIZE as usize) };
        segment.prefetch_read();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_sixteen_bytes_little_endian() {
        let bytes = [8, 7, 6, 5, 4, 3, 2, 1, 0x44, 0x33, 0x22, 0x11, 0x03, 0x80, 0x0a, 0x0b];
        let split = Descriptor { addr: Gpa(0x0102_0304_0506_0708), len: 0x1122_3344, flags: 0x8003, link: 0x0b0a };
        let packed = Descriptor { flags: 0x0b0a, link: 0x8003, ..split };
        // SAFETY: the array has 16 bytes.
        for raw in [RawDescriptor::from_bytes(bytes), unsafe { RawDescriptor::fetch(bytes.as_ptr()) }] {
            assert_eq!((raw.split(), raw.packed()), (split, packed));
            assert_eq!(RawDescriptor::of_packed(&packed).split(), split);
        }
    }
}

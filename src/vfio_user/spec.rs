//! The vfio-user wire format: protocol 0.1, as in QEMU's *vfio-user Protocol Specification* ("the specification" below),
//! with the structures and flags it borrows from Linux's `<linux/vfio.h>`.
//!
//! No logic. All integers are in the byte order of the host; both ends are on one machine. Structures are read from and
//! written to byte slices of any alignment.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Major version of the protocol, which both sides must share.
pub const VERSION_MAJOR: u16 = 0;
/// Highest minor version that we speak.
pub const VERSION_MINOR: u16 = 1;

/// Regions of a PCI device: six BARs, the ROM, configuration space, VGA (`VFIO_PCI_NUM_REGIONS`).
pub const PCI_REGIONS: u32 = 9;
/// The region of configuration space (`VFIO_PCI_CONFIG_REGION_INDEX`).
pub const PCI_CONFIG_REGION: u32 = 7;
/// Interrupt types of a PCI device (`VFIO_PCI_NUM_IRQS`).
pub const PCI_IRQS: u32 = 5;

/// Data in one message, in bytes, that we take and send at most: the protocol's default.
pub const DATA_XFER_BYTES_MAX: u32 = 1 << 20;
/// File descriptors that we take in one message: what QEMU sends at most, and the most it lets us say.
pub const MSG_FDS_MAX: usize = 16;
/// Mappings at a time that we announce.
pub const DMA_MAPS_MAX: u32 = 4096;
/// Page sizes that we announce, in bytes, or'ed together.
pub const PAGE_SIZES: u64 = 4096;
/// A VERSION reply that is longer, in bytes with its header, is refused by QEMU.
pub const VERSION_REPLY_BYTES_MAX: usize = 214;

/// What a message asks for (section Commands). Any number may come, so this is no closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(transparent)]
pub struct Command(pub u16);

#[allow(missing_docs, reason = "the names are the specification's")]
impl Command {
    pub const VERSION: Self = Self(1);
    pub const DMA_MAP: Self = Self(2);
    pub const DMA_UNMAP: Self = Self(3);
    pub const DEVICE_GET_INFO: Self = Self(4);
    pub const DEVICE_GET_REGION_INFO: Self = Self(5);
    pub const DEVICE_GET_REGION_IO_FDS: Self = Self(6);
    pub const DEVICE_GET_IRQ_INFO: Self = Self(7);
    pub const DEVICE_SET_IRQS: Self = Self(8);
    pub const REGION_READ: Self = Self(9);
    pub const REGION_WRITE: Self = Self(10);
    pub const DMA_READ: Self = Self(11);
    pub const DMA_WRITE: Self = Self(12);
    pub const DEVICE_RESET: Self = Self(13);
    /// Of earlier revisions; still sent by some.
    pub const DIRTY_PAGES: Self = Self(14);
    pub const REGION_WRITE_MULTI: Self = Self(15);
    pub const DEVICE_FEATURE: Self = Self(16);
    pub const MIG_DATA_READ: Self = Self(17);
    pub const MIG_DATA_WRITE: Self = Self(18);
}

/// The bits of [`Header::flags`] that hold the type.
pub const FLAG_TYPE_MASK: u32 = 0xf;
/// Type: a command.
pub const FLAG_TYPE_COMMAND: u32 = 0;
/// Type: a reply.
pub const FLAG_TYPE_REPLY: u32 = 1;
/// A command that wants no reply.
pub const FLAG_NO_REPLY: u32 = 1 << 4;
/// A reply that reports an error.
pub const FLAG_ERROR: u32 = 1 << 5;

/// What every message begins with (section Header).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Header {
    /// Chosen by the sender of a command, repeated in the reply. Need not be unique.
    pub message_id: u16,
    /// What is asked for; repeated in the reply.
    pub command: Command,
    /// Bytes of the whole message, this header included.
    pub message_size: u32,
    /// `FLAG_*`.
    pub flags: u32,
    /// In a reply with [`FLAG_ERROR`], an errno.
    pub error: u32,
}

impl Header {
    /// Whether the sender waits for an answer. One who sent a reply does not: it would take an answer to it for the one
    /// to its next command.
    pub fn wants_reply(&self) -> bool {
        self.flags & FLAG_NO_REPLY == 0 && self.kind() != FLAG_TYPE_REPLY
    }

    /// The type bits of the flags.
    pub fn kind(&self) -> u32 {
        self.flags & FLAG_TYPE_MASK
    }
}

/// Bytes of a [`Header`].
pub const HEADER_BYTES: usize = size_of::<Header>();
const _: () = assert!(HEADER_BYTES == 16);

/// VERSION; JSON may follow (section VFIO_USER_VERSION).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Version {
    /// Must be [`VERSION_MAJOR`].
    pub major: u16,
    /// In the reply, at most what was proposed.
    pub minor: u16,
}
const _: () = assert!(size_of::<Version>() == 4);

/// [`DmaMap::flags`]: the device may read.
pub const DMA_MAP_READ: u32 = 1 << 0;
/// [`DmaMap::flags`]: the device may write.
pub const DMA_MAP_WRITE: u32 = 1 << 1;

/// DMA_MAP; the reply has no payload (section VFIO_USER_DMA_MAP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DmaMap {
    /// Bytes of this structure.
    pub argsz: u32,
    /// `DMA_MAP_*`.
    pub flags: u32,
    /// Where in the file the memory begins, in bytes.
    pub offset: u64,
    /// First guest address.
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
}
const _: () = assert!(size_of::<DmaMap>() == 32);

/// [`DmaUnmap::flags`]: report which pages were written (`VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP`).
pub const DMA_UNMAP_GET_DIRTY_BITMAP: u32 = 1 << 0;
/// [`DmaUnmap::flags`]: unmap everything (`VFIO_DMA_UNMAP_FLAG_ALL`).
pub const DMA_UNMAP_ALL: u32 = 1 << 1;

/// DMA_UNMAP and its reply (section VFIO_USER_DMA_UNMAP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DmaUnmap {
    /// Bytes of payload that the reply may have.
    pub argsz: u32,
    /// `DMA_UNMAP_*`.
    pub flags: u32,
    /// First guest address.
    pub address: u64,
    /// Length in bytes.
    pub size: u64,
}
const _: () = assert!(size_of::<DmaUnmap>() == 24);

/// [`DeviceInfo::flags`]: DEVICE_RESET is there (`VFIO_DEVICE_FLAGS_RESET`).
pub const DEVICE_FLAG_RESET: u32 = 1 << 0;
/// [`DeviceInfo::flags`]: a PCI device (`VFIO_DEVICE_FLAGS_PCI`).
pub const DEVICE_FLAG_PCI: u32 = 1 << 1;

/// DEVICE_GET_INFO and its reply (section VFIO_USER_DEVICE_GET_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DeviceInfo {
    /// Bytes of payload that the reply may have; in the reply, that it needs.
    pub argsz: u32,
    /// `DEVICE_FLAG_*`.
    pub flags: u32,
    /// [`PCI_REGIONS`].
    pub num_regions: u32,
    /// [`PCI_IRQS`].
    pub num_irqs: u32,
}
const _: () = assert!(size_of::<DeviceInfo>() == 16);

/// [`RegionInfo::flags`]: capabilities follow (`VFIO_REGION_INFO_FLAG_CAPS`). The other bits are
/// [`RegionFlags`](super::RegionFlags).
pub const REGION_FLAG_CAPS: u32 = 1 << 3;

/// DEVICE_GET_REGION_INFO and its reply; capabilities may follow (section VFIO_USER_DEVICE_GET_REGION_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegionInfo {
    /// Bytes of payload that the reply may have; in the reply, that it needs with all capabilities.
    pub argsz: u32,
    /// [`RegionFlags`](super::RegionFlags) and [`REGION_FLAG_CAPS`].
    pub flags: u32,
    /// Which region.
    pub index: u32,
    /// Where the first capability is, in bytes from the start of this structure; 0 if none follows.
    pub cap_offset: u32,
    /// Length in bytes.
    pub size: u64,
    /// Where the region begins in its file, in bytes.
    pub offset: u64,
}
const _: () = assert!(size_of::<RegionInfo>() == 32);

/// [`SparseMmapCap::id`] (`VFIO_REGION_INFO_CAP_SPARSE_MMAP`).
pub const REGION_CAP_SPARSE_MMAP: u16 = 1;

/// The capability that says which parts of a region can be mapped: capability header and count; [`SparseMmapArea`]s follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SparseMmapCap {
    /// [`REGION_CAP_SPARSE_MMAP`].
    pub id: u16,
    /// 1.
    pub version: u16,
    /// Where the next capability is, as [`RegionInfo::cap_offset`].
    pub next: u32,
    /// How many areas follow.
    pub nr_areas: u32,
    /// 0.
    pub reserved: u32,
}
const _: () = assert!(size_of::<SparseMmapCap>() == 16);

/// A part of a region that can be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SparseMmapArea {
    /// Bytes from the start of the region.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}
const _: () = assert!(size_of::<SparseMmapArea>() == 16);

/// DEVICE_GET_REGION_IO_FDS and its reply; sub-regions may follow (section VFIO_USER_DEVICE_GET_REGION_IO_FDS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegionIoFds {
    /// Bytes of payload that the reply may have; in the reply, that it needs.
    pub argsz: u32,
    /// 0.
    pub flags: u32,
    /// Which region.
    pub index: u32,
    /// 0; in the reply, how many sub-regions there are.
    pub count: u32,
}
const _: () = assert!(size_of::<RegionIoFds>() == 16);

/// DEVICE_GET_IRQ_INFO and its reply (section VFIO_USER_DEVICE_GET_IRQ_INFO).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IrqInfo {
    /// Bytes of payload that the reply may have; in the reply, that it needs.
    pub argsz: u32,
    /// [`IrqFlags`](super::IrqFlags).
    pub flags: u32,
    /// Which interrupt type.
    pub index: u32,
    /// Number of vectors.
    pub count: u32,
}
const _: () = assert!(size_of::<IrqInfo>() == 16);

/// [`IrqSet::flags`]: no data.
pub const IRQ_SET_DATA_NONE: u32 = 1 << 0;
/// [`IrqSet::flags`]: a byte for each vector follows.
pub const IRQ_SET_DATA_BOOL: u32 = 1 << 1;
/// [`IrqSet::flags`]: a file descriptor for each vector comes with the message.
pub const IRQ_SET_DATA_EVENTFD: u32 = 1 << 2;
/// [`IrqSet::flags`]: mask.
pub const IRQ_SET_ACTION_MASK: u32 = 1 << 3;
/// [`IrqSet::flags`]: unmask.
pub const IRQ_SET_ACTION_UNMASK: u32 = 1 << 4;
/// [`IrqSet::flags`]: trigger.
pub const IRQ_SET_ACTION_TRIGGER: u32 = 1 << 5;

/// DEVICE_SET_IRQS; data may follow, the reply has no payload (section VFIO_USER_DEVICE_SET_IRQS).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IrqSet {
    /// Bytes of this structure and the data.
    pub argsz: u32,
    /// One `IRQ_SET_DATA_*` and one `IRQ_SET_ACTION_*`.
    pub flags: u32,
    /// Which interrupt type.
    pub index: u32,
    /// The first vector.
    pub start: u32,
    /// How many vectors.
    pub count: u32,
}
const _: () = assert!(size_of::<IrqSet>() == 20);

/// REGION_READ and REGION_WRITE and their replies; the data follows (section VFIO_USER_REGION_READ).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RegionAccess {
    /// Bytes from the start of the region.
    pub offset: u64,
    /// Which region.
    pub region: u32,
    /// Bytes of data.
    pub count: u32,
}
const _: () = assert!(size_of::<RegionAccess>() == 16);

/// What REGION_WRITE_MULTI begins with, and its reply (section VFIO_USER_REGION_WRITE_MULTI).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct WriteMulti {
    /// How many [`MultiWrite`]s follow; in the reply, how many were done.
    pub wr_cnt: u64,
}
const _: () = assert!(size_of::<WriteMulti>() == 8);

/// One of the writes of a REGION_WRITE_MULTI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct MultiWrite {
    /// Where, and how many bytes of `data` (at most 8).
    pub access: RegionAccess,
    /// What to write, from its first byte.
    pub data: [u8; 8],
}
const _: () = assert!(size_of::<MultiWrite>() == 24);

/// DMA_READ and DMA_WRITE and their replies, from us to the client; the data follows (section VFIO_USER_DMA_READ).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DmaAccess {
    /// First guest address.
    pub address: u64,
    /// Bytes of data.
    pub count: u64,
}
const _: () = assert!(size_of::<DmaAccess>() == 16);

/// DEVICE_FEATURE; data may follow (section VFIO_USER_DEVICE_FEATURE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct DeviceFeature {
    /// Bytes of payload that the reply may have.
    pub argsz: u32,
    /// The feature, and whether to get, set or probe it.
    pub flags: u32,
}
const _: () = assert!(size_of::<DeviceFeature>() == 8);

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;

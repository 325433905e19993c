//! What the server asks of the device behind it, and what it offers the device in return.
//!
//! Everything here has been checked against the protocol before it reaches the device: indexes are in range, ranges do not
//! wrap, file descriptors are owned. What only the device can know (is this range mapped, does this file reach that far) is
//! its own to refuse, with an [`Errno`] that goes to the client as it is.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::dma::Gpa;

/// The device that a [`Server`](super::Server) serves. All calls come from the controller's thread, one at a time.
///
/// Every call has to return well within the five seconds after which a client gives up.
pub trait Device {
    /// Size and access of region `index`, which is below [`spec::PCI_REGIONS`](super::spec::PCI_REGIONS). A region that
    /// is not there has size 0.
    fn region_info(&self, index: u32) -> RegionInfo;

    /// The file that the client may map for region `index`; asked only if the region has [`RegionFlags::MMAP`].
    fn region_fd(&self, _index: u32) -> Option<BorrowedFd<'_>> {
        None
    }

    /// How many interrupts of this type there are (0 if none) and how they behave.
    fn irq_info(&self, index: IrqIndex) -> IrqInfo;

    /// Reads `data.len()` bytes at `offset` of region `index`; the range lies within the region, and is not empty.
    ///
    /// # Errors
    /// As on a real bus, a read that nothing answers gives all ones: the client sees that, and no error.
    fn region_read(&mut self, index: u32, offset: u64, data: &mut [u8]) -> Result<(), Errno>;

    /// Writes `data` at `offset` of region `index`; the range lies within the region, and is not empty.
    ///
    /// # Errors
    /// As on a real bus, a write that nothing takes is lost: the client sees no error.
    fn region_write(&mut self, index: u32, offset: u64, data: &[u8]) -> Result<(), Errno>;

    /// Guest memory appears. Without `fd` it can only be reached through [`ClientMemory`].
    ///
    /// # Errors
    /// Goes to the client; `EEXIST` if the range overlaps one that is mapped.
    fn dma_map(&mut self, map: DmaMap, fd: Option<OwnedFd>) -> Result<(), Errno>;

    /// Guest memory goes away: no access to it may follow the return. Gives the number of bytes unmapped.
    ///
    /// # Errors
    /// Goes to the client; `ENOENT` if nothing is mapped there.
    fn dma_unmap(&mut self, unmap: DmaUnmap) -> Result<u64, Errno>;

    /// Interrupts are set up, taken away, masked or triggered.
    ///
    /// # Errors
    /// Goes to the client.
    fn set_irqs(&mut self, change: IrqChange) -> Result<(), Errno>;

    /// Resets the device as a function level reset does. It always succeeds.
    fn reset(&mut self);

    /// A client has agreed on the protocol.
    fn connected(&mut self, limits: ClientLimits);

    /// The client is gone, however it went: its memory and eventfds are to be dropped and the device reset. Called once
    /// for each [`connected`](Self::connected).
    fn disconnected(&mut self);

    /// Somebody signalled the wake eventfd. Called whether or not a client is there; `memory` answers `ENOTCONN` if not.
    fn wake(&mut self, memory: &mut dyn ClientMemory);
}

/// Guest memory that the client shares no file for, reached by messages over the socket: slow, for rare use.
pub trait ClientMemory {
    /// Reads guest memory at `gpa`.
    ///
    /// # Errors
    /// `EAGAIN`: the client itself waits for an answer of ours, and may be unable to serve us before it has it. Keep the
    /// work and return from [`Device::wake`]; it is called again as soon as the client has been answered. `ENOTCONN`: no
    /// client, or one that just broke the protocol. `EFAULT`: the range wraps. Others are the client's own.
    fn dma_read(&mut self, gpa: Gpa, data: &mut [u8]) -> Result<(), Errno>;

    /// Writes guest memory at `gpa`.
    ///
    /// # Errors
    /// As [`dma_read`](Self::dma_read). After `EAGAIN` part or all may have been, or may yet be, written.
    fn dma_write(&mut self, gpa: Gpa, data: &[u8]) -> Result<(), Errno>;
}

bitflags::bitflags! {
    /// What a client may do with a region (`VFIO_REGION_INFO_FLAG_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct RegionFlags: u32 {
        /// Read it.
        const READ = 1 << 0;
        /// Write it.
        const WRITE = 1 << 1;
        /// Map the file that [`Device::region_fd`] gives.
        const MMAP = 1 << 2;
    }

    /// How an interrupt type behaves (`VFIO_IRQ_INFO_*`).
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct IrqFlags: u32 {
        /// It can signal an eventfd.
        const EVENTFD = 1 << 0;
        /// It can be masked and unmasked.
        const MASKABLE = 1 << 1;
        /// It masks itself when it fires.
        const AUTOMASKED = 1 << 2;
        /// Vectors are enabled as a set; more need a disable of all first.
        const NORESIZE = 1 << 3;
    }
}

/// A region as the client sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegionInfo {
    /// Length in bytes; 0 if the region is not there.
    pub size: u64,
    /// What a client may do with it.
    pub flags: RegionFlags,
    /// With [`RegionFlags::MMAP`], the only parts that may be mapped; empty means all of it.
    pub sparse_areas: Vec<SparseArea>,
}

/// A part of a region that a client may map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SparseArea {
    /// Bytes from the start of the region, and of its file.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

/// The interrupt types of a PCI device (`VFIO_PCI_*_IRQ_INDEX`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum IrqIndex {
    /// The legacy level-triggered interrupt.
    Intx = 0,
    /// Message signalled interrupts.
    Msi = 1,
    /// Extended message signalled interrupts.
    Msix = 2,
    /// An uncorrectable error of the device.
    Err = 3,
    /// The device asks to be released.
    Req = 4,
}

impl IrqIndex {
    /// All of them, by number.
    pub const ALL: [Self; 5] = [Self::Intx, Self::Msi, Self::Msix, Self::Err, Self::Req];

    /// The type with this number, if there is one.
    pub fn from_wire(index: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(index).ok()?).copied()
    }
}

/// What there is of one interrupt type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IrqInfo {
    /// Number of vectors.
    pub count: u32,
    /// How they behave.
    pub flags: IrqFlags,
}

/// What is done to, or should be told about, an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IrqAction {
    /// Hold it back.
    Mask,
    /// Let it through again.
    Unmask,
    /// Fire it.
    Trigger,
}

/// One DEVICE_SET_IRQS, checked: every vector named is below the type's count.
#[derive(Debug)]
pub enum IrqChange {
    /// Drop every eventfd of this type.
    DisableAll {
        /// The interrupt type.
        index: IrqIndex,
    },
    /// Vector `start + i` signals `eventfds[i]` from now on, or nothing if that is `None`, whenever `action` happens to it
    /// (with [`IrqAction::Trigger`]: this is how it reaches the guest). The descriptors are eventfds and non-blocking.
    SetEventfds {
        /// The interrupt type.
        index: IrqIndex,
        /// What they are told about.
        action: IrqAction,
        /// The first vector.
        start: u32,
        /// One for each vector, in order.
        eventfds: Vec<Option<OwnedFd>>,
    },
    /// `action` is done now to each vector `start + i` for which `selected[i]`.
    Perform {
        /// The interrupt type.
        index: IrqIndex,
        /// What is done.
        action: IrqAction,
        /// The first vector.
        start: u32,
        /// One for each vector, in order.
        selected: Vec<bool>,
    },
}

/// Guest memory that a client offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DmaMap {
    /// First guest address.
    pub gpa: Gpa,
    /// Length in bytes, not 0; `gpa + size` and `offset + size` do not wrap.
    pub size: u64,
    /// Where in the file it begins, in bytes; 0 without a file.
    pub offset: u64,
    /// The device may read it.
    pub readable: bool,
    /// The device may write it.
    pub writable: bool,
}

/// Guest memory that a client takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmaUnmap {
    /// What was mapped with exactly this address and length.
    Range {
        /// First guest address.
        gpa: Gpa,
        /// Length in bytes.
        size: u64,
    },
    /// All of it.
    All,
}

/// What the client said of itself in VERSION, with the protocol's defaults for what it did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// File descriptors that it takes in one message.
    pub max_msg_fds: u32,
    /// Bytes of data that it takes in one message, at least 1.
    pub max_data_xfer_size: u32,
    /// Mappings that it will have at a time.
    pub max_dma_maps: u32,
    /// Page sizes of its mappings, or'ed together, in bytes.
    pub pgsizes: u64,
    /// It sends REGION_WRITE_MULTI.
    pub write_multiple: bool,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            max_msg_fds: 1,
            max_data_xfer_size: 1 << 20,
            max_dma_maps: u32::from(u16::MAX),
            pgsizes: 4096,
            write_multiple: false,
        }
    }
}

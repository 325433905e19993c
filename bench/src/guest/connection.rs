//! The vfio-user connection, made by rust-vmm's client or by our own.
//!
//! Owns the socket. Knows regions, interrupts and DMA, nothing of virtio. Rust-vmm's client is the independent one; it
//! never looks at the error flag of a reply, has no time limit, and waits for the answer to every register write: whoever
//! fears a hang kills the device, which ends the call. Our own has none of that, and says what a device refused.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD, VFIO_IRQ_SET_DATA_NONE, VFIO_PCI_CONFIG_REGION_INDEX,
    VFIO_PCI_MSIX_IRQ_INDEX,
};
use vfio_user::{Client, IrqInfo};

use super::error::{Error, Result};
use super::memory::Region;
use super::own_client::OwnClient;
use crate::raw::RawClient;
use crate::wire::{self, command};

/// Region index of the PCI configuration space.
pub const CONFIG_REGION: u32 = VFIO_PCI_CONFIG_REGION_INDEX;
/// Interrupt index of the MSI-X vectors.
pub const MSIX_INDEX: u32 = VFIO_PCI_MSIX_IRQ_INDEX;
/// File descriptors that one message may carry, by default.
const FDS_PER_MESSAGE: usize = 8;

/// A place in one of the device's regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Region index; 0 to 5 are the BARs.
    pub region: u32,
    /// Offset of its first byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
}

/// The connection to one device.
pub struct Connection {
    client: Either,
}

enum Either {
    RustVmm(Client),
    Own(OwnClient),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// Connects, agrees on a version and learns what regions the device has.
    ///
    /// # Errors
    /// Nobody listens, or the device refuses.
    pub fn open(socket: &Path) -> Result<Self> {
        Ok(Self { client: Either::RustVmm(Client::new(socket)?) })
    }

    /// The same with our own client, whose answers may take `limit`.
    ///
    /// # Errors
    /// As above.
    pub fn open_own(socket: &Path, limit: Duration) -> Result<Self> {
        Ok(Self { client: Either::Own(OwnClient::open(socket, limit)?) })
    }

    /// The socket of our own client: see [`OwnClient::raw`].
    ///
    /// # Panics
    /// It is not our own.
    pub fn raw(&mut self) -> &mut RawClient {
        match &mut self.client {
            Either::Own(client) => client.raw(),
            Either::RustVmm(_) => panic!("the socket is rust-vmm's"),
        }
    }

    /// Gives the device access to a region of memory.
    ///
    /// # Errors
    /// The connection is gone; so everywhere below.
    pub fn dma_map(&mut self, region: &Region) -> Result<()> {
        self.dma_map_file(region.file(), 0, region.gpa().0, region.len() as u64)
    }

    /// Gives the device access to `size` bytes of a file from `offset` on, at guest address `address`.
    ///
    /// # Errors
    /// As above.
    pub fn dma_map_file(&mut self, file: BorrowedFd<'_>, offset: u64, address: u64, size: u64) -> Result<()> {
        match &mut self.client {
            Either::RustVmm(client) => Ok(client.dma_map(offset, address, size, file.as_raw_fd())?),
            Either::Own(client) => {
                let payload = wire::dma_map(wire::DMA_READ_WRITE, offset, address, size);
                client.call(command::DMA_MAP, &payload, &[file]).map(drop)
            }
        }
    }

    /// Takes back exactly what was mapped at `address`. When it returns, the device has let go of it.
    ///
    /// # Errors
    /// As above.
    pub fn dma_unmap(&mut self, address: u64, size: u64) -> Result<()> {
        match &mut self.client {
            Either::RustVmm(client) => Ok(client.dma_unmap(address, size)?),
            Either::Own(client) => client.call(command::DMA_UNMAP, &wire::dma_unmap(0, address, size), &[]).map(drop),
        }
    }

    /// Resets the whole device (not only its virtio side).
    ///
    /// # Errors
    /// As above.
    pub fn reset(&mut self) -> Result<()> {
        match &mut self.client {
            Either::RustVmm(client) => Ok(client.reset()?),
            Either::Own(client) => client.call(command::DEVICE_RESET, &[], &[]).map(drop),
        }
    }

    /// Size in bytes of a region, 0 if the device does not have it.
    pub fn region_size(&self, region: u32) -> u64 {
        match &self.client {
            Either::RustVmm(client) => client.region(region).map_or(0, |region| region.size),
            Either::Own(client) => client.region_size(region),
        }
    }

    /// Whether any part of the region can be mapped by the client.
    pub fn region_is_mappable(&self, region: u32) -> bool {
        match &self.client {
            Either::RustVmm(client) => client
                .region(region)
                .is_some_and(|region| region.file_offset.is_some() || !region.sparse_areas.is_empty()),
            Either::Own(client) => client.region_is_mappable(region),
        }
    }

    /// Whether the device says that it can be reset. rust-vmm's client has this the wrong way round.
    pub fn resettable(&self) -> bool {
        match &self.client {
            Either::RustVmm(client) => !client.resettable(),
            Either::Own(client) => client.resettable(),
        }
    }

    /// What the device says about an interrupt index.
    ///
    /// # Errors
    /// As above.
    pub fn irq_info(&mut self, index: u32) -> Result<IrqInfo> {
        match &mut self.client {
            Either::RustVmm(client) => Ok(client.get_irq_info(index)?),
            Either::Own(client) => client.irq_info(index).map(|(flags, count)| IrqInfo { index, flags, count }),
        }
    }

    /// Attaches an eventfd to each MSI-X vector, from vector 0 on.
    ///
    /// # Errors
    /// As above.
    pub fn enable_msix<F: AsFd>(&mut self, vectors: &[F]) -> Result<()> {
        let flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
        for (batch, vectors) in vectors.chunks(FDS_PER_MESSAGE).enumerate() {
            let fds: Vec<_> = vectors.iter().map(AsFd::as_fd).collect();
            self.set_irqs(MSIX_INDEX, flags, (batch * FDS_PER_MESSAGE) as u32, &fds)?;
        }
        Ok(())
    }

    /// Sets as many vectors from `start` on as there are files.
    fn set_irqs(&mut self, index: u32, flags: u32, start: u32, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let count = fds.len() as u32;
        match &mut self.client {
            Either::RustVmm(client) => {
                let fds: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
                Ok(client.set_irqs(index, flags, start, count, &fds)?)
            }
            Either::Own(client) => {
                let payload = wire::set_irqs(flags, index, (start, count), &[]);
                client.call(command::DEVICE_SET_IRQS, &payload, fds).map(drop)
            }
        }
    }

    /// Detaches all vectors of an interrupt index.
    ///
    /// # Errors
    /// As above.
    pub fn disable_irqs(&mut self, index: u32) -> Result<()> {
        self.set_irqs(index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, &[])
    }

    /// Reads `into.len()` bytes of a region.
    ///
    /// # Errors
    /// As above.
    pub fn read(&mut self, region: u32, offset: u64, into: &mut [u8]) -> Result<()> {
        match &mut self.client {
            Either::RustVmm(client) => Ok(client.region_read(region, offset, into)?),
            Either::Own(client) => client.region_read(region, offset, into),
        }
    }

    /// Writes bytes of a region.
    ///
    /// # Errors
    /// As above.
    pub fn write(&mut self, region: u32, offset: u64, bytes: &[u8]) -> Result<()> {
        match &mut self.client {
            Either::RustVmm(client) => Ok(client.region_write(region, offset, bytes)?),
            Either::Own(client) => client.region_write(region, offset, bytes),
        }
    }

    /// Writes bytes at `offset` of a place, and waits for no answer if the client can do so.
    ///
    /// # Errors
    /// As above, and if they are not within it.
    pub fn post_at(&mut self, place: Place, offset: u64, bytes: &[u8]) -> Result<()> {
        match &mut self.client {
            Either::Own(client) => client.post_region_write(place.region, place.check(offset, bytes.len())?, bytes),
            Either::RustVmm(_) => self.write_at(place, offset, bytes),
        }
    }

    /// Reads `N` bytes at `offset` of a place.
    ///
    /// # Errors
    /// As above, and if they are not within it.
    pub fn read_at<const N: usize>(&mut self, place: Place, offset: u64) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read(place.region, place.check(offset, N)?, &mut bytes)?;
        Ok(bytes)
    }

    /// Writes bytes at `offset` of a place.
    ///
    /// # Errors
    /// As above, and if they are not within it.
    pub fn write_at(&mut self, place: Place, offset: u64, bytes: &[u8]) -> Result<()> {
        self.write(place.region, place.check(offset, bytes.len())?, bytes)
    }
}

impl Place {
    fn check(self, offset: u64, len: usize) -> Result<u64> {
        if offset.checked_add(len as u64).is_none_or(|end| end > self.len) {
            return Err(Error::Device(format!("{len} bytes at {offset:#x} are not within {self:?}")));
        }
        Ok(self.offset + offset)
    }
}

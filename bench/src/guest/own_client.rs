//! A vfio-user client of our own, for what rust-vmm's does not do: it posts register writes, says what a device refused,
//! and lets go of a device that says nothing.
//!
//! [`Connection`](super::connection::Connection) uses it if it is told to.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

use super::error::{Error, Result};
use crate::raw::RawClient;
use crate::wire::{self, command};

/// What we can do: file descriptors that a message may bring us.
const CAPABILITIES: &[u8] = b"{\"capabilities\":{\"max_msg_fds\":8}}\0";
/// Region flag: the client may map some of it.
const REGION_MMAP: u32 = 1 << 2;
/// Device flag: it can be reset.
const DEVICE_RESET: u32 = 1;
/// Bytes of the answers to DEVICE_GET_INFO, DEVICE_GET_REGION_INFO and DEVICE_GET_IRQ_INFO without capabilities.
const INFO_LEN: u32 = 16;
const REGION_INFO_LEN: u32 = 32;
/// Regions that a device can have.
const MAX_REGIONS: u32 = 64;

/// The client.
#[derive(Debug)]
pub struct OwnClient {
    raw: RawClient,
    device_flags: u32,
    /// By index: flags and size in bytes.
    regions: Vec<(u32, u64)>,
}

impl OwnClient {
    /// Connects, agrees on a version and learns what regions the device has. Answers may take `limit`.
    ///
    /// # Errors
    /// Nobody listens, or the device refuses; the latter everywhere below.
    pub fn open(socket: &Path, limit: Duration) -> Result<Self> {
        let raw = RawClient::connect(socket, limit).map_err(|cause| Error::System { what: "connect", cause })?;
        let mut client = Self { raw, device_flags: 0, regions: Vec::new() };
        client.call(command::VERSION, &wire::version(0, 1, CAPABILITIES), &[])?;
        let info = client.call(command::DEVICE_GET_INFO, &wire::words(&[INFO_LEN, 0, 0, 0]), &[])?;
        client.device_flags = word(&info, 4)?;
        for index in 0..word(&info, 8)?.min(MAX_REGIONS) {
            let request = wire::words(&[REGION_INFO_LEN, 0, index, 0, 0, 0, 0, 0]);
            let info = client.call(command::DEVICE_GET_REGION_INFO, &request, &[])?;
            let size = u64::from(word(&info, 16)?) | u64::from(word(&info, 20)?) << 32;
            client.regions.push((word(&info, 4)?, size));
        }
        Ok(client)
    }

    /// Sends a command and waits for its answer.
    ///
    /// # Errors
    /// As above.
    pub fn call(&mut self, command: u16, payload: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Vec<u8>> {
        let reply = self
            .raw
            .call(command, payload, fds)
            .map_err(|cause| Error::System { what: "talk to the device", cause })?;
        match reply.error().map(|errno| std::io::Error::from_raw_os_error(errno as i32)) {
            None => Ok(reply.payload),
            Some(error) => Err(Error::Device(format!("it refuses vfio-user command {command}: {error}"))),
        }
    }

    /// The socket below, between two messages: to send what a good client does not, or not so. All that is sent there and
    /// wants an answer has to be answered before the next call here.
    pub fn raw(&mut self) -> &mut RawClient {
        &mut self.raw
    }

    /// Size of a region in bytes, 0 if there is none.
    pub fn region_size(&self, region: u32) -> u64 {
        self.regions.get(region as usize).map_or(0, |&(_, size)| size)
    }

    /// Whether any part of a region can be mapped.
    pub fn region_is_mappable(&self, region: u32) -> bool {
        self.regions.get(region as usize).is_some_and(|&(flags, _)| flags & REGION_MMAP != 0)
    }

    /// Whether the device can be reset.
    pub fn resettable(&self) -> bool {
        self.device_flags & DEVICE_RESET != 0
    }

    /// Flags and number of the vectors of an interrupt index.
    ///
    /// # Errors
    /// As above.
    pub fn irq_info(&mut self, index: u32) -> Result<(u32, u32)> {
        let info = self.call(command::DEVICE_GET_IRQ_INFO, &wire::words(&[INFO_LEN, 0, index, 0]), &[])?;
        Ok((word(&info, 4)?, word(&info, 12)?))
    }

    /// Reads bytes of a region.
    ///
    /// # Errors
    /// As above.
    pub fn region_read(&mut self, region: u32, offset: u64, into: &mut [u8]) -> Result<()> {
        let request = wire::region_access(region, offset, into.len() as u32);
        let reply = self.call(command::REGION_READ, &request, &[])?;
        let data = reply.get(request.len()..).filter(|data| data.len() == into.len());
        into.copy_from_slice(data.ok_or_else(|| Error::Device(format!("{} bytes answer a read", reply.len())))?);
        Ok(())
    }

    /// Writes bytes of a region; returns when the device has seen them.
    ///
    /// # Errors
    /// As above.
    pub fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<()> {
        let payload = [wire::region_access(region, offset, data.len() as u32), data.to_vec()].concat();
        self.call(command::REGION_WRITE, &payload, &[]).map(drop)
    }

    /// The same without waiting for anything: the device sees them before whatever is sent later.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn post_region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<()> {
        let payload = [wire::region_access(region, offset, data.len() as u32), data.to_vec()].concat();
        let message = wire::posted(command::REGION_WRITE, &payload);
        self.raw.send(&message, &[]).map_err(|cause| Error::System { what: "talk to the device", cause })
    }
}

/// The word at `at` of an answer.
fn word(bytes: &[u8], at: usize) -> Result<u32> {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u32::from_le_bytes).ok_or_else(|| Error::Device("an answer is too short".into()))
}

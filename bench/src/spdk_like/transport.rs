//! The socket as SPDK's vfio-user host library uses it.
//!
//! Every message has identifier 0. A reply's header is read by itself, its payload then with one `read`: a device that
//! sends a reply in two pieces is found out here. Payload that comes with an error is never read.

use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::guest::memory::Region;
use crate::guest::{Error, Result};
use crate::wire::{self, FLAG_ERROR, HEADER_LEN, Header, command};

/// What it keeps for the payload of a message.
const MAX_PAYLOAD: usize = 4096;
/// Payload of DEVICE_GET_REGION_INFO: all of a page but the structure itself. The message has 4,080 bytes.
const REGION_INFO_PAYLOAD: usize = 4096 - 32;

/// A region as DEVICE_GET_REGION_INFO tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionInfo {
    /// Bit 2: it can be mapped.
    pub flags: u32,
    /// Size in bytes.
    pub size: u64,
}

/// The connection.
#[derive(Debug)]
pub struct Transport {
    stream: UnixStream,
    regions: Vec<RegionInfo>,
}

impl Transport {
    /// Connects, says VERSION without JSON, and asks for every region.
    ///
    /// # Errors
    /// Nobody listens, or an answer is not what SPDK could use.
    pub fn connect(socket: &Path, limit: Duration) -> Result<Self> {
        let stream = UnixStream::connect(socket).map_err(system("connect"))?;
        stream.set_read_timeout(Some(limit)).map_err(system("set a time limit"))?;
        let mut transport = Self { stream, regions: Vec::new() };
        transport.call(command::VERSION, &wire::version(0, 1, b""), None)?;
        let info = transport.call(command::DEVICE_GET_INFO, &wire::words(&[16, 0, 0, 0]), None)?;
        if info.len() != 16 {
            return Err(Error::Device(format!("device info has {} bytes", info.len())));
        }
        for index in 0..u32_at(&info, 8) {
            let mut payload = wire::words(&[REGION_INFO_PAYLOAD as u32, 0, index]);
            payload.resize(REGION_INFO_PAYLOAD, 0);
            let info = transport.call(command::DEVICE_GET_REGION_INFO, &payload, None)?;
            if info.len() < 32 || u32_at(&info, 8) != index {
                return Err(Error::Device(format!("region info {index} is {info:02x?}")));
            }
            let size = u64::from_le_bytes(info[16..24].try_into().expect("eight bytes"));
            transport.regions.push(RegionInfo { flags: u32_at(&info, 4), size });
        }
        Ok(transport)
    }

    /// What the device said about a region.
    pub fn region(&self, index: u32) -> Option<RegionInfo> {
        self.regions.get(index as usize).copied()
    }

    /// Maps all of a region, or takes it back: both come with the file.
    ///
    /// # Errors
    /// The device refuses or is gone; so below.
    pub fn dma(&mut self, region: &Region, map: bool) -> Result<()> {
        let (gpa, len) = (region.gpa().0, region.len() as u64);
        let (command, payload) = if map {
            (command::DMA_MAP, wire::dma_map(wire::DMA_READ_WRITE, 0, gpa, len))
        } else {
            (command::DMA_UNMAP, wire::dma_unmap(0, gpa, len))
        };
        self.call(command, &payload, Some(region.file()))?;
        Ok(())
    }

    /// Reads from a region.
    ///
    /// # Errors
    /// As above, and if it is past the region's end.
    pub fn read<const N: usize>(&mut self, region: u32, offset: u64) -> Result<[u8; N]> {
        self.check(region, offset, N)?;
        let reply = self.call(command::REGION_READ, &wire::region_access(region, offset, N as u32), None)?;
        reply
            .get(16..)
            .and_then(|data| data.try_into().ok())
            .ok_or_else(|| Error::Device(format!("{} bytes answer a read of {N}", reply.len())))
    }

    /// Writes to a region.
    ///
    /// # Errors
    /// As above.
    pub fn write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<()> {
        self.check(region, offset, data.len())?;
        let payload = [wire::region_access(region, offset, data.len() as u32), data.to_vec()].concat();
        self.call(command::REGION_WRITE, &payload, None)?;
        Ok(())
    }

    fn check(&self, region: u32, offset: u64, len: usize) -> Result<()> {
        match self.region(region) {
            Some(info) if offset + len as u64 <= info.size => Ok(()),
            info => Err(Error::Device(format!("{len} bytes at {offset:#x} of region {region}: {info:?}"))),
        }
    }

    fn call(&mut self, command: u16, payload: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<Vec<u8>> {
        self.send(&wire::message(0, command, payload), fd)?;
        let mut bytes = [0; HEADER_LEN];
        let read = self.stream.read(&mut bytes).map_err(system("read a reply"))?;
        if read != HEADER_LEN {
            return Err(Error::Device(format!("{read} bytes of a header answer command {command}")));
        }
        let header = Header::parse(&bytes);
        if header.flags & FLAG_ERROR != 0 {
            return Err(Error::Device(format!("command {command} fails with error {}", header.error)));
        }
        if (header.flags & 0xF, header.message_id, header.command) != (wire::FLAG_REPLY, 0, command) {
            return Err(Error::Device(format!("{header:?} answers command {command}")));
        }
        let len = (header.message_size as usize).saturating_sub(HEADER_LEN);
        if len > MAX_PAYLOAD {
            return Err(Error::Device(format!("{len} bytes answer command {command}")));
        }
        let mut payload = vec![0; len];
        let read = if len > 0 { self.stream.read(&mut payload).map_err(system("read a reply"))? } else { 0 };
        if read != len {
            return Err(Error::Device(format!(
                "the reply to command {command} comes in pieces: {read} of {len} bytes"
            )));
        }
        Ok(payload)
    }

    fn send(&mut self, bytes: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fds: Vec<_> = fd.into_iter().collect();
        if !fds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&fds));
        }
        let sent = rustix::net::sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
            .map_err(Error::system("send a message"))?;
        if sent == bytes.len() { Ok(()) } else { Err(Error::Full("socket")) }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> Error {
    move |cause| Error::System { what, cause }
}

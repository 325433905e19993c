//! A client that sends any bytes with any file descriptors, and reads what comes back.
//!
//! For tests of what a device does with messages that no good client sends. Never judges a reply.

use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use crate::wire::{self, FLAG_ERROR, HEADER_LEN, Header};

/// File descriptors that one `sendmsg` can carry on Linux.
const MAX_FDS: usize = 253;
/// No reply to what is sent here is longer.
const MAX_REPLY: usize = 1 << 22;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its header.
    pub header: Header,
    /// What follows.
    pub payload: Vec<u8>,
}

impl Reply {
    /// The errno, if it is an error.
    pub fn error(&self) -> Option<u32> {
        (self.header.flags & FLAG_ERROR != 0).then_some(self.header.error)
    }
}

/// The raw socket.
#[derive(Debug)]
pub struct RawClient {
    stream: UnixStream,
    next_id: u16,
}

impl RawClient {
    /// Connects and says nothing. Reads give up after `limit`.
    ///
    /// # Errors
    /// Nobody listens.
    pub fn connect(socket: &Path, limit: Duration) -> std::io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        Ok(Self { stream, next_id: 0 })
    }

    /// Connects and agrees on version 0.1 without saying what it can do.
    ///
    /// # Errors
    /// As above, or the device refuses.
    pub fn negotiate(socket: &Path, limit: Duration) -> std::io::Result<Self> {
        let mut client = Self::connect(socket, limit)?;
        let reply = client.call(wire::command::VERSION, &wire::version(0, 1, b""), &[])?;
        match reply.error() {
            None => Ok(client),
            Some(errno) => Err(std::io::Error::from_raw_os_error(errno as i32)),
        }
    }

    /// Sends these bytes, and the descriptors with the first of them.
    ///
    /// # Errors
    /// The device has closed, or does not read for too long.
    pub fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> std::io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        let mut sent = 0;
        while sent < bytes.len() {
            let slices = [IoSlice::new(&bytes[sent..])];
            sent += rustix::net::sendmsg(&self.stream, &slices, &mut control, SendFlags::NOSIGNAL)?;
            control.clear();
        }
        Ok(())
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// The device has closed (`UnexpectedEof`, or a reset), or says nothing for too long (`WouldBlock`).
    pub fn receive(&mut self) -> std::io::Result<Reply> {
        let mut bytes = [0; HEADER_LEN];
        self.stream.read_exact(&mut bytes)?;
        let header = Header::parse(&bytes);
        let len = (header.message_size as usize).checked_sub(HEADER_LEN).filter(|&len| len <= MAX_REPLY);
        let Some(len) = len else {
            return Err(std::io::Error::other(format!("a reply of {} bytes", header.message_size)));
        };
        let mut payload = vec![0; len];
        self.stream.read_exact(&mut payload)?;
        Ok(Reply { header, payload })
    }

    /// Sends a message with the next message id and reads the reply, which must be to it.
    ///
    /// # Errors
    /// As above.
    pub fn call(&mut self, command: u16, payload: &[u8], fds: &[BorrowedFd<'_>]) -> std::io::Result<Reply> {
        self.next_id = self.next_id.wrapping_add(1);
        self.send(&wire::message(self.next_id, command, payload), fds)?;
        let reply = self.receive()?;
        let header = reply.header;
        if (header.message_id, header.command, header.flags & 0xF) != (self.next_id, command, wire::FLAG_REPLY) {
            return Err(std::io::Error::other(format!("{header:?} answers command {command}")));
        }
        Ok(reply)
    }

    /// Reads from a region.
    ///
    /// # Errors
    /// As above.
    pub fn region_read(&mut self, region: u32, offset: u64, count: u32) -> std::io::Result<Reply> {
        self.call(wire::command::REGION_READ, &wire::region_access(region, offset, count), &[])
    }

    /// Writes to a region.
    ///
    /// # Errors
    /// As above.
    pub fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> std::io::Result<Reply> {
        let payload = [wire::region_access(region, offset, data.len() as u32), data.to_vec()].concat();
        self.call(wire::command::REGION_WRITE, &payload, &[])
    }

    /// Reads whatever comes until the device closes.
    ///
    /// # Errors
    /// It does not close in time.
    pub fn drain(&mut self) -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(bytes),
            Err(error) => Err(error),
        }
    }

    /// The socket.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }
}

//! Framing: messages with their file descriptors in and out of a stream socket.
//!
//! Knows the header's size field and nothing else of what messages mean. Receiving never blocks and keeps what it has of
//! a message, so that one which never ends holds up nobody. It reads exactly one message at a time: descriptors belong to
//! the message with whose bytes they came. Sending waits a bounded time for a client that does not read.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recv, recvmsg, sendmsg,
};
use zerocopy::FromBytes;

use super::spec::{DATA_XFER_BYTES_MAX, HEADER_BYTES, Header, MSG_FDS_MAX};

/// The longest message that is taken, in bytes: the most data, and room for what stands before it.
pub const MESSAGE_BYTES_MAX: usize = HEADER_BYTES + DATA_XFER_BYTES_MAX as usize + 4096;
/// A message longer than [`MESSAGE_BYTES_MAX`] is read and thrown away up to this length, in bytes; one that claims to be
/// longer still is nonsense, and so is the rest of the stream.
pub const DISCARD_BYTES_MAX: usize = 16 << 20;

/// One message as it came.
#[derive(Debug)]
pub struct Message {
    /// Its header; the size has been checked.
    pub header: Header,
    /// What follows the header.
    pub payload: Vec<u8>,
    /// The descriptors that came with it, at most [`MSG_FDS_MAX`]. They are closed when dropped.
    pub fds: Vec<OwnedFd>,
    /// More descriptors came than that; the others are closed already.
    pub too_many_fds: bool,
}

/// What [`Receiver::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A whole message.
    Message(Message),
    /// A message that is too long; the rest of it is being thrown away, and the stream stays in step.
    TooLong(Header),
    /// Nothing, or part of a message.
    Pending,
    /// The client is gone.
    Closed,
}

/// Why the stream cannot be read on.
#[derive(Debug)]
pub enum ReceiveError {
    /// The size cannot be true, so nobody knows where the next message begins.
    Size(Header),
    /// The socket failed.
    Io(Errno),
}

/// Puts messages together.
#[derive(Debug, Default)]
pub struct Receiver {
    header: [u8; HEADER_BYTES],
    header_filled: usize,
    payload: Vec<u8>,
    payload_filled: usize,
    fds: Vec<OwnedFd>,
    too_many_fds: bool,
    discard_left: usize,
}

enum Progress {
    Bytes(usize),
    Pending,
    Closed,
}

impl Receiver {
    /// Reads at most to the end of one message, without waiting.
    ///
    /// # Errors
    /// [`ReceiveError`]; the connection has to be closed then.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<Received, ReceiveError> {
        loop {
            let progress = if self.discard_left > 0 {
                self.discard(socket)
            } else if self.header_filled < HEADER_BYTES {
                self.fill_header(socket)
            } else if self.payload_filled < self.payload.len() {
                self.fill_payload(socket)
            } else {
                return Ok(Received::Message(self.take()));
            };
            match progress.map_err(ReceiveError::Io)? {
                Progress::Pending => return Ok(Received::Pending),
                Progress::Closed => return Ok(Received::Closed),
                Progress::Bytes(_) => {}
            }
            if self.header_filled == HEADER_BYTES
                && self.payload_filled == 0
                && let Some(header) = self.check_size()?
            {
                return Ok(Received::TooLong(header));
            }
        }
    }

    /// With the header complete, makes room for the payload; or gives the header back if that would be too much.
    fn check_size(&mut self) -> Result<Option<Header>, ReceiveError> {
        let header = self.parsed_header();
        let size = header.message_size as usize;
        if !(HEADER_BYTES..=DISCARD_BYTES_MAX).contains(&size) {
            return Err(ReceiveError::Size(header));
        }
        if size > MESSAGE_BYTES_MAX {
            self.discard_left = size - HEADER_BYTES;
            drop(self.take());
            return Ok(Some(header));
        }
        self.payload.resize(size - HEADER_BYTES, 0);
        Ok(None)
    }

    fn parsed_header(&self) -> Header {
        Header::read_from_bytes(&self.header).expect("the array has the header's size")
    }

    fn take(&mut self) -> Message {
        let header = self.parsed_header();
        self.header_filled = 0;
        self.payload_filled = 0;
        Message {
            header,
            payload: std::mem::take(&mut self.payload),
            fds: std::mem::take(&mut self.fds),
            too_many_fds: std::mem::take(&mut self.too_many_fds),
        }
    }

    fn fill_header(&mut self, socket: BorrowedFd<'_>) -> Result<Progress, Errno> {
        let progress =
            receive_with_fds(socket, &mut self.header[self.header_filled..], &mut self.fds, &mut self.too_many_fds)?;
        if let Progress::Bytes(count) = progress {
            self.header_filled += count;
        }
        Ok(progress)
    }

    fn fill_payload(&mut self, socket: BorrowedFd<'_>) -> Result<Progress, Errno> {
        let progress =
            receive_with_fds(socket, &mut self.payload[self.payload_filled..], &mut self.fds, &mut self.too_many_fds)?;
        if let Progress::Bytes(count) = progress {
            self.payload_filled += count;
        }
        Ok(progress)
    }

    /// Descriptors that come with what is thrown away are closed by the kernel.
    fn discard(&mut self, socket: BorrowedFd<'_>) -> Result<Progress, Errno> {
        let mut scratch = [0_u8; 8192];
        let part = self.discard_left.min(scratch.len());
        let result = retry_on_intr(|| recv(socket, &mut scratch[..part], RecvFlags::DONTWAIT));
        let progress = progress_of(result.map(|(count, _)| count))?;
        if let Progress::Bytes(count) = progress {
            self.discard_left -= count;
        }
        Ok(progress)
    }
}

fn progress_of(result: Result<usize, Errno>) -> Result<Progress, Errno> {
    match result {
        Ok(0) | Err(Errno::CONNRESET) => Ok(Progress::Closed),
        Ok(count) => Ok(Progress::Bytes(count)),
        Err(Errno::AGAIN) => Ok(Progress::Pending),
        Err(error) => Err(error),
    }
}

fn receive_with_fds(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
    fds: &mut Vec<OwnedFd>,
    too_many_fds: &mut bool,
) -> Result<Progress, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MSG_FDS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let result = retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(bytes)], &mut ancillary, flags));
    if let Ok(received) = &result {
        *too_many_fds |= received.flags.contains(ReturnFlags::CTRUNC);
    }
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            for fd in rights {
                if fds.len() < MSG_FDS_MAX {
                    fds.push(fd);
                } else {
                    *too_many_fds = true;
                }
            }
        }
    }
    progress_of(result.map(|received| received.bytes))
}

/// Sends one message, with at most one descriptor, in one `sendmsg` unless the socket's buffer has no room for all of it.
///
/// # Errors
/// `ETIMEDOUT` if the client has not read enough at `deadline`; what the socket says otherwise. Part may have been sent,
/// so that the connection has to be closed.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fd: Option<BorrowedFd<'_>>, deadline: Instant) -> Result<(), Errno> {
    let mut sent = 0;
    while sent < bytes.len() {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let rights = fd.as_slice();
        if sent == 0 && !rights.is_empty() {
            let pushed = ancillary.push(SendAncillaryMessage::ScmRights(rights));
            assert!(pushed, "the space is for one descriptor");
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        match sendmsg(socket, &[IoSlice::new(&bytes[sent..])], &mut ancillary, flags) {
            Ok(count) => sent += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                wait_until(socket, PollFlags::OUT, deadline)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until the socket is ready.
///
/// # Errors
/// `ETIMEDOUT` at `deadline`.
pub fn wait_until(socket: BorrowedFd<'_>, events: PollFlags, deadline: Instant) -> Result<(), Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Errno::TIMEDOUT);
        }
        let timeout = Timespec::try_from(left).expect("a few seconds fit");
        match poll(&mut [PollFd::from_borrowed_fd(socket, events)], Some(&timeout)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn a_client_that_does_not_read_is_given_up() {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let now = Instant::now();
        assert_eq!(send(ours.as_fd(), &[1; 16], None, now), Ok(()), "what fits needs no time");
        assert_eq!(send(ours.as_fd(), &vec![0; 16 << 20], None, now), Err(Errno::TIMEDOUT));
        drop(theirs);
        assert_eq!(send(ours.as_fd(), &[1; 16], None, now), Err(Errno::PIPE));
    }
}

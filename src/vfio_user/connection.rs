//! One client: its socket, what it said of itself, and the messages between.
//!
//! Commands come in order. Besides, the device may reach into the client's memory ([`ClientMemory`]): that is a command
//! of ours, and while its reply is awaited the client's own commands are kept for later. A client may be unable to reply
//! before it has an answer of ours (QEMU serves us on a thread that it may hold up while it waits for a register); so as
//! soon as such a command comes, the wait is given up with `EAGAIN`, and the reply, when it comes, is passed over.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, Shutdown, recv, shutdown};
use zerocopy::{FromBytes, IntoBytes};

use super::device::{ClientLimits, ClientMemory};
use super::message::{Message, ReceiveError, Received, Receiver, send, wait_until};
use super::spec::{
    Command, DATA_XFER_BYTES_MAX, DmaAccess, FLAG_ERROR, FLAG_TYPE_COMMAND, FLAG_TYPE_REPLY, HEADER_BYTES, Header,
};
use crate::dma::Gpa;

/// How long a client may leave a reply unread before it is given up.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the client may take for all of one DMA_READ or DMA_WRITE of the device.
const DMA_TIMEOUT: Duration = Duration::from_secs(2);
/// Commands that are kept while a reply is awaited.
const QUEUE_MESSAGES_MAX: usize = 256;
/// Payload of those, in bytes: one message of the longest kind always fits.
const QUEUE_BYTES_MAX: usize = 4 << 20;
/// File descriptors that came with those: the whole process has only so many.
const QUEUE_FDS_MAX: usize = 64;
/// Replies that may still be due to commands of ours that were given up.
const ABANDONED_MAX: usize = 64;

/// A connected client.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    receiver: Receiver,
    limits: Option<ClientLimits>,
    queue: VecDeque<Message>,
    queue_bytes: usize,
    next_id: u16,
    abandoned: Vec<u16>,
    dma_again: bool,
    broken: bool,
    out: Vec<u8>,
}

impl Connection {
    /// A client that has not said anything yet.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            receiver: Receiver::default(),
            limits: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            next_id: 0,
            abandoned: Vec::new(),
            dma_again: false,
            broken: false,
            out: Vec::new(),
        }
    }

    /// What the client said in VERSION; `None` before that.
    pub fn limits(&self) -> Option<ClientLimits> {
        self.limits
    }

    /// VERSION has been agreed on.
    pub fn agree(&mut self, limits: ClientLimits) {
        self.limits = Some(limits);
    }

    /// Whether the protocol was broken while the device reached into the client's memory.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether the device was told `EAGAIN` since the last call.
    pub fn take_dma_again(&mut self) -> bool {
        std::mem::take(&mut self.dma_again)
    }

    /// The next message, without waiting. Replies that nobody wants any more are passed over.
    ///
    /// # Errors
    /// As [`Receiver::receive`].
    pub fn next_message(&mut self) -> Result<Received, ReceiveError> {
        if let Some(message) = self.queue.pop_front() {
            self.queue_bytes -= message.payload.len();
            return Ok(Received::Message(message));
        }
        self.receive()
    }

    fn receive(&mut self) -> Result<Received, ReceiveError> {
        loop {
            let received = self.receiver.receive(self.socket.as_fd())?;
            if let Received::Message(message) = &received
                && message.header.kind() == FLAG_TYPE_REPLY
                && let Some(position) = self.abandoned.iter().position(|&id| id == message.header.message_id)
            {
                self.abandoned.swap_remove(position);
                continue;
            }
            return Ok(received);
        }
    }

    /// Sends the reply to `request`: `build` writes the payload and may give a descriptor to go with it. If it fails, the
    /// reply is an error of a header alone. Nothing is sent if the client wants no reply.
    ///
    /// # Errors
    /// Those of [`send`]: the connection has to be closed.
    pub fn reply(
        &mut self,
        request: &Header,
        build: impl FnOnce(&mut Self, &mut Vec<u8>) -> Result<Option<OwnedFd>, Errno>,
    ) -> Result<(), Errno> {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.resize(HEADER_BYTES, 0);
        let result = build(self, &mut out);
        let mut header = Header { flags: FLAG_TYPE_REPLY, error: 0, ..*request };
        if let Err(errno) = &result {
            out.truncate(HEADER_BYTES);
            header.flags |= FLAG_ERROR;
            header.error = errno.raw_os_error().unsigned_abs();
            tracing::debug!(command = request.command.0, %errno, "refused a client's command");
        }
        let sent = if request.wants_reply() {
            seal(&mut out, header);
            let deadline = Instant::now() + SEND_TIMEOUT;
            send(self.socket.as_fd(), &out, result.ok().flatten().as_ref().map(AsFd::as_fd), deadline)
        } else {
            Ok(())
        };
        self.out = out;
        sent
    }

    /// Sends an error reply.
    ///
    /// # Errors
    /// As [`reply`](Self::reply).
    pub fn refuse(&mut self, request: &Header, errno: Errno) -> Result<(), Errno> {
        self.reply(request, |_, _| Err(errno))
    }

    /// Ends the connection so that the client sees an end of file: one that closes with messages unread resets the
    /// connection, at which QEMU aborts. After the shutdown nothing more can arrive, so this ends.
    pub fn close(self) {
        if shutdown(&self.socket, Shutdown::Both).is_err() {
            return;
        }
        let mut scratch = [0_u8; 8192];
        while let Ok((1.., _)) = retry_on_intr(|| recv(&self.socket, &mut scratch[..], RecvFlags::DONTWAIT)) {}
    }

    /// Sends a command of ours and waits for the reply, which gets checked; gives the payload behind the [`DmaAccess`].
    fn dma(&mut self, command: Command, access: DmaAccess, data: &[u8], deadline: Instant) -> Result<Vec<u8>, Errno> {
        if self.client_waits() {
            self.dma_again = true;
            return Err(Errno::AGAIN);
        }
        let id = self.fresh_id();
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.resize(HEADER_BYTES, 0);
        out.extend_from_slice(access.as_bytes());
        out.extend_from_slice(data);
        seal(&mut out, Header { message_id: id, command, message_size: 0, flags: FLAG_TYPE_COMMAND, error: 0 });
        let sent = send(self.socket.as_fd(), &out, None, deadline);
        self.out = out;
        sent.map_err(|errno| self.break_off(errno))?;
        let reply = self.await_reply(id, deadline)?;
        self.check_reply(command, access, reply)
    }

    /// Waits for the reply with this id, and keeps commands for later.
    fn await_reply(&mut self, id: u16, deadline: Instant) -> Result<Message, Errno> {
        loop {
            let message = match self.receive() {
                Ok(Received::Message(message)) => message,
                Ok(Received::Pending) => {
                    let waited = wait_until(self.socket.as_fd(), PollFlags::IN, deadline);
                    waited.map_err(|errno| self.break_off(errno))?;
                    continue;
                }
                Ok(Received::Closed | Received::TooLong(_)) => return Err(self.break_off(Errno::NOTCONN)),
                Err(ReceiveError::Io(errno)) => return Err(self.break_off(errno)),
                Err(ReceiveError::Size(_)) => return Err(self.break_off(Errno::PROTO)),
            };
            if message.header.kind() == FLAG_TYPE_REPLY {
                let expected = message.header.message_id == id;
                return if expected { Ok(message) } else { Err(self.break_off(Errno::PROTO)) };
            }
            self.queue_bytes += message.payload.len();
            self.queue.push_back(message);
            if self.client_waits() {
                return Err(self.abandon(id));
            }
        }
    }

    fn check_reply(&mut self, command: Command, access: DmaAccess, mut reply: Message) -> Result<Vec<u8>, Errno> {
        if reply.header.command != command {
            return Err(self.break_off(Errno::PROTO));
        }
        if reply.header.flags & FLAG_ERROR != 0 {
            let errno = i32::try_from(reply.header.error).unwrap_or(0);
            return Err(if (1..4096).contains(&errno) { Errno::from_raw_os_error(errno) } else { Errno::IO });
        }
        if command == Command::DMA_WRITE {
            return Ok(Vec::new());
        }
        let whole = DmaAccess::read_from_prefix(&reply.payload)
            .is_ok_and(|(echo, data)| echo == access && data.len() as u64 == access.count);
        if whole { Ok(reply.payload.split_off(size_of::<DmaAccess>())) } else { Err(Errno::IO) }
    }

    /// Whether a command is queued whose sender waits for the answer, or no more can be queued.
    fn client_waits(&self) -> bool {
        self.queue.len() >= QUEUE_MESSAGES_MAX
            || self.queue_bytes >= QUEUE_BYTES_MAX
            || self.queue.iter().map(|message| message.fds.len()).sum::<usize>() >= QUEUE_FDS_MAX
            || self.queue.iter().any(|message| message.header.wants_reply())
    }

    fn abandon(&mut self, id: u16) -> Errno {
        if self.abandoned.len() >= ABANDONED_MAX {
            return self.break_off(Errno::PROTO);
        }
        self.abandoned.push(id);
        self.dma_again = true;
        Errno::AGAIN
    }

    fn break_off(&mut self, reason: Errno) -> Errno {
        tracing::debug!(%reason, "a client did not serve a DMA request");
        self.broken = true;
        Errno::NOTCONN
    }

    fn fresh_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.wrapping_add(1);
            if !self.abandoned.contains(&self.next_id) {
                return self.next_id;
            }
        }
    }

    /// The pieces of `len` bytes at `gpa` that the client takes, one message each.
    fn pieces(
        &self,
        gpa: Gpa,
        len: usize,
    ) -> Result<impl Iterator<Item = (DmaAccess, std::ops::Range<usize>)> + use<>, Errno> {
        let limits = self.limits.filter(|_| !self.broken).ok_or(Errno::NOTCONN)?;
        gpa.checked_add(len as u64).ok_or(Errno::FAULT)?;
        let piece_len = limits.max_data_xfer_size.clamp(1, DATA_XFER_BYTES_MAX) as usize;
        Ok((0..len).step_by(piece_len).map(move |start| {
            let range = start..len.min(start + piece_len);
            (DmaAccess { address: gpa.0 + start as u64, count: range.len() as u64 }, range)
        }))
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl ClientMemory for Connection {
    fn dma_read(&mut self, gpa: Gpa, data: &mut [u8]) -> Result<(), Errno> {
        let deadline = Instant::now() + DMA_TIMEOUT;
        for (access, range) in self.pieces(gpa, data.len())? {
            data[range].copy_from_slice(&self.dma(Command::DMA_READ, access, &[], deadline)?);
        }
        Ok(())
    }

    fn dma_write(&mut self, gpa: Gpa, data: &[u8]) -> Result<(), Errno> {
        let deadline = Instant::now() + DMA_TIMEOUT;
        for (access, range) in self.pieces(gpa, data.len())? {
            self.dma(Command::DMA_WRITE, access, &data[range], deadline)?;
        }
        Ok(())
    }
}

/// Puts the header with the true size in front of a message.
fn seal(out: &mut [u8], header: Header) {
    let message_size = u32::try_from(out.len()).expect("replies are bounded");
    out[..HEADER_BYTES].copy_from_slice(Header { message_size, ..header }.as_bytes());
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    #[test]
    fn a_client_that_does_not_serve_its_memory_in_time_is_given_up() {
        let (ours, _theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        let mut connection = Connection::new(ours);
        connection.agree(ClientLimits::default());
        let access = DmaAccess { address: 0x1000, count: 4 };
        let result = connection.dma(Command::DMA_READ, access, &[], Instant::now());
        assert_eq!(result, Err(Errno::NOTCONN));
        assert!(connection.is_broken());
        assert_eq!(connection.dma_read(Gpa(0), &mut [0]), Err(Errno::NOTCONN));
    }
}

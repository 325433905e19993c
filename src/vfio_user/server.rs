//! The server of one controller: waits for a client, serves it, waits for the next.
//!
//! Runs on the controller's own thread and blocks only in `poll`, on the listening socket or the one client, and on the
//! wake eventfd. While a client is served, others wait in the kernel's backlog: a new one can connect before it is known
//! that the last one died.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, retry_on_intr};

use super::connection::Connection;
use super::device::{ClientMemory, Device};
use super::dispatch::dispatch;
use super::message::{ReceiveError, Received};
use super::socket::{BindError, Listener};
use crate::dma::Gpa;
use crate::observe::LogLimit;

/// Messages that are handled before the wake eventfd is looked at again.
const BATCH_MESSAGES_MAX: usize = 16;
/// How long to leave a client waiting that cannot be accepted for want of descriptors or memory.
const ACCEPT_PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
const NO_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The vfio-user server of one controller. Dropping it removes the socket.
#[derive(Debug)]
pub struct Server {
    listener: Listener,
    failures: LogLimit,
}

/// Why serving ended before it was told to stop. Nothing that a client does leads here.
#[derive(Debug, thiserror::Error)]
#[error("cannot serve socket {}: {source}", path.display())]
pub struct ServeError {
    path: PathBuf,
    source: io::Error,
}

impl Server {
    /// Listens on `path` with mode 0600. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`BindError`], which says what is in the way and what to do.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        Ok(Self { listener: Listener::bind(path)?, failures: LogLimit::new() })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        self.listener.path()
    }

    /// Serves one client after the other until `stop` is set and `wake` (an eventfd) is signalled. Each time `wake` is
    /// signalled it is drained and [`Device::wake`] called, whether or not a client is there. When this returns, no client
    /// is connected and [`Device::disconnected`] has been called.
    ///
    /// # Errors
    /// [`ServeError`] if the system refuses to poll.
    pub fn run(&mut self, device: &mut dyn Device, wake: BorrowedFd<'_>, stop: &AtomicBool) -> Result<(), ServeError> {
        let failed = |errno: Errno| ServeError { path: self.path().to_owned(), source: errno.into() };
        while let Some(socket) = self.next_client(device, wake, stop).map_err(failed)? {
            serve(socket, device, wake, stop).map_err(failed)?;
        }
        Ok(())
    }

    /// Waits for a client; `None` when told to stop.
    fn next_client(
        &self,
        device: &mut dyn Device,
        wake: BorrowedFd<'_>,
        stop: &AtomicBool,
    ) -> Result<Option<OwnedFd>, Errno> {
        let mut pause = false;
        while !stop.load(Ordering::Acquire) {
            let listener = self.listener.as_fd();
            // A full table of descriptors is waited out, not asked about all the time.
            let ready = if pause { wait(wake, wake, Some(&ACCEPT_PAUSE))? } else { wait(listener, wake, None)? };
            if ready.wake && !stop.load(Ordering::Acquire) {
                drain(wake)?;
                device.wake(&mut NoClient);
            }
            if !ready.socket && !pause {
                continue;
            }
            match self.listener.accept() {
                Ok(socket) => return Ok(Some(socket)),
                Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => pause = false,
                Err(errno) => {
                    if !pause {
                        self.report(errno);
                    }
                    pause = true;
                }
            }
        }
        Ok(None)
    }

    fn report(&self, errno: Errno) {
        let Some(suppressed) = self.failures.allow() else { return };
        let path = self.path().display();
        let hint = if errno == Errno::MFILE { "; raise the limit on open files (ulimit -n)" } else { "" };
        tracing::warn!(suppressed, "a client of {path} has to wait, it cannot be accepted: {errno}{hint}");
    }
}

/// Serves one client until it goes or `stop` is set.
pub fn serve(socket: OwnedFd, device: &mut dyn Device, wake: BorrowedFd<'_>, stop: &AtomicBool) -> Result<(), Errno> {
    let mut connection = Connection::new(socket);
    let result = session(&mut connection, device, wake, stop);
    // In this order, a client that sees the end of the connection knows that its memory is not touched any more.
    if connection.limits().is_some() {
        device.disconnected();
    }
    connection.close();
    result
}

fn session(
    connection: &mut Connection,
    device: &mut dyn Device,
    wake: BorrowedFd<'_>,
    stop: &AtomicBool,
) -> Result<(), Errno> {
    while !stop.load(Ordering::Acquire) {
        let Some(idle) = handle_batch(connection, device) else { return Ok(()) };
        // What the client waited for is answered, so the device may reach into its memory again.
        if idle && connection.take_dma_again() {
            device.wake(connection);
        } else {
            let ready = wait(connection.as_fd(), wake, if idle { None } else { Some(&NO_WAIT) })?;
            if ready.wake && !stop.load(Ordering::Acquire) {
                drain(wake)?;
                device.wake(connection);
            }
        }
        if connection.is_broken() {
            return Ok(());
        }
    }
    Ok(())
}

/// Handles what has come, up to a bound. Tells whether that was all; `None` if the connection has to be closed.
fn handle_batch(connection: &mut Connection, device: &mut dyn Device) -> Option<bool> {
    for _ in 0..BATCH_MESSAGES_MAX {
        let handled = match connection.next_message() {
            Ok(Received::Message(message)) => dispatch(connection, device, message),
            Ok(Received::TooLong(header)) => connection.refuse(&header, Errno::INVAL),
            Ok(Received::Pending) => return Some(true),
            Ok(Received::Closed) => return None,
            Err(ReceiveError::Size(header)) => {
                tracing::debug!(?header, "closed a connection: the size of a message cannot be true");
                // The client may be gone already; either way this connection is at its end.
                let _ = connection.refuse(&header, Errno::INVAL);
                return None;
            }
            Err(ReceiveError::Io(errno)) => Err(errno),
        };
        if let Err(errno) = handled {
            tracing::debug!(%errno, "closed a connection");
            return None;
        }
    }
    Some(false)
}

struct Ready {
    socket: bool,
    wake: bool,
}

/// Waits for the socket or the wake eventfd.
fn wait(socket: BorrowedFd<'_>, wake: BorrowedFd<'_>, timeout: Option<&Timespec>) -> Result<Ready, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::IN), PollFd::from_borrowed_fd(wake, PollFlags::IN)];
    match poll(&mut fds, timeout) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(Ready { socket: false, wake: false }),
        Err(errno) => return Err(errno),
    }
    let [socket, wake] = fds.map(|fd| fd.revents());
    if (socket | wake).contains(PollFlags::NVAL) {
        return Err(Errno::BADF);
    }
    Ok(Ready { socket: !socket.is_empty(), wake: !wake.is_empty() })
}

fn drain(wake: BorrowedFd<'_>) -> Result<(), Errno> {
    match retry_on_intr(|| read(wake, &mut [0_u8; 8])) {
        Ok(_) | Err(Errno::AGAIN) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// The memory of nobody.
struct NoClient;

impl ClientMemory for NoClient {
    fn dma_read(&mut self, _gpa: Gpa, _data: &mut [u8]) -> Result<(), Errno> {
        Err(Errno::NOTCONN)
    }

    fn dma_write(&mut self, _gpa: Gpa, _data: &[u8]) -> Result<(), Errno> {
        Err(Errno::NOTCONN)
    }
}

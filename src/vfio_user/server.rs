//! The server of one controller: waits for a client, serves it, waits for the next.

use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::device::Device;
use super::socket::BindError;

/// The vfio-user server of one controller.
#[derive(Debug)]
pub struct Server {}

/// Why serving ended before it was told to stop. Nothing that a client does leads here.
#[derive(Debug, thiserror::Error)]
#[error("vfio-user socket {path}: {source}")]
pub struct ServeError {
    path: String,
    source: std::io::Error,
}

impl Server {
    /// Listens on `path` with mode 0600. A socket that nobody listens on any more is replaced.
    ///
    /// # Errors
    /// [`BindError`], which says what is in the way and what to do.
    pub fn bind(_path: &Path) -> Result<Self, BindError> {
        Ok(Self {})
    }

    /// Serves one client after the other until `stop` is set and `wake` (an eventfd) is signalled. Each time `wake` is
    /// signalled it is drained and [`Device::wake`] called.
    ///
    /// # Errors
    /// [`ServeError`] if the system refuses to poll.
    pub fn run(
        &mut self,
        _device: &mut dyn Device,
        _wake: BorrowedFd<'_>,
        _stop: &AtomicBool,
    ) -> Result<(), ServeError> {
        Ok(())
    }
}

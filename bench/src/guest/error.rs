//! How driving a device can fail.

use std::time::Duration;

use super::memory::Gpa;

/// Result of everything that talks to the device.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation of the guest failed. A SCSI command that ends with a bad status is none: that is a [`Response`].
///
/// [`Response`]: super::scsi::Response
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The vfio-user connection failed or was closed by the device.
    #[error("vfio-user connection: {0}")]
    Connection(#[from] vfio_user::Error),
    /// A system call of ours failed.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said. Told with the rest, so that whoever tells of causes does not repeat it.
        cause: std::io::Error,
    },
    /// The device's PCI or virtio registers are not what the specification demands.
    #[error("the device breaks the specification: {0}")]
    Device(String),
    /// Nothing came within the time limit.
    #[error("no {what} within {limit:?}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: Duration,
    },
    /// The ring or the guest's memory has no room for another request now.
    #[error("no room: {0}")]
    Full(&'static str),
    /// An address that is in none of the guest's regions.
    #[error("guest address {0} plus {1} bytes is in no region")]
    NoMemory(Gpa, usize),
    /// The device gave back a chain that it was not given, or gave one back twice.
    #[error("the device used head {head} of queue {queue}, which is not in flight")]
    UnknownHead {
        /// Number of the virtqueue.
        queue: u16,
        /// Head index in the used element.
        head: u32,
    },
    /// A command did not end as the caller needed it to.
    #[error("command failed: {0}")]
    Command(String),
}

impl Error {
    /// Names the operation that the kernel refused.
    pub fn system(what: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |errno| Self::System { what, cause: errno.into() }
    }
}

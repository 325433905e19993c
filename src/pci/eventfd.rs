//! A place for a client's eventfd that any thread can signal through, without a lock, while another replaces it.
//!
//! Whatever descriptor a client gives, a signal is one write that neither blocks nor fails the caller.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use rustix::fd::AsRawFd;
use rustix::io::Errno;

/// Why a descriptor cannot be the target of an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The function has no such vector.
    #[error("there is no such interrupt vector")]
    NoSuchVector,
    /// The descriptor is something else than an eventfd; writing to it could block or do anything.
    #[error("the descriptor is not an eventfd")]
    NotAnEventfd,
}

#[derive(Debug, Default)]
pub(super) struct Slot(ArcSwapOption<OwnedFd>);

impl Slot {
    /// Puts `fd` in place of what was here, which is closed once the last signal through it is done. Tells whether
    /// something was here.
    pub(super) fn replace(&self, fd: Option<OwnedFd>) -> bool {
        self.0.swap(fd.map(Arc::new)).is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.load().is_none()
    }

    /// Adds one to the eventfd's counter, or returns `None` if there is no eventfd. `Some(false)` and one more in `errors`
    /// mean that the write failed. A counter that is full has signalled already.
    pub(super) fn signal(&self, errors: &AtomicU64) -> Option<bool> {
        let fd = self.0.load();
        let written = rustix::io::write(&**fd.as_ref()?, &1u64.to_ne_bytes());
        Some(match written {
            Ok(_) | Err(Errno::AGAIN) => true,
            Err(_) => {
                errors.fetch_add(1, Ordering::Relaxed);
                false
            }
        })
    }
}

/// Makes sure that signalling `fd` will not block: that it is an eventfd, set not to block when its counter is full.
///
/// The kernel keeps that setting per open file, which the client shares: it could take it back. Linux has no write that is
/// sure not to wait, so that much trust in the virtual machine monitor remains.
pub(super) fn admit(fd: &OwnedFd) -> Result<(), AttachError> {
    let link = PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()));
    // Without /proc the kind cannot be told; the flag below still keeps every pipe and socket from blocking.
    if let Ok(kind) = rustix::fs::readlink(&link, Vec::new())
        && kind.as_bytes() != b"anon_inode:[eventfd]"
    {
        return Err(AttachError::NotAnEventfd);
    }
    let flags = rustix::fs::fcntl_getfl(fd).map_err(|_| AttachError::NotAnEventfd)?;
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK).map_err(|_| AttachError::NotAnEventfd)
}

#[cfg(test)]
pub(super) mod testing {
    use std::os::fd::OwnedFd;

    use rustix::event::EventfdFlags;

    /// An eventfd with an empty counter, and the same again to look at it.
    pub fn eventfd() -> (OwnedFd, OwnedFd) {
        let fd = rustix::event::eventfd(0, EventfdFlags::NONBLOCK).expect("the kernel gives an eventfd");
        let twin = fd.try_clone().expect("a descriptor can be duplicated");
        (fd, twin)
    }

    /// Signals since the last call.
    pub fn count(fd: &OwnedFd) -> u64 {
        let mut bytes = [0; 8];
        match rustix::io::read(fd, &mut bytes) {
            Ok(8) => u64::from_ne_bytes(bytes),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{count, eventfd};
    use super::*;

    #[test]
    fn an_eventfd_is_made_non_blocking_and_other_kinds_are_refused() {
        let blocking = rustix::event::eventfd(0, rustix::event::EventfdFlags::empty()).expect("an eventfd");
        assert_eq!(admit(&blocking), Ok(()));
        let flags = rustix::fs::fcntl_getfl(&blocking).expect("flags");
        assert!(flags.contains(rustix::fs::OFlags::NONBLOCK));
        let null = OwnedFd::from(std::fs::File::open("/dev/null").expect("/dev/null opens"));
        assert_eq!(admit(&null), Err(AttachError::NotAnEventfd));
    }

    #[test]
    fn a_full_counter_has_signalled_and_does_not_block() {
        let (fd, twin) = eventfd();
        rustix::io::write(&twin, &(u64::MAX - 1).to_ne_bytes()).expect("the counter takes its maximum");
        let (slot, errors) = (Slot::default(), AtomicU64::new(0));
        slot.replace(Some(fd));
        assert_eq!(slot.signal(&errors), Some(true));
        assert_eq!(errors.into_inner(), 0);
        assert_eq!(count(&twin), u64::MAX - 1);
    }

    #[test]
    fn a_descriptor_that_cannot_be_written_is_counted() {
        let (slot, errors) = (Slot::default(), AtomicU64::new(0));
        assert_eq!(slot.signal(&errors), None);
        slot.replace(Some(OwnedFd::from(std::fs::File::open("/dev/null").expect("/dev/null opens"))));
        assert_eq!(slot.signal(&errors), Some(false));
        assert_eq!(errors.into_inner(), 1);
    }
}

//! The system call that submits and collects, by the shortest way that the kernel has.
//!
//! Owns the place of the ring's descriptor in the kernel's table of registered rings, which belongs to the thread that made
//! the ring. With it the kernel neither looks a descriptor up nor counts a reference for each call.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::EnterFlags;

/// `IORING_REGISTER_RING_FDS` and `IORING_UNREGISTER_RING_FDS` (linux/io_uring.h).
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    fd: u64,
}

/// The way into one ring, for the thread that made it.
#[derive(Debug)]
pub(crate) struct Enter {
    fd: RawFd,
    /// Place among the registered rings of this thread. It holds the ring, too, so that it is given back before the ring
    /// is closed.
    place: Option<u32>,
}

impl Enter {
    /// The way into `ring`, which outlives it. Linux 5.18 has the short one, for 16 rings of a thread.
    pub(crate) fn new(ring: &impl AsRawFd) -> Self {
        let fd = ring.as_raw_fd();
        let mut update = RingUpdate { offset: u32::MAX, reserved: 0, fd: fd as u64 };
        let place = match register(fd, REGISTER_RING_FDS, &mut update) {
            Ok(()) => Some(update.offset),
            Err(error) => {
                tracing::debug!(%error, "the ring is not registered: each call costs a little more");
                None
            }
        };
        Self { fd, place }
    }

    /// Whether the kernel knows the ring by its place.
    pub(crate) fn is_registered(&self) -> bool {
        self.place.is_some()
    }

    /// Hands `queued` entries over, and with `asked` runs what the kernel has put off. Returns how many were taken; what was
    /// not stays queued for the next pass.
    ///
    /// # Safety
    /// What the queued entries point to stays until their completion.
    ///
    /// # Panics
    /// The kernel says that the ring is used wrongly.
    pub(crate) unsafe fn hand_over(&self, queued: u32, asked: bool) -> usize {
        let flags = if asked { EnterFlags::GETEVENTS } else { EnterFlags::empty() };
        // SAFETY: as the caller promises.
        match unsafe { self.call(queued, flags) } {
            Ok(taken) => taken,
            Err(error) => {
                if let Some(libc::EEXIST | libc::EBADF | libc::EBADFD | libc::EFAULT | libc::EINVAL) =
                    error.raw_os_error()
                {
                    panic!("io_uring is used by another thread than the one that made it, or was closed: {error}");
                }
                tracing::debug!(%error, queued, "io_uring takes nothing for now");
                0
            }
        }
    }

    /// The system call.
    ///
    /// # Safety
    /// As that of [`Enter::hand_over`].
    unsafe fn call(&self, queued: u32, flags: EnterFlags) -> io::Result<usize> {
        let (fd, flags) = match self.place {
            Some(place) => (place as RawFd, flags | EnterFlags::REGISTERED_RING),
            None => (self.fd, flags),
        };
        // SAFETY: the ring is open, there is no argument structure, and the entries are as the caller promises.
        let taken = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, fd, queued, 0_u32, flags.bits(), std::ptr::null::<()>(), 0_usize)
        };
        if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(taken as usize) }
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        if let Some(offset) = self.place.take() {
            let mut update = RingUpdate { offset, reserved: 0, fd: 0 };
            if let Err(error) = register(self.fd, UNREGISTER_RING_FDS, &mut update) {
                tracing::warn!(%error, "a closed ring stays registered");
            }
        }
    }
}

fn register(fd: RawFd, opcode: u32, update: &mut RingUpdate) -> io::Result<()> {
    // SAFETY: both operations take one such structure, and write to nothing else.
    let done = unsafe { libc::syscall(libc::SYS_io_uring_register, fd, opcode, std::ptr::from_mut(update), 1_u32) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use io_uring::IoUring;

    use super::*;

    #[test]
    fn a_place_is_given_back_with_the_ring() {
        // Three times as many as a thread has places for.
        for _ in 0..48 {
            let ring = IoUring::new(1).unwrap();
            assert!(Enter::new(&ring).is_registered());
        }
    }

    #[test]
    fn without_a_place_the_descriptor_does() {
        let rings: Vec<_> = (0..20).map(|_| IoUring::new(1).unwrap()).collect();
        let ways: Vec<_> = rings.iter().map(Enter::new).collect();
        assert!(ways.iter().any(|way| !way.is_registered()), "a thread has 16 places");
        for way in &ways {
            // SAFETY: nothing is queued.
            assert_eq!(unsafe { way.call(0, EnterFlags::GETEVENTS) }.unwrap(), 0);
        }
    }
}

//! The system call that submits and collects, by the shortest way that the kernel has.
//!
//! With a place in the kernel's table of the thread's registered rings no descriptor is looked up for each call. The crate
//! `io_uring` remembers the place only for as long as a `Submitter` borrows the ring. `bdev` has such a way of its own, of which a
//! load generator imports nothing, as of all of the target.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::RawFd;

use io_uring::EnterFlags;

/// `IORING_REGISTER_RING_FDS` (linux/io_uring.h).
const REGISTER_RING_FDS: u32 = 20;

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    fd: u64,
}

/// The way into one ring, for the thread that issues to it.
#[derive(Debug)]
pub(super) struct Enter {
    fd: RawFd,
    /// Place among the registered rings of this thread; the kernel takes it back when the thread ends.
    place: Option<u32>,
}

impl Enter {
    /// The way into the ring of this descriptor, for the calling thread. Linux 5.18 has the short one.
    pub(super) fn new(fd: RawFd) -> Self {
        let mut update = RingUpdate { offset: u32::MAX, reserved: 0, fd: fd as u64 };
        // SAFETY: it takes one such structure, and writes to nothing else.
        let done = unsafe {
            libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, std::ptr::from_mut(&mut update), 1_u32)
        };
        Self { fd, place: (done >= 0).then_some(update.offset) }
    }

    /// Hands `queued` entries over, and with `asked` has the kernel run what it has put off, or look for results. Returns how many
    /// it took.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Safety
    /// It is the thread that made this; the ring is open, and what the queued entries point to stays until their completion.
    pub(super) unsafe fn call(&self, queued: u32, asked: bool) -> io::Result<usize> {
        let flags = if asked { EnterFlags::GETEVENTS } else { EnterFlags::empty() };
        let (fd, flags) = match self.place {
            Some(place) => (place as RawFd, flags | EnterFlags::REGISTERED_RING),
            None => (self.fd, flags),
        };
        // SAFETY: there is no argument structure; the rest is as the caller promises.
        let taken = unsafe {
            libc::syscall(libc::SYS_io_uring_enter, fd, queued, 0_u32, flags.bits(), std::ptr::null::<()>(), 0_usize)
        };
        if taken < 0 { Err(io::Error::last_os_error()) } else { Ok(taken as usize) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use io_uring::IoUring;

    use super::*;

    #[test]
    fn with_or_without_a_place_the_kernel_is_reached() {
        // A thread has 16 places.
        let rings: Vec<_> = (0..20).map(|_| IoUring::new(1).unwrap()).collect();
        let ways: Vec<_> = rings.iter().map(|ring| Enter::new(ring.as_raw_fd())).collect();
        assert!(ways[0].place.is_some() && ways[19].place.is_none());
        for way in &ways {
            // SAFETY: the rings are open, and nothing is queued.
            assert_eq!(unsafe { way.call(0, true) }.unwrap(), 0);
        }
    }
}

//! The map of a file's space that its file system has (`FS_IOC_FIEMAP`, `<linux/fiemap.h>`).
//!
//! It tells space that is set aside from space that was written. Asked of holes alone: of data that has not come to the disk
//! it does not always know.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use crate::info::Provision;

/// `_IOWR('f', 11, struct fiemap)`.
const FS_IOC_FIEMAP: u32 = 0xc020_660b;
/// Nothing was written there since it was set aside.
const UNWRITTEN: u32 = 0x0800;
/// Other files have it, too: the next write takes space of its own.
const SHARED: u32 = 0x2000;
/// Pieces that are asked for at once.
const PIECES: usize = 64;

/// `struct fiemap_extent`.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
struct RawExtent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved64: [u64; 2],
    flags: u32,
    reserved: [u32; 3],
}

/// `struct fiemap`, with room for extents.
#[derive(Debug)]
#[repr(C)]
struct Request {
    start: u64,
    length: u64,
    flags: u32,
    mapped_extents: u32,
    extent_count: u32,
    reserved: u32,
    extents: [RawExtent; PIECES],
}

const _: () = assert!(size_of::<RawExtent>() == 56 && size_of::<Request>() == 32 + 56 * PIECES);

/// A piece of space of a file: from a byte to the one behind its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) provision: Provision,
}

impl Piece {
    fn of(raw: &RawExtent) -> Self {
        let provision = match raw.flags & (UNWRITTEN | SHARED) {
            UNWRITTEN => Provision::Anchored,
            _ => Provision::Mapped,
        };
        Self { start: raw.logical, end: raw.logical.saturating_add(raw.length), provision }
    }
}

/// The first pieces of space that touch a range, in order.
pub(super) fn pieces(file: &File, start: u64, length: u64) -> io::Result<Vec<Piece>> {
    let extents = [RawExtent::default(); PIECES];
    let mut request =
        Request { start, length, flags: 0, mapped_extents: 0, extent_count: PIECES as u32, reserved: 0, extents };
    // SAFETY: the request is as long as its number of extents says, ours, and filled before the call returns.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), libc::Ioctl::from(FS_IOC_FIEMAP), &raw mut request) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    let mapped = (request.mapped_extents as usize).min(PIECES);
    Ok(request.extents[..mapped].iter().map(Piece::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn space_is_anchored_that_is_set_aside_for_one_file_alone() {
        let of = |flags| Piece::of(&RawExtent { logical: 4096, length: 8192, flags, ..RawExtent::default() });
        assert_eq!(of(0x801), Piece { start: 4096, end: 12288, provision: Provision::Anchored });
        assert_eq!([0, 1, 0x2000, 0x2800, 0x1000].map(|flags| of(flags).provision), [Provision::Mapped; 5]);
        let endless = RawExtent { logical: 4096, length: u64::MAX, ..RawExtent::default() };
        assert_eq!(Piece::of(&endless).end, u64::MAX);
    }

    #[test]
    fn what_has_no_map_says_so() {
        let null = File::open("/dev/null").unwrap();
        assert!(pieces(&null, 0, 4096).is_err());
    }
}

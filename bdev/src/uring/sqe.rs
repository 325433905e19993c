//! A part of an operation as a submission queue entry. No decisions: `ops` has made them.

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};

use crate::op::OpKind;
use crate::space::Way;
use crate::uring::files::Target;
use crate::uring::ops::{Buffers, Part, What};
use crate::uring::slab::CANCEL;

/// The entry for `part`. It points to the memory of the part's segments.
pub(crate) fn entry(part: &Part) -> Entry {
    let (fd, flags) = match part.target {
        Target::Registered(index) => (Fd(index as i32), Flags::FIXED_FILE),
        Target::Descriptor(fd) => (Fd(fd), squeue::Flags::empty()),
    };
    let entry = match part.what {
        What::Sync => opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build(),
        What::Prefetch { offset, len } => prefetch(fd, offset, len),
        What::Move { kind: OpKind::Read, offset, from, registered } => read(fd, offset, from, registered),
        What::Move { kind, offset, from, registered } => write(fd, offset, (from, registered), kind.write_flags()),
        What::Space { way, offset, len } => space(fd, way, offset, len),
    };
    entry.flags(flags).user_data(part.user_data)
}

/// The entry that asks to end the operation with `user_data` early.
pub(crate) fn cancel(user_data: u64) -> Entry {
    opcode::AsyncCancel::new(user_data).build().user_data(CANCEL)
}

/// `BLOCK_URING_CMD_DISCARD` of `<linux/blkdev.h>`: `_IO(0x12, 0)`.
const BLOCK_DISCARD: u32 = 0x1200;

/// The kernel takes a length of 32 bits, and a longer one for what is left of them: who prefetches a part has begun.
fn prefetch(fd: Fd, offset: u64, len: u64) -> Entry {
    let len = len.min(1 << 30) as libc::off_t;
    opcode::Fadvise::new(fd, len, libc::POSIX_FADV_WILLNEED).offset(offset).build()
}

fn space(fd: Fd, way: Way, offset: u64, len: u64) -> Entry {
    match way.fallocate_mode() {
        Some(mode) => opcode::Fallocate::new(fd, len).offset(offset).mode(mode).build(),
        None => discard(fd, offset, len),
    }
}

/// The entry that discards a range of a block device: the command's first eight bytes hold the length.
pub(super) fn discard(fd: Fd, offset: u64, len: u64) -> Entry {
    let mut command = [0; 16];
    command[..8].copy_from_slice(&len.to_ne_bytes());
    opcode::UringCmd16::new(fd, BLOCK_DISCARD).addr(Some(offset)).cmd(command).build()
}

fn read(fd: Fd, offset: u64, into: Buffers, registered: Option<u16>) -> Entry {
    match (into, registered) {
        (Buffers::One(segment), None) => {
            opcode::Read::new(fd, segment.as_ptr(), segment.len() as u32).offset(offset).build()
        }
        (Buffers::One(segment), Some(index)) => {
            opcode::ReadFixed::new(fd, segment.as_ptr(), segment.len() as u32, index).offset(offset).build()
        }
        (Buffers::Many { first, count }, None) => opcode::Readv::new(fd, first.cast(), count).offset(offset).build(),
        (Buffers::Many { first, count }, Some(index)) => {
            opcode::ReadvFixed::new(fd, first.cast(), count, index).offset(offset).build()
        }
    }
}

fn write(fd: Fd, offset: u64, (from, registered): (Buffers, Option<u16>), flags: i32) -> Entry {
    match (from, registered) {
        (Buffers::One(segment), None) => {
            opcode::Write::new(fd, segment.as_ptr(), segment.len() as u32).offset(offset).rw_flags(flags).build()
        }
        (Buffers::One(segment), Some(index)) => {
            let (base, len) = (segment.as_ptr(), segment.len() as u32);
            opcode::WriteFixed::new(fd, base, len, index).offset(offset).rw_flags(flags).build()
        }
        (Buffers::Many { first, count }, None) => {
            opcode::Writev::new(fd, first.cast(), count).offset(offset).rw_flags(flags).build()
        }
        (Buffers::Many { first, count }, Some(index)) => {
            opcode::WritevFixed::new(fd, first.cast(), count, index).offset(offset).rw_flags(flags).build()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;
    use crate::segment::Segment;

    /// The index of the registered buffer.
    fn buffer(entry: &Entry) -> u16 {
        // SAFETY: as below.
        let bytes: [u8; 64] = unsafe { std::mem::transmute_copy(entry) };
        u16::from_ne_bytes([bytes[40], bytes[41]])
    }

    /// The entry as `struct io_uring_sqe` has it: opcode, flags, fd, offset, address, length, operation flags, user_data.
    fn fields(entry: &Entry) -> (u8, u8, i32, u64, u64, u32, u32, u64) {
        // SAFETY: an entry is the kernel's plain struct of 64 bytes.
        let bytes: [u8; 64] = unsafe { std::mem::transmute_copy(entry) };
        let u32_at = |at| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        let u64_at = |at| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        (bytes[0], bytes[1], u32_at(4) as i32, u64_at(8), u64_at(16), u32_at(24), u32_at(28), u64_at(32))
    }

    fn part(target: Target, what: What) -> Part {
        Part { target, user_data: 0x7_0000_0003, what }
    }

    #[test]
    fn entries_say_what_the_parts_say() {
        assert_eq!(size_of::<Entry>(), 64);
        // SAFETY: never read nor written.
        let segment = unsafe { Segment::new(NonNull::new(0x5000 as *mut u8).unwrap(), 512) };
        let of = |from, registered| move |kind| What::Move { kind, offset: 4096, from, registered };
        let one = of(Buffers::One(segment), None);
        let one_fixed = of(Buffers::One(segment), Some(5));
        let first = 0x6000 as *const Segment;
        let many = of(Buffers::Many { first, count: 3 }, None);
        let many_fixed = of(Buffers::Many { first, count: 3 }, Some(5));
        let (plain, fua) = (OpKind::Write { fua: false }, OpKind::Write { fua: true });
        let (data, registered, file) = (0x7_0000_0003, Target::Registered(9), Target::Descriptor(9));
        // From <linux/io_uring.h> and <linux/fs.h>: READV 1, WRITEV 2, FSYNC 3, READ 22, WRITE 23; IOSQE_FIXED_FILE 1;
        // RWF_DSYNC 2; IORING_FSYNC_DATASYNC 1.
        for (target, flags) in [(registered, 1), (file, 0)] {
            let said = |what| fields(&entry(&part(target, what)));
            assert_eq!(said(one(OpKind::Read)), (22, flags, 9, 4096, 0x5000, 512, 0, data));
            assert_eq!(said(one(plain)), (23, flags, 9, 4096, 0x5000, 512, 0, data));
            assert_eq!(said(one(fua)), (23, flags, 9, 4096, 0x5000, 512, 2, data));
            // RWF_ATOMIC 64.
            let atomic = |fua| one(OpKind::WriteAtomic { fua });
            assert_eq!(said(atomic(false)), (23, flags, 9, 4096, 0x5000, 512, 64, data));
            assert_eq!(said(atomic(true)), (23, flags, 9, 4096, 0x5000, 512, 66, data));
            assert_eq!(said(many(OpKind::Read)), (1, flags, 9, 4096, 0x6000, 3, 0, data));
            assert_eq!(said(many(plain)), (2, flags, 9, 4096, 0x6000, 3, 0, data));
            assert_eq!(said(many(fua)), (2, flags, 9, 4096, 0x6000, 3, 2, data));
            // READ_FIXED 4, WRITE_FIXED 5, READV_FIXED 60, WRITEV_FIXED 61.
            assert_eq!(said(one_fixed(OpKind::Read)), (4, flags, 9, 4096, 0x5000, 512, 0, data));
            assert_eq!(said(one_fixed(fua)), (5, flags, 9, 4096, 0x5000, 512, 2, data));
            assert_eq!(said(many_fixed(OpKind::Read)), (60, flags, 9, 4096, 0x6000, 3, 0, data));
            assert_eq!(said(many_fixed(fua)), (61, flags, 9, 4096, 0x6000, 3, 2, data));
            for what in [one_fixed(OpKind::Read), one_fixed(plain), many_fixed(OpKind::Read), many_fixed(plain)] {
                assert_eq!(buffer(&entry(&part(target, what))), 5);
            }
            assert_eq!(said(What::Sync), (3, flags, 9, 0, 0, 0, 1, data));
        }
        // FADVISE 24, POSIX_FADV_WILLNEED 3.
        let fetch = |len| fields(&entry(&part(registered, What::Prefetch { offset: 4096, len })));
        assert_eq!(fetch(8192), (24, 1, 9, 4096, 0, 8192, 3, data));
        assert_eq!(fetch(1 << 32), (24, 1, 9, 4096, 0, 1 << 30, 3, data));
        // FALLOCATE 17: its length is where others have the address, its mode where they have the length. KEEP_SIZE 1,
        // PUNCH_HOLE 2, ZERO_RANGE 16.
        for (way, mode) in [(Way::PunchHole, 3), (Way::ZeroRange, 16)] {
            let said = entry(&part(registered, What::Space { way, offset: 4096, len: 1 << 33 }));
            assert_eq!(fields(&said), (17, 1, 9, 4096, 1 << 33, mode, 0, data));
        }
        // URING_CMD 46; the command, _IO(0x12, 0), is in the low half of the offset; its range starts at the address.
        let said = entry(&part(file, What::Space { way: Way::Discard, offset: 4096, len: 1 << 33 }));
        assert_eq!(fields(&said), (46, 0, 9, 0x1200, 4096, 0, 0, data));
        // SAFETY: as in `fields`.
        let bytes: [u8; 64] = unsafe { std::mem::transmute_copy(&said) };
        assert_eq!(bytes[48..56], (1_u64 << 33).to_ne_bytes(), "and its length is the third address");
        // ASYNC_CANCEL 14.
        assert_eq!(fields(&cancel(data)), (14, 0, -1, 0, data, 0, 0, u64::MAX));
    }
}

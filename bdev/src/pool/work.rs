//! What a thread does with one operation: system calls that wait, until all of it is done or something fails.
//!
//! Means the same as the ring does: short counts are continued, a read that finds the end is [`IoError::BeyondEnd`], and
//! memory that direct I/O does not take goes through a buffer of the thread.

use std::fs::File;
use std::num::NonZeroU64;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags};

use crate::file::{end::End, extents};
use crate::info::Atomic;
use crate::mapping::Mapping;
use crate::op::{IoError, Op, OpKind};
use crate::pool::raw;
use crate::segment::{Segment, gather, scatter};
use crate::space::{Plan, Way};
use crate::uring::Cursor;

/// Size of the buffer of a thread, in bytes.
const SCRATCH_BYTES: usize = 128 << 10;

const _: () = assert!(SCRATCH_BYTES >= Atomic::MAX as usize, "an atomic write goes through it as a whole");

/// How often in a row the kernel may say "try again".
const RETRIES_MAX: u32 = 16;

/// What a lane's threads work on.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) file: Arc<File>,
    /// How much of it is there.
    pub(crate) end: Arc<End>,
    /// Space that is set aside in it is anchored.
    pub(crate) anchors: bool,
    /// Bits that are 0 in each address that direct I/O takes.
    pub(crate) address_mask: usize,
    /// Bits that are 0 in each length and offset that direct I/O takes.
    pub(crate) length_mask: u64,
}

/// A buffer that a thread gets when it first needs it.
#[derive(Debug, Default)]
pub(super) struct Scratch(Option<Mapping>);

impl Scratch {
    fn buffer(&mut self, len: usize) -> Result<Segment, IoError> {
        if self.0.is_none() {
            self.0 = Some(Mapping::new(SCRATCH_BYTES).map_err(|_| IoError::Busy)?);
        }
        Ok(self.0.as_ref().expect("just made").part(0, len))
    }
}

impl Served {
    /// Does an operation, to its end.
    pub(super) fn run(&self, op: &Op, plan: Option<Plan>, scratch: &mut Scratch) -> Result<(), IoError> {
        match op.kind {
            OpKind::Read if self.end.holds(op) => {}
            OpKind::Read => return Err(IoError::BeyondEnd),
            // A thread can afford to look whether a write would make a file grow.
            _ => self.end.check(&self.file, op)?,
        }
        match self.try_to(op, plan, scratch) {
            Ok(()) if plan.is_some() => self.end.check(&self.file, op),
            Ok(()) if self.end.holds(op) => Ok(()),
            Ok(()) => Err(IoError::BeyondEnd),
            Err(error) => Err(self.end.judge(&self.file, op, error)),
        }
    }

    fn try_to(&self, op: &Op, plan: Option<Plan>, scratch: &mut Scratch) -> Result<(), IoError> {
        match op.kind {
            OpKind::Read | OpKind::Write { .. } | OpKind::WriteAtomic { .. } => self.move_data(op, scratch),
            OpKind::Verify | OpKind::Compare => Err(IoError::Unsupported),
            OpKind::Prefetch => patiently(|| {
                let all = rustix::fs::fadvise(&self.file, op.offset, NonZeroU64::new(op.len), Advice::WillNeed);
                all.map_err(rustix::io::Errno::raw_os_error)
            }),
            OpKind::Flush => self.sync(),
            OpKind::Extents => extents::list(&self.file, op, self.anchors),
            OpKind::Unmap | OpKind::WriteZeroes { .. } | OpKind::Anchor { .. } => {
                self.change_space(op, plan.ok_or(IoError::Unsupported)?)?;
                if op.kind.is_lasting_space() { self.sync() } else { Ok(()) }
            }
        }
    }

    fn sync(&self) -> Result<(), IoError> {
        patiently(|| rustix::fs::fdatasync(&self.file).map_err(rustix::io::Errno::raw_os_error))
    }

    fn change_space(&self, op: &Op, mut plan: Plan) -> Result<(), IoError> {
        loop {
            let result = patiently_raw(|| match plan.way {
                Way::Discard => raw::discard(&self.file, op.offset, op.len),
                way => {
                    let mode = way.fallocate_mode().expect("all others have one");
                    let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
                    rustix::fs::fallocate(&self.file, mode, op.offset, op.len).map_err(rustix::io::Errno::raw_os_error)
                }
            });
            match result {
                Err(errno) if plan.retreat(errno) => {}
                result => return result.map_err(IoError::from_errno),
            }
        }
    }

    fn move_data(&self, op: &Op, scratch: &mut Scratch) -> Result<(), IoError> {
        let segments = op.segments.as_slice();
        let skewed = segments.iter().any(|segment| {
            segment.as_ptr().addr() & self.address_mask != 0 || segment.len() as u64 & self.length_mask != 0
        });
        // The kernel takes an atomic write in one piece of memory only.
        let atomic = op.kind.is_atomic();
        let skewed = skewed || atomic && segments.len() > 1;
        let (mut cursor, mut done) = (Cursor::start(segments), 0);
        while done < op.len {
            let (offset, left) = (op.offset + done, op.len - done);
            let moved = patiently(|| match skewed {
                true => self.move_through(op.kind, offset, &segments[cursor.segment..], cursor.at, left, scratch),
                false => self.move_straight(op.kind, offset, &segments[cursor.segment..], cursor.at, left),
            })?;
            if moved == 0 {
                return Err(self.at_end(op, done));
            }
            cursor.advance(segments, moved);
            done += moved as u64;
            if done < op.len && (done & self.length_mask != 0 || atomic) {
                return Err(self.at_end(op, done));
            }
        }
        Ok(())
    }

    /// The kernel moves nothing more than `done` bytes: a file ends where a read has come to.
    #[cold]
    fn at_end(&self, op: &Op, done: u64) -> IoError {
        if op.kind != OpKind::Read {
            return IoError::Medium;
        }
        self.end.ends_at(op.offset + done);
        IoError::BeyondEnd
    }

    fn move_straight(&self, kind: OpKind, offset: u64, rest: &[Segment], at: usize, left: u64) -> Result<usize, i32> {
        let first = [rest[0].split_at(at).1];
        // The caller's list is not ours to change: the rest of a segment goes alone.
        let list = if at > 0 || first[0].len() as u64 >= left { &first } else { rest };
        self.call(kind, list, offset)
    }

    fn move_through(
        &self,
        kind: OpKind,
        offset: u64,
        rest: &[Segment],
        at: usize,
        left: u64,
        scratch: &mut Scratch,
    ) -> Result<usize, i32> {
        let buffer = scratch.buffer(left.min(SCRATCH_BYTES as u64) as usize).map_err(|_| libc::ENOMEM)?;
        if kind != OpKind::Read {
            gather(rest, at as u64, &buffer);
        }
        let moved = self.call(kind, &[buffer], offset)?;
        if kind == OpKind::Read {
            scatter(rest, at as u64, &buffer.split_at(moved).0);
        }
        Ok(moved)
    }

    fn call(&self, kind: OpKind, list: &[Segment], offset: u64) -> Result<usize, i32> {
        match kind {
            OpKind::Read => raw::read(&self.file, list, offset),
            kind => raw::write(&self.file, list, offset, kind.write_flags()),
        }
    }
}

fn patiently<T>(call: impl FnMut() -> Result<T, i32>) -> Result<T, IoError> {
    patiently_raw(call).map_err(IoError::from_errno)
}

/// Calls again where the kernel says so, a bounded number of times.
fn patiently_raw<T>(mut call: impl FnMut() -> Result<T, i32>) -> Result<T, i32> {
    let mut tries = 0;
    loop {
        match call() {
            Err(libc::EAGAIN | libc::EINTR) if tries < RETRIES_MAX => tries += 1,
            result => return result,
        }
    }
}

//! The device in memory: sparse, shared by all cores, gone with the process.
//!
//! One anonymous mapping is the store; a page exists once it has been written. Operations are copies that happen while
//! they are submitted. There is no lock: when two cores write one block at the same time, or one reads what another
//! writes, the bytes are those of either, in any mixture. Disks that a guest uses as guests do never see that: it waits
//! for a write before it reads or writes the same block. Nothing outside the range of an operation is ever touched. For the
//! same reason no write is atomic here: who reads on another core could find a part of it.
//!
//! Space is given back in whole pages, which are zero when they are next touched. Which pages there are the kernel knows.
//!
//! A disk that the machine's memory has room for twice asks for huge pages: a quarter of the time of a small copy from anywhere
//! was spent on finding its page. A larger one is there to be sparse, and takes small pages as they are written.

use std::sync::Arc;

use crate::channel::{Bdev, Channel, ChannelId, Completion, Io, Ran, SubmitError, Tag};
use crate::error::OpenError;
use crate::extents::fill;
use crate::info::{Discard, Info, MAX_TRANSFER, blocks_of, bytes_for_people};
use crate::mapping::{Mapping, PAGE};
use crate::null::ram_info;
use crate::op::{IoError, Op, OpKind};
use crate::segment::{Segment, gather, scatter};
use crate::wanted::{Backend, Common, Data, Kind, SIZE};

/// Largest range to give back or make zero at once, in bytes: it is done in the pass that takes the operation.
const SPACE_MAX: u64 = MAX_TRANSFER as u64;

/// A device in memory.
#[derive(Debug)]
pub struct MemBdev {
    info: Info,
    store: Arc<Mapping>,
}

impl MemBdev {
    /// A device of `size` bytes in blocks of `block_size` bytes, all zero. It takes memory as it is written.
    ///
    /// # Errors
    /// A block size other than 512 or 4096, a size that is no multiple of it or 0, or more than the address space holds.
    pub fn new(size: u64, block_size: u32) -> Result<Self, OpenError> {
        let blocks = blocks_of(|| "mem".to_owned(), size, block_size)?;
        let store = usize::try_from(size)
            .map_err(|_| std::io::ErrorKind::OutOfMemory.into())
            .and_then(Mapping::new)
            .map_err(|source| OpenError::Memory { disk: "mem".to_owned(), size, source })?;
        if size <= memory_of_machine() / 2 {
            store.wants_huge_pages();
        }
        let mut info = ram_info(format!("mem, {}", bytes_for_people(size)), blocks, block_size, true);
        let granularity = PAGE as u32;
        info.discard = Some(Discard { granularity, alignment: 0, max: SPACE_MAX, zeroes: true });
        info.write_zeroes_max = SPACE_MAX;
        Ok(Self { info, store: Arc::new(store) })
    }
}

/// Bytes of memory that this machine has.
fn memory_of_machine() -> u64 {
    let found = rustix::system::sysinfo();
    found.totalram.saturating_mul(found.mem_unit.into())
}

/// A device of this kind as a user writes it.
pub(crate) const KIND: Kind = Kind {
    name: "mem",
    help: "memory of the target, gone with it",
    example: "mem:size=1G",
    keys: &[SIZE],
    read: |keys| Ok(Arc::new(Mem { size: keys.size("mem")? })),
};

#[derive(Debug)]
struct Mem {
    size: u64,
}

impl Backend for Mem {
    fn says(&self) -> String {
        self.size.to_string()
    }

    fn open(&self, common: Common) -> Result<Arc<dyn Bdev>, OpenError> {
        Ok(Arc::new(MemBdev::new(self.size, common.block_size_or_default())?))
    }

    fn data(&self) -> Data<'_> {
        Data::Memory
    }
}

impl Bdev for MemBdev {
    fn info(&self) -> &Info {
        &self.info
    }

    fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
        Ok(Box::new(MemChannel { id: io.register()?, store: Arc::clone(&self.store), size: self.info.size() }))
    }
}

struct MemChannel {
    id: ChannelId,
    store: Arc<Mapping>,
    size: u64,
}

impl MemChannel {
    /// Has what is going to be copied brought nearer: for a small copy the way there takes longer than the copy.
    #[inline]
    fn ask_ahead(&self, op: &Op) {
        match op.kind {
            _ if op.offset > self.size || op.len > self.size - op.offset => {}
            OpKind::Read => self.store.part(op.offset as usize, op.len as usize).prefetch_ahead(),
            OpKind::Write { .. } => op.segments.as_slice().iter().take(1).for_each(Segment::prefetch_ahead),
            _ => {}
        }
    }

    fn copy(&self, op: &Op) -> Result<(), IoError> {
        if op.kind == OpKind::Flush {
            return Ok(());
        }
        if op.offset > self.size || op.len > self.size - op.offset {
            return Err(IoError::BeyondEnd);
        }
        let (offset, len) = (op.offset as usize, op.len as usize);
        let range = self.store.part(offset, len);
        let segments = op.segments.as_slice();
        let moved = match (op.kind, segments) {
            // Nearly always one piece, which goes straight.
            (OpKind::Read, [into]) if into.len() == range.len() => {
                into.copy_from_segment(0, &range);
                range.len()
            }
            (OpKind::Read, _) => scatter(segments, 0, &range),
            (OpKind::Write { .. }, _) => gather(segments, 0, &range),
            (
                OpKind::Verify
                | OpKind::Compare
                | OpKind::WriteAtomic { .. }
                | OpKind::Anchor { .. }
                | OpKind::Prefetch,
                _,
            ) => {
                return Err(IoError::Unsupported);
            }
            (OpKind::Unmap | OpKind::WriteZeroes { .. }, _) => {
                self.store.zero(offset, len);
                return Ok(());
            }
            (OpKind::Extents, _) => return fill(op, |offset| Ok(self.store.extent(offset, op.offset + op.len))),
            (OpKind::Flush, _) => unreachable!("handled above"),
        };
        assert_eq!(moved as u64, op.len, "an operation's segments hold its length");
        Ok(())
    }
}

impl Channel for MemChannel {
    fn id(&self) -> ChannelId {
        self.id
    }

    fn runs(&self) -> bool {
        true
    }

    fn run(&mut self, ops: &[Op]) -> Ran {
        // For one alone, too: more of its lines are on their way at a time than a copy asks for.
        if let [only] = ops {
            self.ask_ahead(only);
        }
        for (done, op) in ops.iter().enumerate() {
            if let Some(next) = ops.get(done + 1) {
                self.ask_ahead(next);
            }
            if let Err(error) = self.copy(op) {
                return Ran { done, failed: Some(error) };
            }
        }
        Ran { done: ops.len(), failed: None }
    }

    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        io.admit(self.id)?;
        io.complete(self.id, Completion { tag, result: self.copy(op) });
        Ok(())
    }

    fn has_timers(&self) -> bool {
        false
    }

    /// Nothing is ever in flight: the completion has been made.
    fn cancel(&mut self, _io: &mut Io, _tag: Tag) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::Provision;
    use crate::segment::SegmentSlice;

    #[test]
    fn a_huge_disk_takes_no_memory_until_it_is_written() {
        let bdev = MemBdev::new(1 << 42, 4096).unwrap();
        assert_eq!((bdev.info().blocks, bdev.info().thin), (1 << 30, true));
        assert_eq!(bdev.info().description, "mem, 4 TiB");
    }

    #[test]
    fn what_is_behind_an_operation_is_not_touched_by_looking_ahead() {
        let bdev = MemBdev::new(1 << 20, 512).unwrap();
        let mut io = Io::default();
        let mut channel = bdev.channel(&mut io).unwrap();
        let first = Op { kind: OpKind::Unmap, offset: 0, len: 4096, segments: SegmentSlice::EMPTY };
        for (offset, len) in [((1 << 20) - 512, 1024), (u64::MAX, u64::MAX), (1 << 20, 512)] {
            for kind in [OpKind::Read, OpKind::Write { fua: false }, OpKind::Unmap] {
                let ran = channel.run(&[first, Op { kind, offset, len, ..first }, first]);
                assert_eq!(ran, Ran { done: 1, failed: Some(IoError::BeyondEnd) });
            }
        }
        let extent = bdev.store.extent(0, 1 << 20);
        assert!(extent.provision == Provision::Deallocated && extent.len == 1 << 20, "{extent:?}");
    }

    #[test]
    fn more_than_can_be_had_is_a_clear_error() {
        let error = MemBdev::new(1 << 62, 512).unwrap_err().to_string();
        assert!(error.starts_with("mem: no memory for 4611686018427387904 bytes"), "{error}");
        assert!(MemBdev::new(513, 512).is_err());
    }
}

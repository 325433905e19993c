//! The device that keeps nothing: every operation within its size succeeds at once.
//!
//! It moves no byte either way: a read leaves the memory as it was, so that what a guest sees is what the guest had put
//! there, and nothing of anybody else's. It is there to measure the way to a device without one.

use std::sync::Arc;

use crate::channel::{Bdev, Channel, ChannelId, Completion, Io, Ran, SubmitError, Tag};
use crate::error::OpenError;
use crate::extents::fill;
use crate::info::{Atomic, Discard, Extent, Info, MAX_TRANSFER, Provision, WriteCache, blocks_of, bytes_for_people};
use crate::op::{IoError, Op, OpKind};
use crate::wanted::{Backend, Common, Data, Kind, SIZE};

/// A device that keeps nothing.
#[derive(Debug)]
pub struct NullBdev {
    info: Info,
}

impl NullBdev {
    /// A device of `size` bytes in blocks of `block_size` bytes.
    ///
    /// # Errors
    /// A block size other than 512 or 4096, or a size that is no multiple of it or 0.
    pub fn new(size: u64, block_size: u32) -> Result<Self, OpenError> {
        let blocks = blocks_of(|| "null".to_owned(), size, block_size)?;
        let mut info = ram_info(format!("null, {}", bytes_for_people(size)), blocks, block_size, false);
        info.discard = Some(Discard { granularity: block_size, alignment: 0, max: size, zeroes: false });
        info.write_zeroes_max = size;
        // Of what is kept nowhere nobody finds a part.
        info.atomic = Some(Atomic { unit: block_size, max: MAX_TRANSFER, natural: false, boundary: 0 });
        Ok(Self { info })
    }
}

/// What devices without a medium have in common.
pub(crate) fn ram_info(description: String, blocks: u64, block_size: u32, thin: bool) -> Info {
    Info {
        block_size,
        blocks,
        physical_exponent: 0,
        read_only: false,
        write_cache: WriteCache::WriteThrough,
        thin,
        max_transfer: MAX_TRANSFER,
        segments_max: 0,
        queue_depth: 0,
        optimal_transfer: 0,
        transfer_granularity: 0,
        solid_state: true,
        discard: None,
        write_zeroes_max: 0,
        anchor: false,
        prefetch: false,
        verify_max: 0,
        compare: false,
        atomic: None,
        description,
    }
}

/// A device of this kind as a user writes it.
pub(crate) const KIND: Kind = Kind {
    name: "null",
    help: "nothing: writes vanish",
    example: "null:size=1T",
    keys: &[SIZE],
    read: |keys| Ok(Arc::new(Null { size: keys.size("null")? })),
};

#[derive(Debug)]
struct Null {
    size: u64,
}

impl Backend for Null {
    fn says(&self) -> String {
        self.size.to_string()
    }

    fn open(&self, common: Common) -> Result<Arc<dyn Bdev>, OpenError> {
        Ok(Arc::new(NullBdev::new(self.size, common.block_size_or_default())?))
    }

    fn data(&self) -> Data<'_> {
        Data::Nowhere
    }
}

impl Bdev for NullBdev {
    fn info(&self) -> &Info {
        &self.info
    }

    fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
        Ok(Box::new(NullChannel { id: io.register()?, size: self.info.size(), atomic: Box::new(self.info.atomic) }))
    }
}

struct NullChannel {
    id: ChannelId,
    size: u64,
    /// Apart, because a READ or WRITE does not need it: of many disks, what those need shall fit the first cache.
    atomic: Box<Option<Atomic>>,
}

impl NullChannel {
    /// As [`Channel::run`], of whatever kind they are.
    #[cold]
    #[inline(never)]
    fn judge_all(&self, ops: &[Op]) -> Ran {
        let failed = ops.iter().enumerate().find_map(|(done, op)| Some((done, self.judge(op).err()?)));
        failed.map_or(Ran { done: ops.len(), failed: None }, |(done, error)| Ran { done, failed: Some(error) })
    }

    fn judge(&self, op: &Op) -> Result<(), IoError> {
        match op.kind {
            _ if op.offset > self.size || op.len > self.size - op.offset => Err(IoError::BeyondEnd),
            OpKind::Verify | OpKind::Compare | OpKind::Anchor { .. } | OpKind::Prefetch => Err(IoError::Unsupported),
            OpKind::WriteAtomic { .. } => Atomic::admit(*self.atomic, op),
            // It has no space to give back, so that none is ever missing.
            OpKind::Extents => fill(op, |offset| Ok(Extent { offset, len: op.len, provision: Provision::Mapped })),
            _ => Ok(()),
        }
    }
}

impl Channel for NullChannel {
    fn id(&self) -> ChannelId {
        self.id
    }

    fn runs(&self) -> bool {
        true
    }

    fn run(&mut self, ops: &[Op]) -> Ran {
        let is_usual = |op: &Op| {
            let moves = matches!(op.kind, OpKind::Read | OpKind::Write { .. });
            moves && op.offset <= self.size && op.len <= self.size - op.offset
        };
        if ops.iter().all(is_usual) { Ran { done: ops.len(), failed: None } } else { self.judge_all(ops) }
    }

    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        io.admit(self.id)?;
        io.complete(self.id, Completion { tag, result: self.judge(op) });
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
    use crate::segment::SegmentSlice;

    #[test]
    fn completes_at_once_within_its_size_and_fails_past_it() {
        let bdev = NullBdev::new(1 << 40, 4096).unwrap();
        let mut io = Io::default();
        let mut channel = bdev.channel(&mut io).unwrap();
        let size = bdev.info().size();
        for (offset, len, result) in [
            (size - 4096, 4096, Ok(())),
            (size - 4096, 8192, Err(IoError::BeyondEnd)),
            (u64::MAX - 4095, 4096, Err(IoError::BeyondEnd)),
        ] {
            let op = Op { kind: OpKind::Read, offset, len, segments: SegmentSlice::EMPTY };
            channel.submit(&mut io, &op, Tag(offset)).unwrap();
            assert_eq!(io.next_completion(), Some(Completion { tag: Tag(offset), result }));
            let ran = Ran { done: 2 + usize::from(result.is_ok()), failed: result.err() };
            let good = Op { offset: 0, len: 4096, ..op };
            assert_eq!((channel.run(&[good, good, op]), io.in_flight()), (ran, 0));
        }
        assert!(io.bell().is_none(), "it needs no io_uring");
    }

    #[test]
    fn refuses_a_size_that_is_none() {
        assert_eq!(NullBdev::new(0, 512).unwrap_err().to_string().split(':').next(), Some("null"));
        assert!(NullBdev::new(1000, 512).is_err());
        assert!(NullBdev::new(1024, 1024).is_err());
    }
}

//! The wrapper that makes a part of a device a disk of its own.

use std::ops::Range;
use std::sync::Arc;

use crate::channel::{Bdev, Channel, Completion, Io, SubmitError, Tag};
use crate::error::OpenError;
use crate::info::{Info, Names, Space, bytes_for_people};
use crate::op::{IoError, Op, OpKind};
use crate::wanted::{Key, Keys, ReadWrapper, Wrapper, WrapperKind, units};

use super::{Around, Wrapped};

/// A part of a device as a user writes it.
pub(crate) const KIND: WrapperKind = WrapperKind {
    keys: &[Key { name: "split", form: "split=OFFSET+SIZE", help: "only this part is the disk: 1G+512M" }],
    read,
};

/// The bytes of the part.
#[derive(Debug)]
struct Part(Range<u64>);

fn read(keys: &mut Keys) -> ReadWrapper {
    let Some(text) = keys.take("split") else { return Ok(None) };
    let (offset, size) = text
        .split_once('+')
        .ok_or_else(|| format!("split={text} is no part; write where it begins and its size (split=1G+512M)"))?;
    let (offset, size) = (units::parse_size(offset)?, units::parse_size(size)?);
    match offset.checked_add(size) {
        Some(end) if size > 0 => Ok(Some(Arc::new(Part(offset..end)))),
        _ => Err(format!("split={text} is no part of any disk: give it a size")),
    }
}

impl Wrapper for Part {
    fn wrap(&self, inner: Arc<dyn Bdev>) -> Result<Arc<dyn Bdev>, OpenError> {
        let Range { start, end } = self.0;
        Ok(Arc::new(SplitBdev::new(inner, start, end - start)?))
    }

    fn part(&self) -> Option<Range<u64>> {
        Some(self.0.clone())
    }
}

/// A part of a device.
#[derive(Debug)]
pub struct SplitBdev {
    info: Info,
    inner: Arc<dyn Bdev>,
    offset: u64,
    /// As much of it as the device has is there.
    size: u64,
}

impl SplitBdev {
    /// The `size` bytes at `offset` of `inner`.
    ///
    /// # Errors
    /// [`OpenError::Part`]: they are not within `inner`, are none, or do not begin and end at a block.
    pub fn new(inner: Arc<dyn Bdev>, offset: u64, size: u64) -> Result<Self, OpenError> {
        let mut info = inner.info().clone();
        let refuse = |why: String| OpenError::Part { disk: info.description.clone(), why };
        let block_size = u64::from(info.block_size);
        if size == 0 || !size.is_multiple_of(block_size) || !offset.is_multiple_of(block_size) {
            return Err(refuse(format!(
                "a part of {size} bytes at {offset} has no whole blocks of {block_size} bytes"
            )));
        }
        if !info.contains(offset, size) {
            let end = info.size();
            return Err(refuse(format!("a part of {size} bytes at {offset} is not within its {end} bytes")));
        }
        info.blocks = size / block_size;
        info.description = format!("{}, {} at {}", info.description, bytes_for_people(size), bytes_for_people(offset));
        // Blocks of the medium that the part does not begin with are not the guest's to align to.
        while !offset.is_multiple_of(block_size << info.physical_exponent) {
            info.physical_exponent -= 1;
        }
        if !offset.is_multiple_of(u64::from(info.transfer_granularity.max(1))) {
            info.transfer_granularity = 0;
        }
        info.discard = info.discard.map(|discard| discard.of_part(offset));
        info.atomic = info.atomic.and_then(|atomic| atomic.of_part(offset));
        Ok(Self { info, inner, offset, size })
    }
}

impl Bdev for SplitBdev {
    fn info(&self) -> &Info {
        &self.info
    }

    fn inside(&self) -> Option<&dyn Bdev> {
        Some(&*self.inner)
    }

    fn size_now(&self) -> std::io::Result<u64> {
        Ok(self.inner.size_now()?.saturating_sub(self.offset).min(self.size))
    }

    fn resized(&self) -> Result<Option<Arc<dyn Bdev>>, OpenError> {
        let Some(inner) = self.inner.resized()? else { return Ok(None) };
        let size = inner.info().size().saturating_sub(self.offset).min(self.size);
        if size == self.info.size() {
            return Ok(None);
        }
        let part = Self::new(inner, self.offset, size)?;
        Ok(Some(Arc::new(Self { size: self.size, ..part })))
    }

    /// Which part of what the file has is this one's, nobody counts.
    fn space(&self) -> Option<Space> {
        self.inner.space().map(|space| Space { used: None, ..space })
    }

    /// A part is not what the device calls itself.
    fn names(&self) -> Option<&Names> {
        None
    }

    fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
        let inner = self.inner.channel(io)?;
        Ok(Box::new(Wrapped(SplitChannel { inner, offset: self.offset, size: self.info.size() })))
    }
}

struct SplitChannel {
    inner: Box<dyn Channel>,
    offset: u64,
    size: u64,
}

impl Around for SplitChannel {
    fn inner(&self) -> &dyn Channel {
        &*self.inner
    }

    fn inner_mut(&mut self) -> &mut dyn Channel {
        &mut *self.inner
    }

    fn accept(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        if op.kind == OpKind::Flush {
            return self.inner.submit(io, op, tag);
        }
        // What lies around the part is somebody else's.
        if op.offset > self.size || op.len > self.size - op.offset {
            io.admit(self.inner.id())?;
            io.complete(self.inner.id(), Completion { tag, result: Err(IoError::BeyondEnd) });
            return Ok(());
        }
        self.inner.submit(io, &Op { offset: op.offset + self.offset, ..*op }, tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::MemBdev;
    use crate::null::NullBdev;
    use crate::segment::SegmentSlice;

    fn null(size: u64, block_size: u32) -> Arc<dyn Bdev> {
        Arc::new(NullBdev::new(size, block_size).unwrap())
    }

    #[test]
    fn is_as_large_as_its_part_and_says_where_that_is() {
        let part = SplitBdev::new(null(1 << 20, 512), 4096, 8192).unwrap();
        assert_eq!((part.info().blocks, part.size_now().unwrap()), (16, 8192));
        assert_eq!(part.info().description, "null, 1 MiB, 8 KiB at 4 KiB");
    }

    #[test]
    fn a_part_that_the_device_does_not_have_is_refused() {
        for (offset, size) in [(0, 0), (256, 512), (0, 256), (512, 1 << 20), (u64::MAX - 511, 512), (1 << 20, 512)] {
            let error = SplitBdev::new(null(1 << 20, 512), offset, size).unwrap_err();
            assert!(matches!(error, OpenError::Part { .. }), "{size} at {offset}: {error}");
        }
        assert!(SplitBdev::new(null(1 << 20, 4096), 512, 4096).is_err());
    }

    #[test]
    fn nothing_around_the_part_can_be_reached() {
        let part = SplitBdev::new(Arc::new(MemBdev::new(1 << 20, 512).unwrap()), 4096, 4096).unwrap();
        let mut io = Io::default();
        let mut channel = part.channel(&mut io).unwrap();
        for (offset, len) in [(4096, 512), (3584, 1024), (u64::MAX - 511, 512), (u64::MAX - 4095, 512)] {
            for kind in [OpKind::Unmap, OpKind::WriteZeroes { unmap: true, fua: false }] {
                let op = Op { kind, offset, len, segments: SegmentSlice::EMPTY };
                channel.submit(&mut io, &op, Tag(1)).unwrap();
                assert_eq!(io.next_completion().unwrap().result, Err(IoError::BeyondEnd), "{offset}+{len}");
            }
        }
        channel.submit(&mut io, &Op { offset: 7, ..Op::FLUSH }, Tag(1)).unwrap();
        assert_eq!(io.next_completion().unwrap().result, Ok(()));
    }

    #[test]
    fn a_part_that_begins_within_a_physical_block_has_smaller_ones() {
        #[derive(Debug)]
        struct Large(Info);
        impl Bdev for Large {
            fn info(&self) -> &Info {
                &self.0
            }
            fn channel(&self, _io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
                unreachable!("only looked at")
            }
        }
        let large: Arc<dyn Bdev> = Arc::new(Large(Info {
            physical_exponent: 3,
            transfer_granularity: 8192,
            ..null(1 << 20, 512).info().clone()
        }));
        let exponent = |offset| SplitBdev::new(large.clone(), offset, 4096).unwrap().info.physical_exponent;
        assert_eq!([0, 8192, 1024, 512].map(exponent), [3, 3, 1, 0]);
        let granularity = |offset| SplitBdev::new(large.clone(), offset, 4096).unwrap().info.transfer_granularity;
        assert_eq!([0, 8192, 1024].map(granularity), [8192, 8192, 0]);
        let discard = SplitBdev::new(Arc::new(MemBdev::new(1 << 20, 512).unwrap()), 512, 4096).unwrap().info.discard;
        assert_eq!(discard.unwrap().alignment, 3584);
    }
}

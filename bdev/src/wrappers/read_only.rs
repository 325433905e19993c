//! The wrapper that keeps a device as it is: for backends that have no such mode of their own.

use std::sync::Arc;

use crate::channel::{Bdev, Channel, Completion, Io, SubmitError, Tag};
use crate::error::OpenError;
use crate::info::Info;
use crate::op::{IoError, Op};

use super::{Around, Wrapped};

/// A device that refuses whatever would change it.
#[derive(Debug)]
pub struct ReadOnlyBdev {
    info: Info,
    inner: Arc<dyn Bdev>,
}

impl ReadOnlyBdev {
    /// `inner`, only to be read.
    pub fn new(inner: Arc<dyn Bdev>) -> Self {
        let info = Info {
            read_only: true,
            discard: None,
            write_zeroes_max: 0,
            anchor: false,
            atomic: None,
            ..inner.info().clone()
        };
        Self { info, inner }
    }
}

impl Bdev for ReadOnlyBdev {
    fn info(&self) -> &Info {
        &self.info
    }

    fn inside(&self) -> Option<&dyn Bdev> {
        Some(&*self.inner)
    }

    fn resized(&self) -> Result<Option<Arc<dyn Bdev>>, OpenError> {
        Ok(self.inner.resized()?.map(|inner| Arc::new(Self::new(inner)) as Arc<dyn Bdev>))
    }

    fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
        Ok(Box::new(Wrapped(ReadOnlyChannel(self.inner.channel(io)?))))
    }
}

struct ReadOnlyChannel(Box<dyn Channel>);

impl Around for ReadOnlyChannel {
    fn inner(&self) -> &dyn Channel {
        &*self.0
    }

    fn inner_mut(&mut self) -> &mut dyn Channel {
        &mut *self.0
    }

    fn accept(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        if !op.kind.is_change() {
            return self.0.submit(io, op, tag);
        }
        io.admit(self.0.id())?;
        io.complete(self.0.id(), Completion { tag, result: Err(IoError::ReadOnly) });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::null::NullBdev;
    use crate::op::OpKind;
    use crate::segment::SegmentSlice;

    #[test]
    fn nothing_changes_it_and_nothing_is_offered_that_would() {
        let bdev = ReadOnlyBdev::new(Arc::new(NullBdev::new(1 << 20, 512).unwrap()));
        let Info { read_only, discard, write_zeroes_max, atomic, .. } = bdev.info().clone();
        assert_eq!((read_only, discard, write_zeroes_max, atomic), (true, None, 0, None));
        let mut io = Io::default();
        let mut channel = bdev.channel(&mut io).unwrap();
        let zeroes = OpKind::WriteZeroes { unmap: true, fua: false };
        let changes = [OpKind::Write { fua: false }, OpKind::WriteAtomic { fua: true }, OpKind::Unmap, zeroes];
        for (kind, result) in changes
            .map(|kind| (kind, Err(IoError::ReadOnly)))
            .into_iter()
            .chain([(OpKind::Read, Ok(())), (OpKind::Flush, Ok(()))])
        {
            let op = Op { kind, offset: 0, len: 0, segments: SegmentSlice::EMPTY };
            channel.submit(&mut io, &op, Tag(1)).unwrap();
            assert_eq!(io.next_completion().unwrap().result, result, "{kind:?}");
        }
    }
}

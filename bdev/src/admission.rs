//! What can be said of an operation without asking the device: it is counted in, and answered or let through.
//!
//! One for each channel that has a device of its own, files and namespaces alike. What the device's [`Info`] does not
//! promise ends here.

use std::sync::Arc;

use crate::channel::{ChannelId, Completion, Io, SubmitError, Tag};
use crate::file::end::End;
use crate::info::{Atomic, Info};
use crate::op::{IoError, Op, OpKind};

/// What a channel knows of its device.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(crate) id: ChannelId,
    /// Where the device ends, which may be earlier than it said.
    end: Arc<End>,
    read_only: bool,
    can_unmap: bool,
    can_zero: bool,
    can_anchor: bool,
    can_prefetch: bool,
    can_verify: bool,
    can_compare: bool,
    atomic: Option<Atomic>,
}

impl Admission {
    pub(crate) fn new(id: ChannelId, info: &Info, end: Arc<End>, io: &Io) -> Self {
        Self {
            id,
            end,
            read_only: info.read_only,
            can_unmap: info.discard.is_some(),
            can_zero: info.write_zeroes_max > 0,
            can_anchor: info.anchor,
            can_prefetch: info.prefetch,
            can_verify: info.verify_max > 0,
            can_compare: info.compare,
            atomic: info.atomic.map(|atomic| atomic.up_to(io.bounce_bytes())),
        }
    }

    /// Counts an operation in. Whether that was all: what can be said of it at once has been said.
    ///
    /// # Errors
    /// As those of [`Io::admit`].
    #[inline]
    pub(crate) fn admit(&self, io: &mut Io, op: &Op, tag: Tag) -> Result<bool, SubmitError> {
        io.admit(self.id)?;
        if self.is_usual(op) { Ok(false) } else { self.look_closely(io, op, tag) }
    }

    /// Whether it is a read or write that has nothing against it.
    #[inline]
    fn is_usual(&self, op: &Op) -> bool {
        let may = match op.kind {
            OpKind::Read => true,
            OpKind::Write { .. } => !self.read_only,
            _ => false,
        };
        let end = self.end.now();
        may && op.len != 0 && op.offset <= end && op.len <= end - op.offset
    }

    #[inline(never)]
    fn look_closely(&self, io: &mut Io, op: &Op, tag: Tag) -> Result<bool, SubmitError> {
        let answer = self.answer_at_once(op);
        if let Some(result) = answer {
            io.complete(self.id, Completion { tag, result });
        }
        Ok(answer.is_some())
    }

    fn answer_at_once(&self, op: &Op) -> Option<Result<(), IoError>> {
        let end = self.end.now();
        match op.kind {
            OpKind::Flush => None,
            kind if kind.is_change() && self.read_only => Some(Err(IoError::ReadOnly)),
            _ if op.offset > end || op.len > end - op.offset => Some(Err(IoError::BeyondEnd)),
            OpKind::WriteAtomic { .. } if op.len > 0 => Atomic::admit(self.atomic, op).err().map(Err),
            _ if op.len == 0 => Some(Ok(())),
            OpKind::Verify if !self.can_verify => Some(Err(IoError::Unsupported)),
            OpKind::Compare if !self.can_compare => Some(Err(IoError::Unsupported)),
            OpKind::Unmap if !self.can_unmap => Some(Err(IoError::Unsupported)),
            OpKind::WriteZeroes { .. } if !self.can_zero => Some(Err(IoError::Unsupported)),
            OpKind::Anchor { .. } if !self.can_anchor => Some(Err(IoError::Unsupported)),
            OpKind::Prefetch if !self.can_prefetch => Some(Err(IoError::Unsupported)),
            _ => None,
        }
    }
}

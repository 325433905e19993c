//! A core's way to a namespace, through the core's ring for commands.

use std::io;

use crate::channel::{Channel, ChannelId, Completion, Io, SubmitError, Tag};
use crate::info::Atomic;
use crate::op::{IoError, Op, OpKind};

use super::NvmeBdev;
use super::jobs::DeviceId;

pub(super) fn open(bdev: &NvmeBdev, io: &mut Io) -> io::Result<Box<dyn Channel>> {
    io.command_ring()?;
    let id = io.register()?;
    let added = io.commands_mut().add(id, &bdev.file, bdev.terms);
    let device = added.inspect_err(|_| io.unregister(id))?;
    Ok(Box::new(NvmeChannel {
        id,
        device,
        size: bdev.info.size(),
        read_only: bdev.info.read_only,
        can_unmap: bdev.info.discard.is_some(),
        can_zero: bdev.info.write_zeroes_max > 0,
        can_verify: bdev.info.verify_max > 0,
        can_compare: bdev.info.compare,
        atomic: bdev.info.atomic.map(|atomic| atomic.up_to(io.bounce_bytes())),
    }))
}

struct NvmeChannel {
    id: ChannelId,
    device: DeviceId,
    size: u64,
    read_only: bool,
    can_unmap: bool,
    can_zero: bool,
    atomic: Option<Atomic>,
    can_verify: bool,
    can_compare: bool,
}

impl NvmeChannel {
    /// What can be said without asking the device.
    fn answer_at_once(&self, op: &Op) -> Option<Result<(), IoError>> {
        match op.kind {
            OpKind::Flush => None,
            kind if kind.is_change() && self.read_only => Some(Err(IoError::ReadOnly)),
            _ if op.offset > self.size || op.len > self.size - op.offset => Some(Err(IoError::BeyondEnd)),
            OpKind::WriteAtomic { .. } if op.len > 0 => Atomic::admit(self.atomic, op).err().map(Err),
            _ if op.len == 0 => Some(Ok(())),
            OpKind::Verify if !self.can_verify => Some(Err(IoError::Unsupported)),
            OpKind::Compare if !self.can_compare => Some(Err(IoError::Unsupported)),
            OpKind::Unmap if !self.can_unmap => Some(Err(IoError::Unsupported)),
            OpKind::WriteZeroes { .. } if !self.can_zero => Some(Err(IoError::Unsupported)),
            // A namespace does not say what of it is deallocated.
            OpKind::Extents => Some(Err(IoError::Unsupported)),
            _ => None,
        }
    }
}

impl Channel for NvmeChannel {
    fn id(&self) -> ChannelId {
        self.id
    }

    fn has_timers(&self) -> bool {
        false
    }

    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        io.admit(self.id)?;
        if let Some(result) = self.answer_at_once(op) {
            io.complete(self.id, Completion { tag, result });
            return Ok(());
        }
        let started = io.commands_mut().start(self.device, op, tag);
        started.inspect_err(|_| io.release(self.id))
    }

    fn cancel(&mut self, io: &mut Io, tag: Tag) {
        if let Some(completion) = io.commands_mut().cancel(self.device, tag) {
            io.complete(self.id, completion);
        }
    }

    fn close(&mut self, io: &mut Io) {
        io.commands_mut().remove(self.device);
        io.unregister(self.id);
    }
}

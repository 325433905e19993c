//! A core's way to a namespace, through the core's rings for commands.

use std::io;
use std::sync::Arc;

use crate::admission::Admission;
use crate::channel::{Channel, ChannelId, Completion, Io, SubmitError, Tag};
use crate::file::end::End;
use crate::op::{IoError, Op, OpKind};
use crate::uring::FileId;

use super::NvmeBdev;
use super::jobs::Terms;

pub(super) fn open(bdev: &NvmeBdev, io: &mut Io) -> io::Result<Box<dyn Channel>> {
    io.open_command_ring()?;
    let id = io.register()?;
    let added = io.commands_mut().add_file(id, &bdev.file, bdev.terms);
    let file = added.inspect_err(|_| io.unregister(id))?;
    if bdev.polled {
        io.commands_mut().poll_for(file, &bdev.file);
    }
    let end = Arc::new(End::of_device(bdev.info.size()));
    Ok(Box::new(NvmeChannel { admission: Admission::new(id, &bdev.info, end, io), file, terms: bdev.terms }))
}

struct NvmeChannel {
    admission: Admission,
    file: FileId,
    terms: Terms,
}

impl Channel for NvmeChannel {
    fn id(&self) -> ChannelId {
        self.admission.id
    }

    fn has_timers(&self) -> bool {
        false
    }

    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        if self.admission.admit(io, op, tag)? {
            return Ok(());
        }
        // A namespace does not say what of it is deallocated.
        if op.kind == OpKind::Extents {
            io.complete(self.admission.id, Completion { tag, result: Err(IoError::Unsupported) });
            return Ok(());
        }
        let started = io.commands_mut().start(self.file, op, tag, self.terms.need_buffer(op));
        started.inspect_err(|_| io.release(self.admission.id))
    }

    fn cancel(&mut self, io: &mut Io, tag: Tag) {
        if let Some(completion) = io.commands_mut().cancel(self.file, tag) {
            io.complete(self.admission.id, completion);
        }
    }

    fn close(&mut self, io: &mut Io) {
        io.commands_mut().remove_file(self.file);
        io.unregister(self.admission.id);
    }
}

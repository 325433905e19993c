//! A core's way to a file: through its ring, with a thread for what the ring cannot do, or through threads alone.

use std::io;
use std::sync::Arc;

use crate::admission::Admission;
use crate::channel::{Channel, ChannelId, Completion, Io, SubmitError, Tag};
use crate::file::{Alignment, FileBdev};
use crate::op::{IoError, Op, OpKind};
use crate::pool::{Job, Lane, Served};
use crate::segment::Segment;
use crate::space::{Plan, Ways};
use crate::uring::FileId;

/// Threads of a channel that has no ring.
const THREADS: usize = 8;

/// What is known of the file whichever way it is served.
struct Terms {
    admission: Admission,
    ways: Ways,
}

impl Terms {
    fn of(bdev: &FileBdev, id: ChannelId, io: &Io) -> Self {
        Self { admission: Admission::new(id, &bdev.info, Arc::clone(&bdev.end), io), ways: bdev.ways }
    }

    /// How an operation on space is done, on which range; or what can be said of it at once.
    fn plan(&self, op: &Op) -> Result<(Op, Plan), Result<(), IoError>> {
        let plan = self.ways.plan(op.kind, op.offset, op.len).ok_or(Err(IoError::Unsupported))?;
        let mut op = *op;
        if op.kind == OpKind::Unmap {
            (op.offset, op.len) = self.ways.whole_units(op.offset, op.len);
        }
        if op.len == 0 { Err(Ok(())) } else { Ok((op, plan)) }
    }
}

fn lane(bdev: &FileBdev, io: &mut Io, id: ChannelId, threads: usize, room: usize) -> io::Result<Lane> {
    let alignment = bdev.alignment.unwrap_or(Alignment::NONE);
    let served = Served {
        file: Arc::clone(&bdev.file),
        end: Arc::clone(&bdev.end),
        anchors: bdev.info.anchor,
        address_mask: alignment.memory as usize - 1,
        length_mask: u64::from(alignment.offset) - 1,
    };
    Ok(Lane::new(io.mailbox()?, id, served, threads, room))
}

pub(super) fn through_ring(bdev: &FileBdev, io: &mut Io) -> io::Result<Box<dyn Channel>> {
    let alignment = bdev.alignment.unwrap_or(Alignment::NONE);
    io.open_ring()?;
    let id = io.register()?;
    let offset_mask = u64::from(alignment.offset) - 1;
    let opened =
        lane(bdev, io, id, 1, 0).and_then(|lane| Ok((lane, io.ring_mut().add_file(id, &bdev.file, offset_mask)?)));
    let (lane, file) = opened.inspect_err(|_| io.unregister(id))?;
    io.ring_mut().heed_end(file, &bdev.end);
    if bdev.polled {
        io.ring_mut().poll_for(file, &bdev.file);
    }
    // What has no queue of its own that takes many at once.
    let is_file = bdev.info.queue_depth == 0;
    if is_file {
        io.add_file();
    }
    Ok(Box::new(RingChannel {
        terms: Terms::of(bdev, id, io),
        file,
        is_file,
        address_mask: alignment.memory as usize - 1,
        length_mask: alignment.offset as usize - 1,
        lane,
    }))
}

pub(super) fn through_threads(bdev: &FileBdev, io: &mut Io) -> io::Result<Box<dyn Channel>> {
    let id = io.register()?;
    let room = io.channel_max();
    let lane = lane(bdev, io, id, THREADS, room).inspect_err(|_| io.unregister(id))?;
    Ok(Box::new(ThreadChannel { terms: Terms::of(bdev, id, io), lane }))
}

struct RingChannel {
    terms: Terms,
    file: FileId,
    /// See [`Io::has_files`].
    is_file: bool,
    address_mask: usize,
    length_mask: usize,
    /// For what the ring cannot do.
    lane: Lane,
}

impl RingChannel {
    /// Whether direct I/O does not take the segments as they lie.
    fn needs_bounce(&self, segments: &[Segment], len: u64) -> bool {
        let (mut addresses, mut lengths, mut sum) = (0, 0, 0);
        for segment in segments {
            addresses |= segment.as_ptr().addr();
            lengths |= segment.len();
            sum += segment.len() as u64;
        }
        assert_eq!(sum, len, "an operation's segments hold its length");
        addresses & self.address_mask != 0 || lengths & self.length_mask != 0
    }

    #[cold]
    fn submit_space(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        let result = match self.terms.plan(op) {
            Ok((op, plan)) if op.kind == OpKind::Unmap && self.terms.ways.unmap_by_thread => {
                self.lane.submit(Job { tag, op, plan: Some(plan) }).map_err(Err)
            }
            Ok((op, plan)) => {
                let started = io.ring_mut().start_space(self.file, &op, tag, plan);
                return started.inspect_err(|_| io.release(self.terms.admission.id));
            }
            Err(result) => Err(result),
        };
        if let Err(result) = result {
            io.complete(self.terms.admission.id, Completion { tag, result });
        }
        Ok(())
    }
}

impl Channel for RingChannel {
    fn id(&self) -> ChannelId {
        self.terms.admission.id
    }

    fn has_timers(&self) -> bool {
        false
    }

    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        if self.terms.admission.admit(io, op, tag)? {
            return Ok(());
        }
        match op.kind {
            kind if kind.is_of_space() => return self.submit_space(io, op, tag),
            OpKind::Extents => {
                hand_over(&mut self.lane, io, self.terms.admission.id, Job { tag, op: *op, plan: None });
                return Ok(());
            }
            _ => {}
        }
        let segments = op.segments.as_slice();
        // The kernel takes an atomic write in one piece of memory only.
        let in_pieces = op.kind.is_atomic() && segments.len() > 1;
        let through_bounce = op.kind.moves_data() && (self.needs_bounce(segments, op.len) || in_pieces);
        let started = io.ring_mut().start(self.file, op, tag, through_bounce);
        if started.is_err() {
            io.release(self.terms.admission.id);
        } else if self.is_file {
            io.ring_mut().hand_over_if_due();
        }
        started
    }

    fn cancel(&mut self, io: &mut Io, tag: Tag) {
        if let Some(completion) = io.ring_mut().cancel(self.file, tag) {
            io.complete(self.terms.admission.id, completion);
        } else if self.lane.cancel(tag) {
            io.complete(self.terms.admission.id, Completion { tag, result: Err(IoError::Cancelled) });
        }
    }

    fn close(&mut self, io: &mut Io) {
        io.ring_mut().remove_file(self.file);
        if self.is_file {
            io.remove_file();
        }
        io.unregister(self.terms.admission.id);
    }
}

struct ThreadChannel {
    terms: Terms,
    lane: Lane,
}

impl Channel for ThreadChannel {
    fn id(&self) -> ChannelId {
        self.terms.admission.id
    }

    fn has_timers(&self) -> bool {
        false
    }

    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        if self.terms.admission.admit(io, op, tag)? {
            return Ok(());
        }
        let job = match op.kind {
            kind if kind.is_of_space() => match self.terms.plan(op) {
                Ok((op, plan)) => Job { tag, op, plan: Some(plan) },
                Err(result) => {
                    io.complete(self.terms.admission.id, Completion { tag, result });
                    return Ok(());
                }
            },
            _ => Job { tag, op: *op, plan: None },
        };
        hand_over(&mut self.lane, io, self.terms.admission.id, job);
        Ok(())
    }

    /// What a thread has in hand cannot be called back.
    fn cancel(&mut self, io: &mut Io, tag: Tag) {
        if self.lane.cancel(tag) {
            io.complete(self.terms.admission.id, Completion { tag, result: Err(IoError::Cancelled) });
        }
    }
}

fn hand_over(lane: &mut Lane, io: &mut Io, id: ChannelId, job: Job) {
    if let Err(error) = lane.submit(job) {
        io.complete(id, Completion { tag: job.tag, result: Err(error) });
    }
}

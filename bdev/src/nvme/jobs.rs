//! What becomes of an operation on a namespace between its acceptance and its completion: the commands it takes, one after
//! the other, and what each one's result means.
//!
//! Owns every accepted operation, the namespaces, the buffers for memory that cannot be cut into commands, and the ranges
//! to deallocate. It makes no system call and knows no ring: the ring asks for a [`Part`] and brings back its result.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;

use crate::channel::{Completion, SubmitError, Tag};
use crate::io::{ChannelId, Done, IoConfig};
use crate::op::{IoError, Op, OpKind};
use crate::segment::{gather, scatter};
use crate::uring::{BounceId, BouncePool, BufferTable, Cursor, EntryId, Next, Slab};

use super::command::{Command, range};
use super::cut::{self, Piece};
use super::limits::Limits;
use super::spec::{RANGE_LEN, URING_CMD_IO, URING_CMD_IO_VEC};
use super::status;

/// What commands to a namespace have to heed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) nsid: u32,
    pub(super) block_size: u32,
    pub(super) limits: Limits,
    /// Write Zeroes may deallocate.
    pub(super) zeroes_deallocate: bool,
}

/// A namespace's name towards the ring of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceId(u32);

/// A namespace that the core serves.
#[derive(Debug)]
struct Device {
    file: Arc<File>,
    channel: ChannelId,
    terms: Terms,
    in_flight: u32,
    bounced: u32,
}

/// An accepted operation.
#[derive(Debug)]
pub(super) struct Entry {
    tag: Tag,
    op: Op,
    device: DeviceId,
    /// Bytes that commands have done so far, and those of the one in flight.
    done: u64,
    part: u64,
    cursor: Cursor,
    bounce: Option<BounceId>,
    cancelled: bool,
    /// The command in flight names a registered buffer.
    fixed: bool,
    /// No further one shall.
    plain: bool,
}

/// The next command for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) fd: RawFd,
    pub(super) user_data: u64,
    /// One of the kernel's two requests.
    pub(super) request: u32,
    pub(super) command: Command,
    /// Index of the registered buffer that holds all of its data.
    pub(super) registered: Option<u16>,
}

/// The accepted operations of a core.
#[derive(Debug)]
pub(super) struct Jobs {
    slab: Slab<Entry>,
    devices: Vec<Option<Device>>,
    bounce: BouncePool,
    /// A place for each entry: the kernel may read it until the entry's command has ended.
    ranges: Box<[[u8; RANGE_LEN]]>,
    /// What the ring has registered.
    pub(super) buffers: BufferTable,
    /// Commands that named a registered buffer.
    pub(super) fixed: u64,
}

impl Jobs {
    pub(super) fn new(config: &IoConfig) -> io::Result<Self> {
        let count = config.in_flight_max();
        Ok(Self {
            slab: Slab::new(count),
            devices: (0..config.channels).map(|_| None).collect(),
            bounce: BouncePool::new(config.channels, config.bounce_buffers, config.bounce_buffer_bytes as usize)?,
            ranges: vec![[0; RANGE_LEN]; count as usize].into_boxed_slice(),
            buffers: BufferTable::default(),
            fixed: 0,
        })
    }

    /// Most operations in flight.
    pub(super) fn capacity(&self) -> usize {
        self.slab.capacity()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.slab.in_use()
    }

    /// Takes a namespace up. `None` if there are as many as channels.
    pub(super) fn add(&mut self, channel: ChannelId, file: &Arc<File>, terms: Terms) -> Option<DeviceId> {
        let index = self.devices.iter().position(Option::is_none)?;
        self.devices[index] = Some(Device { file: Arc::clone(file), channel, terms, in_flight: 0, bounced: 0 });
        Some(DeviceId(index as u32))
    }

    /// Lets a namespace go. One that has operations in flight, against the promise, stays.
    pub(super) fn remove(&mut self, id: DeviceId) {
        let place = &mut self.devices[id.0 as usize];
        if place.as_ref().is_some_and(|device| device.in_flight == 0) {
            *place = None;
        }
    }

    /// Accepts an operation that its channel has admitted: there is a place. It has a length, or is a flush.
    pub(super) fn accept(&mut self, id: DeviceId, op: &Op, tag: Tag) -> Result<EntryId, SubmitError> {
        let segments = op.segments.as_slice();
        let device = device(&mut self.devices, id);
        let Terms { limits, block_size, .. } = device.terms;
        let whole = op.kind.is_atomic();
        let fits = !op.kind.moves_data() || cut::can_be_cut(segments, &limits, u64::from(block_size), whole);
        let bounce = if fits { None } else { Some(self.bounce.take(&mut device.bounced).ok_or(SubmitError::Full)?) };
        device.in_flight += 1;
        let (done, part, cursor, cancelled, fixed) = (0, 0, Cursor::start(segments), false, false);
        // Buffers of our own are not registered.
        let plain = bounce.is_some();
        Ok(self.slab.insert(Entry { tag, op: *op, device: id, done, part, cursor, bounce, cancelled, fixed, plain }))
    }

    /// The next command for an entry. For a bounced write this fills the buffer.
    pub(super) fn part(&mut self, id: EntryId) -> Part {
        let user_data = self.slab.user_data(id);
        let entry = self.slab.get_mut(id);
        let device = device(&mut self.devices, entry.device);
        let Terms { nsid, block_size, limits, zeroes_deallocate, .. } = device.terms;
        let lba = (entry.op.offset + entry.done) / u64::from(block_size);
        let blocks = |bytes: u64| (bytes / u64::from(block_size)) as u32;
        let left = entry.op.len - entry.done;
        let mut registered = None;
        let (command, is_list) = match entry.op.kind {
            OpKind::Read | OpKind::Compare | OpKind::Write { .. } | OpKind::WriteAtomic { .. } => {
                let piece = memory(&self.bounce, entry, &device.terms);
                entry.part = piece.bytes;
                let (blocks, data) = (blocks(piece.bytes), piece.data);
                // The kernel takes no list of pieces of a registered buffer.
                let whole = piece.segment.filter(|_| !entry.plain);
                registered = whole.and_then(|segment| self.buffers.find(&[segment]));
                let command = match entry.op.kind {
                    OpKind::Write { fua } | OpKind::WriteAtomic { fua } => Command::write(nsid, lba, blocks, data, fua),
                    OpKind::Compare => Command::compare(nsid, lba, blocks, data),
                    _ => Command::read(nsid, lba, blocks, data),
                };
                (command, piece.segment.is_none())
            }
            OpKind::Verify => {
                entry.part = left.min(limits.transfer_bytes);
                (Command::verify(nsid, lba, blocks(entry.part)), false)
            }
            OpKind::WriteZeroes { unmap, fua } => {
                entry.part = left.min(limits.zeroes_bytes);
                (Command::write_zeroes(nsid, lba, blocks(entry.part), unmap && zeroes_deallocate, fua), false)
            }
            OpKind::Unmap => {
                entry.part = left.min(limits.deallocate_bytes);
                let place = &mut self.ranges[id.index()];
                *place = range(lba, blocks(entry.part));
                (Command::deallocate(nsid, place.as_ptr().addr() as u64), false)
            }
            OpKind::Flush | OpKind::Extents => (Command::flush(nsid), false),
        };
        entry.fixed = registered.is_some();
        self.fixed += u64::from(entry.fixed);
        let request = if is_list { URING_CMD_IO_VEC } else { URING_CMD_IO };
        Part { fd: device.file.as_raw_fd(), user_data, request, command, registered }
    }

    /// Takes a command's result: 0, an NVMe status, or a negative errno.
    pub(super) fn finish_part(&mut self, user_data: u64, result: i32) -> Next {
        let Some(id) = self.slab.find(user_data) else {
            tracing::debug!(user_data, result, "a result that nobody waits for");
            return Next::Nothing;
        };
        let entry = self.slab.get_mut(id);
        // Whatever the kernel has against the registered buffer, the same without it says whether the operation is at fault.
        let refused = matches!(result.saturating_neg(), libc::EFAULT | libc::EINVAL | libc::EOPNOTSUPP);
        if std::mem::take(&mut entry.fixed) && refused {
            entry.plain = true;
            return if entry.cancelled { Next::Done(self.end(id, Err(IoError::Cancelled))) } else { Next::Again(id) };
        }
        if let Err(error) = status::result_of(result) {
            return Next::Done(self.end(id, Err(error)));
        }
        if entry.op.kind.moves_data() {
            let segments = entry.op.segments.as_slice();
            if let (Some(buffer), OpKind::Read) = (entry.bounce, entry.op.kind) {
                let filled = self.bounce.segment(buffer, entry.part as usize);
                scatter(&segments[entry.cursor.segment..], entry.cursor.at as u64, &filled);
            }
            entry.cursor.advance(segments, entry.part as usize);
        }
        entry.done += entry.part;
        if entry.done == entry.op.len {
            return Next::Done(self.end(id, Ok(())));
        }
        if entry.cancelled {
            return Next::Done(self.end(id, Err(IoError::Cancelled)));
        }
        Next::Again(id)
    }

    /// Ends an operation that the kernel does not have.
    pub(super) fn end(&mut self, id: EntryId, result: Result<(), IoError>) -> Done {
        let entry = self.slab.remove(id);
        let device = device(&mut self.devices, entry.device);
        device.in_flight -= 1;
        if let Some(buffer) = entry.bounce {
            self.bounce.put(buffer, &mut device.bounced);
        }
        Done { channel: device.channel, completion: Completion { tag: entry.tag, result } }
    }

    /// Marks an operation as unwanted, the first time it is asked for.
    pub(super) fn mark_cancelled(&mut self, device: DeviceId, tag: Tag) -> Option<EntryId> {
        let id = self.slab.find_by(|entry| entry.device == device && entry.tag == tag)?;
        let first = !std::mem::replace(&mut self.slab.get_mut(id).cancelled, true);
        first.then_some(id)
    }

    /// Whether the operation that the kernel calls `user_data` has not ended.
    pub(super) fn is_in_flight(&self, user_data: u64) -> bool {
        self.slab.find(user_data).is_some()
    }

    pub(super) fn user_data(&self, id: EntryId) -> u64 {
        self.slab.user_data(id)
    }

    /// Leaves the memory that commands may still use to the kernel for ever.
    pub(super) fn abandon_memory(&mut self) {
        self.bounce.abandon();
        std::mem::forget(std::mem::take(&mut self.ranges));
    }
}

fn device(devices: &mut [Option<Device>], id: DeviceId) -> &mut Device {
    devices[id.0 as usize].as_mut().expect("a namespace stays while it has operations in flight")
}

/// The memory of an entry's next command.
fn memory(bounce: &BouncePool, entry: &Entry, terms: &Terms) -> Piece {
    let segments = entry.op.segments.as_slice();
    let Some(id) = entry.bounce else {
        let piece = cut::next(segments, entry.cursor, &terms.limits, u64::from(terms.block_size));
        return piece.expect("what cannot be cut goes through a buffer");
    };
    let most = terms.limits.transfer_bytes.min(bounce.buffer_bytes() as u64);
    let buffer = bounce.segment(id, (entry.op.len - entry.done).min(most) as usize);
    if entry.op.kind != OpKind::Read {
        gather(&segments[entry.cursor.segment..], entry.cursor.at as u64, &buffer);
    }
    Piece::of(buffer)
}

#[cfg(test)]
mod tests;

//! What becomes of an operation on a namespace: the commands it takes, one after the other, and what each one's result
//! means.
//!
//! Owns the ranges to deallocate. It makes no system call: the core's ledger keeps the operations, the rings ask for the
//! entry of a [`Part`].

use std::ops::ControlFlow;

use io_uring::squeue::{Entry128, Flags};
use io_uring::types::Fd;
use io_uring::{cqueue, opcode};

use crate::io::IoConfig;
use crate::op::{Op, OpKind};
use crate::segment::{gather, scatter};
use crate::uring::{BouncePool, Entry, EntryId, Ledger, Target, Verdict, Work};

use super::command::{Command, range};
use super::cut::{self, Piece};
use super::limits::Limits;
use super::spec::{COMMAND_LEN, RANGE_LEN, URING_CMD_IO, URING_CMD_IO_VEC};
use super::status;

/// What commands to a namespace have to heed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(super) nsid: u32,
    pub(super) block_size: u32,
    pub(super) limits: Limits,
    /// Write Zeroes may deallocate.
    pub(super) zeroes_deallocate: bool,
    pub(super) fixed: Fixed,
}

/// How the kernel lets commands name registered memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fixed {
    /// Not at all.
    No,
    /// One piece of it.
    Piece,
    /// Lists of pieces, too (Linux 6.15).
    Lists,
}

impl Terms {
    /// Whether the memory of an operation cannot be cut into commands.
    pub(super) fn need_buffer(&self, op: &Op) -> bool {
        let block = u64::from(self.block_size);
        op.kind.moves_data() && !cut::can_be_cut(op.segments.as_slice(), &self.limits, block, op.kind.is_atomic())
    }
}

/// The next command for an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) target: Target,
    pub(super) user_data: u64,
    /// One of the kernel's two requests.
    pub(super) request: u32,
    pub(super) command: Command,
    /// Index of the registered buffer that holds all of its data.
    pub(super) registered: Option<u16>,
}

impl Part {
    /// The command as an entry of the ring. It points to the memory of the command.
    pub(super) fn entry(&self) -> Entry128 {
        let mut command = [0; 80];
        command[..COMMAND_LEN].copy_from_slice(&self.command.to_bytes());
        let (fd, flags) = match self.target {
            Target::Registered(index) => (Fd(index as i32), Flags::FIXED_FILE),
            Target::Descriptor(fd) => (Fd(fd), Flags::empty()),
        };
        let command = opcode::UringCmd80::new(fd, self.request).cmd(command).buf_index(self.registered);
        command.build().flags(flags).user_data(self.user_data)
    }
}

/// Commands to namespaces.
#[derive(Debug)]
pub(crate) struct Commands {
    /// A place for each operation: the kernel may read it until the operation's command has ended.
    ranges: Box<[[u8; RANGE_LEN]]>,
}

/// The accepted operations on the namespaces of a core.
pub(super) type Jobs = Ledger<Commands>;

impl Work for Commands {
    type Terms = Terms;
    type Submission = Entry128;
    type Completion = cqueue::Entry32;

    fn new(config: &IoConfig, _: bool) -> Self {
        Self { ranges: vec![[0; RANGE_LEN]; config.in_flight_max() as usize].into_boxed_slice() }
    }

    fn next(jobs: &mut Jobs, id: EntryId) -> Entry128 {
        jobs.part(id).entry()
    }

    /// The result is 0, an NVMe status, or a negative errno.
    fn judge(jobs: &mut Jobs, id: EntryId, result: i32) -> Verdict {
        let entry = jobs.slab.get_mut(id);
        if result == 0 && entry.part == entry.op.len && entry.bounce.is_none() {
            return ControlFlow::Break(Ok(()));
        }
        // Whatever the kernel has against the registered buffer, the same without it says whether the operation is at fault.
        let refused = matches!(result.saturating_neg(), libc::EFAULT | libc::EINVAL | libc::EOPNOTSUPP);
        if std::mem::take(&mut entry.fixed) && refused {
            entry.plain = true;
            let file = entry.file;
            jobs.files.get_mut(file).refuses_registered(result.saturating_neg());
            return ControlFlow::Continue(());
        }
        if let Err(error) = status::result_of(result) {
            return ControlFlow::Break(Err(error));
        }
        if entry.op.kind.moves_data() {
            let segments = entry.op.segments.as_slice();
            if let (Some(buffer), OpKind::Read) = (entry.bounce, entry.op.kind) {
                let filled = jobs.bounce.segment(buffer, entry.part as usize);
                scatter(&segments[entry.cursor.segment..], entry.cursor.at as u64, &filled);
            }
            entry.cursor.advance(segments, entry.part as usize);
        }
        entry.done += entry.part;
        if entry.done == entry.op.len { ControlFlow::Break(Ok(())) } else { ControlFlow::Continue(()) }
    }

    fn abandon(&mut self) {
        std::mem::forget(std::mem::take(&mut self.ranges));
    }
}

impl Jobs {
    /// The next command for an operation. For a bounced write this fills the buffer.
    pub(super) fn part(&mut self, id: EntryId) -> Part {
        let (user_data, ring) = self.goes_out(id);
        let entry = self.slab.get_mut(id);
        let terms = &self.files.get(entry.file).terms;
        let Terms { nsid, block_size, limits, zeroes_deallocate, fixed } = *terms;
        // A power of two, as the sizes of all blocks are.
        let shift = block_size.trailing_zeros();
        let lba = (entry.op.offset + entry.done) >> shift;
        let blocks = |bytes: u64| (bytes >> shift) as u32;
        let left = entry.op.len - entry.done;
        let mut registered = None;
        let (command, is_list) = match entry.op.kind {
            OpKind::Read | OpKind::Compare | OpKind::Write { .. } | OpKind::WriteAtomic { .. } => {
                let piece = memory(&self.bounce, entry, terms);
                entry.part = piece.bytes;
                let (blocks, data) = (blocks(piece.bytes), piece.data);
                let pieces = match (&piece.segment, fixed) {
                    (_, Fixed::No) | (None, Fixed::Piece) => &[],
                    _ if entry.plain => &[],
                    (Some(segment), _) => std::slice::from_ref(segment),
                    (None, Fixed::Lists) => piece.list(entry.op.segments.as_slice(), entry.cursor),
                };
                registered = if pieces.is_empty() { None } else { self.buffers[ring as usize].find(pieces) };
                let command = match entry.op.kind {
                    OpKind::Write { fua } | OpKind::WriteAtomic { fua } => Command::write(nsid, lba, blocks, data, fua),
                    OpKind::Compare => Command::compare(nsid, lba, blocks, data),
                    _ => Command::read(nsid, lba, blocks, data),
                };
                (command, piece.segment.is_none())
            }
            OpKind::Verify => {
                entry.part = left.min(limits.verify_bytes);
                (Command::verify(nsid, lba, blocks(entry.part)), false)
            }
            OpKind::WriteZeroes { unmap, fua } => {
                entry.part = left.min(limits.zeroes_bytes);
                (Command::write_zeroes(nsid, lba, blocks(entry.part), unmap && zeroes_deallocate, fua), false)
            }
            OpKind::Unmap => {
                entry.part = left.min(limits.deallocate_bytes);
                let place = &mut self.work.ranges[id.index()];
                *place = range(lba, blocks(entry.part));
                (Command::deallocate(nsid, place.as_ptr().addr() as u64), false)
            }
            OpKind::Flush | OpKind::Extents | OpKind::Anchor { .. } | OpKind::Prefetch => (Command::flush(nsid), false),
        };
        entry.fixed = registered.is_some();
        self.stats.fixed += u64::from(entry.fixed);
        let request = if is_list { URING_CMD_IO_VEC } else { URING_CMD_IO };
        Part { target: self.files.target(entry.file, ring), user_data, request, command, registered }
    }
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

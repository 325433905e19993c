//! Memory that a client does not share, seen from its control thread: reached by messages over the socket.
//!
//! Workers put jobs in the [`Outbox`] and ring its bell; the control thread carries them out when it has nothing to
//! answer, and tells the worker. It gives a job up when the client itself waits for an answer, and takes it up again
//! after that. Nothing of a life that is over is written.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bdev::Segment;
use crossbeam::queue::SegQueue;
use rustix::io::Errno;

use crate::dma::{Access, Gpa, MemMap, RegionCache, TranslateError};
use crate::vfio_user::ClientMemory;

use super::adapter::Adapter;
use super::live::Live;
use super::message::{Message, QueueName};

/// Bytes that are moved at a time: what is lost, at most, when the client comes in between.
const CHUNK_LEN: usize = 64 << 10;
/// How long the control thread carries jobs before it looks at its socket again.
const SLICE: Duration = Duration::from_millis(50);

/// One job of one queue: no two of it are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JobId(pub(crate) u64);

/// Bytes of guest memory in private memory.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) gpa: Gpa,
    pub(crate) bytes: Vec<u8>,
}

/// Pieces to read or to write for a worker.
#[derive(Debug)]
pub(crate) struct Job {
    queue: QueueName,
    id: JobId,
    access: Access,
    pieces: Vec<Piece>,
    /// The piece that is being moved, and how many bytes of it are done.
    at: (usize, usize),
}

/// Jobs that the control thread has not seen yet. Unbounded, for each worker bounds its own.
#[derive(Debug)]
pub(crate) struct Outbox {
    jobs: SegQueue<Job>,
    bell: Arc<OwnedFd>,
}

/// Why a job is not done.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("the client waits for an answer")]
    ClientWaits,
    #[error("it takes long")]
    OutOfTime,
    #[error(transparent)]
    NoMemory(#[from] TranslateError),
    #[error("the client, which does not share its memory at {gpa}, does not serve it either: {errno}")]
    Client { gpa: Gpa, errno: Errno },
}

/// The control thread's jobs, in order.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    jobs: VecDeque<Job>,
}

impl Job {
    /// Fetches what the guest wrote; `ranges` are first byte and length.
    pub(crate) fn fetch(queue: QueueName, id: JobId, ranges: impl Iterator<Item = (Gpa, usize)>) -> Self {
        let pieces = ranges.map(|(gpa, len)| Piece { gpa, bytes: vec![0; len] }).collect();
        Self { queue, id, access: Access::Read, pieces, at: (0, 0) }
    }

    /// Stores what is for the guest to read.
    pub(crate) fn store(queue: QueueName, id: JobId, pieces: Vec<Piece>) -> Self {
        Self { queue, id, access: Access::Write, pieces, at: (0, 0) }
    }

    /// Goes on until all is done, or `until`.
    fn carry(&mut self, map: &MemMap, memory: &mut dyn ClientMemory, until: Instant) -> Result<(), Fault> {
        while let Some(Piece { gpa, bytes }) = self.pieces.get_mut(self.at.0) {
            let done = self.at.1;
            if done == bytes.len() {
                self.at = (self.at.0 + 1, 0);
                continue;
            }
            let chunk = done..bytes.len().min(done + CHUNK_LEN);
            self.at.1 = chunk.end;
            let moved = move_chunk(map, memory, (Gpa(gpa.0 + done as u64), &mut bytes[chunk]), self.access);
            if let Err(fault) = moved {
                self.at.1 = done;
                return Err(fault);
            }
            if Instant::now() >= until && !self.is_done() {
                return Err(Fault::OutOfTime);
            }
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let (piece, done) = self.at;
        self.pieces.get(piece).is_none_or(|last| piece + 1 == self.pieces.len() && done == last.bytes.len())
    }

    /// What the worker is told.
    fn into_message(self) -> Message {
        let Self { queue, id, access, pieces, .. } = self;
        match access {
            Access::Read => Message::Fetched { queue, id, pieces },
            Access::Write => Message::Stored { queue, id },
        }
    }
}

/// Moves bytes between private and guest memory. Some of it may be shared: a table can reach from one region into the
/// next, and a region can come back with a file.
fn move_chunk(
    map: &MemMap,
    memory: &mut dyn ClientMemory,
    (gpa, bytes): (Gpa, &mut [u8]),
    access: Access,
) -> Result<(), Fault> {
    let mut parts: Vec<(Segment, bool)> = Vec::new();
    map.translate(&mut RegionCache::default(), (gpa, bytes.len() as u64), access, |segment, is_remote| {
        parts.push((segment, is_remote));
        Ok(())
    })?;
    let (mut at, mut rest) = (gpa, bytes);
    for (segment, is_remote) in parts {
        let (part, behind) = rest.split_at_mut(segment.len());
        let moved = match (is_remote, access) {
            (true, Access::Read) => memory.dma_read(at, part),
            (true, Access::Write) => memory.dma_write(at, part),
            (false, Access::Read) => {
                segment.read(0, part);
                Ok(())
            }
            (false, Access::Write) => {
                segment.write(0, part);
                Ok(())
            }
        };
        moved.map_err(|errno| match errno {
            Errno::AGAIN => Fault::ClientWaits,
            errno => Fault::Client { gpa: at, errno },
        })?;
        (at, rest) = (Gpa(at.0.wrapping_add(segment.len() as u64)), behind);
    }
    Ok(())
}

impl Outbox {
    /// `bell` is the eventfd that wakes the control thread.
    pub(crate) fn new(bell: Arc<OwnedFd>) -> Self {
        Self { jobs: SegQueue::new(), bell }
    }

    /// Hands over a job. From a reactor: it costs a system call, and does not block.
    pub(crate) fn push(&self, job: Job) {
        self.jobs.push(job);
        self.ring();
    }

    /// Has the control thread look at its jobs.
    pub(crate) fn ring(&self) {
        // A full counter is a bell that rings already.
        let _ = rustix::io::write(&*self.bell, &1_u64.to_ne_bytes());
    }
}

impl Courier {
    /// Carries out jobs, until there is none, the client comes first, or for a bounded time; the bell is rung if there is
    /// more to do. `live` is the life that the device has now.
    pub(crate) fn carry(
        &mut self,
        adapter: &Adapter,
        live: Option<&Live>,
        map: &MemMap,
        memory: &mut dyn ClientMemory,
    ) {
        self.collect(adapter);
        let Some(live) = live else { return self.jobs.clear() };
        let until = Instant::now() + SLICE;
        for _ in 0..self.jobs.len() {
            let mut job = self.jobs.pop_front().expect("counted");
            if job.queue.life != live.life() || job.access == Access::Read && adapter.is_broken() {
                continue;
            }
            match job.carry(map, memory, until) {
                Ok(()) => live.tell(job.queue.number, job.into_message()),
                Err(Fault::ClientWaits) => return self.jobs.push_front(job),
                Err(Fault::OutOfTime) => self.jobs.push_front(job),
                // The memory went away when the command was done with it: it may come back, as that of rings does.
                Err(Fault::NoMemory(_)) if job.access == Access::Write => self.jobs.push_back(job),
                Err(fault) => adapter.fail(&format_args!("queue {}: {fault}", job.queue.number)),
            }
            if Instant::now() >= until {
                return self.remind(adapter);
            }
        }
    }

    /// The queues rest: each has put back the chain that it was fetching.
    pub(crate) fn forget_fetches(&mut self, adapter: &Adapter) {
        self.collect(adapter);
        self.jobs.retain(|job| job.access == Access::Write);
    }

    /// Jobs that could not be done may be possible now: has the control thread look at them.
    pub(crate) fn remind(&self, adapter: &Adapter) {
        if !self.jobs.is_empty() || !adapter.outbox.jobs.is_empty() {
            adapter.outbox.ring();
        }
    }

    fn collect(&mut self, adapter: &Adapter) {
        while let Some(job) = adapter.outbox.jobs.pop() {
            self.jobs.push_back(job);
        }
    }
}

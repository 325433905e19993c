//! Requests in memory that the client does not share, seen from their queue: memory of our own stands in for theirs.
//!
//! Before such a chain is looked at, what the driver wrote into it is fetched; when the request has ended, what was
//! written for the driver is stored, and only then is the chain given back. Both are jobs for the control thread (see
//! [`courier`](super::courier)). The rings themselves have to be shared.
//!
//! While something is fetched the queue takes nothing else, so that commands start in order. If it is to rest meanwhile,
//! it puts the chain back, for the client may wait for the rest and not serve its memory before. A request whose answer is
//! being stored touches no guest memory any more, and does not hold up a rest; but it has not ended for task management.
//! (A function that waits for it while the client waits for a rest holds up the rest, at worst until the device is
//! failed.)

use crate::dma::{Access, Gpa, StandIn};
use crate::virtio::ring::{Chain, Head, RemoteRange};
use crate::virtio_scsi::Address;

use super::courier::{Job, JobId, Piece};
use super::message::Scope;
use super::tag::RequestName;
use super::worker::Queue;

/// Bytes that may stand in for guest memory in one queue at a time: twice the longest transfer, so that one request always
/// fits. More requests wait in the ring; one that is longer is no request of a sane driver.
const BYTES_MAX: u64 = 32 << 20;

/// What a queue has under way with its control thread; nearly always nothing.
#[derive(Debug, Default)]
pub(crate) struct Remote {
    last_id: u64,
    fetching: Option<(JobId, Fetching)>,
    /// The next chain waits for others to end: there is no room to stand in for it.
    is_full: bool,
    bytes: u64,
    storing: Vec<Storing>,
}

/// What is being fetched.
#[derive(Debug)]
pub(crate) enum Fetching {
    /// The indirect table of the next chain, which is still in the ring.
    Table(Gpa),
    /// The readable part of a chain that was taken.
    Chain(Head),
}

/// A request that has ended but for its answer, which the control thread stores.
#[derive(Debug)]
struct Storing {
    id: JobId,
    head: Head,
    written: u32,
    bytes: u64,
    task: Option<Task>,
    is_stored: bool,
}

/// What task management knows a request by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) name: RequestName,
    pub(crate) address: Address,
    pub(crate) id: u64,
}

/// Memory that stands in for that of one request.
#[derive(Debug)]
pub(crate) struct StoodIn {
    memory: StandIn,
    writable: Vec<Writable>,
    bytes: u64,
}

/// A range that the device may write.
#[derive(Debug, Clone, Copy)]
struct Writable {
    gpa: Gpa,
    /// Bytes of the chain's writable part before it.
    offset: u64,
    /// Where it is in the memory that stands in.
    at: usize,
    len: u64,
}

impl Remote {
    /// Whether the queue takes no chain until something has been heard of the control thread.
    #[inline]
    pub(crate) fn holds_up(&self) -> bool {
        self.is_full || self.fetching.is_some()
    }

    /// Whether a chain was taken and has not become a request yet.
    pub(crate) fn has_chain(&self) -> bool {
        matches!(self.fetching, Some((_, Fetching::Chain(_))))
    }

    /// Whether nothing waits to be stored, or to be given back after that.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.storing.is_empty()
    }

    /// Whether the answer of a request has not been given back yet.
    pub(crate) fn is_storing(&self, name: RequestName) -> bool {
        self.tasks().any(|task| task.name == name)
    }

    /// Requests in `scope` whose answer has not been given back yet.
    pub(crate) fn in_scope(&self, scope: Scope) -> impl Iterator<Item = RequestName> {
        self.tasks().filter(move |task| scope.holds(task.address, task.id)).map(|task| task.name)
    }

    fn tasks(&self) -> impl Iterator<Item = Task> {
        self.storing.iter().filter_map(|storing| storing.task)
    }

    fn next_id(&mut self) -> JobId {
        self.last_id += 1;
        JobId(self.last_id)
    }

    fn release(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.is_full = false;
    }
}

impl Queue {
    /// Has the table of the next chain fetched.
    #[cold]
    pub(crate) fn fetch_table(&mut self, gpa: Gpa, len: u32) {
        self.fetch(Fetching::Table(gpa), [(gpa, len as usize)].into_iter());
    }

    /// A chain with remote ranges was taken. Gives it back, with memory that stands in for those, if it can be served at
    /// once. Otherwise the queue is held up: the chain is being fetched, was put back, or has failed the device.
    #[cold]
    pub(crate) fn admit(&mut self, head: Head, chain: &mut Chain) -> Option<(Head, Box<StoodIn>)> {
        let (_, bytes) = layout(chain.remote());
        if bytes > BYTES_MAX {
            self.fail(&format_args!("a request has {bytes} bytes in memory that the client does not share"));
            self.ring.push(head, 0);
            return None;
        }
        if self.remote.bytes + bytes > BYTES_MAX {
            self.remote.is_full = true;
            self.ring.unpop(head);
            return None;
        }
        let readable = || chain.remote().iter().filter(|range| range.access == Access::Read);
        if readable().next().is_none() {
            return self.stand_in(head, chain, Vec::new());
        }
        self.fetch(Fetching::Chain(head), readable().map(|range| (range.gpa, range.len as usize)));
        None
    }

    fn fetch(&mut self, what: Fetching, ranges: impl Iterator<Item = (Gpa, usize)>) {
        let id = self.remote.next_id();
        self.remote.fetching = Some((id, what));
        self.adapter.outbox.push(Job::fetch(self.name(), id, ranges));
    }

    /// Something was fetched: what it was for, unless nobody waits for it any more.
    pub(crate) fn take_fetching(&mut self, id: JobId) -> Option<Fetching> {
        self.remote.fetching.take_if(|(expected, _)| *expected == id).map(|(_, what)| what)
    }

    /// The table of the next chain is here.
    pub(crate) fn table_fetched(&mut self, gpa: Gpa, pieces: Vec<Piece>) {
        for Piece { bytes, .. } in pieces {
            self.ring.table_fetched(gpa, bytes.into());
        }
    }

    /// Makes memory that stands in for the remote ranges of `chain`, with what was fetched, one piece for each readable
    /// one. None if there is no memory: that fails the device.
    #[cold]
    pub(crate) fn stand_in(
        &mut self,
        head: Head,
        chain: &mut Chain,
        fetched: Vec<Piece>,
    ) -> Option<(Head, Box<StoodIn>)> {
        let ranges = chain.remote().to_vec();
        let (places, bytes) = layout(&ranges);
        let memory = match StandIn::new(bytes as usize) {
            Ok(memory) => memory,
            Err(error) => {
                self.fail(&format_args!("no memory for a request: {error}"));
                self.ring.push(head, 0);
                return None;
            }
        };
        let mut writable = Vec::new();
        let mut fetched = fetched.into_iter();
        for (range, at) in ranges.iter().zip(places) {
            let segment = memory.segment(at, range.len as usize);
            match range.access {
                Access::Read => segment.write(0, &fetched.next().expect("one for each readable range").bytes),
                Access::Write => {
                    let before = &chain.writable()[..range.place - chain.readable().len()];
                    let offset = bdev::segment::total_len(before);
                    writable.push(Writable { gpa: range.gpa, offset, at, len: range.len });
                }
            }
            chain.replace(range.place, segment);
        }
        self.remote.bytes += bytes;
        Some((head, Box::new(StoodIn { memory, writable, bytes })))
    }

    /// Gives a chain back, of whose writable part the first `written` bytes have been written: after they are stored.
    #[cold]
    pub(crate) fn finish(&mut self, head: Head, written: u32, stood_in: &StoodIn, task: Option<Task>) {
        let bytes = stood_in.bytes;
        let pieces = stood_in.written(written.into());
        if pieces.is_empty() || self.is_retiring() {
            self.remote.release(bytes);
            return self.ring.push(head, written);
        }
        let id = self.remote.next_id();
        self.remote.storing.push(Storing { id, head, written, bytes, task, is_stored: false });
        self.adapter.outbox.push(Job::store(self.name(), id, pieces));
    }

    /// An answer has been stored.
    pub(crate) fn stored(&mut self, id: JobId) {
        if let Some(storing) = self.remote.storing.iter_mut().find(|storing| storing.id == id) {
            storing.is_stored = true;
        }
    }

    /// Gives back the chains whose answers have been stored, if the ring has its memory; how many.
    #[cold]
    pub(crate) fn push_stored(&mut self) -> usize {
        if !self.ring.is_bound() {
            return 0;
        }
        let stored: Vec<_> = self.remote.storing.extract_if(.., |storing| storing.is_stored).collect();
        let count = stored.len();
        for Storing { head, written, bytes, .. } in stored {
            self.remote.release(bytes);
            self.ring.push(head, written);
        }
        count
    }

    /// The queue is about to rest: what is being fetched goes back into the ring.
    pub(crate) fn put_back(&mut self) {
        if let Some((_, Fetching::Chain(head))) = self.remote.fetching.take() {
            self.ring.unpop(head);
        }
    }

    /// The life is over: nothing that the control thread does for it matters any more.
    pub(crate) fn forget_jobs(&mut self) {
        self.remote.fetching = None;
        self.remote.storing.clear();
    }

    /// The position in the ring behind all that the driver has made available, if it could not be taken so far.
    pub(crate) fn untaken(&mut self) -> Option<u16> {
        if !self.remote.holds_up() || !self.is_serving() {
            return None;
        }
        let ahead = self.ring.available().ok()?;
        Some(self.ring.position().wrapping_add(ahead))
    }

    /// Whether everything before a position has become a request, or is not going to before the queue has rested.
    pub(crate) fn has_taken(&self, position: u16) -> bool {
        let taken = self.ring.position().wrapping_sub(self.remote.has_chain().into());
        !self.is_serving() || position.wrapping_sub(taken) as i16 <= 0
    }
}

impl StoodIn {
    /// What was written into the ranges, if that was the first `written` bytes of the chain's writable part.
    fn written(&self, written: u64) -> Vec<Piece> {
        let piece = |range: &Writable| {
            let len = range.len.min(written.saturating_sub(range.offset)) as usize;
            let mut bytes = vec![0; len];
            self.memory.segment(range.at, len).read(0, &mut bytes);
            Piece { gpa: range.gpa, bytes }
        };
        self.writable.iter().map(piece).filter(|piece| !piece.bytes.is_empty()).collect()
    }
}

/// Where each range goes in memory that stands in for them, and the length of that: ranges that can be blocks of a disk or
/// pages are aligned as such.
fn layout(ranges: &[RemoteRange]) -> (Vec<usize>, u64) {
    let mut end = 0_u64;
    let mut place = |range: &RemoteRange| {
        let align = match range.len {
            4096.. => 4096,
            512.. => 512,
            _ => 16,
        };
        let at = end.next_multiple_of(align);
        end = at + range.len;
        at as usize
    };
    let places = ranges.iter().map(&mut place).collect();
    (places, end)
}

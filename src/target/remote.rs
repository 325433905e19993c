//! Requests in memory that the client does not share, seen from their queue: memory of our own stands in for theirs.
//!
//! Before such a chain is looked at, what the driver wrote into it is fetched; when the request has ended, what was
//! written for the driver is stored, and only then is the chain given back. Both are jobs for the control thread (see
//! [`courier`](super::courier)). The rings themselves have to be shared.
//!
//! While something is fetched the queue takes nothing else, so that commands start in order. The client may wait for a
//! rest and not serve its memory before, so that no rest may wait for the client: what is being fetched, and what task
//! management holds back (which may itself wait for the client), is forgotten but for its head, and looked at again after
//! the rest. A request whose answer is being stored touches no guest memory any more; but it has not ended for task
//! management.

use std::collections::VecDeque;

use crate::dma::{Access, Gpa, TranslateError};
use crate::virtio::ring::{Chain, ChainFault, Head, RingError, Walked};
use crate::virtio_scsi::Address;

use super::courier::{Job, JobId, Piece};
use super::message::Scope;
use super::stood_in::StoodIn;
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
    /// The next chain waits for others to end, for there is no room to stand in for it; or for its memory to come back.
    must_wait: bool,
    /// Position of the last chain whose table was fetched before it was taken.
    looked_at: Option<u16>,
    /// Position of a chain that had no memory when it was to be taken.
    missed: Option<u16>,
    bytes: u64,
    storing: Vec<Storing>,
    /// Chains that were taken and have to be looked at again, in order.
    again: VecDeque<Taken>,
}

/// A chain that was taken and is no request yet.
#[derive(Debug)]
struct Taken {
    head: Head,
    /// Its position in the ring; None after a rest, when it is older than all that could ask.
    position: Option<u16>,
}

/// What is being fetched.
#[derive(Debug)]
enum Fetching {
    /// The indirect table of the next chain, which is still in the ring.
    Table(Gpa),
    /// The readable part of a chain that was taken.
    Chain(Taken),
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

/// How far a queue has to go until it has taken all that was there at some time: a position in its ring, or, if the ring had
/// no memory, all that is there when it has.
#[derive(Debug)]
pub(crate) struct Untaken(Option<u16>);

/// What task management knows a request by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) name: RequestName,
    pub(crate) address: Address,
    pub(crate) id: u64,
}

impl Remote {
    /// Whether the queue takes no chain until something has been heard of the control thread.
    #[inline]
    pub(crate) fn holds_up(&self) -> bool {
        self.must_wait || self.fetching.is_some()
    }

    /// Whether every chain before the position `end` of the ring that was taken has become a request.
    fn has_begun(&self, end: u16) -> bool {
        let fetching = match &self.fetching {
            Some((_, Fetching::Chain(taken))) => Some(taken),
            _ => None,
        };
        let is_newer = |taken: &Taken| taken.position.is_some_and(|position| !is_before(position, end));
        self.again.iter().chain(fetching).all(is_newer)
    }

    /// Whether no chain that was taken waits to be looked at again, or to be given back.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.storing.is_empty() && self.again.is_empty()
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
        self.must_wait = false;
    }
}

impl Queue {
    /// Has the table of the next chain fetched.
    #[cold]
    pub(crate) fn fetch_table(&mut self, gpa: Gpa, len: u32) {
        self.remote.looked_at = Some(self.ring.position());
        self.fetch(Fetching::Table(gpa), [(gpa, len as usize)].into_iter());
    }

    /// A chain with remote ranges was taken. Gives it back, with memory that stands in for those, if it can be served at
    /// once. Otherwise the queue is held up: the chain is being fetched, waits for room, or has failed the device.
    #[cold]
    pub(crate) fn admit(&mut self, head: Head, chain: &mut Chain) -> Option<(Head, Box<StoodIn>)> {
        let position = Some(self.ring.position().wrapping_sub(1));
        self.admit_taken(Taken { head, position }, chain)
    }

    fn admit_taken(&mut self, taken: Taken, chain: &mut Chain) -> Option<(Head, Box<StoodIn>)> {
        let bytes = StoodIn::bytes_for(chain);
        if bytes > BYTES_MAX {
            self.fail(&format_args!("a request has {bytes} bytes in memory that the client does not share"));
            self.ring.push(taken.head, 0);
            return None;
        }
        if self.remote.bytes + bytes > BYTES_MAX {
            self.remote.must_wait = true;
            self.remote.again.push_front(taken);
            return None;
        }
        let readable = || chain.remote().iter().filter(|range| range.access == Access::Read);
        if readable().next().is_none() {
            return self.stand_in(taken.head, chain, Vec::new());
        }
        self.fetch(Fetching::Chain(taken), readable().map(|range| (range.gpa, range.len as usize)));
        None
    }

    fn fetch(&mut self, what: Fetching, ranges: impl Iterator<Item = (Gpa, usize)>) {
        let id = self.remote.next_id();
        self.remote.fetching = Some((id, what));
        self.adapter.outbox.push(Job::fetch(self.name(), id, ranges));
    }

    /// Something was fetched, and if it was a chain, that can be served now. What nobody waits for any more is dropped.
    pub(crate) fn take_fetched(
        &mut self,
        (id, pieces): (JobId, Vec<Piece>),
        chain: &mut Chain,
    ) -> Option<(Head, Box<StoodIn>)> {
        let (_, what) = self.remote.fetching.take_if(|(expected, _)| *expected == id)?;
        match what {
            // The chain is looked at again in the next round.
            Fetching::Table(gpa) => {
                let tables = pieces.into_iter().map(|piece| piece.bytes.into());
                tables.for_each(|table| self.ring.table_fetched(gpa, table));
                None
            }
            Fetching::Chain(taken) => self.stand_in(taken.head, chain, pieces),
        }
    }

    /// Makes memory that stands in for the remote ranges of `chain`, with what was fetched, one piece for each readable
    /// one. None if there is no memory: that fails the device.
    fn stand_in(&mut self, head: Head, chain: &mut Chain, fetched: Vec<Piece>) -> Option<(Head, Box<StoodIn>)> {
        let stood_in = match StoodIn::new(chain, fetched) {
            Ok(stood_in) => stood_in,
            Err(error) => {
                self.fail(&format_args!("no memory for a request: {error}"));
                self.ring.push(head, 0);
                return None;
            }
        };
        self.remote.bytes += stood_in.bytes();
        Some((head, Box::new(stood_in)))
    }

    /// Gives a chain back, of whose writable part the first `written` bytes have been written: after they are stored.
    #[cold]
    pub(crate) fn finish(&mut self, head: Head, written: u32, stood_in: &StoodIn, task: Option<Task>) {
        let bytes = stood_in.bytes();
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

    /// The next chain that has to be looked at again, with memory that stands in for it if need be. None if there is none
    /// or it has to wait.
    #[cold]
    pub(crate) fn take_again(&mut self, chain: &mut Chain) -> Option<(Head, Option<Box<StoodIn>>)> {
        if !self.is_accepting() {
            return None;
        }
        let taken = self.remote.again.pop_front()?;
        match self.ring.walk(&self.memory, chain, &taken.head) {
            Ok(Walked::Chain) if chain.remote().is_empty() => Some((taken.head, None)),
            Ok(Walked::Chain) => self.admit_taken(taken, chain).map(|(head, stood_in)| (head, Some(stood_in))),
            Ok(Walked::NeedsFetch { gpa, len }) => {
                self.remote.again.push_front(taken);
                self.fetch(Fetching::Table(gpa), [(gpa, len as usize)].into_iter());
                None
            }
            Err(error) if is_away(&error) => {
                self.remote.again.push_front(taken);
                self.remote.must_wait = true;
                None
            }
            Err(error) => {
                self.fail(&error);
                self.ring.push(taken.head, 0);
                None
            }
        }
    }

    /// The queue is about to rest: these chains, and after them what is being fetched, are to be looked at again.
    pub(crate) fn put_back(&mut self, heads: Vec<Head>) {
        if let Some((_, Fetching::Chain(taken))) = self.remote.fetching.take() {
            self.remote.again.push_front(taken);
        }
        heads.into_iter().rev().for_each(|head| self.remote.again.push_front(Taken { head, position: None }));
    }

    /// The next chain of the ring cannot be taken: the driver broke it, unless the client has taken its memory away, or has
    /// given it since the reactor looked for messages. In the latter case the next pass tells.
    #[cold]
    pub(crate) fn cannot_pop(&mut self, error: &RingError) {
        let position = Some(self.ring.position());
        if is_away(error) && self.remote.looked_at == position {
            self.remote.must_wait = true;
        } else if !is_away(error) || self.remote.missed == position {
            self.fail(error);
        } else {
            self.remote.missed = position;
        }
    }

    /// Memory that was not there may be there now.
    pub(crate) fn memory_changed(&mut self) {
        self.remote.must_wait = false;
        self.remote.missed = None;
    }

    /// Nothing stands in for the memory of a request any more, without that it has ended.
    pub(crate) fn release(&mut self, stood_in: &StoodIn) {
        self.remote.release(stood_in.bytes());
    }

    /// The life is over: nothing that the control thread does for it matters any more.
    pub(crate) fn forget_jobs(&mut self) {
        self.remote.fetching = None;
        self.remote.storing.clear();
        self.remote.again.clear();
    }

    /// If the queue could not take all that the driver has made available: up to where that goes.
    pub(crate) fn untaken(&mut self) -> Option<Untaken> {
        let mut untaken = Untaken(self.end_of_available());
        (!self.has_taken(&mut untaken)).then_some(untaken)
    }

    /// Whether everything up to there has become a request; or is not going to.
    pub(crate) fn has_taken(&mut self, untaken: &mut Untaken) -> bool {
        if self.is_retiring() || self.adapter.is_broken() {
            return true;
        }
        untaken.0 = untaken.0.or_else(|| self.end_of_available());
        let Some(end) = untaken.0 else { return false };
        !is_before(self.ring.position(), end) && self.remote.has_begun(end)
    }

    /// Position in the ring behind all that is available, if the ring has its memory.
    fn end_of_available(&mut self) -> Option<u16> {
        if !self.ring.is_bound() {
            return None;
        }
        let ahead = self.ring.available().unwrap_or(0);
        Some(self.ring.position().wrapping_add(ahead))
    }
}

/// Whether a chain has no memory. Where it had some before a rest, it may come back, as that of rings: the queue waits.
fn is_away(error: &RingError) -> bool {
    matches!(error, RingError::Chain { fault: ChainFault::Memory(TranslateError::Unmapped(_)), .. })
}

/// Whether a position in the ring is before another: both go around, and are never half a turn apart.
fn is_before(position: u16, other: u16) -> bool {
    (position.wrapping_sub(other) as i16) < 0
}

//! What a request queue takes in one pass: a batch of chains is popped before the first is looked into, so that their
//! headers are on their way from the driver's cache meanwhile.
//!
//! Nearly all of them are READ or WRITE, cut as drivers cut them, with nothing in their way. Where the device does such a
//! one at once, it goes from chain to response without ever being a request: it has no slot, for nobody could ask for it
//! before it has ended. All others take the way of [`execute`](super::execute), which decides alone what they come to.

use std::ops::Range;

use bdev::{IoError, OpKind, Segment};

use crate::scsi::{BlockOp, Outcome};
use crate::virtio::ring::{Popped, UsualChain};
use crate::virtio_scsi::{CommandRequest, Framing, GOOD_LEN, Plain, write_good};

use super::at_once::AtOnce;
use super::cx::{CountedChannel, Cx};
use super::disk::DiskIndex;
use super::known::KnownUnits;
use super::lun_map::LunMap;
use super::request_queue::RequestQueue;

/// Chains that one queue takes in one pass: the others of its reactor get their turn, and the driver is busy with what one
/// pass published while the next one takes more. With 64, the two worked in lockstep.
pub(super) const BATCH: usize = 16;

/// What a chain came to that was not answered at once.
enum Stopped {
    /// Nothing was done.
    Nothing,
    /// The operation failed.
    Failed(OpKind, IoError),
}

impl RequestQueue {
    /// Takes up to `count` chains; how many it took.
    #[inline(never)]
    pub(super) fn take(&mut self, count: u16, cx: &mut Cx) -> usize {
        let (count, mut taken) = (usize::from(count), 0);
        while taken < count {
            let most = (count - taken).min(BATCH).min(self.slots.room());
            let batch = self.queue.ring.pop_usual(&self.queue.memory, &mut self.batch[..most]);
            self.begin_batch(batch, cx);
            taken += batch;
            if batch < most || most == 0 {
                // A packed ring does not tell how many there are.
                if !self.queue.ring.has_new() {
                    return taken;
                }
                match self.take_unusual(cx) {
                    0 => return taken,
                    one => taken += one,
                }
            }
        }
        taken
    }

    /// Takes a chain that is not cut as usual, if there is one; how many it took.
    #[inline(never)]
    fn take_unusual(&mut self, cx: &mut Cx) -> usize {
        if self.slots.room() == 0 {
            return 0;
        }
        match self.queue.ring.pop(&self.queue.memory, &mut self.chain) {
            Ok(Popped::Chain(head)) if self.chain.remote().is_empty() => {
                self.begin(head, None, cx);
                return 1;
            }
            Ok(Popped::Chain(head)) => {
                if let Some((head, stood_in)) = self.queue.admit(head, &mut self.chain) {
                    self.begin(head, Some(stood_in), cx);
                    return 1;
                }
            }
            Ok(Popped::Empty) => {}
            Ok(Popped::NeedsFetch { gpa, len }) => self.queue.fetch_table(gpa, len),
            Err(error) => self.queue.cannot_pop(&error),
        }
        0
    }

    /// The first `count` chains of the batch become requests, or are done with at once.
    fn begin_batch(&mut self, count: usize, cx: &mut Cx) {
        let mut place = 0;
        while let Some((stopped, at)) = self.run_at_once(place..count, cx) {
            match stopped {
                Stopped::Nothing => self.begin_aside(at, cx),
                Stopped::Failed(kind, error) => self.fail_aside(at, &Outcome::of_io_error(kind, error)),
            }
            place = at + 1;
        }
    }

    /// A chain becomes a request.
    #[inline(never)]
    fn begin_aside(&mut self, place: usize, cx: &mut Cx) {
        let Self { batch, chain, slots, .. } = self;
        let usual = &mut batch[place];
        let head = usual.take_head();
        let Some(plain) = Plain::of(usual, self.framing) else {
            chain.describe(usual);
            return self.begin(head, None, cx);
        };
        let request = CommandRequest::read(plain.header, self.framing);
        let slot = slots.take_plain(head, &plain);
        self.execute(slot, &request, cx);
    }

    /// Ends a request that came to nothing.
    #[cold]
    fn fail_aside(&mut self, place: usize, outcome: &Outcome) {
        let usual = &mut self.batch[place];
        let head = usual.take_head();
        let plain = Plain::of(usual, self.framing);
        let slot = self.slots.take_plain(head, &plain.expect("it was run as such"));
        self.end(slot, outcome, 0);
    }

    /// Runs the commands of these chains and answers them, up to the first with which that cannot be done: which one, and
    /// why.
    #[inline(never)]
    fn run_at_once(&mut self, places: Range<usize>, cx: &mut Cx) -> Option<(Stopped, usize)> {
        let Self { queue, batch, framing, known, .. } = self;
        let (luns, ring, framing) = (&queue.luns, &mut queue.ring, *framing);
        let Range { start, end } = places;
        if !cx.bars.is_empty() {
            return (start < end).then_some((Stopped::Nothing, start));
        }
        known.keep_up(luns);
        let mut ops = AtOnce::new();
        for chain in &batch[start..end] {
            let Some((disk, op, data)) = usual_op(chain, framing, known, (luns, &cx.channels)) else { break };
            ops.push(disk, op, data);
        }
        let (done, failed) = ops.run(&mut cx.channels);
        let at = start + done;
        let done = &mut batch[start..at];
        done.iter().for_each(|chain| write_good(chain.response()));
        ring.push_usual(done, GOOD_LEN);
        let stopped = failed.map_or(Stopped::Nothing, |(kind, error)| Stopped::Failed(kind, error));
        (at < end).then_some((stopped, at))
    }
}

/// The disk that the command of this chain is for, its operation and its data, if it is a usual one that can be done at once.
#[inline(always)]
fn usual_op<'a>(
    chain: &'a UsualChain,
    framing: Framing,
    known: &mut KnownUnits,
    from: (&LunMap, &[CountedChannel]),
) -> Option<(DiskIndex, BlockOp, &'a [Segment])> {
    let plain = Plain::of(chain, framing)?;
    let (lun, cdb) = CommandRequest::peek(plain.header)?;
    let known = known.find(lun, from)?;
    let op = known.unit.start(cdb, plain.data_out)?;
    (op.len == plain.data_len).then_some((known.disk(), op, plain.data))
}

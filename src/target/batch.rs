//! What a request queue takes in one pass: a batch of chains is popped before the first is looked into, so that their
//! headers are on their way from the driver's cache meanwhile.
//!
//! Nearly all of them are READ or WRITE, cut as drivers cut them, with nothing in their way. Where the device does such a
//! one at once, it goes from chain to response without ever being a request: it has no slot, for nobody could ask for it
//! before it has ended. One that fails becomes a request then. Where the device makes it wait, [`usual`](super::usual) is its
//! way. All others take that of [`execute`](super::execute), which decides alone what they come to.

use std::ops::Range;

use crate::virtio::ring::Popped;
use crate::virtio_scsi::{CommandRequest, Destination, GOOD_LEN, Plain, write_good};

use super::at_once::{AtOnce, Failed, Stop};
use super::cx::Cx;
use super::request_queue::RequestQueue;

/// Chains that one queue takes in one pass: the others of its reactor get their turn, and the driver is busy with what one
/// pass published while the next one takes more. With 64, the two worked in lockstep.
pub(super) const BATCH: usize = 16;

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
        while place < count {
            let (at, failed) = self.run_at_once(place..count, cx);
            place = match failed {
                Some(failed) => {
                    self.fail_aside(at, &failed, cx);
                    at + 1
                }
                None => self.begin_usual(at..count, cx),
            };
            // Neither wants it.
            if place == at && place < count {
                self.begin_aside(at, cx);
                place += 1;
            }
        }
    }

    /// A chain becomes a request.
    #[inline(never)]
    fn begin_aside(&mut self, place: usize, cx: &mut Cx) {
        let Self { batch, chain, slots, .. } = self;
        let usual = &batch[place];
        let head = usual.take_head();
        let Some(plain) = Plain::of(usual, self.framing) else {
            chain.describe(usual);
            return self.begin(head, None, cx);
        };
        let request = CommandRequest::read(plain.header, self.framing);
        let slot = slots.take_plain(head, &plain);
        self.execute(slot, &request, cx);
    }

    /// A chain becomes a request whose operation has failed, and goes on as all others do.
    #[cold]
    fn fail_aside(&mut self, place: usize, failed: &Failed, cx: &mut Cx) {
        let Self { queue, batch, slots, framing, .. } = self;
        let usual = &batch[place];
        let plain = Plain::of(usual, *framing).expect("it was run as such");
        let Ok(Destination::Unit(address)) = failed.lun.parse() else { unreachable!("only units are met") };
        let entry = queue.luns.find(address).expect("units are met in this map");
        let slot = slots.take_usual(usual.take_head(), &plain, (address, entry), failed.op);
        self.fail_usual(slot, failed.error, cx);
    }

    /// Runs the commands of these chains and answers them, up to the first with which that cannot be done: which one, and
    /// what it was if it failed.
    #[inline(never)]
    fn run_at_once(&mut self, places: Range<usize>, cx: &mut Cx) -> (usize, Option<Box<Failed>>) {
        let Self { queue, batch, framing, known, .. } = self;
        let (luns, ring, framing) = (&queue.luns, &mut queue.ring, *framing);
        let Range { start, end } = places;
        known.keep_up(luns);
        if !cx.bars.is_empty() {
            return (start, None);
        }
        let (chains, mut ops, mut failed) = (&batch[start..end], AtOnce::new(), None);
        // A driver that changes a header meanwhile has us meet its units in vain, but not for ever.
        for _ in 0..=BATCH {
            match ops.run(&chains[ops.done()..], framing, known, &mut cx.channels) {
                Stop::Unmet(lun) if known.meet(lun, (luns, &cx.channels)).is_some() => {}
                Stop::Failed(its) => {
                    failed = Some(its);
                    break;
                }
                _ => break,
            }
        }
        let at = start + ops.done();
        let done = &batch[start..at];
        done.iter().for_each(|chain| write_good(chain.response()));
        ring.push_usual(done, GOOD_LEN);
        (at, failed)
    }
}

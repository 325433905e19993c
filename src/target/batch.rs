//! What a request queue takes in one pass: a batch of chains is popped before the first is looked into, so that their
//! headers are on their way from the driver's cache meanwhile.
//!
//! Nearly all of them are READ or WRITE, cut as drivers cut them, with nothing in their way. Where the device does such a
//! one at once, it goes from chain to response without ever being a request: it has no slot, for nobody could ask for it
//! before it has ended. All others take the way of [`execute`](super::execute), which decides alone what they come to.

use bdev::{IoError, Op};

use crate::scsi::{BlockOp, Outcome};
use crate::virtio::ring::{Popped, RingError};
use crate::virtio_scsi::{CommandRequest, Destination, Plain, write_plain_response};

use super::cx::Cx;
use super::lun_map::EntryIndex;
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
            let (batch, next) = self.set_aside((count - taken).min(BATCH));
            for place in 0..batch {
                self.begin_aside(place, cx);
            }
            taken += batch;
            match next {
                Ok(None) => {}
                Ok(Some(Popped::Chain(head))) if self.chain.remote().is_empty() => {
                    self.begin(head, None, cx);
                    taken += 1;
                }
                Ok(Some(Popped::Chain(head))) => {
                    let Some((head, stood_in)) = self.queue.admit(head, &mut self.chain) else { return taken };
                    self.begin(head, Some(stood_in), cx);
                    taken += 1;
                }
                Ok(Some(Popped::Empty)) => return taken,
                Ok(Some(Popped::NeedsFetch { gpa, len })) => {
                    self.queue.fetch_table(gpa, len);
                    return taken;
                }
                Err(error) => {
                    self.queue.cannot_pop(&error);
                    return taken;
                }
            }
        }
        taken
    }

    /// Pops up to `most` chains, at most [`BATCH`], as far as there is room. Returns how many, and what else was popped
    /// behind them: a chain that is not cut as usual, or nothing at all.
    #[inline(always)]
    fn set_aside(&mut self, most: usize) -> (usize, Result<Option<Popped>, RingError>) {
        let Self { queue, slots, batch, chain, framing, .. } = self;
        let room = slots.room();
        for (place, aside) in batch.iter_mut().take(most).enumerate() {
            if place == room {
                return (place, Ok(Some(Popped::Empty)));
            }
            let head = match queue.ring.pop(&queue.memory, chain) {
                Ok(Popped::Chain(head)) => head,
                next => return (place, next.map(Some)),
            };
            let usual = chain.remote().is_empty();
            if !(usual && Plain::of(chain, *framing).is_some_and(|plain| aside.fill(&plain))) {
                return (place, Ok(Some(Popped::Chain(head))));
            }
            aside.header.prefetch_read();
            aside.response()[0].prefetch_write();
            aside.head = Some(head);
        }
        (most, Ok(None))
    }

    /// A chain that was set aside becomes a request, or is done with at once.
    #[inline(always)]
    fn begin_aside(&mut self, place: usize, cx: &mut Cx) {
        match self.run_at_once(place, cx) {
            Some((_, Ok(()))) => {}
            Some(((entry, op), Err(error))) => self.fail_aside(place, entry, &Outcome::of_io_error(op.kind, error)),
            None => self.execute_aside(place, cx),
        }
    }

    #[inline(never)]
    fn execute_aside(&mut self, place: usize, cx: &mut Cx) {
        let aside = &mut self.batch[place];
        let request = CommandRequest::read(&aside.header, self.framing);
        let slot = self.slots.take_aside(aside);
        self.execute(slot, &request, cx);
    }

    /// Ends a request that came to nothing.
    #[cold]
    fn fail_aside(&mut self, place: usize, entry: EntryIndex, outcome: &Outcome) {
        let slot = self.slots.take_aside(&mut self.batch[place]);
        self.slots.get(slot).entry = entry;
        self.end(slot, outcome, 0);
    }

    /// Runs the command, and if that succeeds answers it. `None` says that nothing was done, and nothing else.
    #[inline(always)]
    fn run_at_once(&mut self, place: usize, cx: &mut Cx) -> Option<((EntryIndex, BlockOp), Result<(), IoError>)> {
        let (lun, cdb) = CommandRequest::peek(&self.batch[place].header)?;
        let Ok(Destination::Unit(address)) = lun.parse() else { return None };
        let luns = &self.queue.adapter.luns;
        let index = luns.find(address)?;
        let entry = luns.entry(index);
        if !(cx.bars.is_empty() && entry.is_usual()) {
            return None;
        }
        let op = entry.unit.quick(&cdb)?;
        let aside = &mut self.batch[place];
        if op.len != aside.data_len || op.kind.is_change() != aside.data_out {
            return None;
        }
        let disk = entry.disk.as_ref()?.index;
        let BlockOp { kind, offset, len } = op;
        let result = cx.channels[disk.0].run(&Op { kind, offset, len, segments: aside.data() })?;
        if result.is_ok() {
            let written = write_plain_response(aside.response(), Outcome::GOOD.status.0, 0);
            let head = aside.head.take().expect("a chain is given back once");
            self.queue.ring.push(head, written);
        }
        Some(((index, op), result))
    }
}

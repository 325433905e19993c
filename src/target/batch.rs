//! What a request queue takes in one pass: a batch of chains is popped before the first is looked into, so that their
//! headers are on their way from the driver's cache meanwhile.
//!
//! Nearly all of them are READ or WRITE, cut as drivers cut them, with nothing in their way. Where the device does such a
//! one at once, it goes from chain to response without ever being a request: it has no slot, for nobody could ask for it
//! before it has ended. All others take the way of [`execute`](super::execute), which decides alone what they come to.

use bdev::IoError;

use crate::scsi::{BlockOp, Outcome};
use crate::virtio::ring::{Popped, UsualChain};
use crate::virtio_scsi::{CommandRequest, Destination, LunAddress, Plain, write_plain_response};

use super::cx::Cx;
use super::lun_map::EntryIndex;
use super::request_queue::RequestQueue;
use super::slots;

/// Chains that one queue takes in one pass: the others of its reactor get their turn, and the driver is busy with what one
/// pass published while the next one takes more. With 64, the two worked in lockstep.
pub(super) const BATCH: usize = 16;

/// What became of a chain at once.
enum AtOnce {
    /// It is answered.
    Ended,
    /// Nothing was done.
    Nothing,
    /// The operation failed.
    Failed(BlockOp, IoError),
}

impl RequestQueue {
    /// Takes up to `count` chains; how many it took.
    #[inline(never)]
    pub(super) fn take(&mut self, count: u16, cx: &mut Cx) -> usize {
        let (count, mut taken) = (usize::from(count), 0);
        while taken < count {
            let most = (count - taken).min(BATCH).min(self.slots.room());
            let batch = self.queue.ring.pop_usual(&mut self.batch[..most]);
            self.begin_batch(batch, cx);
            taken += batch;
            if batch < most || most == 0 {
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
    #[inline(never)]
    fn begin_batch(&mut self, count: usize, cx: &mut Cx) {
        let mut last = None;
        for place in 0..count {
            match self.run_at_once(place, &mut last, cx) {
                AtOnce::Ended => {}
                AtOnce::Nothing => self.begin_aside(place, cx),
                AtOnce::Failed(op, error) => self.fail_aside(place, &Outcome::of_io_error(op.kind, error)),
            }
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

    /// Runs the command, and if that succeeds answers it. `last` is the unit of the one before: nearly always the same.
    #[inline(always)]
    fn run_at_once(&mut self, place: usize, last: &mut Option<(LunAddress, EntryIndex)>, cx: &mut Cx) -> AtOnce {
        let usual = &self.batch[place];
        match self.try_at_once(usual, last, cx) {
            Some((_, Ok(()), written)) => {
                let head = self.batch[place].take_head();
                self.queue.ring.push(head, written);
                AtOnce::Ended
            }
            Some((op, Err(error), _)) => AtOnce::Failed(op, error),
            None => AtOnce::Nothing,
        }
    }

    /// Runs the command, and if that succeeds writes the response, of so many bytes. `None` says that nothing was done.
    #[inline(always)]
    fn try_at_once(
        &self,
        usual: &UsualChain,
        last: &mut Option<(LunAddress, EntryIndex)>,
        cx: &mut Cx,
    ) -> Option<(BlockOp, Result<(), IoError>, u32)> {
        let plain = Plain::of(usual, self.framing)?;
        let (lun, cdb) = CommandRequest::peek(plain.header)?;
        let luns = &self.queue.adapter.luns;
        let index = match *last {
            Some((address, index)) if address == lun => index,
            _ => {
                let Ok(Destination::Unit(address)) = lun.parse() else { return None };
                let index = luns.find(address)?;
                *last = Some((lun, index));
                index
            }
        };
        let entry = luns.entry(index);
        if !(cx.bars.is_empty() && entry.is_usual()) {
            return None;
        }
        let op = entry.unit.quick(cdb)?;
        if op.len != plain.data_len || op.kind.is_change() != plain.data_out {
            return None;
        }
        let disk = entry.disk.as_ref()?.index;
        let result = slots::run(&mut *cx.channels[disk.0], op, plain.data)?;
        let written = match result {
            Ok(()) => write_plain_response(std::slice::from_ref(plain.response), Outcome::GOOD.status.0, 0),
            Err(_) => 0,
        };
        Some((op, result, written))
    }
}

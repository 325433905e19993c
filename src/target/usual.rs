//! The usual READ or WRITE, with nothing in its way: found in a chain, and, where its disk makes it wait, begun and ended on
//! the shortest way that a request can take. It has a slot like any other, so that task management finds it; but it is never
//! decoded in full, and its end needs no look at its logical unit.
//!
//! [`batch`](super::batch) begins them, [`execute`](super::execute) ends them; whatever fails, or finds its channel full, goes on
//! as all others do.

use std::ops::Range;

use bdev::IoError;

use crate::scsi::BlockOp;
use crate::virtio::ring::UsualChain;
use crate::virtio_scsi::{CommandRequest, Destination, Framing, GOOD_LEN, Plain, write_good};

use super::cx::{CountedChannel, Cx};
use super::disk::DiskIndex;
use super::known::{Known, KnownUnits};
use super::lun_map::LunMap;
use super::request_queue::RequestQueue;
use super::slots::Phase;
use super::tag::SlotIndex;
use super::tally::Kind;

/// Such a command.
pub(super) struct Usual<'c, 'k> {
    pub(super) plain: Plain<'c>,
    pub(super) known: &'k Known,
    pub(super) op: BlockOp,
}

impl<'c, 'k> Usual<'c, 'k> {
    /// The command of this chain, if it is one.
    #[inline(always)]
    pub(super) fn of(
        chain: &'c UsualChain,
        framing: Framing,
        known: &'k mut KnownUnits,
        from: (&LunMap, &[CountedChannel]),
    ) -> Option<Self> {
        let plain = Plain::of(chain, framing)?;
        let (lun, cdb) = CommandRequest::peek(plain.header)?;
        let known = known.find(lun, from)?;
        let op = known.unit.start(cdb, plain.data_out)?;
        (op.len == plain.data_len).then_some(Self { plain, known, op })
    }
}

impl RequestQueue {
    /// Begins the commands of these chains, up to the first that is none of them, or whose disk does it at once: which one. The
    /// units that are known are right.
    #[inline(never)]
    pub(super) fn begin_usual(&mut self, places: Range<usize>, cx: &mut Cx) -> usize {
        let Range { start, end } = places;
        if !cx.bars.is_empty() {
            return start;
        }
        for place in start..end {
            let Self { queue, batch, framing, known, slots, .. } = self;
            let chain = &batch[place];
            let usual = Usual::of(chain, *framing, known, (&queue.luns, &cx.channels));
            let Some(Usual { plain, known, op }) = usual else { return place };
            let Some(entry) = known.entry() else { return place };
            let Ok(Destination::Unit(address)) = known.lun().parse() else { return place };
            let disk = known.disk();
            let slot = slots.take_usual(chain.take_head(), &plain, (address, entry), op);
            slots.get(slot).usual = Some(disk);
            if !self.try_submit_to(disk, slot, cx) {
                self.wait_for_room(slot, cx);
            }
        }
        end
    }

    /// The disk has done such a command, or failed to.
    #[inline]
    pub(super) fn end_usual(&mut self, slot: SlotIndex, disk: DiskIndex, result: Result<(), IoError>, cx: &mut Cx) {
        let state = self.slots.get(slot);
        debug_assert_eq!(state.phase, Phase::InFlight);
        let BlockOp { kind, len, .. } = state.op;
        if let Err(error) = result {
            return self.fail_usual(slot, error, cx);
        }
        cx.tally(disk).count(Kind::of_transfer(kind.is_change()), 1, Ok(len));
        write_good(&self.slots.response(slot)[0]);
        let head = self.slots.give_back(slot);
        self.queue.ring.push(head, GOOD_LEN);
    }

    /// It goes on as all others do.
    #[cold]
    pub(super) fn fail_usual(&mut self, slot: SlotIndex, error: IoError, cx: &mut Cx) {
        let (op, entry) = (self.slots.get(slot).op, self.slots.get(slot).entry);
        let disk = self.queue.luns.entry(entry).unit.disk().expect("only a disk has operations");
        let state = self.slots.get(slot);
        (state.command, state.usual) = (disk.transfer_of(&op), None);
        self.complete(slot, Err(error), cx);
    }
}

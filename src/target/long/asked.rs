//! What a long command has asked of others, and waits for: work on the whole disk, or a change of what its ports share.
//!
//! Who gives a command up that has asked for a change waits as long as that is being made: nothing comes of a command after its
//! end.

use super::{Longs, Wants};
use crate::scsi::{Background, Command, LogicalUnit, LongCommand, ModeValues, Outcome, Setting};
use crate::target::cx::Cx;
use crate::target::job::{Job, Owner};
use crate::target::request_queue::RequestQueue;
use crate::target::tag::SlotIndex;
use crate::target::ticket::Ticket;

impl Longs {
    /// Whether the request in a slot waits for work on a whole disk.
    pub(crate) fn waits_for_work(&self, slot: SlotIndex) -> bool {
        self.0[usize::from(slot.0)].as_ref().is_some_and(|long| long.ticket.is_some())
    }

    /// The request in a slot is to end early: whether it can now. What it has asked for may be being done, which is soon over.
    pub(crate) fn gives_up(&self, slot: SlotIndex) -> bool {
        let ticket = self.0[usize::from(slot.0)].as_ref().and_then(|long| long.ticket.as_ref());
        ticket.is_none_or(Ticket::give_up)
    }
}

impl RequestQueue {
    /// Ends the long command in `slot` as others want it. False if what it has asked for is still being done.
    pub(super) fn give_up(&mut self, slot: SlotIndex) -> bool {
        let ends = self.longs.gives_up(slot);
        if ends {
            self.end_with_verdict(slot);
        }
        ends
    }

    /// Begins work on the whole disk, or finds that it has begun it before. True if the command has ended with that.
    pub(super) fn begin_work(&mut self, slot: SlotIndex, Background { work, wait }: Background, cx: &mut Cx) -> bool {
        let owner = wait.then_some(Owner { life: self.queue.life, id: self.slots.get(slot).id });
        let (long, entry) = (self.longs.get(slot), self.slots.get(slot).entry);
        let standing = &self.queue.luns.entry(entry).standing;
        match Job::begin(&long.disk, work, owner, standing, || long.task.background()) {
            Err(hindrance) => self.end_long(slot, &hindrance.sense().into()),
            Ok((ticket, job)) => {
                cx.jobs.extend(job);
                if wait {
                    (long.ticket, long.wants) = (Some(ticket), Wants::Work);
                    return false;
                }
                self.end_long(slot, &Outcome::GOOD);
            }
        }
        true
    }

    /// Ends with the work that it has begun, or with what came of its demand. False if that goes on.
    pub(super) fn end_with_ticket(&mut self, slot: SlotIndex, cx: &mut Cx) -> bool {
        let ticket = self.longs.get(slot).ticket.as_ref().expect("it has begun some");
        let Some(outcome) = ticket.answer() else { return false };
        if outcome == Outcome::GOOD && self.has_ended_caching(slot) {
            // At once, for it may end before the others do.
            self.flush_behind(slot, cx);
            let long = self.longs.get(slot);
            (long.others, long.wants) = (Some(long.disk.sharing.begun()), Wants::Others);
            return self.end_after_others(slot, cx);
        }
        self.end_long(slot, &outcome);
        true
    }

    /// Ends when what others wrote to a cache that is off now has come there, and is about to be written. False if it has not.
    pub(super) fn end_after_others(&mut self, slot: SlotIndex, cx: &mut Cx) -> bool {
        let others = self.longs.get(slot).others.as_mut().expect("it has asked for them");
        let have_ended = others.have_ended();
        if have_ended {
            self.flush_behind(slot, cx);
            self.end_long(slot, &Outcome::GOOD);
        }
        have_ended
    }

    /// Whether it was a MODE SELECT, and writes are not cached now. It had the cache written before; but what others wrote between
    /// that and the change they do not know to be in a cache any more.
    fn has_ended_caching(&mut self, slot: SlotIndex) -> bool {
        let state = self.slots.get(slot);
        let is_select = matches!(state.command, Command::Long(LongCommand::Setting(Setting::Mode(_))));
        let entry = self.queue.luns.entry(state.entry);
        let may_cache = entry.unit.disk().is_some_and(LogicalUnit::may_cache_writes);
        is_select && may_cache && entry.standing.mode().current.has(ModeValues::WRITE_THROUGH)
    }
}

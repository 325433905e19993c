//! One command, from its header to its response: the meeting of virtio-scsi, SCSI and the block device.

use bdev::IoError;
use bdev::segment::copy_to;

use crate::scsi::{
    BlockOp, Command, Condition, DataDirection, Effect, ModeValues, Opcode, Outcome, Reply, Shared, Status, Step,
    without_naca,
};
use crate::virtio_scsi::spec::{TASK_ATTR_ACA, TASK_ATTR_SIMPLE};
use crate::virtio_scsi::{Address, CommandRequest, CommandResponse, Destination, ResponseCode, write_plain_response};

use super::cx::Cx;
use super::job::Owner;
use super::lun_map::{Entry, LunMap};
use super::notes::facts;
use super::request_queue::RequestQueue;
use super::slots::{Marks, Verdict};
use super::tag::{RequestName, SlotIndex};
use super::tally::Kind;

impl RequestQueue {
    /// Finds out what a request wants and starts it, unless it has to wait.
    #[inline]
    pub(crate) fn execute(&mut self, slot: SlotIndex, request: &CommandRequest, cx: &mut Cx) {
        let luns = &self.queue.luns;
        let (address, entry) = match request.lun.parse() {
            Ok(Destination::Unit(address)) => (address, luns.find(address)),
            Ok(Destination::ReportLuns) => (Address::WHOLE_DEVICE, Some(luns.well_known())),
            Err(invalid) => return self.refuse(slot, invalid.response()),
        };
        let Some(entry) = entry else {
            return self.refuse_unbegun(slot, (request.id, address), ResponseCode::BAD_TARGET);
        };
        let state = self.slots.get(slot);
        (state.id, state.address, state.entry) = (request.id, address, entry);
        let is_both = state.marks.contains(Marks::BOTH_WAYS);
        if is_both && !self.both_ways {
            return self.refuse(slot, ResponseCode::FAILURE);
        }
        let unit = self.queue.luns.entry(entry);
        match unit.unit.decode(request.cdb.as_bytes()) {
            Ok(command) => {
                state.command = command;
                if is_both && command.direction() == DataDirection::Out {
                    self.fill_other_way(slot);
                }
            }
            Err(outcome) => return self.decode_again(slot, request, outcome, cx),
        }
        if request.task_attr != TASK_ATTR_SIMPLE || !cx.bars.is_empty() {
            return self.enter(slot, request.task_attr, cx);
        }
        self.start(slot, cx);
    }

    /// Ends a request that goes to no logical unit: as long as its answer is on the way, task management finds it.
    #[cold]
    fn refuse_unbegun(&mut self, slot: SlotIndex, (id, address): (u64, Address), response: ResponseCode) {
        let state = self.slots.get(slot);
        (state.id, state.address) = (id, address);
        self.refuse(slot, response);
    }

    /// Ends a request that was put back after it had begun, on a logical unit that was removed since.
    #[cold]
    pub(super) fn end_lost(&mut self, slot: SlotIndex, request: &CommandRequest) {
        let address = match request.lun.parse() {
            Ok(Destination::Unit(address)) => address,
            Ok(Destination::ReportLuns) | Err(_) => Address::WHOLE_DEVICE,
        };
        self.refuse_unbegun(slot, (request.id, address), ResponseCode::TRANSPORT_FAILURE);
        self.forget_begun();
    }

    /// Starts a command that was held back: its address may lead elsewhere by now.
    #[cold]
    pub(super) fn start_again(&mut self, slot: SlotIndex, cx: &mut Cx) {
        let (luns, state) = (&self.queue.luns, self.slots.get(slot));
        if state.entry != luns.well_known() {
            let Some(entry) = luns.find(state.address) else { return self.refuse(slot, ResponseCode::BAD_TARGET) };
            state.entry = entry;
            if luns.entry(entry).disk.is_none() {
                // What stands in for a missing unit knows no NACA, and nobody could clear an allegiance there.
                state.marks.remove(Marks::NACA);
            }
        }
        self.start(slot, cx);
        self.forget_begun();
    }

    /// A CDB was refused with `outcome`, perhaps for its NACA alone, which disks know.
    #[cold]
    fn decode_again(&mut self, slot: SlotIndex, request: &CommandRequest, outcome: Outcome, cx: &mut Cx) {
        let state = self.slots.get(slot);
        let unit = &self.queue.luns.entry(state.entry).unit;
        let Some(cdb) = unit.disk().and_then(|_| without_naca(request.cdb.as_bytes())) else {
            return self.fail_decode(slot, request, outcome, cx);
        };
        state.marks.insert(Marks::NACA);
        state.command = match unit.decode(&cdb) {
            Ok(command) => command,
            Err(outcome) => return self.fail_decode(slot, request, outcome, cx),
        };
        if state.marks.contains(Marks::BOTH_WAYS) && state.command.direction() == DataDirection::Out {
            self.fill_other_way(slot);
        }
        self.enter(slot, request.task_attr, cx);
    }

    /// A CDB that cannot be decoded: an auto contingent allegiance goes before its error, and a pending unit attention
    /// (SAM-5, status precedence), but for commands that never tell one.
    #[cold]
    fn fail_decode(&mut self, slot: SlotIndex, request: &CommandRequest, outcome: Outcome, cx: &mut Cx) {
        const TELL_NONE: [Opcode; 3] = [Opcode::INQUIRY, Opcode::REPORT_LUNS, Opcode::REQUEST_SENSE];
        let state = self.slots.get(slot);
        let standing = &self.queue.luns.entry(state.entry).standing;
        if standing.has_aca() {
            if request.task_attr != TASK_ATTR_ACA || standing.claim_aca(state.id).is_err() {
                return self.end(slot, &Outcome::ACA_ACTIVE, 0);
            }
            self.join_aca(slot, cx);
        }
        let standing = &self.queue.luns.entry(self.slots.get(slot).entry).standing;
        let opcode = request.cdb.as_bytes().first().copied().map(Opcode);
        let tells = !opcode.is_some_and(|opcode| TELL_NONE.contains(&opcode));
        let attention = if tells { standing.take_attention() } else { None };
        self.end(slot, &attention.map_or(outcome, |attention| Outcome::check(attention.sense())), 0);
    }

    /// Starts a decoded command.
    #[inline]
    pub(crate) fn start(&mut self, slot: SlotIndex, cx: &mut Cx) {
        let luns: &LunMap = &self.queue.luns;
        let state = self.slots.get(slot);
        let command = state.command;
        let entry = luns.entry(state.entry);
        let asker = command.begins_work().then_some(Owner { life: self.queue.life, id: state.id });
        let mut condition: Condition<'_> = entry.condition(asker);
        let mut is_fenced = false;
        if entry.standing.is_in_the_way() {
            is_fenced = entry.standing.is_fenced();
            let name = RequestName { worker: self.index, slot, generation: state.generation };
            let has_begun = self.begun.has(name, &command, &entry.standing);
            let has_aca = state.marks.contains(Marks::ACA);
            match entry.admit(&command, has_begun, has_aca) {
                Ok(attention) => condition.attention = attention,
                Err(outcome) => return self.end(slot, &outcome, 0),
            }
        }
        let step = match command.asks() {
            true => ask(luns, entry, &command, condition, &mut cx.reply),
            false => entry.unit.start(&command, &condition, &mut cx.reply),
        };
        let room = if state.data_out { 0 } else { state.data_len };
        if matches!(step, Step::Done(_)) && cx.reply.as_bytes().len() as u64 > room {
            // The data cannot be told, and with it an attention that was in it: it stays for the next command.
            condition.attention.into_iter().for_each(|attention| entry.standing.raise(attention));
            return self.refuse(slot, ResponseCode::OVERRUN);
        }
        if matches!(command, Command::ReportLuns { .. }) && step == Step::Done(Outcome::GOOD) {
            luns.were_reported_by(entry);
        }
        if is_fenced {
            return self.follow_fenced(slot, step, cx);
        }
        self.follow(slot, step, cx);
    }

    /// Does what the SCSI room says comes next.
    #[inline]
    pub(super) fn follow(&mut self, slot: SlotIndex, step: Step, cx: &mut Cx) {
        match step {
            Step::Block(op) => {
                if !self.has_room(slot, &op) {
                    return self.refuse(slot, ResponseCode::OVERRUN);
                }
                self.slots.get(slot).op = op;
                self.submit(slot, cx);
            }
            Step::Done(outcome) => self.reply(slot, outcome, cx),
            Step::Long => self.begin_long(slot, cx),
        }
    }

    /// Whether the data buffer is large enough for an operation.
    #[inline]
    pub(super) fn has_room(&mut self, slot: SlotIndex, op: &BlockOp) -> bool {
        let state = self.slots.get(slot);
        let is_out = state.command.direction() == DataDirection::Out;
        op.len <= if is_out == state.data_out { state.data_len } else { 0 }
    }

    /// A command has ended without an operation, with its data in the reply.
    #[cold]
    fn reply(&mut self, slot: SlotIndex, mut outcome: Outcome, cx: &mut Cx) {
        self.apply(slot, &mut outcome);
        if let Some(Effect::Behind(_)) = outcome.effect {
            self.flush_behind(slot, cx);
        }
        let copied = copy_to(self.slots.data(slot), 0, cx.reply.as_bytes()) as u64;
        self.end(slot, &outcome, copied);
    }

    /// Makes the change that a command brings, before its response tells of it: or of what stands in the way of that.
    #[inline]
    pub(super) fn apply(&mut self, slot: SlotIndex, outcome: &mut Outcome) {
        if let Some(effect) = outcome.effect
            && let Err(sense) = self.take_effect(slot, effect)
        {
            *outcome = Outcome::check(sense);
        }
    }

    /// A channel has given an operation back.
    #[inline]
    pub(crate) fn complete(&mut self, slot: SlotIndex, result: Result<(), IoError>, cx: &mut Cx) {
        let state = self.slots.get(slot);
        if state.verdict.is_some() {
            return self.end_with_verdict(slot);
        }
        let (command, op) = (state.command, state.op);
        if let Some(disk) = state.usual {
            return self.end_usual(slot, disk, result, cx);
        }
        let entry = self.queue.luns.entry(state.entry);
        match entry.unit.resume(&command, &op, result) {
            Step::Done(mut outcome) => {
                // A command that looked for its bad block has failed, though its last look may not have.
                let moved = match result {
                    Ok(()) if outcome.status == Status::GOOD => Ok(op.len),
                    Ok(()) => Err(IoError::Medium),
                    Err(error) => Err(error),
                };
                if let (Some(kind), Some(disk)) = (Kind::of(&command), &entry.disk) {
                    cx.tally(disk.index).count(kind, 1, moved);
                }
                self.apply(slot, &mut outcome);
                self.end(slot, &outcome, moved.unwrap_or(0));
            }
            Step::Long => {
                self.slots.get(slot).is_late = true;
                self.continue_long(slot, result, cx);
            }
            next => self.follow_on(slot, next, cx),
        }
    }

    /// A command has a further step.
    #[inline(never)]
    fn follow_on(&mut self, slot: SlotIndex, step: Step, cx: &mut Cx) {
        self.slots.get(slot).is_late = true;
        self.follow_fenced(slot, step, cx);
    }

    /// Ends a command with `moved` bytes of its data buffer used.
    ///
    /// Where there is no sense data the driver is told of the bytes of the header alone: there are some behind it that were
    /// not written.
    #[inline]
    pub(super) fn end(&mut self, slot: SlotIndex, outcome: &Outcome, moved: u64) {
        let state = self.slots.get(slot);
        let resid = state.data_len - moved;
        if outcome.sense.is_none() && state.stood_in.is_none() && state.marks.is_empty() {
            let written = write_plain_response(self.slots.response(slot), outcome.status.0, resid);
            let head = self.slots.give_back(slot);
            return self.queue.ring.push(head, written);
        }
        self.end_fully(slot, outcome, resid);
    }

    /// As `end`, with the whole response.
    #[cold]
    fn end_fully(&mut self, slot: SlotIndex, outcome: &Outcome, resid: u64) {
        let state = self.slots.get(slot);
        let data_in = if state.data_out { 0 } else { state.data_len - resid };
        let standing = &self.queue.luns.entry(state.entry).standing;
        if outcome.sense.is_some() {
            standing.fault(state.marks);
        }
        let sense = outcome.sense.map(|sense| sense.encode(standing.mode().current.has(ModeValues::D_SENSE)));
        let response = CommandResponse {
            response: ResponseCode::OK,
            status: outcome.status.0,
            status_qualifier: 0,
            resid: resid + self.slots.get(slot).unused_len(),
            sense: sense.as_ref().map_or(&[], |sense| sense.as_bytes()),
        };
        self.respond(slot, &response, data_in);
    }

    /// Ends a command as task management, or a reset, wants it.
    #[cold]
    pub(crate) fn end_with_verdict(&mut self, slot: SlotIndex) {
        self.longs.forget(slot);
        if self.queue.is_retiring() {
            self.slots.get(slot).stood_in = None;
            let head = self.slots.give_back(slot);
            return self.queue.ring.push(head, 0);
        }
        let response = match self.slots.get(slot).verdict {
            Some(Verdict::Aborted) => ResponseCode::ABORTED,
            Some(Verdict::TaskAborted) => return self.end(slot, &Outcome::TASK_ABORTED, 0),
            Some(Verdict::Removed) => ResponseCode::TRANSPORT_FAILURE,
            Some(Verdict::Reset) | None => ResponseCode::RESET,
        };
        self.refuse(slot, response);
    }
}

/// Starts a command that wants to know more than others.
#[cold]
fn ask(luns: &LunMap, entry: &Entry, command: &Command, condition: Condition<'_>, reply: &mut Reply) -> Step {
    let io = entry.disk.as_ref().map(|disk| disk.done()).unwrap_or_default();
    let mut ask = |shared: Option<&Shared>| {
        facts(shared, io, |facts| {
            let condition = Condition { luns: luns.report(entry), facts: Some(facts), ..condition };
            entry.unit.start(command, &condition, reply)
        })
    };
    match &entry.disk {
        Some(disk) => disk.sharing.look(|shared| ask(Some(shared))),
        None => ask(None),
    }
}

//! Copies that their initiator has named with a list identifier: which are in progress, and how the others ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::sense::Sense;
use super::super::spec::{Asc, copy_out};
use super::token::Token;

/// Copies that are remembered at a time. One that has ended makes room for a new one.
pub(super) const RECORDS_MAX: usize = 64;

/// What has become of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Running,
    Good,
    /// It has failed, and its command has told so.
    Failed(Sense),
    /// The same, but something has been written.
    Short(Sense),
    /// It was ended by COPY OPERATION ABORT, or by task management.
    Aborted,
}

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct Progress {
    /// Operations on disks that have been done for it: wraps.
    pub(in super::super) operations: u16,
    /// Segments that have been begun.
    pub(in super::super) segments: u16,
    /// Bytes that have been written.
    pub(in super::super) bytes: u64,
}

/// What is known of a copy.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// LIST IDENTIFIER. It means the same with one byte and with four.
    pub(super) id: u32,
    /// That of the command.
    pub(super) service_action: u8,
    pub(super) status: Status,
    pub(super) progress: Progress,
    /// What it has made, until that is told.
    pub(super) token: Option<Token>,
    /// RECEIVE COPY STATUS (LID1) has told how it ended, which it does once.
    status_told: bool,
    /// And RECEIVE COPY FAILURE DETAILS (LID1) why.
    pub(super) details_told: bool,
    wants_abort: bool,
    serial: u64,
}

#[derive(Debug, Default)]
struct Contents {
    /// The oldest first.
    records: Vec<Record>,
    serial: u64,
}

/// The copies of one logical unit and one initiator. Clones share them.
#[derive(Debug, Default, Clone)]
pub struct Copies(Arc<Mutex<Contents>>);

/// A copy in progress. One that is dropped before its end was ended by others.
#[derive(Debug)]
pub(in super::super) struct Running {
    copies: Copies,
    serial: u64,
}

impl Record {
    fn has_ended(&self) -> bool {
        self.status != Status::Running
    }

    /// Why a copy with the same name cannot begin while this one goes on.
    fn conflict(&self, service_action: u8) -> Sense {
        match (self.service_action, service_action) {
            (copy_out::EXTENDED_COPY_LID4, copy_out::EXTENDED_COPY_LID1) => Sense::invalid_parameter(0, None),
            (copy_out::EXTENDED_COPY_LID1, copy_out::EXTENDED_COPY_LID4) => Sense::invalid_parameter(20, None),
            _ => Sense::illegal(Asc::OPERATION_IN_PROGRESS),
        }
    }

    /// Whether nobody can learn anything from it any more.
    fn is_told(&self) -> bool {
        let has_details = matches!(self.status, Status::Failed(_)) && !self.details_told;
        self.service_action == copy_out::EXTENDED_COPY_LID1 && self.status_told && !has_details
    }
}

impl Copies {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy begins.
    ///
    /// # Errors
    /// One of this name is in progress, or as many as there may be.
    pub(in super::super) fn begin(&self, id: u32, service_action: u8) -> Result<Running, Sense> {
        let mut contents = self.contents();
        let place = match contents.records.iter().position(|record| record.id == id) {
            Some(at) if !contents.records[at].has_ended() => {
                return Err(contents.records[at].conflict(service_action));
            }
            Some(at) => Some(at),
            None if contents.records.len() < RECORDS_MAX => None,
            None => {
                let oldest = contents.records.iter().position(Record::has_ended);
                Some(oldest.ok_or(Sense::illegal(Asc::OPERATION_IN_PROGRESS))?)
            }
        };
        place.map(|at| contents.records.remove(at));
        contents.serial += 1;
        let serial = contents.serial;
        contents.records.push(Record {
            id,
            service_action,
            status: Status::Running,
            progress: Progress::default(),
            token: None,
            status_told: false,
            details_told: false,
            wants_abort: false,
            serial,
        });
        Ok(Running { copies: self.clone(), serial })
    }

    /// What is known of the copy with this name.
    pub(super) fn find(&self, id: u32) -> Option<Record> {
        self.contents().records.iter().find(|record| record.id == id).cloned()
    }

    /// The same for RECEIVE COPY STATUS (LID1), which tells once how a copy has ended.
    pub(super) fn take_status(&self, id: u32) -> Option<Record> {
        let mut contents = self.contents();
        let record = contents.records.iter_mut().find(|record| record.id == id && !record.status_told)?;
        record.status_told = record.has_ended();
        let found = record.clone();
        contents.records.retain(|record| !record.is_told());
        Some(found)
    }

    /// All has been told of why a copy failed.
    pub(super) fn details_are_told(&self, id: u32) {
        let mut contents = self.contents();
        contents.records.iter_mut().filter(|record| record.id == id).for_each(|record| record.details_told = true);
        contents.records.retain(|record| !record.is_told());
    }

    /// The token of a copy has been told.
    pub(super) fn token_is_told(&self, id: u32) {
        self.contents().records.iter_mut().filter(|record| record.id == id).for_each(|record| record.token = None);
    }

    /// Forgets all that have ended: the logical unit was reset, or the nexus lost.
    pub fn forget_ended(&self) {
        self.contents().records.retain(|record| !record.has_ended());
    }

    /// COPY OPERATION ABORT: the copy ends before its next step, if there is one with this name.
    pub(in super::super) fn abort(&self, id: u32) -> bool {
        let mut contents = self.contents();
        let record = contents.records.iter_mut().find(|record| record.id == id && !record.has_ended());
        record.map(|record| record.wants_abort = true).is_some()
    }
}

impl Running {
    fn update(&self, change: impl FnOnce(&mut Record)) {
        let mut contents = self.copies.contents();
        let own = |record: &&mut Record| record.serial == self.serial && !record.has_ended();
        if let Some(record) = contents.records.iter_mut().find(own) {
            change(record);
        }
    }

    /// How far it is. False if it is to end now.
    #[must_use]
    pub(in super::super) fn tell(&self, progress: Progress) -> bool {
        let mut go_on = true;
        self.update(|record| {
            record.progress = progress;
            go_on = !record.wants_abort;
        });
        go_on
    }

    /// It has ended well.
    pub(in super::super) fn end(&self) {
        self.update(|record| record.status = Status::Good);
    }

    /// It has ended well, with a token.
    pub(in super::super) fn end_with(&self, token: Token) {
        self.update(|record| (record.status, record.token) = (Status::Good, Some(token)));
    }

    /// It has written less than it was to, and its command tells that.
    pub(in super::super) fn end_short(&self, sense: Sense) {
        self.update(|record| record.status = Status::Short(sense));
    }

    /// It has failed.
    pub(in super::super) fn fail(&self, sense: Sense) {
        self.update(|record| record.status = Status::Failed(sense));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.update(|record| record.status = Status::Aborted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_PROGRESS: Sense = Sense::illegal(Asc(0x0016));
    const LID1: u8 = 0;
    const LID4: u8 = 1;

    fn status(copies: &Copies, id: u32) -> Option<Status> {
        copies.find(id).map(|record| record.status)
    }

    #[test]
    fn a_name_is_taken_as_long_as_its_copy_goes_on() {
        let copies = Copies::default();
        let first = copies.begin(7, LID4).unwrap();
        assert_eq!(copies.begin(7, LID4).unwrap_err(), IN_PROGRESS);
        assert_eq!(copies.begin(7, LID1).unwrap_err(), Sense::invalid_parameter(0, None), "a list of the other form");
        let other = copies.begin(8, LID1).unwrap();
        assert_eq!(copies.begin(8, LID1).unwrap_err(), IN_PROGRESS);
        assert_eq!(copies.begin(8, LID4).unwrap_err(), Sense::invalid_parameter(20, None));
        drop(other);
        let progress = Progress { operations: 3, segments: 2, bytes: 1000 };
        assert!(first.tell(progress));
        let record = copies.find(7).unwrap();
        assert_eq!((record.status, record.progress), (Status::Running, progress));
        first.end();
        drop(first);
        assert_eq!(status(&copies, 7), Some(Status::Good));
        let second = copies.begin(7, LID4).unwrap();
        assert_eq!(status(&copies, 7), Some(Status::Running));
        second.fail(IN_PROGRESS);
        drop(second);
        assert_eq!(status(&copies, 7), Some(Status::Failed(IN_PROGRESS)));
    }

    #[test]
    fn what_is_dropped_was_aborted() {
        let copies = Copies::default();
        let running = copies.begin(1, LID4).unwrap();
        assert!(!copies.abort(2));
        assert!(copies.abort(1) && !running.tell(Progress::default()));
        drop(running);
        assert_eq!(status(&copies, 1), Some(Status::Aborted));
        assert!(!copies.abort(1), "there is nothing left to abort");
    }

    #[test]
    fn the_oldest_that_has_ended_makes_room() {
        let copies = Copies::default();
        let running: Vec<_> = (0..RECORDS_MAX as u32).map(|id| copies.begin(id, LID4).unwrap()).collect();
        assert_eq!(copies.begin(1000, LID4).unwrap_err(), IN_PROGRESS);
        running[5].end();
        running[6].end();
        let _new = copies.begin(1000, LID4).unwrap();
        assert_eq!([status(&copies, 5), status(&copies, 6)], [None, Some(Status::Good)]);
        copies.forget_ended();
        assert_eq!([status(&copies, 6), status(&copies, 7)], [None, Some(Status::Running)]);
    }

    #[test]
    fn what_lid1_asks_is_told_once() {
        let copies = Copies::default();
        let running = copies.begin(3, LID1).unwrap();
        assert!(copies.take_status(3).is_some() && copies.take_status(3).is_some(), "it goes on");
        running.fail(IN_PROGRESS);
        drop(running);
        assert!(copies.take_status(3).is_some() && copies.take_status(3).is_none());
        assert!(copies.find(3).is_some(), "the details have not been told");
        copies.details_are_told(3);
        assert!(copies.find(3).is_none());
        for (id, service_action) in [(4, LID1), (5, LID4)] {
            copies.begin(id, service_action).unwrap().end();
            assert!(copies.take_status(id).is_some());
        }
        assert_eq!([copies.find(4).is_some(), copies.find(5).is_some()], [false, true]);
    }
}

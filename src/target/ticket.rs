//! How a command learns what came of something that is done elsewhere: a job of its disk, or a change of what is shared.
//!
//! Who does it and who gives it up may meet: one of them is first. Nothing comes of what was given up before it was begun. What
//! was begun before it was given up is done before anybody is told that it was given up.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use crate::scsi::Outcome;

/// Where the outcome will be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ticket(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    stage: AtomicU8,
    outcome: OnceLock<Outcome>,
}

/// Nobody has begun.
const OPEN: u8 = 0;
/// It is being done.
const BEGUN: u8 = 1;
/// It is done. The answer may be waited for.
const DONE: u8 = 2;
/// It was given up before it was begun.
const GIVEN_UP: u8 = 3;

impl Ticket {
    /// How the command ends, as soon as that is known.
    pub(crate) fn answer(&self) -> Option<Outcome> {
        self.0.outcome.get().copied()
    }

    /// The command ends so.
    pub(crate) fn settle(&self, outcome: Outcome) {
        self.0.outcome.set(outcome).expect("it is settled once");
    }

    /// Who does it begins, and says when it is [`done`](Self::done). False if it was given up: nothing may come of it.
    pub(crate) fn begin(&self) -> bool {
        self.0.stage.compare_exchange(OPEN, BEGUN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// It is done, but for what others do because of it.
    pub(crate) fn done(&self) {
        self.0.stage.store(DONE, Ordering::Release);
    }

    /// Who asked for it gives it up. False while it is being done: then it is to be asked again.
    pub(crate) fn give_up(&self) -> bool {
        self.0.stage.compare_exchange(OPEN, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire) != Err(BEGUN)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn what_was_given_up_is_not_begun_and_what_was_begun_is_done_first() {
        let ticket = Ticket::default();
        assert!(ticket.give_up() && ticket.give_up() && !ticket.begin());
        let ticket = Ticket::default();
        assert!(ticket.begin() && !ticket.give_up());
        ticket.done();
        assert!(ticket.give_up() && ticket.answer().is_none());
        ticket.settle(Outcome::GOOD);
        assert_eq!(ticket.answer(), Some(Outcome::GOOD));
    }

    #[test]
    fn of_two_that_meet_one_is_first() {
        for _ in 0..200 {
            let (ticket, both) = (Ticket::default(), Barrier::new(2));
            let (given_up, begun) = thread::scope(|scope| {
                let other = scope.spawn(|| {
                    both.wait();
                    ticket.begin()
                });
                both.wait();
                let given_up = ticket.give_up();
                (given_up, other.join().expect("it does not panic"))
            });
            assert_ne!(given_up, begun);
        }
    }
}

//! How a command learns what came of something that is done elsewhere: a job of its disk, or a change of what is shared.

use std::sync::{Arc, OnceLock};

use crate::scsi::Outcome;

/// Where the outcome will be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ticket(Arc<OnceLock<Outcome>>);

impl Ticket {
    /// How the command ends, as soon as that is known.
    pub(crate) fn answer(&self) -> Option<Outcome> {
        self.0.get().copied()
    }

    /// The command ends so.
    pub(crate) fn settle(&self, outcome: Outcome) {
        self.0.set(outcome).expect("it is settled once");
    }

    /// Nobody waits for it any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

//! The reactors of one controller, as one of its queues talks to them.

use std::sync::Arc;

use reactor::Handle;

use super::message::Message;
use super::roll_call::Outbox;

/// All reactors of a controller, and which of them is the queue's own.
#[derive(Debug, Clone)]
pub(crate) struct Crew {
    pub(crate) home: Handle<Message>,
    pub(crate) reactors: Arc<[Handle<Message>]>,
}

/// A crew, and what could not be posted to it yet, in order.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) crew: Crew,
    outbox: Outbox,
}

impl Peers {
    pub(crate) fn new(crew: Crew) -> Self {
        Self { crew, outbox: Outbox::default() }
    }

    /// How many reactors there are.
    pub(crate) fn count(&self) -> usize {
        self.crew.reactors.len()
    }

    /// Whether all has been posted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Posts a message to the reactor at this place, now or with a later [`Peers::flush`].
    pub(crate) fn post(&mut self, reactor: usize, message: Message) {
        self.post_to(self.crew.reactors[reactor].clone(), message);
    }

    /// The same to a reactor that may be none of the controller's own.
    pub(crate) fn post_to(&mut self, reactor: Handle<Message>, message: Message) {
        self.outbox.post(reactor, message);
    }

    /// Posts what there is room for.
    pub(crate) fn flush(&mut self) {
        self.outbox.flush();
    }
}

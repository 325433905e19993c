//! A question to several reactors, and when all have answered. Whoever asks never waits: it looks again in its next pass.

use std::collections::VecDeque;

use reactor::{Gate, Handle, Pass};

use super::message::Message;

/// Messages that may have found no room in their mailbox yet, in order.
#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<(Handle<Message>, Message)>);

impl Outbox {
    /// Adds a message, and posts what there is room for.
    pub(crate) fn post(&mut self, reactor: Handle<Message>, message: Message) {
        self.0.push_back((reactor, message));
        self.flush();
    }

    /// Posts what there is room for.
    pub(crate) fn flush(&mut self) {
        while let Some((reactor, message)) = self.0.pop_front() {
            match reactor.try_post(message) {
                Ok(()) => {}
                // It has ended, so that it has no command any more; the message and its pass go with it.
                Err(_) if reactor.is_closed() => {}
                Err(message) => return self.0.push_front((reactor, message)),
            }
        }
    }

    /// Whether all has been posted.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A question in progress.
#[derive(Debug)]
pub(crate) struct RollCall {
    outbox: Outbox,
    gate: Gate,
}

impl RollCall {
    /// Asks each of `reactors` with a message that carries a pass.
    pub(crate) fn new(reactors: &[Handle<Message>], ask: impl Fn(Pass) -> Message) -> Self {
        let (gate, passes) = Gate::new(reactors.len());
        let outbox = Outbox(reactors.iter().cloned().zip(passes.into_iter().map(ask)).collect());
        let mut call = Self { outbox, gate };
        call.outbox.flush();
        call
    }

    /// Whether all have answered. Asks those who could not be asked yet.
    pub(crate) fn is_over(&mut self) -> bool {
        self.outbox.flush();
        self.outbox.is_empty() && self.gate.is_open()
    }
}

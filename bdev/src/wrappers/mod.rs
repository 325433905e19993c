//! Devices around a device: each in one file, over any backend and over each other.
//!
//! A wrapper has the channel of the device inside as its own, counts its operations under that channel's name, and passes
//! on what it does not change, operations on space and limits included.

use crate::channel::{Channel, ChannelId, Io, SubmitError, Tag};
use crate::op::Op;

pub mod delay;
pub mod error;
pub mod read_only;
pub mod split;

/// What a wrapper does with the channel inside. What it does not say itself is up to that one.
trait Around {
    fn inner(&self) -> &dyn Channel;

    fn inner_mut(&mut self) -> &mut dyn Channel;

    /// As [`Channel::submit`].
    fn accept(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError>;

    /// As [`Channel::cancel`].
    fn call_back(&mut self, io: &mut Io, tag: Tag) {
        self.inner_mut().cancel(io, tag);
    }

    /// As [`Channel::has_timers`].
    fn is_timed(&self) -> bool {
        self.inner().has_timers()
    }

    /// As [`Channel::poll`].
    fn do_what_is_due(&mut self, io: &mut Io) -> usize {
        self.inner_mut().poll(io)
    }

    /// As [`Channel::next_deadline_ns`].
    fn due_ns(&self) -> Option<u64> {
        self.inner().next_deadline_ns()
    }
}

/// A wrapper's channel.
struct Wrapped<A>(A);

impl<A: Around> Channel for Wrapped<A> {
    fn id(&self) -> ChannelId {
        self.0.inner().id()
    }

    fn submit(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        self.0.accept(io, op, tag)
    }

    fn cancel(&mut self, io: &mut Io, tag: Tag) {
        self.0.call_back(io, tag);
    }

    fn has_timers(&self) -> bool {
        self.0.is_timed()
    }

    fn poll(&mut self, io: &mut Io) -> usize {
        self.0.do_what_is_due(io)
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        self.0.due_ns()
    }

    fn close(&mut self, io: &mut Io) {
        self.0.inner_mut().close(io);
    }
}

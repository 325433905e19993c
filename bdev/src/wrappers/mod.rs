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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::delay::{DelayBdev, Delays};
    use super::error::{ErrorBdev, Errors};
    use super::read_only::ReadOnlyBdev;
    use super::split::SplitBdev;
    use crate::channel::Bdev;
    use crate::info::{Info, Names, Space};
    use crate::mem::MemBdev;
    use crate::op::IoError;

    use super::*;

    const SPACE: Space = Space { used: Some(512), available: 1024 };

    /// Tells something of everything that a device can be asked for.
    #[derive(Debug)]
    struct Talkative(MemBdev, Names);

    impl Bdev for Talkative {
        fn info(&self) -> &Info {
            self.0.info()
        }
        fn size_now(&self) -> std::io::Result<u64> {
            Ok(8192)
        }
        fn needs_ring(&self) -> bool {
            true
        }
        fn space(&self) -> Option<Space> {
            Some(SPACE)
        }
        fn names(&self) -> Option<&Names> {
            Some(&self.1)
        }
        fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
            self.0.channel(io)
        }
    }

    #[test]
    fn what_a_wrapper_does_not_say_itself_the_device_inside_says() {
        let names = Names { unique: "mem:one".to_owned(), ..Names::default() };
        let inner: Arc<dyn Bdev> = Arc::new(Talkative(MemBdev::new(4096, 512).unwrap(), names.clone()));
        let wrappers: [Box<dyn Bdev>; 3] = [
            Box::new(ReadOnlyBdev::new(inner.clone())),
            Box::new(DelayBdev::new(inner.clone(), Delays::default())),
            Box::new(ErrorBdev::new(inner.clone(), Errors::all(IoError::Medium))),
        ];
        for bdev in wrappers {
            let said = (bdev.size_now().unwrap(), bdev.needs_ring(), bdev.space(), bdev.names());
            assert_eq!(said, (8192, true, Some(SPACE), Some(&names)), "{}", bdev.info().description);
        }
        // A part is smaller, and has neither a name nor a count of its own.
        let part = SplitBdev::new(inner, 512, 1024).unwrap();
        let said = (part.size_now().unwrap(), part.needs_ring(), part.space(), part.names());
        assert_eq!(said, (1024, true, Some(Space { used: None, ..SPACE }), None));
    }
}

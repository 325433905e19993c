//! What threads have ended for a core, until the core takes it.
//!
//! The core pays one load a pass while the mailbox is empty. It never waits for a thread: if one is just putting something
//! in, the core looks again in its next pass. `letters.rs` holds the argument why nothing is left lying when the core falls
//! asleep, and a model that checks it; here is the bell.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

use super::letters::{Letters, Real};
use crate::io::Done;

/// An eventfd that wakes a core.
pub(crate) fn new_bell() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    done: Letters<Done, Real>,
    bell: OwnedFd,
}

impl Mailbox {
    pub(crate) fn new(bell: OwnedFd) -> Self {
        Self { done: Letters::default(), bell }
    }

    /// Leaves a completion for the core. Never more than the core has admitted operations.
    pub(super) fn put(&self, done: Done) {
        self.done.put(done, || {
            // A counter that is full rings already.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        });
    }

    /// Moves what has ended to `done`.
    #[inline]
    pub(crate) fn take(&self, done: &mut VecDeque<Done>) {
        self.done.take(done);
    }

    /// From now on the bell rings for what is put in. True if there is nothing yet.
    pub(crate) fn arm(&self) -> bool {
        self.done.arm()
    }

    /// See [`Mailbox::arm`]; the same eventfd for all that ends on a core.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// The core looks for itself again.
    pub(crate) fn disarm(&self) {
        if self.done.disarm() {
            // Not readable, most of the time: nothing has rung.
            let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Completion, Tag};
    use crate::io::ChannelId;

    fn done(tag: u64) -> Done {
        Done { channel: ChannelId::for_test(0), completion: Completion { tag: Tag(tag), result: Ok(()) } }
    }

    fn rings(mailbox: &Mailbox) -> bool {
        let mut count = [0; 8];
        let rang = rustix::io::read(&mailbox.bell, &mut count).is_ok();
        if rang {
            rustix::io::write(&mailbox.bell, &count).unwrap();
        }
        rang
    }

    #[test]
    fn rings_only_for_a_core_that_sleeps() {
        let mailbox = Mailbox::new(new_bell().unwrap());
        mailbox.put(done(1));
        assert!(!rings(&mailbox));
        assert!(!mailbox.arm(), "there is something already");
        mailbox.disarm();
        let mut taken = VecDeque::new();
        mailbox.take(&mut taken);
        assert!(mailbox.arm());
        mailbox.put(done(2));
        assert!(rings(&mailbox));
        mailbox.disarm();
        assert!(!rings(&mailbox), "the next sleep is not cut short");
        mailbox.take(&mut taken);
        mailbox.take(&mut taken);
        assert_eq!(taken, [done(1), done(2)]);
    }
}

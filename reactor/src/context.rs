//! What a reactor runs.

use std::os::fd::BorrowedFd;

/// Whether a pass found something to do. This is what load accounting and going to sleep build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// There was work.
    Busy,
    /// There was nothing to do.
    Idle,
}

impl Progress {
    /// [`Progress::Busy`] if `busy`.
    pub const fn from_busy(busy: bool) -> Self {
        if busy { Self::Busy } else { Self::Idle }
    }

    /// Busy if either is.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        match self {
            Self::Busy => Self::Busy,
            Self::Idle => other,
        }
    }

    /// Whether it is [`Progress::Busy`].
    pub const fn is_busy(self) -> bool {
        matches!(self, Self::Busy)
    }
}

/// How far a context is with stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Something is still in flight: poll on, and ask again.
    Pending,
    /// Nothing is left; the thread may end and drop the context.
    Finished,
}

/// The work of one reactor. It is built, used and dropped on the reactor's own thread, so it need not be `Send`.
///
/// No method may block, and each must do a bounded amount of work.
pub trait Context {
    /// What others may tell this reactor. A message that is never handled is dropped, so anything that somebody waits
    /// for must answer on drop, as a [`Pass`](crate::Pass) does.
    type Message: Send + 'static;

    /// Handles one message. Messages of one sender arrive in the order in which they were posted.
    fn message(&mut self, message: Self::Message);

    /// Does one bounded round of work. `now_ns` is [`Clock`](crate::Clock) time, read before the pass: right before it
    /// under load, some idle passes (a microsecond or so) before it else. It never goes back.
    fn poll(&mut self, now_ns: u64) -> Progress;

    /// Called once a pass, after `poll`, from when a stop was asked for until it returns [`Drain::Finished`]. The first
    /// call starts the stopping. A context that waits for a completion goes on being polled, and sleeps as usual.
    fn drain(&mut self, _now_ns: u64) -> Drain {
        Drain::Finished
    }

    /// Whether this context can be woken at all. One that serves a driver which rings no bell must be polled, whatever
    /// the idle policy says; or it gives a near [`Context::next_deadline_ns`].
    fn may_sleep(&self) -> bool {
        true
    }

    /// Asks all sources of work to ring from now on (doorbells wanted), then looks again. `true` if nothing was found,
    /// so that it is safe to sleep. [`Context::disarm`] is called after, whatever this returned.
    ///
    /// A source must see the request before this looks at it: that takes a full fence between the two.
    fn arm(&mut self) -> bool {
        true
    }

    /// The reactor polls again: no source has to ring any more.
    fn disarm(&mut self) {}

    /// File descriptors that end a sleep when they become readable, for example an io_uring. A poll after the sleep
    /// must take away what made them readable, or the next sleep ends at once.
    fn wake_fds<'a>(&'a self, _fds: &mut WakeFds<'a>) {}

    /// When to end a sleep at the latest, in [`Clock`](crate::Clock) time.
    fn next_deadline_ns(&self) -> Option<u64> {
        None
    }
}

/// A short list of file descriptors to wait for.
#[derive(Debug, Default)]
pub struct WakeFds<'a> {
    fds: [Option<BorrowedFd<'a>>; WakeFds::CAPACITY],
    len: usize,
    overflown: bool,
}

impl<'a> WakeFds<'a> {
    /// The most descriptors that a sleep can wait for. With more the reactor does not sleep but polls.
    pub const CAPACITY: usize = 15;

    /// Adds one.
    pub fn push(&mut self, fd: BorrowedFd<'a>) {
        match self.fds.get_mut(self.len) {
            Some(place) => {
                *place = Some(fd);
                self.len += 1;
            }
            None => self.overflown = true,
        }
    }

    /// The descriptors, or `None` if there were too many to wait for.
    pub(crate) fn iter(&self) -> Option<impl Iterator<Item = BorrowedFd<'a>>> {
        (!self.overflown).then(|| self.fds[..self.len].iter().flatten().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn progress_adds_up() {
        assert_eq!(Progress::Idle.or(Progress::Busy), Progress::Busy);
        assert_eq!(Progress::Busy.or(Progress::Idle), Progress::Busy);
        assert_eq!(Progress::Idle.or(Progress::Idle), Progress::Idle);
        assert!(Progress::from_busy(true).is_busy() && !Progress::from_busy(false).is_busy());
    }

    #[test]
    fn too_many_descriptors_forbid_the_sleep() {
        let stdin = std::io::stdin();
        let mut fds = WakeFds::default();
        for _ in 0..WakeFds::CAPACITY {
            fds.push(stdin.as_fd());
        }
        assert_eq!(fds.iter().map(Iterator::count), Some(WakeFds::CAPACITY));
        fds.push(stdin.as_fd());
        assert!(fds.iter().is_none());
    }
}

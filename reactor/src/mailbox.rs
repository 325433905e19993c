//! The mailbox of a reactor: how other threads reach it.
//!
//! Bounded, so that nobody can make a reactor's memory grow, and without a lock. When the reactor ends, what is left in
//! it is dropped, and posting fails.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;
use crossbeam::utils::{Backoff, CachePadded};
use rustix::io::Errno;

use crate::load::{Load, Meter};
use crate::sleep::{Bell, Doze};
#[cfg(feature = "testing")]
use crate::{
    context::Context,
    run::{IdlePolicy, Runner, Stepper},
};

/// How long a control thread sleeps between two tries at a full mailbox.
const RETRY: Duration = Duration::from_micros(50);

/// What a reactor shares with the others.
pub(crate) struct Shared<M> {
    queue: ArrayQueue<M>,
    /// Written when a reactor falls asleep, read by each poster.
    pub(crate) doze: CachePadded<Doze<AtomicBool>>,
    pub(crate) bell: Bell,
    stop: AtomicBool,
    closed: AtomicBool,
    /// Written by the reactor in each pass.
    pub(crate) meter: CachePadded<Meter>,
}

impl<M> Shared<M> {
    pub(crate) fn new(mailbox_len: usize) -> Result<Self, Errno> {
        Ok(Self {
            queue: ArrayQueue::new(mailbox_len.max(1)),
            doze: CachePadded::default(),
            bell: Bell::new()?,
            stop: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            meter: CachePadded::default(),
        })
    }

    /// The next message. Looks before it pops: that costs two loads where popping from an empty queue costs a fence.
    #[inline]
    pub(crate) fn take(&self) -> Option<M> {
        if self.queue.is_empty() { None } else { self.queue.pop() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn capacity(&self) -> usize {
        self.queue.capacity()
    }

    pub(crate) fn ask_stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.rouse();
    }

    pub(crate) fn stop_asked(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// The reactor has ended: refuses messages from now on and drops those that are left.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        // Either this sees a message that is pushed at the same time, or its poster sees `closed` (see `try_post`).
        fence(Ordering::SeqCst);
        self.drop_all();
    }

    fn drop_all(&self) {
        while self.queue.pop().is_some() {}
    }

    fn rouse(&self) {
        self.doze.rouse(|| self.bell.ring());
    }
}

/// Ends the mailbox when the reactor's thread ends, in whatever way.
pub(crate) struct Closer<M>(pub(crate) Arc<Shared<M>>);

impl<M> Drop for Closer<M> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The way to reach a reactor. Clones reach the same one; it may be gone, which posting tells.
pub struct Handle<M>(pub(crate) Arc<Shared<M>>);

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("waiting", &self.0.queue.len()).field("closed", &self.is_closed()).finish()
    }
}

impl<M> Handle<M> {
    /// Whether both reach the same reactor.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Posts a message, and wakes the reactor if it sleeps. Never blocks: this is for reactors.
    ///
    /// # Errors
    /// Gives the message back if the mailbox is full, or if the reactor has ended ([`Handle::is_closed`]). One that ends
    /// at the same moment may take the message and drop it.
    pub fn try_post(&self, message: M) -> Result<(), M> {
        if self.is_closed() {
            return Err(message);
        }
        self.deliver(message)
    }

    fn deliver(&self, message: M) -> Result<(), M> {
        self.0.queue.push(message)?;
        // Has the fence that the look at `closed` needs too.
        self.0.rouse();
        if self.is_closed() {
            self.0.drop_all();
        }
        Ok(())
    }

    /// Posts a message, and waits for room as long as it takes. For control threads only: two reactors that wait for
    /// each other would wait for ever.
    ///
    /// # Errors
    /// Gives the message back if the reactor has ended.
    pub fn post(&self, message: M) -> Result<(), M> {
        self.post_patiently(message, || false)
    }

    /// Posts a message, and waits for room until `deadline`. For control threads only.
    ///
    /// # Errors
    /// Gives the message back if the reactor has ended or there was no room in time.
    pub fn post_until(&self, message: M, deadline: Instant) -> Result<(), M> {
        self.post_patiently(message, || Instant::now() >= deadline)
    }

    fn post_patiently(&self, mut message: M, give_up: impl Fn() -> bool) -> Result<(), M> {
        let backoff = Backoff::new();
        loop {
            match self.try_post(message) {
                Ok(()) => return Ok(()),
                Err(back) => message = back,
            }
            if self.is_closed() || give_up() {
                return Err(message);
            }
            if backoff.is_completed() {
                std::thread::sleep(RETRY);
            } else {
                backoff.snooze();
            }
        }
    }

    /// Makes the reactor poll once more if it is asleep or about to be; for doorbells. Costs a fence and a load if it is
    /// not.
    pub fn wake(&self) {
        self.0.rouse();
    }

    /// Whether the reactor has ended.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }

    /// What the reactor did with its time.
    pub fn load(&self) -> Load {
        self.0.meter.load()
    }
}

/// A mailbox without a thread, for tests that step a [`Context`](crate::Context) by hand. Dropping it is the reactor's end.
#[cfg(feature = "testing")]
pub struct Mailbox<M>(Closer<M>);

#[cfg(feature = "testing")]
impl<M> Mailbox<M> {
    /// A mailbox for `len` messages.
    ///
    /// # Errors
    /// There is no eventfd for the bell.
    pub fn new(len: usize) -> Result<Self, Errno> {
        Ok(Self(Closer(Arc::new(Shared::new(len)?))))
    }

    /// A way to post messages to it.
    pub fn handle(&self) -> Handle<M> {
        Handle(Arc::clone(&self.0.0))
    }

    /// The next message.
    pub fn take(&self) -> Option<M> {
        self.0.0.take()
    }

    /// A reactor that takes its messages from here, to step by hand. Dropping this mailbox is its end all the same.
    pub fn stepper<C: Context<Message = M>>(&self, context: C) -> Stepper<C> {
        Stepper(Runner { context, shared: Arc::clone(&self.0.0), idle: IdlePolicy::Spin, stopping: false })
    }

    /// Goes to sleep as a reactor does, as far as posters can tell; `look` looks for work after that. Returns what it found
    /// and whether somebody rang the bell meanwhile.
    pub fn doze<T>(&self, look: impl FnOnce() -> T) -> (T, bool) {
        let shared = &*self.0.0;
        let found = shared.doze.doze(look);
        (found, shared.bell.was_rung())
    }
}

#[cfg(feature = "testing")]
impl<M> fmt::Debug for Mailbox<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.handle().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gate;

    fn handle(mailbox_len: usize) -> Handle<Box<u32>> {
        Handle(Arc::new(Shared::new(mailbox_len).unwrap()))
    }

    #[test]
    fn a_full_mailbox_gives_the_message_back() {
        let handle = handle(2);
        assert_eq!(handle.try_post(Box::new(1)), Ok(()));
        assert_eq!(handle.try_post(Box::new(2)), Ok(()));
        assert_eq!(handle.try_post(Box::new(3)), Err(Box::new(3)));
        assert_eq!(handle.post_until(Box::new(4), Instant::now()), Err(Box::new(4)));
        assert_eq!(handle.0.take(), Some(Box::new(1)));
        assert_eq!(handle.post(Box::new(5)), Ok(()));
    }

    #[test]
    fn a_mailbox_of_no_length_holds_one() {
        assert_eq!(handle(0).0.capacity(), 1);
    }

    #[test]
    fn a_poster_that_waits_gets_in_when_there_is_room() {
        let handle = handle(1);
        handle.try_post(Box::new(1)).unwrap();
        let poster = std::thread::spawn({
            let handle = handle.clone();
            move || handle.post(Box::new(2))
        });
        let mut taken = Vec::new();
        while taken.len() < 2 {
            taken.extend(handle.0.take().map(|message| *message));
        }
        assert_eq!(taken, [1, 2]);
        assert_eq!(poster.join().unwrap(), Ok(()));
    }

    #[test]
    fn an_ended_reactor_refuses_and_drops_what_was_left() {
        let (gate, passes) = Gate::new(3);
        let handle = Handle(Arc::new(Shared::new(4).unwrap()));
        let mut passes = passes.into_iter();
        handle.try_post(passes.next()).unwrap();
        handle.try_post(passes.next()).unwrap();
        drop(Closer(Arc::clone(&handle.0)));
        assert!(handle.is_closed());
        assert!(handle.post(passes.next()).unwrap_err().is_some());
        assert!(gate.is_open());
    }

    #[test]
    fn a_message_that_meets_the_end_is_not_stuck() {
        let (gate, mut passes) = Gate::new(1);
        let handle = Handle(Arc::new(Shared::new(1).unwrap()));
        handle.0.close();
        // The poster looked right before the end.
        handle.deliver(passes.pop().unwrap()).unwrap();
        assert!(gate.is_open());
    }
}

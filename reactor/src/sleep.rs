//! Going to sleep without losing a wake-up.
//!
//! A reactor that finds nothing to do may block in the kernel. Whoever gives it work must know whether a wake-up call
//! (a system call) is needed, and must not miss the moment. One flag decides:
//!
//! ```text
//! reactor                            poster
//! S1  asleep = true                  P1  make the work visible (push, or what the doorbell stands for)
//! S2  full fence                     P2  full fence
//! S3  look for work                  P3  asleep?  and if so, take the flag back
//! S4  none found: block              P4  got it: ring the bell
//! S5  asleep = false
//! ```
//!
//! No wake-up is lost. The two fences are in one total order. If P2 is before S2, then P1 is visible at S3 and the
//! reactor does not block. If S2 is before P2, then S1 is visible at P3: either this poster takes the flag and rings, or
//! another one took it since S1 and rings, or the reactor has reached S5 and looks again anyhow. A bell that is rung
//! stays rung until the reactor hears it (an eventfd counts), so a ring between S3 and S4 ends the wait at once.
//!
//! The price is one ring a sleep, a fence and a load per post, and now and then a wake-up for nothing: a poster that
//! took the flag late may ring during the next sleep.
//!
//! The flag is published *before* all looking. So [`Context::arm`](crate::Context::arm) is part of S3, and a doorbell
//! that comes right after it finds the flag up.
//!
//! Whether a doorbell comes at all is decided in the same way once more, by `arm` and a guest's driver, who has no idea of
//! reactors: `arm` asks for the bell (a flag or an event index in the ring), full fence, looks at the ring; the driver makes
//! its request available, full fence, looks whether to ring. The model checks both together.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;

use crate::context::WakeFds;

/// The flag and the fence, so that a model checker can put its own in their place.
pub(crate) trait Flag: Default {
    fn set(&self, value: bool);
    fn get(&self) -> bool;
    /// Makes it false; `true` for the one caller that found it true.
    fn take(&self) -> bool;
    fn full_fence();
}

impl Flag for AtomicBool {
    fn set(&self, value: bool) {
        self.store(value, Ordering::Relaxed);
    }
    #[inline]
    fn get(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
    fn take(&self) -> bool {
        // Not a swap: that would write false over false, and so dirty the line for nothing.
        self.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
    #[inline]
    fn full_fence() {
        fence(Ordering::SeqCst);
    }
}

/// The protocol above. `F` is [`AtomicBool`] in earnest.
#[derive(Debug, Default)]
pub(crate) struct Doze<F> {
    asleep: F,
}

impl<F: Flag> Doze<F> {
    /// The poster's side, after it made its work visible: calls `ring` if the reactor may be asleep.
    #[inline]
    pub(crate) fn rouse(&self, ring: impl FnOnce()) {
        F::full_fence();
        if self.asleep.get() && self.asleep.take() {
            ring();
        }
    }

    /// The reactor's side. `look_then_wait` looks for work and, only if there is none, blocks until the bell rings.
    pub(crate) fn doze<T>(&self, look_then_wait: impl FnOnce() -> T) -> T {
        self.asleep.set(true);
        F::full_fence();
        let result = look_then_wait();
        self.asleep.set(false);
        result
    }
}

/// What ends a sleep: an eventfd of the reactor's own.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> Result<Self, Errno> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn ring(&self) {
        // The write fails only if the counter is full, and then the bell is rung already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Whether it was rung, and silent from now on.
    #[cfg(feature = "testing")]
    pub(crate) fn was_rung(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }

    /// Blocks until the bell rings, one of `others` is readable, or `timeout_ns` has passed. Returns whether it could
    /// wait at all. May return early.
    pub(crate) fn wait(&self, others: &WakeFds<'_>, timeout_ns: Option<u64>) -> bool {
        let Some(mut rest) = others.iter() else {
            return false;
        };
        let mut used = 1;
        let mut fds: [PollFd<'_>; WakeFds::CAPACITY + 1] = std::array::from_fn(|index| {
            let other = if index == 0 { None } else { rest.next() };
            used += usize::from(other.is_some());
            PollFd::from_borrowed_fd(other.unwrap_or(self.0.as_fd()), PollFlags::IN)
        });
        let timeout = timeout_ns.map(|ns| Timespec {
            tv_sec: (ns / 1_000_000_000) as i64,
            // Below 10^9, so it fits whatever the type is.
            tv_nsec: (ns % 1_000_000_000) as _,
        });
        let waited = poll(&mut fds[..used], timeout.as_ref());
        if fds[0].revents().contains(PollFlags::IN) {
            // Fails only if somebody else read the counter, and nobody does.
            let _ = rustix::io::read(&self.0, &mut [0; 8]);
        }
        matches!(waited, Ok(_) | Err(Errno::INTR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use loom::sync::atomic as model;
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    impl Flag for model::AtomicBool {
        fn set(&self, value: bool) {
            self.store(value, Ordering::Relaxed);
        }
        fn get(&self) -> bool {
            self.load(Ordering::Relaxed)
        }
        fn take(&self) -> bool {
            self.compare_exchange(true, false, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        }
        fn full_fence() {
            model::fence(Ordering::SeqCst);
        }
    }

    /// The same without the fence: the model must find what that breaks.
    #[derive(Default)]
    struct Unfenced(model::AtomicBool);

    impl Flag for Unfenced {
        fn set(&self, value: bool) {
            self.0.set(value);
        }
        fn get(&self) -> bool {
            self.0.get()
        }
        fn take(&self) -> bool {
            self.0.take()
        }
        fn full_fence() {}
    }

    /// Counts like an eventfd.
    #[derive(Default)]
    struct ModelBell {
        count: Mutex<u64>,
        rung: Condvar,
    }

    impl ModelBell {
        fn ring(&self) {
            *self.count.lock().unwrap() += 1;
            self.rung.notify_one();
        }
        fn wait(&self) {
            let mut count = self.count.lock().unwrap();
            while *count == 0 {
                count = self.rung.wait(count).unwrap();
            }
            *count = 0;
        }
    }

    /// `posters` threads post once each; the reactor sleeps until it has seen all. A lost wake-up is a deadlock, which
    /// the model checker reports.
    fn explore<F: Flag + Send + Sync + 'static>(posters: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let shared = Arc::new((Doze::<F>::default(), ModelBell::default(), model::AtomicUsize::new(0)));
            for _ in 0..posters {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (doze, bell, work) = &*shared;
                    work.fetch_add(1, Ordering::Relaxed);
                    doze.rouse(|| bell.ring());
                });
            }
            let (doze, bell, work) = &*shared;
            let mut seen = 0;
            while seen < posters {
                doze.doze(|| {
                    if work.load(Ordering::Relaxed) == seen {
                        bell.wait();
                    }
                });
                seen = work.load(Ordering::Relaxed);
            }
        });
    }

    #[test]
    fn no_order_of_events_loses_a_wake_up() {
        explore::<model::AtomicBool>(1);
        explore::<model::AtomicBool>(2);
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn without_the_fences_the_model_finds_a_lost_wake_up() {
        explore::<Unfenced>(1);
    }

    /// How a driver is asked for doorbells.
    #[derive(Debug, Clone, Copy)]
    enum Ask {
        Flag,
        EventIndex,
    }

    /// Who takes the full fence that the specification of the ring demands of both.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fenced {
        Both,
        OnlyDriver,
        OnlyDevice,
    }

    /// What driver and device share.
    struct ModelRing {
        ask: Ask,
        available: model::AtomicUsize,
        no_notify: model::AtomicBool,
        event: model::AtomicUsize,
    }

    impl ModelRing {
        /// The device's side. `next` is the request that it waits for.
        fn ask_for_bell(&self, wanted: bool, next: usize) {
            match self.ask {
                Ask::Flag => self.no_notify.store(!wanted, Ordering::Relaxed),
                Ask::EventIndex => {
                    let event = if wanted { next } else { next.wrapping_sub(1) };
                    self.event.store(event, Ordering::Relaxed);
                }
            }
        }

        /// The driver's side, after it has made request `number` available.
        fn wants_bell(&self, number: usize) -> bool {
            match self.ask {
                Ask::Flag => !self.no_notify.load(Ordering::Relaxed),
                Ask::EventIndex => self.event.load(Ordering::Relaxed) == number,
            }
        }
    }

    /// A driver makes `requests` one after the other, and rings only if it is asked to; the reactor asks before it sleeps, and
    /// takes that back when it is awake.
    fn explore_doorbells(ask: Ask, fenced: Fenced, requests: usize) {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let ring = ModelRing {
                ask,
                available: model::AtomicUsize::new(0),
                no_notify: model::AtomicBool::new(true),
                event: model::AtomicUsize::new(usize::MAX),
            };
            let shared = Arc::new((ring, Doze::<model::AtomicBool>::default(), ModelBell::default()));
            let driver = Arc::clone(&shared);
            thread::spawn(move || {
                let (ring, doze, bell) = &*driver;
                for number in 0..requests {
                    ring.available.store(number + 1, Ordering::Relaxed);
                    if fenced != Fenced::OnlyDevice {
                        model::fence(Ordering::SeqCst);
                    }
                    if ring.wants_bell(number) {
                        doze.rouse(|| bell.ring());
                    }
                }
            });
            let (ring, doze, bell) = &*shared;
            let mut seen = 0;
            while seen < requests {
                doze.doze(|| {
                    ring.ask_for_bell(true, seen);
                    if fenced != Fenced::OnlyDriver {
                        model::fence(Ordering::SeqCst);
                    }
                    if ring.available.load(Ordering::Relaxed) == seen {
                        bell.wait();
                    }
                });
                ring.ask_for_bell(false, seen);
                seen = ring.available.load(Ordering::Relaxed);
            }
        });
    }

    #[test]
    fn no_request_is_left_by_a_driver_that_was_not_asked_to_ring() {
        for ask in [Ask::Flag, Ask::EventIndex] {
            explore_doorbells(ask, Fenced::Both, 2);
        }
    }

    #[test]
    fn a_driver_or_device_without_its_fence_leaves_one() {
        for ask in [Ask::Flag, Ask::EventIndex] {
            for fenced in [Fenced::OnlyDriver, Fenced::OnlyDevice] {
                let found = std::panic::catch_unwind(|| explore_doorbells(ask, fenced, 1));
                let why = found.expect_err("the model finds the lost request");
                let why = why.downcast_ref::<String>().expect("loom says what it has found");
                assert!(why.contains("deadlock"), "{ask:?} {fenced:?}: {why}");
            }
        }
    }

    #[test]
    fn the_bell_is_heard_once_and_the_timeout_ends_the_wait() {
        let bell = Bell::new().unwrap();
        bell.ring();
        bell.ring();
        assert!(bell.wait(&WakeFds::default(), None));
        let silent = PollFd::new(&bell.0, PollFlags::IN);
        assert_eq!(poll(&mut [silent], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(0));
        assert!(bell.wait(&WakeFds::default(), Some(1)));
    }

    #[test]
    fn a_full_bell_does_not_block_who_rings() {
        let bell = Bell::new().unwrap();
        rustix::io::write(&bell.0, &(u64::MAX - 1).to_ne_bytes()).unwrap();
        bell.ring();
        assert!(bell.wait(&WakeFds::default(), None));
    }

    #[test]
    fn too_many_descriptors_do_not_wait() {
        let bell = Bell::new().unwrap();
        let mut fds = WakeFds::default();
        for _ in 0..=WakeFds::CAPACITY {
            fds.push(bell.0.as_fd());
        }
        assert!(!bell.wait(&fds, None));
    }
}

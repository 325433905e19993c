//! What is left for a core that may be asleep: a list, and two words that say whether anybody has to ring.
//!
//! ```text
//! core                               thread
//! C1  asleep = true                  T1  push, count = length (in the lock)
//! C2  full fence                     T2  full fence
//! C3  count > 0: do not sleep        T3  asleep: ring
//! C4  else wait for the bell
//! C5  asleep = false, silence the bell
//! C6  take what there is
//! ```
//!
//! Nothing is left lying. The two fences are in one total order: if T2 is before C2, C3 sees the count; if not, T3 sees the
//! flag, and a bell that rings before C4 ends the wait at once. C5 may silence it for what has just been put in, but C6 comes
//! after. Where a thread has the lock at C6, the count is still there, or will be before that thread looks at the flag.
//! A thread that looked at the flag and rings late cuts the next sleep short, no more.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, TryLockError};

/// What it is made of, so that a model checker can put its own in its place.
pub(super) trait Parts {
    type Flag: Word<bool> + Debug;
    type Count: Word<usize> + Debug;
    type List<T: Debug>: List<T> + Debug;
    fn full_fence();
}

/// A word in memory that orders nothing.
pub(super) trait Word<V>: Default {
    fn set(&self, value: V);
    fn get(&self) -> V;
}

/// A list in a lock.
pub(super) trait List<T>: Default {
    fn with<R>(&self, then: impl FnOnce(&mut Vec<T>) -> R) -> R;
    /// The same, unless somebody else has it.
    fn try_with(&self, then: impl FnOnce(&mut Vec<T>));
}

/// The protocol above. `P` is [`Real`] in earnest.
#[derive(Debug)]
pub(super) struct Letters<T: Debug, P: Parts> {
    list: P::List<T>,
    /// Length of the list.
    count: P::Count,
    /// The core sleeps, or is about to: it wants the bell. Written by the core alone.
    asleep: P::Flag,
}

impl<T: Debug, P: Parts> Default for Letters<T, P> {
    fn default() -> Self {
        Self { list: Default::default(), count: Default::default(), asleep: Default::default() }
    }
}

impl<T: Debug, P: Parts> Letters<T, P> {
    /// Leaves something for the core; calls `ring` if that may be asleep.
    pub(super) fn put(&self, letter: T, ring: impl FnOnce()) {
        self.list.with(|list| {
            list.push(letter);
            self.count.set(list.len());
        });
        P::full_fence();
        if self.asleep.get() {
            ring();
        }
    }

    /// The core takes what there is, unless a thread is just putting something in: then it looks again in its next pass.
    #[inline]
    pub(super) fn take(&self, into: &mut VecDeque<T>) {
        if self.count.get() > 0 {
            self.take_some(into);
        }
    }

    #[cold]
    fn take_some(&self, into: &mut VecDeque<T>) {
        self.list.try_with(|list| {
            into.extend(list.drain(..));
            self.count.set(0);
        });
    }

    /// The core wants the bell from now on. True if there is nothing yet.
    pub(super) fn arm(&self) -> bool {
        self.asleep.set(true);
        P::full_fence();
        self.count.get() == 0
    }

    /// The core looks for itself again. Whether it wanted the bell, which may ring, then.
    pub(super) fn disarm(&self) -> bool {
        let armed = self.asleep.get();
        if armed {
            self.asleep.set(false);
        }
        armed
    }
}

/// The parts of a mailbox in earnest.
#[derive(Debug)]
pub(super) struct Real;

impl Parts for Real {
    type Flag = AtomicBool;
    type Count = AtomicUsize;
    type List<T: Debug> = Mutex<Vec<T>>;
    fn full_fence() {
        fence(Ordering::SeqCst);
    }
}

impl Word<bool> for AtomicBool {
    fn set(&self, value: bool) {
        self.store(value, Ordering::Relaxed);
    }
    fn get(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

impl Word<usize> for AtomicUsize {
    fn set(&self, value: usize) {
        self.store(value, Ordering::Relaxed);
    }
    #[inline]
    fn get(&self) -> usize {
        self.load(Ordering::Relaxed)
    }
}

impl<T: Debug> List<T> for Mutex<Vec<T>> {
    fn with<R>(&self, then: impl FnOnce(&mut Vec<T>) -> R) -> R {
        then(&mut self.lock().expect("nobody panics with the list in hand"))
    }
    fn try_with(&self, then: impl FnOnce(&mut Vec<T>)) {
        match self.try_lock() {
            Ok(mut list) => then(&mut list),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Poisoned(_)) => panic!("nobody panics with the list in hand"),
        }
    }
}

#[cfg(test)]
#[path = "letters_tests.rs"]
mod tests;

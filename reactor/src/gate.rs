//! A control thread waits until several reactors have done something, for a bounded time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Opens when all of its passes have arrived. Clones wait for the same thing.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Shared>);

/// One party's token. It arrives when it is dropped, so that a message which is never handled, or a reactor that ends,
/// cannot leave the control thread waiting.
#[derive(Debug)]
#[must_use = "dropping the pass lets it arrive"]
pub struct Pass(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    missing: AtomicUsize,
    lock: Mutex<()>,
    opened: Condvar,
}

impl Gate {
    /// A gate for `parties`, with a pass for each of them. A gate for nobody is open.
    pub fn new(parties: usize) -> (Self, Vec<Pass>) {
        let shared =
            Arc::new(Shared { missing: AtomicUsize::new(parties), lock: Mutex::new(()), opened: Condvar::new() });
        let passes = (0..parties).map(|_| Pass(Arc::clone(&shared))).collect();
        (Self(shared), passes)
    }

    /// Whether all have arrived. What they did before is visible to who saw `true`.
    pub fn is_open(&self) -> bool {
        self.0.missing.load(Ordering::Acquire) == 0
    }

    /// Blocks until all have arrived (`true`) or `deadline` has passed (`false`). Not for reactors.
    pub fn wait_until(&self, deadline: Instant) -> bool {
        let mut guard = self.0.guard();
        while !self.is_open() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.opened.wait_timeout(guard, left);
            (guard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        true
    }
}

impl Pass {
    /// Arrives. The last one to do so opens the gate.
    pub fn arrive(self) {}
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.0.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Under the lock, or the wake-up could fall between the waiter's look and its sleep. The waiter holds it
            // only for that look, so this does not block a reactor.
            let _guard = self.0.guard();
            self.0.opened.notify_all();
        }
    }
}

impl Shared {
    fn guard(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn far() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn opens_with_the_last_pass_and_no_sooner() {
        let (gate, mut passes) = Gate::new(2);
        passes.pop().unwrap().arrive();
        assert!(!gate.is_open());
        assert!(!gate.wait_until(Instant::now()));
        drop(passes);
        assert!(gate.is_open() && gate.wait_until(Instant::now()));
    }

    #[test]
    fn a_gate_for_nobody_is_open() {
        assert!(Gate::new(0).0.wait_until(Instant::now()));
    }

    #[test]
    fn wakes_a_waiter_and_shows_it_what_was_done() {
        for _ in 0..200 {
            let (gate, passes) = Gate::new(3);
            let done = Arc::new(AtomicUsize::new(0));
            for pass in passes {
                let done = Arc::clone(&done);
                std::thread::spawn(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    pass.arrive();
                });
            }
            assert!(gate.wait_until(far()));
            assert_eq!(done.load(Ordering::Relaxed), 3);
        }
    }

    #[test]
    fn a_party_that_panics_has_arrived() {
        let (gate, mut passes) = Gate::new(1);
        let pass = passes.pop().unwrap();
        let party = std::thread::spawn(move || {
            let _pass = pass;
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(gate.wait_until(far()));
        assert!(party.join().is_err());
    }
}

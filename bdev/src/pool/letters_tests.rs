//! All orders of what threads and a core that falls asleep do, tried by a model checker on the code itself.

use loom::sync::atomic as model;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::*;

/// Parts that loom watches.
#[derive(Debug)]
struct Watched;

/// The same without the fences: the model must find what that breaks.
#[derive(Debug)]
struct Unfenced;

#[derive(Debug)]
struct WatchedList<T>(Mutex<Vec<T>>);

impl Parts for Watched {
    type Flag = model::AtomicBool;
    type Count = model::AtomicUsize;
    type List<T: Debug> = WatchedList<T>;
    fn full_fence() {
        model::fence(Ordering::SeqCst);
    }
}

impl Parts for Unfenced {
    type Flag = model::AtomicBool;
    type Count = model::AtomicUsize;
    type List<T: Debug> = WatchedList<T>;
    fn full_fence() {}
}

impl Word<bool> for model::AtomicBool {
    fn set(&self, value: bool) {
        self.store(value, Ordering::Relaxed);
    }
    fn get(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

impl Word<usize> for model::AtomicUsize {
    fn set(&self, value: usize) {
        self.store(value, Ordering::Relaxed);
    }
    fn get(&self) -> usize {
        self.load(Ordering::Relaxed)
    }
}

impl<T> Default for WatchedList<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T: Debug> List<T> for WatchedList<T> {
    fn with<R>(&self, then: impl FnOnce(&mut Vec<T>) -> R) -> R {
        then(&mut self.0.lock().unwrap())
    }
    fn try_with(&self, then: impl FnOnce(&mut Vec<T>)) {
        if let Ok(mut list) = self.0.try_lock() {
            then(&mut list);
        }
    }
}

/// Counts like an eventfd: rung until it is silenced.
#[derive(Default)]
struct Bell {
    count: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.count.lock().unwrap() += 1;
        self.rung.notify_one();
    }
    fn wait(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.rung.wait(count).unwrap();
        }
    }
    fn silence(&self) {
        *self.count.lock().unwrap() = 0;
    }
}

/// Each of `threads` leaves `letters`; the core sleeps until it has all. One that is left lying is a deadlock, which the
/// model checker reports.
fn explore<P: Parts<Flag: Send + Sync, Count: Send + Sync, List<u32>: Send + Sync> + 'static>(
    threads: u32,
    letters: u32,
) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let shared = Arc::new((Letters::<u32, P>::default(), Bell::default()));
        for thread in 0..threads {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (mailbox, bell) = &*shared;
                (0..letters).for_each(|letter| mailbox.put(thread * letters + letter, || bell.ring()));
            });
        }
        let (mailbox, bell) = &*shared;
        let mut taken = VecDeque::new();
        loop {
            mailbox.take(&mut taken);
            if taken.len() as u32 == threads * letters {
                break;
            }
            if mailbox.arm() {
                bell.wait();
            } else {
                // A thread has the lock: it is its turn.
                thread::yield_now();
            }
            if mailbox.disarm() {
                bell.silence();
            }
        }
        taken.make_contiguous().sort_unstable();
        assert!(taken.into_iter().eq(0..threads * letters), "each once");
    });
}

#[test]
fn nothing_is_left_lying_by_a_core_that_falls_asleep() {
    explore::<Watched>(1, 1);
    explore::<Watched>(1, 2);
    explore::<Watched>(2, 1);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_the_model_finds_a_letter_left_lying() {
    explore::<Unfenced>(1, 1);
}

//! A thread that keeps a CPU as busy as a load generator that polls does.
//!
//! Beside a target two CPUs poll, and the kernel's workers have what these leave to them. io_uring alone needs one CPU; so
//! that its workers have no more than that, the other one spins.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crate::load::cpu;

/// Spins until it is dropped.
#[derive(Debug)]
pub struct Spinner {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    /// Keeps `cpu` busy, or none if we may not use it.
    pub fn start(cpu: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            // A CPU that is not there is found out by those who measure on it.
            if cpu::pin(cpu).is_ok() {
                while !seen.load(Ordering::Relaxed) {}
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_spinner_ends() {
        let spinner = Spinner::start(cpu::allowed().unwrap()[0]);
        let stop = Arc::clone(&spinner.stop);
        drop(spinner);
        assert_eq!((stop.load(Ordering::Relaxed), Arc::strong_count(&stop)), (true, 1));
        drop(Spinner::start(usize::MAX));
    }
}

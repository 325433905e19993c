//! The threads of one channel and the operations that wait for them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::getpid;
use rustix::thread::{sched_getaffinity, sched_setaffinity};

use crate::channel::{Completion, Tag};
use crate::io::{ChannelId, Done};
use crate::op::{IoError, Op};
use crate::pool::mailbox::Mailbox;
use crate::pool::work::{Scratch, Served};
use crate::space::Plan;

/// How long a lane that is dropped waits for what its threads have in hand.
const DROP_WAIT: Duration = Duration::from_secs(2);

/// An operation for a thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    pub(crate) tag: Tag,
    pub(crate) op: Op,
    /// Of an operation on space: how it is done.
    pub(crate) plan: Option<Plan>,
}

/// Threads for one channel.
#[derive(Debug)]
pub(crate) struct Lane {
    shared: Arc<Shared>,
    threads: usize,
    threads_max: usize,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is work, or the lane is closed.
    work: Condvar,
    /// A thread has laid an operation down after the lane was closed.
    laid_down: Condvar,
    served: Served,
    channel: ChannelId,
    mailbox: Arc<Mailbox>,
}

#[derive(Debug)]
struct State {
    /// Bounded by what the channel may have in flight.
    queue: VecDeque<Job>,
    /// Threads without an operation.
    idle: usize,
    /// Operations in hand.
    running: usize,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with the queue in hand")
    }
}

impl Lane {
    /// At most `threads_max` threads, at least 1, for what `channel` does with `served`. `room` operations fit in without
    /// an allocation.
    pub(crate) fn new(
        mailbox: Arc<Mailbox>,
        channel: ChannelId,
        served: Served,
        threads_max: usize,
        room: usize,
    ) -> Self {
        let state = State { queue: VecDeque::with_capacity(room), idle: 0, running: 0, closed: false };
        let shared = Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            laid_down: Condvar::new(),
            served,
            channel,
            mailbox,
        };
        Self { shared: Arc::new(shared), threads: 0, threads_max }
    }

    /// Hands an admitted operation to the threads; its completion comes through the mailbox.
    ///
    /// # Errors
    /// [`IoError::Busy`]: there is no thread and none can be started.
    pub(crate) fn submit(&mut self, job: Job) -> Result<(), IoError> {
        let mut state = self.shared.lock();
        state.queue.push_back(job);
        let wanted = state.queue.len() > state.idle && self.threads < self.threads_max;
        drop(state);
        self.shared.work.notify_one();
        if wanted {
            match self.start_thread() {
                Ok(()) => self.threads += 1,
                Err(error) if self.threads == 0 => {
                    tracing::debug!(%error, "no thread for an operation");
                    self.shared.lock().queue.pop_back();
                    return Err(IoError::Busy);
                }
                // Those that are there will do.
                Err(error) => tracing::debug!(%error, "no further thread"),
            }
        }
        Ok(())
    }

    /// Takes an operation back that no thread has in hand yet. Whether there was one.
    pub(crate) fn cancel(&mut self, tag: Tag) -> bool {
        let mut state = self.shared.lock();
        let at = state.queue.iter().position(|job| job.tag == tag);
        at.and_then(|at| state.queue.remove(at)).is_some()
    }

    fn start_thread(&self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        std::thread::Builder::new().name("bdev".to_owned()).spawn(move || serve(&shared)).map(drop)
    }
}

impl Drop for Lane {
    /// Threads write to the segments of what they have in hand: this waits for them, within reason. Who holds up longer
    /// keeps the file open until it is done.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.clear();
        self.shared.work.notify_all();
        let deadline = Instant::now() + DROP_WAIT;
        while state.running > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!(running = state.running, "a disk is closed before it has answered");
                return;
            }
            let waited = self.shared.laid_down.wait_timeout(state, left);
            state = waited.expect("nobody panics with the queue in hand").0;
        }
    }
}

/// What a thread does, from its start to the end of the lane.
fn serve(shared: &Shared) {
    leave_the_cpu_of_the_core();
    let mut scratch = Scratch::default();
    let mut state = shared.lock();
    loop {
        let Some(job) = state.queue.pop_front() else {
            if state.closed {
                return;
            }
            state.idle += 1;
            state = shared.work.wait(state).expect("nobody panics with the queue in hand");
            state.idle -= 1;
            continue;
        };
        state.running += 1;
        drop(state);
        let result = shared.served.run(&job.op, job.plan, &mut scratch);
        let completion = Completion { tag: job.tag, result };
        shared.mailbox.put(Done { channel: shared.channel, completion });
        state = shared.lock();
        state.running -= 1;
        if state.closed {
            shared.laid_down.notify_all();
        }
    }
}

/// A thread inherits the CPU of the core that starts it, which is busy. It goes where the process may go.
fn leave_the_cpu_of_the_core() {
    let moved = sched_getaffinity(Some(getpid())).and_then(|cpus| sched_setaffinity(None, &cpus));
    if let Err(error) = moved {
        tracing::debug!(%error, "a thread stays on the CPU of its core");
    }
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;

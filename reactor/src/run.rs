//! The loop of a reactor: messages, poll, and what to do when there is nothing to do.

use std::sync::Arc;

use crate::clock::Clock;
use crate::context::{Context, Drain, Progress, WakeFds};
use crate::mailbox::Shared;
use crate::pace::Pace;

/// The most messages handled in one pass, so that a busy mailbox cannot keep the context from being polled.
pub(crate) const MESSAGES_PER_PASS: usize = 32;

/// What a reactor does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdlePolicy {
    /// Polls on, always.
    Spin,
    /// Polls on for this many nanoseconds, then sleeps until something happens.
    Adaptive {
        /// How long a reactor stays awake after its last work, in nanoseconds.
        spin_ns: u64,
    },
    /// Sleeps at once.
    Sleep,
}

impl IdlePolicy {
    fn sleeps_after(self, idle_ns: u64) -> bool {
        match self {
            Self::Spin => false,
            Self::Adaptive { spin_ns } => idle_ns >= spin_ns,
            Self::Sleep => true,
        }
    }
}

/// A context and what is needed to run it, on its thread.
pub(crate) struct Runner<C: Context> {
    pub(crate) context: C,
    pub(crate) shared: Arc<Shared<C::Message>>,
    pub(crate) idle: IdlePolicy,
    pub(crate) stopping: bool,
}

/// A reactor without a thread: whoever has it makes each of its passes.
#[cfg(feature = "testing")]
pub struct Stepper<C: Context>(pub(crate) Runner<C>);

#[cfg(feature = "testing")]
impl<C: Context> Stepper<C> {
    /// One pass, and the account of it.
    pub fn step(&mut self, now_ns: u64) -> Progress {
        let progress = self.0.pass(now_ns).unwrap_or(Progress::Idle);
        self.0.shared.meter.passes(progress, 1, 1);
        progress
    }
}

impl<C: Context> Runner<C> {
    /// Runs until the context has drained after a stop.
    pub(crate) fn run(&mut self) {
        let mut pace = Pace::new(Clock::now_ns());
        let mut worked_ns = pace.now_ns();
        while let Some(progress) = self.pass(pace.now_ns()) {
            let meter = &*self.shared.meter;
            pace.passed(progress, meter, Clock::now_ns);
            if progress.is_busy() {
                worked_ns = pace.now_ns();
            } else if self.idle.sleeps_after(pace.now_ns() - worked_ns) && self.context.may_sleep() {
                pace.charge_idle(meter, Clock::now_ns);
                let slept = self.sleep();
                let spent_ns = pace.advance(Clock::now_ns());
                worked_ns = pace.now_ns();
                if slept {
                    self.shared.meter.slept(spent_ns);
                }
            } else {
                std::hint::spin_loop();
            }
        }
    }

    /// One pass. `None` when the context has stopped.
    pub(crate) fn pass(&mut self, now_ns: u64) -> Option<Progress> {
        let taken = self.take_messages(MESSAGES_PER_PASS);
        let polled = self.context.poll(now_ns);
        if !self.stopping && self.shared.stop_asked() {
            self.stopping = true;
            // What was posted before the stop is handled before it.
            self.take_messages(self.shared.capacity());
        }
        if self.stopping && self.context.drain(now_ns) == Drain::Finished {
            return None;
        }
        Some(Progress::from_busy(taken > 0).or(polled))
    }

    fn take_messages(&mut self, most: usize) -> usize {
        let mut taken = 0;
        while taken < most
            && let Some(message) = self.shared.take()
        {
            self.context.message(message);
            taken += 1;
        }
        if taken > 0 {
            self.shared.meter.messages(taken as u64);
        }
        taken
    }

    /// Sleeps if, after all sources were asked to ring, there is still nothing to do. Returns whether it slept.
    pub(crate) fn sleep(&mut self) -> bool {
        let Self { context, shared, stopping, .. } = self;
        let slept = shared.doze.doze(|| {
            let quiet = context.arm() && shared.is_empty() && shared.stop_asked() == *stopping;
            let timeout_ns = context.next_deadline_ns().map(|deadline| deadline.saturating_sub(Clock::now_ns()));
            if !quiet || timeout_ns == Some(0) {
                return false;
            }
            let mut fds = WakeFds::default();
            context.wake_fds(&mut fds);
            shared.bell.wait(&fds, timeout_ns)
        });
        context.disarm();
        slept
    }
}

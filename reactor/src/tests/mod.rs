//! Reactors at work, on real threads.

mod life;
mod racing;
mod sleeping;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use crate::*;

/// What a [`Probe`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Message(u64),
    Work(u64),
    Readable,
    Deadline,
    /// About to sleep.
    Dozing,
    Disarmed,
    Dropped,
}

/// A context that tells a test what happens to it.
struct Probe {
    events: Sender<Event>,
    /// Stands for guest memory: work appears here without a message.
    work: Arc<AtomicU64>,
    worked: u64,
    fd: Option<OwnedFd>,
    deadline_ns: Option<u64>,
    may_sleep: bool,
    /// How often arming finds something.
    finds: u32,
    /// Calls of `drain` until it is finished.
    drains: u32,
    polls: u64,
}

impl Probe {
    fn new() -> (Self, Receiver<Event>) {
        let (events, seen) = channel();
        let probe = Self {
            events,
            work: Arc::default(),
            worked: 0,
            fd: None,
            deadline_ns: None,
            may_sleep: true,
            finds: 0,
            drains: 1,
            polls: 0,
        };
        (probe, seen)
    }

    fn tell(&self, event: Event) {
        // A test that has seen enough may be gone.
        let _ = self.events.send(event);
    }
}

impl Context for Probe {
    type Message = u64;

    fn message(&mut self, message: u64) {
        self.tell(Event::Message(message));
    }

    fn poll(&mut self, now_ns: u64) -> Progress {
        self.polls += 1;
        let mut busy = false;
        let work = self.work.load(Ordering::Relaxed);
        if work != self.worked {
            self.worked = work;
            self.tell(Event::Work(work));
            busy = true;
        }
        if self.fd.as_ref().is_some_and(|fd| rustix::io::read(fd, &mut [0; 8]).is_ok()) {
            self.tell(Event::Readable);
            busy = true;
        }
        if self.deadline_ns.take_if(|deadline_ns| *deadline_ns <= now_ns).is_some() {
            self.tell(Event::Deadline);
            busy = true;
        }
        Progress::from_busy(busy)
    }

    fn drain(&mut self, _now_ns: u64) -> Drain {
        self.drains = self.drains.saturating_sub(1);
        if self.drains == 0 { Drain::Finished } else { Drain::Pending }
    }

    fn may_sleep(&self) -> bool {
        self.may_sleep
    }

    fn arm(&mut self) -> bool {
        let found = self.finds > 0;
        self.finds = self.finds.saturating_sub(1);
        !found && self.work.load(Ordering::Relaxed) == self.worked
    }

    fn disarm(&mut self) {
        self.tell(Event::Disarmed);
    }

    fn wake_fds<'a>(&'a self, fds: &mut WakeFds<'a>) {
        if let Some(fd) = &self.fd {
            fds.push(fd.as_fd());
        }
        self.tell(Event::Dozing);
    }

    fn next_deadline_ns(&self) -> Option<u64> {
        self.deadline_ns
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.tell(Event::Dropped);
    }
}

fn a_cpu() -> Cpu {
    CpuList::allowed().iter().next().expect("the test runs somewhere")
}

fn start(idle: IdlePolicy, probe: Probe) -> Reactor<u64> {
    spawn(Config::new(a_cpu(), "probe", idle), move || Ok::<_, ()>(probe)).expect("it starts")
}

/// The next event. A test that waits for a minute has failed.
fn next(seen: &Receiver<Event>) -> Event {
    seen.recv_timeout(Duration::from_secs(60)).expect("an event")
}

/// Skips events until `wanted`.
fn until(seen: &Receiver<Event>, wanted: Event) {
    while next(seen) != wanted {}
}

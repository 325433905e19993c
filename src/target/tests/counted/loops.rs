//! The loop of a reactor, and its mailbox.

use reactor::{Context, Drain, IdlePolicy, Mailbox, Progress};

use super::measure;

/// Passes in each run, a multiple of those after which a reactor reads its clock.
const PASSES: u64 = 1600;
/// Messages in a row.
const MESSAGES: usize = 16;

/// Has nothing to do, so many times.
struct Idler(u64);

impl Context for Idler {
    type Message = ();

    fn message(&mut self, (): ()) {}

    fn poll(&mut self, _now_ns: u64) -> Progress {
        Progress::Idle
    }

    fn drain(&mut self, _now_ns: u64) -> Drain {
        self.0 -= 1;
        if self.0 == 0 { Drain::Finished } else { Drain::Pending }
    }
}

pub(super) fn measure_all() {
    measure(
        "reactor: an idle pass of the loop",
        PASSES as usize,
        (),
        |()| (),
        |()| {
            reactor::run_here(Idler(PASSES), IdlePolicy::Spin).expect("a bell");
        },
    );
    let mailbox = Mailbox::<()>::new(64).expect("a bell");
    let state = (mailbox.handle(), mailbox);
    measure(
        "reactor: a message posted and taken",
        MESSAGES,
        state,
        |_| (),
        |(handle, mailbox)| {
            (0..MESSAGES).for_each(|_| handle.try_post(()).expect("there is room"));
            while mailbox.take().is_some() {}
        },
    );
}

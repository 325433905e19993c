//! A driver that shows its requests at the very moment when the device falls asleep.
//!
//! It has interrupts, so that the device may sleep, but does not wait for them: that would take longer than falling asleep
//! does. It rings the doorbell only where the device asks for it.

use std::time::{Duration, Instant};

use annulus_bench::Guest;
use annulus_bench::guest::framing::Shape;
use annulus_bench::guest::scsi::Command;
use annulus_bench::guest::spec::scsi::FIRST_REQUEST_QUEUE;

use super::aim::{Aim, Random, Tally, pause};

/// A request that has waited so long has been forgotten.
const LOST_AFTER: Duration = Duration::from_secs(5);
/// Looks at a ring before others may have the CPU.
const LOOKS: u32 = 200;
/// From its last answer to when a device that does not poll has fallen asleep, and some more.
const ASLEEP_AFTER_MAX: Duration = Duration::from_nanos(6000);
/// Longest pause between two queues of one round.
const BETWEEN_MAX: Duration = Duration::from_nanos(2000);

/// Makes requests, one a queue at a time.
pub struct Racer<'a> {
    guest: &'a mut Guest,
    /// What it is, for messages.
    name: &'a str,
    random: Random,
    tally: Tally,
}

impl<'a> Racer<'a> {
    /// A driver of a guest that has started and has nothing in flight.
    pub fn new(guest: &'a mut Guest, name: &'a str) -> Self {
        Self { guest, name, random: Random::new(), tally: Tally::default() }
    }

    /// Rounds with a device that takes about so long to fall asleep, until each side has won `wins` of them, or will not in
    /// time. In each, some of the queues get a request, and all of them are answered.
    pub fn run(&mut self, asleep_after: Duration, wins: u32, command: impl Fn(u64) -> Command) -> Tally {
        let (mut aim, mut open) = (Aim::new(asleep_after), Vec::new());
        while !aim.is_done(wins) {
            let next = self.choose();
            // Laid out before the answers of the last round are taken: soon after those the device sleeps.
            for &queue in &next {
                let command = command(self.random.below(1 << 32));
                self.guest.enqueue(queue, &command, &Shape::default()).expect("room");
            }
            open.drain(..).for_each(|request| self.await_answer(request));
            pause(aim.next(&mut self.random));
            for (place, queue) in next.into_iter().enumerate() {
                if place > 0 {
                    pause(self.random.up_to(BETWEEN_MAX));
                }
                let rung = self.show(queue);
                if place == 0 {
                    aim.learn(rung);
                    self.tally = aim.tally();
                }
                open.push((queue, rung));
            }
        }
        open.drain(..).for_each(|request| self.await_answer(request));
        self.tally
    }

    /// The same with results: queue 0 gets a request of `slow`, which takes about as long as `after`, and queue 1 one of
    /// `quick`, after which the device falls asleep, just when the other one ends. Early is who comes when it has not ended.
    pub fn run_for_results(
        &mut self,
        after: Duration,
        wins: u32,
        slow: impl Fn(u64) -> Command,
        quick: impl Fn(u64) -> Command,
    ) -> Tally {
        let mut aim = Aim::new(after);
        while !aim.is_done(wins) {
            for (queue, command) in [(0, slow(self.random.below(1 << 32))), (1, quick(self.random.below(1 << 32)))] {
                self.guest.enqueue(queue, &command, &Shape::default()).expect("room");
            }
            let first = (0, self.show(0));
            let ahead = self.random.up_to(ASLEEP_AFTER_MAX);
            pause(aim.next(&mut self.random).saturating_sub(ahead));
            let second = (1, self.show(1));
            self.await_answer(second);
            let ended = self.take_answer(0);
            aim.learn(ended);
            self.tally = aim.tally();
            if !ended {
                self.await_answer(first);
            }
        }
        self.tally
    }

    /// The queues that get a request in this round.
    fn choose(&mut self) -> Vec<u16> {
        let queues = u64::from(self.guest.request_queues());
        let (first, count) = (self.random.below(queues), 1 + self.random.below(queues));
        (first..first + count).map(|queue| (queue % queues) as u16).collect()
    }

    /// Shows the device what is laid out on a queue. Whether it wanted a doorbell, which it got.
    fn show(&mut self, queue: u16) -> bool {
        let number = FIRST_REQUEST_QUEUE + queue;
        let asked = self.guest.queue(number).publish();
        if asked {
            self.guest.ring_bell(number).expect("the target lives");
        }
        asked
    }

    fn await_answer(&mut self, (queue, rung): (u16, bool)) {
        if self.is_answered(queue, LOST_AFTER) {
            return;
        }
        self.guest.ring_bell(FIRST_REQUEST_QUEUE + queue).expect("the target lives");
        let then = match self.is_answered(queue, LOST_AFTER) {
            true => "it was answered when the doorbell was rung for nothing",
            false => "nor was it when the doorbell was rung for nothing",
        };
        let first = if rung { "rang as the device asked" } else { "did not ring, for the device had not asked" };
        panic!(
            "{}: a wake-up is lost: a request on queue {queue} was not answered within {LOST_AFTER:?} (the driver {first}), \
             {then}; so far {:?}",
            self.name, self.tally
        );
    }

    /// Takes the answer of a queue, if it is there.
    fn take_answer(&mut self, queue: u16) -> bool {
        let completion = self.guest.poll(queue).expect("the target keeps the rules");
        completion.map(|completion| completion.response.good().expect("GOOD")).is_some()
    }

    /// Takes the answer of a queue, if it comes within `limit`.
    fn is_answered(&mut self, queue: u16, limit: Duration) -> bool {
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if self.take_answer(queue) {
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() >= limit {
                return false;
            }
            std::thread::yield_now();
        }
    }
}

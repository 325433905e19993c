//! Going to sleep, and all that ends a sleep. A wake-up that is lost leaves these tests waiting for an event.

use rustix::event::{EventfdFlags, eventfd};

use super::*;

/// Waits until the reactor is about to sleep. From then on it may be asleep, and must be woken.
fn asleep(seen: &Receiver<Event>) {
    until(seen, Event::Dozing);
}

#[test]
fn a_message_ends_a_sleep() {
    let (probe, seen) = Probe::new();
    let reactor = start(IdlePolicy::Sleep, probe);
    for number in 0..100 {
        asleep(&seen);
        reactor.handle().try_post(number).unwrap();
        until(&seen, Event::Disarmed);
        assert_eq!(next(&seen), Event::Message(number));
    }
    assert!(reactor.load().sleeps >= 100);
}

#[test]
fn a_doorbell_ends_a_sleep() {
    let (probe, seen) = Probe::new();
    let work = Arc::clone(&probe.work);
    let reactor = start(IdlePolicy::Sleep, probe);
    for number in 1..=100 {
        asleep(&seen);
        work.store(number, Ordering::Relaxed);
        reactor.handle().wake();
        until(&seen, Event::Work(number));
    }
}

#[test]
fn a_descriptor_ends_a_sleep() {
    let (mut probe, seen) = Probe::new();
    let fd = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    probe.fd = Some(fd.try_clone().unwrap());
    let _reactor = start(IdlePolicy::Sleep, probe);
    for _ in 0..100 {
        asleep(&seen);
        rustix::io::write(&fd, &1_u64.to_ne_bytes()).unwrap();
        until(&seen, Event::Readable);
    }
}

#[test]
fn a_deadline_ends_a_sleep() {
    let (mut probe, seen) = Probe::new();
    probe.deadline_ns = Some(Clock::now_ns() + 20_000_000);
    let _reactor = start(IdlePolicy::Sleep, probe);
    until(&seen, Event::Deadline);
}

#[test]
fn a_deadline_that_has_passed_allows_no_sleep() {
    let (mut probe, seen) = Probe::new();
    probe.deadline_ns = Some(0);
    let shared = Arc::new(crate::mailbox::Shared::new(1).unwrap());
    let mut runner = crate::run::Runner { context: probe, shared, idle: IdlePolicy::Sleep, stopping: false };
    assert!(!runner.sleep());
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Event::Disarmed]);
}

#[test]
fn a_stop_that_was_not_seen_yet_allows_no_sleep() {
    let (mut probe, seen) = Probe::new();
    probe.deadline_ns = Some(Clock::now_ns() + 1_000_000_000);
    let shared = Arc::new(crate::mailbox::Shared::new(1).unwrap());
    let mut runner =
        crate::run::Runner { context: probe, shared: Arc::clone(&shared), idle: IdlePolicy::Sleep, stopping: false };
    shared.ask_stop();
    assert!(!runner.sleep());
    assert_eq!(seen.try_iter().collect::<Vec<_>>(), [Event::Disarmed]);
}

#[test]
fn a_stop_ends_a_sleep() {
    let (probe, seen) = Probe::new();
    let reactor = start(IdlePolicy::Sleep, probe);
    asleep(&seen);
    reactor.stop();
    reactor.join().unwrap();
}

#[test]
fn what_arming_finds_forbids_the_sleep() {
    let (mut probe, seen) = Probe::new();
    probe.finds = 5;
    let _reactor = start(IdlePolicy::Sleep, probe);
    let before: Vec<_> = (0..5).map(|_| next(&seen)).collect();
    assert_eq!(before, [Event::Disarmed; 5]);
    assert_eq!(next(&seen), Event::Dozing);
}

/// Runs until it has been polled 10,000 times; returns what it saw.
fn events_of_many_passes(idle: IdlePolicy, may_sleep: bool) -> Vec<Event> {
    let (mut probe, seen) = Probe::new();
    probe.may_sleep = may_sleep;
    probe.drains = 10_000;
    let reactor = start(idle, probe);
    reactor.stop();
    reactor.join().unwrap();
    seen.iter().collect()
}

#[test]
fn spinning_and_polling_drivers_never_sleep() {
    assert_eq!(events_of_many_passes(IdlePolicy::Spin, true), [Event::Dropped]);
    assert_eq!(events_of_many_passes(IdlePolicy::Sleep, false), [Event::Dropped]);
    assert_eq!(events_of_many_passes(IdlePolicy::Adaptive { spin_ns: u64::MAX }, true), [Event::Dropped]);
}

#[test]
fn adaptive_sleeps_after_its_time_and_the_account_says_so() {
    let (probe, seen) = Probe::new();
    let reactor = start(IdlePolicy::Adaptive { spin_ns: 100_000 }, probe);
    asleep(&seen);
    reactor.handle().try_post(1).unwrap();
    until(&seen, Event::Message(1));
    asleep(&seen);
    let load = reactor.load();
    assert!(load.idle_passes >= 2 && load.idle_ns >= 200_000, "{load:?}");
    assert!(load.busy_passes == 1 && load.sleeps == 1 && load.messages == 1, "{load:?}");
}

#[test]
fn no_wake_up_is_lost_in_many_round_trips() {
    let (probe, seen) = Probe::new();
    let work = Arc::clone(&probe.work);
    let reactor = start(IdlePolicy::Adaptive { spin_ns: 0 }, probe);
    let handle = reactor.handle();
    for number in 1..=10_000 {
        handle.try_post(number).unwrap();
        until(&seen, Event::Message(number));
        work.store(number, Ordering::Relaxed);
        handle.wake();
        until(&seen, Event::Work(number));
    }
}

/// Posts each message back, less one, until nothing is left of it.
struct Player {
    peer: Option<Handle<Ball>>,
    over: Sender<()>,
}

enum Ball {
    Meet(Handle<Ball>),
    Throw(u32),
}

impl Context for Player {
    type Message = Ball;
    fn message(&mut self, ball: Ball) {
        match (ball, &self.peer) {
            (Ball::Meet(peer), _) => self.peer = Some(peer),
            (Ball::Throw(0), _) => self.over.send(()).unwrap(),
            (Ball::Throw(left), Some(peer)) => peer.try_post(Ball::Throw(left - 1)).ok().expect("there is room"),
            (Ball::Throw(_), None) => unreachable!("they meet before they play"),
        }
    }
    fn poll(&mut self, _now_ns: u64) -> Progress {
        Progress::Idle
    }
}

#[test]
fn two_reactors_wake_each_other() {
    let (over, ended) = channel();
    let players: Vec<_> = [a_cpu(), CpuList::allowed().iter().last().unwrap()]
        .into_iter()
        .map(|cpu| {
            let over = over.clone();
            let build = move || Ok::<_, ()>(Player { peer: None, over });
            spawn(Config::new(cpu, "player", IdlePolicy::Sleep), build).unwrap()
        })
        .collect();
    for (own, other) in [(0, 1), (1, 0)] {
        players[own].handle().post(Ball::Meet(players[other].handle())).ok().unwrap();
    }
    for _ in 0..2 {
        players[0].handle().post(Ball::Throw(5000)).ok().unwrap();
    }
    for _ in 0..2 {
        ended.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

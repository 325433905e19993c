//! Beginning, messages, stopping, ending.

use std::sync::Mutex;
use std::time::Instant;

use super::*;
use crate::mailbox::Shared;
use crate::run::{MESSAGES_PER_PASS, Runner};

#[test]
fn the_context_lives_on_a_pinned_thread_with_a_name() {
    let cpu = CpuList::allowed().iter().last().unwrap();
    let (sender, seen) = channel();
    let reactor = spawn(Config::new(cpu, "annulus-7", IdlePolicy::Sleep), move || {
        let set = rustix::thread::sched_getaffinity(None).unwrap();
        let cpus: Vec<_> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu)).collect();
        sender.send((cpus, std::thread::current().name().map(String::from))).unwrap();
        Ok::<_, ()>(Probe::new().0)
    })
    .unwrap();
    assert_eq!(seen.recv().unwrap(), (vec![cpu.0], Some("annulus-7".into())));
    assert_eq!(reactor.cpu(), cpu);
    reactor.stop();
    reactor.join().unwrap();
}

#[test]
fn a_cpu_that_is_not_there_is_an_error_and_builds_nothing() {
    let config = Config::new(Cpu(1023), "nowhere", IdlePolicy::Spin);
    let result = spawn(config, || -> Result<Probe, ()> { unreachable!("no thread may start") });
    let text = result.map(drop).unwrap_err();
    assert!(matches!(text, SpawnError::Cpu(CpuError::Missing { cpu: Cpu(1023), .. })), "{text:?}");
}

#[test]
fn an_error_of_the_build_reaches_the_spawner() {
    let build = || Err::<Probe, _>("no such disk");
    let error = spawn(Config::new(a_cpu(), "broken", IdlePolicy::Spin), build).map(drop).unwrap_err();
    assert_eq!(error.to_string(), "no such disk");
    assert!(matches!(error, SpawnError::Build("no such disk")));
}

#[test]
fn a_build_that_panics_is_an_error() {
    let build = || -> Result<Probe, ()> { std::panic::resume_unwind(Box::new(())) };
    let error = spawn(Config::new(a_cpu(), "broken", IdlePolicy::Spin), build).map(drop).unwrap_err();
    assert!(matches!(error, SpawnError::Panicked(Panicked(cpu)) if cpu == a_cpu()));
}

#[test]
fn a_stop_handles_what_was_posted_before_and_drains() {
    let (mut probe, seen) = Probe::new();
    probe.drains = 3;
    let config = Config { mailbox_len: 200, ..Config::new(a_cpu(), "probe", IdlePolicy::Sleep) };
    let reactor = spawn(config, move || Ok::<_, ()>(probe)).unwrap();
    let handle = reactor.handle();
    for number in 0..200 {
        handle.post(number).unwrap();
    }
    reactor.stop();
    // A stop that is not drained yet leaves it asleep; waking it lets it ask again.
    while !reactor.is_ended() {
        handle.wake();
        std::thread::yield_now();
    }
    reactor.join().unwrap();
    let messages: Vec<_> = seen.iter().filter(|event| matches!(event, Event::Message(_))).collect();
    assert_eq!(messages, (0..200).map(Event::Message).collect::<Vec<_>>());
    assert_eq!(handle.try_post(1), Err(1));
}

#[test]
fn the_context_is_gone_when_the_reactor_has_ended() {
    let (probe, seen) = Probe::new();
    let reactor = start(IdlePolicy::Sleep, probe);
    assert!(!reactor.is_ended() && !reactor.wait_until(Instant::now()));
    reactor.stop();
    assert!(reactor.wait_until(Instant::now() + Duration::from_secs(60)));
    assert_eq!(seen.try_iter().last(), Some(Event::Dropped));
    assert!(reactor.handle().is_closed());
}

#[test]
fn dropping_a_reactor_stops_it() {
    let (probe, seen) = Probe::new();
    drop(start(IdlePolicy::Sleep, probe));
    until(&seen, Event::Dropped);
}

#[test]
fn messages_of_each_sender_arrive_in_order() {
    const EACH: u64 = 5000;
    let (probe, seen) = Probe::new();
    let config = Config { mailbox_len: 16, ..Config::new(a_cpu(), "probe", IdlePolicy::Sleep) };
    let reactor = spawn(config, move || Ok::<_, ()>(probe)).unwrap();
    let senders: Vec<_> = (0..2)
        .map(|sender| {
            let handle = reactor.handle();
            std::thread::spawn(move || (0..EACH).try_for_each(|number| handle.post(sender * EACH + number)))
        })
        .collect();
    let mut expected = [0, EACH];
    while expected != [EACH, 2 * EACH] {
        if let Event::Message(number) = next(&seen) {
            let sender = usize::from(number >= EACH);
            assert_eq!(number, expected[sender]);
            expected[sender] += 1;
        }
    }
    senders.into_iter().for_each(|sender| sender.join().unwrap().unwrap());
    // A message is counted after it was handled: only the end of the reactor is surely behind both.
    let handle = reactor.handle();
    reactor.stop();
    reactor.join().unwrap();
    assert_eq!(handle.load().messages, 2 * EACH);
}

#[test]
fn a_full_mailbox_does_not_keep_the_context_from_being_polled() {
    let (probe, seen) = Probe::new();
    let shared = Arc::new(Shared::new(100).unwrap());
    let handle = Handle(Arc::clone(&shared));
    (0..100).try_for_each(|number| handle.try_post(number)).unwrap();
    let mut runner = Runner { context: probe, shared, idle: IdlePolicy::Spin, stopping: false };
    let mut handled = Vec::new();
    for pass in 1..=4 {
        assert_eq!(runner.pass(0), Some(Progress::Busy));
        assert_eq!(runner.context.polls, pass);
        handled.push(seen.try_iter().count());
    }
    assert_eq!(handled, [MESSAGES_PER_PASS, MESSAGES_PER_PASS, MESSAGES_PER_PASS, 100 - 3 * MESSAGES_PER_PASS]);
    assert_eq!(runner.pass(0), Some(Progress::Idle));
}

/// Panics at its first message.
struct Bomb(#[expect(dead_code, reason = "held for its drop")] Pass);

impl Context for Bomb {
    type Message = Pass;
    fn message(&mut self, _message: Pass) {
        std::panic::resume_unwind(Box::new(()));
    }
    fn poll(&mut self, _now_ns: u64) -> Progress {
        Progress::Idle
    }
}

#[test]
fn a_context_that_panics_leaves_nobody_waiting() {
    let (gate, passes) = Gate::new(3);
    let passes = Mutex::new(passes);
    let take = move || passes.lock().unwrap().pop().unwrap();
    let own = take();
    let build = move || Ok::<_, ()>(Bomb(own));
    let reactor = spawn(Config::new(a_cpu(), "bomb", IdlePolicy::Sleep), build).unwrap();
    let handle = reactor.handle();
    for _ in 0..2 {
        // The second may find it ended already.
        let _ = handle.try_post(take());
    }
    assert!(gate.wait_until(Instant::now() + Duration::from_secs(60)));
    assert_eq!(reactor.join(), Err(Panicked(a_cpu())));
}

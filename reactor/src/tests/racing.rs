//! Work of every kind, on real threads and descriptors, that comes at the very moment when a reactor falls asleep. A wake-up
//! that is lost leaves its poster waiting.

use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};

use super::*;

/// Pieces of work of each poster.
const ROUNDS: u64 = 8_000;
/// Longest pause of a poster, as a power of two of turns of a loop: much longer than it takes to fall asleep.
const PAUSE_MAX_LOG2: u64 = 12;
/// Looks of a poster at what was seen before it lets others run.
const LOOKS: u32 = 2000;
/// A poster that has waited so long has lost a wake-up.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// Ways to give a reactor work.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Message,
    /// Memory that the reactor polls, and then a doorbell.
    Doorbell,
    /// A descriptor that becomes readable, as with a completion.
    Completion,
}

const KINDS: [Kind; 3] = [Kind::Message, Kind::Doorbell, Kind::Completion];

/// What posters and the reactor share.
struct Shared {
    /// Stands for a ring in guest memory: pieces made available.
    available: AtomicU64,
    fd: OwnedFd,
    /// Pieces that the reactor has seen, by kind.
    seen: [AtomicU64; 3],
}

/// Counts what it sees.
struct Counter {
    shared: Arc<Shared>,
    /// Pieces of the ring that it has taken.
    taken: u64,
}

impl Counter {
    fn see(&self, kind: Kind, count: u64) {
        self.shared.seen[kind as usize].fetch_add(count, Ordering::Release);
    }
}

impl Context for Counter {
    type Message = ();

    fn message(&mut self, (): ()) {
        self.see(Kind::Message, 1);
    }

    fn poll(&mut self, _now_ns: u64) -> Progress {
        let available = self.shared.available.load(Ordering::Acquire);
        let rung = available - self.taken;
        self.taken = available;
        self.see(Kind::Doorbell, rung);
        let mut completed = [0; 8];
        let completed = rustix::io::read(&self.shared.fd, &mut completed).map_or(0, |_| u64::from_ne_bytes(completed));
        self.see(Kind::Completion, completed);
        Progress::from_busy(rung + completed > 0)
    }

    fn arm(&mut self) -> bool {
        // The fence of the reactor's flag stands for that of a real ring's.
        self.shared.available.load(Ordering::Relaxed) == self.taken
    }

    fn wake_fds<'a>(&'a self, fds: &mut WakeFds<'a>) {
        fds.push(self.shared.fd.as_fd());
    }
}

/// Posts one piece of work after the other, each when the last one was seen and a pause of any length has passed.
fn post(kind: Kind, shared: &Shared, handle: &Handle<()>) {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64 ^ kind as u64;
    for round in 1..=ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let longest = 1 << ((random >> 59) % PAUSE_MAX_LOG2);
        (0..(random >> 33) % longest).for_each(|turn| _ = std::hint::black_box(turn));
        match kind {
            Kind::Message => handle.post(()).expect("the reactor lives"),
            Kind::Doorbell => {
                shared.available.fetch_add(1, Ordering::Release);
                handle.wake();
            }
            Kind::Completion => _ = rustix::io::write(&shared.fd, &1_u64.to_ne_bytes()).expect("an eventfd"),
        }
        let (start, mut looks) = (Instant::now(), 0);
        while shared.seen[kind as usize].load(Ordering::Acquire) < round {
            looks += 1;
            if looks % LOOKS == 0 {
                assert!(start.elapsed() < LOST_AFTER, "{kind:?} {round} was lost");
                std::thread::yield_now();
            }
        }
    }
}

/// Lets posters of these kinds loose on one reactor.
fn race(kinds: &[Kind], idle: IdlePolicy) {
    let fd = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
    let shared = Arc::new(Shared { available: AtomicU64::new(0), fd, seen: Default::default() });
    let counter = Counter { shared: Arc::clone(&shared), taken: 0 };
    let reactor = spawn(Config::new(a_cpu(), "counter", idle), move || Ok::<_, ()>(counter)).unwrap();
    let handle = reactor.handle();
    std::thread::scope(|scope| {
        for &kind in kinds {
            let (shared, handle) = (&shared, &handle);
            scope.spawn(move || post(kind, shared, handle));
        }
    });
    reactor.stop();
    reactor.join().unwrap();
    assert!(handle.load().sleeps > 0, "there was no race");
}

#[test]
fn no_wake_up_is_lost_that_meets_the_reactor_falling_asleep() {
    for kind in KINDS {
        race(&[kind], IdlePolicy::Sleep);
    }
    race(&KINDS, IdlePolicy::Sleep);
    race(&KINDS, IdlePolicy::Adaptive { spin_ns: 2000 });
}

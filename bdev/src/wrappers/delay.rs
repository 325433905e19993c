//! The wrapper that makes a device slow: each operation waits for a fixed time before the device inside gets it.
//!
//! Owns the operations that wait, in one queue for each kind: as a kind has one delay, its queue is in the order of time.
//! Operations whose times come together go on in the order in which they came. The completion is the inner channel's own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::{Bdev, Channel, Completion, Io, SubmitError, Tag};
use crate::error::OpenError;
use crate::info::Info;
use crate::op::{IoError, Op, OpKind};
use crate::wanted::{Key, Keys, ReadWrapper, Wrapper, WrapperKind, units};

use super::{Around, Wrapped};

/// A delay as a user writes it.
pub(crate) const KIND: WrapperKind = WrapperKind {
    keys: &[
        Key { name: "delay", form: "delay=TIME", help: "answer each operation late, for tests: 5ms, 60s" },
        Key {
            name: "cancel",
            form: "cancel=yes|no",
            help: "whether a delayed operation can be cancelled, for tests (default: yes)",
        },
    ],
    read,
};

#[derive(Debug)]
struct Late {
    delay: Duration,
    cancels: bool,
}

fn read(keys: &mut Keys) -> ReadWrapper {
    let cancels = keys.choice("cancel", &[("yes", true), ("no", false)])?;
    match keys.take("delay") {
        Some(text) => Ok(Some(Arc::new(Late { delay: units::parse_duration(&text)?, cancels }))),
        None if cancels => Ok(None),
        None => Err("cancel=no needs a delay (delay=60s,cancel=no)".into()),
    }
}

impl Wrapper for Late {
    fn wrap(&self, inner: Arc<dyn Bdev>) -> Result<Arc<dyn Bdev>, OpenError> {
        let late = DelayBdev::new(inner, Delays::all(self.delay));
        Ok(Arc::new(if self.cancels { late } else { late.without_cancel() }))
    }
}

/// How long each kind of operation waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delays {
    /// Before a read.
    pub read: Duration,
    /// Before a write.
    pub write: Duration,
    /// Before a flush.
    pub flush: Duration,
}

impl Delays {
    /// The same for all.
    pub const fn all(delay: Duration) -> Self {
        Self { read: delay, write: delay, flush: delay }
    }

    fn of(&self, kind: OpKind) -> (usize, Duration) {
        match kind {
            OpKind::Read | OpKind::Verify | OpKind::Compare | OpKind::Prefetch | OpKind::Extents => (0, self.read),
            OpKind::Flush => (2, self.flush),
            OpKind::Write { .. }
            | OpKind::WriteAtomic { .. }
            | OpKind::Unmap
            | OpKind::WriteZeroes { .. }
            | OpKind::Anchor { .. } => (1, self.write),
        }
    }
}

/// A device that answers late.
#[derive(Debug)]
pub struct DelayBdev {
    info: Info,
    inner: Arc<dyn Bdev>,
    delays: Delays,
    cancels: bool,
}

impl DelayBdev {
    /// `inner`, slowed down.
    pub fn new(inner: Arc<dyn Bdev>, delays: Delays) -> Self {
        let mut info = inner.info().clone();
        let Delays { read, write, flush } = delays;
        info.description =
            format!("{}, delayed: reads {read:?}, writes {write:?}, flushes {flush:?}", info.description);
        Self { info, inner, delays, cancels: true }
    }

    /// The same, and what waits cannot be cancelled: a disk that neither answers nor lets go.
    pub fn without_cancel(mut self) -> Self {
        self.cancels = false;
        self.info.description.push_str(", not to be cancelled");
        self
    }
}

impl Bdev for DelayBdev {
    fn info(&self) -> &Info {
        &self.info
    }

    fn inside(&self) -> Option<&dyn Bdev> {
        Some(&*self.inner)
    }

    fn resized(&self) -> Result<Option<Arc<dyn Bdev>>, OpenError> {
        let Some(inner) = self.inner.resized()? else { return Ok(None) };
        let late = Self::new(inner, self.delays);
        Ok(Some(Arc::new(if self.cancels { late } else { late.without_cancel() })))
    }

    fn channel(&self, io: &mut Io) -> std::io::Result<Box<dyn Channel>> {
        let inner = self.inner.channel(io)?;
        let waiting = std::array::from_fn(|_| VecDeque::with_capacity(io.channel_max()));
        let (delays, cancels) = (self.delays, self.cancels);
        Ok(Box::new(Wrapped(DelayChannel { inner, delays, cancels, waiting, next_order: 0 })))
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiting {
    due_ns: u64,
    /// Order of arrival.
    order: u64,
    op: Op,
    tag: Tag,
}

struct DelayChannel {
    inner: Box<dyn Channel>,
    delays: Delays,
    /// What waits can be cancelled.
    cancels: bool,
    /// Reads, writes, flushes: each oldest first.
    waiting: [VecDeque<Waiting>; 3],
    next_order: u64,
}

impl DelayChannel {
    /// The queue whose first operation is due next.
    fn next_queue(&self) -> Option<(usize, u64)> {
        let heads = self.waiting.iter().enumerate().filter_map(|(at, queue)| queue.front().map(|head| (at, head)));
        heads.min_by_key(|(_, head)| (head.due_ns, head.order)).map(|(at, head)| (at, head.due_ns))
    }
}

impl Around for DelayChannel {
    fn inner(&self) -> &dyn Channel {
        &*self.inner
    }

    fn inner_mut(&mut self) -> &mut dyn Channel {
        &mut *self.inner
    }

    fn accept(&mut self, io: &mut Io, op: &Op, tag: Tag) -> Result<(), SubmitError> {
        let (queue, delay) = self.delays.of(op.kind);
        if delay.is_zero() {
            return self.inner.submit(io, op, tag);
        }
        io.admit(self.inner.id())?;
        let due_ns = io.now_ns().saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
        self.waiting[queue].push_back(Waiting { due_ns, order: self.next_order, op: *op, tag });
        self.next_order += 1;
        Ok(())
    }

    fn call_back(&mut self, io: &mut Io, tag: Tag) {
        for queue in self.waiting.iter_mut().filter(|_| self.cancels) {
            if let Some(at) = queue.iter().position(|waiting| waiting.tag == tag) {
                queue.remove(at);
                io.complete(self.inner.id(), Completion { tag, result: Err(IoError::Cancelled) });
                return;
            }
        }
        self.inner.cancel(io, tag);
    }

    fn is_timed(&self) -> bool {
        true
    }

    fn do_what_is_due(&mut self, io: &mut Io) -> usize {
        let mut done = 0;
        while let Some((queue, due_ns)) = self.next_queue()
            && due_ns <= io.now_ns()
        {
            let head = self.waiting[queue][0];
            // The inner channel counts the operation from here on, under the same name.
            io.release(self.inner.id());
            if self.inner.submit(io, &head.op, head.tag).is_err() {
                io.admit(self.inner.id()).expect("the room that was just released");
                break;
            }
            self.waiting[queue].pop_front();
            done += 1;
        }
        done + self.inner.poll(io)
    }

    fn due_ns(&self) -> Option<u64> {
        let own = self.next_queue().map(|(_, due_ns)| due_ns);
        own.into_iter().chain(self.inner.next_deadline_ns()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::IoConfig;
    use crate::null::NullBdev;
    use crate::segment::SegmentSlice;

    const READ: Op = Op { kind: OpKind::Read, offset: 0, len: 0, segments: SegmentSlice::EMPTY };
    const WRITE: Op = Op { kind: OpKind::Write { fua: false }, ..READ };

    fn open(delays: Delays, reserve: u32) -> (Io, Box<dyn Channel>) {
        let bdev = DelayBdev::new(Arc::new(NullBdev::new(1 << 20, 512).unwrap()), delays);
        let mut io = Io::new(IoConfig { entries: 1, reserve, ..IoConfig::default() });
        let channel = bdev.channel(&mut io).unwrap();
        (io, channel)
    }

    fn collect(io: &mut Io) -> Vec<(u64, Result<(), IoError>)> {
        std::iter::from_fn(|| io.next_completion()).map(|completion| (completion.tag.0, completion.result)).collect()
    }

    #[test]
    fn an_operation_goes_on_when_its_time_has_come_and_not_before() {
        let minute = Duration::from_secs(60);
        let (mut io, mut channel) = open(Delays::all(minute), 8);
        io.set_now_ns(5);
        channel.submit(&mut io, &READ, Tag(1)).unwrap();
        assert_eq!(channel.next_deadline_ns(), Some(60_000_000_005));
        io.set_now_ns(60_000_000_004);
        assert_eq!((channel.poll(&mut io), io.in_flight()), (0, 1));
        io.set_now_ns(60_000_000_005);
        assert_eq!(channel.poll(&mut io), 1);
        assert_eq!(collect(&mut io), [(1, Ok(()))]);
        assert_eq!((channel.next_deadline_ns(), io.in_flight()), (None, 0));
    }

    #[test]
    fn kinds_have_their_own_delays_and_equal_times_keep_the_order_of_arrival() {
        let delays = Delays { read: Duration::from_nanos(10), write: Duration::from_nanos(4), flush: Duration::ZERO };
        let (mut io, mut channel) = open(delays, 8);
        channel.submit(&mut io, &READ, Tag(1)).unwrap();
        channel.submit(&mut io, &READ, Tag(2)).unwrap();
        channel.submit(&mut io, &Op::FLUSH, Tag(3)).unwrap();
        assert_eq!(collect(&mut io), [(3, Ok(()))]);
        io.set_now_ns(6);
        channel.submit(&mut io, &WRITE, Tag(4)).unwrap();
        io.set_now_ns(7);
        channel.submit(&mut io, &WRITE, Tag(5)).unwrap();
        io.set_now_ns(10);
        assert_eq!(channel.poll(&mut io), 3);
        assert_eq!(collect(&mut io), [(1, Ok(())), (2, Ok(())), (4, Ok(()))]);
        assert_eq!(channel.next_deadline_ns(), Some(11));
    }

    #[test]
    fn a_cancelled_operation_ends_at_once_and_only_once() {
        let (mut io, mut channel) = open(Delays::all(Duration::from_secs(60)), 8);
        channel.submit(&mut io, &READ, Tag(1)).unwrap();
        channel.submit(&mut io, &READ, Tag(2)).unwrap();
        channel.cancel(&mut io, Tag(1));
        channel.cancel(&mut io, Tag(1));
        assert_eq!(collect(&mut io), [(1, Err(IoError::Cancelled))]);
        io.set_now_ns(u64::MAX);
        channel.poll(&mut io);
        assert_eq!(collect(&mut io), [(2, Ok(()))]);
    }

    #[test]
    fn what_waits_without_cancel_waits_on() {
        let null = Arc::new(NullBdev::new(1 << 20, 512).unwrap());
        let bdev = DelayBdev::new(null, Delays::all(Duration::from_secs(60))).without_cancel();
        let mut io = Io::default();
        let mut channel = bdev.channel(&mut io).unwrap();
        channel.submit(&mut io, &READ, Tag(1)).unwrap();
        channel.cancel(&mut io, Tag(1));
        assert_eq!((collect(&mut io), io.in_flight()), (vec![], 1));
        io.set_now_ns(60_000_000_000);
        channel.poll(&mut io);
        assert_eq!(collect(&mut io), [(1, Ok(()))]);
    }

    #[test]
    fn what_waits_counts_against_the_room_of_the_core() {
        let (mut io, mut channel) = open(Delays::all(Duration::from_nanos(1)), 1);
        channel.submit(&mut io, &READ, Tag(1)).unwrap();
        channel.submit(&mut io, &READ, Tag(2)).unwrap();
        assert_eq!(channel.submit(&mut io, &READ, Tag(3)), Err(SubmitError::Full));
        io.set_now_ns(1);
        assert_eq!(channel.poll(&mut io), 2);
        assert_eq!(channel.submit(&mut io, &READ, Tag(3)), Err(SubmitError::Full));
        assert_eq!(collect(&mut io).len(), 2);
        channel.submit(&mut io, &READ, Tag(3)).unwrap();
    }

    #[test]
    fn a_delay_without_end_is_no_overflow() {
        let (mut io, mut channel) = open(Delays::all(Duration::MAX), 2);
        io.set_now_ns(7);
        channel.submit(&mut io, &READ, Tag(1)).unwrap();
        assert_eq!(channel.next_deadline_ns(), Some(u64::MAX));
    }
}

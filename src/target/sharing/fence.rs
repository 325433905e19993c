//! Ranges of a disk that a command has for itself: while it reads and writes there, nobody else does, on whatever controller
//! (SBC-4, COMPARE AND WRITE: an uninterrupted series of actions).
//!
//! Who is granted a range first *fences* the disk: the word that each command looks at anyway says so at every logical unit
//! that is this disk. Then each reactor is asked to tell when the operations have ended that it began in the range before it
//! could know. An operation that begins later looks whether it touches a range that somebody has, and waits if so. So nobody
//! pays for ranges that nobody has.
//!
//! No command waits for ever: as long as operations wait, no further range is granted, and none waits that is in no range. Who
//! wants a range stands in a line: the first one is the next who is granted his.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use reactor::Handle;

use super::super::message::Message;
use super::super::roll_call::RollCall;
use super::Sharing;

/// Bytes of a stripe. A disk is cut into stripes, and the stripes are dealt to 64 bits in turn: one bit stands for every 64th
/// stripe. Two ranges may share a bit and no byte; then one waits for the other without need.
const STRIPE_BYTES: u64 = 64 << 10;

/// A set of stripes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stripes(u64);

/// Which ranges of one disk are somebody's, as everybody may look at it. Changed under the lock of the [`Sharing`].
#[derive(Debug, Default)]
pub(super) struct Fence {
    locked: AtomicU64,
    /// Operations that wait.
    waiting: AtomicUsize,
    /// Who is the first in the line; 0 if there is nobody.
    first: AtomicU64,
}

/// Those who want a range, in the order in which they came, by a number that nobody else ever had. Each finds its own place.
#[derive(Debug, Default)]
pub(super) struct Line {
    places: BTreeSet<u64>,
    /// How many there have been.
    count: u64,
}

/// A place in the line of those who want a range, until it is granted or this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    sharing: Arc<Sharing>,
    stripes: Stripes,
    number: u64,
}

/// A range that a command has for itself, as soon as it is granted: until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    sharing: Arc<Sharing>,
    stripes: Stripes,
    others: Others,
}

/// The operations that reactors had begun on a part of a disk when they were asked, as long as somebody wants to know of them.
#[derive(Debug)]
pub(crate) struct Others {
    call: RollCall,
    /// Who was asked sees when this has gone, and nobody waits.
    _wish: Arc<()>,
}

/// What a reactor is asked of: operations in flight on a part of a disk, as long as somebody wants to know.
#[derive(Debug)]
pub(crate) struct Range {
    sharing: Arc<Sharing>,
    stripes: Stripes,
    /// It is also about operations that were made ready and wait, for room or for a [`Lock`].
    holds_waiting: bool,
    wish: Weak<()>,
}

/// An operation that waits for the end of a [`Lock`].
#[derive(Debug)]
pub(crate) struct Waiter {
    sharing: Arc<Sharing>,
    stripes: Stripes,
}

impl Stripes {
    /// Those of a range of bytes.
    pub(crate) fn of(offset: u64, len: u64) -> Self {
        let Some(last_byte) = len.checked_sub(1) else { return Self(0) };
        let (first, last) = (offset / STRIPE_BYTES, offset.saturating_add(last_byte) / STRIPE_BYTES);
        let count = last - first + 1;
        if count >= u64::BITS.into() {
            return Self(u64::MAX);
        }
        Self(((1 << count) - 1_u64).rotate_left((first % u64::from(u64::BITS)) as u32))
    }

    /// Whether they have one in common.
    pub(crate) fn touch(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Range {
    /// Whether an operation on these bytes of a disk is in it.
    pub(crate) fn holds(&self, sharing: &Arc<Sharing>, offset: u64, len: u64) -> bool {
        Arc::ptr_eq(sharing, &self.sharing) && Stripes::of(offset, len).touch(self.stripes)
    }

    /// Whether it is also about operations that are not with the disk yet.
    pub(crate) fn holds_waiting(&self) -> bool {
        self.holds_waiting
    }

    /// Whether the command that wanted to know has ended, or is put back.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.wish.strong_count() == 0
    }
}

impl Fence {
    fn locked(&self) -> Stripes {
        Stripes(self.locked.load(Ordering::Acquire))
    }

    /// Whether somebody has a range.
    pub(super) fn is_up(&self) -> bool {
        self.locked().0 != 0
    }

    /// The line has changed.
    fn look(&self, line: &Line) {
        self.first.store(line.places.first().copied().unwrap_or_default(), Ordering::Release);
    }
}

impl Sharing {
    /// A place in the line, for a command that wants the `len` bytes at `offset` for itself.
    pub(crate) fn claim(self: &Arc<Self>, offset: u64, len: u64) -> Claim {
        let mut state = self.state();
        state.line.count += 1;
        let number = state.line.count;
        state.line.places.insert(number);
        self.fence.look(&state.line);
        drop(state);
        Claim { sharing: self.clone(), stripes: Stripes::of(offset, len), number }
    }

    /// All operations on the disk that are as they were made ready before something changed that each looks at: a mode.
    pub(crate) fn begun(self: &Arc<Self>) -> Others {
        let reactors = self.state().reactors.clone();
        Others::ask(self, &reactors, Stripes(u64::MAX), true)
    }

    /// A place among those who wait, for an operation on these bytes; none if it need not wait.
    pub(crate) fn wait_for(self: &Arc<Self>, offset: u64, len: u64) -> Option<Waiter> {
        let stripes = Stripes::of(offset, len);
        self.fence.locked().touch(stripes).then(|| {
            self.fence.waiting.fetch_add(1, Ordering::AcqRel);
            Waiter { sharing: self.clone(), stripes }
        })
    }

    /// A reactor that may have operations on the disk.
    pub(super) fn add_reactors(known: &mut Vec<Handle<Message>>, reactors: &[Handle<Message>]) {
        for reactor in reactors {
            if !known.iter().any(|other| other.is_same(reactor)) {
                known.push(reactor.clone());
            }
        }
    }
}

impl Claim {
    /// The range, for one command; none if somebody has any of it, operations wait, or others came before.
    pub(crate) fn lock(&self) -> Option<Lock> {
        let (sharing, stripes, fence) = (&self.sharing, self.stripes, &self.sharing.fence);
        let is_first = fence.first.load(Ordering::Acquire) == self.number;
        let is_closed = || fence.locked().touch(stripes) || fence.waiting.load(Ordering::Acquire) > 0;
        // Who tries again does so in each pass: the lock is for those who have a chance.
        if !is_first || is_closed() {
            return None;
        }
        let mut state = sharing.state();
        if is_closed() {
            return None;
        }
        state.line.places.remove(&self.number);
        fence.look(&state.line);
        let before = fence.locked.fetch_or(stripes.0, Ordering::AcqRel);
        if before == 0 {
            state.living().for_each(|(_, standing)| standing.set_fenced(fence.is_up()));
        }
        let reactors = state.reactors.clone();
        drop(state);
        // After the mark: who has answered begins nothing in the range.
        let others = Others::ask(sharing, &reactors, stripes, false);
        Some(Lock { sharing: sharing.clone(), stripes, others })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.sharing.state();
        if state.line.places.remove(&self.number) {
            self.sharing.fence.look(&state.line);
        }
    }
}

impl Lock {
    /// Whether nobody else has an operation in the range any more.
    pub(crate) fn is_granted(&mut self) -> bool {
        self.others.have_ended()
    }
}

impl Others {
    fn ask(sharing: &Arc<Sharing>, reactors: &[Handle<Message>], stripes: Stripes, holds_waiting: bool) -> Self {
        let wish = Arc::new(());
        let call = RollCall::new(reactors, |pass| {
            let range = Range { sharing: sharing.clone(), stripes, holds_waiting, wish: Arc::downgrade(&wish) };
            Message::Fence { range, pass }
        });
        Self { call, _wish: wish }
    }

    /// Whether none of them is left.
    pub(crate) fn have_ended(&mut self) -> bool {
        self.call.is_over()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let state = self.sharing.state();
        let fence = &self.sharing.fence;
        fence.locked.fetch_and(!self.stripes.0, Ordering::AcqRel);
        if !fence.is_up() {
            state.living().for_each(|(_, standing)| standing.set_fenced(false));
        }
    }
}

impl Waiter {
    /// Whether it still has to wait.
    pub(crate) fn must_wait(&self) -> bool {
        self.sharing.fence.locked().touch(self.stripes)
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.sharing.fence.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::disk::{Disk, DiskIndex};
    use super::*;

    fn sharing() -> Arc<Sharing> {
        let bdev = Arc::new(bdev::NullBdev::new(1 << 40, 512).unwrap());
        Disk::of(bdev, DiskIndex(0)).sharing.clone()
    }

    #[test]
    fn ranges_become_stripes() {
        for (offset, len, expected) in [
            (0, 0, 0),
            (0, 1, 1),
            (65535, 1, 1),
            (65535, 2, 3),
            (65536, 65536, 2),
            (63 * 65536, 65537, 1 << 63 | 1),
            (64 * 65536, 1, 1),
            (5, 63 * 65536, u64::MAX),
            (0, u64::MAX, u64::MAX),
            (u64::MAX, 2, 1 << 63),
        ] {
            assert_eq!(Stripes::of(offset, len), Stripes(expected), "{len} at {offset}");
        }
    }

    impl Sharing {
        /// A range for somebody who does not stay in the line.
        fn lock(self: &Arc<Self>, offset: u64, len: u64) -> Option<Lock> {
            self.claim(offset, len).lock()
        }
    }

    #[test]
    fn who_came_first_is_served_first() {
        let sharing = sharing();
        let small = sharing.lock(0, 512).unwrap();
        let (large, late) = (sharing.claim(0, 1 << 30), sharing.claim(131_072, 512));
        assert!(large.lock().is_none() && late.lock().is_none(), "who wants much is not overtaken");
        let given_up = sharing.claim(0, 512);
        drop(small);
        assert!(late.lock().is_none() && given_up.lock().is_none());
        let lock = large.lock().expect("it is its turn");
        assert!(large.lock().is_none(), "once");
        assert!(late.lock().is_none());
        drop((lock, large, given_up));
        assert!(late.lock().is_some());
        assert!(sharing.lock(131_072, 512).is_some(), "the line is empty again");
    }

    #[test]
    fn a_range_has_one_owner() {
        let sharing = sharing();
        let lock = sharing.lock(0, 100_000).unwrap();
        assert!(sharing.lock(65536, 512).is_none());
        let other = sharing.lock(131_072, 512).expect("nobody has it");
        drop(lock);
        assert!(sharing.lock(65536, 512).is_some());
        assert!(sharing.lock(0, 1 << 30).is_none(), "the other is still there");
        drop(other);
        assert!(sharing.lock(0, 1 << 30).is_some());
    }

    #[test]
    fn operations_wait_for_their_range_alone_and_owners_to_be_for_operations() {
        let sharing = sharing();
        assert!(sharing.wait_for(0, 512).is_none());
        let lock = sharing.lock(0, 512).unwrap();
        assert!(sharing.wait_for(65536, 512).is_none() && sharing.wait_for(0, 0).is_none());
        let waiter = sharing.wait_for(512, 512).expect("it is in the same stripe");
        assert!(waiter.must_wait() && sharing.lock(65536, 512).is_none());
        drop(lock);
        assert!(!waiter.must_wait() && sharing.lock(0, 512).is_none(), "it is its turn");
        drop(waiter);
        assert!(sharing.lock(0, 512).is_some());
    }
}

//! Tokens that stand for blocks of a disk: whoever is about to change such a block, on whatever controller, cancels them first.
//!
//! While there are some, the word that each command looks at anyway says so at every logical unit that is this disk. So nobody
//! pays for tokens that are not there. A write that is in flight when a token is made comes before it or after it, as any two
//! commands of which none waits for the other.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use crate::scsi::Rod;

use super::{Sharing, State};

impl Sharing {
    /// Watches the blocks of a token until nobody can use it any more.
    pub(crate) fn watch(&self, rod: &Arc<Rod>, now_ms: u64) {
        let mut state = self.state();
        state.drop_useless();
        if !state.watched.iter().any(|other| std::ptr::eq(other.as_ptr(), Arc::as_ptr(rod))) {
            state.watched.push(Arc::downgrade(rod));
        }
        self.watched_until_ms.fetch_max(now_ms.saturating_add(rod.timeout_ms).max(1), Ordering::AcqRel);
        state.living().for_each(|(_, standing)| standing.set_watched(true));
    }

    /// A command begins on a logical unit where tokens are watched. If it is about to write, these bytes of the disk.
    pub(crate) fn heed(&self, change: Option<(u64, u64)>, now_ms: u64) {
        if change.is_none() && now_ms <= self.watched_until_ms.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state();
        // What nobody has used until now has expired, and stays so.
        let is_over = now_ms > self.watched_until_ms.load(Ordering::Acquire);
        let concerns = |rod: &Rod| is_over || change.is_some_and(|(offset, len)| rod.overlaps(offset, len));
        let rods = state.watched.iter().filter_map(Weak::upgrade);
        rods.filter(|rod| concerns(rod)).for_each(|rod| rod.cancel());
        state.drop_useless();
        if state.watched.is_empty() {
            self.watched_until_ms.store(0, Ordering::Release);
            state.living().for_each(|(_, standing)| standing.set_watched(false));
        }
    }

    /// Bytes of the disk are about to change.
    pub(crate) fn change(&self, offset: u64, len: u64) {
        if self.watched_until_ms.load(Ordering::Acquire) > 0 {
            self.heed(Some((offset, len)), 0);
        }
    }
}

impl State {
    /// Forgets tokens that are of no use any more.
    fn drop_useless(&mut self) {
        self.watched.retain(|rod| rod.upgrade().is_some_and(|rod| !rod.is_cancelled()));
    }
}

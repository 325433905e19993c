//! When a core that waits for the kernel offers its CPU to others.
//!
//! A device whose work is done by threads of the kernel, as a loop device or a file system that cannot start without waiting,
//! may have no other CPU than that of the core which polls for it. Such threads are done soon. Whoever keeps the CPU for long
//! twice in a row is a stranger, to whom nothing is offered for a while: a core must not starve on its own CPU. Once is no sign:
//! in a virtual machine the CPU itself is gone at times.

use std::time::{Duration, Instant};

/// Passes in vain between two offers.
const VAIN_PASSES_MAX: u32 = 16;
/// Who keeps the CPU longer than this is a stranger.
const STRANGER: Duration = Duration::from_millis(1);
/// A stranger gets at most one part in so many of the core's time.
const SHARE: u32 = 50;

#[derive(Debug, Default)]
pub(crate) struct Courtesy {
    vain_passes: u32,
    not_before: Option<Instant>,
    /// The last offer was taken for long.
    is_suspicious: bool,
}

impl Courtesy {
    /// Counts a pass in vain. True if the CPU is to be offered now; [`Courtesy::took`] follows.
    #[inline]
    pub(crate) fn is_due(&mut self, now: impl FnOnce() -> Instant) -> bool {
        self.vain_passes += 1;
        if self.vain_passes < VAIN_PASSES_MAX {
            return false;
        }
        self.vain_passes = 0;
        self.not_before.is_none_or(|not_before| now() >= not_before)
    }

    /// The CPU was gone from `began` to `ended`.
    pub(crate) fn took(&mut self, began: Instant, ended: Instant) {
        let gone = ended.saturating_duration_since(began);
        let was_long = gone > STRANGER;
        let again = std::mem::replace(&mut self.is_suspicious, was_long);
        self.not_before = (was_long && again).then(|| ended + gone * SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many offers there are in `passes` in vain at `now`.
    fn offers(courtesy: &mut Courtesy, passes: u32, now: Instant) -> u32 {
        (0..passes).map(|_| u32::from(courtesy.is_due(|| now))).sum()
    }

    #[test]
    fn an_offer_comes_after_some_passes_in_vain() {
        let (mut courtesy, now) = (Courtesy::default(), Instant::now());
        assert_eq!(offers(&mut courtesy, VAIN_PASSES_MAX - 1, now), 0);
        assert_eq!(offers(&mut courtesy, 1, now), 1);
        courtesy.took(now, now + STRANGER);
        assert_eq!(offers(&mut courtesy, 10 * VAIN_PASSES_MAX, now), 10);
    }

    #[test]
    fn a_stranger_gets_a_small_share() {
        let (mut courtesy, now) = (Courtesy::default(), Instant::now());
        let (gone, one) = (STRANGER * 3, Duration::from_nanos(1));
        courtesy.took(now, now + gone);
        assert_eq!(offers(&mut courtesy, VAIN_PASSES_MAX, now + gone), 1, "once is no sign");
        courtesy.took(now + gone, now + gone * 2);
        let again = now + gone * 2 + gone * SHARE;
        assert_eq!(offers(&mut courtesy, 1000, again - one), 0);
        assert_eq!(offers(&mut courtesy, VAIN_PASSES_MAX, again), 1);
        courtesy.took(again, again + gone);
        assert_eq!(offers(&mut courtesy, 1000, again + gone), 0, "it is still there");
        let later = again + gone + gone * SHARE;
        courtesy.took(later, later + one);
        assert_eq!(offers(&mut courtesy, VAIN_PASSES_MAX, later + one), 1, "it has gone");
        courtesy.took(later, later + gone);
        assert_eq!(offers(&mut courtesy, VAIN_PASSES_MAX, later + gone), 1, "and is forgotten");
    }
}

//! How a core divides what it has few of among its channels, so that no number of sick disks starves the others.
//!
//! Each channel has a reserve of its own, which nobody else can use up. Past that it takes from a rest that all share, of
//! which one channel gets half at most. Used for operations and for bounce buffers.

/// The rule, and how much of the shared rest is taken. What a channel holds is kept with the channel.
#[derive(Debug)]
pub(crate) struct Quota {
    reserve: u32,
    channel_max: u32,
    shared_left: u32,
}

impl Quota {
    /// `reserve` for each channel, at least 1, and `shared` for all together.
    pub(crate) fn new(reserve: u32, shared: u32) -> Self {
        assert!(reserve > 0, "a channel without a reserve can be starved");
        Self { reserve, channel_max: reserve + shared.div_ceil(2), shared_left: shared }
    }

    /// The most that one channel ever holds.
    pub(crate) fn channel_max(&self) -> u32 {
        self.channel_max
    }

    /// Gives one more to a channel that holds `held`, if there is one for it.
    #[inline]
    pub(crate) fn take(&mut self, held: &mut u32) -> bool {
        if *held >= self.reserve {
            if *held >= self.channel_max || self.shared_left == 0 {
                return false;
            }
            self.shared_left -= 1;
        }
        *held += 1;
        true
    }

    /// Takes one back from a channel that holds `held`.
    ///
    /// # Panics
    /// If it holds none.
    #[inline]
    pub(crate) fn put(&mut self, held: &mut u32) {
        *held = held.checked_sub(1).expect("what is given back was taken");
        if *held >= self.reserve {
            self.shared_left += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(quota: &mut Quota, held: &mut u32) -> u32 {
        let before = *held;
        while quota.take(held) {}
        *held - before
    }

    #[test]
    fn a_reserve_is_there_whatever_the_others_hold() {
        let mut quota = Quota::new(2, 8);
        let mut held = [0; 4];
        let got: Vec<_> = held.iter_mut().map(|held| fill(&mut quota, held)).collect();
        assert_eq!(got, [6, 6, 2, 2], "half of the rest each while it lasts, then the reserve alone");
        for _ in 0..3 {
            quota.put(&mut held[3]);
            quota.put(&mut held[3]);
            assert_eq!(fill(&mut quota, &mut held[3]), 2);
        }
    }

    #[test]
    fn what_is_given_back_goes_to_the_rest_first() {
        let mut quota = Quota::new(2, 2);
        let (mut a, mut b) = (0, 0);
        assert_eq!((fill(&mut quota, &mut a), fill(&mut quota, &mut b)), (3, 3));
        quota.put(&mut a);
        // One of the rest is free again, and only one.
        assert_eq!(fill(&mut quota, &mut a), 1);
        for _ in 0..3 {
            quota.put(&mut a);
        }
        assert_eq!((fill(&mut quota, &mut b), fill(&mut quota, &mut a)), (0, 3));
    }

    #[test]
    #[should_panic(expected = "was taken")]
    fn nothing_is_given_back_twice() {
        Quota::new(1, 1).put(&mut 0);
    }
}

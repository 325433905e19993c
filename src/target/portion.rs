//! How much of what a driver has to do a request queue takes in one pass.
//!
//! A driver with few requests that get all of their answers at once makes all of the next ones at once, and waits while we
//! work, as we wait while it does. Half of them in each pass, and one side works on one half while the other has the other.
//! So a queue looks for some passes how much there is. Where one of them was full, there is more than a pass can take, and
//! the others are what it left. Now and then it looks again: what it finds then may be a half already, so that what lasts is
//! between a quarter and a half of all, and [`LEAST`] at least.
//!
//! That is for a queue that is alone on its reactor, and for disks that do what they are asked at once: other queues are as
//! good as a second half, and what waits for a disk is to go there with as few calls as possible.

use super::batch::BATCH;

/// All that a pass may take.
const ALL: u16 = BATCH as u16;
/// Less is not worth a pass of its own.
const LEAST: u16 = 4;
/// Passes in which the queue looks how much there is, the one in which it decides included.
const LOOKS: u16 = 8;
/// Passes until it looks again.
const PASSES: u16 = 256;

/// How many queues of a reactor have taken chains, one after the other, ever, modulo 2^32.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn(u32);

/// What one request queue takes.
#[derive(Debug)]
pub(super) struct Portion {
    most: u16,
    /// Passes with this portion.
    left: u16,
    /// Most that a pass took since the queue began to look.
    found: u16,
    /// Its own last turn.
    last: Turn,
}

impl Portion {
    pub fn new() -> Self {
        Self { most: ALL, left: LOOKS, found: 0, last: Turn::default() }
    }

    /// A pass begins that takes something, the next one after `turn`: most chains that it takes.
    #[inline]
    pub fn begin(&mut self, turn: Turn) -> u16 {
        self.left -= 1;
        if turn != self.last {
            self.look();
        } else if self.left == 0 {
            self.decide();
        }
        self.most
    }

    /// The pass has taken so many chains, of which so many wait for their disks.
    #[inline]
    pub fn end(&mut self, taken: usize, waiting: usize, turn: &mut Turn) {
        turn.0 = turn.0.wrapping_add(1);
        self.last = *turn;
        self.found = self.found.max(taken as u16);
        if waiting > 0 {
            self.look();
        }
    }

    /// Takes all for some passes, to see how much there is.
    #[inline]
    fn look(&mut self) {
        (self.most, self.left, self.found) = (ALL, LOOKS, 0);
    }

    fn decide(&mut self) {
        if self.most < ALL || self.found == ALL {
            self.look();
        } else {
            (self.most, self.left) = (LEAST.max(self.found.div_ceil(2)), PASSES);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A pass of a queue whose driver has made so many chains available: how many it took.
    fn pass(portion: &mut Portion, turn: &mut Turn, available: usize, waits: bool) -> usize {
        let taken = available.min(portion.begin(*turn).into());
        portion.end(taken, if waits { taken } else { 0 }, turn);
        taken
    }

    /// What it takes in the next pass, after passes in which so many were available.
    fn after(portion: &mut Portion, turn: &mut Turn, available: &[usize]) -> u16 {
        available.iter().for_each(|&available| {
            pass(portion, turn, available, false);
        });
        portion.begin(*turn)
    }

    #[test]
    fn takes_halves_where_there_is_little() {
        for (available, half) in [(8, 4), (12, 6), (15, 8), (1, LEAST), (5, LEAST)] {
            let found = after(&mut Portion::new(), &mut Turn::default(), &[available; LOOKS as usize]);
            assert_eq!(found, half, "of {available}");
        }
    }

    #[test]
    fn takes_all_that_it_may_where_there_is_much() {
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        for _ in 0..1000 {
            assert_eq!(pass(&mut portion, &mut turn, 32, false), BATCH);
        }
    }

    #[test]
    fn what_a_full_pass_leaves_is_not_little() {
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        for _ in 0..1000 {
            assert_eq!([24, 8].map(|available| pass(&mut portion, &mut turn, available, false)), [BATCH, 8]);
        }
    }

    #[test]
    fn finds_out_when_there_is_more() {
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        while pass(&mut portion, &mut turn, 8, false) == 8 {}
        let before = (0..1000).take_while(|_| pass(&mut portion, &mut turn, 32, false) == 4).count();
        assert_eq!(before, usize::from(PASSES) - 1);
        assert_eq!(pass(&mut portion, &mut turn, 32, false), BATCH);
    }

    #[test]
    fn takes_all_where_others_take_their_turns() {
        let (mut one, mut other, mut turn) = (Portion::new(), Portion::new(), Turn::default());
        while pass(&mut one, &mut turn, 8, false) == 8 {}
        for _ in 0..100 {
            assert_eq!(pass(&mut other, &mut turn, 8, false), 8);
            assert_eq!(pass(&mut one, &mut turn, 8, false), 8);
        }
        let again = (0..100).take_while(|_| pass(&mut one, &mut turn, 8, false) == 8).count();
        assert!(again < usize::from(LOOKS), "it looks when it is alone again");
    }

    #[test]
    fn takes_all_where_they_wait_for_their_disks() {
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        while pass(&mut portion, &mut turn, 8, false) == 8 {}
        assert_eq!(pass(&mut portion, &mut turn, 8, true), 4);
        for _ in 0..1000 {
            assert_eq!(pass(&mut portion, &mut turn, 8, true), 8);
        }
    }
}

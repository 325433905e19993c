//! How much of what a driver has to do a request queue takes in one pass.
//!
//! A driver with few requests that get all of their answers at once makes all of the next ones at once, and waits while we
//! work, as we wait while it does. Half of them in each pass, and one side works on one half while the other has the other.
//! After some hundred passes the queue finds out again, by what a pass finds then, which may be a half already: what lasts
//! is between a quarter and a half of all, and [`LEAST`] at least.
//!
//! That is for a queue that is alone on its reactor, and for disks that do what they are asked at once: other queues are as
//! good as a second half, and what waits for a disk is to go there with as few calls as possible.

use super::batch::BATCH;

/// All that a pass may take.
const ALL: u16 = BATCH as u16;
/// Less is not worth a pass of its own.
const LEAST: u16 = 4;
/// Passes until the queue looks again how much there is.
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
    /// Its own last turn.
    last: Turn,
}

impl Portion {
    pub fn new() -> Self {
        Self { most: ALL, left: PASSES, last: Turn::default() }
    }

    /// A pass begins that takes something, the next one after `turn`: most chains that it takes.
    #[inline]
    pub fn begin(&mut self, turn: Turn) -> u16 {
        self.left -= 1;
        if self.left == 0 || turn != self.last {
            self.rest();
        }
        self.most
    }

    /// The pass has taken so many chains, of which so many wait for their disks.
    #[inline]
    pub fn end(&mut self, taken: usize, waiting: usize, turn: &mut Turn) {
        let was_alone = *turn == self.last;
        turn.0 = turn.0.wrapping_add(1);
        self.last = *turn;
        if waiting > 0 {
            self.rest();
        } else if was_alone && self.most == ALL && taken < BATCH {
            (self.most, self.left) = (LEAST.max((taken as u16).div_ceil(2)), PASSES);
        }
    }

    /// Back to all.
    #[inline]
    fn rest(&mut self) {
        (self.most, self.left) = (ALL, PASSES);
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

    #[test]
    fn takes_halves_where_there_is_little() {
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        let took = [8, 8, 4, 8].map(|available| pass(&mut portion, &mut turn, available, false));
        assert_eq!(took, [8, 4, 4, 4]);
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        assert_eq!([15, 15, 7].map(|available| pass(&mut portion, &mut turn, available, false)), [15, 8, 7]);
    }

    #[test]
    fn does_not_cut_less_than_a_few() {
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        assert_eq!([1, 4, 4, 5].map(|available| pass(&mut portion, &mut turn, available, false)), [1, 4, 4, 4]);
    }

    #[test]
    fn takes_all_that_it_may_where_there_is_much() {
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        for _ in 0..1000 {
            assert_eq!(pass(&mut portion, &mut turn, 32, false), BATCH);
        }
    }

    #[test]
    fn finds_out_when_there_is_more() {
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        assert_eq!(pass(&mut portion, &mut turn, 8, false), 8);
        let before = (0..1000).take_while(|_| pass(&mut portion, &mut turn, 32, false) == 4).count();
        assert_eq!(before, usize::from(PASSES) - 1);
        assert_eq!(pass(&mut portion, &mut turn, 32, false), BATCH);
    }

    #[test]
    fn takes_all_where_others_take_their_turns() {
        let (mut one, mut other, mut turn) = (Portion::new(), Portion::new(), Turn::default());
        assert_eq!([8, 8].map(|available| pass(&mut one, &mut turn, available, false)), [8, 4]);
        assert_eq!(pass(&mut other, &mut turn, 8, false), 8);
        for _ in 0..10 {
            assert_eq!(pass(&mut one, &mut turn, 8, false), 8);
            assert_eq!(pass(&mut other, &mut turn, 8, false), 8);
        }
        assert_eq!([8, 8, 8].map(|available| pass(&mut one, &mut turn, available, false)), [8, 8, 4]);
    }

    #[test]
    fn takes_all_where_they_wait_for_their_disks() {
        let (mut portion, mut turn) = (Portion::new(), Turn::default());
        assert_eq!([8, 8].map(|available| pass(&mut portion, &mut turn, available, false)), [8, 4]);
        assert_eq!([8, 8, 8].map(|available| pass(&mut portion, &mut turn, available, true)), [4, 8, 8]);
    }
}

//! Which queues of a reactor a pass looks at, and which it has to finish. Most have nothing most of the time, and to find that
//! out of each of them in each pass is what those that have something would pay for.
//!
//! Owns a [`Glance`] at each queue that is calm, that is, waits for its driver alone: a look at it takes one line of the driver's
//! and a quarter of one of ours, and none of the queue. And it owns two bits for each: *lively* is one of which anything was
//! finished lately. A pass looks at those, and at every so many of the others in turn. To look at one costs a few nanoseconds:
//! behind a pass that took less than a microsecond it is one in [`TURNS`], behind one that took ten or more it is all of them,
//! so that a queue which wakes up waits for some microseconds or for one pass. Behind a pass that found nothing to do nobody
//! waits for what looks cost. Nothing is put off that does not come from a driver: what is not calm is lively, and a message or
//! the end of a sleep makes all of them so. [`Core`](super::core::Core) alone asks it.
//!
//! A third bit is that of a queue of which something was done in this pass, so that the pass has to be finished there. All of it
//! is written in each pass, and so on lines of its own, that no other core reads.
#![allow(unsafe_code)]

use crate::virtio::ring::Glance;

/// Passes in which each queue is looked at at least once, where there are many and passes are short.
pub(super) const TURNS: u32 = 16;
/// The same where passes are longer, or find nothing. Powers of two, both.
const FEWER_TURNS: u32 = 4;
/// A pass is short up to here, and long from here on, in nanoseconds.
const SHORT_NS: u64 = 1_000;
const LONG_NS: u64 = 10_000;
/// As many queues are no matter: each is looked at in each pass.
const FEW: usize = 16;
/// Passes after which a queue is lively no more if nothing of it was finished in as many before them: a power of two.
const LIVELY_PASSES: u32 = 64;

/// Queues whose numbers are alike but for the last 6 bits.
const WORD: usize = u64::BITS as usize;

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Word {
    present: u64,
    /// Of which anything was finished, since `before` was renewed.
    lively: u64,
    before: u64,
    /// Whose pass has to be finished.
    touched: u64,
    glances: [Option<Glance>; WORD],
}

impl Word {
    const EMPTY: Self = Self { present: 0, lively: 0, before: 0, touched: 0, glances: [None; WORD] };
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    words: Vec<Word>,
    /// Some queue is touched.
    is_touched: bool,
    pass: u32,
    /// Those whose turn it is, in each word.
    turn: u64,
    is_few: bool,
}

impl Lookout {
    /// There are the queues 0 to `count`, and any may have something. To be called before anything but its own pass does
    /// something to a queue: what was known of them is forgotten.
    pub(crate) fn rouse(&mut self, count: usize) {
        self.words.resize(count.div_ceil(WORD), Word::EMPTY);
        for (place, word) in self.words.iter_mut().enumerate() {
            let here = (count - place * WORD).min(WORD) as u32;
            let present = u64::MAX >> (u64::BITS - here);
            *word = Word { present, lively: present, before: present, touched: word.touched, ..Word::EMPTY };
        }
        self.is_few = count <= FEW;
        self.turn = u64::MAX;
    }

    /// A pass begins, so many nanoseconds after the last one; 0 if that found nothing to do, and nobody has looked at the clock.
    #[inline]
    pub(crate) fn begin_pass(&mut self, spent_ns: u64) {
        if self.is_few {
            return;
        }
        self.pass = self.pass.wrapping_add(1);
        let every = |turns: u32| (u64::MAX / ((1 << turns) - 1)) << (self.pass % turns);
        self.turn = match spent_ns {
            1..SHORT_NS => every(TURNS),
            LONG_NS.. => u64::MAX,
            _ => every(FEWER_TURNS),
        };
        if self.pass.is_multiple_of(LIVELY_PASSES) {
            self.words.iter_mut().for_each(|word| word.before = std::mem::take(&mut word.lively));
        }
    }

    /// How many words there are.
    #[inline]
    pub(crate) fn words(&self) -> usize {
        self.words.len()
    }

    /// How many of them have queues that may not be lively.
    #[inline]
    pub(crate) fn words_with_turns(&self) -> usize {
        if self.is_few { 0 } else { self.words.len() }
    }

    /// The lively queues of a word.
    #[inline]
    pub(crate) fn lively(&self, word: usize) -> Due {
        let Word { present, lively, before, .. } = self.words[word];
        Due { bits: present & (lively | before), first: word * WORD }
    }

    /// The other queues of a word that this pass looks at.
    #[inline]
    pub(crate) fn due(&self, word: usize) -> Due {
        let Word { present, lively, before, .. } = self.words[word];
        Due { bits: present & self.turn & !(lively | before), first: word * WORD }
    }

    /// Whether there is something for this queue to do, as far as one can see.
    #[inline(always)]
    pub(crate) fn sees_something(&self, place: usize) -> bool {
        // SAFETY: it is of the end of the queue's last pass. What unbinds rings since then comes by message, which makes us
        // forget it first.
        self.words[place / WORD].glances[place % WORD].is_none_or(|glance| unsafe { glance.has_new() })
    }

    /// Something of this queue was finished in this pass; if it is calm, this is how to see when it has something.
    #[inline]
    pub(crate) fn note(&mut self, place: usize, glance: Option<Glance>) {
        if let Some(word) = self.words.get_mut(place / WORD) {
            word.glances[place % WORD] = glance;
            word.lively |= 1 << (place % WORD);
        }
    }

    /// The pass of this queue has to be finished.
    #[inline]
    pub(crate) fn touch(&mut self, place: usize) {
        self.words[place / WORD].touched |= 1 << (place % WORD);
        self.is_touched = true;
    }

    /// As [`Lookout::touch`], of all queues.
    #[cold]
    pub(crate) fn touch_all(&mut self) {
        self.words.iter_mut().for_each(|word| word.touched = word.present);
        self.is_touched = true;
    }

    /// Whether there are such queues: asked once, before they are taken.
    #[inline]
    pub(crate) fn take_is_touched(&mut self) -> bool {
        std::mem::take(&mut self.is_touched)
    }

    /// The queues of a word whose passes have to be finished: they are forgotten here.
    #[inline]
    pub(crate) fn take_touched(&mut self, word: usize) -> Due {
        Due { bits: std::mem::take(&mut self.words[word].touched), first: word * WORD }
    }
}

/// Numbers of queues.
#[derive(Debug)]
pub(crate) struct Due {
    bits: u64,
    first: usize,
}

impl Iterator for Due {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.bits == 0 {
            return None;
        }
        let place = self.first + self.bits.trailing_zeros() as usize;
        self.bits &= self.bits - 1;
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(lookout: &mut Lookout) -> Vec<usize> {
        pass_behind(SHORT_NS - 1, lookout)
    }

    fn pass_behind(spent_ns: u64, lookout: &mut Lookout) -> Vec<usize> {
        lookout.begin_pass(spent_ns);
        let lively = (0..lookout.words()).flat_map(|word| lookout.lively(word));
        let due = (0..lookout.words_with_turns()).flat_map(|word| lookout.due(word));
        let mut seen: Vec<_> = lively.chain(due).collect();
        seen.sort_unstable();
        seen
    }

    fn calm(count: usize) -> Lookout {
        let mut lookout = Lookout::default();
        lookout.rouse(count);
        (0..2 * LIVELY_PASSES).for_each(|_| _ = pass(&mut lookout));
        lookout
    }

    #[test]
    fn a_pass_is_finished_once_where_something_was_done() {
        let mut lookout = Lookout::default();
        lookout.rouse(130);
        let touched = |lookout: &mut Lookout| (0..3).flat_map(|word| lookout.take_touched(word)).collect::<Vec<_>>();
        [129, 0, 64, 0].into_iter().for_each(|place| lookout.touch(place));
        // A queue that comes meanwhile changes nothing for the others.
        lookout.rouse(131);
        assert!(lookout.take_is_touched() && !lookout.take_is_touched());
        assert_eq!(touched(&mut lookout), [0, 64, 129]);
        assert!(touched(&mut lookout).is_empty());
        lookout.touch_all();
        assert_eq!(touched(&mut lookout), (0..131).collect::<Vec<_>>());
    }

    #[test]
    fn what_each_pass_writes_shares_no_line() {
        assert!(align_of::<Word>() >= 64);
    }

    #[test]
    fn a_few_are_looked_at_in_each_pass() {
        assert!(pass(&mut Lookout::default()).is_empty());
        for count in [1, FEW] {
            let mut lookout = calm(count);
            assert_eq!(pass(&mut lookout), Vec::from_iter(0..count));
        }
    }

    #[test]
    fn each_of_many_has_its_turn_soon() {
        for count in [FEW + 1, 64, 65, 200] {
            let mut lookout = calm(count);
            let mut seen: Vec<_> = (0..TURNS).flat_map(|_| pass(&mut lookout)).collect();
            seen.sort_unstable();
            assert_eq!(seen, Vec::from_iter(0..count), "each once");
        }
    }

    #[test]
    fn behind_longer_passes_and_such_without_work_each_has_its_turn_sooner() {
        for count in [FEW + 1, 64, 65, 200] {
            for spent_ns in [0, SHORT_NS, LONG_NS - 1] {
                let mut lookout = calm(count);
                let mut seen: Vec<_> = (0..FEWER_TURNS).flat_map(|_| pass_behind(spent_ns, &mut lookout)).collect();
                seen.sort_unstable();
                assert_eq!(seen, Vec::from_iter(0..count), "each once");
            }
            assert_eq!(pass_behind(LONG_NS, &mut calm(count)), Vec::from_iter(0..count));
        }
    }

    #[test]
    fn however_long_passes_are_each_has_its_turn() {
        for count in [FEW + 1, 64, 65, 200] {
            let mut lookout = calm(count);
            let spent_ns = |step| [0, 1, SHORT_NS, 1][step as usize % 4];
            let mut seen: Vec<_> = (0..TURNS).flat_map(|step| pass_behind(spent_ns(step), &mut lookout)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, Vec::from_iter(0..count), "each at least once");
        }
    }

    #[test]
    fn what_was_busy_is_looked_at_for_a_while() {
        let mut lookout = calm(130);
        lookout.note(77, None);
        for _ in 0..LIVELY_PASSES {
            assert!(pass(&mut lookout).contains(&77));
        }
        let left = (0..2 * LIVELY_PASSES).filter(|_| pass(&mut lookout).contains(&77)).count() as u32;
        assert!(left < LIVELY_PASSES + LIVELY_PASSES / TURNS, "and then no more often than others: {left}");
    }

    #[test]
    fn a_calm_queue_is_told_by_its_glance_until_a_message_comes() {
        let mut lookout = calm(3);
        assert!((0..3).all(|place| lookout.sees_something(place)), "nobody said that they are calm");
        lookout.note(1, Some(Glance::NEVER));
        assert_eq!([0, 1, 2].map(|place| lookout.sees_something(place)), [true, false, true]);
        lookout.rouse(3);
        assert!(lookout.sees_something(1));
    }

    #[test]
    fn after_a_message_all_are_looked_at() {
        let mut lookout = calm(100);
        assert!(pass(&mut lookout).len() < 100);
        lookout.rouse(101);
        assert_eq!(pass(&mut lookout), Vec::from_iter(0..101));
        lookout.rouse(0);
        assert!(pass(&mut lookout).is_empty());
    }
}

//! Who is served next: what each nexus wants in the order in which it came, and the nexuses in turn, so that one that wants much
//! keeps no other waiting for longer than one thing takes. The [`clerk`](super::clerk) alone has one.

use std::collections::VecDeque;

use crate::scsi::reservations::Nexus;

/// What waits. There is something of each nexus that is in it.
#[derive(Debug)]
pub(super) struct Turns<T>(VecDeque<(Nexus, VecDeque<T>)>);

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Turns<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `nexus` wants this, too.
    pub(super) fn add(&mut self, nexus: Nexus, wanted: T) {
        match self.0.iter_mut().find(|(other, _)| *other == nexus) {
            Some((_, its)) => its.push_back(wanted),
            None => self.0.push_back((nexus, VecDeque::from([wanted]))),
        }
    }

    /// What is next. Whose that is comes after all others with the rest.
    pub(super) fn next(&mut self) -> Option<T> {
        let (nexus, mut its) = self.0.pop_front()?;
        let next = its.pop_front();
        if !its.is_empty() {
            self.0.push_back((nexus, its));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::reservations::SasAddress;

    #[test]
    fn each_nexus_has_its_turn_and_its_order() {
        let [a, b, c] = [1, 2, 3].map(|port| Nexus { initiator: SasAddress(7), port });
        let mut turns = Turns::default();
        for (nexus, wanted) in [(a, 1), (a, 2), (a, 3), (b, 4), (b, 5)] {
            turns.add(nexus, wanted);
        }
        assert_eq!([turns.next(), turns.next()], [Some(1), Some(4)]);
        turns.add(c, 6);
        let rest: Vec<_> = std::iter::from_fn(|| turns.next()).collect();
        assert_eq!(rest, [2, 5, 6, 3]);
        assert!(turns.is_empty());
    }
}

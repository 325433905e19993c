//! The operations that the ring has accepted: preallocated entries, named towards the kernel by index and generation.
//!
//! Owns the entries and who is free. It does not know what an entry's operation needs next: that is the
//! [work](super::ledger::Work) of a ledger.

use std::num::NonZeroI32;

use crate::channel::Tag;
use crate::op::Op;
use crate::segment::Segment;
use crate::space::Plan;
use crate::uring::bounce::BounceId;
use crate::uring::files::FileId;

/// Place of an entry. Stays the same from acceptance to completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EntryId(u32);

impl EntryId {
    /// Its place, below the capacity of the slab.
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The `user_data` of a cancel request. No entry has it: an index never reaches 2^32 - 1.
pub(crate) const CANCEL: u64 = u64::MAX;

/// Largest number of entries: what the kernel allows a submission queue to have.
pub(crate) const ENTRIES_MAX: u32 = 32768;

/// Where in a list of segments an operation has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    /// Segment that holds the next byte.
    pub(crate) segment: usize,
    /// The next byte in it.
    pub(crate) at: usize,
}

impl Cursor {
    /// The first byte of `segments` that is one.
    pub(crate) fn start(segments: &[Segment]) -> Self {
        let mut cursor = Self::default();
        cursor.advance(segments, 0);
        cursor
    }

    /// Goes on by `len` bytes, and past segments that are used up or empty.
    pub(crate) fn advance(&mut self, segments: &[Segment], len: usize) {
        let mut left = len;
        while let Some(segment) = segments.get(self.segment) {
            let here = segment.len() - self.at;
            if left < here {
                self.at += left;
                return;
            }
            left -= here;
            self.segment += 1;
            self.at = 0;
        }
        assert_eq!(left, 0, "an operation never moves more than its segments hold");
    }
}

/// An accepted operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) tag: Tag,
    pub(crate) op: Op,
    pub(crate) file: FileId,
    /// Bytes done so far.
    pub(crate) done: u64,
    /// Bytes of the part that is in flight, where its result does not tell.
    pub(crate) part: u64,
    /// The result of the part that is in flight which says alone that all is done, if there is one.
    pub(crate) whole: Option<NonZeroI32>,
    pub(crate) cursor: Cursor,
    /// The buffer that stands in for segments which the file does not take.
    pub(crate) bounce: Option<BounceId>,
    /// Of an operation on space: how it is done.
    pub(crate) plan: Option<Plan>,
    /// Tries that ended with "try again" since the last progress.
    pub(crate) retries: u8,
    /// The caller wants it to end early.
    pub(crate) cancelled: bool,
    /// The part that is in flight names a registered buffer.
    pub(crate) fixed: bool,
    /// No further part of it shall.
    pub(crate) plain: bool,
    /// The part that is in flight is in the ring that polls.
    pub(crate) polled: bool,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    entry: Option<T>,
}

/// All entries of a ring.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Box<[Place<T>]>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// Room for `count` operations, at most [`ENTRIES_MAX`].
    pub(crate) fn new(count: u32) -> Self {
        assert!((1..=ENTRIES_MAX).contains(&count));
        Self {
            places: (0..count).map(|_| Place { generation: 0, entry: None }).collect(),
            free: (0..count).rev().collect(),
        }
    }

    pub(crate) fn capacity(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn in_use(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Keeps `entry`.
    ///
    /// # Panics
    /// If the slab is full: it has a place for each operation that a channel may have.
    pub(crate) fn insert(&mut self, entry: T) -> EntryId {
        let index = self.free.pop().expect("there is a place for each operation that a channel may have");
        self.places[index as usize].entry = Some(entry);
        EntryId(index)
    }

    /// Ends an entry. From now on its `user_data` is stale.
    #[inline]
    pub(crate) fn remove(&mut self, id: EntryId) {
        let place = &mut self.places[id.0 as usize];
        assert!(place.entry.is_some(), "an id is used until its entry is removed");
        place.entry = None;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(id.0);
    }

    /// An entry.
    pub(crate) fn get(&self, id: EntryId) -> &T {
        self.places[id.0 as usize].entry.as_ref().expect("an operation is there until it ends")
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, id: EntryId) -> &mut T {
        self.places[id.0 as usize].entry.as_mut().expect("an id is used until its entry is removed")
    }

    /// What the kernel calls the entry.
    pub(crate) fn user_data(&self, id: EntryId) -> u64 {
        u64::from(self.places[id.0 as usize].generation) << 32 | u64::from(id.0)
    }

    /// The entry that the kernel means, if it is still that one.
    pub(crate) fn find(&self, user_data: u64) -> Option<EntryId> {
        let index = user_data as u32;
        let place = self.places.get(index as usize)?;
        (place.entry.is_some() && u64::from(place.generation) == user_data >> 32).then_some(EntryId(index))
    }

    /// The first entry for which `is_it` holds. Looks at all of them: only for the rare cancel.
    pub(crate) fn find_by(&self, is_it: impl Fn(&T) -> bool) -> Option<EntryId> {
        let found = self.places.iter().position(|place| place.entry.as_ref().is_some_and(&is_it));
        found.map(|index| EntryId(index as u32))
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;

    fn entry(tag: u64) -> Entry {
        Entry {
            tag: Tag(tag),
            op: Op::FLUSH,
            file: FileId::for_test(1),
            done: 0,
            part: 0,
            whole: None,
            cursor: Cursor::default(),
            bounce: None,
            plan: None,
            retries: 0,
            cancelled: false,
            fixed: false,
            plain: false,
            polled: false,
        }
    }

    #[test]
    fn a_completion_of_an_earlier_life_finds_nothing() {
        let mut slab = Slab::new(1);
        let first = slab.insert(entry(1));
        let first_data = slab.user_data(first);
        assert_eq!(slab.in_use(), slab.capacity());
        assert_eq!(slab.find(first_data), Some(first));
        slab.remove(first);
        assert_eq!(slab.find(first_data), None);
        let second = slab.insert(entry(2));
        assert_eq!(slab.find(first_data), None);
        assert_eq!(slab.find(slab.user_data(second)), Some(second));
        assert_eq!(slab.find(CANCEL), None);
    }

    #[test]
    fn finds_by_tag_within_one_file() {
        let is = |file, tag| move |entry: &Entry| entry.file == FileId::for_test(file) && entry.tag == Tag(tag);
        let mut slab = Slab::new(3);
        slab.insert(entry(5));
        let six = slab.insert(entry(6));
        assert_eq!(slab.find_by(is(1, 6)), Some(six));
        assert_eq!(slab.find_by(is(2, 6)), None);
        slab.remove(six);
        assert_eq!(slab.find_by(is(1, 6)), None);
        assert_eq!(slab.in_use(), 1);
    }

    #[test]
    fn the_cursor_never_rests_on_a_used_up_or_empty_segment() {
        let of = |len| {
            // SAFETY: never read nor written.
            #[allow(unsafe_code)]
            unsafe {
                Segment::new(NonNull::dangling(), len)
            }
        };
        let list = [Segment::EMPTY, of(4), Segment::EMPTY, of(2)];
        let mut cursor = Cursor::start(&list);
        assert_eq!((cursor.segment, cursor.at), (1, 0));
        cursor.advance(&list, 3);
        assert_eq!((cursor.segment, cursor.at), (1, 3));
        cursor.advance(&list, 1);
        assert_eq!((cursor.segment, cursor.at), (3, 0));
        cursor.advance(&list, 2);
        assert_eq!((cursor.segment, cursor.at), (4, 0));
    }

    #[test]
    #[should_panic(expected = "never moves more")]
    fn the_cursor_does_not_pass_the_end() {
        Cursor::start(&[]).advance(&[], 1);
    }
}

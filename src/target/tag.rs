//! Names of requests, as a channel gives them back.

use bdev::Tag;

/// Place of a worker in its reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct WorkerIndex(pub(crate) u16);

/// Place of a request in its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SlotIndex(pub(crate) u16);

/// Counts the requests that a slot has held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Generation(pub(crate) u32);

/// The worker named in the tags of operations that are no request's. No worker has this place.
pub(crate) const NOBODY: WorkerIndex = WorkerIndex(u16::MAX);

/// A request of a reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RequestName {
    pub(crate) worker: WorkerIndex,
    pub(crate) slot: SlotIndex,
    pub(crate) generation: Generation,
}

impl RequestName {
    /// As a channel carries it.
    pub(crate) const fn tag(self) -> Tag {
        Tag((self.worker.0 as u64) << 48 | (self.slot.0 as u64) << 32 | self.generation.0 as u64)
    }

    /// The name in a tag.
    pub(crate) const fn from_tag(tag: Tag) -> Self {
        Self {
            worker: WorkerIndex((tag.0 >> 48) as u16),
            slot: SlotIndex((tag.0 >> 32) as u16),
            generation: Generation(tag.0 as u32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_what_it_was_made_of() {
        let name =
            RequestName { worker: WorkerIndex(0xfffe), slot: SlotIndex(0x8001), generation: Generation(0xdead_beef) };
        assert_eq!(name.tag(), Tag(0xfffe_8001_dead_beef));
        assert_eq!(RequestName::from_tag(name.tag()), name);
    }
}

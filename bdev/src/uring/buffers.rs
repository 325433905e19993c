//! The memory that is registered with one core's ring, and which of it an operation lies in.
//!
//! [`BufferTable`] answers by address, for every operation: nearly always from the buffer of the last hit. [`Registered`]
//! keeps it, and the table of the kernel, as the registrar has published, a bounded number of changes a pass.

use std::os::fd::AsFd;
use std::sync::Arc;

use io_uring::Submitter;

use super::bounce::BouncePool;
use super::memory::{Chunk, Registrar, Registration, Subscription, TABLE_LEN, Way, table};
use crate::segment::Segment;

/// Changes that a core takes over in one pass. Each is a system call.
const CHANGES_MAX: usize = 8;

#[derive(Debug)]
struct Window {
    start: usize,
    len: usize,
    /// `None` if the kernel did not let this ring have it.
    slot: Option<u16>,
    chunk: Arc<Chunk>,
}

impl Window {
    fn holds(&self, segment: &Segment) -> bool {
        let at = segment.as_ptr().addr().wrapping_sub(self.start);
        at < self.len && segment.len() <= self.len - at
    }
}

/// Buffers by address. They do not overlap.
#[derive(Debug, Default)]
pub(crate) struct BufferTable {
    windows: Vec<Window>,
    last: usize,
}

impl BufferTable {
    /// Index of the buffer that holds the whole of every segment. None has no bytes.
    #[inline]
    pub(crate) fn find(&mut self, segments: &[Segment]) -> Option<u16> {
        let first = segments.first()?;
        let hit = self.windows.get(self.last).filter(|window| window.holds(first));
        let window = match hit {
            Some(window) => window,
            None if self.windows.is_empty() => return None,
            None => {
                self.last = self.search(first)?;
                &self.windows[self.last]
            }
        };
        segments[1..].iter().all(|segment| window.holds(segment)).then_some(window.slot?)
    }

    /// One buffer, which nobody has registered.
    #[cfg(test)]
    pub(crate) fn for_test(memory: Segment, slot: u16) -> Self {
        let chunk = Arc::new(Chunk::for_test(memory, slot));
        let window = Window { start: chunk.start(), len: memory.len(), slot: Some(slot), chunk };
        Self { windows: vec![window], last: 0 }
    }

    fn search(&self, segment: &Segment) -> Option<usize> {
        let at = segment.as_ptr().addr();
        let index = self.windows.partition_point(|window| window.start <= at).checked_sub(1)?;
        self.windows[index].holds(segment).then_some(index)
    }
}

/// What a ring has registered of what is published.
#[derive(Debug)]
pub(crate) struct Registered {
    subscription: Subscription,
    registrar: Registrar,
    /// Says that the core's own buffers are in use.
    own: Option<Registration>,
    /// The ring has a table in the kernel.
    has_table: bool,
}

impl Registered {
    /// Nothing yet. `bell` wakes the core.
    pub(crate) fn new(registrar: &Registrar, bell: &impl AsFd) -> std::io::Result<Self> {
        let bell = bell.as_fd().try_clone_to_owned()?;
        let subscription = registrar.subscribe(bell);
        Ok(Self { subscription, registrar: registrar.clone(), own: None, has_table: false })
    }

    /// Has the core's bounce buffers registered, once the first of them is in use: most cores never need one.
    #[inline]
    pub(crate) fn want(&mut self, pool: &BouncePool) {
        if self.own.is_none() {
            self.own = pool.whole().map(|(whole, keep)| self.registrar.register(whole, keep));
        }
    }

    /// Whether there is something to take over.
    #[inline]
    pub(crate) fn is_stale(&self) -> bool {
        self.subscription.is_stale()
    }

    /// Takes some of the changes over.
    #[cold]
    pub(crate) fn update(&mut self, ring: &Submitter<'_>, buffers: &mut BufferTable) {
        let Some((generation, published)) = self.subscription.look() else { return };
        let mut changes = 0;
        buffers.windows.retain(|window| {
            let stays = published.binary_search_by_key(&window.start, |chunk| chunk.start());
            let stays = stays.is_ok_and(|at| Arc::ptr_eq(&published[at], &window.chunk));
            if stays || changes == CHANGES_MAX {
                return true;
            }
            changes += 1;
            if let Some(slot) = window.slot
                && let Err(error) = table::clear(ring, slot)
            {
                tracing::warn!(%error, "memory stays registered that is not used any more");
            }
            false
        });
        for chunk in published.iter() {
            let Err(at) = buffers.windows.binary_search_by_key(&chunk.start(), |window| window.start) else { continue };
            if changes == CHANGES_MAX {
                break;
            }
            changes += 1;
            let slot = self.take_over(ring, chunk);
            let (start, len) = (chunk.start(), chunk.memory.len());
            buffers.windows.insert(at, Window { start, len, slot, chunk: chunk.clone() });
        }
        drop(published);
        if changes < CHANGES_MAX {
            self.subscription.has_seen(generation);
        }
    }

    fn take_over(&mut self, ring: &Submitter<'_>, chunk: &Chunk) -> Option<u16> {
        let done = match self.subscription.way() {
            Way::Clone => table::take_over(ring, self.subscription.library(), chunk.slot),
            Way::Own => self.make_table(ring).and_then(|()| table::put(ring, chunk)),
        };
        match done {
            Ok(()) => Some(chunk.slot),
            Err(error) => {
                self.subscription.refused(&error, chunk);
                None
            }
        }
    }

    fn make_table(&mut self, ring: &Submitter<'_>) -> std::io::Result<()> {
        if !self.has_table {
            table::make(ring, TABLE_LEN)?;
            self.has_table = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ptr::NonNull;

    use super::*;

    fn segment(start: usize, len: usize) -> Segment {
        // SAFETY: never read nor written.
        unsafe { Segment::new(NonNull::new(start as *mut u8).unwrap(), len) }
    }

    fn buffers(chunks: &[(usize, usize, Option<u16>)]) -> BufferTable {
        let window = |&(start, len, slot): &(usize, usize, Option<u16>)| {
            let chunk = Arc::new(Chunk::for_test(segment(start, len), slot.unwrap_or(9)));
            Window { start, len, slot, chunk }
        };
        BufferTable { windows: chunks.iter().map(window).collect(), last: 0 }
    }

    #[test]
    fn finds_the_buffer_that_holds_all_segments() {
        let mut table = buffers(&[(0x1000, 0x1000, Some(4)), (0x2000, 0x1000, Some(5)), (0x8000, 0x1000, None)]);
        let mut find = |list: &[(usize, usize)]| {
            let list: Vec<_> = list.iter().map(|&(start, len)| segment(start, len)).collect();
            table.find(&list)
        };
        assert_eq!(find(&[(0x1000, 0x1000)]), Some(4));
        assert_eq!(find(&[(0x2fff, 1)]), Some(5));
        assert_eq!(find(&[(0x2000, 1), (0x2800, 0x800)]), Some(5));
        assert_eq!(find(&[(0x1fff, 1)]), Some(4));
        for (list, why) in [
            (&[(0x1fff, 2)][..], "crosses from one into the next"),
            (&[(0x1000, 1), (0x2000, 1)], "in two"),
            (&[(0x1000, 1), (0x7000, 1)], "one of them in none"),
            (&[(0x7000, 1), (0x1000, 1)], "the first of them in none"),
            (&[(0xfff, 2)], "begins before"),
            (&[(0x2fff, 2)], "ends behind"),
            (&[(0x3000, 1)], "behind"),
            (&[(0x8000, 1)], "not in this ring"),
            (&[], "nothing"),
        ] {
            assert_eq!(find(list), None, "{why}");
        }
        assert_eq!(find(&[(usize::MAX, 1)]), None);
        assert_eq!(BufferTable::default().find(&[segment(0x1000, 1)]), None);
    }
}

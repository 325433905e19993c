//! Which bytes of an address range are in use: first fit, with neighbours joined again when freed.

use std::collections::BTreeMap;

/// The free parts of one range.
#[derive(Debug)]
pub struct Allocator {
    /// Length of each free part by its start; no two touch.
    free: BTreeMap<u64, u64>,
}

impl Allocator {
    /// All of `start..start + len` is free.
    pub fn new(start: u64, len: u64) -> Self {
        Self { free: BTreeMap::from([(start, len)]) }
    }

    /// The lowest `len` free bytes that begin at a multiple of `align`.
    pub fn allocate(&mut self, len: u64, align: u64) -> Option<u64> {
        let (part, part_len, start) = self.free.iter().find_map(|(&part, &part_len)| {
            let start = part.checked_next_multiple_of(align)?;
            (start.checked_add(len)? <= part + part_len).then_some((part, part_len, start))
        })?;
        self.free.remove(&part);
        self.insert(part, start - part);
        self.insert(start + len, part + part_len - (start + len));
        Some(start)
    }

    /// Makes `start..start + len` free again. It must have been allocated.
    pub fn free(&mut self, start: u64, len: u64) {
        let (mut start, mut len) = (start, len);
        if let Some((&before, &before_len)) = self.free.range(..start).next_back()
            && before + before_len == start
        {
            self.free.remove(&before);
            start = before;
            len += before_len;
        }
        if let Some(after_len) = self.free.remove(&(start + len)) {
            len += after_len;
        }
        self.insert(start, len);
    }

    fn insert(&mut self, start: u64, len: u64) {
        if len > 0 {
            self.free.insert(start, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn allocations_are_aligned_and_apart() {
        let mut allocator = Allocator::new(0x1001, 0x2000);
        assert_eq!(allocator.allocate(10, 16), Some(0x1010));
        assert_eq!(allocator.allocate(10, 16), Some(0x1020));
        assert_eq!(allocator.allocate(4, 1), Some(0x1001));
    }

    #[test]
    fn freed_neighbours_join() {
        let mut allocator = Allocator::new(0, 96);
        let parts = [(); 3].map(|()| allocator.allocate(32, 32).unwrap());
        assert_eq!(allocator.allocate(1, 1), None);
        for index in [0, 2, 1] {
            allocator.free(parts[index], 32);
        }
        assert_eq!(allocator.allocate(96, 1), Some(0));
    }

    #[test]
    fn no_room_for_more_than_there_is() {
        let mut allocator = Allocator::new(8, 8);
        assert_eq!(allocator.allocate(9, 1), None);
        assert_eq!(allocator.allocate(8, 16), None);
        assert_eq!(allocator.allocate(u64::MAX, 1), None);
        assert_eq!(allocator.allocate(8, 8), Some(8));
    }
}

//! Buffers that stand in for memory which a file does not take: page-aligned, preallocated, bounded.
//!
//! Owned by one core's ring. The kernel may write into a buffer until the operation that holds it has completed.

use std::io;

use crate::mapping::Mapping;
use crate::segment::Segment;

/// A buffer that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BounceId(u32);

/// The buffers of a core.
#[derive(Debug)]
pub(crate) struct BouncePool {
    memory: Option<Mapping>,
    buffer_bytes: usize,
    count: u32,
    free: Vec<u32>,
}

impl BouncePool {
    /// `count` buffers of `buffer_bytes`, a multiple of 4096, neither 0.
    pub(crate) fn new(count: u32, buffer_bytes: usize) -> io::Result<Self> {
        assert!(count > 0 && buffer_bytes > 0 && buffer_bytes.is_multiple_of(4096));
        let len = buffer_bytes.checked_mul(count as usize).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { memory: Some(Mapping::new(len)?), buffer_bytes, count, free: (0..count).rev().collect() })
    }

    /// Size of one buffer.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// How many buffers one file may hold: a sick disk must not take them all from the others.
    pub(crate) fn share(&self) -> u32 {
        (self.count / 4).max(1)
    }

    pub(crate) fn take(&mut self) -> Option<BounceId> {
        self.free.pop().map(BounceId)
    }

    pub(crate) fn put(&mut self, id: BounceId) {
        self.free.push(id.0);
    }

    /// The first `len` bytes of a buffer.
    pub(crate) fn segment(&self, id: BounceId, len: usize) -> Segment {
        assert!(len <= self.buffer_bytes);
        let memory = self.memory.as_ref().expect("the memory is there until it is abandoned, which is the last thing");
        memory.part(id.0 as usize * self.buffer_bytes, len)
    }

    /// Leaves the memory mapped for ever: the kernel still owns some of it.
    pub(crate) fn abandon(&mut self) {
        std::mem::forget(self.memory.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_each_buffer_once_and_takes_it_back() {
        let mut pool = BouncePool::new(2, 4096).unwrap();
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        assert_eq!(pool.take(), None);
        let distance = pool.segment(a, 1).as_ptr().addr().abs_diff(pool.segment(b, 1).as_ptr().addr());
        assert_eq!(distance, 4096);
        assert_eq!(pool.segment(a, 4096).as_ptr().addr() % 4096, 0);
        pool.put(a);
        assert_eq!(pool.take(), Some(a));
    }

    #[test]
    fn leaves_buffers_for_the_other_files() {
        assert_eq!(BouncePool::new(64, 4096).unwrap().share(), 16);
        assert_eq!(BouncePool::new(1, 4096).unwrap().share(), 1);
    }
}

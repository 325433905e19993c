//! Buffers that stand in for memory which a file does not take: page-aligned, preallocated, bounded.
//!
//! Owned by one core's ring. The kernel may write into a buffer until the operation that holds it has completed.

use std::io;
use std::sync::Arc;

use crate::mapping::Mapping;
use crate::quota::Quota;
use crate::segment::Segment;

/// A buffer that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BounceId(u32);

/// The buffers of a core.
#[derive(Debug)]
pub(crate) struct BouncePool {
    memory: Option<Arc<Mapping>>,
    buffer_bytes: usize,
    quota: Quota,
    free: Vec<u32>,
}

impl BouncePool {
    /// One buffer of `buffer_bytes`, a multiple of 4096 and not 0, for each of `files`, and `shared` for all.
    pub(crate) fn new(files: u32, shared: u32, buffer_bytes: usize) -> io::Result<Self> {
        assert!(buffer_bytes > 0 && buffer_bytes.is_multiple_of(4096));
        let count = files + shared;
        let len = buffer_bytes.checked_mul(count as usize).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            memory: Some(Arc::new(Mapping::new(len)?)),
            buffer_bytes,
            quota: Quota::new(1, shared),
            free: (0..count).rev().collect(),
        })
    }

    /// Size of one buffer.
    pub(crate) fn buffer_bytes(&self) -> usize {
        self.buffer_bytes
    }

    /// A buffer for a file that holds `held`, if there is one for it.
    pub(crate) fn take(&mut self, held: &mut u32) -> Option<BounceId> {
        if !self.quota.take(held) {
            return None;
        }
        Some(BounceId(self.free.pop().expect("there are as many as the quota gives")))
    }

    /// Takes a buffer back from a file that holds `held`.
    pub(crate) fn put(&mut self, id: BounceId, held: &mut u32) {
        self.quota.put(held);
        self.free.push(id.0);
    }

    /// The first `len` bytes of a buffer.
    pub(crate) fn segment(&self, id: BounceId, len: usize) -> Segment {
        assert!(len <= self.buffer_bytes);
        let memory = self.memory.as_ref().expect("the memory is there until it is abandoned, which is the last thing");
        memory.part(id.0 as usize * self.buffer_bytes, len)
    }

    /// All buffers together, and what keeps them mapped.
    pub(crate) fn whole(&self) -> Option<(Segment, Arc<Mapping>)> {
        let memory = self.memory.clone()?;
        Some((memory.part(0, memory.len()), memory))
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
        let mut pool = BouncePool::new(1, 2, 4096).unwrap();
        let mut held = 0;
        let (a, b) = (pool.take(&mut held).unwrap(), pool.take(&mut held).unwrap());
        assert_eq!(pool.take(&mut held), None);
        let distance = pool.segment(a, 1).as_ptr().addr().abs_diff(pool.segment(b, 1).as_ptr().addr());
        assert_eq!(distance, 4096);
        assert_eq!(pool.segment(a, 4096).as_ptr().addr() % 4096, 0);
        pool.put(a, &mut held);
        assert_eq!(pool.take(&mut held), Some(a));
    }

    #[test]
    fn leaves_one_for_each_file() {
        let mut pool = BouncePool::new(5, 4, 4096).unwrap();
        let mut held = [0; 5];
        for held in &mut held {
            while pool.take(held).is_some() {}
        }
        assert_eq!(held, [3, 3, 1, 1, 1]);
    }
}

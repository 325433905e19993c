//! Memory of our own that stands in for guest memory which the client does not share.

use bdev::Segment;
use rustix::io::Errno;

use super::host::HostMapping;

/// Zeroed pages; one that is never touched takes no memory. Whoever holds a segment of it keeps it until that is done
/// with, as with a snapshot of guest memory.
#[derive(Debug)]
pub struct StandIn {
    pages: HostMapping,
}

impl StandIn {
    /// `len` bytes, not 0.
    ///
    /// # Errors
    /// What mmap says.
    pub fn new(len: usize) -> Result<Self, Errno> {
        Ok(Self { pages: HostMapping::shadow(len)? })
    }

    /// The `len` bytes from byte `at` on.
    ///
    /// # Panics
    /// If they are not within it.
    pub fn segment(&self, at: usize, len: usize) -> Segment {
        self.pages.whole().split_at(at).1.split_at(len).0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_zero_aligned_to_pages_and_writable_to_its_last_byte() {
        let memory = StandIn::new(5000).unwrap();
        assert_eq!(memory.segment(0, 1).as_ptr().addr() % 4096, 0);
        memory.segment(4999, 1).write(0, &[7]);
        let mut bytes = [1; 2];
        memory.segment(4998, 2).read(0, &mut bytes);
        assert_eq!(bytes, [0, 7]);
    }

    #[test]
    #[should_panic(expected = "at <= self.len")]
    fn has_nothing_past_its_end() {
        StandIn::new(5000).unwrap().segment(4999, 2);
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        assert!(StandIn::new(usize::MAX / 2).is_err() && StandIn::new(0).is_err());
    }
}

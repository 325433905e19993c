//! The data-in of a command that is not a read: a reused buffer that knows ALLOCATION LENGTH.
//!
//! Truncation to the allocation length (SPC-5, allocation length) happens here and nowhere else. Whoever builds a page
//! writes all of it, so that the lengths inside it are those of the whole page, and the buffer keeps what the initiator
//! has room for.

use super::sense::Sense;

/// Data for the initiator.
#[derive(Debug, Default)]
pub struct Reply {
    bytes: Vec<u8>,
    /// Bytes that the initiator has room for.
    limit: usize,
    /// Bytes written, those beyond the limit included.
    written: usize,
}

/// Room reserved at first: every page of this target and a list of 500 logical units.
const CAPACITY_BYTES: usize = 4096;

impl Reply {
    /// An empty reply with room reserved.
    pub fn new() -> Self {
        Self { bytes: Vec::with_capacity(CAPACITY_BYTES), limit: 0, written: 0 }
    }

    /// What the initiator gets: never longer than the allocation length.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets everything, and accepts at most `allocation_length` bytes from now on.
    #[inline]
    pub(super) fn begin(&mut self, allocation_length: u32) {
        self.bytes.clear();
        self.limit = allocation_length as usize;
        self.written = 0;
    }

    /// Appends.
    pub(super) fn put(&mut self, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.written += bytes.len();
    }

    /// Appends sense data in descriptor format (`desc`) or in fixed format.
    pub(super) fn put_sense(&mut self, sense: &Sense, desc: bool) {
        self.put(sense.encode(desc).as_bytes());
    }

    /// Bytes appended so far, as if nothing had been cut off.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Writes over what was appended at `at`, as far as it was kept: for lengths that are known at the end.
    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        debug_assert!(at + bytes.len() <= self.written, "only what was appended can be patched");
        for (old, new) in self.bytes.iter_mut().skip(at).zip(bytes) {
            *old = *new;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_there_is_room_for() {
        let mut reply = Reply::new();
        reply.begin(5);
        reply.put(&[1, 2, 3]);
        reply.put(&[4, 5, 6]);
        reply.put(&[7]);
        assert_eq!(reply.as_bytes(), [1, 2, 3, 4, 5]);
        assert_eq!(reply.written(), 7);
    }

    #[test]
    fn patches_only_what_was_kept() {
        let mut reply = Reply::new();
        reply.begin(3);
        reply.put(&[0; 6]);
        reply.patch(2, &[0xaa, 0xbb]);
        reply.patch(4, &[0xcc]);
        assert_eq!(reply.as_bytes(), [0, 0, 0xaa]);
    }

    #[test]
    fn nothing_is_left_of_the_last_reply() {
        let mut reply = Reply::new();
        reply.begin(8);
        reply.put(&[0xff; 8]);
        reply.begin(0);
        reply.put(&[1]);
        assert!(reply.as_bytes().is_empty());
        assert_eq!(reply.written(), 1);
    }
}

//! Parts of a list of segments: framing means nothing, only byte offsets do.

use bdev::Segment;

/// The pieces of `len` bytes at byte `offset` of a list of segments, in order, none of them empty.
#[derive(Debug, Clone)]
pub struct Pieces<'a> {
    rest: &'a [Segment],
    skip: u64,
    left: u64,
}

impl<'a> Pieces<'a> {
    /// The pieces; fewer bytes if the segments end before.
    #[inline]
    pub fn new(segments: &'a [Segment], offset: u64, len: u64) -> Self {
        Self { rest: segments, skip: offset, left: len }
    }
}

impl Iterator for Pieces<'_> {
    type Item = Segment;

    #[inline]
    fn next(&mut self) -> Option<Segment> {
        while self.left > 0
            && let Some((first, rest)) = self.rest.split_first()
        {
            self.rest = rest;
            let len = first.len() as u64;
            if self.skip >= len {
                self.skip -= len;
                continue;
            }
            let (_, mut piece) = first.split_at(self.skip as usize);
            self.skip = 0;
            if piece.len() as u64 > self.left {
                piece = piece.split_at(self.left as usize).0;
            }
            self.left -= piece.len() as u64;
            return Some(piece);
        }
        None
    }
}

/// Copies the first bytes of `segments` into `into`. Returns the number copied, less than asked for where they end.
#[inline]
pub(super) fn copy_head(segments: &[Segment], into: &mut [u8]) -> usize {
    match segments.first() {
        Some(first) if first.len() >= into.len() => {
            first.read(0, into);
            into.len()
        }
        _ => bdev::segment::copy_from(segments, 0, into),
    }
}

/// Copies `from` to the first bytes of `segments`. Returns the number copied, less than given where they end.
#[inline]
pub(super) fn write_head(segments: &[Segment], from: &[u8]) -> usize {
    match segments.first() {
        Some(first) if first.len() >= from.len() => {
            first.write(0, from);
            from.len()
        }
        _ => bdev::segment::copy_to(segments, 0, from),
    }
}

//! Where the memory of an operation is cut, so that each part is what one command may carry.

use crate::segment::{Segment, total_len};
use crate::uring::Cursor;

use super::command::Data;
use super::limits::{Limits, PAGE, SEGMENTS_MAX};

/// The memory of one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    /// Bytes, a multiple of the block size.
    pub(super) bytes: u64,
    pub(super) data: Data,
    /// The one segment that `data` is; otherwise it is a list of segments.
    pub(super) segment: Option<Segment>,
}

impl Piece {
    /// All of `segment`, which has fewer than 2^32 bytes.
    pub(super) fn of(segment: Segment) -> Self {
        let data = Data { address: segment.as_ptr().addr() as u64, len: segment.len() as u32 };
        Self { bytes: segment.len() as u64, data, segment: Some(segment) }
    }

    /// The segments of one that is a list, cut from `segments` at `cursor`.
    pub(super) fn list(self, segments: &[Segment], cursor: Cursor) -> &[Segment] {
        &segments[cursor.segment..][..self.data.len as usize]
    }
}

/// The next piece of `segments` from `cursor` on. `None` if the list cannot be cut where a block ends: it is not ours to
/// change. `block_size` is a power of two.
#[inline]
pub(super) fn next(segments: &[Segment], cursor: Cursor, limits: &Limits, block_size: u64) -> Option<Piece> {
    let rest = &segments[cursor.segment..];
    let first = rest.first()?.split_at(cursor.at).1;
    let count = if cursor.at > 0 || rest.len() == 1 { 1 } else { together(rest, limits) };
    if count <= 1 {
        let most = (first.len() as u64).min(limits.transfer_bytes) & !(block_size - 1);
        return (most > 0).then(|| Piece::of(first.split_at(most as usize).0));
    }
    let bytes = total_len(&rest[..count]);
    let data = Data { address: rest.as_ptr().addr() as u64, len: count as u32 };
    (bytes & (block_size - 1) == 0).then_some(Piece { bytes, data, segment: None })
}

/// How many of `segments`, from the first on, one command may carry.
fn together(segments: &[Segment], limits: &Limits) -> usize {
    let (mut bytes, mut pages) = (0, 0);
    let fits = |segment: &&Segment| {
        bytes += segment.len() as u64;
        pages += pages_of(segment);
        bytes <= limits.transfer_bytes && pages <= limits.pages
    };
    segments.iter().take(SEGMENTS_MAX).take_while(fits).count()
}

/// Whether all of `segments` can be cut; or, if they have to be one piece, are that.
pub(super) fn can_be_cut(segments: &[Segment], limits: &Limits, block_size: u64, whole: bool) -> bool {
    let len = total_len(segments);
    let first = next(segments, Cursor::start(segments), limits, block_size);
    if first.is_some_and(|piece| piece.bytes == len) {
        return true;
    }
    !whole && segments.iter().all(|segment| (segment.len() as u64).is_multiple_of(block_size))
}

fn pages_of(segment: &Segment) -> usize {
    let start = segment.as_ptr().addr() % PAGE;
    (start + segment.len()).div_ceil(PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::Mapping;

    const LIMITS: Limits = Limits {
        largest_bytes: 16384,
        transfer_bytes: 16384,
        pages: 5,
        depth: 0,
        verify_bytes: 0,
        zeroes_bytes: 0,
        deallocate_bytes: 0,
    };

    /// The length and the number of segments (0: no list) of each piece, as far as it can be cut.
    fn pieces(segments: &[Segment], block_size: u64) -> Vec<(u64, u32)> {
        let mut cursor = Cursor::start(segments);
        std::iter::from_fn(|| {
            let piece = next(segments, cursor, &LIMITS, block_size)?;
            cursor.advance(segments, piece.bytes as usize);
            Some((piece.bytes, if piece.segment.is_none() { piece.data.len } else { 0 }))
        })
        .collect()
    }

    #[test]
    fn pieces_are_whole_segments_or_parts_of_one() {
        let memory = Mapping::new(64 << 10).unwrap();
        let of = |at: usize, len: usize| memory.part(at, len);
        assert_eq!(pieces(&[of(0, 4096)], 512), [(4096, 0)]);
        assert_eq!(pieces(&[of(0, 40960)], 512), [(16384, 0), (16384, 0), (8192, 0)]);
        assert_eq!(pieces(&[of(0, 4096), of(8192, 8192)], 4096), [(12288, 2)]);
        assert_eq!(pieces(&[of(0, 8192), of(16384, 12288), of(4096, 512)], 512), [(8192, 0), (12288 + 512, 2)]);
        assert_eq!(pieces(&[of(0, 20480), of(32768, 4096), of(40960, 512)], 512), [(16384, 0), (4096, 0), (4608, 2)]);
        assert_eq!(pieces(&[of(0, 512), Segment::EMPTY, of(8192, 512)], 512), [(1024, 3)]);
        assert_eq!(pieces(&[], 512), []);
    }

    #[test]
    fn pages_count_as_they_are_touched() {
        let memory = Mapping::new(64 << 10).unwrap();
        let across: Vec<_> = (0..4).map(|index| memory.part(index * 8192 + 3840, 512)).collect();
        assert_eq!(pieces(&across, 512), [(1024, 2), (1024, 2)], "two pages each");
        assert!(can_be_cut(&across, &LIMITS, 512, false));
        assert!(!can_be_cut(&across, &LIMITS, 512, true), "it would not be written as a whole");
    }

    #[test]
    fn what_ends_within_a_block_is_not_cut() {
        let memory = Mapping::new(64 << 10).unwrap();
        let odd = [memory.part(0, 700), memory.part(4096, 324)];
        assert_eq!(pieces(&odd, 512), [(1024, 2)]);
        assert!(can_be_cut(&odd, &LIMITS, 512, false));
        assert!(!can_be_cut(&odd, &LIMITS, 4096, false));
        let long = [memory.part(0, 16384 - 100), memory.part(32768, 612)];
        assert!(!can_be_cut(&long, &LIMITS, 512, false));
        assert_eq!(pieces(&[memory.part(0, 100), memory.part(4096, 16796)], 512), [], "the first block is in two");
        let bytes = vec![memory.part(0, 1); 2048];
        assert!(
            !can_be_cut(&bytes, &Limits { pages: 4096, ..LIMITS }, 2048, false),
            "more segments than the kernel takes"
        );
    }
}

//! One table of ranges and one of memory layouts that have broken block devices before.

/// Ranges `(first block, blocks)` of a device of `blocks` blocks: single blocks, around pages and powers of two, up to the
/// very end, and as large as the device.
pub fn ranges(blocks: u64) -> Vec<(u64, u64)> {
    let end = blocks;
    let table = [
        (0, 1),
        (0, 2),
        (0, 7),
        (0, 8),
        (0, 9),
        (1, 1),
        (1, 7),
        (1, 8),
        (3, 5),
        (7, 1),
        (7, 2),
        (7, 9),
        (8, 8),
        (9, 255),
        (0, 256),
        (1, 256),
        (255, 2),
        (0, 257),
        (13, 1023),
        (5, 1024),
        (end.saturating_sub(1), 1),
        (end.saturating_sub(2), 2),
        (end.saturating_sub(9), 9),
        (end.saturating_sub(257), 257),
        (0, end),
    ];
    table.into_iter().filter(|(first, count)| first + count <= blocks).collect()
}

/// Ranges in bytes that are not within a device of `size` bytes.
pub fn ranges_past(size: u64, block_size: u64) -> [(u64, u64); 5] {
    [
        (size, block_size),
        (size - block_size, 2 * block_size),
        (0, size + block_size),
        (u64::MAX - block_size + 1, block_size),
        (size + block_size, block_size),
    ]
}

/// How memory lies: the first byte's distance from a page, and the lengths of the segments.
#[derive(Debug, Clone)]
pub struct Layout {
    pub skew: usize,
    pub lengths: Vec<usize>,
}

/// Ways to lay out `len` bytes. Not all are aligned to anything.
pub fn layouts(len: usize) -> Vec<Layout> {
    let mut layouts: Vec<_> =
        [0, 1, 2, 4, 7, 8, 256, 511, 512, 4095].into_iter().map(|skew| Layout { skew, lengths: vec![len] }).collect();
    for (skew, piece) in [(0, 512), (0, 4096), (512, 4096), (4, 512), (0, 511), (3, 513), (0, 1000)] {
        layouts.push(Layout { skew, lengths: in_pieces(len, piece) });
    }
    for count in [2, 3, 1023, 1024, 1025, 2000] {
        if len >= count {
            layouts.push(Layout { skew: 0, lengths: in_count(len, count) });
        }
    }
    // Empty segments first, last and in between.
    layouts.push(Layout { skew: 0, lengths: vec![0, len / 2, 0, 0, len - len / 2, 0] });
    // More than a system call takes at a time of which all but the last are empty.
    let mut mostly_empty = vec![0; 1500];
    mostly_empty.push(len);
    layouts.push(Layout { skew: 0, lengths: mostly_empty });
    layouts
}

fn in_pieces(len: usize, piece: usize) -> Vec<usize> {
    let mut lengths = vec![piece; len / piece];
    if !len.is_multiple_of(piece) {
        lengths.push(len % piece);
    }
    lengths
}

fn in_count(len: usize, count: usize) -> Vec<usize> {
    (0..count).map(|at| len * (at + 1) / count - len * at / count).collect()
}

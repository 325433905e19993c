//! Memory of our own in the place of what of one request is not shared.
//!
//! Owns the memory, and knows which guest addresses it stands for. Never moves a byte to or from the client: that is done
//! by its control thread. [`remote`](super::remote) makes it and takes it apart.

use rustix::io::Errno;

use crate::dma::{Access, Gpa, StandIn};
use crate::virtio::ring::{Chain, RemoteRange};

use super::courier::Piece;

/// Memory that stands in for that of one request.
#[derive(Debug)]
pub(crate) struct StoodIn {
    memory: StandIn,
    writable: Vec<Writable>,
    bytes: u64,
}

/// A range that the device may write.
#[derive(Debug, Clone, Copy)]
struct Writable {
    gpa: Gpa,
    /// Bytes of the chain's writable part before it.
    offset: u64,
    /// Where it is in the memory that stands in.
    at: usize,
    len: u64,
}

impl StoodIn {
    /// Bytes that it takes to stand in for the remote ranges of `chain`.
    pub(super) fn bytes_for(chain: &Chain) -> u64 {
        layout(chain.remote()).1
    }

    /// Memory in the place of the remote ranges of `chain`, with what was fetched, one piece for each readable one.
    ///
    /// # Errors
    /// The system has no memory.
    pub(super) fn new(chain: &mut Chain, fetched: Vec<Piece>) -> Result<Self, Errno> {
        let ranges = chain.remote().to_vec();
        let (places, bytes) = layout(&ranges);
        let memory = StandIn::new(bytes as usize)?;
        let (mut writable, mut fetched) = (Vec::new(), fetched.into_iter());
        for (range, at) in ranges.iter().zip(places) {
            let segment = memory.segment(at, range.len as usize);
            match range.access {
                Access::Read => segment.write(0, &fetched.next().expect("one for each readable range").bytes),
                Access::Write => {
                    let before = &chain.writable()[..range.place - chain.readable().len()];
                    let offset = bdev::segment::total_len(before);
                    writable.push(Writable { gpa: range.gpa, offset, at, len: range.len });
                }
            }
            chain.replace(range.place, segment);
        }
        Ok(Self { memory, writable, bytes })
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What was written into the ranges, if that was the first `written` bytes of the chain's writable part.
    pub(super) fn written(&self, written: u64) -> Vec<Piece> {
        let piece = |range: &Writable| {
            let len = range.len.min(written.saturating_sub(range.offset)) as usize;
            let mut bytes = vec![0; len];
            self.memory.segment(range.at, len).read(0, &mut bytes);
            Piece { gpa: range.gpa, bytes }
        };
        self.writable.iter().map(piece).filter(|piece| !piece.bytes.is_empty()).collect()
    }
}

/// Where each range goes in memory that stands in for them, and the length of that: ranges that can be blocks of a disk or
/// pages are aligned as such.
fn layout(ranges: &[RemoteRange]) -> (Vec<usize>, u64) {
    let mut end = 0_u64;
    let mut place = |range: &RemoteRange| {
        let align = match range.len {
            4096.. => 4096,
            512.. => 512,
            _ => 16,
        };
        let at = end.next_multiple_of(align);
        end = at + range.len;
        at as usize
    };
    let places = ranges.iter().map(&mut place).collect();
    (places, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_pages_are_aligned() {
        let range = |len| RemoteRange { gpa: Gpa(0x123), len, access: Access::Read, place: 0 };
        let (places, bytes) = layout(&[51, 512, 1, 4096, 513].map(range));
        assert_eq!((places, bytes), (vec![0, 512, 1024, 4096, 8192], 8192 + 513));
        assert_eq!(layout(&[]), (Vec::new(), 0));
    }
}

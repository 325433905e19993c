//! How a request lies in guest memory and how it is cut into descriptors. Every cut is legal (virtio 1.2, 2.7.4.2).
//!
//! Owns the buffers of one request. Never touches a ring.

use super::error::Result;
use super::memory::{GuestMemory, Window};
use super::queue::Piece;

/// How to cut.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Framing {
    /// One descriptor each for request, data out, response, data in; none for data that is not there.
    #[default]
    Parts,
    /// As above, and data in segments of at most so many bytes.
    Segments(usize),
    /// One descriptor for all that the device reads, one for all that it writes.
    Whole,
    /// Descriptors of these many bytes in turn for what the device reads, and for what it writes; what is left over is in
    /// a last one.
    Cut {
        /// What the device reads: request and data out.
        readable: Vec<usize>,
        /// What the device writes: response and data in.
        writable: Vec<usize>,
    },
}

/// How one request is laid out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shape {
    /// How it is cut.
    pub framing: Framing,
    /// Whether the descriptors are in an indirect table.
    pub indirect: bool,
    /// How far from a page boundary data begins, for framings that place it by itself.
    pub data_offset: usize,
}

impl Shape {
    /// Cut so, in the ring itself.
    pub fn of(framing: Framing) -> Self {
        Self { framing, ..Self::default() }
    }

    /// The same in an indirect table.
    pub fn indirect(self) -> Self {
        Self { indirect: true, ..self }
    }
}

const PAGE: usize = 4096;

/// The buffers of one request.
#[derive(Debug)]
pub struct Buffers {
    /// Request header, as given.
    pub request: Window,
    /// Data that the device reads.
    pub data_out: Window,
    /// Response.
    pub response: Window,
    /// Data that the device writes.
    pub data_in: Window,
    /// Indirect table, empty if there is none.
    pub table: Window,
    allocations: Vec<Window>,
    pieces: Vec<Piece>,
}

impl Buffers {
    /// Lays out a request: its bytes, the data to send, room for the response and for data.
    ///
    /// # Errors
    /// No room in memory.
    pub fn new(
        memory: &mut GuestMemory,
        shape: &Shape,
        (request, data_out): (&[u8], &[u8]),
        (response_len, data_in_len): (usize, usize),
    ) -> Result<Self> {
        let mut allocations = Allocations { memory, list: Vec::new() };
        let contiguous = matches!(shape.framing, Framing::Whole | Framing::Cut { .. });
        let ((request_at, data_out_at), (response, data_in)) = if contiguous {
            (allocations.joined(request.len(), data_out.len())?, allocations.joined(response_len, data_in_len)?)
        } else {
            let readable = (allocations.one(request.len(), 8)?, allocations.data(data_out.len(), shape.data_offset)?);
            (readable, (allocations.one(response_len, 8)?, allocations.data(data_in_len, shape.data_offset)?))
        };
        request_at.write(0, request);
        data_out_at.write(0, data_out);
        let pieces = [
            cut(&request_at, &data_out_at, false, sizes(&shape.framing, false)),
            cut(&response, &data_in, true, sizes(&shape.framing, true)),
        ]
        .concat();
        let table = allocations.one(if shape.indirect { pieces.len() * 16 } else { 0 }, 16)?;
        let allocations = allocations.keep();
        Ok(Self { request: request_at, data_out: data_out_at, response, data_in, table, allocations, pieces })
    }

    /// The descriptors.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Gives the memory back. The device must be done with it.
    pub fn free(self, memory: &mut GuestMemory) {
        for window in &self.allocations {
            memory.free(window);
        }
    }
}

/// What has been allocated so far; given back on the way out if the rest fails.
struct Allocations<'a> {
    memory: &'a mut GuestMemory,
    list: Vec<Window>,
}

impl Allocations<'_> {
    fn one(&mut self, len: usize, align: usize) -> Result<Window> {
        let window = self.memory.allocate(len, align)?;
        self.list.push(window.clone());
        Ok(window)
    }

    /// `len` bytes that begin `offset` bytes behind a page boundary.
    fn data(&mut self, len: usize, offset: usize) -> Result<Window> {
        Ok(self.one(offset + len, PAGE)?.part(offset, len))
    }

    /// Two parts, one right behind the other.
    fn joined(&mut self, first: usize, second: usize) -> Result<(Window, Window)> {
        let both = self.one(first + second, 8)?;
        Ok((both.part(0, first), both.part(first, second)))
    }

    fn keep(mut self) -> Vec<Window> {
        std::mem::take(&mut self.list)
    }
}

impl Drop for Allocations<'_> {
    fn drop(&mut self) {
        for window in &self.list {
            self.memory.free(window);
        }
    }
}

/// How the header and the data of one side are cut.
enum Sizes<'a> {
    /// The header whole, data in segments of at most so many bytes.
    Apart(usize),
    /// Both as one run of bytes, cut in turn.
    Run(&'a [usize]),
}

fn sizes(framing: &Framing, writable_side: bool) -> Sizes<'_> {
    match framing {
        Framing::Parts => Sizes::Apart(usize::MAX),
        Framing::Segments(len) => Sizes::Apart(*len),
        Framing::Whole => Sizes::Run(&[]),
        Framing::Cut { readable, writable } => Sizes::Run(if writable_side { writable } else { readable }),
    }
}

fn cut(header: &Window, data: &Window, device_writes: bool, sizes: Sizes<'_>) -> Vec<Piece> {
    let start = header.gpa();
    let piece = |gpa, len: usize| Piece { gpa, len: len as u32, device_writes };
    match sizes {
        Sizes::Apart(segment) => {
            let mut pieces = vec![piece(start, header.len())];
            let mut done = 0;
            while done < data.len() {
                let len = segment.min(data.len() - done).max(1);
                pieces.push(piece(data.gpa().plus(done as u64), len));
                done += len;
            }
            pieces
        }
        Sizes::Run(sizes) => {
            let total = header.len() + data.len();
            let (mut pieces, mut done) = (Vec::new(), 0);
            for &size in sizes.iter().chain([&usize::MAX]) {
                let len = size.min(total - done);
                if len > 0 {
                    pieces.push(piece(start.plus(done as u64), len));
                }
                done += len;
            }
            pieces
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::memory::{Gpa, Region};

    fn memory() -> GuestMemory {
        GuestMemory::new(vec![Region::new(Gpa(0x10000), 0x8000).unwrap()])
    }

    fn lens(shape: &Shape, out: usize, data_in: usize) -> Vec<(u32, bool)> {
        let mut memory = memory();
        let buffers = Buffers::new(&mut memory, shape, (&[7; 51], &vec![9; out]), (108, data_in)).unwrap();
        assert_eq!(buffers.request.to_vec(), [7; 51]);
        assert_eq!(buffers.data_out.to_vec(), vec![9; out]);
        let readable: Vec<u8> = buffers
            .pieces()
            .iter()
            .filter(|piece| !piece.device_writes)
            .flat_map(|piece| memory.window(piece.gpa, piece.len as usize).unwrap().to_vec())
            .collect();
        assert_eq!(readable, [vec![7; 51], vec![9; out]].concat());
        buffers.pieces().iter().map(|piece| (piece.len, piece.device_writes)).collect()
    }

    #[test]
    fn parts_are_one_descriptor_each() {
        assert_eq!(lens(&Shape::default(), 0, 512), [(51, false), (108, true), (512, true)]);
        assert_eq!(lens(&Shape::default(), 512, 0), [(51, false), (512, false), (108, true)]);
    }

    #[test]
    fn segments_cut_data_only() {
        let shape = Shape::of(Framing::Segments(300));
        assert_eq!(
            lens(&shape, 512, 301),
            [(51, false), (300, false), (212, false), (108, true), (300, true), (1, true)]
        );
    }

    #[test]
    fn whole_is_one_descriptor_a_side() {
        assert_eq!(lens(&Shape::of(Framing::Whole), 512, 8), [(563, false), (116, true)]);
    }

    #[test]
    fn cuts_may_fall_anywhere() {
        let shape = Shape::of(Framing::Cut { readable: vec![1, 50, 1], writable: vec![107, 2] });
        assert_eq!(
            lens(&shape, 512, 8),
            [(1, false), (50, false), (1, false), (511, false), (107, true), (2, true), (7, true)]
        );
        let longer = Shape::of(Framing::Cut { readable: vec![600], writable: vec![] });
        assert_eq!(lens(&longer, 512, 8), [(563, false), (116, true)]);
    }

    #[test]
    fn data_begins_where_it_is_told_to() {
        let shape = Shape { data_offset: 24, ..Shape::default() };
        let buffers = Buffers::new(&mut memory(), &shape, (&[0; 51], &[]), (108, 4096)).unwrap();
        assert_eq!(buffers.data_in.gpa().0 % 4096, 24);
    }

    #[test]
    fn all_memory_comes_back() {
        let mut memory = memory();
        let shape = Shape::of(Framing::Segments(16)).indirect();
        let buffers = Buffers::new(&mut memory, &shape, (&[0; 51], &[1; 512]), (108, 512)).unwrap();
        buffers.free(&mut memory);
        assert!(Buffers::new(&mut memory, &shape, (&[0; 51], &[1; 512]), (108, 0x10000)).is_err());
        assert!(memory.allocate(0x8000, 1).is_ok());
    }
}

//! The driver's side of a virtqueue, whichever its layout (virtio 1.2, 2.6).
//!
//! What split and packed queues have in common, and the [`Queue`] that is one of them. Whoever wants to reach below the
//! orderly way in takes [`Queue::split`] or [`Queue::packed`].

use super::error::Result;
use super::memory::{Gpa, GuestMemory, Window};
use super::queue_packed::PackedQueue;
use super::queue_split::SplitQueue;

/// Where a queue is: the three areas that the transport is told of (4.1.4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLayout {
    /// Entries. A power of two if it is split.
    pub size: u16,
    /// Descriptor area: descriptor table or descriptor ring.
    pub desc: Gpa,
    /// Driver area: avail ring or the driver's event suppression.
    pub driver: Gpa,
    /// Device area: used ring or the device's event suppression.
    pub device: Gpa,
}

/// One buffer of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it is.
    pub gpa: Gpa,
    /// Its length in bytes.
    pub len: u32,
    /// Whether the device writes it.
    pub device_writes: bool,
}

/// A chain that the device has given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// What names it: its first descriptor, or in a packed ring its buffer id.
    pub head: u16,
    /// Bytes that the device says it has written.
    pub len: u32,
}

/// The layout of a virtqueue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Descriptor table, avail ring and used ring (2.7).
    Split,
    /// One ring of descriptors (2.8).
    Packed,
}

/// The driver's side of a virtqueue.
#[derive(Debug)]
pub enum Queue {
    /// A split ring.
    Split(SplitQueue),
    /// A packed ring.
    Packed(PackedQueue),
}

/// Calls the method of whichever it is.
macro_rules! either {
    ($self:ident, $queue:ident => $call:expr) => {
        match $self {
            Queue::Split($queue) => $call,
            Queue::Packed($queue) => $call,
        }
    };
}

impl Queue {
    /// Lays out an empty ring of `size` entries in `memory`.
    ///
    /// # Errors
    /// No room in memory.
    pub fn new(memory: &mut GuestMemory, format: Format, number: u16, size: u16, event_idx: bool) -> Result<Self> {
        Ok(match format {
            Format::Split => Self::Split(SplitQueue::new(memory, number, size, event_idx)?),
            Format::Packed => Self::Packed(PackedQueue::new(memory, number, size, event_idx)?),
        })
    }

    /// The queue's number at the device.
    pub fn number(&self) -> u16 {
        either!(self, queue => queue.number())
    }

    /// Where it is.
    pub fn layout(&self) -> QueueLayout {
        either!(self, queue => queue.layout())
    }

    /// Gives its memory back. The device must have been told to forget it.
    pub fn free(self, memory: &mut GuestMemory) {
        either!(self, queue => queue.free(memory));
    }

    /// Descriptors that no chain in flight has.
    pub fn free_descriptors(&self) -> usize {
        either!(self, queue => queue.free_descriptors())
    }

    /// Adds a chain of these pieces, one descriptor each; returns what names it. The device sees it after
    /// [`publish`](Self::publish).
    ///
    /// # Errors
    /// [`Error::Full`](super::Error::Full): not enough descriptors.
    pub fn add(&mut self, pieces: &[Piece]) -> Result<u16> {
        either!(self, queue => queue.add(pieces))
    }

    /// Adds a chain of these pieces as an indirect table, which is written to `table`.
    ///
    /// # Errors
    /// [`Error::Full`](super::Error::Full): no descriptor, or too short a table.
    pub fn add_indirect(&mut self, table: &Window, pieces: &[Piece]) -> Result<u16> {
        either!(self, queue => queue.add_indirect(table, pieces))
    }

    /// Makes everything added visible to the device. Whether the device wants to be notified.
    pub fn publish(&mut self) -> bool {
        either!(self, queue => queue.publish())
    }

    /// Takes the next chain that the device has given back.
    ///
    /// # Errors
    /// [`Error::UnknownHead`](super::Error::UnknownHead): not in flight.
    pub fn poll(&mut self) -> Result<Option<Used>> {
        either!(self, queue => queue.poll())
    }

    /// Asks for an interrupt with the next chain given back, or for none. Whether there is one already: then poll instead
    /// of waiting.
    pub fn set_interrupts(&mut self, wanted: bool) -> bool {
        either!(self, queue => queue.set_interrupts(wanted))
    }

    /// Descriptor, driver and device area: to write anything anywhere.
    pub fn windows(&self) -> [&Window; 3] {
        either!(self, queue => queue.windows())
    }

    /// The split ring.
    ///
    /// # Panics
    /// It is packed.
    pub fn split(&mut self) -> &mut SplitQueue {
        match self {
            Self::Split(queue) => queue,
            Self::Packed(_) => panic!("queue {} is packed", self.number()),
        }
    }

    /// The packed ring.
    ///
    /// # Panics
    /// It is split.
    pub fn packed(&mut self) -> &mut PackedQueue {
        match self {
            Self::Packed(queue) => queue,
            Self::Split(_) => panic!("queue {} is split", self.number()),
        }
    }
}

/// Whether an index that went from `old` to `new` passed `event` (2.7.10.1).
pub fn needs_event(event: u16, new: u16, old: u16) -> bool {
    new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_event_is_right_around_the_wrap() {
        assert!(needs_event(65535, 0, 65535));
        assert!(!needs_event(0, 0, 65535));
        assert!(needs_event(5, 6, 5));
        assert!(!needs_event(6, 6, 5));
        assert!(!needs_event(4, 6, 5));
        assert!(!needs_event(5, 5, 5));
    }
}

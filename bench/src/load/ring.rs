//! The driver's side of a virtqueue, for load: nothing is allocated, searched or looked up.
//!
//! What [`Lane`](super::lane::Lane) and [`Slots`](super::slots::Slots) need of a ring, split or packed. It is a trait and
//! not an enum so that each layout has code of its own on the way of a request: the driver must not be what limits.

use crate::guest::queue::Queue;
use crate::guest::spec::ring;

/// A buffer as a descriptor tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer {
    /// Guest address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
    /// Those flags of [`ring`] that both layouts have.
    pub flags: u16,
}

/// A ring that a lane drives. Asks for no interrupts.
pub trait DriverRing: std::fmt::Debug + Send {
    /// Goes on where `queue` is, with requests of at most `entries` descriptors, one for each slot. Nothing is in flight
    /// there, and nobody uses it any more.
    fn take_over(queue: &Queue, entries: u16) -> Self;

    /// Entries.
    fn size(&self) -> u16;

    /// Writes descriptor `index` of the chain of `slot`. The chain's descriptors come one after the other, and no other
    /// chain between them.
    fn put(&mut self, slot: u16, index: u16, buffer: Buffer);

    /// Offers the chain of `slot`, which has `count` descriptors; the device sees it after [`publish`](Self::publish).
    fn offer(&mut self, slot: u16, count: u16);

    /// Entry `index` of an indirect table.
    fn table_entry(index: u16, buffer: Buffer) -> [u8; ring::DESCRIPTOR_LEN];

    /// Shows the device all that was offered. One release store, none if there is nothing new.
    fn publish(&mut self);

    /// Whether the device asks for a doorbell for something that was published since the last call.
    fn wants_bell(&mut self) -> bool;

    /// Looks how far the device is. Whether there is something to [`take`](Self::take).
    fn look(&mut self) -> bool;

    /// Finds all that can be taken, and tells the slots, so that their memory can be asked for. Right after a
    /// [`look`](Self::look).
    fn ahead(&mut self, visit: impl FnMut(u16));

    /// The slot of the next chain given back, of those that were found ahead; or, if it is none that could be with the
    /// device, what the device wrote there.
    fn take(&mut self) -> Option<Result<u16, u32>>;
}

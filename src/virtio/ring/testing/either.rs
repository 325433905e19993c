//! A driver of a ring of either format, for tests to which the format makes no difference.

use std::sync::Arc;

use super::packed::{DISABLE, ENABLE, PackedDriver};
use super::{Buffer, FakeDriver, Ring, RingFeatures};
use crate::dma::MemMap;

/// A driver that owns one ring.
#[derive(Debug)]
pub enum EitherDriver {
    /// Of a split ring.
    Split(FakeDriver),
    /// Of a packed ring.
    Packed(PackedDriver),
}

impl EitherDriver {
    /// A ring of `size` entries whose areas lie one behind the other from `base` on, in memory that is there.
    pub fn in_map(map: Arc<MemMap>, base: u64, size: u16, features: RingFeatures, packed: bool) -> Self {
        if packed {
            Self::Packed(PackedDriver::laid_out(map, PackedDriver::layout_at(base, size), features))
        } else {
            Self::Split(FakeDriver::in_map(map, FakeDriver::layout_at(base, size), features))
        }
    }

    /// The driver of a split ring, which most tests have.
    ///
    /// # Panics
    /// If the ring is packed.
    pub fn split(&self) -> &FakeDriver {
        match self {
            Self::Split(driver) => driver,
            Self::Packed(_) => panic!("the ring is packed"),
        }
    }

    /// As [`EitherDriver::split`].
    ///
    /// # Panics
    /// If the ring is packed.
    pub fn split_mut(&mut self) -> &mut FakeDriver {
        match self {
            Self::Split(driver) => driver,
            Self::Packed(_) => panic!("the ring is packed"),
        }
    }

    /// Guest memory.
    pub fn map(&self) -> &Arc<MemMap> {
        match self {
            Self::Split(driver) => driver.map(),
            Self::Packed(driver) => driver.map(),
        }
    }

    /// The device's side of this ring, bound to `map`, not started.
    pub fn ring_in(&self, map: &MemMap, features: RingFeatures) -> Ring {
        let ring = match self {
            Self::Split(driver) => Ring::split(driver.layout(), features, map),
            Self::Packed(driver) => Ring::packed(driver.layout(), features, map),
        };
        ring.expect("the layout is legal")
    }

    /// Writes guest memory.
    pub fn write(&self, gpa: u64, bytes: &[u8]) {
        match self {
            Self::Split(driver) => driver.write(gpa, bytes),
            Self::Packed(driver) => driver.write(gpa, bytes),
        }
    }

    /// Reads guest memory.
    pub fn read(&self, gpa: u64, len: usize) -> Vec<u8> {
        match self {
            Self::Split(driver) => driver.read(gpa, len),
            Self::Packed(driver) => driver.read(gpa, len),
        }
    }

    /// Makes a chain of direct descriptors available. Returns its name, or none if descriptors are short.
    pub fn add(&mut self, buffers: &[Buffer]) -> Option<u16> {
        match self {
            Self::Split(driver) => driver.add(buffers),
            Self::Packed(driver) => driver.add(buffers),
        }
    }

    /// Makes a chain in an indirect table of `buffers` at `table` available.
    pub fn add_indirect(&mut self, table: u64, buffers: &[Buffer]) -> Option<u16> {
        match self {
            Self::Split(driver) => driver.add_indirect(table, &[], buffers),
            Self::Packed(driver) => driver.add_indirect(table, buffers),
        }
    }

    /// The next chain that came back, name and length, if the device published one.
    pub fn take_used(&mut self) -> Option<(u16, u32)> {
        match self {
            Self::Split(driver) => driver.take_used(),
            Self::Packed(driver) => driver.take_used().map(|(id, len, _)| (id, len)),
        }
    }

    /// Asks for no interrupts, or for all.
    pub fn set_no_interrupt(&self, no_interrupt: bool) {
        match self {
            Self::Split(driver) => driver.set_no_interrupt(no_interrupt),
            Self::Packed(driver) => driver.set_event(if no_interrupt { DISABLE } else { ENABLE }, 0),
        }
    }
}

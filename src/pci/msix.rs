//! Where MSI-X table and pending bits lie in their BAR, and the table as plain memory.
//!
//! The table's addresses and data are kept for reading back only: a client turns eventfds into interrupts itself. Of a
//! vector's control word only the mask bit exists.

use super::spec::{MSIX_ENTRY_LEN, MSIX_VECTOR_CONTROL, MSIX_VECTORS_MAX};

const PAGE_LEN: u32 = 4096;

/// Layout of a BAR that holds the MSI-X table at 0 and the pending bits on a page of their own behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsixLayout {
    vectors: u16,
}

impl MsixLayout {
    /// For `vectors` vectors.
    ///
    /// # Panics
    /// If that is none, or more than the 2048 that a table can hold.
    pub fn new(vectors: u16) -> Self {
        assert!((1..=MSIX_VECTORS_MAX).contains(&vectors), "a table has 1 to 2048 vectors");
        Self { vectors }
    }

    /// Vectors in the table.
    pub fn vectors(self) -> u16 {
        self.vectors
    }

    /// Offset of the table in the BAR, bytes.
    pub fn table_offset(self) -> u32 {
        0
    }

    /// Length of the table, bytes.
    pub fn table_len(self) -> u32 {
        u32::from(self.vectors) * MSIX_ENTRY_LEN as u32
    }

    /// Offset of the pending bits in the BAR, bytes.
    pub fn pba_offset(self) -> u32 {
        self.table_len().next_multiple_of(PAGE_LEN)
    }

    /// Length of the pending bits, bytes: a bit a vector in words of 64 (PCI 6.8.2.10).
    pub fn pba_len(self) -> u32 {
        u32::from(self.vectors).div_ceil(64) * 8
    }

    /// Size of the BAR, a power of two.
    pub fn bar_len(self) -> u32 {
        (self.pba_offset() + self.pba_len()).next_power_of_two()
    }
}

/// The table's bytes.
#[derive(Debug)]
pub(super) struct Table(Box<[u8]>);

impl Table {
    pub(super) fn new(vectors: u16) -> Self {
        let mut table = Self(vec![0; usize::from(vectors) * MSIX_ENTRY_LEN].into());
        table.reset();
        table
    }

    /// All zero, and every vector masked (PCI 6.8.2.9).
    pub(super) fn reset(&mut self) {
        self.0.fill(0);
        for entry in self.0.chunks_exact_mut(MSIX_ENTRY_LEN) {
            entry[MSIX_VECTOR_CONTROL] = 1;
        }
    }

    /// Reads; bytes past the end are left alone.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(source) = self.0.get(start..) {
            data.iter_mut().zip(source).for_each(|(to, from)| *to = *from);
        }
    }

    /// Writes what is inside and calls `masked` with vector and mask bit for each control word that was written.
    pub(super) fn write(&mut self, offset: u64, data: &[u8], mut masked: impl FnMut(u16, bool)) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, new) in (start..self.0.len()).zip(data) {
            match at % MSIX_ENTRY_LEN {
                MSIX_VECTOR_CONTROL => {
                    self.0[at] = new & 1;
                    masked((at / MSIX_ENTRY_LEN) as u16, new & 1 != 0);
                }
                reserved if reserved > MSIX_VECTOR_CONTROL => {}
                _ => self.0[at] = *new,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let small = MsixLayout::new(3);
        assert_eq!((small.table_len(), small.pba_offset(), small.pba_len(), small.bar_len()), (48, 0x1000, 8, 0x2000));
        let full = MsixLayout::new(2048);
        assert_eq!(
            (full.table_len(), full.pba_offset(), full.pba_len(), full.bar_len()),
            (0x8000, 0x8000, 256, 0x10000)
        );
        assert_eq!(MsixLayout::new(65).pba_len(), 16);
    }

    #[test]
    fn writes_reach_address_and_data_and_report_the_mask() {
        let mut table = Table::new(2);
        let mut seen = Vec::new();
        table.write(16, &[0x11; 16], |vector, mask| seen.push((vector, mask)));
        table.write(12, &[0xfe], |vector, mask| seen.push((vector, mask)));
        assert_eq!(seen, [(1, true), (0, false)]);
        let mut entry = [0xee; 16];
        table.read(16, &mut entry);
        assert_eq!(entry, [0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 1, 0, 0, 0]);
    }

    #[test]
    fn accesses_past_the_end_stay_inside() {
        let mut table = Table::new(1);
        table.write(13, &[0xff; 64], |_, _| panic!("no control word was written"));
        table.write(u64::MAX, &[0xff; 4], |_, _| panic!("nothing was written"));
        let mut data = [0xaa; 4];
        table.read(14, &mut data);
        assert_eq!(data, [0, 0, 0xaa, 0xaa]);
        table.read(u64::MAX, &mut data);
        assert_eq!(data, [0, 0, 0xaa, 0xaa]);
    }
}

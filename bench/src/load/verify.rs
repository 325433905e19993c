//! Patterns that say where and by whom a block was written, and whether it is whole.
//!
//! A block holds its address, the seed, and numbers made of both; its last four bytes are a checksum of the rest. The same
//! block always gets the same pattern of one seed, so that requests may overlap and a later run can check an earlier one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, ensure};

use super::work::{Io, Random};

/// Most blocks whose state is kept: 512 MiB of it.
const MAX_BLOCKS: u64 = 1 << 32;
const CRC_LEN: usize = 4;

/// Which blocks have been written.
#[derive(Debug)]
pub struct Written {
    /// A bit for each block, one unit's after the other's.
    bits: Vec<AtomicU64>,
    /// Blocks of a unit.
    blocks: u64,
}

impl Written {
    /// None of the `blocks` of each of `units` logical units.
    ///
    /// # Errors
    /// So many that their state would not fit in memory.
    pub fn none(units: u16, blocks: u64) -> Result<Self> {
        let all = u128::from(blocks) * u128::from(units);
        ensure!(all <= u128::from(MAX_BLOCKS), "the disk is too large to verify all of it: use a part (--size 64g)");
        Ok(Self { bits: (0..all.div_ceil(64)).map(|_| AtomicU64::new(0)).collect(), blocks })
    }

    fn bit(&self, unit: u16, lba: u64) -> (&AtomicU64, u64) {
        let number = u64::from(unit) * self.blocks + lba;
        (&self.bits[(number / 64) as usize], 1 << (number % 64))
    }

    fn set(&self, unit: u16, lba: u64) {
        let (word, bit) = self.bit(unit, lba);
        word.fetch_or(bit, Ordering::Relaxed);
    }

    fn get(&self, unit: u16, lba: u64) -> bool {
        let (word, bit) = self.bit(unit, lba);
        word.load(Ordering::Relaxed) & bit != 0
    }
}

/// Makes and checks patterns for one queue.
#[derive(Debug)]
pub struct Verifier {
    seed: u64,
    /// Shared by all queues. `None`: everything was written before.
    written: Option<Arc<Written>>,
    /// By slot: which blocks of a read were written before it began. Their order is that of the request.
    expected: Vec<Vec<bool>>,
    block: Vec<u8>,
}

impl Verifier {
    /// A verifier for `depth` slots of requests of up to `max_blocks` blocks.
    pub fn new(seed: u64, written: Option<Arc<Written>>, depth: u16, max_blocks: u32, block_size: u32) -> Self {
        let expected = vec![vec![true; max_blocks as usize]; depth.into()];
        Self { seed, written, expected, block: vec![0; block_size as usize] }
    }

    /// Before a request: `put` gets each block of a write with its number in the request.
    pub fn begin(&mut self, slot: u16, io: Io, mut put: impl FnMut(usize, &[u8])) {
        let seed = seed_of(self.seed, io.unit);
        for (index, lba) in (io.lba..).take(io.blocks as usize).enumerate() {
            if io.write {
                fill(&mut self.block, lba, seed);
                put(index, &self.block);
            } else if let Some(written) = &self.written {
                self.expected[usize::from(slot)][index] = written.get(io.unit, lba);
            }
        }
    }

    /// After a request that ended well: `get` gives each block of a read. How many blocks were checked.
    ///
    /// # Errors
    /// What is wrong with the first bad block.
    pub fn end(&mut self, slot: u16, io: Io, mut get: impl FnMut(usize, &mut [u8])) -> Result<u64, String> {
        let (mut checked, seed) = (0, seed_of(self.seed, io.unit));
        for (index, lba) in (io.lba..).take(io.blocks as usize).enumerate() {
            if !io.write && self.expected[usize::from(slot)][index] {
                get(index, &mut self.block);
                check(&self.block, lba, seed)?;
                checked += 1;
            } else if let (true, Some(written)) = (io.write, &self.written) {
                written.set(io.unit, lba);
            }
        }
        Ok(checked)
    }
}

/// Blocks of different units have different patterns.
fn seed_of(seed: u64, unit: u16) -> u64 {
    seed ^ u64::from(unit) << 48
}

fn fill(block: &mut [u8], lba: u64, seed: u64) {
    let mut random = Random::new(lba ^ seed.rotate_left(32));
    for chunk in block.chunks_exact_mut(8) {
        chunk.copy_from_slice(&random.next().to_le_bytes());
    }
    block[..8].copy_from_slice(&lba.to_le_bytes());
    block[8..16].copy_from_slice(&seed.to_le_bytes());
    let body = block.len() - CRC_LEN;
    let crc = crc32fast::hash(&block[..body]);
    block[body..].copy_from_slice(&crc.to_le_bytes());
}

fn check(block: &[u8], lba: u64, seed: u64) -> Result<(), String> {
    let (body, crc) = block.split_at(block.len() - CRC_LEN);
    let word = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().expect("eight bytes"));
    if crc32fast::hash(body).to_le_bytes() != crc {
        return Err(format!(
            "block {lba} does not hold the pattern, or not all of it: it begins with {:02x?}",
            &block[..16]
        ));
    }
    if (word(0), word(8)) != (lba, seed) {
        return Err(format!("block {lba} of seed {seed} holds block {} of seed {}", word(0), word(8)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_place_and_a_wrong_bit_are_told_apart() {
        let mut block = vec![0; 512];
        fill(&mut block, 7, 1);
        check(&block, 7, 1).unwrap();
        assert!(check(&block, 8, 1).unwrap_err().contains("holds block 7"));
        assert!(check(&block, 7, 2).unwrap_err().contains("of seed 1"));
        for at in [0, 200, 511] {
            block[at] ^= 1;
            assert!(check(&block, 7, 1).unwrap_err().contains("not all of it"), "{at}");
            block[at] ^= 1;
        }
        assert!(check(&[0; 512], 0, 0).is_err(), "nothing is no pattern");
    }

    #[test]
    fn blocks_are_checked_if_they_were_written_before_the_read_began() {
        let written = Arc::new(Written::none(1, 100).unwrap());
        let mut verifier = Verifier::new(1, Some(written), 2, 4, 512);
        let read = Io { unit: 0, write: false, lba: 8, blocks: 4 };
        let write = Io { unit: 0, write: true, lba: 10, blocks: 1 };
        verifier.begin(0, read, |_, _| unreachable!());
        let mut stored = vec![0; 512];
        verifier.begin(1, write, |_, block| stored.copy_from_slice(block));
        verifier.end(1, write, |_, _| unreachable!()).unwrap();
        assert_eq!(verifier.end(0, read, |_, _| unreachable!()), Ok(0));
        verifier.begin(0, read, |_, _| unreachable!());
        assert_eq!(verifier.end(0, read, |_, block| block.copy_from_slice(&stored)), Ok(1));
        verifier.begin(0, read, |_, _| unreachable!());
        assert!(verifier.end(0, read, |_, block| block.fill(0)).is_err());
    }

    #[test]
    fn a_run_of_reads_alone_checks_everything() {
        let mut verifier = Verifier::new(1, None, 1, 4, 512);
        let read = Io { unit: 0, write: false, lba: 8, blocks: 2 };
        verifier.begin(0, read, |_, _| unreachable!());
        assert_eq!(verifier.end(0, read, |index, block| fill(block, 8 + index as u64, 1)), Ok(2));
    }

    #[test]
    fn another_units_block_is_not_taken_for_ours() {
        let written = Arc::new(Written::none(2, 100).unwrap());
        let mut verifier = Verifier::new(1, Some(Arc::clone(&written)), 1, 4, 512);
        let write = Io { unit: 0, write: true, lba: 99, blocks: 1 };
        let mut stored = vec![0; 512];
        verifier.begin(0, write, |_, block| stored.copy_from_slice(block));
        verifier.end(0, write, |_, _| unreachable!()).unwrap();
        assert!(written.get(0, 99) && !written.get(1, 0) && !written.get(1, 99));
        written.set(1, 99);
        let read = Io { unit: 1, write: false, ..write };
        verifier.begin(0, read, |_, _| unreachable!());
        assert!(verifier.end(0, read, |_, block| block.copy_from_slice(&stored)).is_err());
    }
}

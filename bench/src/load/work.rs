//! Which request comes next: direction, address and length.

use super::options::Rw;
use super::units::Split;

/// What the requests of one queue are like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Directions, and whether addresses are random.
    pub rw: Rw,
    /// Percentage of reads, if there are both.
    pub read_percent: u8,
    /// Sizes in bytes, multiples of the block size.
    pub split: Split,
    /// Logical units, which have their turns.
    pub units: u16,
    /// Blocks of each to use, from block 0 on.
    pub blocks: u64,
    /// Bytes of a block.
    pub block_size: u32,
    /// Where sequential work begins.
    pub first: u64,
    /// Of the random numbers.
    pub seed: u64,
}

/// One request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Io {
    /// Number of the logical unit.
    pub unit: u16,
    /// Whether it writes.
    pub write: bool,
    /// First block.
    pub lba: u64,
    /// Number of blocks.
    pub blocks: u32,
}

/// Random numbers: fast, of good quality, the same for the same seed (xorshift64*).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Numbers of this seed.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds shall not give similar numbers, and the state must not be 0.
        let mut random = Self(seed.wrapping_add(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    /// The next number.
    #[inline]
    #[allow(clippy::should_implement_trait, reason = "it never ends, and an Option would be in the way")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

/// The requests of one queue, without end.
#[derive(Debug)]
pub struct Work {
    plan: Plan,
    random: Random,
    /// Blocks of each of a hundred equally likely draws; a single size is not drawn.
    sizes: Vec<u32>,
    unit: u16,
    /// By unit: where sequential work goes on.
    next: Vec<u64>,
}

impl Work {
    /// Work as planned. The split's percentages sum up to 100, and every size fits the disk.
    pub fn new(plan: Plan) -> Self {
        let parts = plan.split.0.iter();
        let mut sizes: Vec<u32> =
            parts.flat_map(|&(bytes, percent)| vec![bytes / plan.block_size; percent.into()]).collect();
        assert_eq!(sizes.len(), 100, "percentages sum up to 100");
        if sizes.iter().all(|&size| size == sizes[0]) {
            sizes.truncate(1);
        }
        Self { random: Random::new(plan.seed), unit: 0, next: vec![plan.first; plan.units.into()], sizes, plan }
    }

    /// The next request.
    #[inline]
    pub fn next_io(&mut self) -> Io {
        let blocks = match self.sizes[..] {
            [one] => one,
            _ => self.sizes[self.random.below(self.sizes.len() as u64) as usize],
        };
        let unit = self.unit;
        self.unit = if unit + 1 == self.plan.units { 0 } else { unit + 1 };
        let write = match self.plan.rw {
            Rw::Read | Rw::RandRead => false,
            Rw::Write | Rw::RandWrite => true,
            Rw::ReadWrite | Rw::RandRw => self.random.below(100) >= u64::from(self.plan.read_percent),
        };
        let lba = match self.plan.rw {
            Rw::Read | Rw::Write | Rw::ReadWrite => self.advance(unit, blocks),
            // Aligned to the request's own size, as fio has it; so each address is as likely as any other.
            _ => self.random.below(self.plan.blocks / u64::from(blocks)) * u64::from(blocks),
        };
        Io { unit, write, lba, blocks }
    }

    fn advance(&mut self, unit: u16, blocks: u32) -> u64 {
        let next = &mut self.next[usize::from(unit)];
        if *next + u64::from(blocks) > self.plan.blocks {
            *next = 0;
        }
        let lba = *next;
        *next += u64::from(blocks);
        lba
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(rw: Rw, split: &str, blocks: u64, first: u64) -> Work {
        let split = split.parse().unwrap();
        Work::new(Plan { rw, read_percent: 30, split, units: 1, blocks, block_size: 512, first, seed: 1 })
    }

    #[test]
    fn sequential_work_goes_on_at_the_beginning() {
        let mut work = work(Rw::Write, "1k", 7, 2);
        let lbas: Vec<_> = (0..5).map(|_| work.next_io()).collect();
        let io = |lba| Io { unit: 0, write: true, lba, blocks: 2 };
        assert_eq!(lbas, [io(2), io(4), io(0), io(2), io(4)]);
    }

    #[test]
    fn a_sequential_mixture_has_one_sequence() {
        let mut work = work(Rw::ReadWrite, "1k", 1 << 20, 0);
        let ios: Vec<_> = (0..1000).map(|_| work.next_io()).collect();
        assert!(ios.iter().enumerate().all(|(at, io)| io.lba == 2 * at as u64));
        let reads = ios.iter().filter(|io| !io.write).count();
        assert!((230..370).contains(&reads), "{reads}");
    }

    #[test]
    fn units_have_their_turns_and_go_on_each_by_itself() {
        let split = "512".parse().unwrap();
        let plan =
            Plan { rw: Rw::Read, read_percent: 0, split, units: 3, blocks: 2, block_size: 512, first: 1, seed: 1 };
        let mut work = Work::new(plan);
        let found: Vec<_> = (0..7).map(|_| work.next_io()).map(|io| (io.unit, io.lba)).collect();
        assert_eq!(found, [(0, 1), (1, 1), (2, 1), (0, 0), (1, 0), (2, 0), (0, 1)]);
    }

    #[test]
    fn random_work_reaches_everything_and_nothing_beyond() {
        let mut work = work(Rw::RandRead, "1k", 17, 0);
        let mut seen = [0; 8];
        for _ in 0..800 {
            let io = work.next_io();
            assert!(!io.write && io.lba.is_multiple_of(2));
            seen[io.lba as usize / 2] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
    }

    #[test]
    fn mixtures_are_as_asked_for() {
        let mut work = work(Rw::RandRw, "512/20:4k/80", 1 << 30, 0);
        let ios: Vec<_> = (0..10_000).map(|_| work.next_io()).collect();
        let reads = ios.iter().filter(|io| !io.write).count();
        let small = ios.iter().filter(|io| io.blocks == 1).count();
        assert!((2800..3200).contains(&reads), "{reads}");
        assert!((1800..2200).contains(&small), "{small}");
    }
}

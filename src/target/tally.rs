//! What was read, written and verified of each disk. Each core counts for itself, on lines of its own that no other core writes;
//! who asks adds up.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bdev::{IoError, Op};

use crate::scsi::{Command, IoStatistics, RangeCommand};

use super::disk::DiskIndex;

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Verify,
}

impl Kind {
    const ALL: [Self; KINDS] = [Self::Read, Self::Write, Self::Verify];

    /// The kind of a READ or of a WRITE.
    #[inline(always)]
    pub(crate) fn of_transfer(data_out: bool) -> Self {
        if data_out { Self::Write } else { Self::Read }
    }

    /// The kind of a command that reads, writes or compares blocks.
    pub(crate) fn of(command: &Command) -> Option<Self> {
        match command {
            Command::Read { .. } => Some(Self::Read),
            Command::Write { .. } => Some(Self::Write),
            Command::OnRange { what: RangeCommand::Verify(_), .. } => Some(Self::Verify),
            Command::OnRange { .. } => Some(Self::Write),
            _ => None,
        }
    }
}

/// How many there are.
const KINDS: usize = 3;
/// Disks of a page.
const PLACES: usize = 64;

/// What one core has counted of some of its disks, by [`Kind`] and disk. Side by side, because what a core needs for each
/// command shall fit its first cache, however many disks there are; apart from what other cores count.
#[derive(Debug)]
#[repr(align(128))]
struct Page {
    done: [[Done; PLACES]; KINDS],
    errors: [[AtomicU64; PLACES]; KINDS],
}

#[derive(Debug, Default)]
struct Done {
    commands: AtomicU64,
    bytes: AtomicU64,
}

/// What one core counts of all its disks.
#[derive(Debug, Default)]
pub(crate) struct Pages(Vec<Arc<Page>>);

impl Pages {
    /// What it counts of `disk`.
    pub(crate) fn tally(&mut self, disk: DiskIndex) -> Tally {
        let (page, place) = (disk.0 / PLACES, disk.0 % PLACES);
        if self.0.len() <= page {
            self.0.resize_with(page + 1, Arc::default);
        }
        Tally { page: self.0[page].clone(), place: place as u8 }
    }
}

impl Default for Page {
    fn default() -> Self {
        let errors = std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::default()));
        Self { done: std::array::from_fn(|_| std::array::from_fn(|_| Done::default())), errors }
    }
}

/// What one core has counted of one disk.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    page: Arc<Page>,
    place: u8,
}

/// READs and WRITEs, summed up before they are counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Transfers {
    /// Of all of them.
    bytes: u64,
    writes: u64,
    written: u64,
}

impl Transfers {
    /// One more.
    #[inline(always)]
    pub(crate) fn add(&mut self, data_out: bool, bytes: u64) {
        self.bytes += bytes;
        if data_out {
            self.writes += 1;
            self.written += bytes;
        }
    }

    /// These.
    pub(crate) fn of(ops: &[Op]) -> Self {
        let mut sum = Self::default();
        ops.iter().for_each(|op| sum.add(op.kind.is_change(), op.len));
        sum
    }
}

impl Tally {
    /// More was done. Only the core whose tally it is calls this.
    #[inline(always)]
    pub(crate) fn add(&self, kind: Kind, commands: u64, bytes: u64) {
        let done = self.done(kind);
        more(&done.commands, commands);
        more(&done.bytes, bytes);
    }

    /// So many READs and WRITEs were done, which come to these.
    #[inline(always)]
    pub(crate) fn add_all(&self, commands: usize, &Transfers { bytes, writes, written }: &Transfers) {
        self.add(Kind::Read, commands as u64 - writes, bytes - written);
        if writes != 0 {
            self.add(Kind::Write, writes, written);
        }
    }

    /// So many commands, and an operation with so many bytes or its failure.
    #[inline]
    pub(crate) fn count(&self, kind: Kind, commands: u64, moved: Result<u64, IoError>) {
        self.add(kind, commands, moved.unwrap_or(0));
        if let Err(error) = moved {
            self.fail(kind, error);
        }
    }

    /// Something failed for good: not because somebody took it back, nor for a while.
    #[cold]
    pub(crate) fn fail(&self, kind: Kind, error: IoError) {
        if !matches!(error, IoError::Cancelled | IoError::Busy) {
            more(self.errors(kind), 1);
        }
    }

    #[inline(always)]
    fn done(&self, kind: Kind) -> &Done {
        &self.page.done[kind as usize][usize::from(self.place) % PLACES]
    }

    fn errors(&self, kind: Kind) -> &AtomicU64 {
        &self.page.errors[kind as usize][usize::from(self.place) % PLACES]
    }
}

/// No other core writes it, so that nothing has to be locked.
#[inline(always)]
fn more(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// What is counted of one disk by all cores.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<Counting>);

#[derive(Debug, Default)]
struct Counting {
    /// Of those that count.
    open: Vec<Tally>,
    /// What others had counted when they gave up.
    before: Sum,
}

impl Tallies {
    /// A core begins to count.
    pub(crate) fn open(&self, tally: Tally) -> Tally {
        self.lock().open.push(tally.clone());
        tally
    }

    /// The core whose tally it is counts no more. What it has counted stays, and its place is free for another disk.
    pub(crate) fn close(&self, tally: &Tally) {
        let mut counting = self.lock();
        let is_other = |other: &Tally| !Arc::ptr_eq(&other.page, &tally.page) || other.place != tally.place;
        counting.open.retain(is_other);
        counting.before.add(tally);
        for kind in Kind::ALL {
            let Done { commands, bytes } = tally.done(kind);
            for counter in [commands, bytes, tally.errors(kind)] {
                counter.store(0, Ordering::Relaxed);
            }
        }
    }

    /// All that was counted, in blocks of so many bytes. Times are not measured.
    pub(crate) fn sum(&self, block_size: u32) -> IoStatistics {
        let counting = self.lock();
        let mut sum = counting.before;
        counting.open.iter().for_each(|tally| sum.add(tally));
        let [read, write, verify] = sum.0;
        let blocks = |counted: Counted| counted.bytes / u64::from(block_size.max(1));
        IoStatistics {
            reads: read.commands,
            writes: write.commands,
            read_blocks: blocks(read),
            written_blocks: blocks(write),
            verified_blocks: blocks(verify),
            read_errors: read.errors,
            write_errors: write.errors,
            verify_errors: verify.errors,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What several have counted, by [`Kind`]; modulo 2^64, as each counts.
#[derive(Debug, Clone, Copy, Default)]
struct Sum([Counted; KINDS]);

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    commands: u64,
    bytes: u64,
    errors: u64,
}

impl Sum {
    fn add(&mut self, tally: &Tally) {
        for (counted, kind) in self.0.iter_mut().zip(Kind::ALL) {
            let add = |to: &mut u64, counter: &AtomicU64| *to = to.wrapping_add(counter.load(Ordering::Relaxed));
            let Done { commands, bytes } = tally.done(kind);
            add(&mut counted.commands, commands);
            add(&mut counted.bytes, bytes);
            add(&mut counted.errors, tally.errors(kind));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scsi::ByteCheck;

    #[test]
    fn what_each_core_counted_adds_up() {
        let tallies = Tallies::default();
        let (mut pages, mut others) = (Pages::default(), Pages::default());
        let (a, b) = (tallies.open(pages.tally(DiskIndex(70))), tallies.open(others.tally(DiskIndex(70))));
        // Of others, which are not of this disk.
        pages.tally(DiskIndex(6)).add(Kind::Read, 1, 512);
        others.tally(DiskIndex(71)).add(Kind::Read, 1, 512);
        a.add(Kind::Read, 2, 1024);
        b.add(Kind::Read, 1, 512);
        b.add(Kind::Write, 1, 4096);
        a.add(Kind::Verify, 0, 512);
        b.fail(Kind::Write, IoError::Medium);
        b.fail(Kind::Write, IoError::Cancelled);
        a.fail(Kind::Verify, IoError::Medium);
        let expected = IoStatistics {
            reads: 3,
            writes: 1,
            read_blocks: 3,
            written_blocks: 8,
            verified_blocks: 1,
            read_errors: 0,
            write_errors: 1,
            verify_errors: 1,
        };
        assert_eq!(tallies.sum(512), expected);
        tallies.close(&b);
        assert_eq!(tallies.sum(512), expected, "what was counted stays");
        let next = others.tally(DiskIndex(70));
        let of_another = Tallies::default();
        of_another.open(next).add(Kind::Read, 1, 512);
        assert_eq!((of_another.sum(512).reads, of_another.sum(512).write_errors), (1, 0), "its place is free");
        assert_eq!(tallies.sum(512), expected);
    }

    #[test]
    fn commands_are_of_their_kind() {
        let verify = Command::OnRange {
            what: RangeCommand::Verify(ByteCheck::NONE),
            lba: 0,
            blocks: 1,
            form: crate::scsi::CdbForm::Ten,
        };
        assert_eq!(Kind::of(&verify), Some(Kind::Verify));
        assert_eq!(Kind::of(&Command::TestUnitReady), None);
        assert_eq!([Kind::of_transfer(false), Kind::of_transfer(true)], [Kind::Read, Kind::Write]);
    }

    #[test]
    fn no_two_cores_share_a_line() {
        assert!(align_of::<Page>() >= 128);
    }
}

//! What was read, written and verified of each disk. Each core counts for itself, on lines of its own that no other core writes;
//! who asks adds up.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, PoisonError};

use bdev::{IoError, Op};

use crate::scsi::{Command, IoStatistics, RangeCommand};

/// What is counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Verify,
}

impl Kind {
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

/// What one core has counted of one disk, by [`Kind`].
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    done: [Done; 3],
    errors: [AtomicU64; 3],
}

#[derive(Debug, Default)]
struct Done {
    commands: AtomicU64,
    bytes: AtomicU64,
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
        let done = &self.done[kind as usize];
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
            more(&self.errors[kind as usize], 1);
        }
    }
}

/// No other core writes it, so that nothing has to be locked.
#[inline(always)]
fn more(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(by), Ordering::Relaxed);
}

/// The tallies of all cores of one disk.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<Vec<Arc<Tally>>>);

impl Tallies {
    /// A tally for one more core: one that a core has given up, with what it has, or else a new one.
    pub(crate) fn open(&self) -> Arc<Tally> {
        let mut tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(given_up) = tallies.iter().find(|tally| Arc::strong_count(tally) == 1) {
            // What the other core wrote before it gave it up is there now.
            fence(Ordering::Acquire);
            return given_up.clone();
        }
        let tally = Arc::new(Tally::default());
        tallies.push(tally.clone());
        tally
    }

    /// All that was counted, in blocks of so many bytes. Times are not measured.
    pub(crate) fn sum(&self, block_size: u32) -> IoStatistics {
        let tallies = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let sum =
            |counter: &dyn Fn(&Tally) -> u64| tallies.iter().map(|tally| counter(tally)).fold(0, u64::wrapping_add);
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let commands = |kind: Kind| sum(&|tally| get(&tally.done[kind as usize].commands));
        let blocks = |kind: Kind| sum(&|tally| get(&tally.done[kind as usize].bytes)) / u64::from(block_size.max(1));
        let errors = |kind: Kind| sum(&|tally| get(&tally.errors[kind as usize]));
        IoStatistics {
            reads: commands(Kind::Read),
            writes: commands(Kind::Write),
            read_blocks: blocks(Kind::Read),
            written_blocks: blocks(Kind::Write),
            verified_blocks: blocks(Kind::Verify),
            read_errors: errors(Kind::Read),
            write_errors: errors(Kind::Write),
            verify_errors: errors(Kind::Verify),
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
        let (a, b) = (tallies.open(), tallies.open());
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
        drop(b);
        tallies.open().add(Kind::Read, 1, 512);
        assert_eq!((tallies.sum(512).reads, tallies.sum(512).writes), (4, 1), "what was given up is kept");
        assert_eq!(tallies.0.lock().unwrap().len(), 2);
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
    fn no_two_tallies_share_a_line() {
        assert!(align_of::<Tally>() >= 128);
    }
}

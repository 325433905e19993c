//! What each disk that is shown has done so far, for people: told on SIGUSR1.
//!
//! Reads what the cores count anyway (`tally`), from outside: what is told of a disk at work is not of one instant.

use std::fmt;
use std::sync::Arc;

use crate::scsi::IoStatistics;

use super::disk::Disk;
use super::serve::Target;
use super::summary::size;

/// Reads, writes, verifications and failures of each disk since it was opened, of all guests together. A line for each.
#[derive(Debug)]
pub struct Activity(Vec<Line>);

#[derive(Debug)]
struct Line {
    disk: Arc<Disk>,
    done: IoStatistics,
}

impl Target {
    /// What the disks that guests are shown have done so far.
    pub fn activity(&self) -> Activity {
        let line = |disk: &Arc<Disk>| Line { disk: disk.clone(), done: disk.done() };
        Activity(self.shown().map(line).collect())
    }
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|Line { disk, done }| {
            let bytes = |blocks: u64| size(blocks.saturating_mul(disk.bdev.info().block_size.into()));
            write!(f, "disk {}: {} reads of {}", disk.config.text, done.reads, bytes(done.read_blocks))?;
            write!(f, ", {} writes of {}", done.writes, bytes(done.written_blocks))?;
            write!(f, ", {} verified", bytes(done.verified_blocks))?;
            match done.read_errors.saturating_add(done.write_errors).saturating_add(done.verify_errors) {
                0 => writeln!(f),
                errors => writeln!(f, ", {errors} failed"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use bdev::{IoError, NullBdev};

    use super::*;
    use crate::target::disk::DiskIndex;
    use crate::target::tally::{Kind, Pages};

    #[test]
    fn a_disk_tells_what_it_did_and_what_failed() {
        let disk = Disk::of(Arc::new(NullBdev::new(1 << 20, 4096).unwrap()), DiskIndex(0));
        let tally = disk.tallies.open(Pages::default().tally(disk.index));
        tally.add(Kind::Read, 3, 5 * 4096);
        tally.add(Kind::Write, 1, 1 << 20);
        let said = |disk: &Arc<Disk>| {
            let text = Activity(vec![Line { disk: disk.clone(), done: disk.done() }]).to_string();
            text.split_once(": ").expect("its name first").1.to_owned()
        };
        let disk = Arc::new(disk);
        assert_eq!(said(&disk), "3 reads of 20 KiB, 1 writes of 1 MiB, 0 B verified\n");
        tally.fail(Kind::Read, IoError::Medium);
        tally.fail(Kind::Verify, IoError::Medium);
        assert_eq!(said(&disk), "3 reads of 20 KiB, 1 writes of 1 MiB, 0 B verified, 2 failed\n");
    }
}

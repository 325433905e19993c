//! Bytes from disk to disk of one device, piece by piece: what EXTENDED COPY and WRITE USING TOKEN come to once their lists are
//! read.

use bdev::{IoError, OpKind};

use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::super::spec::{Asc, SenseKey};
use super::super::third_party_copy::{Progress, Running};
use super::{CHUNK_BYTES, LongStep, Neighbour, OpMemory, Place};

/// What is to be copied, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: (Place, u64),
    pub(super) to: (Place, u64),
    pub(super) len: u64,
    /// Most of it in one operation: whole blocks of both.
    pub(super) piece_max: u64,
}

/// Segments that are being copied, one after the other.
#[derive(Debug)]
pub(super) struct Copying {
    segments: Vec<Segment>,
    /// Why what is behind them cannot be copied, if there is something.
    fails: Option<Sense>,
    /// Its entry among the copies that have a name.
    running: Option<Running>,
    stage: Stage,
    /// The segment that is being copied, the bytes of it that have been, and those that are.
    segment: usize,
    done: u64,
    doing: u64,
    progress: Progress,
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    /// Between two pieces.
    Between,
    /// It reads one.
    Read,
    /// It writes it.
    Write,
}

/// Bytes that go from `source` to `destination` in one operation.
pub(super) fn piece_max(source: &Neighbour, destination: &Neighbour) -> u64 {
    let block_size = u64::from(source.block_size.max(destination.block_size));
    let most = u64::from(CHUNK_BYTES).min(source.transfer_bytes_max).min(destination.transfer_bytes_max);
    (most / block_size).max(1) * block_size
}

impl Copying {
    /// Copies `segments`, and then ends with `fails`, if that is there.
    pub(super) fn new(segments: Vec<Segment>, fails: Option<Sense>, running: Option<Running>) -> Self {
        let progress = Progress::default();
        Self { segments, fails, running, stage: Stage::Between, segment: 0, done: 0, doing: 0, progress }
    }

    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        self.progress
    }

    /// It lets go of its memory: the piece that it has read is read again. `is_done`: its last operation was done.
    pub(super) fn rest(&mut self, is_done: bool) {
        if is_done {
            self.count();
        }
        self.stage = Stage::Between;
    }

    /// The first step, or the next one after a step that succeeded.
    pub(super) fn go_on(&mut self) -> LongStep {
        let stage = self.stage;
        self.count();
        self.find_segment();
        if self.running.as_ref().is_some_and(|running| !running.tell(self.progress)) {
            let sense = Sense::new(SenseKey::COPY_ABORTED, Asc::COMMANDS_CLEARED_BY_DEVICE_SERVER);
            return self.numbered(sense).into();
        }
        match stage {
            Stage::Read => self.write(),
            Stage::Between | Stage::Write => self.read(),
        }
    }

    /// Its last operation was done.
    fn count(&mut self) {
        match self.stage {
            Stage::Between => return,
            Stage::Read => {}
            Stage::Write => {
                self.done += self.doing;
                self.progress.bytes += self.doing;
            }
        }
        self.progress.operations = self.progress.operations.wrapping_add(1);
        self.stage = Stage::Between;
    }

    /// Goes to the first segment that has something left.
    fn find_segment(&mut self) {
        while self.segments.get(self.segment).is_some_and(|segment| segment.len == self.done) {
            (self.segment, self.done) = (self.segment + 1, 0);
        }
        let last = self.segments.len() + usize::from(self.fails.is_some());
        self.progress.segments = (self.segment + 1).min(last) as u16;
    }

    fn read(&mut self) -> LongStep {
        let Some(segment) = self.segments.get(self.segment) else { return self.end(self.fails) };
        self.doing = (segment.len - self.done).min(segment.piece_max);
        self.stage = Stage::Read;
        self.step(OpKind::Read, segment.from)
    }

    fn write(&mut self) -> LongStep {
        self.stage = Stage::Write;
        self.step(OpKind::Write { fua: false }, self.segments[self.segment].to)
    }

    fn step(&self, kind: OpKind, (place, offset): (Place, u64)) -> LongStep {
        let op = BlockOp { kind, offset: offset + self.done, len: self.doing };
        LongStep::Elsewhere(place, op, OpMemory::Own { at: 0, len: self.doing as usize })
    }

    /// It has ended, well or not.
    fn end(&self, fails: Option<Sense>) -> LongStep {
        match (&self.running, fails) {
            (Some(running), Some(sense)) => running.fail(sense),
            (Some(running), None) => running.end(),
            (None, _) => {}
        }
        fails.map_or(LongStep::GOOD, LongStep::from)
    }

    fn numbered(&self, sense: Sense) -> Sense {
        sense.with_command_specific(self.segment as u64)
    }

    /// An operation has failed: the segment is told (SPC-5, errors detected during processing of segment descriptors).
    pub(super) fn failed(&mut self, error: IoError) -> LongStep {
        if error == IoError::Busy {
            return LongStep::Done(Outcome::BUSY);
        }
        let sense = Sense::new(SenseKey::COPY_ABORTED, Asc::THIRD_PARTY_DEVICE_FAILURE);
        self.end(Some(self.numbered(sense)))
    }
}

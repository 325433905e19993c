//! Blocks of the own disk from what a token stands for.

use std::sync::Arc;

use bdev::{IoError, OpKind};

use super::super::super::outcome::{BlockOp, Outcome};
use super::super::super::sense::Sense;
use super::super::super::spec::{Asc, SenseKey};
use super::super::super::third_party_copy::rods::{Range, Rod, Rods};
use super::super::super::third_party_copy::{Progress, Running};
use super::super::copying::{Copying, Segment, piece_max};
use super::super::{Found, LongStep, Neighbour};
use super::ranges;

/// OFFSET INTO ROD.
const OFFSET: Sense = Sense::invalid_parameter(8, None);

/// What is to be copied.
#[derive(Debug)]
pub(super) struct Plan {
    segments: Vec<Segment>,
    /// The token stands for less than was asked for.
    is_short: bool,
    block_size: u64,
}

/// Finds out what is to be copied into `ranges` of the unit `own` from what a token stands for, of which `offset` blocks are left
/// out.
pub(super) fn plan(found: &Found, own: &Neighbour, ranges: &[Range], offset: u64) -> Result<Plan, Sense> {
    let Found { neighbour: source, rod, .. } = found;
    if source.hindered.is_some() {
        return Err(Sense::new(SenseKey::COPY_ABORTED, Asc::COPY_TARGET_DEVICE_NOT_REACHABLE));
    }
    if rod.block_size != own.block_size || rod.block_size != source.block_size {
        return Err(Sense::illegal(Asc::INVALID_TOKEN_OPERATION));
    }
    // The disk may have become smaller.
    if rod.ranges.iter().any(|range| range.lba + u64::from(range.blocks) > source.blocks) {
        return Err(Sense::illegal(Asc::TOKEN_CANCELLED));
    }
    if offset >= rod.blocks() {
        return Err(OFFSET);
    }
    let (pairs, is_short) = ranges::pairs(&rod.ranges, offset, ranges);
    let (piece_max, block_size) = (piece_max(source, own), u64::from(own.block_size));
    let segment = |(from, to, blocks): (u64, u64, u32)| Segment {
        from: (source.place, from * block_size),
        to: (own.place, to * block_size),
        len: u64::from(blocks) * block_size,
        piece_max,
    };
    Ok(Plan { segments: pairs.into_iter().map(segment).collect(), is_short, block_size })
}

/// A copy from a token in progress.
#[derive(Debug)]
pub(super) struct Using {
    copying: Copying,
    rod: Arc<Rod>,
    /// The tokens among which it is to be deleted at the end.
    delete_from: Option<Rods>,
    running: Running,
    is_short: bool,
    block_size: u64,
}

impl Using {
    pub(super) fn new(plan: Plan, (rod, delete_from): (Arc<Rod>, Option<Rods>), running: Running) -> Self {
        let Plan { segments, is_short, block_size } = plan;
        Self { copying: Copying::new(segments, None, None), rod, delete_from, running, is_short, block_size }
    }

    pub(super) fn rest(&mut self, is_done: bool) {
        self.copying.rest(is_done);
    }

    /// The first step, or the next one after a step that succeeded.
    ///
    /// What has been read before the token was cancelled is what it stood for.
    pub(super) fn go_on(&mut self) -> LongStep {
        let step = self.copying.go_on();
        if !self.running.tell(Progress { segments: 0, ..self.copying.progress() }) {
            return ABORTED.into();
        }
        match step {
            LongStep::Done(_) => self.end(),
            _ if self.rod.is_cancelled() => self.stop(Sense::illegal(Asc::TOKEN_CANCELLED)),
            step => step,
        }
    }

    fn end(&self) -> LongStep {
        self.delete_from.iter().for_each(|rods| rods.delete(&self.rod));
        if self.is_short {
            return self.stop(Sense::NONE);
        }
        self.running.end();
        LongStep::GOOD
    }

    fn stop(&self, cause: Sense) -> LongStep {
        stop(&self.running, self.copying.progress().bytes / self.block_size, cause)
    }

    /// An operation has failed.
    pub(super) fn failed(&mut self, op: &BlockOp, error: IoError) -> LongStep {
        if error == IoError::Busy {
            return LongStep::Done(Outcome::BUSY);
        }
        let own = if op.kind == OpKind::Read || error == IoError::NotReady { None } else { Some(op.kind) };
        let own = own.and_then(|kind| Outcome::of_io_error(kind, error).sense);
        self.stop(own.unwrap_or(Sense::new(SenseKey::COPY_ABORTED, Asc::THIRD_PARTY_DEVICE_FAILURE)))
    }
}

/// How a write ends that COPY OPERATION ABORT has ended.
pub(super) const ABORTED: Sense = Sense::new(SenseKey::COPY_ABORTED, Asc::COMMANDS_CLEARED_BY_DEVICE_SERVER);

/// A write ends before its end, after so many blocks: if that are any they are what is told (SBC-4, POPULATE TOKEN command and
/// WRITE USING TOKEN command completion), for who goes on behind them meets the cause.
pub(super) fn stop(running: &Running, blocks: u64, cause: Sense) -> LongStep {
    if blocks == 0 {
        running.fail(cause);
        return cause.into();
    }
    let underrun = Sense::new(SenseKey::COPY_ABORTED, Asc::COPY_TARGET_DEVICE_DATA_UNDERRUN);
    let underrun = Sense { information: Some(blocks), ..underrun };
    running.end_short(underrun);
    underrun.into()
}

//! Operations of one batch that their disks do here and now: collected, and given to each channel as lists. [`batch`](super::batch)
//! alone makes them.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use arrayvec::ArrayVec;
use bdev::{IoError, Op, OpKind, Ran, Segment, SegmentSlice};

use crate::scsi::BlockOp;

use super::batch::BATCH;
use super::cx::CountedChannel;
use super::disk::DiskIndex;
use super::tally::Kind;

/// Operations that a channel is to do here and now, see [`bdev::Channel::run`].
pub(crate) struct AtOnce<'a> {
    ops: ArrayVec<Op, BATCH>,
    /// For each of them.
    disks: ArrayVec<DiskIndex, BATCH>,
    data: PhantomData<&'a [Segment]>,
}

impl<'a> AtOnce<'a> {
    /// None.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self { ops: ArrayVec::new_const(), disks: ArrayVec::new_const(), data: PhantomData }
    }

    /// Adds one, with all of `data`: no more than [`BATCH`].
    #[inline(always)]
    pub(crate) fn push(&mut self, disk: DiskIndex, BlockOp { kind, offset, len }: BlockOp, data: &'a [Segment]) {
        // SAFETY: the operation is over when `run` returns, and `data` is borrowed until then.
        let segments = unsafe { SegmentSlice::new(data) };
        self.ops.push(Op { kind, offset, len, segments });
        self.disks.push(disk);
    }

    /// Has the channels do them, each those in a row that are for it, and counts: how many succeeded, and what the one behind
    /// was if it failed.
    #[inline(always)]
    pub(crate) fn run(&mut self, channels: &mut [CountedChannel]) -> (usize, Option<(OpKind, IoError)>) {
        let mut all = 0;
        for disks in self.disks.chunk_by(DiskIndex::eq) {
            let ops = &self.ops[all..all + disks.len()];
            let CountedChannel { channel, tally } = &mut channels[disks[0].0];
            let Ran { done, failed } = channel.run(ops);
            tally.add_all(&ops[..done]);
            all += done;
            if done < ops.len() {
                let failed = failed.map(|error| (ops[done].kind, error));
                failed
                    .iter()
                    .for_each(|&(kind, error)| tally.count(Kind::of_transfer(kind.is_change()), 1, Err(error)));
                return (all, failed);
            }
        }
        (all, None)
    }
}

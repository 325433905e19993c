//! READs and WRITEs of one batch that their disks do here and now: collected, and given to each channel as lists.
//! [`batch`](super::batch) alone has them done.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use arrayvec::ArrayVec;
use bdev::{IoError, Op, Ran, Segment, SegmentSlice};

use crate::scsi::{BlockOp, QuickUnit};
use crate::virtio::ring::UsualChain;
use crate::virtio_scsi::{CommandRequest, Framing, LunAddress, Plain};

use super::batch::BATCH;
use super::cx::CountedChannel;
use super::disk::DiskIndex;
use super::known::KnownUnits;
use super::tally::{Tally, Transfers};

/// Commands of a batch, see [`bdev::Channel::run`].
pub(crate) struct AtOnce<'a> {
    /// Those in a row for one disk that are not done yet.
    ops: ArrayVec<Op, BATCH>,
    disk: DiskIndex,
    /// By which they found it.
    lun: LunAddress,
    /// What they come to.
    transfers: Transfers,
    /// So many were done before.
    done: usize,
    stop: Stop,
    data: PhantomData<&'a [Segment]>,
}

/// Why the next command was not done.
#[derive(Debug)]
pub(crate) enum Stop {
    /// There is none, or it is for others to look into.
    Other,
    /// Its unit was not met yet.
    Unmet(LunAddress),
    /// Its operation failed. In a box, so that the usual end of a batch is told in registers.
    Failed(Box<Failed>),
}

/// A command that its disk did not do: as it was judged, for by now the driver may have written another one there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    pub(crate) lun: LunAddress,
    pub(crate) op: BlockOp,
    pub(crate) error: IoError,
}

impl<'a> AtOnce<'a> {
    /// None.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        let (ops, transfers, lun) = (ArrayVec::new_const(), Transfers::default(), LunAddress([0; 8]));
        Self { ops, disk: DiskIndex(0), lun, transfers, done: 0, stop: Stop::Other, data: PhantomData }
    }

    /// How many commands were done.
    #[inline(always)]
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Has the commands of these chains done, one after the other, and counts them. Why not all of them were.
    #[inline(always)]
    pub(crate) fn run(
        &mut self,
        chains: &'a [UsualChain],
        framing: Framing,
        known: &KnownUnits,
        channels: &mut [CountedChannel],
    ) -> Stop {
        self.collect(chains, framing, known, channels);
        self.flush(channels);
        std::mem::replace(&mut self.stop, Stop::Other)
    }

    /// `None` behind the last.
    #[inline(always)]
    fn collect(
        &mut self,
        chains: &'a [UsualChain],
        framing: Framing,
        known: &KnownUnits,
        channels: &mut [CountedChannel],
    ) -> Option<()> {
        let mut unit = KnownUnits::nobody();
        for chain in chains {
            let plain = Plain::of(chain, framing)?;
            let (lun, cdb) = CommandRequest::peek(plain.header)?;
            if unit.lun() != lun {
                let Some(found) = known.met(lun) else {
                    self.stop = Stop::Unmet(lun);
                    return None;
                };
                if found.entry().is_some() || !self.flush(channels) {
                    return None;
                }
                (unit, self.disk, self.lun) = (found, found.disk(), lun);
            }
            if plain.data_out {
                self.push::<true>(&unit.unit, cdb, &plain)?;
            } else {
                self.push::<false>(&unit.unit, cdb, &plain)?;
            }
        }
        None
    }

    #[inline(always)]
    fn push<const DATA_OUT: bool>(&mut self, unit: &QuickUnit, cdb: [u64; 2], plain: &Plain<'a>) -> Option<()> {
        let BlockOp { kind, offset, len } = unit.start(cdb, DATA_OUT)?;
        if len != plain.data_len {
            return None;
        }
        // SAFETY: the operation is over when `flush` returns, and the data is borrowed until then.
        let segments = unsafe { SegmentSlice::new(plain.data) };
        self.ops.push(Op { kind, offset, len, segments });
        self.transfers.add(DATA_OUT, len);
        Some(())
    }

    /// Has the channel do what was collected; false if one failed.
    #[inline(always)]
    fn flush(&mut self, channels: &mut [CountedChannel]) -> bool {
        if self.ops.is_empty() {
            return true;
        }
        let CountedChannel { channel, tally } = &mut channels[self.disk.0];
        let Ran { done, failed } = channel.run(&self.ops);
        self.done += done;
        if done < self.ops.len() {
            self.fail(tally, done, failed);
            return false;
        }
        tally.add_all(done, &self.transfers);
        self.transfers = Transfers::default();
        self.ops.clear();
        true
    }

    /// Some were not done: counts those that were. The failed one is counted when it ends.
    #[cold]
    #[inline(never)]
    fn fail(&mut self, tally: &Tally, done: usize, failed: Option<IoError>) {
        tally.add_all(done, &Transfers::of(&self.ops[..done]));
        self.transfers = Transfers::default();
        let Op { kind, offset, len, .. } = self.ops[done];
        let (lun, op) = (self.lun, BlockOp { kind, offset, len });
        self.stop = failed.map_or(Stop::Other, |error| Stop::Failed(Box::new(Failed { lun, op, error })));
        self.ops.clear();
    }
}

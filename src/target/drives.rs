//! The disks of one core: opened when they come, flushed and closed when they go, flushed at the end of all.
//!
//! A disk goes when no logical unit is on it any more. Queues of a former life may still have operations with it: its
//! channel stays until the last of them has come back, and is flushed then, for what was acknowledged must not be lost.

use std::io;
use std::sync::Arc;

use bdev::{Channel, ChannelId, Io, IoError, Op, SubmitError, Tag};
use reactor::Pass;

use super::cx::{CountedChannel, Cx};
use super::disk::{Disk, DiskIndex};
use super::job;
use super::tag::{Generation, NOBODY, RequestName, SlotIndex};
use super::tally::{Pages, Tally};

/// The generation named in the tag of a flush.
pub(super) const FLUSH: Generation = Generation(0);

/// Channels that a core has room for at least. More would make its io_uring larger.
const CHANNELS_MIN: usize = 64;
/// Disks that can come after the start, at least: half of those that there were, or so many.
const CHANNELS_SPARE: usize = 16;

/// Disks by index, and those that are going.
#[derive(Default)]
pub(crate) struct Drives {
    disks: Vec<Option<Arc<Disk>>>,
    /// Places of the channels that have timers.
    timed: Vec<usize>,
    closing: Vec<Closing>,
    counted: Pages,
    /// The disk to flush next, at the end of all.
    next: usize,
}

struct Closing {
    disk: DiskIndex,
    is_flushed: bool,
    /// There was no room for the flush: it has to be tried again.
    is_refused: bool,
    _pass: Pass,
}

/// In the place of a channel that is closed. No request leads there.
struct Closed;

fn closed(tally: Tally) -> CountedChannel {
    CountedChannel { channel: Box::new(Closed), tally }
}

impl Drives {
    /// Channels that an engine for `count` disks has room for.
    pub(crate) fn room_for(count: usize) -> u32 {
        let rounded = (count + CHANNELS_SPARE.max(count / 2)).next_multiple_of(CHANNELS_MIN);
        u32::try_from(rounded).unwrap_or(u32::MAX)
    }

    /// Opens a channel to a disk, in the place that its index names.
    pub(crate) fn open(&mut self, disk: Arc<Disk>, cx: &mut Cx) -> io::Result<()> {
        let index = disk.index.0;
        let channel = disk.bdev.channel(&mut cx.io)?;
        if self.disks.len() <= index {
            self.disks.resize_with(index + 1, || None);
            let places = cx.channels.len()..=index;
            cx.channels.extend(places.map(|place| closed(self.counted.tally(DiskIndex(place)))));
        }
        assert!(self.disks[index].is_none(), "an index belongs to one disk");
        self.timed.extend(channel.has_timers().then_some(index));
        cx.channels[index] = CountedChannel { channel, tally: disk.tallies.open(self.counted.tally(disk.index)) };
        self.disks[index] = Some(disk);
        Ok(())
    }

    /// Places of the channels that have timers.
    #[inline]
    pub(crate) fn timed(&self) -> &[usize] {
        &self.timed
    }

    /// Whether there is a channel to it.
    pub(crate) fn is_open(&self, disk: DiskIndex) -> bool {
        self.disks.get(disk.0).is_some_and(Option::is_some)
    }

    /// Nobody begins anything on this disk any more.
    pub(crate) fn close(&mut self, disk: DiskIndex, pass: Pass) {
        if self.is_open(disk) {
            self.closing.push(Closing { disk, is_flushed: false, is_refused: false, _pass: pass });
        }
    }

    /// Whether disks are going.
    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        !self.closing.is_empty()
    }

    /// Whether something has to be tried again that nothing will remind of.
    pub(crate) fn must_be_polled(&self) -> bool {
        self.closing.iter().any(|closing| closing.is_refused)
    }

    /// Flushes and closes what nobody uses any more; how much was done.
    #[cold]
    pub(crate) fn go_on_closing(&mut self, cx: &mut Cx) -> usize {
        let Self { disks, timed, closing, .. } = self;
        let mut done = 0;
        closing.retain_mut(|closing| {
            let index = closing.disk.0;
            cx.flushes.give_up(closing.disk);
            if !job::give_up(cx, closing.disk) || cx.io.in_flight_of(cx.channels[index].channel.id()) > 0 {
                return true;
            }
            let disk = disks[index].as_ref().expect("a disk that is closing is open");
            if !closing.is_flushed && !disk.bdev.info().read_only {
                closing.is_flushed = flush(disk, cx).is_ok();
                closing.is_refused = !closing.is_flushed;
                done += usize::from(closing.is_flushed);
                return true;
            }
            done += 1;
            let CountedChannel { channel, tally } = &mut cx.channels[index];
            channel.close(&mut cx.io);
            disk.tallies.close(tally);
            *channel = Box::new(Closed);
            timed.retain(|&place| place != index);
            disks[index] = None;
            false
        });
        done
    }

    /// Asks for a flush of each disk that has not been asked yet, as far as there is room. True if all have been.
    pub(crate) fn flush_all(&mut self, cx: &mut Cx) -> bool {
        while let Some(place) = self.disks.get(self.next) {
            if let Some(disk) = place
                && !disk.bdev.info().read_only
                && flush(disk, cx).is_err()
            {
                return false;
            }
            self.next += 1;
        }
        true
    }

    /// A flush that [`NOBODY`] asked for has ended. False if the last writes of its disk may be lost.
    #[cold]
    pub(crate) fn flushed(&self, name: RequestName, result: Result<(), IoError>) -> bool {
        let Err(error) = result else { return true };
        let disk = self.disks.get(usize::from(name.slot.0)).and_then(Option::as_ref);
        let disk = disk.map_or("?", |disk| &disk.config.text);
        tracing::error!(disk, "flushing at the end failed: {error}; its last writes may be lost");
        false
    }
}

fn flush(disk: &Disk, cx: &mut Cx) -> Result<(), SubmitError> {
    let slot = SlotIndex(disk.index.0 as u16);
    let name = RequestName { worker: NOBODY, slot, generation: FLUSH };
    let (channel, io) = cx.channel(disk.index);
    channel.submit(io, &Op::FLUSH, name.tag())
}

impl Channel for Closed {
    fn id(&self) -> ChannelId {
        unreachable!("a closed channel has no name")
    }

    fn submit(&mut self, _: &mut Io, _: &Op, _: Tag) -> Result<(), SubmitError> {
        unreachable!("no logical unit is on a disk that was closed")
    }

    fn cancel(&mut self, _: &mut Io, _: Tag) {}
}

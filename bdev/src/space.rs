//! The ways in which a file or a block device gives space back and makes it zero, and which of them an operation takes.
//!
//! Plain decisions, made when a disk is opened; the ring of a core and the threads beside it carry them out.

use crate::op::OpKind;

/// One way to treat the space of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `FALLOC_FL_PUNCH_HOLE`: a file gives the space back and reads as zeroes, a block device zeroes and may unmap.
    PunchHole,
    /// `FALLOC_FL_ZERO_RANGE` of a block device, which fails past its end: reads as zeroes, the space stays.
    ZeroRange,
    /// The same of a file, which does not grow by it, should it have been cut.
    ZeroWithin,
    /// The discard command of a block device: reads as anything.
    Discard,
}

impl Way {
    /// The mode of `fallocate(2)`, none if that is not how it is done.
    pub(crate) const fn fallocate_mode(self) -> Option<i32> {
        match self {
            Self::PunchHole => Some(libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE),
            Self::ZeroRange => Some(libc::FALLOC_FL_ZERO_RANGE),
            Self::ZeroWithin => Some(libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE),
            Self::Discard => None,
        }
    }
}

/// What an operation does: one way, and another should the first turn out not to be supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) way: Way,
    pub(crate) instead: Option<Way>,
}

impl Plan {
    const fn only(way: Way) -> Self {
        Self { way, instead: None }
    }

    /// Goes over to the other way after `errno`, if that says that there is no such way here and there is another.
    pub(crate) fn retreat(&mut self, errno: i32) -> bool {
        let way = self.instead.take().filter(|_| matches!(errno, libc::EOPNOTSUPP | libc::ENOSYS));
        self.way = way.unwrap_or(self.way);
        way.is_some()
    }
}

/// What a disk can do with space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ways {
    /// For [`OpKind::Unmap`].
    pub(crate) unmap: Option<Plan>,
    /// For [`OpKind::WriteZeroes`] that keeps the space.
    pub(crate) zero: Option<Plan>,
    /// For [`OpKind::WriteZeroes`] that may give it back.
    pub(crate) zero_and_unmap: Option<Plan>,
    /// For [`OpKind::Anchor`].
    pub(crate) anchor: Option<Plan>,
    /// The ring cannot unmap: a thread does.
    pub(crate) unmap_by_thread: bool,
    /// Ranges are multiples of this, in bytes; 0 or 1 if any will do.
    pub(crate) unit: u32,
}

impl Ways {
    /// Of a file on a file system that punches holes. `has_zero_range` as far as is known.
    pub(crate) const fn of_file(has_zero_range: bool) -> Self {
        let zero = if has_zero_range {
            Plan { way: Way::ZeroWithin, instead: Some(Way::PunchHole) }
        } else {
            Plan::only(Way::PunchHole)
        };
        let punch = Some(Plan::only(Way::PunchHole));
        Self { unmap: punch, zero: Some(zero), zero_and_unmap: punch, anchor: None, unmap_by_thread: false, unit: 1 }
    }

    /// The same of a file whose space, once set aside, is there for the next write.
    pub(crate) const fn anchoring(self) -> Self {
        Self { anchor: Some(Plan::only(Way::ZeroWithin)), ..self }
    }

    /// Of a block device with sectors of `unit` bytes. The kernel writes zeroes itself if the device cannot.
    pub(crate) const fn of_block_device(unit: u32, can_discard: bool, ring_can_discard: bool) -> Self {
        Self {
            unmap: if can_discard { Some(Plan::only(Way::Discard)) } else { None },
            zero: Some(Plan::only(Way::ZeroRange)),
            zero_and_unmap: Some(Plan { way: Way::PunchHole, instead: Some(Way::ZeroRange) }),
            anchor: None,
            unmap_by_thread: can_discard && !ring_can_discard,
            unit,
        }
    }

    /// What an operation is to do; none if that is not possible.
    pub(crate) fn plan(&self, kind: OpKind, offset: u64, len: u64) -> Option<Plan> {
        let unit = u64::from(self.unit.max(1));
        let fits = offset.is_multiple_of(unit) && len.is_multiple_of(unit);
        match kind {
            OpKind::Unmap => self.unmap,
            OpKind::WriteZeroes { unmap: false, .. } => self.zero.filter(|_| fits),
            OpKind::WriteZeroes { unmap: true, .. } => self.zero_and_unmap.filter(|_| fits),
            OpKind::Anchor { .. } => self.anchor,
            _ => None,
        }
    }

    /// The whole units within a range that is to be unmapped: `(offset, len)`. What is left at its ends keeps its space.
    pub(crate) fn whole_units(&self, offset: u64, len: u64) -> (u64, u64) {
        let unit = u64::from(self.unit.max(1));
        let first = offset.div_ceil(unit) * unit;
        let end = (offset + len) / unit * unit;
        (first, end.saturating_sub(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNMAP: OpKind = OpKind::Unmap;
    const KEEP: OpKind = OpKind::WriteZeroes { unmap: false, fua: false };
    const GIVE_BACK: OpKind = OpKind::WriteZeroes { unmap: true, fua: false };

    #[test]
    fn a_file_keeps_its_space_where_it_can_and_reads_zeroes_in_any_case() {
        let file = Ways::of_file(true);
        let way = |ways: Ways, kind| ways.plan(kind, 7, 9).map(|plan| (plan.way, plan.instead));
        assert_eq!(way(file, UNMAP), Some((Way::PunchHole, None)));
        assert_eq!(way(file, KEEP), Some((Way::ZeroWithin, Some(Way::PunchHole))));
        assert_eq!(way(file, GIVE_BACK), Some((Way::PunchHole, None)));
        assert_eq!(way(Ways::of_file(false), KEEP), Some((Way::PunchHole, None)));
        assert_eq!(way(Ways::default(), UNMAP), None);
        let anchor = OpKind::Anchor { fua: false };
        assert_eq!(way(file, anchor), None);
        assert_eq!(way(file.anchoring(), anchor), Some((Way::ZeroWithin, None)), "a hole is no anchor");
        assert_eq!(way(file, OpKind::Read), None);
    }

    #[test]
    fn a_block_device_takes_whole_sectors() {
        let device = Ways::of_block_device(4096, true, false);
        assert!(device.unmap_by_thread);
        assert_eq!(device.plan(KEEP, 4096, 512), None);
        assert_eq!(device.plan(GIVE_BACK, 512, 4096), None);
        assert_eq!(device.plan(KEEP, 4096, 8192).unwrap().way, Way::ZeroRange);
        assert_eq!(device.plan(UNMAP, 512, 512).unwrap().way, Way::Discard);
        assert_eq!(device.whole_units(512, 8192), (4096, 4096));
        assert_eq!(device.whole_units(512, 512), (4096, 0));
        assert_eq!(device.whole_units(4096, 8192), (4096, 8192));
        assert_eq!(Ways::of_block_device(512, false, true).plan(UNMAP, 0, 512), None);
    }

    #[test]
    fn a_way_that_is_not_there_is_left_once() {
        let mut plan = Plan { way: Way::PunchHole, instead: Some(Way::ZeroRange) };
        assert!(!Plan::only(Way::Discard).retreat(libc::EOPNOTSUPP));
        assert!(!{ plan }.retreat(libc::EIO));
        assert!(plan.retreat(libc::EOPNOTSUPP));
        assert_eq!(plan, Plan::only(Way::ZeroRange));
        assert!(!plan.retreat(libc::EOPNOTSUPP));
    }

    #[test]
    fn holes_and_zeroes_keep_the_size_of_the_file() {
        // <linux/falloc.h>: KEEP_SIZE 1, PUNCH_HOLE 2, ZERO_RANGE 16.
        assert_eq!(Way::PunchHole.fallocate_mode(), Some(3));
        assert_eq!(Way::ZeroWithin.fallocate_mode(), Some(17));
        assert_eq!(Way::ZeroRange.fallocate_mode(), Some(16));
        assert_eq!(Way::Discard.fallocate_mode(), None);
    }
}

//! The registers of one queue, and the check of its addresses when the driver enables it.

use crate::dma::Gpa;

use super::super::spec;

/// One queue as the driver set it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// Entries. For an enabled queue valid for its kind of ring.
    pub size: u16,
    /// MSI-X vector, or [`spec::NO_VECTOR`].
    pub vector: u16,
    /// The driver has enabled the queue. Then its addresses are aligned, do not wrap and do not overlap.
    pub enabled: bool,
    /// Descriptor area.
    pub desc: Gpa,
    /// Avail ring, or the driver's event suppression of a packed ring.
    pub avail: Gpa,
    /// Used ring, or the device's event suppression of a packed ring.
    pub used: Gpa,
}

impl QueueConfig {
    pub(super) fn new(size: u16) -> Self {
        Self { size, vector: spec::NO_VECTOR, enabled: false, desc: Gpa(0), avail: Gpa(0), used: Gpa(0) }
    }

    /// Whether a ring of this size, at these addresses, can be (2.7, 2.8): each part aligned, no part past the end of the
    /// address space, none over another. Whether they are mapped is for the memory map to say.
    pub(super) fn is_valid(&self, packed: bool) -> bool {
        let size = self.size;
        let parts = if packed {
            let event = spec::EVENT_SUPPRESS_LEN;
            [
                (self.desc, spec::DESC_LEN * u64::from(size), spec::DESC_ALIGN),
                (self.avail, event, event),
                (self.used, event, event),
            ]
        } else {
            [
                (self.desc, spec::DESC_LEN * u64::from(size), spec::DESC_ALIGN),
                (self.avail, spec::avail_len(size), spec::AVAIL_ALIGN),
                (self.used, spec::used_len(size), spec::USED_ALIGN),
            ]
        };
        let fits = |(at, len, align): &(Gpa, u64, u64)| at.0.is_multiple_of(*align) && at.checked_add(*len).is_some();
        let apart = |a: &(Gpa, u64, u64), b: &(Gpa, u64, u64)| a.0.0 + a.1 <= b.0.0 || b.0.0 + b.1 <= a.0.0;
        size_is_valid(size, size, packed)
            && parts.iter().all(fits)
            && apart(&parts[0], &parts[1])
            && apart(&parts[0], &parts[2])
            && apart(&parts[1], &parts[2])
    }
}

/// Whether a queue of up to `max` entries can have `size`: split rings are powers of two (2.7), packed rings are not bound
/// to that (2.8.10.1).
pub(super) fn size_is_valid(size: u16, max: u16, packed: bool) -> bool {
    (1..=max).contains(&size) && (packed || size.is_power_of_two())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(desc: u64, avail: u64, used: u64) -> QueueConfig {
        QueueConfig { desc: Gpa(desc), avail: Gpa(avail), used: Gpa(used), ..QueueConfig::new(4) }
    }

    #[test]
    fn alignment_of_each_part() {
        assert!(split(0x1000, 0x2002, 0x3004).is_valid(false));
        assert!(!split(0x1008, 0x2000, 0x3000).is_valid(false));
        assert!(!split(0x1000, 0x2001, 0x3000).is_valid(false));
        assert!(!split(0x1000, 0x2000, 0x3002).is_valid(false));
        assert!(!split(0x1000, 0x2002, 0x3000).is_valid(true), "a packed ring's event area takes four bytes");
    }

    #[test]
    fn parts_may_touch_but_not_overlap() {
        assert!(split(0x1000, 0x1040, 0x1050).is_valid(false));
        assert!(!split(0x1000, 0x103e, 0x1050).is_valid(false));
        assert!(!split(0x1000, 0x1040, 0x104c).is_valid(false));
        assert!(!split(0x1000, 0x2000, 0x0ffc).is_valid(false));
        assert!(!split(0x1000, 0x1000, 0x1000).is_valid(false));
    }

    #[test]
    fn no_part_wraps() {
        assert!(!split(0xffff_ffff_ffff_fff0, 0x1000, 0x2000).is_valid(false));
        assert!(!split(0x1000, 0xffff_ffff_ffff_fffe, 0x2000).is_valid(false));
        assert!(!split(0x1000, 0x2000, 0xffff_ffff_ffff_fffc).is_valid(false));
    }

    #[test]
    fn sizes() {
        let three = QueueConfig { size: 3, ..split(0x1000, 0x2000, 0x3000) };
        assert!(!three.is_valid(false) && three.is_valid(true));
        for size in [0, 3, 256, 65535] {
            assert!(!size_is_valid(size, 128, false), "{size}");
        }
        assert!(size_is_valid(1, 128, false) && size_is_valid(128, 128, false));
        assert!(size_is_valid(3, 128, true) && !size_is_valid(0, 128, true) && !size_is_valid(129, 128, true));
    }
}

//! A look at a ring that mostly has nothing, from outside of it.
#![allow(unsafe_code)]

use std::ptr::NonNull;

/// Where a driver would write to make something available, and how that is told from what stands there now. Whoever serves
/// many queues keeps these side by side: to look into each ring would take several cache lines of it.
#[derive(Debug, Clone, Copy)]
pub struct Glance {
    at: NonNull<u16>,
    /// In one word, for it is made in each pass: 16 bits of a value, 16 that say which of those tell it, and
    /// [`IF_OTHER`](Self::IF_OTHER).
    tells: u64,
}

// SAFETY: an address of memory that is shared with the guest; whoever looks promises that it is mapped, on any thread.
unsafe impl Send for Glance {}

/// What nobody ever writes.
static NOTHING: u16 = 0;

impl Glance {
    /// There is something new if what is there is other than the value; without it, if it is the same.
    const IF_OTHER: u64 = 1 << 63;

    /// At what is never new.
    pub const NEVER: Self = Self { at: NonNull::from_ref(&NOTHING), tells: Self::IF_OTHER };

    /// There is something new once the value at `at` is no longer `value`.
    #[inline]
    pub(super) fn until_not(at: NonNull<u16>, value: u16) -> Self {
        Self { at, tells: Self::IF_OTHER | u64::from(u16::MAX) << 16 | u64::from(value) }
    }

    /// There is something new once the bits `mask` of the value at `at` are those of `value`.
    #[inline]
    pub(super) fn until(at: NonNull<u16>, mask: u16, value: u16) -> Self {
        Self { at, tells: u64::from(mask) << 16 | u64::from(value) }
    }

    /// Whether there is something new. It orders nothing: [`Ring::look`](super::Ring::look) is for what it is.
    ///
    /// # Safety
    /// The ring is bound, as it was when [`Ring::glance`](super::Ring::glance) gave this.
    #[inline(always)]
    pub unsafe fn has_new(&self) -> bool {
        // SAFETY: by the promise of the caller it is mapped, and aligned as rings are.
        let now = u16::from_le(unsafe { self.at.read_volatile() });
        let other = (u64::from(now) ^ self.tells) & (self.tells >> 16);
        // Less one, it has its first bit set if none of them is other: that of `IF_OTHER`.
        (other.wrapping_sub(1) ^ self.tells) & Self::IF_OTHER != 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::packed::PackedDriver;
    use super::super::testing::*;
    use super::super::*;

    const FEATURES: RingFeatures = RingFeatures { event_idx: false, indirect: true };
    /// Several turns of a ring of 4.
    const CHAINS: usize = 11;

    fn sees(glance: Glance, ring: &Ring) -> bool {
        // SAFETY: the tests unbind no ring.
        let seen = unsafe { glance.has_new() };
        assert_eq!(seen, ring.has_new());
        seen
    }

    /// Takes a chain that `add` makes available, and gives it back.
    fn one(ring: &mut Ring, map: &MemMap, add: impl FnOnce()) {
        let glance = ring.glance();
        assert!(!sees(glance, ring));
        add();
        assert!(sees(glance, ring));
        ring.look().unwrap();
        let head = pop_one(ring, map, &mut Chain::new());
        assert!(!sees(ring.glance(), ring));
        ring.push(head, 0);
        let _ = ring.publish();
    }

    #[test]
    fn what_is_new_in_a_split_ring_is_seen_from_outside() {
        let mut driver = FakeDriver::new(4, FEATURES);
        let (map, mut ring) = (driver.map().clone(), driver.ring());
        for _ in 0..CHAINS {
            one(&mut ring, &map, || _ = driver.add(&[Buffer::writable(DATA_AT, 8)]).unwrap());
            driver.take_used().unwrap();
        }
    }

    #[test]
    fn what_is_new_in_a_packed_ring_is_seen_from_outside() {
        let mut driver = PackedDriver::new(4, FEATURES);
        let (map, mut ring) = (driver.map().clone(), driver.ring());
        for _ in 0..CHAINS {
            one(&mut ring, &map, || _ = driver.add(&[Buffer::writable(DATA_AT, 8)]).unwrap());
            driver.take_used().unwrap();
        }
    }

    #[test]
    fn marks_that_make_nothing_available_show_nothing() {
        let driver = PackedDriver::new(4, FEATURES);
        let ring = driver.ring();
        // In the first turn: AVAIL and not USED.
        for (flags, is_new) in
            [(0_u16, false), (0x80, true), (0x8000, false), (0x8080, false), (0xff7f, false), (0x7fff, true)]
        {
            driver.write(driver.layout().desc.0 + 14, &flags.to_le_bytes());
            assert_eq!(sees(ring.glance(), &ring), is_new, "{flags:#x}");
        }
    }

    #[test]
    fn a_ring_without_memory_has_never_anything_new() {
        let mut driver = FakeDriver::new(4, FEATURES);
        let mut ring = driver.ring();
        driver.add(&[Buffer::writable(DATA_AT, 8)]).unwrap();
        ring.unbind();
        assert!(!sees(ring.glance(), &ring));
    }
}

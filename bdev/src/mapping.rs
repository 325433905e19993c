//! Anonymous memory straight from the kernel: zeroed, aligned to pages, and only there once it is touched.
//!
//! Owns the mapping and gives it back when dropped. The stores of `mem` disks and the bounce buffers of a core are made
//! of it. Segments of a mapping are handed only to code of this crate that keeps the mapping beside them.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::{io, ptr::NonNull};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

use crate::info::{Extent, Provision};
use crate::segment::Segment;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;

/// Most pages that [`Mapping::extent`] asks the kernel about.
const PAGES_ASKED_MAX: usize = 4096;

/// Memory of our own.
#[derive(Debug)]
pub(crate) struct Mapping {
    whole: Segment,
}

impl Mapping {
    /// `len` bytes of zeroes, on no page until touched, not counted against the commit limit.
    pub(crate) fn new(len: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses the address, so that no memory in use is replaced.
        let base = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        }?;
        let base = NonNull::new(base.cast()).expect("mmap never returns null without MAP_FIXED");
        // SAFETY: readable and writable until `drop`, and whoever takes a part keeps the mapping (see the module).
        Ok(Self { whole: unsafe { Segment::new(base, len) } })
    }

    /// Asks for huge pages: who comes by anywhere then rarely has to look an address up. The kernel gives what it has, and
    /// for the first byte that is touched in one of them all of it.
    pub(crate) fn wants_huge_pages(&self) {
        // SAFETY: advice about all of a mapping of ours, which changes no byte of it.
        let asked = unsafe { madvise(self.whole.as_ptr().cast(), self.whole.len(), Advice::LinuxHugepage) };
        if let Err(error) = asked {
            tracing::debug!(%error, "no huge pages");
        }
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.whole.len()
    }

    /// The `len` bytes at `at`.
    ///
    /// # Panics
    /// If they are not within the mapping.
    pub(crate) fn part(&self, at: usize, len: usize) -> Segment {
        self.whole.split_at(at).1.split_at(len).0
    }
}

impl Mapping {
    /// Makes the `len` bytes at `at` zero; whole pages among them are given back.
    ///
    /// # Panics
    /// If they are not within the mapping.
    pub(crate) fn zero(&self, at: usize, len: usize) {
        let range = self.part(at, len);
        let head = (at.next_multiple_of(PAGE) - at).min(len);
        let pages = (len - head) / PAGE * PAGE;
        let (first, rest) = range.split_at(head);
        let (inner, last) = rest.split_at(pages);
        first.fill(0);
        last.fill(0);
        // SAFETY: private anonymous memory of ours, whole pages: they are zero when they are next touched, and those who
        // touch them meanwhile find the old bytes or zeroes.
        if pages > 0 && unsafe { madvise(inner.as_ptr().cast(), pages, Advice::LinuxDontNeed) }.is_err() {
            inner.fill(0);
        }
    }

    /// What lies at `at`: memory that is there, or none, up to where that changes, to `end`, or as far as it looked.
    pub(crate) fn extent(&self, at: u64, end: u64) -> Extent {
        let first = at as usize / PAGE;
        let count = ((end as usize).div_ceil(PAGE) - first).min(PAGES_ASKED_MAX);
        let mut entries = vec![0; count * 8];
        let page = self.whole.as_ptr().addr() / PAGE + first;
        let asked = File::open("/proc/self/pagemap").and_then(|map| map.read_exact_at(&mut entries, page as u64 * 8));
        let mut there = entries.chunks_exact(8).map(|entry| {
            let entry = u64::from_ne_bytes(entry.try_into().expect("8 bytes"));
            // Present, or swapped out. Who cannot know says that all is there.
            asked.is_err() || entry & (3 << 62) != 0
        });
        let allocated = there.next().unwrap_or(true);
        let pages = 1 + there.take_while(|next| *next == allocated).count();
        let stop = (((first + pages) * PAGE) as u64).min(end);
        let provision = if allocated { Provision::Mapped } else { Provision::Deallocated };
        Extent { offset: at, len: stop - at, provision }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, whole, and its parts are not used after their owner, which holds it, is gone.
        if let Err(error) = unsafe { munmap(self.whole.as_ptr().cast(), self.whole.len()) } {
            tracing::error!(%error, "could not give memory back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a huge page.
    const HUGE: usize = 2 << 20;

    #[test]
    fn is_zero_aligned_and_writable_to_its_last_byte() {
        let mapping = Mapping::new(8192).unwrap();
        let last = mapping.part(8191, 1);
        let mut byte = [1];
        last.read(0, &mut byte);
        assert_eq!(byte, [0]);
        last.write(0, &[7]);
        mapping.part(4096, 4096).read(4095, &mut byte);
        assert_eq!(byte, [7]);
        assert_eq!(mapping.part(0, 1).as_ptr().addr() % 4096, 0);
    }

    #[test]
    fn zeroes_exactly_what_it_is_told_and_gives_whole_pages_back() {
        let mapping = Mapping::new(8 * PAGE).unwrap();
        let end = 8 * PAGE as u64;
        assert_eq!(mapping.extent(0, end), Extent { offset: 0, len: end, provision: Provision::Deallocated });
        mapping.part(0, 8 * PAGE).fill(7);
        assert_eq!(mapping.extent(512, end), Extent { offset: 512, len: end - 512, provision: Provision::Mapped });
        mapping.zero(PAGE + 512, 3 * PAGE);
        let mut bytes = vec![0; 8 * PAGE];
        mapping.part(0, 8 * PAGE).read(0, &mut bytes);
        let zeroes = PAGE + 512..4 * PAGE + 512;
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == if zeroes.contains(&at) { 0 } else { 7 }));
        mapping.zero(5 * PAGE + 1, 3);
        mapping.zero(6 * PAGE, 0);
        let mut edge = [0; 5];
        mapping.part(5 * PAGE, 5).read(0, &mut edge);
        assert_eq!(edge, [7, 0, 0, 0, 7]);
    }

    #[test]
    fn knows_which_pages_are_there() {
        let mapping = Mapping::new(8 * PAGE).unwrap();
        mapping.part(2 * PAGE, 2 * PAGE).fill(1);
        let page = PAGE as u64;
        let extent = |at, pages| mapping.extent(at * page, (at + pages) * page);
        assert_eq!(extent(0, 8), Extent { offset: 0, len: 2 * page, provision: Provision::Deallocated });
        assert_eq!(extent(2, 6), Extent { offset: 2 * page, len: 2 * page, provision: Provision::Mapped });
        assert_eq!(extent(3, 1), Extent { offset: 3 * page, len: page, provision: Provision::Mapped });
        mapping.zero(2 * PAGE, PAGE);
        assert_eq!(extent(0, 8).len, 3 * page, "what was given back is not there");
    }

    #[test]
    fn huge_pages_hold_what_was_written_and_are_given_back_in_small_ones() {
        let mapping = Mapping::new(4 * HUGE).unwrap();
        mapping.wants_huge_pages();
        let flags = flags_of(mapping.part(0, 1).as_ptr().addr());
        assert!(flags.is_none_or(|flags| flags.contains("hg")), "a kernel that has them was asked");
        let inner = HUGE + 5 * PAGE;
        mapping.part(inner, 2 * PAGE).fill(9);
        mapping.zero(inner, PAGE);
        let mut bytes = [0; 3 * PAGE];
        mapping.part(inner - PAGE, bytes.len()).read(0, &mut bytes);
        assert!(bytes[..2 * PAGE].iter().all(|byte| *byte == 0) && bytes[2 * PAGE..].iter().all(|byte| *byte == 9));
    }

    /// What the kernel says of the mapping at this address.
    fn flags_of(address: usize) -> Option<String> {
        let text = std::fs::read_to_string("/proc/self/smaps").ok()?;
        let lines = text.lines().skip_while(|line| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let bounds = range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
            !matches!(bounds, Some((Ok(from), Ok(to))) if (from..to).contains(&address))
        });
        lines.into_iter().find_map(|line| line.strip_prefix("VmFlags:").map(str::to_owned))
    }

    #[test]
    #[should_panic(expected = "at <= self.len")]
    fn gives_no_part_past_its_end() {
        Mapping::new(4096).unwrap().part(4096, 1);
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error() {
        assert!(Mapping::new(usize::MAX / 2).is_err());
        assert!(Mapping::new(0).is_err());
    }
}

//! A region's share in a mapping of our own.
//!
//! A mapping may outlive its region for a moment, registered with io_uring, and serve another region of the same file then:
//! clients take memory away and give it back in other pieces, and to pin it anew would take long.

use std::ptr::NonNull;
use std::sync::{Arc, OnceLock, Weak};

use bdev::{Registrar, Registration};
use rustix::mm::ProtFlags;

use super::file::FilePlace;
use super::host::HostMapping;
use super::map::Mapping;

/// Part of a mapping, for one region.
#[derive(Debug)]
pub(super) struct Lease {
    mapping: Arc<HostMapping>,
    /// Where the part begins, in bytes.
    at: usize,
    /// Says that the mapping is in use.
    registration: OnceLock<Registration>,
}

impl Lease {
    /// The part of `mapping` from byte `at` on.
    pub(super) fn new(mapping: Arc<HostMapping>, at: usize) -> Self {
        assert!(at <= mapping.whole().len());
        Self { mapping, at, registration: OnceLock::new() }
    }
}

impl Mapping for Lease {
    fn base(&self) -> NonNull<u8> {
        let from = self.mapping.whole().split_at(self.at).1;
        NonNull::new(from.as_ptr()).expect("a mapping is never at 0")
    }

    fn is_shared(&self) -> bool {
        self.mapping.is_shared()
    }

    fn is_lost(&self) -> bool {
        self.mapping.is_lost()
    }

    fn register(&self, registrar: &Registrar) {
        if self.is_shared() && !self.is_lost() {
            self.registration.get_or_init(|| registrar.register(self.mapping.whole(), self.mapping.clone()));
        }
    }
}

/// Mappings of files that are still there, whoever holds them.
#[derive(Debug, Default)]
pub(super) struct Recent(Vec<Known>);

#[derive(Debug)]
struct Known {
    place: FilePlace,
    prot: ProtFlags,
    mapping: Weak<HostMapping>,
}

impl Recent {
    /// Remembers `mapping` of what is at `place`.
    pub(super) fn remember(&mut self, place: FilePlace, prot: ProtFlags, mapping: &Arc<HostMapping>) {
        self.0.retain(|known| known.mapping.strong_count() > 0);
        self.0.push(Known { place, prot, mapping: Arc::downgrade(mapping) });
    }

    /// A share in a mapping that has the `len` bytes at `place`, with the same access.
    pub(super) fn find(&self, place: FilePlace, len: usize, prot: ProtFlags) -> Option<Lease> {
        self.0.iter().filter(|known| known.prot == prot).find_map(|known| {
            let at = usize::try_from(place.distance_from(&known.place)?).ok()?;
            let mapping = known.mapping.upgrade()?;
            let holds = at <= mapping.whole().len() && len <= mapping.whole().len() - at;
            (holds && !mapping.is_lost()).then(|| Lease::new(mapping, at))
        })
    }
}

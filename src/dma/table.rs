//! The table of what one client has mapped. The control thread changes it and hands out snapshots.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::mm::ProtFlags;

use super::file::FilePlace;
use super::host::HostMapping;
use super::lease::{Lease, Recent};
use super::map::{Gpa, MemMap, Region};
use super::sigbus;

/// Guest addresses, lengths and file offsets are multiples of this, in bytes.
pub const PAGE_LEN: u64 = 4096;

/// How much one client may map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Regions. This is what the server announces as `max_dma_maps`.
    pub regions_max: usize,
    /// Bytes of shared memory in sum. Bounds address space only: nothing is allocated for it.
    pub shared_bytes_max: u64,
    /// Bytes of memory without a file in sum. Bounds address space only, too.
    pub shadow_bytes_max: u64,
}

impl Default for Limits {
    /// 4,096 regions (the kernel allows a process about 65,000 mappings, and other clients want some), 16 TiB and 1 TiB
    /// (of an address space of 128).
    fn default() -> Self {
        Self { regions_max: 4096, shared_bytes_max: 16 << 40, shadow_bytes_max: 1 << 40 }
    }
}

/// What a client asks to have mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapRequest {
    /// First guest address.
    pub gpa: Gpa,
    /// Length in bytes.
    pub len: u64,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// The device may read it.
    pub readable: bool,
    /// The device may write it.
    pub writable: bool,
}

impl MapRequest {
    fn describes(&self, region: &Region) -> bool {
        (self.gpa, self.len) == (region.start, region.len)
            && (self.readable, self.writable) == (region.readable, region.writable)
    }
}

/// Why memory cannot be mapped or unmapped. The table is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Length 0.
    #[error("the length is 0")]
    Empty,
    /// Address plus length is past the end of the address space.
    #[error("address plus length wraps around")]
    Wraps,
    /// Address, length or offset is no multiple of the page length.
    #[error("address, length or offset is no multiple of {page_len}")]
    Unaligned {
        /// What it must be a multiple of, in bytes.
        page_len: u64,
    },
    /// Neither reading nor writing is allowed.
    #[error("neither readable nor writable")]
    NoAccess,
    /// Something else is mapped there.
    #[error("overlaps the region at {0}")]
    Overlap(Gpa),
    /// Too many regions.
    #[error("more than {0} regions")]
    TooManyRegions(usize),
    /// Too many bytes in sum.
    #[error("more than {0} bytes in sum")]
    TooManyBytes(u64),
    /// The descriptor is no file of tmpfs or hugetlbfs: nobody knows how long a page of it can take.
    #[error("it is no memory file (one on a disk is none); use a memfd (QEMU: -object memory-backend-memfd,share=on)")]
    NotMemoryFile,
    /// The file is not open for the access.
    #[error("the file is not open for what is asked")]
    FileAccess,
    /// The file is too short.
    #[error("{len} bytes at {offset} are beyond the file's {file_len}")]
    BeyondFile {
        /// Asked for: first byte.
        offset: u64,
        /// Asked for: bytes.
        len: u64,
        /// The file's length in bytes.
        file_len: u64,
    },
    /// Nothing is mapped there.
    #[error("nothing is mapped there")]
    NotMapped,
    /// The kernel refused.
    #[error("the kernel refused: {0}")]
    Os(#[from] Errno),
}

impl MapError {
    /// The error number to answer a client with; never 0.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Empty | Self::Wraps | Self::Unaligned { .. } | Self::NoAccess => Errno::INVAL,
            Self::NotMemoryFile | Self::BeyondFile { .. } => Errno::INVAL,
            Self::Overlap(_) => Errno::EXIST,
            Self::TooManyRegions(_) | Self::TooManyBytes(_) => Errno::NOSPC,
            Self::FileAccess => Errno::ACCESS,
            Self::NotMapped => Errno::NOENT,
            Self::Os(errno) => *errno,
        }
    }
}

#[derive(Debug)]
struct Entry {
    region: Region,
    /// `None` is a shadow.
    place: Option<FilePlace>,
}

/// What one client has mapped, by guest address.
#[derive(Debug)]
pub struct Table {
    limits: Limits,
    entries: BTreeMap<u64, Entry>,
    shared_bytes: u64,
    shadow_bytes: u64,
    recent: Recent,
    /// Made when asked for: a client maps many regions before anybody looks.
    snapshot: Option<Arc<MemMap>>,
}

impl Default for Table {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Table {
    /// An empty table. Installs the SIGBUS handler if it is not there yet.
    pub fn new(limits: Limits) -> Self {
        sigbus::install();
        let recent = Recent::default();
        Self { limits, entries: BTreeMap::new(), shared_bytes: 0, shadow_bytes: 0, recent, snapshot: None }
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Maps a region: a range of `file`, or without one a shadow, which nobody reads or writes. The file is closed
    /// either way; the mapping keeps what it needs. To map again what is mapped already, in the same way, is no error.
    ///
    /// # Errors
    /// [`MapError`].
    pub fn map(&mut self, request: &MapRequest, file: Option<OwnedFd>) -> Result<(), MapError> {
        let end = check_range(request.gpa, request.len)?;
        if !(request.readable || request.writable) {
            return Err(MapError::NoAccess);
        }
        if !request.offset.is_multiple_of(PAGE_LEN) {
            return Err(MapError::Unaligned { page_len: PAGE_LEN });
        }
        let place = match &file {
            None => None,
            Some(file) => Some(FilePlace::check(file.as_fd(), request.offset, request.len, request.writable)?),
        };
        if let Some((_, entry)) = self.entries.range(..end).next_back()
            && entry.region.end() > request.gpa.0
        {
            let same = entry.place == place && request.describes(&entry.region);
            return if same { Ok(()) } else { Err(MapError::Overlap(entry.region.start)) };
        }
        self.check_limits(request.len, place.is_some())?;
        let len = usize::try_from(request.len).map_err(|_| MapError::Wraps)?;
        let mapping = self.lease(file.as_ref().zip(place), len, request)?;
        let region = Region {
            start: request.gpa,
            len: request.len,
            readable: request.readable,
            writable: request.writable,
            mapping: Arc::new(mapping),
        };
        *self.bytes(place.is_some()) += request.len;
        self.entries.insert(request.gpa.0, Entry { region, place });
        self.snapshot = None;
        Ok(())
    }

    /// Memory for a region: of a mapping that has it already, or of a new one.
    fn lease(&mut self, file: Option<(&OwnedFd, FilePlace)>, len: usize, request: &MapRequest) -> Result<Lease, Errno> {
        let Some((file, place)) = file else {
            return Ok(Lease::new(Arc::new(HostMapping::shadow(len)?), 0));
        };
        let prot = prot(request);
        if let Some(lease) = self.recent.find(place, len, prot) {
            return Ok(lease);
        }
        let mapping = Arc::new(HostMapping::shared(file.as_fd(), request.offset, len, prot)?);
        self.recent.remember(place, prot, &mapping);
        Ok(Lease::new(mapping, 0))
    }

    /// Takes out the region of exactly `len` bytes at `gpa`. Returns its length. Its memory stays mapped until the last
    /// snapshot that shows it has gone.
    ///
    /// # Errors
    /// [`MapError::NotMapped`] if there is no such region.
    pub fn unmap(&mut self, gpa: Gpa, len: u64) -> Result<u64, MapError> {
        match self.entries.get(&gpa.0) {
            Some(entry) if entry.region.len == len => Ok(self.remove(gpa.0)),
            _ => Err(MapError::NotMapped),
        }
    }

    /// Takes out everything. Returns how many bytes that were.
    pub fn unmap_all(&mut self) -> u64 {
        let mut bytes = 0;
        while let Some((&start, _)) = self.entries.first_key_value() {
            bytes += self.remove(start);
        }
        bytes
    }

    /// A picture of the table as it is. The same one as long as the table does not change.
    pub fn snapshot(&mut self) -> Arc<MemMap> {
        let entries = &self.entries;
        let make = || Arc::new(MemMap::new(entries.values().map(|entry| entry.region.clone()).collect()));
        Arc::clone(self.snapshot.get_or_insert_with(make))
    }

    fn remove(&mut self, start: u64) -> u64 {
        let Some(entry) = self.entries.remove(&start) else {
            return 0;
        };
        *self.bytes(entry.place.is_some()) -= entry.region.len;
        self.snapshot = None;
        entry.region.len
    }

    fn bytes(&mut self, shared: bool) -> &mut u64 {
        if shared { &mut self.shared_bytes } else { &mut self.shadow_bytes }
    }

    fn check_limits(&self, len: u64, shared: bool) -> Result<(), MapError> {
        if self.entries.len() >= self.limits.regions_max {
            return Err(MapError::TooManyRegions(self.limits.regions_max));
        }
        let (bytes, bytes_max) = if shared {
            (self.shared_bytes, self.limits.shared_bytes_max)
        } else {
            (self.shadow_bytes, self.limits.shadow_bytes_max)
        };
        if bytes.checked_add(len).is_none_or(|sum| sum > bytes_max) {
            return Err(MapError::TooManyBytes(bytes_max));
        }
        Ok(())
    }
}

/// Checks a range of guest addresses, and returns the address behind it.
fn check_range(gpa: Gpa, len: u64) -> Result<u64, MapError> {
    if len == 0 {
        return Err(MapError::Empty);
    }
    if !gpa.0.is_multiple_of(PAGE_LEN) || !len.is_multiple_of(PAGE_LEN) {
        return Err(MapError::Unaligned { page_len: PAGE_LEN });
    }
    gpa.checked_add(len).map(|end| end.0).ok_or(MapError::Wraps)
}

fn prot(request: &MapRequest) -> ProtFlags {
    let mut prot = ProtFlags::empty();
    prot.set(ProtFlags::READ, request.readable);
    prot.set(ProtFlags::WRITE, request.writable);
    prot
}

#[cfg(test)]
mod tests;

//! What a block device is: size, block size, limits. Fixed while a channel to it is open.

use crate::error::OpenError;
use crate::op::{IoError, Op};

/// Largest transfer of one operation that every backend of this crate takes, in bytes. What its device does not do at once is
/// done in parts.
pub const MAX_TRANSFER: u32 = 16 << 20;

/// What limits a transfer: whole pages of what is `said`, in bytes, at least one and no more than any backend takes. 0 says nothing.
pub(crate) fn transfer_max(said: u64) -> u32 {
    const PAGE: u64 = 4096;
    let said = if said == 0 { MAX_TRANSFER.into() } else { said.min(MAX_TRANSFER.into()) };
    ((said / PAGE).max(1) * PAGE) as u32
}

/// Whether acknowledged writes can still be lost with the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCache {
    /// Writes are on stable storage when they complete.
    WriteThrough,
    /// Writes are on stable storage after a flush, or if they carry force unit access.
    WriteBack,
}

/// Properties of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Size of a logical block in bytes: 512 or 4096.
    pub block_size: u32,
    /// Number of logical blocks.
    pub blocks: u64,
    /// log2 of the logical blocks in a physical block.
    pub physical_exponent: u8,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether a flush is needed.
    pub write_cache: WriteCache,
    /// Whether the backing store allocates space on the first write.
    pub thin: bool,
    /// Largest transfer that the device itself does at once, in bytes, at most [`MAX_TRANSFER`].
    pub max_transfer: u32,
    /// Pieces of memory that it moves at once, 0 if it does not matter. More are moved in parts.
    pub segments_max: u32,
    /// Operations that it works on at once, 0 if nobody knows. Those beyond wait for it.
    pub queue_depth: u32,
    /// Best transfer size in bytes, 0 if it does not matter.
    pub optimal_transfer: u32,
    /// Best transfers are multiples of this and begin at one, in bytes; 0 if physical blocks are all that matters.
    pub transfer_granularity: u32,
    /// Whether the medium does not rotate.
    pub solid_state: bool,
    /// What giving space back does; none if the device cannot.
    pub discard: Option<Discard>,
    /// Largest range of one [`OpKind::WriteZeroes`](crate::OpKind) in bytes, 0 if the device cannot.
    pub write_zeroes_max: u64,
    /// Whether it can [`OpKind::Anchor`](crate::OpKind) such a range.
    pub anchor: bool,
    /// Whether it has a cache that [`OpKind::Prefetch`](crate::OpKind) fills.
    pub prefetch: bool,
    /// Largest range of one [`OpKind::Verify`](crate::OpKind) in bytes, 0 if the device cannot.
    pub verify_max: u64,
    /// Whether the device can [`OpKind::Compare`](crate::OpKind).
    pub compare: bool,
    /// What [`OpKind::WriteAtomic`](crate::OpKind) takes; none if the device cannot.
    pub atomic: Option<Atomic>,
    /// One line for people: what serves this device and how (`file disk.img, io_uring, direct`).
    pub description: String,
}

/// Space behind a device that is provisioned thinly, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What it has; none if others have a part of it.
    pub used: Option<u64>,
    /// What it can get beside that, as long as nobody else does.
    pub available: u64,
}

/// How a device gives space back ([`OpKind::Unmap`](crate::OpKind)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Discard {
    /// Only whole pieces of this size, in bytes, are given back.
    pub granularity: u32,
    /// Where the first of them begins, in bytes, less than a piece.
    pub alignment: u32,
    /// Largest range of one operation in bytes.
    pub max: u64,
    /// What was given back reads as zeroes.
    pub zeroes: bool,
}

impl Discard {
    /// That of the part of the device that begins at `start`, as the part counts.
    pub(crate) fn of_part(self, start: u64) -> Self {
        let piece = u64::from(self.granularity).max(1);
        let alignment = (u64::from(self.alignment) + piece - start % piece) % piece;
        Self { alignment: alignment as u32, ..self }
    }
}

/// The writes that a device does as a whole or not at all, whatever fails and whoever reads meanwhile
/// ([`OpKind::WriteAtomic`](crate::OpKind)). All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Atomic {
    /// Offset and length are multiples of this.
    pub unit: u32,
    /// Longest.
    pub max: u32,
    /// The length is a power of two, and the offset a multiple of it.
    pub natural: bool,
    /// None lies across a multiple of this; 0 if they may.
    pub boundary: u64,
}

/// Why a write is not one of those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtomicMisfit {
    /// Its length is none of theirs.
    Length,
    /// It does not lie where one of this length may.
    Offset,
}

impl Atomic {
    /// Longest of any device that stores something: it fits into a buffer of our own, for memory that a device does not take as it lies.
    pub const MAX: u32 = 64 << 10;

    /// Those that any whole blocks can be, up to `max` bytes. `None` if a single block is all.
    pub(crate) fn of_blocks(block_size: u32, max: u64) -> Option<Self> {
        let max = max.min(Self::MAX.into()) as u32 / block_size * block_size;
        (max > block_size).then_some(Self { unit: block_size, max, natural: false, boundary: 0 })
    }

    /// Those of them that are no longer than `most` bytes.
    pub(crate) fn up_to(self, most: u32) -> Self {
        Self { max: self.max.min(most), ..self }
    }

    /// Whether a write of `len` bytes at `offset` is one of them.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, offset: u64, len: u64) -> Result<(), AtomicMisfit> {
        let (unit, max) = (u64::from(self.unit), u64::from(self.max));
        if len == 0 || len > max || !len.is_multiple_of(unit) || self.natural && !len.is_power_of_two() {
            return Err(AtomicMisfit::Length);
        }
        let is_at = offset.is_multiple_of(if self.natural { len } else { unit });
        let crosses = self.boundary > 0 && offset / self.boundary != (offset + (len - 1)) / self.boundary;
        if is_at && !crosses { Ok(()) } else { Err(AtomicMisfit::Offset) }
    }

    /// Whether `op`, within the device and of some length, is one that a device with `atomic` takes.
    pub(crate) fn admit(atomic: Option<Self>, op: &Op) -> Result<(), IoError> {
        let atomic = atomic.ok_or(IoError::Unsupported)?;
        if op.len == 0 { Ok(()) } else { atomic.check(op.offset, op.len).map_err(|_| IoError::Misfit) }
    }

    /// Those of the part of the device that begins at `start`, as the part counts. `None` if there are none that the device
    /// and the part agree on.
    pub(crate) fn of_part(self, start: u64) -> Option<Self> {
        let aligned = |size: u64| size == 0 || start.is_multiple_of(size);
        let mut part = self;
        while part.natural && part.max > part.unit && !aligned(part.max.into()) {
            part.max /= 2;
        }
        let fits = aligned(if part.natural { part.max } else { part.unit }.into()) && aligned(part.boundary);
        fits.then_some(part)
    }
}

/// What space a part of a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provision {
    /// There is some, with whatever was written.
    Mapped,
    /// None.
    Deallocated,
    /// It is set aside for what will be written, and reads as zeroes.
    Anchored,
}

/// Part of a device that has the same of space throughout ([`OpKind::Extents`](crate::OpKind)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte on the device that made the list. A wrapper may have moved the range, so that a caller counts the lengths
    /// from the offset of its own operation instead.
    pub offset: u64,
    /// Bytes; 0 ends a list.
    pub len: u64,
    /// What space it has.
    pub provision: Provision,
}

/// The names that a device has of its own, wherever it is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// What no other device has, made of the best of those below.
    pub unique: String,
    /// Serial number in printable ASCII, without the spaces that padded it.
    pub serial: Option<String>,
    /// EUI-64 in network order.
    pub eui64: Option<[u8; 8]>,
    /// NVMe's NGUID: an EUI-64 based identifier of 16 bytes, in network order.
    pub nguid: Option<[u8; 16]>,
    /// UUID in network order.
    pub uuid: Option<[u8; 16]>,
}

impl Extent {
    /// Bytes of one in a list: three numbers of 64 bits in the machine's own order.
    pub const LEN: usize = 24;

    /// As it stands in a list.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        for (to, from) in bytes.chunks_exact_mut(8).zip([self.offset, self.len, self.provision as u64]) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        bytes
    }

    /// As read from a list.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let number = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| bytes[at + byte]));
        let provisions = [Provision::Mapped, Provision::Deallocated, Provision::Anchored];
        let named = provisions.into_iter().find(|provision| *provision as u64 == number(16));
        // Of what nobody has said anything there is space.
        Self { offset: number(0), len: number(8), provision: named.unwrap_or(Provision::Mapped) }
    }
}

impl Info {
    /// Size in bytes.
    pub const fn size(&self) -> u64 {
        self.blocks * self.block_size as u64
    }

    /// The same with another size in bytes: none if it is the same.
    ///
    /// # Errors
    /// The size was not found, or is none of whole blocks.
    pub(crate) fn in_size(&self, size: std::io::Result<u64>) -> Result<Option<Self>, OpenError> {
        let found = size.map_err(|source| OpenError::Io {
            path: self.description.clone().into(),
            action: "find the size",
            source,
        });
        let blocks = blocks_of(|| self.description.clone(), found?, self.block_size)?;
        Ok((blocks != self.blocks).then(|| Self { blocks, ..self.clone() }))
    }

    /// Whether `len` bytes at `offset` are within the device.
    pub const fn contains(&self, offset: u64, len: u64) -> bool {
        let size = self.size();
        offset <= size && len <= size - offset
    }
}

/// The number of blocks in `size` bytes of `disk`.
///
/// # Errors
/// [`OpenError::BlockSize`], [`OpenError::Empty`] or [`OpenError::Size`].
pub(crate) fn blocks_of(disk: impl Fn() -> String, size: u64, block_size: u32) -> Result<u64, OpenError> {
    if block_size != 512 && block_size != 4096 {
        return Err(OpenError::BlockSize { disk: disk(), block_size });
    }
    if size == 0 {
        return Err(OpenError::Empty { disk: disk() });
    }
    if !size.is_multiple_of(u64::from(block_size)) {
        return Err(OpenError::Size { disk: disk(), size, block_size });
    }
    Ok(size / u64::from(block_size))
}

/// A number of bytes for people: exact, in the largest unit that divides it.
pub(crate) fn bytes_for_people(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes != 0 && bytes.is_multiple_of(1 << shift)) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_blocks_and_refuses_what_has_none() {
        let name = || "disk".to_owned();
        assert_eq!(blocks_of(name, 8192, 512).unwrap(), 16);
        assert_eq!(blocks_of(name, 8192, 4096).unwrap(), 2);
        assert!(matches!(blocks_of(name, 8192, 1024), Err(OpenError::BlockSize { block_size: 1024, .. })));
        assert!(matches!(blocks_of(name, 0, 512), Err(OpenError::Empty { .. })));
        let error = blocks_of(name, 4608, 4096).unwrap_err().to_string();
        assert_eq!(error, "disk: size 4608 is not a multiple of the block size 4096. Resize it, for example to 8192");
    }

    const NATURAL: Atomic = Atomic { unit: 4096, max: 16384, natural: true, boundary: 0 };

    #[test]
    fn an_atomic_write_has_a_shape() {
        let any = Atomic { unit: 512, max: 2048, natural: false, boundary: 0 };
        for (offset, len) in [(0, 512), (512, 1536), (u64::MAX - 511, 512), (1 << 40, 2048)] {
            assert_eq!(any.check(offset, len), Ok(()), "{len} at {offset}");
        }
        for (offset, len, misfit) in [
            (0, 0, AtomicMisfit::Length),
            (0, 2560, AtomicMisfit::Length),
            (0, 511, AtomicMisfit::Length),
            (511, 512, AtomicMisfit::Offset),
        ] {
            assert_eq!(any.check(offset, len), Err(misfit), "{len} at {offset}");
        }
        for (offset, len) in [(0, 4096), (4096, 4096), (8192, 8192), (16384, 16384)] {
            assert_eq!(NATURAL.check(offset, len), Ok(()), "{len} at {offset}");
        }
        for (offset, len, misfit) in [
            (0, 2048, AtomicMisfit::Length),
            (0, 12288, AtomicMisfit::Length),
            (0, 32768, AtomicMisfit::Length),
            (4096, 8192, AtomicMisfit::Offset),
            (2048, 4096, AtomicMisfit::Offset),
        ] {
            assert_eq!(NATURAL.check(offset, len), Err(misfit), "{len} at {offset}");
        }
        let bounded = Atomic { boundary: 4096, ..any };
        assert_eq!(bounded.check(4096 - 512, 512), Ok(()));
        assert_eq!(bounded.check(4096 - 512, 1024), Err(AtomicMisfit::Offset));
        assert_eq!(bounded.check(u64::MAX - 511, 512), Ok(()), "the last byte there can be");
    }

    #[test]
    fn a_part_keeps_the_shapes_that_lie_alike() {
        let max = |start| NATURAL.of_part(start).map(|part| part.max);
        assert_eq!([0, 32768, 8192, 4096, 2048].map(max), [Some(16384), Some(16384), Some(8192), Some(4096), None]);
        let bounded = Atomic { unit: 512, max: 2048, natural: false, boundary: 4096 };
        assert_eq!([0, 4096, 512].map(|start| bounded.of_part(start)), [Some(bounded), Some(bounded), None]);
        assert_eq!(Atomic { boundary: 0, ..bounded }.of_part(512), Some(Atomic { boundary: 0, ..bounded }));
    }

    #[test]
    fn pieces_of_a_part_begin_where_those_of_the_device_do() {
        let of = |alignment, start| {
            let whole = Discard { granularity: 4096, alignment, max: 1 << 20, zeroes: true };
            whole.of_part(start).alignment
        };
        assert_eq!([of(0, 0), of(0, 8192), of(0, 512), of(0, 4096 + 3584)], [0, 0, 3584, 512]);
        assert_eq!([of(512, 0), of(512, 512), of(512, 1024)], [512, 0, 3584]);
        assert_eq!(of(0, u64::MAX - 511), 512);
    }

    #[test]
    fn whole_blocks_are_an_offer_if_they_are_more_than_one() {
        let of = |max| Atomic::of_blocks(512, max).map(|atomic| (atomic.unit, atomic.max));
        assert_eq!([0, 512, 1535, 1 << 40].map(of), [None, None, Some((512, 1024)), Some((512, 65536))]);
    }

    #[test]
    fn an_extent_comes_back_from_a_list() {
        for provision in [Provision::Mapped, Provision::Deallocated, Provision::Anchored] {
            let extent = Extent { offset: 4096, len: u64::MAX, provision };
            assert_eq!(Extent::from_bytes(&extent.to_bytes()), extent);
        }
    }

    #[test]
    fn transfers_are_of_whole_pages() {
        let said = [0, 512, 4096, 255 * 512, 1280 << 10, 2_147_483_647 << 10, u64::MAX];
        let most = [MAX_TRANSFER, 4096, 4096, 31 * 4096, 1280 << 10, MAX_TRANSFER, MAX_TRANSFER];
        assert_eq!(said.map(transfer_max), most);
    }

    #[test]
    fn says_sizes_exactly() {
        let said: Vec<_> = [1 << 40, 3 << 29, 1536, 513, 0].into_iter().map(bytes_for_people).collect();
        assert_eq!(said, ["1 TiB", "1536 MiB", "1536 bytes", "513 bytes", "0 bytes"]);
    }
}

//! What a controller and a namespace say of themselves (NVM Express Base Specification, Identify).

use crate::info::Atomic;

use super::spec::IDENTIFY_LEN;

/// What Identify returns.
pub(super) type Page = [u8; IDENTIFY_LEN];

fn u16_at(page: &Page, at: usize) -> u16 {
    u16::from_le_bytes([page[at], page[at + 1]])
}

fn u64_at(page: &Page, at: usize) -> u64 {
    u64::from_le_bytes(page[at..at + 8].try_into().expect("8 bytes"))
}

/// A text field, without the spaces that pad it.
fn text(bytes: &[u8]) -> String {
    let printable = |&byte: &u8| if (0x20..0x7f).contains(&byte) { char::from(byte) } else { ' ' };
    bytes.iter().map(printable).collect::<String>().trim().to_owned()
}

/// A size that is told as the exponent of a number of the controller's smallest pages, in bytes; 0 stands for no limit. How large
/// those are the kernel does not tell: 4096 bytes at least.
fn bytes_of(exponent: u8) -> u64 {
    const PAGE: u64 = 4096;
    // 2^51 pages are all that 64 bits can count.
    if exponent == 0 { 0 } else { PAGE << exponent.min(51) }
}

/// What is needed of Identify Controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Controller {
    /// SN.
    pub(super) serial: String,
    /// MN.
    pub(super) model: String,
    /// FR.
    pub(super) firmware: String,
    /// VWC: there is a cache that a flush empties.
    pub(super) write_cache: bool,
    /// ONCS: Dataset Management.
    pub(super) dataset_management: bool,
    /// ONCS: Write Zeroes.
    pub(super) write_zeroes: bool,
    /// ONCS: Compare.
    pub(super) compare: bool,
    /// ONCS: Verify.
    pub(super) verify: bool,
    /// WCTEMP in kelvins: from there on it is too hot; 0 if it does not say.
    pub(super) warning_kelvin: u16,
    /// MDTS in bytes: of one command, if it says so.
    pub(super) transfer_bytes: Option<u64>,
    /// AWUPF in blocks: what is written as a whole even when power fails.
    atomic_blocks: u32,
}

impl Controller {
    /// Reads the page of CNS 01h.
    pub(super) fn parse(page: &Page) -> Self {
        let oncs = u16_at(page, 520);
        Self {
            serial: text(&page[4..24]),
            model: text(&page[24..64]),
            firmware: text(&page[64..72]),
            write_cache: page[525] & 1 != 0,
            dataset_management: oncs & 1 << 2 != 0,
            write_zeroes: oncs & 1 << 3 != 0,
            compare: oncs & 1 != 0,
            verify: oncs & 1 << 7 != 0,
            warning_kelvin: u16_at(page, 266),
            transfer_bytes: Some(bytes_of(page[77])).filter(|bytes| *bytes > 0),
            atomic_blocks: u32::from(u16_at(page, 528)) + 1,
        }
    }
}

/// What is needed of Identify I/O Command Set Specific Controller, for the NVM command set (NVM Command Set Specification).
/// 0 stands for no limit of its own. (WUSL is about Write Uncorrectable, which nobody sends; one range is within any DMRL.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Commands {
    /// VSL in bytes: of one Verify. `None` of a controller that has no such page.
    pub(super) verify_bytes: Option<u64>,
    /// WZSL in bytes: of one Write Zeroes.
    pub(super) zeroes_bytes: u64,
    /// DMRSL in blocks: of one range of Dataset Management.
    pub(super) range_blocks: u64,
    /// DMSL in blocks: of all ranges of a Dataset Management.
    pub(super) ranges_blocks: u64,
}

impl Commands {
    /// Reads the page of CNS 06h.
    pub(super) fn parse(page: &Page) -> Self {
        Self {
            verify_bytes: Some(bytes_of(page[0])),
            zeroes_bytes: bytes_of(page[1]),
            range_blocks: u32::from_le_bytes(page[4..8].try_into().expect("4 bytes")).into(),
            ranges_blocks: u64_at(page, 8),
        }
    }
}

/// What is best done as a whole, in blocks; 0 where the namespace does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Preferred {
    /// Lengths are multiples of this.
    pub(super) size: u32,
    /// Beginnings are multiples of this.
    pub(super) alignment: u32,
}

impl Preferred {
    /// The pieces from the first block on that fit both.
    pub(super) fn pieces(self) -> u32 {
        match (self.size, self.alignment) {
            (0, other) | (other, 0) => other,
            (size, alignment) => (size / gcd(size, alignment)).saturating_mul(alignment),
        }
    }
}

/// The largest number that divides both.
fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What must not be crossed by what is written as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Boundary {
    None,
    /// Each multiple of so many blocks.
    Every(u32),
    /// Blocks that no multiple of one number tells, and that nobody can heed.
    Elsewhere,
}

impl Boundary {
    /// NABSN and NABSPF, of normal operation and of a loss of power, and NABO, the first block behind one of either.
    fn parse(page: &Page) -> Self {
        // Both count from 0, and 0 stands for none.
        let size = |at| Some(u16_at(page, at)).filter(|size| *size > 0).map(|size| u32::from(size) + 1);
        let (normal, power_fail, first) = (size(40), size(44), u16_at(page, 42));
        match (normal, power_fail) {
            (None, None) => Self::None,
            _ if first > 0 => Self::Elsewhere,
            (None, Some(one)) | (Some(one), None) => Self::Every(one),
            (Some(one), Some(other)) if one.max(other).is_multiple_of(one.min(other)) => Self::Every(one.min(other)),
            _ => Self::Elsewhere,
        }
    }
}

/// What is needed of Identify Namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Namespace {
    /// NSZE.
    pub(super) blocks: u64,
    /// Bytes of a block, as the active format has it.
    pub(super) block_size: u64,
    /// Bytes of metadata of each block.
    pub(super) metadata_size: u16,
    /// NSATTR: write protected.
    pub(super) read_only: bool,
    /// NSFEAT: it has less space than it shows.
    pub(super) thin: bool,
    /// DLFEAT: deallocated blocks read as zeroes.
    pub(super) deallocated_zeroes: bool,
    /// DLFEAT: Write Zeroes may deallocate.
    pub(super) zeroes_deallocate: bool,
    /// NPWG and NPWA: what is best written.
    pub(super) write: Preferred,
    /// NPDG and NPDA: what is given back as a whole.
    pub(super) deallocate: Preferred,
    /// NOWS in blocks: best length of a write, 0 if it does not say.
    pub(super) optimal_write: u32,
    /// NOIOB in blocks: a command that crosses a multiple of it takes longer, 0 if it does not say.
    pub(super) optimal_boundary: u32,
    /// NAWUPF in blocks, if the namespace has a value of its own.
    atomic_blocks: Option<u32>,
    atomic_boundary: Boundary,
    /// NGUID, if it has one.
    pub(super) nguid: Option<[u8; 16]>,
    /// EUI64, if it has one.
    pub(super) eui64: Option<[u8; 8]>,
}

impl Namespace {
    /// Reads the page of CNS 00h. `None` if its active format has blocks of no size that there is.
    pub(super) fn parse(page: &Page) -> Option<Self> {
        let features = page[24];
        let index = usize::from(page[26] & 0x0f | (page[26] >> 5 & 0x03) << 4);
        let format = 128 + 4 * index;
        let exponent = page[format + 2];
        // OPTPERF: counts from 0 that mean something only if it says so. In its upper value those about deallocation stand
        // elsewhere, in more bits.
        let said = |bits: u8, at: usize| if features & bits != 0 { u32::from(u16_at(page, at)) + 1 } else { 0 };
        let (writing, deallocating) = (0x30, 0x10);
        let has_atomics = features & 1 << 1 != 0;
        Some(Self {
            blocks: u64_at(page, 0),
            block_size: if (9..=31).contains(&exponent) { 1 << exponent } else { return None },
            metadata_size: u16_at(page, format),
            read_only: page[99] & 1 != 0,
            thin: features & 1 != 0,
            deallocated_zeroes: page[33] & 0x07 == 1,
            zeroes_deallocate: page[33] & 0x08 != 0,
            write: Preferred { size: said(writing, 64), alignment: said(writing, 66) },
            deallocate: Preferred { size: said(deallocating, 68), alignment: said(deallocating, 70) },
            optimal_write: said(writing, 72),
            optimal_boundary: u16_at(page, 46).into(),
            // It counts from 0, and 0 stands for the controller's.
            atomic_blocks: Some(u16_at(page, 36))
                .filter(|said| has_atomics && *said > 0)
                .map(|said| u32::from(said) + 1),
            atomic_boundary: if has_atomics { Boundary::parse(page) } else { Boundary::None },
            nguid: Some(page[104..120].try_into().expect("16 bytes")).filter(|id| *id != [0; 16]),
            eui64: Some(page[120..128].try_into().expect("8 bytes")).filter(|id| *id != [0; 8]),
        })
    }

    /// Writes that are done as a whole, even when power fails, in one command of at most `transfer_bytes`. Power fails no
    /// later than a reader comes: what holds then (AWUPF) holds in normal operation, too (AWUN).
    pub(super) fn atomic(&self, controller: &Controller, transfer_bytes: u64) -> Option<Atomic> {
        let blocks = u64::from(self.atomic_blocks.unwrap_or(controller.atomic_blocks));
        let boundary = match self.atomic_boundary {
            Boundary::None => 0,
            Boundary::Every(blocks) => u64::from(blocks) * self.block_size,
            Boundary::Elsewhere => return None,
        };
        let most = [blocks * self.block_size, transfer_bytes, if boundary > 0 { boundary } else { u64::MAX }];
        let atomic = Atomic::of_blocks(self.block_size as u32, most.into_iter().min()?)?;
        Some(Atomic { boundary, ..atomic })
    }
}

/// The UUID among the identifiers in the page of CNS 03h.
pub(super) fn uuid(page: &Page) -> Option<[u8; 16]> {
    const UUID: u8 = 3;
    identifier(page, UUID)?.try_into().ok()
}

/// Command set of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CommandSet(pub(super) u8);

impl CommandSet {
    /// That of blocks which are read and written.
    pub(super) const NVM: Self = Self(0x00);
    /// That of zones which are written in order.
    pub(super) const ZONED: Self = Self(0x02);

    /// CSI among the identifiers in the page of CNS 03h. Controllers with one command set need not name it.
    pub(super) fn parse(page: &Page) -> Self {
        const CSI: u8 = 4;
        match identifier(page, CSI) {
            Some(&[set]) => Self(set),
            _ => Self::NVM,
        }
    }
}

/// One of a list of identifiers, each with its type and its length.
fn identifier(page: &Page, wanted: u8) -> Option<&[u8]> {
    let mut at = 0;
    while at + 4 <= page.len() && page[at + 1] != 0 {
        let (kind, len) = (page[at], usize::from(page[at + 1]));
        let id = page.get(at + 4..at + 4 + len)?;
        if kind == wanted {
            return Some(id);
        }
        at += 4 + len;
    }
    None
}

#[cfg(test)]
mod tests;

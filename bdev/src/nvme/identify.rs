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
            atomic_blocks: u32::from(u16_at(page, 528)) + 1,
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
    /// NPWG in blocks: best size of a write, 0 if it does not say.
    pub(super) write_granularity: u32,
    /// NPDG in blocks: what is given back as a whole, 0 if it does not say.
    pub(super) deallocate_granularity: u32,
    /// NOWS in blocks: best length of a write, 0 if it does not say.
    pub(super) optimal_write: u32,
    /// NAWUPF in blocks, if the namespace has a value of its own.
    atomic_blocks: Option<u32>,
    /// NABSPF in blocks and NABO: the boundaries that what is written as a whole when power fails must not cross, and the
    /// first block behind one. 0 blocks if there are none.
    atomic_boundary: (u32, u32),
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
        // 0's based counts that mean something only if the feature bit says so.
        let hint = |bit: u8, at: usize| if features & 1 << bit != 0 { u32::from(u16_at(page, at)) + 1 } else { 0 };
        Some(Self {
            blocks: u64_at(page, 0),
            block_size: if (9..=31).contains(&exponent) { 1 << exponent } else { return None },
            metadata_size: u16_at(page, format),
            read_only: page[99] & 1 != 0,
            thin: features & 1 != 0,
            deallocated_zeroes: page[33] & 0x07 == 1,
            zeroes_deallocate: page[33] & 0x08 != 0,
            write_granularity: hint(4, 64),
            deallocate_granularity: hint(4, 68),
            optimal_write: hint(4, 72),
            atomic_blocks: (features & 1 << 1 != 0).then(|| u32::from(u16_at(page, 36)) + 1),
            // NABSPF counts from 0, and 0 stands for none.
            atomic_boundary: match u16_at(page, 44) {
                size if features & 1 << 1 != 0 && size > 0 => (u32::from(size) + 1, u16_at(page, 42).into()),
                _ => (0, 0),
            },
            nguid: Some(page[104..120].try_into().expect("16 bytes")).filter(|id| *id != [0; 16]),
            eui64: Some(page[120..128].try_into().expect("8 bytes")).filter(|id| *id != [0; 8]),
        })
    }

    /// Writes that are done as a whole, even when power fails, in one command of at most `transfer_bytes`. Power fails no
    /// later than a reader comes: what holds then (AWUPF) holds in normal operation, too (AWUN).
    pub(super) fn atomic(&self, controller: &Controller, transfer_bytes: u64) -> Option<Atomic> {
        let blocks = u64::from(self.atomic_blocks.unwrap_or(controller.atomic_blocks));
        let (boundary, first) = self.atomic_boundary;
        let boundary = u64::from(boundary) * self.block_size;
        // Boundaries that the blocks' own count does not show are nobody's to heed.
        let offered = first == 0 || boundary == 0;
        let most = [blocks * self.block_size, transfer_bytes, if boundary > 0 { boundary } else { u64::MAX }];
        let atomic = Atomic::of_blocks(self.block_size as u32, most.into_iter().min()?)?;
        offered.then_some(Atomic { boundary, ..atomic })
    }
}

/// The UUID in the page of CNS 03h: a list of identifiers, each with its type and its length.
pub(super) fn uuid(page: &Page) -> Option<[u8; 16]> {
    const UUID: u8 = 3;
    let mut at = 0;
    while at + 4 <= page.len() && page[at + 1] != 0 {
        let (kind, len) = (page[at], usize::from(page[at + 1]));
        let id = page.get(at + 4..at + 4 + len)?;
        if kind == UUID {
            return id.try_into().ok();
        }
        at += 4 + len;
    }
    None
}

#[cfg(test)]
mod tests;

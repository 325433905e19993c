//! What a CDB asks for, as fields with names: behind this type no raw CDB byte is ever read again.

use super::attention::AttentionRule;
use super::long::LongCommand;
use super::query::Query;
use super::spec::vpd_page;

/// Which of the four shapes of a READ or WRITE carried the command: sense data must point into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CdbForm {
    /// 6 bytes.
    Six,
    /// 10 bytes.
    Ten,
    /// 12 bytes.
    Twelve,
    /// 16 bytes.
    Sixteen,
}

impl CdbForm {
    /// First byte of the TRANSFER LENGTH field.
    pub const fn transfer_length_byte(self) -> u16 {
        match self {
            Self::Six => 4,
            Self::Ten => 7,
            Self::Twelve => 6,
            Self::Sixteen => 10,
        }
    }
}

/// Which values of the mode pages MODE SENSE returns (SPC-5, page control field of MODE SENSE).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageControl {
    /// The values in force.
    Current,
    /// A mask of what MODE SELECT may change.
    Changeable,
    /// The values after power on.
    Default,
    /// The values kept over a power cycle.
    Saved,
}

/// MODE SENSE (6) and (10) (SPC-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeSense {
    /// The parameter list has the header of MODE SENSE (10).
    pub ten: bool,
    /// A long block descriptor is accepted.
    pub llbaa: bool,
    /// No block descriptors.
    pub dbd: bool,
    /// Which values.
    pub control: PageControl,
    /// Page code.
    pub page: u8,
    /// Subpage code.
    pub subpage: u8,
    /// Bytes that the initiator has room for.
    pub allocation_length: u16,
}

/// READ DEFECT DATA (10) and (12) (SBC-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadDefectData {
    /// The data has the header of READ DEFECT DATA (12).
    pub twelve: bool,
    /// REQ_PLIST, REQ_GLIST and DEFECT LIST FORMAT, as they stand in the CDB and in the answer.
    pub wanted: u8,
    /// Bytes that the initiator has room for.
    pub allocation_length: u32,
}

/// READ BUFFER (10) and WRITE BUFFER (SPC-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferAccess {
    /// MODE.
    pub mode: u8,
    /// BUFFER ID.
    pub id: u8,
    /// BUFFER OFFSET.
    pub offset: Be24,
    /// Bytes to read or to write.
    pub len: Be24,
}

/// A number of 24 bits, as it stands in a CDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Be24(pub [u8; 3]);

impl Be24 {
    /// Its value.
    pub const fn get(self) -> u32 {
        let [high, middle, low] = self.0;
        u32::from_be_bytes([0, high, middle, low])
    }
}

/// A decoded command. Its fields are the CDB's, in its units: addresses and lengths of the medium count logical blocks,
/// allocation lengths count bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// TEST UNIT READY.
    TestUnitReady,
    /// REQUEST SENSE.
    RequestSense {
        /// Descriptor format is wanted.
        desc: bool,
        /// Bytes that the initiator has room for.
        allocation_length: u8,
    },
    /// INQUIRY.
    Inquiry {
        /// A vital product data page is wanted.
        evpd: bool,
        /// Which.
        page: u8,
        /// Bytes that the initiator has room for.
        allocation_length: u16,
    },
    /// READ (6), (10), (12) and (16).
    Read {
        /// First block.
        lba: u64,
        /// Blocks to read; 0 reads nothing.
        blocks: u32,
        /// The blocks will not be wanted soon again.
        dpo: bool,
        /// The blocks must come from the medium.
        fua: bool,
        /// Shape of the CDB.
        form: CdbForm,
    },
    /// WRITE (6), (10), (12) and (16).
    Write {
        /// First block.
        lba: u64,
        /// Blocks to write; 0 writes nothing.
        blocks: u32,
        /// The blocks will not be wanted soon again.
        dpo: bool,
        /// The blocks must be on the medium before the command ends.
        fua: bool,
        /// Shape of the CDB.
        form: CdbForm,
    },
    /// SYNCHRONIZE CACHE (10) and (16).
    SynchronizeCache {
        /// First block.
        lba: u64,
        /// Blocks; 0 means up to the last of the medium.
        blocks: u32,
        /// Status may come before the cache is written.
        immed: bool,
    },
    /// A command on a range of blocks that takes several steps.
    OnRange {
        /// Which.
        what: RangeCommand,
        /// First block.
        lba: u64,
        /// Blocks.
        blocks: u32,
        /// Shape of the CDB.
        form: CdbForm,
    },
    /// GET LBA STATUS (16).
    GetLbaStatus {
        /// First block.
        lba: u64,
        /// Bytes that the initiator has room for.
        allocation_length: u32,
    },
    /// PRE-FETCH (10) and (16).
    PreFetch {
        /// First block.
        lba: u64,
        /// Blocks; 0 means up to the last of the medium.
        blocks: u32,
        /// Status may come before the blocks are in the cache.
        immed: bool,
    },
    /// PREVENT ALLOW MEDIUM REMOVAL.
    PreventAllowMediumRemoval {
        /// PREVENT.
        prevent: bool,
    },
    /// READ DEFECT DATA (10) and (12).
    ReadDefectData(ReadDefectData),
    /// READ BUFFER (10).
    ReadBuffer(BufferAccess),
    /// RECEIVE DIAGNOSTIC RESULTS.
    ReceiveDiagnosticResults {
        /// The page, if one is named.
        page: Option<u8>,
        /// Bytes that the initiator has room for.
        allocation_length: u16,
    },
    /// Any other command that takes several steps.
    Long(LongCommand),
    /// READ CAPACITY (10).
    ReadCapacity10,
    /// READ CAPACITY (16).
    ReadCapacity16 {
        /// Bytes that the initiator has room for.
        allocation_length: u32,
    },
    /// MODE SENSE (6) and (10).
    ModeSense(ModeSense),
    /// START STOP UNIT, with POWER CONDITION zero: this disk has no power conditions.
    StartStopUnit {
        /// Status may come before the unit is there.
        immed: bool,
        /// When stopping, the cache need not be written first.
        no_flush: bool,
        /// LOEJ: load, or eject.
        load_eject: bool,
        /// Start; otherwise stop.
        start: bool,
    },
    /// A command that reports something else.
    Query(Query),
    /// REPORT LUNS.
    ReportLuns {
        /// Which logical units.
        select_report: u8,
        /// Bytes that the initiator has room for.
        allocation_length: u32,
    },
}

/// A command on a range of blocks that takes several steps: what its CDB has beside the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeCommand {
    /// VERIFY (10), (12) and (16).
    Verify(ByteCheck),
    /// WRITE AND VERIFY (10), (12) and (16).
    WriteAndVerify(ByteCheck),
    /// WRITE ATOMIC (16): FUA, BOUNDARY.
    WriteAtomic(RangeFlags),
    /// WRITE SAME (10) and (16): UNMAP, ANCHOR, NDOB.
    WriteSame(RangeFlags),
    /// COMPARE AND WRITE: FUA.
    CompareAndWrite(RangeFlags),
    /// ORWRITE (16): FUA.
    OrWrite(RangeFlags),
}

bitflags::bitflags! {
    /// Bits of the CDB of a [`RangeCommand`].
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct RangeFlags: u8 {
        /// The blocks must be on the medium before the command ends.
        const FUA = 1;
        /// ATOMIC BOUNDARY is not 0.
        const BOUNDARY = 2;
        /// The space may be given back.
        const UNMAP = 4;
        /// There is no data-out: it is all zeroes.
        const NDOB = 8;
        /// What is unmapped keeps space for itself.
        const ANCHOR = 16;
    }
}

impl RangeCommand {
    /// The same with FUA, whether its CDB has such a bit or not. What else there is verifies on the medium.
    pub(super) fn forced(self) -> Self {
        match self {
            Self::WriteAtomic(flags) => Self::WriteAtomic(flags | RangeFlags::FUA),
            Self::CompareAndWrite(flags) => Self::CompareAndWrite(flags | RangeFlags::FUA),
            Self::OrWrite(flags) => Self::OrWrite(flags | RangeFlags::FUA),
            Self::WriteSame(flags) => Self::WriteSame(flags | RangeFlags::FUA),
            Self::Verify(_) | Self::WriteAndVerify(_) => self,
        }
    }
}

/// BYTCHK: what VERIFY compares the blocks with (SBC-4, VERIFY command). Two bits, of which 10b means nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteCheck(pub u8);

impl ByteCheck {
    /// Nothing: they can be read.
    pub const NONE: Self = Self(0);
    /// As many blocks of data-out.
    pub const BLOCKS: Self = Self(1);
    /// One block of data-out, each of them.
    pub const ONE_BLOCK: Self = Self(3);
}

/// Which way a command's data goes, seen from the initiator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataDirection {
    /// No data.
    None,
    /// To the initiator.
    In,
    /// From the initiator.
    Out,
}

impl Command {
    /// Whether a command in several steps writes to the medium.
    pub(super) const fn writes(&self) -> bool {
        match self {
            Self::OnRange { what, .. } => !matches!(what, RangeCommand::Verify(_)),
            Self::Long(command) => command.writes(),
            _ => false,
        }
    }

    /// Which way the data goes. A read or write of no blocks still has its direction.
    pub const fn direction(&self) -> DataDirection {
        match self {
            Self::TestUnitReady
            | Self::SynchronizeCache { .. }
            | Self::PreFetch { .. }
            | Self::PreventAllowMediumRemoval { .. }
            | Self::StartStopUnit { .. } => DataDirection::None,
            Self::Write { .. } => DataDirection::Out,
            Self::OnRange { what, .. } => what.direction(),
            Self::Long(command) => command.direction(),
            Self::RequestSense { .. }
            | Self::Inquiry { .. }
            | Self::Read { .. }
            | Self::GetLbaStatus { .. }
            | Self::ReadDefectData(_)
            | Self::ReadBuffer(_)
            | Self::ReceiveDiagnosticResults { .. }
            | Self::ReadCapacity10
            | Self::ReadCapacity16 { .. }
            | Self::ModeSense(_)
            | Self::Query(_)
            | Self::ReportLuns { .. } => DataDirection::In,
        }
    }

    /// Whether it takes several steps ([`Step::Long`](super::Step::Long)).
    #[inline]
    pub const fn is_long(&self) -> bool {
        matches!(self, Self::OnRange { .. } | Self::GetLbaStatus { .. } | Self::Long(_))
    }

    /// Whether it begins work on the whole medium ([`LongStep::Background`](super::LongStep)).
    #[inline]
    pub const fn begins_work(&self) -> bool {
        matches!(self, Self::Long(LongCommand::FormatUnit(_) | LongCommand::Sanitize(_)))
    }

    /// Whether it tells of what the caller hands in with such commands alone, for it takes long to find:
    /// [`luns`](super::Condition::luns) and [`facts`](super::Condition::facts).
    #[inline]
    pub const fn asks(&self) -> bool {
        matches!(
            self,
            Self::ReportLuns { .. } | Self::Query(_) | Self::Inquiry { evpd: true, page: vpd_page::SCSI_PORTS, .. }
        )
    }

    /// What a pending unit attention does to this command (SAM-5, unit attention conditions).
    pub const fn attention_rule(&self) -> AttentionRule {
        match self {
            Self::Inquiry { .. } | Self::ReportLuns { .. } => AttentionRule::Ignore,
            Self::RequestSense { .. } => AttentionRule::AsData,
            _ => AttentionRule::Report,
        }
    }
}

impl RangeCommand {
    const fn direction(self) -> DataDirection {
        match self {
            Self::Verify(ByteCheck::NONE) => DataDirection::None,
            Self::WriteSame(flags) if flags.contains(RangeFlags::NDOB) => DataDirection::None,
            _ => DataDirection::Out,
        }
    }
}

const _: () = assert!(size_of::<Command>() == 16, "a command lies in every slot");

//! EXTENDED COPY with a list identifier of one byte or of four, LID1 and LID4 (SPC-5): blocks from one logical unit to another
//! of the same device.
//!
//! The whole parameter list is taken apart before the first block is copied. A segment that turns out to name what cannot be
//! copied ends the command when its turn comes: those before it have been copied then, as its number in the sense data says.
//! Only logical units of the initiator's own device can be named, by what their device identification page says.

use std::sync::Arc;

use bdev::IoError;

use super::super::hindrance::Hindrance;
use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::super::spec::Asc;
use super::super::third_party_copy::{Copies, Rod, Rods, TOKEN_LEN};
use super::copying::Copying;
use super::{CHUNK_BYTES, Desk, LogicalUnit, LongStep, LongTask};

mod list;

pub(in super::super) use list::{BLOCK_TO_BLOCK, BLOCK_TO_BLOCK_OFFSET, IDENTIFICATION};
use list::{Form, List};

/// Most descriptors of copy sources and copy destinations in one list.
pub(in super::super) const CSCD_MAX: u16 = 16;
/// Most segments in one list.
pub(in super::super) const SEGMENTS_MAX: u16 = 16;
/// Most bytes of both.
pub(in super::super) const DESCRIPTORS_LEN_MAX: u32 =
    CSCD_MAX as u32 * list::CSCD_LEN as u32 + SEGMENTS_MAX as u32 * list::SEGMENT_LEN_MAX as u32;
/// Most bytes that one segment copies.
pub(in super::super) const SEGMENT_BYTES_MAX: u32 = 16 << 20;

/// What a designation descriptor says of a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Designator<'a> {
    /// CODE SET.
    pub code_set: u8,
    /// DESIGNATOR TYPE.
    pub kind: u8,
    /// The designator.
    pub bytes: &'a [u8],
}

/// A name of a logical unit of the same device: what [`LongStep::Elsewhere`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub u64);

/// A logical unit of the same device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name.
    pub place: Place,
    /// Number of logical blocks.
    pub blocks: u64,
    /// Bytes of a logical block.
    pub block_size: u32,
    /// Most bytes of one transfer.
    pub transfer_bytes_max: u64,
    /// It may be written to.
    pub writable: bool,
    /// Why it cannot be reached, for now.
    pub hindered: Option<Hindrance>,
}

/// What a token stands for.
#[derive(Debug)]
pub struct Found {
    /// The logical unit with its blocks.
    pub neighbour: Neighbour,
    /// Its blocks.
    pub rod: Arc<Rod>,
    /// The tokens of that unit.
    pub rods: Rods,
}

/// The logical units of a device.
pub trait Neighbours {
    /// The disk with this designator.
    fn find(&self, designator: &Designator<'_>) -> Option<Neighbour>;

    /// What a token stands for, if it is that of one of the units: it is used with that.
    ///
    /// # Errors
    /// It is of no use any more.
    fn rod(&self, _token: &[u8; TOKEN_LEN]) -> Option<Result<Found, Sense>> {
        None
    }

    /// From now on whoever changes one of its blocks on the disk with this designator cancels a token before, as long as it is in
    /// use.
    fn watch(&self, _designator: &Designator<'_>, _rod: &Arc<Rod>) {}

    /// Random bytes that nobody can guess.
    fn random(&self, into: &mut [u8]);

    /// The host's clock, in milliseconds since 1970 UTC.
    fn now_ms(&self) -> u64 {
        0
    }
}

/// An EXTENDED COPY in progress.
#[derive(Debug)]
struct ExtendedCopy {
    form: Form,
    list_len: usize,
    copies: Copies,
    /// There once the list was read.
    copying: Option<Copying>,
}

/// Begins an EXTENDED COPY.
pub(super) fn begin(unit: &LogicalUnit, lid4: bool, parameter_list_length: u32) -> Result<Box<dyn LongTask>, Outcome> {
    let form = if lid4 { Form::Four } else { Form::One };
    // A length of 0 is no error (SPC-5, EXTENDED COPY command), nor is it a list.
    if parameter_list_length == 0 {
        return Err(Outcome::GOOD);
    }
    if parameter_list_length < form.header_len() as u32 {
        return Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR).into());
    }
    let list_len = parameter_list_length.min(form.len_max() as u32) as usize;
    Ok(Box::new(ExtendedCopy { form, list_len, copies: unit.copies.clone(), copying: None }))
}

/// COPY OPERATION ABORT.
pub(super) fn abort(unit: &LogicalUnit, list_id: u32) -> Outcome {
    if unit.copies.abort(list_id) { Outcome::GOOD } else { Sense::invalid_field(2, None).into() }
}

impl ExtendedCopy {
    /// Reads the list, and finds out what it is about.
    fn read(&self, bytes: &[u8], neighbours: &dyn Neighbours) -> Result<Copying, Sense> {
        let list = List::parse(bytes, self.form)?;
        let begin = |id| self.copies.begin(id, self.form.service_action());
        let running = list.id.map(begin).transpose()?;
        let (segments, fails) = list.resolve(neighbours);
        Ok(Copying::new(segments, fails, running))
    }
}

impl LongTask for ExtendedCopy {
    fn data_out_len(&self) -> u64 {
        self.list_len as u64
    }

    fn memory_len(&self) -> usize {
        const { assert!(Form::Four.len_max() <= CHUNK_BYTES as usize) };
        CHUNK_BYTES as usize
    }

    fn rest(&mut self, is_done: bool) -> bool {
        self.copying.as_mut().map(|copying| copying.rest(is_done)).is_some()
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        if self.copying.is_none() {
            let bytes = &mut desk.memory[..self.list_len];
            desk.data.take(0, bytes);
            match self.read(bytes, desk.neighbours) {
                Ok(copying) => self.copying = Some(copying),
                Err(sense) => return sense.into(),
            }
        }
        self.copying.as_mut().expect("the list was read").go_on()
    }

    fn failed(&mut self, _op: &BlockOp, error: IoError, _desk: &mut Desk<'_>) -> LongStep {
        self.copying.as_mut().expect("it had an operation").failed(error)
    }
}

impl LogicalUnit {
    /// As others see it that copy from it or to it.
    pub fn neighbour(&self, place: Place, hindered: Option<Hindrance>) -> Neighbour {
        Neighbour {
            place,
            blocks: self.blocks,
            block_size: self.block_size,
            transfer_bytes_max: self
                .transfer_blocks_max
                .map_or(u64::MAX, |blocks| u64::from(blocks) * u64::from(self.block_size)),
            writable: !self.read_only,
            hindered,
        }
    }

    /// What a token stands for, if it is one of its own, and is here at `place`.
    pub fn rod(&self, token: &[u8; TOKEN_LEN], now_ms: u64) -> Option<Result<Arc<Rod>, Sense>> {
        self.rods.find(token, now_ms)
    }

    /// Its tokens.
    pub fn rods(&self) -> &Rods {
        &self.rods
    }

    /// Whether a designator is one of its own.
    pub fn is_designated(&self, designator: &Designator<'_>) -> bool {
        const BINARY: u8 = 1;
        let Designator { code_set, kind, bytes } = *designator;
        match (code_set, kind) {
            (BINARY, 0x03) => bytes == self.identity.naa().as_bytes(),
            (BINARY, 0x02) => self.identity.eui64().any(|its| its.as_bytes() == bytes),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;

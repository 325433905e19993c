//! POPULATE TOKEN and WRITE USING TOKEN (SBC-4): a token for blocks of this disk, and blocks of this disk from what a token of the
//! same device stands for, or zeroes.
//!
//! Both end when all is done, with IMMED, too: what one of them may be about is bounded for that. With IMMED the status says that
//! the list was right, and RECEIVE ROD TOKEN INFORMATION alone what came of it.

use bdev::IoError;

use super::super::identity::Naa;
use super::super::outcome::{BlockOp, Outcome};
use super::super::sense::Sense;
use super::super::spec::{Asc, copy_out};
use super::super::third_party_copy::rods::{INACTIVITY_DEFAULT_S, INACTIVITY_MAX_S, RANGES_MAX, Rods};
use super::super::third_party_copy::token::{
    BLOCK_ZERO, LENGTH_FIELD, Maker, POINT_IN_TIME_CHANGE_VULNERABLE, TOKEN_LEN,
};
use super::super::third_party_copy::{Copies, Progress};
use super::{CHUNK_BYTES, Designator, Desk, LogicalUnit, LongStep, LongTask, Neighbours};

mod ranges;
mod using;
mod zeroing;

use ranges::{Limits, Ranges};
use using::Using;
use zeroing::{How, Zeroing};

/// Bytes before the ranges of POPULATE TOKEN.
const POPULATE_HEADER_LEN: usize = 16;
/// Bytes before the ranges of WRITE USING TOKEN.
const WRITE_HEADER_LEN: usize = 24 + TOKEN_LEN;
/// Where WRITE USING TOKEN has its token.
const TOKEN_AT: usize = 16;

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from(be32(bytes, at)) << 32 | u64::from(be32(bytes, at + 4))
}

/// A unit as its neighbours know it.
fn designator(naa: &Naa) -> Designator<'_> {
    Designator { code_set: 1, kind: 3, bytes: naa.as_bytes() }
}

/// Bytes of a list that are looked at, or how a command without one ends.
fn list_len(parameter_list_length: u32, header_len: usize) -> Result<usize, Outcome> {
    let len_max = header_len + usize::from(RANGES_MAX) * ranges::LEN;
    match parameter_list_length as usize {
        0 => Err(Outcome::GOOD),
        len if len < header_len => Err(Sense::illegal(Asc::PARAMETER_LIST_LENGTH_ERROR).into()),
        len => Ok(len.min(len_max)),
    }
}

/// A POPULATE TOKEN whose list is to be read.
#[derive(Debug)]
struct Populate {
    list_id: u32,
    list_len: usize,
    limits: Limits,
    block_size: u32,
    maker: Maker,
    naa: Naa,
    copies: Copies,
    rods: Rods,
}

/// Begins a POPULATE TOKEN.
pub(super) fn begin_populate(unit: &LogicalUnit, list_id: u32, len: u32) -> Result<Box<dyn LongTask>, Outcome> {
    Ok(Box::new(Populate {
        list_id,
        list_len: list_len(len, POPULATE_HEADER_LEN)?,
        limits: Limits::of(unit),
        block_size: unit.block_size,
        maker: Maker::of(unit),
        naa: unit.identity.naa(),
        copies: unit.copies.clone(),
        rods: unit.rods.clone(),
    }))
}

impl Populate {
    /// Reads the list, and makes the token.
    fn make(&self, list: &[u8], neighbours: &dyn Neighbours) -> Result<(), Sense> {
        const RTV: u8 = 0x02;
        let ranges = Ranges { at: POPULATE_HEADER_LEN, limits: self.limits, shortens: true }.read(list)?;
        if list[2] & RTV != 0 && be32(list, 8) != POINT_IN_TIME_CHANGE_VULNERABLE {
            return Err(Sense::invalid_parameter(8, None));
        }
        let timeout_s = match be32(list, 4) {
            0 => INACTIVITY_DEFAULT_S,
            timeout_s @ ..=INACTIVITY_MAX_S => timeout_s,
            _ => return Err(Sense::invalid_parameter(4, None)),
        };
        let running = self.copies.begin(self.list_id, copy_out::POPULATE_TOKEN)?;
        let rod = Rods::rod(ranges, self.block_size, timeout_s);
        // It is watched before anybody knows of it.
        neighbours.watch(&designator(&self.naa), &rod);
        let token = self.maker.token(|into| neighbours.random(into));
        let token = self.rods.add(token, &rod, neighbours.now_ms());
        let _ = running.tell(Progress { bytes: rod.blocks() * u64::from(self.block_size), ..Progress::default() });
        running.end_with(token);
        Ok(())
    }
}

impl LongTask for Populate {
    fn data_out_len(&self) -> u64 {
        self.list_len as u64
    }

    fn memory_len(&self) -> usize {
        self.list_len
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        desk.data.take(0, desk.memory);
        self.make(desk.memory, desk.neighbours).map_or_else(LongStep::from, |()| LongStep::GOOD)
    }
}

/// A WRITE USING TOKEN in progress.
#[derive(Debug)]
struct WriteUsing {
    list_id: u32,
    list_len: usize,
    limits: Limits,
    zeroing: How,
    device: Maker,
    naa: Naa,
    copies: Copies,
    immed: bool,
    doing: Option<Doing>,
}

#[derive(Debug)]
enum Doing {
    Copy(Using),
    Zero(Zeroing),
}

/// Begins a WRITE USING TOKEN.
pub(super) fn begin_write(unit: &LogicalUnit, list_id: u32, len: u32) -> Result<Box<dyn LongTask>, Outcome> {
    let list_len = list_len(len, WRITE_HEADER_LEN)?;
    unit.check_writable()?;
    Ok(Box::new(WriteUsing {
        list_id,
        list_len,
        limits: Limits::of(unit),
        zeroing: How::of(unit),
        device: Maker::of(unit),
        naa: unit.identity.naa(),
        copies: unit.copies.clone(),
        immed: false,
        doing: None,
    }))
}

impl WriteUsing {
    /// Reads the list, and finds out what it is about.
    fn read(&self, list: &[u8], neighbours: &dyn Neighbours) -> Result<Doing, Sense> {
        const DEL_TKN: u8 = 0x02;
        let ranges = Ranges { at: WRITE_HEADER_LEN, limits: self.limits, shortens: false }.read(list)?;
        let token = list[TOKEN_AT..].first_chunk::<TOKEN_LEN>().expect("a list has its header");
        if u16::from_be_bytes([token[6], token[7]]) != LENGTH_FIELD {
            return Err(Sense::illegal(Asc::INVALID_TOKEN_LENGTH));
        }
        let begin = || self.copies.begin(self.list_id, copy_out::WRITE_USING_TOKEN);
        match be32(token, 0) {
            BLOCK_ZERO => Ok(Doing::Zero(Zeroing::new(ranges, self.zeroing, begin()?))),
            POINT_IN_TIME_CHANGE_VULNERABLE => {
                let found = neighbours.rod(token).ok_or_else(|| self.unknown(token))??;
                let own = neighbours.find(&designator(&self.naa)).filter(|own| own.writable);
                let own = own.ok_or(Sense::illegal(Asc::INVALID_TOKEN_OPERATION))?;
                let last = (list[2] & DEL_TKN != 0).then(|| found.rods.clone());
                let plan = using::plan(&found, &own, &ranges, be64(list, 8))?;
                Ok(Doing::Copy(Using::new(plan, (found.rod, last), begin()?)))
            }
            _ => Err(Sense::illegal(Asc::UNSUPPORTED_TOKEN_TYPE)),
        }
    }

    /// A step, or the end as the status tells it.
    fn told(&self, step: LongStep) -> LongStep {
        match step {
            LongStep::Done(outcome) if self.immed && outcome.sense.is_some() => LongStep::GOOD,
            step => step,
        }
    }

    /// Why a token cannot be used that none of the device's units knows.
    fn unknown(&self, token: &[u8; TOKEN_LEN]) -> Sense {
        let is_own = self.device.is_of_device(token);
        Sense::illegal(if is_own { Asc::TOKEN_UNKNOWN } else { Asc::REMOTE_TOKEN_USAGE_NOT_SUPPORTED })
    }
}

impl LongTask for WriteUsing {
    fn data_out_len(&self) -> u64 {
        self.list_len as u64
    }

    fn memory_len(&self) -> usize {
        CHUNK_BYTES as usize
    }

    fn rest(&mut self, is_done: bool) -> bool {
        match &mut self.doing {
            None => return false,
            Some(Doing::Copy(using)) => using.rest(is_done),
            Some(Doing::Zero(zeroing)) => zeroing.rest(is_done),
        }
        true
    }

    fn next(&mut self, desk: &mut Desk<'_>) -> LongStep {
        const IMMED: u8 = 0x01;
        if self.doing.is_none() {
            let list = &mut desk.memory[..self.list_len];
            desk.data.take(0, list);
            match self.read(list, desk.neighbours) {
                Ok(doing) => (self.immed, self.doing) = (list[2] & IMMED != 0, Some(doing)),
                Err(sense) => return sense.into(),
            }
            desk.memory.fill(0);
        }
        let step = match self.doing.as_mut().expect("the list was read") {
            Doing::Zero(zeroing) => zeroing.go_on(),
            Doing::Copy(using) => using.go_on(),
        };
        self.told(step)
    }

    fn failed(&mut self, op: &BlockOp, error: IoError, _desk: &mut Desk<'_>) -> LongStep {
        let step = match self.doing.as_mut().expect("it had an operation") {
            Doing::Copy(using) => using.failed(op, error),
            Doing::Zero(zeroing) => zeroing.failed(op, error),
        };
        self.told(step)
    }
}

#[cfg(test)]
mod tests;

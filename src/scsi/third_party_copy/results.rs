//! RECEIVE COPY STATUS, RECEIVE COPY DATA, RECEIVE COPY FAILURE DETAILS and RECEIVE ROD TOKEN INFORMATION (SPC-5, SBC-4): what a
//! logical unit tells of a copy.

use super::super::logical_unit::LogicalUnit;
use super::super::query::CopyResult;
use super::super::reply::Reply;
use super::super::sense::Sense;
use super::super::spec::{Status as TaskStatus, copy_out};
use super::records::{Copies, Record, Status};
use super::token::TOKEN_LEN;

/// TRANSFER COUNT UNITS: bytes, and units that are 1,024 times as large each.
const UNITS_BYTES: u8 = 0x00;
/// TRANSFER COUNT UNITS: blocks of the destination.
const UNITS_BLOCKS: u8 = 0xf1;
/// Bytes of what RECEIVE COPY STATUS (LID4) tells before the sense data.
const HEADER_LEN: usize = 32;
/// Bytes of failure details before the sense data.
const DETAILS_LEN: usize = 60;

/// How commands are told that name no copy which is known.
const UNKNOWN: Sense = Sense::invalid_field(2, None);

/// Answers a command that asks about the copy with a name.
pub(super) fn tell(
    unit: &LogicalUnit,
    (what, id): (CopyResult, u32),
    allocation_length: u32,
    reply: &mut Reply,
) -> Result<(), Sense> {
    let copies = &unit.copies;
    let is_all = |len: usize| allocation_length == 0 || allocation_length as usize >= len;
    match what {
        CopyResult::Status => status_1(&copies.take_status(id).ok_or(UNKNOWN)?, reply),
        CopyResult::Status4 => status_4(&copies.find(id).ok_or(UNKNOWN)?, (unit, 0), reply),
        CopyResult::RodToken => {
            rod_token(&copies.find(id).ok_or(UNKNOWN)?, unit, reply);
            if is_all(reply.written()) {
                copies.token_is_told(id);
            }
        }
        CopyResult::Data => {
            ended(copies, id)?;
            // Nothing is held.
            reply.put(&[0; 4]);
        }
        CopyResult::FailureDetails => {
            failure_details(&ended(copies, id)?, reply);
            if is_all(reply.written()) {
                copies.details_are_told(id);
            }
        }
        CopyResult::OperatingParameters | CopyResult::RodTokens => unreachable!("they are no copy's"),
    }
    Ok(())
}

/// A copy that is no longer in progress.
fn ended(copies: &Copies, id: u32) -> Result<Record, Sense> {
    copies.find(id).filter(|record| record.status != Status::Running).ok_or(UNKNOWN)
}

fn status_1(record: &Record, reply: &mut Reply) {
    let status = match record.status {
        Status::Running => 0x00,
        Status::Good => 0x01,
        Status::Failed(_) | Status::Short(_) | Status::Aborted => 0x02,
    };
    let (mut units, mut count) = (UNITS_BYTES, record.progress.bytes);
    while count > u32::MAX.into() {
        (units, count) = (units + 1, count >> 10);
    }
    let [high, low] = record.progress.segments.to_be_bytes();
    reply.put(&[0, 0, 0, 8, status, high, low, units]);
    reply.put(&(count as u32).to_be_bytes());
}

/// There are none but of a copy that has failed.
fn failure_details(record: &Record, reply: &mut Reply) {
    let Status::Failed(sense) = record.status else { return reply.put(&[0; 4]) };
    if record.details_told {
        return reply.put(&[0; 4]);
    }
    let sense = sense.encode(false);
    let (sense, mut data) = (sense.as_bytes(), [0; DETAILS_LEN]);
    data[..4].copy_from_slice(&((DETAILS_LEN - 4 + sense.len()) as u32).to_be_bytes());
    data[56] = TaskStatus::CHECK_CONDITION.0;
    data[59] = sense.len() as u8;
    reply.put(&data);
    reply.put(sense);
}

/// The header that all answers with a name of four bytes have, and sense data: a multiple of 4 bytes. `more` bytes come after
/// that.
fn status_4(record: &Record, (unit, more): (&LogicalUnit, usize), reply: &mut Reply) {
    /// Pieces are copied within that on nearly every disk.
    const DELAY_MS: u32 = 100;
    const NO_MORE: u32 = 0xffff_fffe;
    let (status, completion, delay_ms) = match record.status {
        Status::Running => (0x11, TaskStatus::GOOD, DELAY_MS),
        Status::Good => (0x01, TaskStatus::GOOD, NO_MORE),
        Status::Failed(_) => (0x02, TaskStatus::CHECK_CONDITION, NO_MORE),
        Status::Short(_) => (0x03, TaskStatus::CHECK_CONDITION, NO_MORE),
        Status::Aborted => (0x60, TaskStatus::TASK_ABORTED, NO_MORE),
    };
    let sense = match record.status {
        Status::Failed(sense) | Status::Short(sense) => Some(sense.encode(false)),
        Status::Running | Status::Good | Status::Aborted => None,
    };
    let sense = sense.as_ref().map_or(&[][..], |sense| sense.as_bytes());
    let padded_len = sense.len().next_multiple_of(4);
    let progress = record.progress;
    let (units, count) = match record.service_action {
        copy_out::POPULATE_TOKEN | copy_out::WRITE_USING_TOKEN => {
            (UNITS_BLOCKS, progress.bytes / u64::from(unit.block_size))
        }
        _ => (UNITS_BYTES, progress.bytes),
    };
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(&((HEADER_LEN - 4 + padded_len + more) as u32).to_be_bytes());
    (header[4], header[5]) = (record.service_action, status);
    header[6..8].copy_from_slice(&progress.operations.to_be_bytes());
    header[8..12].copy_from_slice(&delay_ms.to_be_bytes());
    header[12..16].copy_from_slice(&[completion.0, padded_len as u8, sense.len() as u8, units]);
    header[16..24].copy_from_slice(&count.to_be_bytes());
    header[24..26].copy_from_slice(&progress.segments.to_be_bytes());
    reply.put(&header);
    reply.put(sense);
    reply.put(&[0; 3][..padded_len - sense.len()]);
}

/// The same with the token that the copy has made, if it is one that makes some, and it has not been told.
fn rod_token(record: &Record, unit: &LogicalUnit, reply: &mut Reply) {
    const DESCRIPTOR_LEN: usize = 2 + TOKEN_LEN;
    let len = if record.token.is_some() { DESCRIPTOR_LEN } else { 0 };
    status_4(record, (unit, 4 + len), reply);
    reply.put(&(len as u32).to_be_bytes());
    if let Some(token) = &record.token {
        reply.put(&[0; 2]);
        reply.put(token.bytes());
    }
}

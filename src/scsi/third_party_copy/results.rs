//! RECEIVE COPY STATUS, RECEIVE COPY DATA and RECEIVE COPY FAILURE DETAILS (SPC-5): what a logical unit tells of a copy.

use super::super::query::CopyResult;
use super::super::reply::Reply;
use super::super::sense::Sense;
use super::super::spec::Status as TaskStatus;
use super::records::{Copies, Record, Status};

/// TRANSFER COUNT UNITS: bytes, and units that are 1,024 times as large each.
const UNITS_BYTES: u8 = 0x00;
/// Bytes of what RECEIVE COPY STATUS (LID4) tells before the sense data.
const HEADER_LEN: usize = 32;
/// Bytes of failure details before the sense data.
const DETAILS_LEN: usize = 60;

/// How commands are told that name no copy which is known.
const UNKNOWN: Sense = Sense::invalid_field(2, None);

/// Answers a command that asks about the copy with a name.
pub(super) fn tell(
    copies: &Copies,
    (what, id): (CopyResult, u32),
    allocation_length: u32,
    reply: &mut Reply,
) -> Result<(), Sense> {
    match what {
        CopyResult::Status => status_1(&copies.take_status(id).ok_or(UNKNOWN)?, reply),
        CopyResult::Status4 => status_4(&copies.find(id).ok_or(UNKNOWN)?, reply),
        CopyResult::Data => {
            ended(copies, id)?;
            // Nothing is held.
            reply.put(&[0; 4]);
        }
        CopyResult::FailureDetails => {
            let len = failure_details(&ended(copies, id)?, reply);
            if allocation_length == 0 || allocation_length as usize >= len {
                copies.details_are_told(id);
            }
        }
        CopyResult::OperatingParameters => unreachable!("they are no copy's"),
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
        Status::Failed(_) | Status::Aborted => 0x02,
    };
    let (mut units, mut count) = (UNITS_BYTES, record.progress.bytes);
    while count > u32::MAX.into() {
        (units, count) = (units + 1, count >> 10);
    }
    let [high, low] = record.progress.segments.to_be_bytes();
    reply.put(&[0, 0, 0, 8, status, high, low, units]);
    reply.put(&(count as u32).to_be_bytes());
}

/// There are none but of a copy that has failed. How many bytes they have.
fn failure_details(record: &Record, reply: &mut Reply) -> usize {
    let Status::Failed(sense) = record.status else {
        reply.put(&[0; 4]);
        return 4;
    };
    if record.details_told {
        reply.put(&[0; 4]);
        return 4;
    }
    let sense = sense.encode(false);
    let (sense, mut data) = (sense.as_bytes(), [0; DETAILS_LEN]);
    data[..4].copy_from_slice(&((DETAILS_LEN - 4 + sense.len()) as u32).to_be_bytes());
    data[56] = TaskStatus::CHECK_CONDITION.0;
    data[59] = sense.len() as u8;
    reply.put(&data);
    reply.put(sense);
    data.len() + sense.len()
}

/// The header that all answers with a name of four bytes have, and sense data: a multiple of 4 bytes.
fn status_4(record: &Record, reply: &mut Reply) {
    /// Pieces are copied within that on nearly every disk.
    const DELAY_MS: u32 = 100;
    const NO_MORE: u32 = 0xffff_fffe;
    let (status, completion, delay_ms) = match record.status {
        Status::Running => (0x11, TaskStatus::GOOD, DELAY_MS),
        Status::Good => (0x01, TaskStatus::GOOD, NO_MORE),
        Status::Failed(_) => (0x02, TaskStatus::CHECK_CONDITION, NO_MORE),
        Status::Aborted => (0x60, TaskStatus::TASK_ABORTED, NO_MORE),
    };
    let sense = if let Status::Failed(sense) = record.status { Some(sense.encode(false)) } else { None };
    let sense = sense.as_ref().map_or(&[][..], |sense| sense.as_bytes());
    let padded_len = sense.len().next_multiple_of(4);
    let progress = record.progress;
    let mut header = [0; HEADER_LEN];
    header[..4].copy_from_slice(&((HEADER_LEN - 4 + padded_len) as u32).to_be_bytes());
    (header[4], header[5]) = (record.service_action, status);
    header[6..8].copy_from_slice(&progress.operations.to_be_bytes());
    header[8..12].copy_from_slice(&delay_ms.to_be_bytes());
    header[12..16].copy_from_slice(&[completion.0, padded_len as u8, sense.len() as u8, UNITS_BYTES]);
    header[16..24].copy_from_slice(&progress.bytes.to_be_bytes());
    header[24..26].copy_from_slice(&progress.segments.to_be_bytes());
    reply.put(&header);
    reply.put(sense);
    reply.put(&[0; 3][..padded_len - sense.len()]);
}

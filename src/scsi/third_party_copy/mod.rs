//! What a copy manager knows beside the copies themselves (SPC-5, third-party copies): what it can do, and what became of copies
//! that have a name.
//!
//! What became of copies belongs to a logical unit and the initiator of its controller. It is bounded, and lives in memory alone.
//! What copies is in [`long`](super::long).

use super::logical_unit::LogicalUnit;
use super::query::CopyResult;
use super::reply::Reply;
use super::sense::Sense;

mod page;
mod records;
mod results;

pub(super) use page::vpd_page;
pub use records::Copies;
pub(super) use records::{Progress, Running};

/// Answers a command that asks for the result of the copy with a name, or for what can be copied.
pub(super) fn answer(
    unit: &LogicalUnit,
    question: (CopyResult, u32),
    allocation_length: u32,
    reply: &mut Reply,
) -> Result<(), Sense> {
    reply.begin(allocation_length);
    if question.0 == CopyResult::OperatingParameters {
        page::operating_parameters(unit, reply);
        return Ok(());
    }
    results::tell(&unit.copies, question, allocation_length, reply)
}

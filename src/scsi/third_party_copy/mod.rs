//! What a copy manager knows beside the copies themselves (SPC-5, third-party copies): what it can do, what became of copies that
//! have a name, and what tokens stand for.
//!
//! What became of copies, and tokens, belong to a logical unit and the initiator of its controller. They are bounded, and live in
//! memory alone. What copies is in [`long`](super::long).

use super::logical_unit::LogicalUnit;
use super::query::CopyResult;
use super::reply::Reply;
use super::sense::Sense;

mod page;
mod records;
mod results;
pub(super) mod rods;
pub(super) mod token;

pub(super) use page::vpd_page;
pub use records::Copies;
pub(super) use records::{Progress, Running};
pub use rods::{Range, Rod, Rods};
pub use token::TOKEN_LEN;

/// Bytes that one command makes a token for, or writes: so many are copied in a second on nearly every disk.
const TRANSFER_BYTES_MAX: u64 = 64 << 20;

/// Blocks that one command makes a token for, or writes.
pub(super) fn transfer_blocks_max(unit: &LogicalUnit) -> u64 {
    TRANSFER_BYTES_MAX / u64::from(unit.block_size)
}

/// Answers a command that asks for the result of the copy with a name, or for what can be copied. The host's clock says `now_ms`.
pub(super) fn answer(
    unit: &LogicalUnit,
    question: (CopyResult, u32),
    allocation_length: u32,
    now_ms: u64,
    reply: &mut Reply,
) -> Result<(), Sense> {
    reply.begin(allocation_length);
    match question.0 {
        CopyResult::OperatingParameters => page::operating_parameters(unit, reply),
        CopyResult::RodTokens => unit.rods.report(now_ms, reply),
        _ => return results::tell(unit, question, allocation_length, reply),
    }
    Ok(())
}

//! REPORT LUNS (SPC-5 6.33).

use super::outcome::Outcome;
use super::reply::Reply;

pub(super) fn report(_select_report: u8, allocation_length: u32, _luns: &[[u8; 8]], reply: &mut Reply) -> Outcome {
    reply.begin(allocation_length);
    Outcome::GOOD
}

//! INQUIRY standard data (SPC-5 6.7.2).

use super::reply::Reply;
use super::sense::Sense;

/// Peripheral qualifier 011b, device type 1Fh: no device can be here.
pub(super) const NO_DEVICE: u8 = 0x7f;

/// PAGE CODE names no page of this unit, or is set without EVPD.
pub(super) const UNKNOWN_PAGE: Sense = Sense::invalid_field(2, None);

pub(super) fn missing(reply: &mut Reply) {
    reply.put(&[NO_DEVICE]);
}

//! Lists of extents, as operations of kind [`OpKind::Extents`](crate::OpKind) bring them.

use crate::info::{Extent, Provision};
use crate::op::{IoError, Op};
use crate::segment::{copy_to, total_len};

/// Fills the segments of `op` with what `next` says: given an offset, the extent that begins there, which is not empty. An
/// empty one follows the last if there is room.
///
/// # Errors
/// The first that `next` gives.
pub(crate) fn fill(op: &Op, mut next: impl FnMut(u64) -> Result<Extent, IoError>) -> Result<(), IoError> {
    let segments = op.segments.as_slice();
    let room = total_len(segments) / Extent::LEN as u64;
    let end = op.offset + op.len;
    let mut at = op.offset;
    for index in 0..room {
        let extent = if at < end {
            let extent = next(at)?;
            Extent { len: extent.len.min(end - at), ..extent }
        } else {
            Extent { offset: end, len: 0, provision: Provision::Mapped }
        };
        copy_to(segments, index * Extent::LEN as u64, &extent.to_bytes());
        if extent.len == 0 {
            break;
        }
        at += extent.len;
    }
    Ok(())
}

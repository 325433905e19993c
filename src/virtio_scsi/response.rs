//! Command responses (virtio 1.2, section 5.6.6.1).

use bdev::Segment;
use zerocopy::IntoBytes;

use super::gather::write_head;
use super::spec::{CommandResponseHeader, ResponseCode};

/// Most bytes of sense data, and the highest `sense_size` that a driver may set (SPC-5, 4.4.1: 8 and 244 more).
pub const SENSE_SIZE_MAX: u32 = 252;

const HEADER_LEN: usize = size_of::<CommandResponseHeader>();

/// The answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandResponse<'a> {
    /// What became of the request.
    pub response: ResponseCode,
    /// SAM status, if the command was executed.
    pub status: u8,
    /// SAM status qualifier.
    pub status_qualifier: u16,
    /// Bytes of the data buffer that were not used; stops at 2^32 - 1.
    pub resid: u64,
    /// Sense data; what is beyond `sense_size` is cut off.
    pub sense: &'a [u8],
}

impl CommandResponse<'static> {
    /// The answer to a command that was not executed, with `data_len` bytes of data buffer.
    pub const fn not_executed(response: ResponseCode, data_len: u64) -> Self {
        Self { response, status: 0, status_qualifier: 0, resid: data_len, sense: &[] }
    }
}

/// Writes header and sense over `segments`, however they are cut, at one go: the sense field is padded with zeros to
/// `sense_size` bytes. Returns the bytes written, less than both only where the segments end.
///
/// # Panics
/// If `sense_size` is above [`SENSE_SIZE_MAX`]: the device configuration does not allow it.
#[inline]
pub fn write_command_response(segments: &[Segment], response: &CommandResponse<'_>, sense_size: u32) -> u32 {
    assert!(sense_size <= SENSE_SIZE_MAX, "the device configuration limits it");
    let sense_size = sense_size as usize;
    let sense = &response.sense[..response.sense.len().min(sense_size)];
    let header = CommandResponseHeader {
        sense_len: (sense.len() as u32).into(),
        resid: u32::try_from(response.resid).unwrap_or(u32::MAX).into(),
        status_qualifier: response.status_qualifier.into(),
        status: response.status,
        response: response.response.0,
    };
    let mut bytes = [0; HEADER_LEN + SENSE_SIZE_MAX as usize];
    bytes[..HEADER_LEN].copy_from_slice(header.as_bytes());
    bytes[HEADER_LEN..HEADER_LEN + sense.len()].copy_from_slice(sense);
    write_head(segments, &bytes[..HEADER_LEN + sense_size]) as u32
}

/// Writes the answer to a command that was executed and has no sense data: `status`, and the `resid` bytes of the data
/// buffer that were not used. What is behind the header stays as it is. Returns the bytes written, less than a header only
/// where the segments end.
#[inline]
pub fn write_plain_response(segments: &[Segment], status: u8, resid: u64) -> u32 {
    let header = CommandResponseHeader {
        sense_len: 0.into(),
        resid: u32::try_from(resid).unwrap_or(u32::MAX).into(),
        status_qualifier: 0.into(),
        status,
        response: ResponseCode::OK.0,
    };
    write_head(segments, header.as_bytes()) as u32
}

/// Bytes of an answer without sense data.
pub const GOOD_LEN: u32 = HEADER_LEN as u32;

/// Writes the answer to a command that succeeded, and used all of its data buffer. What is behind the header stays as it is.
///
/// # Panics
/// If there is no room for a header in the segment: whoever takes it for the response has looked.
#[inline(always)]
pub fn write_good(response: &Segment) {
    // OK, GOOD, no sense data, nothing left of the data: each of these is 0.
    response.write(0, &[0; HEADER_LEN]);
}

#[cfg(test)]
#[path = "response_tests.rs"]
mod tests;

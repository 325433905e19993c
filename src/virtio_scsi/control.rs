//! Requests on the control queue (virtio 1.2, section 5.6.6.2): task management and asynchronous notification.

use bdev::Segment;
use zerocopy::{FromBytes, IntoBytes};

use super::gather::{copy_head, write_head};
use super::lun::LunAddress;
use super::request::RequestError;
use super::spec::{self, AnRequest, AnResponse, ResponseCode, TmfRequest, TmfResponse};
use crate::virtio::ring::Chain;

/// A request on the control queue, fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlRequest {
    /// Answered with [`write_tmf_response`].
    Tmf {
        /// What to do: one of the `TMF` constants of [`spec`], or something that is not in the specification.
        subtype: u32,
        /// To whom.
        lun: LunAddress,
        /// To which command, where the function is about one.
        id: u64,
    },
    /// Which asynchronous notifications are supported? Answered with [`write_an_response`].
    AnQuery {
        /// About whom.
        lun: LunAddress,
        /// Set of `ASYNC` bits asked about.
        events: u32,
    },
    /// Subscribe to asynchronous notifications. Answered with [`write_an_response`].
    AnSubscribe {
        /// Of whom.
        lun: LunAddress,
        /// Set of `ASYNC` bits asked for.
        events: u32,
    },
    /// A type that is not in the specification: it is given back with nothing written, for where its response would be
    /// is unknown.
    Unknown(u32),
}

impl ControlRequest {
    /// Copies a request out of `chain`, once.
    ///
    /// # Errors
    /// [`RequestError`]: the driver is broken.
    pub fn parse(chain: &Chain) -> Result<Self, RequestError> {
        let mut bytes = [0; size_of::<TmfRequest>()];
        let len = copy_head(chain.readable(), &mut bytes);
        let kind = u32::from_le_bytes(prefix(&bytes[..len])?);
        match kind {
            spec::CONTROL_TMF => {
                let request = TmfRequest::read_from_bytes(&prefix::<{ size_of::<TmfRequest>() }>(&bytes[..len])?)
                    .expect("the array has its size");
                need_response(chain, size_of::<TmfResponse>())?;
                let (subtype, id) = (request.subtype.get(), request.id.get());
                Ok(Self::Tmf { subtype, lun: LunAddress(request.lun), id })
            }
            spec::CONTROL_AN_QUERY | spec::CONTROL_AN_SUBSCRIBE => {
                let request = AnRequest::read_from_bytes(&prefix::<{ size_of::<AnRequest>() }>(&bytes[..len])?)
                    .expect("the array has its size");
                need_response(chain, size_of::<AnResponse>())?;
                let (lun, events) = (LunAddress(request.lun), request.event_requested.get());
                Ok(if kind == spec::CONTROL_AN_QUERY {
                    Self::AnQuery { lun, events }
                } else {
                    Self::AnSubscribe { lun, events }
                })
            }
            other => Ok(Self::Unknown(other)),
        }
    }
}

fn prefix<const N: usize>(bytes: &[u8]) -> Result<[u8; N], RequestError> {
    let short = RequestError::HeaderTooShort { len: bytes.len() as u64, needed: N as u32 };
    bytes.first_chunk().copied().ok_or(short)
}

fn need_response(chain: &Chain, needed: usize) -> Result<(), RequestError> {
    let len = chain.writable_len();
    if len < needed as u64 { Err(RequestError::ResponseTooShort { len, needed: needed as u32 }) } else { Ok(()) }
}

/// Answers a task management function. Returns the bytes written.
pub fn write_tmf_response(segments: &[Segment], response: ResponseCode) -> u32 {
    write_head(segments, TmfResponse { response: response.0 }.as_bytes()) as u32
}

/// Answers an asynchronous notification query or subscription with the `events` supported. Returns the bytes written.
pub fn write_an_response(segments: &[Segment], events: u32, response: ResponseCode) -> u32 {
    write_head(segments, AnResponse { event_actual: events.into(), response: response.0 }.as_bytes()) as u32
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;

//! Command requests (virtio 1.2, section 5.6.6.1): the header out of a chain, and where its data is.

use bdev::Segment;
use zerocopy::FromBytes;

use super::gather::{Pieces, copy_head};
use super::lun::LunAddress;
use super::spec::{CDB_SIZE_DEFAULT, CommandHeader, CommandResponseHeader, TASK_ATTR_SIMPLE};
use crate::virtio::ring::{Chain, UsualChain};

/// Longest command descriptor block that a driver may set `cdb_size` to, in bytes.
pub const CDB_MAX: usize = 64;

const HEADER_LEN: usize = size_of::<CommandHeader>();
const RESPONSE_HEADER_LEN: u32 = size_of::<CommandResponseHeader>() as u32;

/// What a device and its driver agreed about the parts of a request. Fixed from `DRIVER_OK` to reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Bytes of the CDB field, at most [`CDB_MAX`].
    pub cdb_size: u32,
    /// Bytes of the sense field, at most [`SENSE_SIZE_MAX`](super::SENSE_SIZE_MAX).
    pub sense_size: u32,
}

impl Framing {
    /// Bytes of request header.
    #[inline]
    pub fn header_len(self) -> u32 {
        HEADER_LEN as u32 + self.cdb_size
    }

    /// Bytes of response, header and sense.
    #[inline]
    pub fn response_len(self) -> u32 {
        RESPONSE_HEADER_LEN + self.sense_size
    }
}

/// A chain that is no request: the driver is broken, and with it the device (`DEVICE_NEEDS_RESET`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The readable part ends within the request header.
    #[error("{len} readable bytes, where the request header takes {needed}")]
    HeaderTooShort {
        /// Bytes there are.
        len: u64,
        /// Bytes there must be.
        needed: u32,
    },
    /// The writable part has no room for the response.
    #[error("{len} writable bytes, where the response takes {needed}")]
    ResponseTooShort {
        /// Bytes there are.
        len: u64,
        /// Bytes there must be.
        needed: u32,
    },
}

/// A command descriptor block in private memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cdb {
    bytes: [u8; CDB_MAX],
    len: u8,
}

impl Cdb {
    /// The bytes, `cdb_size` of them: padded by the driver behind the command's own length.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for Cdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x?}", self.as_bytes())
    }
}

/// A command, fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandRequest {
    /// Whom it is for.
    pub lun: LunAddress,
    /// The name by which task management calls it.
    pub id: u64,
    /// One of the `TASK_ATTR` constants, or anything else.
    pub task_attr: u8,
    /// The command.
    pub cdb: Cdb,
}

/// Which way a request's data goes, by the buffers that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// There is no data buffer.
    None,
    /// From the driver to the device.
    Out,
    /// From the device to the driver.
    In,
    /// Both. Without `VIRTIO_SCSI_F_INOUT` it is answered with `FAILURE`; with it a command uses one of them, as it likes.
    Both,
}

/// Byte ranges of a chain: request header and data-out in its readable part, response and data-in in its writable part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataLayout {
    /// Bytes of request header.
    pub header_len: u32,
    /// Bytes of response, header and sense.
    pub response_len: u32,
    /// Bytes of data from the driver.
    pub data_out_len: u64,
    /// Bytes of data for the driver.
    pub data_in_len: u64,
}

/// The parts of a chain that is cut as drivers cut it: header, response and data have buffers of their own, and there is
/// data one way at most.
#[derive(Debug, Clone, Copy)]
pub struct Plain<'a> {
    /// The request header, to be read with [`CommandRequest::read`].
    pub header: &'a Segment,
    /// Where the response goes.
    pub response: &'a Segment,
    /// The data.
    pub data: &'a [Segment],
    /// Its bytes.
    pub data_len: u64,
    /// It is from the driver.
    pub data_out: bool,
}

impl<'a> Plain<'a> {
    /// The parts of `chain`, or `None` if it is cut in another way: [`CommandRequest::parse`] takes it as it is.
    #[inline(always)]
    pub fn of(chain: &'a UsualChain, framing: Framing) -> Option<Self> {
        let (header_len, response_len) = (framing.header_len(), framing.response_len());
        let (header, response, data, data_out) = chain.parts()?;
        if header.len() != header_len as usize || response.len() != response_len as usize {
            return None;
        }
        let data_len = chain.total_len() - u64::from(header_len) - u64::from(response_len);
        Some(Self { header, response, data, data_len, data_out })
    }
}

impl CommandRequest {
    /// Copies the request header out of `chain`, once, and finds the rest.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn parse(chain: &Chain, framing: Framing) -> Result<(Self, DataLayout), RequestError> {
        let layout = DataLayout::of(chain, framing)?;
        Ok((Self::read_pieces(chain.readable(), framing), layout))
    }

    /// Copies the request header out of the buffer that holds nothing else, once.
    #[inline]
    pub fn read(header: &Segment, framing: Framing) -> Self {
        const USUAL: usize = CDB_SIZE_DEFAULT as usize;
        if framing.cdb_size != CDB_SIZE_DEFAULT || header.len() < HEADER_LEN + USUAL {
            return Self::read_pieces(std::slice::from_ref(header), framing);
        }
        let (head, _) = CommandHeader::read_from_prefix(&header.read_array::<HEADER_LEN>(0)).expect("it is whole");
        let mut bytes = [0; CDB_MAX];
        bytes[..USUAL].copy_from_slice(&header.read_array::<USUAL>(HEADER_LEN));
        Self::new(head, Cdb { bytes, len: USUAL as u8 })
    }

    /// The LUN and the first 16 bytes of the CDB alone, as two words of 8 bytes as memory has them, for a look whether that is
    /// all that matters; if not, the header is read anew. `None` if the CDB is shorter, or the command not SIMPLE.
    #[inline(always)]
    pub fn peek(header: &Segment) -> Option<(LunAddress, [u64; 2])> {
        if header.len() < HEADER_LEN + 16 || header.read_array(16) != [TASK_ATTR_SIMPLE] {
            return None;
        }
        let word = |at| u64::from_le_bytes(header.read_array(at));
        Some((LunAddress(header.read_array(0)), [word(HEADER_LEN), word(HEADER_LEN + 8)]))
    }

    /// The driver's name of the request, of a header that [`CommandRequest::peek`] has taken.
    #[inline(always)]
    pub fn id(header: &Segment) -> u64 {
        u64::from_le_bytes(header.read_array(8))
    }

    #[cold]
    fn read_pieces(pieces: &[Segment], framing: Framing) -> Self {
        let mut bytes = [0; HEADER_LEN + CDB_MAX];
        copy_head(pieces, &mut bytes[..framing.header_len() as usize]);
        let (head, cdb) = CommandHeader::read_from_prefix(&bytes).expect("the array holds a header");
        Self::new(head, Cdb { bytes: cdb.try_into().expect("the array holds a CDB"), len: framing.cdb_size as u8 })
    }

    #[inline]
    fn new(head: CommandHeader, cdb: Cdb) -> Self {
        Self { lun: LunAddress(head.lun), id: head.id.get(), task_attr: head.task_attr, cdb }
    }
}

impl DataLayout {
    /// Divides a chain by the agreed sizes.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Panics
    /// If `framing` is beyond the limits that the device configuration enforces.
    #[inline]
    pub fn of(chain: &Chain, framing: Framing) -> Result<Self, RequestError> {
        assert!(framing.cdb_size as usize <= CDB_MAX && framing.sense_size <= super::SENSE_SIZE_MAX);
        let (header_len, response_len) = (framing.header_len(), framing.response_len());
        let (readable, writable) = (chain.readable_len(), chain.writable_len());
        let data_out_len = readable
            .checked_sub(u64::from(header_len))
            .ok_or(RequestError::HeaderTooShort { len: readable, needed: header_len })?;
        let data_in_len = writable
            .checked_sub(u64::from(response_len))
            .ok_or(RequestError::ResponseTooShort { len: writable, needed: response_len })?;
        Ok(Self { header_len, response_len, data_out_len, data_in_len })
    }

    /// Which way the data goes.
    #[inline]
    pub fn direction(&self) -> Direction {
        match (self.data_out_len, self.data_in_len) {
            (0, 0) => Direction::None,
            (_, 0) => Direction::Out,
            (0, _) => Direction::In,
            _ => Direction::Both,
        }
    }

    /// Where the response goes: header, then sense. Nearly always one piece.
    #[inline]
    pub fn response<'a>(&self, chain: &'a Chain) -> Pieces<'a> {
        Pieces::new(chain.writable(), 0, u64::from(self.response_len))
    }

    /// The data from the driver, behind the request header.
    #[inline]
    pub fn data_out<'a>(&self, chain: &'a Chain) -> Pieces<'a> {
        Pieces::new(chain.readable(), u64::from(self.header_len), self.data_out_len)
    }

    /// The data for the driver, behind the response.
    #[inline]
    pub fn data_in<'a>(&self, chain: &'a Chain) -> Pieces<'a> {
        Pieces::new(chain.writable(), u64::from(self.response_len), self.data_in_len)
    }
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

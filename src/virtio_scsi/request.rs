//! Command requests (virtio 1.2, section 5.6.6.1): the header out of a chain, and where its data is.

use zerocopy::FromBytes;

use super::gather::{Pieces, copy_head};
use super::lun::LunAddress;
use super::spec::{CommandHeader, CommandResponseHeader};
use crate::virtio::ring::Chain;

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
    /// Where response and data are.
    pub layout: DataLayout,
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
    /// Both. Without `VIRTIO_SCSI_F_INOUT` it is answered with `FAILURE`.
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

impl CommandRequest {
    /// Copies the request header out of `chain`, once, and finds the rest.
    ///
    /// # Errors
    /// [`RequestError`].
    #[inline]
    pub fn parse(chain: &Chain, framing: Framing) -> Result<Self, RequestError> {
        let layout = DataLayout::of(chain, framing)?;
        let cdb_size = layout.header_len as usize - HEADER_LEN;
        let mut bytes = [0; HEADER_LEN + CDB_MAX];
        copy_head(chain.readable(), &mut bytes[..HEADER_LEN + cdb_size]);
        let (header, cdb) = CommandHeader::read_from_prefix(&bytes).expect("the array holds a header");
        Ok(Self {
            lun: LunAddress(header.lun),
            id: header.id.get(),
            task_attr: header.task_attr,
            cdb: Cdb { bytes: cdb.try_into().expect("the array holds a CDB"), len: cdb_size as u8 },
            layout,
        })
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
        let header_len = HEADER_LEN as u32 + framing.cdb_size;
        let response_len = RESPONSE_HEADER_LEN + framing.sense_size;
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

//! What a virtio-scsi request and its response look like (virtio 1.2, 5.6.6).
//!
//! Plain values and their bytes; [`framing`](super::framing) cuts them into descriptors.

use super::cdb::{self, Cdb, Direction, Width};
use super::error::{Error, Result};
use super::spec::{response, scsi};

/// The eight bytes that name a logical unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lun(pub [u8; 8]);

impl Lun {
    /// LUN `lun`, below 16,384, of a target, flat space addressing: as Linux writes it.
    pub const fn new(target: u8, lun: u16) -> Self {
        let [high, low] = lun.to_be_bytes();
        Self([1, target, high & 0x3F | 0x40, low, 0, 0, 0, 0])
    }

    /// LUN `lun` of a target, peripheral addressing: as SPDK's initiator and firmware write it.
    pub const fn peripheral(target: u8, lun: u8) -> Self {
        Self([1, target, 0, lun, 0, 0, 0, 0])
    }

    /// The REPORT LUNS well-known logical unit.
    pub const WELL_KNOWN: Self = Self([0xC1, 0x01, 0, 0, 0, 0, 0, 0]);
}

/// Task attributes (5.6.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TaskAttr {
    /// In any order.
    #[default]
    Simple = 0,
    /// After everything before, before everything after.
    Ordered = 1,
    /// Before everything that has not begun.
    HeadOfQueue = 2,
    /// While there is an auto contingent allegiance.
    Aca = 3,
}

/// A SCSI command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// To which logical unit.
    pub lun: Lun,
    /// The command's identifier; the guest picks one that is free if there is none.
    pub id: Option<u64>,
    /// Ordering.
    pub task_attr: TaskAttr,
    /// The command descriptor block.
    pub cdb: Cdb,
    /// Bytes of room for data from the device.
    pub data_in: usize,
    /// Data for the device.
    pub data_out: Vec<u8>,
}

impl Command {
    /// A command without data.
    pub fn new(lun: Lun, cdb: Cdb) -> Self {
        Self { lun, id: None, task_attr: TaskAttr::Simple, cdb, data_in: 0, data_out: Vec::new() }
    }

    /// A command that gets at most `len` bytes of data.
    pub fn data_in(lun: Lun, cdb: Cdb, len: usize) -> Self {
        Self { data_in: len, ..Self::new(lun, cdb) }
    }

    /// A command that sends data.
    pub fn data_out(lun: Lun, cdb: Cdb, data: Vec<u8>) -> Self {
        Self { data_out: data, ..Self::new(lun, cdb) }
    }

    /// READ (16) of `blocks` blocks of `block_size` bytes.
    pub fn read(lun: Lun, lba: u64, blocks: u32, block_size: u32) -> Self {
        let cdb = cdb::transfer(Direction::Read, Width::Sixteen, lba, blocks, 0);
        Self::data_in(lun, cdb, blocks as usize * block_size as usize)
    }

    /// WRITE (16) of all of `data`.
    ///
    /// # Panics
    /// `data` is not made of whole blocks.
    pub fn write(lun: Lun, lba: u64, block_size: u32, data: Vec<u8>) -> Self {
        assert!(data.len().is_multiple_of(block_size as usize), "data is made of whole blocks");
        let blocks = (data.len() / block_size as usize) as u32;
        Self::data_out(lun, cdb::transfer(Direction::Write, Width::Sixteen, lba, blocks, 0), data)
    }

    /// With this identifier.
    pub fn with_id(self, id: u64) -> Self {
        Self { id: Some(id), ..self }
    }

    /// The request's bytes before data: header and CDB, `cdb_size` bytes of it.
    pub fn encode(&self, id: u64, cdb_size: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(scsi::REQUEST_HEADER_LEN + cdb_size);
        bytes.extend_from_slice(&self.lun.0);
        bytes.extend_from_slice(&id.to_le_bytes());
        // Task attribute, priority, command reference number.
        bytes.extend_from_slice(&[self.task_attr as u8, 0, 0]);
        bytes.extend_from_slice(&self.cdb[..self.cdb.len().min(cdb_size)]);
        bytes.resize(scsi::REQUEST_HEADER_LEN + cdb_size, 0);
        bytes
    }
}

/// SCSI status codes (SAM-6, 5.3.1).
pub mod scsi_status {
    /// GOOD.
    pub const GOOD: u8 = 0x00;
    /// CHECK CONDITION: there is sense.
    pub const CHECK_CONDITION: u8 = 0x02;
    /// BUSY.
    pub const BUSY: u8 = 0x08;
    /// RESERVATION CONFLICT.
    pub const RESERVATION_CONFLICT: u8 = 0x18;
    /// TASK SET FULL.
    pub const TASK_SET_FULL: u8 = 0x28;
    /// TASK ABORTED.
    pub const TASK_ABORTED: u8 = 0x40;
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// What the transport says; see [`response`].
    pub response: u8,
    /// SCSI status, if `response` is OK.
    pub status: u8,
    /// Status qualifier.
    pub status_qualifier: u16,
    /// The valid sense bytes.
    pub sense: Vec<u8>,
    /// Bytes of the data buffers that were not used.
    pub resid: u32,
    /// The data-in buffer, all of it.
    pub data: Vec<u8>,
    /// Bytes that the device says it wrote to the chain, response included.
    pub used_len: u32,
}

impl Response {
    /// Takes the response apart. `bytes` are header and sense area.
    ///
    /// # Errors
    /// It claims more sense than there is room for.
    pub fn parse(bytes: &[u8], data: Vec<u8>, used_len: u32) -> Result<Self> {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let sense_len = word(0) as usize;
        let Some(sense) = bytes[scsi::RESPONSE_HEADER_LEN..].get(..sense_len) else {
            return Err(Error::Device(format!("response claims {sense_len} bytes of sense")));
        };
        Ok(Self {
            response: bytes[11],
            status: bytes[10],
            status_qualifier: u16::from_le_bytes([bytes[8], bytes[9]]),
            sense: sense.to_vec(),
            resid: word(4),
            data,
            used_len,
        })
    }

    /// Whether it ended with GOOD.
    pub fn is_good(&self) -> bool {
        self.response == response::OK && self.status == scsi_status::GOOD
    }

    /// Sense key, additional sense code and its qualifier of a CHECK CONDITION.
    pub fn sense_code(&self) -> Option<(u8, u8, u8)> {
        if self.response != response::OK || self.status != scsi_status::CHECK_CONDITION {
            return None;
        }
        match self.sense.first()? & 0x7F {
            0x70 | 0x71 => Some((self.sense.get(2)? & 0xF, *self.sense.get(12)?, *self.sense.get(13)?)),
            0x72 | 0x73 => Some((self.sense.get(1)? & 0xF, *self.sense.get(2)?, *self.sense.get(3)?)),
            _ => None,
        }
    }

    /// The data that the device sent: the buffer less the residual.
    pub fn data_sent(&self) -> &[u8] {
        &self.data[..self.data.len().saturating_sub(self.resid as usize)]
    }

    /// Itself if it is GOOD.
    ///
    /// # Errors
    /// [`Error::Command`] with what there is to say.
    pub fn good(self) -> Result<Self> {
        if self.is_good() {
            return Ok(self);
        }
        Err(Error::Command(format!(
            "response {}, status {:#04x}, sense {:02x?}, resid {}",
            self.response,
            self.status,
            self.sense_code(),
            self.resid
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_51_bytes_in_the_order_of_the_specification() {
        let command =
            Command { task_attr: TaskAttr::HeadOfQueue, ..Command::new(Lun::new(3, 0x102), vec![0x12, 0xAB]) };
        let bytes = command.encode(0x1122, scsi::CDB_SIZE);
        assert_eq!(bytes.len(), 51);
        assert_eq!(bytes[..8], [1, 3, 0x41, 2, 0, 0, 0, 0]);
        assert_eq!(bytes[8..16], [0x22, 0x11, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16..21], [2, 0, 0, 0x12, 0xAB]);
        assert!(bytes[21..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn a_response_is_read_in_the_order_of_the_specification() {
        let mut bytes = vec![0; 108];
        bytes[..12].copy_from_slice(&[18, 0, 0, 0, 0x10, 2, 0, 0, 0x34, 0x12, 2, 0]);
        bytes[12] = 0x70;
        bytes[14] = 0xF5;
        bytes[24..26].copy_from_slice(&[0x20, 0x01]);
        let response = Response::parse(&bytes, vec![1; 0x300], 108).unwrap();
        assert_eq!((response.resid, response.status_qualifier, response.status), (0x210, 0x1234, 2));
        assert_eq!(response.sense.len(), 18);
        assert_eq!(response.sense_code(), Some((5, 0x20, 1)));
        assert_eq!(response.data_sent().len(), 0xF0);
        assert!(response.good().is_err());
    }

    #[test]
    fn descriptor_sense_is_understood() {
        let mut bytes = vec![0; 108];
        bytes[0] = 8;
        bytes[10] = 2;
        bytes[12..16].copy_from_slice(&[0x72, 6, 0x29, 0]);
        assert_eq!(Response::parse(&bytes, Vec::new(), 0).unwrap().sense_code(), Some((6, 0x29, 0)));
    }

    #[test]
    fn more_sense_than_room_is_an_error() {
        let mut bytes = vec![0; 108];
        bytes[0] = 97;
        assert!(Response::parse(&bytes, Vec::new(), 0).is_err());
    }
}

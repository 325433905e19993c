//! Messages of the vfio-user protocol, version 0.1, as bytes.
//!
//! For clients that build messages by hand: [`raw`](crate::raw) and [`spdk_like`](crate::spdk_like). No socket here.

/// Bytes of a message header.
pub const HEADER_LEN: usize = 16;

/// Command numbers.
pub mod command {
    /// VERSION.
    pub const VERSION: u16 = 1;
    /// DMA_MAP.
    pub const DMA_MAP: u16 = 2;
    /// DMA_UNMAP.
    pub const DMA_UNMAP: u16 = 3;
    /// DEVICE_GET_INFO.
    pub const DEVICE_GET_INFO: u16 = 4;
    /// DEVICE_GET_REGION_INFO.
    pub const DEVICE_GET_REGION_INFO: u16 = 5;
    /// DEVICE_GET_REGION_IO_FDS.
    pub const DEVICE_GET_REGION_IO_FDS: u16 = 6;
    /// DEVICE_GET_IRQ_INFO.
    pub const DEVICE_GET_IRQ_INFO: u16 = 7;
    /// DEVICE_SET_IRQS.
    pub const DEVICE_SET_IRQS: u16 = 8;
    /// REGION_READ.
    pub const REGION_READ: u16 = 9;
    /// REGION_WRITE.
    pub const REGION_WRITE: u16 = 10;
    /// DMA_READ.
    pub const DMA_READ: u16 = 11;
    /// DMA_WRITE.
    pub const DMA_WRITE: u16 = 12;
    /// DEVICE_RESET.
    pub const DEVICE_RESET: u16 = 13;
    /// REGION_WRITE_MULTI.
    pub const REGION_WRITE_MULTI: u16 = 15;
    /// DEVICE_FEATURE.
    pub const DEVICE_FEATURE: u16 = 16;
}

/// Header flag: this is a reply (the low four bits are the type).
pub const FLAG_REPLY: u32 = 1;
/// Header flag: no reply is wanted.
pub const FLAG_NO_REPLY: u32 = 1 << 4;
/// Header flag: the command failed, the error field tells why.
pub const FLAG_ERROR: u32 = 1 << 5;

/// DMA_MAP flags: the device may read and write.
pub const DMA_READ_WRITE: u32 = 3;

/// A message header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Repeated in the reply.
    pub message_id: u16,
    /// See [`command`].
    pub command: u16,
    /// Length in bytes, header included.
    pub message_size: u32,
    /// Type and flags.
    pub flags: u32,
    /// errno of a reply.
    pub error: u32,
}

impl Header {
    /// The 16 bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..2].copy_from_slice(&self.message_id.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.command.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.message_size.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.flags.to_le_bytes());
        bytes[12..].copy_from_slice(&self.error.to_le_bytes());
        bytes
    }

    /// Takes 16 bytes apart.
    pub fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        Self {
            message_id: word(0) as u16,
            command: (word(0) >> 16) as u16,
            message_size: word(4),
            flags: word(8),
            error: word(12),
        }
    }
}

/// A whole command message.
pub fn message(message_id: u16, command: u16, payload: &[u8]) -> Vec<u8> {
    let message_size = (HEADER_LEN + payload.len()) as u32;
    let header = Header { message_id, command, message_size, flags: 0, error: 0 };
    [&header.encode(), payload].concat()
}

/// A whole command message that wants no reply.
pub fn posted(command: u16, payload: &[u8]) -> Vec<u8> {
    let message_size = (HEADER_LEN + payload.len()) as u32;
    let header = Header { message_id: 0, command, message_size, flags: FLAG_NO_REPLY, error: 0 };
    [&header.encode(), payload].concat()
}

/// Payload of VERSION; `json` with its NUL, or nothing.
pub fn version(major: u16, minor: u16, json: &[u8]) -> Vec<u8> {
    [&major.to_le_bytes(), &minor.to_le_bytes(), json].concat()
}

/// Payload of DMA_MAP.
pub fn dma_map(flags: u32, offset: u64, address: u64, size: u64) -> Vec<u8> {
    let mut payload = words(&[32, flags]);
    for value in [offset, address, size] {
        payload.extend_from_slice(&value.to_le_bytes());
    }
    payload
}

/// Payload of DMA_UNMAP.
pub fn dma_unmap(flags: u32, address: u64, size: u64) -> Vec<u8> {
    let mut payload = words(&[24, flags]);
    payload.extend_from_slice(&address.to_le_bytes());
    payload.extend_from_slice(&size.to_le_bytes());
    payload
}

/// Payload of REGION_READ, and of REGION_WRITE before its data.
pub fn region_access(region: u32, offset: u64, count: u32) -> Vec<u8> {
    [&offset.to_le_bytes()[..], &words(&[region, count])].concat()
}

/// Payload of DEVICE_SET_IRQS for the vectors `start..start + count`.
pub fn set_irqs(flags: u32, index: u32, (start, count): (u32, u32), data: &[u8]) -> Vec<u8> {
    let mut payload = words(&[20 + data.len() as u32, flags, index, start, count]);
    payload.extend_from_slice(data);
    payload
}

/// Little-endian words.
pub fn words(values: &[u32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_16_bytes_in_the_order_of_the_protocol() {
        let header = Header {
            message_id: 0x0102,
            command: command::DMA_MAP,
            message_size: 48,
            flags: FLAG_REPLY | FLAG_ERROR,
            error: 22,
        };
        let bytes = [2, 1, 2, 0, 48, 0, 0, 0, 0x21, 0, 0, 0, 22, 0, 0, 0];
        assert_eq!(header.encode(), bytes);
        assert_eq!(Header::parse(&bytes), header);
    }

    #[test]
    fn payloads_have_the_lengths_of_the_protocol() {
        assert_eq!(
            message(7, command::VERSION, &version(0, 1, b"")),
            [7, 0, 1, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]
        );
        assert_eq!(posted(command::REGION_WRITE, &[9]), [0, 0, 10, 0, 17, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 9]);
        assert_eq!(dma_map(3, 0, 0, 0).len(), 32);
        assert_eq!(dma_unmap(0, 0, 0).len(), 24);
        assert_eq!(region_access(4, 0x14, 1), [0x14, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(set_irqs(0x24, 2, (0, 1), &[]).len(), 20);
        assert_eq!(set_irqs(0x22, 2, (0, 1), &[1])[..4], [21, 0, 0, 0]);
    }
}

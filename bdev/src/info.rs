//! What a block device is: size, block size, limits. Fixed while a channel to it is open.

/// Whether acknowledged writes can still be lost with the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteCache {
    /// Writes are on stable storage when they complete.
    WriteThrough,
    /// Writes are on stable storage after a flush, or if they carry force unit access.
    WriteBack,
}

/// Properties of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Size of a logical block in bytes: 512 or 4096.
    pub block_size: u32,
    /// Number of logical blocks.
    pub blocks: u64,
    /// log2 of the logical blocks in a physical block.
    pub physical_exponent: u8,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether a flush is needed.
    pub write_cache: WriteCache,
    /// Whether the backing store allocates space on the first write.
    pub thin: bool,
    /// Largest transfer of one operation in bytes.
    pub max_transfer: u32,
    /// Best transfer size in bytes, 0 if it does not matter.
    pub optimal_transfer: u32,
    /// Whether the medium does not rotate.
    pub solid_state: bool,
    /// One line for people: what serves this device and how (`file disk.img, io_uring, direct`).
    pub description: String,
}

impl Info {
    /// Size in bytes.
    pub const fn size(&self) -> u64 {
        self.blocks * self.block_size as u64
    }
}

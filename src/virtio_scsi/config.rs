//! The device configuration registers (virtio 1.2, section 5.6.4).

use std::mem::offset_of;

use zerocopy::IntoBytes;

use super::request::{CDB_MAX, Framing};
use super::response::SENSE_SIZE_MAX;
use super::spec::{self, Config};

/// Bytes of the register block.
pub const CONFIG_LEN: usize = size_of::<Config>();

/// Shortest `cdb_size`: that of TEST UNIT READY.
const CDB_SIZE_MIN: u32 = 6;

/// What a device offers. `max_*` are the highest values, not counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Request queues.
    pub num_queues: u32,
    /// Most data segments in a command.
    pub seg_max: u32,
    /// Largest transfer in sectors of 512 bytes.
    pub max_sectors: u32,
    /// Most commands outstanding at one logical unit.
    pub cmd_per_lun: u32,
    /// Highest target.
    pub max_target: u16,
    /// Highest logical unit number.
    pub max_lun: u32,
}

/// The driver wrote a size that cannot be served: the device needs a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `sense_size` is above [`SENSE_SIZE_MAX`].
    #[error("sense_size {0} is above {SENSE_SIZE_MAX}")]
    SenseSize(u32),
    /// `cdb_size` is not between 6 and [`CDB_MAX`].
    #[error("cdb_size {0} is not between {CDB_SIZE_MIN} and {CDB_MAX}")]
    CdbSize(u32),
}

/// The register block. Accesses may have any offset and length: the bus decides how wide they are.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    registers: Config,
}

impl DeviceConfig {
    /// The registers of a device with these limits, as after a reset.
    pub fn new(limits: &Limits) -> Self {
        let registers = Config {
            num_queues: limits.num_queues.into(),
            seg_max: limits.seg_max.into(),
            max_sectors: limits.max_sectors.into(),
            cmd_per_lun: limits.cmd_per_lun.into(),
            event_info_size: (size_of::<spec::Event>() as u32).into(),
            sense_size: spec::SENSE_SIZE_DEFAULT.into(),
            cdb_size: spec::CDB_SIZE_DEFAULT.into(),
            max_channel: 0.into(),
            max_target: limits.max_target.into(),
            max_lun: limits.max_lun.into(),
        };
        Self { registers }
    }

    /// Device reset: `sense_size` and `cdb_size` are what they were at first.
    pub fn reset(&mut self) {
        self.registers.sense_size = spec::SENSE_SIZE_DEFAULT.into();
        self.registers.cdb_size = spec::CDB_SIZE_DEFAULT.into();
    }

    /// What is behind the device has changed. What the driver wrote stays. Returns whether a register reads another value.
    pub fn set_limits(&mut self, limits: &Limits) -> bool {
        let Config { sense_size, cdb_size, .. } = self.registers;
        let registers = Config { sense_size, cdb_size, ..Self::new(limits).registers };
        std::mem::replace(&mut self.registers, registers) != registers
    }

    /// The sizes that requests have now.
    pub fn framing(&self) -> Framing {
        Framing { cdb_size: self.registers.cdb_size.get(), sense_size: self.registers.sense_size.get() }
    }

    /// Reads `out.len()` bytes at `offset`; what is behind the registers reads as ones.
    pub fn read(&self, offset: u64, out: &mut [u8]) {
        out.fill(0xff);
        let from = usize::try_from(offset).ok().and_then(|offset| self.registers.as_bytes().get(offset..));
        for (to, from) in out.iter_mut().zip(from.unwrap_or_default()) {
            *to = *from;
        }
    }

    /// Writes `data` at `offset`. Only `sense_size` (0 to 252) and `cdb_size` (6 to 64) change; bytes of other registers
    /// are ignored.
    ///
    /// # Errors
    /// [`ConfigError`]: the registers stay as they were.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), ConfigError> {
        let writable = offset_of!(Config, sense_size)..offset_of!(Config, max_channel);
        let mut after = self.registers;
        let to = usize::try_from(offset).ok().and_then(|offset| after.as_mut_bytes()[..writable.end].get_mut(offset..));
        for (to, from) in to.unwrap_or_default().iter_mut().zip(data) {
            *to = *from;
        }
        let (sense_size, cdb_size) = (after.sense_size.get(), after.cdb_size.get());
        if sense_size > SENSE_SIZE_MAX {
            return Err(ConfigError::SenseSize(sense_size));
        }
        if !(CDB_SIZE_MIN..=CDB_MAX as u32).contains(&cdb_size) {
            return Err(ConfigError::CdbSize(cdb_size));
        }
        (self.registers.sense_size, self.registers.cdb_size) = (after.sense_size, after.cdb_size);
        Ok(())
    }
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;

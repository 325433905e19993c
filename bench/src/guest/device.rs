//! The registers of a virtio-scsi function (virtio 1.2, 3.1, 4.1.4 and 5.6.4).
//!
//! Knows where the registers are and in which order a driver uses them. Owns no memory and no queue; every call takes the
//! connection. The order is the caller's to break: each step is a method of its own.

use std::time::{Duration, Instant};

use super::connection::{CONFIG_REGION, Connection};
use super::error::{Error, Result};
use super::pci::{ConfigSpace, Layout};
use super::queue::Queue;
use super::spec::{common, pci, status};

/// A virtio-scsi function.
#[derive(Debug, Clone)]
pub struct Device {
    layout: Layout,
}

/// The device specific configuration (5.6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScsiConfig {
    /// Request queues.
    pub num_queues: u32,
    /// Data segments that one command may have.
    pub seg_max: u32,
    /// Largest transfer in 512-byte sectors.
    pub max_sectors: u32,
    /// Commands that one LUN can have in flight.
    pub cmd_per_lun: u32,
    /// Bytes of an event.
    pub event_info_size: u32,
    /// Sense bytes in a response.
    pub sense_size: u32,
    /// CDB bytes in a request.
    pub cdb_size: u32,
    /// Highest channel.
    pub max_channel: u16,
    /// Highest target.
    pub max_target: u16,
    /// Highest LUN.
    pub max_lun: u32,
}

/// Offset of sense_size in the device configuration.
pub const CONFIG_SENSE_SIZE: u64 = 20;
/// Offset of cdb_size in the device configuration.
pub const CONFIG_CDB_SIZE: u64 = 24;

impl Device {
    /// Finds the registers through the capabilities.
    ///
    /// # Errors
    /// It is no virtio-scsi function, or the connection is gone; the latter everywhere below.
    pub fn find(connection: &mut Connection) -> Result<Self> {
        Ok(Self { layout: ConfigSpace::read(connection)?.layout()? })
    }

    /// Where the registers are.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Lets the function answer memory accesses and read and write memory; no INTx. Enables MSI-X if `msix`.
    ///
    /// # Errors
    /// As above.
    pub fn enable(&self, connection: &mut Connection, msix: bool) -> Result<()> {
        let command = pci::COMMAND_MEMORY | pci::COMMAND_BUS_MASTER | pci::COMMAND_INTX_DISABLE;
        connection.write(CONFIG_REGION, pci::COMMAND, &command.to_le_bytes())?;
        let Some(capability) = self.layout.msix else { return Ok(()) };
        let control = u64::from(capability) + 2;
        let mut bytes = [0; 2];
        connection.read(CONFIG_REGION, control, &mut bytes)?;
        let value = u16::from_le_bytes(bytes) & !pci::MSIX_ENABLE | if msix { pci::MSIX_ENABLE } else { 0 };
        connection.write(CONFIG_REGION, control, &value.to_le_bytes())
    }

    /// The device status.
    ///
    /// # Errors
    /// As above.
    pub fn status(&self, connection: &mut Connection) -> Result<u8> {
        Ok(self.common::<1>(connection, common::DEVICE_STATUS)?[0])
    }

    /// Writes the device status: all of it, not only what is new.
    ///
    /// # Errors
    /// As above.
    pub fn set_status(&self, connection: &mut Connection, status: u8) -> Result<()> {
        self.set_common(connection, common::DEVICE_STATUS, &[status])
    }

    /// Resets the virtio side and waits until the device says that it has (4.1.4.3.2).
    ///
    /// # Errors
    /// As above; [`Error::TimedOut`].
    pub fn reset(&self, connection: &mut Connection, limit: Duration) -> Result<()> {
        self.set_status(connection, 0)?;
        let start = Instant::now();
        while self.status(connection)? != 0 {
            if start.elapsed() > limit {
                return Err(Error::TimedOut { what: "end of reset", limit });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// What the device offers.
    ///
    /// # Errors
    /// As above.
    pub fn features(&self, connection: &mut Connection) -> Result<u64> {
        let mut features = 0;
        for half in 0..2 {
            self.set_common(connection, common::DEVICE_FEATURE_SELECT, &(half as u32).to_le_bytes())?;
            let bits = u32::from_le_bytes(self.common(connection, common::DEVICE_FEATURE)?);
            features |= u64::from(bits) << (32 * half);
        }
        Ok(features)
    }

    /// Writes what the driver takes.
    ///
    /// # Errors
    /// As above.
    pub fn set_features(&self, connection: &mut Connection, features: u64) -> Result<()> {
        for half in 0..2 {
            self.set_common(connection, common::DRIVER_FEATURE_SELECT, &(half as u32).to_le_bytes())?;
            let bits = (features >> (32 * half)) as u32;
            self.set_common(connection, common::DRIVER_FEATURE, &bits.to_le_bytes())?;
        }
        Ok(())
    }

    /// From reset to FEATURES_OK with what both sides have of `wanted` (3.1.1, steps 2 to 6).
    ///
    /// # Errors
    /// As above; the device refuses its own features.
    pub fn negotiate(&self, connection: &mut Connection, wanted: u64) -> Result<u64> {
        self.set_status(connection, status::ACKNOWLEDGE)?;
        self.set_status(connection, status::ACKNOWLEDGE | status::DRIVER)?;
        let features = self.features(connection)? & wanted;
        self.set_features(connection, features)?;
        let agreed = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK;
        self.set_status(connection, agreed)?;
        match self.status(connection)? {
            now if now & status::FEATURES_OK != 0 => Ok(features),
            now => Err(Error::Device(format!("features {features:#x} refused, status is {now:#x}"))),
        }
    }

    /// Sets DRIVER_OK beside what is set.
    ///
    /// # Errors
    /// As above.
    pub fn driver_ok(&self, connection: &mut Connection) -> Result<()> {
        let now = self.status(connection)?;
        self.set_status(connection, now | status::DRIVER_OK)
    }

    /// Queues that the device has, control and event queue included.
    ///
    /// # Errors
    /// As above.
    pub fn num_queues(&self, connection: &mut Connection) -> Result<u16> {
        self.common(connection, common::NUM_QUEUES).map(u16::from_le_bytes)
    }

    /// Entries that queue `queue` has now: after reset the most it can have, 0 if there is no such queue.
    ///
    /// # Errors
    /// As above.
    pub fn queue_size(&self, connection: &mut Connection, queue: u16) -> Result<u16> {
        self.select(connection, queue)?;
        self.common(connection, common::QUEUE_SIZE).map(u16::from_le_bytes)
    }

    /// Tells the device where a queue is and enables it (4.1.5.1.3).
    ///
    /// # Errors
    /// As above; the device has no such vector.
    pub fn enable_queue(&self, connection: &mut Connection, queue: &Queue, vector: u16) -> Result<()> {
        let layout = queue.layout();
        self.select(connection, queue.number())?;
        self.set_common(connection, common::QUEUE_SIZE, &layout.size.to_le_bytes())?;
        self.set_common(connection, common::QUEUE_MSIX_VECTOR, &vector.to_le_bytes())?;
        let taken = u16::from_le_bytes(self.common(connection, common::QUEUE_MSIX_VECTOR)?);
        if taken != vector {
            return Err(Error::Device(format!("vector {vector} refused: it reads {taken}")));
        }
        // Each half by itself (4.1.3.1: 64-bit fields are accessed as two 32-bit ones).
        for (field, gpa) in [
            (common::QUEUE_DESC, layout.desc),
            (common::QUEUE_DRIVER, layout.driver),
            (common::QUEUE_DEVICE, layout.device),
        ] {
            self.set_common(connection, field, &(gpa.0 as u32).to_le_bytes())?;
            self.set_common(connection, field + 4, &((gpa.0 >> 32) as u32).to_le_bytes())?;
        }
        self.set_common(connection, common::QUEUE_ENABLE, &1u16.to_le_bytes())
    }

    /// Sets the vector of configuration changes; returns what the device made of it.
    ///
    /// # Errors
    /// As above.
    pub fn set_config_vector(&self, connection: &mut Connection, vector: u16) -> Result<u16> {
        self.set_common(connection, common::CONFIG_MSIX_VECTOR, &vector.to_le_bytes())?;
        self.common(connection, common::CONFIG_MSIX_VECTOR).map(u16::from_le_bytes)
    }

    /// Where the doorbell of queue `queue` is, as an offset in the notification structure.
    ///
    /// # Errors
    /// As above.
    pub fn doorbell(&self, connection: &mut Connection, queue: u16) -> Result<u64> {
        self.select(connection, queue)?;
        let offset = u16::from_le_bytes(self.common(connection, common::QUEUE_NOTIFY_OFF)?);
        Ok(u64::from(offset) * u64::from(self.layout.notify_multiplier))
    }

    /// Rings a doorbell. Waits for no answer if the connection can do so.
    ///
    /// # Errors
    /// As above.
    pub fn notify(&self, connection: &mut Connection, doorbell: u64, queue: u16) -> Result<()> {
        connection.post_at(self.layout.notify, doorbell, &queue.to_le_bytes())
    }

    /// Reads the interrupt status, which clears it (4.1.4.5).
    ///
    /// # Errors
    /// As above.
    pub fn isr(&self, connection: &mut Connection) -> Result<u8> {
        Ok(connection.read_at::<1>(self.layout.isr, 0)?[0])
    }

    /// The device specific configuration.
    ///
    /// # Errors
    /// As above.
    pub fn config(&self, connection: &mut Connection) -> Result<ScsiConfig> {
        let mut word = |offset| connection.read_at(self.layout.device, offset).map(u32::from_le_bytes);
        let (num_queues, seg_max, max_sectors, cmd_per_lun) = (word(0)?, word(4)?, word(8)?, word(12)?);
        let (event_info_size, sense_size, cdb_size) = (word(16)?, word(CONFIG_SENSE_SIZE)?, word(CONFIG_CDB_SIZE)?);
        let max_lun = word(32)?;
        let mut half = |offset| connection.read_at(self.layout.device, offset).map(u16::from_le_bytes);
        let (max_channel, max_target) = (half(28)?, half(30)?);
        Ok(ScsiConfig {
            num_queues,
            seg_max,
            max_sectors,
            cmd_per_lun,
            event_info_size,
            sense_size,
            cdb_size,
            max_channel,
            max_target,
            max_lun,
        })
    }

    /// Writes a field of the device specific configuration.
    ///
    /// # Errors
    /// As above.
    pub fn set_config(&self, connection: &mut Connection, offset: u64, value: u32) -> Result<()> {
        connection.write_at(self.layout.device, offset, &value.to_le_bytes())
    }

    /// Selects the queue that the queue fields are of.
    ///
    /// # Errors
    /// As above.
    pub fn select(&self, connection: &mut Connection, queue: u16) -> Result<()> {
        self.set_common(connection, common::QUEUE_SELECT, &queue.to_le_bytes())
    }

    /// Reads a field of the common configuration.
    ///
    /// # Errors
    /// As above.
    pub fn common<const N: usize>(&self, connection: &mut Connection, field: u64) -> Result<[u8; N]> {
        connection.read_at(self.layout.common, field)
    }

    /// Writes a field of the common configuration.
    ///
    /// # Errors
    /// As above.
    pub fn set_common(&self, connection: &mut Connection, field: u64, bytes: &[u8]) -> Result<()> {
        connection.write_at(self.layout.common, field, bytes)
    }
}

//! Finds the virtio structures in PCI configuration space (virtio 1.2, 4.1.4).
//!
//! Reads configuration space only; [`Device`](super::device::Device) uses what is found.

use super::connection::{CONFIG_REGION, Connection, Place};
use super::error::{Error, Result};
use super::spec::{cfg_type, pci};

/// Where the structures of a virtio function are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Common configuration.
    pub common: Place,
    /// Doorbells.
    pub notify: Place,
    /// Bytes between doorbells.
    pub notify_multiplier: u32,
    /// Interrupt status.
    pub isr: Place,
    /// Device specific configuration.
    pub device: Place,
    /// Offset in configuration space of the MSI-X capability, if there is one.
    pub msix: Option<u8>,
    /// Offset in configuration space of the window capability, if there is one.
    pub window: Option<u8>,
}

/// A copy of the first 256 bytes of configuration space.
#[derive(Debug, Clone)]
pub struct ConfigSpace([u8; 256]);

impl ConfigSpace {
    /// Reads it, four bytes at a time as a guest does.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn read(connection: &mut Connection) -> Result<Self> {
        let mut bytes = [0; 256];
        for (index, word) in bytes.chunks_exact_mut(4).enumerate() {
            connection.read(CONFIG_REGION, index as u64 * 4, word)?;
        }
        Ok(Self(bytes))
    }

    /// The byte at `offset`.
    pub fn u8(&self, offset: u8) -> u8 {
        self.0[usize::from(offset)]
    }

    /// The u16 at `offset`, which is even.
    pub fn u16(&self, offset: u8) -> u16 {
        let offset = usize::from(offset);
        u16::from_le_bytes([self.0[offset], self.0[offset + 1]])
    }

    /// The u32 at `offset`, which is at most 252.
    pub fn u32(&self, offset: u8) -> u32 {
        let offset = usize::from(offset);
        u32::from_le_bytes(self.0[offset..offset + 4].try_into().expect("four bytes"))
    }

    /// Offset and type of each capability, in the order of the list.
    ///
    /// # Errors
    /// The list leaves configuration space or has a loop.
    pub fn capabilities(&self) -> Result<Vec<(u8, u8)>> {
        let mut found = Vec::new();
        if self.u16(pci::STATUS as u8) & pci::STATUS_CAPABILITIES == 0 {
            return Ok(found);
        }
        let mut offset = self.u8(pci::CAPABILITIES_POINTER as u8) & !3;
        while offset != 0 {
            if offset < 0x40 || found.len() > 48 {
                return Err(Error::Device(format!("capability list goes to {offset:#x} after {found:x?}")));
            }
            found.push((offset, self.u8(offset)));
            offset = self.u8(offset + 1) & !3;
        }
        Ok(found)
    }

    /// Finds the virtio structures.
    ///
    /// # Errors
    /// It is not a virtio-scsi function, or a structure is missing.
    pub fn layout(&self) -> Result<Layout> {
        let identity = (self.u16(0), self.u16(2));
        if identity != (pci::VENDOR, pci::DEVICE_SCSI) {
            return Err(Error::Device(format!("{identity:04x?} is no virtio-scsi function")));
        }
        let mut places = [None; 6];
        let (mut notify_multiplier, mut msix, mut window) = (0, None, None);
        for (offset, id) in self.capabilities()? {
            if id == pci::CAP_MSIX {
                msix = Some(offset);
            }
            if id != pci::CAP_VENDOR || offset > 240 {
                continue;
            }
            let kind = self.u8(offset + 3);
            match kind {
                // The first of a kind is the one to use (4.1.4.1).
                1..=4 if places[usize::from(kind)].is_none() => {
                    places[usize::from(kind)] = Some(self.place(offset));
                    if kind == cfg_type::NOTIFY {
                        notify_multiplier = self.u32(offset + 16);
                    }
                }
                cfg_type::PCI => window = Some(offset),
                _ => {}
            }
        }
        let place = |kind: u8| {
            places[usize::from(kind)].ok_or_else(|| Error::Device(format!("no virtio capability of type {kind}")))
        };
        Ok(Layout {
            common: place(cfg_type::COMMON)?,
            notify: place(cfg_type::NOTIFY)?,
            notify_multiplier,
            isr: place(cfg_type::ISR)?,
            device: place(cfg_type::DEVICE)?,
            msix,
            window,
        })
    }

    /// The place that a virtio capability tells of (4.1.4: bar at 4, offset at 8, length at 12).
    fn place(&self, capability: u8) -> Place {
        Place {
            region: u32::from(self.u8(capability + 4)),
            offset: u64::from(self.u32(capability + 8)),
            len: u64::from(self.u32(capability + 12)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration space with these (offset, bytes) on top of a valid start.
    fn space(parts: &[(usize, &[u8])]) -> ConfigSpace {
        let mut bytes = [0; 256];
        bytes[..4].copy_from_slice(&[0xF4, 0x1A, 0x48, 0x10]);
        bytes[6] = 0x10;
        bytes[0x34] = 0x40;
        for (offset, part) in parts {
            bytes[*offset..*offset + part.len()].copy_from_slice(part);
        }
        ConfigSpace(bytes)
    }

    #[test]
    fn all_structures_are_found_in_any_order() {
        let space = space(&[
            (0x40, &[0x11, 0x50, 3, 0]),
            (0x50, &[9, 0x64, 20, 2, 4, 0, 0, 0, 0, 0x30, 0, 0, 0, 0x10, 0, 0, 4, 0, 0, 0]),
            (0x64, &[9, 0x74, 16, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0x38, 0, 0, 0]),
            (0x74, &[9, 0x84, 16, 3, 4, 0, 0, 0, 0, 0x10, 0, 0, 1, 0, 0, 0]),
            (0x84, &[9, 0x94, 16, 4, 2, 0, 0, 0, 0, 0x20, 0, 0, 0x24, 0, 0, 0]),
            (0x94, &[9, 0, 20, 5]),
        ]);
        let layout = space.layout().unwrap();
        assert_eq!(layout.common, Place { region: 4, offset: 0, len: 0x38 });
        assert_eq!(layout.notify, Place { region: 4, offset: 0x3000, len: 0x1000 });
        assert_eq!(layout.notify_multiplier, 4);
        assert_eq!(layout.isr, Place { region: 4, offset: 0x1000, len: 1 });
        assert_eq!(layout.device, Place { region: 2, offset: 0x2000, len: 0x24 });
        assert_eq!((layout.msix, layout.window), (Some(0x40), Some(0x94)));
    }

    #[test]
    fn a_loop_in_the_list_is_an_error() {
        assert!(space(&[(0x40, &[1, 0x44]), (0x44, &[1, 0x40])]).capabilities().is_err());
    }

    #[test]
    fn another_device_is_refused() {
        assert!(space(&[(2, &[0x42, 0x10])]).layout().is_err());
    }
}

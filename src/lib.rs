//! annulus: a userspace, polled-mode storage target that shows a virtual machine a virtio-scsi host adapter over
//! vfio-user. ARCHITECTURE.md describes the rooms of this house.

pub mod config;
pub mod dma;
pub mod observe;
pub mod pci;
pub mod scsi;
pub mod target;
pub mod vfio_user;
pub mod virtio;
pub mod virtio_scsi;

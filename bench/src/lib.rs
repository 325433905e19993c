//! A virtio-scsi driver in user space.

//! The wire format of virtio-scsi: requests, responses, task management, events, device configuration.

//! virtio: the transport's registers and status machine, rings, chains, notification.

pub mod ring;

//! virtio: the transport's registers and status machine, rings, chains, notification.

pub mod ring;
pub mod spec;
pub mod transport;

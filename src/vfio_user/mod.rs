//! The vfio-user server: wire messages, connection, dispatch.
//!
//! Owns the socket of one controller, speaks the protocol with one client at a time, and turns each command into a call of
//! [`Device`]. Knows PCI regions and interrupts by number; knows nothing of virtio or SCSI, never touches guest memory
//! itself, and is never on the way of an I/O. The controller's own thread runs it ([`Server::run`]): a bad or slow client
//! holds up only itself.

mod connection;
mod device;
mod dispatch;
mod irq;
mod message;
mod server;
mod socket;
pub mod spec;
mod version;

#[cfg(test)]
mod tests;

pub use device::{
    ClientLimits, ClientMemory, Device, DmaMap, DmaUnmap, IrqAction, IrqChange, IrqFlags, IrqIndex, IrqInfo,
    RegionFlags, RegionInfo, SparseArea,
};
pub use server::{ServeError, Server};
pub use socket::BindError;

//! A virtio-scsi driver in user space, over vfio-user: the guest that tests and load generators run.
//!
//! It is written from the specifications (virtio 1.2, vfio-user, SPC and SBC) and shares no code with the target that it
//! drives, so that a mistake in one is not repeated in the other.
//!
//! - [`guest`] is a well-behaved driver whose every raw field can be reached, for those who want to misbehave.
//! - [`spdk_like`] says message for message what SPDK's initiator says.
//! - [`between`] makes a client that does not share some of its memory of one that does.
//! - [`raw`] sends any bytes and file descriptors on the socket.
//! - [`load`] makes load: on such a device, on a device of its own that shows the limit, and straight on io_uring.
//! - [`stop`] ends what takes long when the user asks for it.
//! - [`suite`] starts a target and puts it beside its limits; [`plot`] draws.

pub mod between;
pub mod guest;
pub mod load;
pub mod plot;
pub mod raw;
pub mod spdk_like;
pub mod stop;
pub mod suite;
pub mod wire;

pub use guest::{Error, Guest, Options, Result};

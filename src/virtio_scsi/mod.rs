//! The wire format of virtio-scsi (virtio 1.2, section 5.6): command requests and responses, task management, events,
//! device configuration.
//!
//! Owns the layout of bytes in chains, in any framing. Never executes anything, never touches a ring, never decides
//! whether a logical unit exists. The queue workers and the control queue in `target` call it.
//!
//! A request is copied into private memory once and judged there; a response is built in private memory and written once:
//! padded with zeros if it has sense data, and else no further than its header, for the rest is a cache line or two that
//! nobody would look at.

pub mod config;
pub mod control;
pub mod event;
mod gather;
pub mod lun;
pub mod request;
pub mod response;
pub mod spec;

pub use config::{ConfigError, DeviceConfig, Limits};
pub use control::ControlRequest;
pub use event::Event;
pub use gather::Pieces;
pub use lun::{Address, Destination, InvalidLun, LUN_MAX, LunAddress};
pub use request::{CDB_MAX, Cdb, CommandRequest, DataLayout, Direction, Framing, Plain, RequestError};
pub use response::{
    CommandResponse, GOOD_LEN, SENSE_SIZE_MAX, write_command_response, write_good, write_plain_response,
};
pub use spec::ResponseCode;

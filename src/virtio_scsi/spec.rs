//! Structures and constants of the SCSI host device, virtio 1.2, section 5.6. No logic.
//!
//! Integers are little-endian, whatever the host is. Codes that come from the guest are plain integers or open types
//! with named values, so that an unknown one stays a value.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Virtio device type: SCSI host (5.6.1).
pub const DEVICE_ID: u16 = 8;

/// Index of the control queue (5.6.2).
pub const CONTROL_QUEUE: u16 = 0;
/// Index of the event queue.
pub const EVENT_QUEUE: u16 = 1;
/// Index of the first request queue.
pub const FIRST_REQUEST_QUEUE: u16 = 2;

/// `VIRTIO_SCSI_F_INOUT` (5.6.3): a request may have data in both directions.
pub const FEATURE_INOUT: u64 = 1 << 0;
/// `VIRTIO_SCSI_F_HOTPLUG`: logical units come and go with events.
pub const FEATURE_HOTPLUG: u64 = 1 << 1;
/// `VIRTIO_SCSI_F_CHANGE`: changed parameters of a logical unit are told with events.
pub const FEATURE_CHANGE: u64 = 1 << 2;
/// `VIRTIO_SCSI_F_T10_PI`: request headers carry the lengths of protection information.
pub const FEATURE_T10_PI: u64 = 1 << 3;

/// Initial `sense_size`, in bytes (5.6.4).
pub const SENSE_SIZE_DEFAULT: u32 = 96;
/// Initial `cdb_size`, in bytes.
pub const CDB_SIZE_DEFAULT: u32 = 32;

/// `struct virtio_scsi_config` (5.6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Config {
    /// Request queues; control and event queue are not counted.
    pub num_queues: U32,
    /// Most data segments in a command.
    pub seg_max: U32,
    /// Largest transfer, in sectors of 512 bytes.
    pub max_sectors: U32,
    /// Most commands outstanding at one logical unit.
    pub cmd_per_lun: U32,
    /// Bytes of an event.
    pub event_info_size: U32,
    /// Bytes of sense data in a response. The driver may write it.
    pub sense_size: U32,
    /// Bytes of a command descriptor block in a request. The driver may write it.
    pub cdb_size: U32,
    /// Highest channel.
    pub max_channel: U16,
    /// Highest target.
    pub max_target: U16,
    /// Highest logical unit number.
    pub max_lun: U32,
}

/// `struct virtio_scsi_req_cmd` up to the CDB (5.6.6.1); `cdb_size` bytes of CDB and then data follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CommandHeader {
    /// Logical unit address.
    pub lun: [u8; 8],
    /// Command identifier, as the driver's task management names it.
    pub id: U64,
    /// Task attribute, one of the `TASK_ATTR` constants.
    pub task_attr: u8,
    /// Command priority.
    pub prio: u8,
    /// Command reference number.
    pub crn: u8,
}

/// `task_attr`: SIMPLE.
pub const TASK_ATTR_SIMPLE: u8 = 0;
/// `task_attr`: ORDERED.
pub const TASK_ATTR_ORDERED: u8 = 1;
/// `task_attr`: HEAD OF QUEUE.
pub const TASK_ATTR_HEAD: u8 = 2;
/// `task_attr`: ACA.
pub const TASK_ATTR_ACA: u8 = 3;

/// The device-writable part of `struct virtio_scsi_req_cmd` up to the sense data (5.6.6.1); `sense_size` bytes of sense
/// and then data follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CommandResponseHeader {
    /// Valid bytes of sense data.
    pub sense_len: U32,
    /// Bytes of the data buffer that were not used.
    pub resid: U32,
    /// SAM status qualifier.
    pub status_qualifier: U16,
    /// SAM status, valid if `response` is `OK`.
    pub status: u8,
    /// A [`ResponseCode`].
    pub response: u8,
}

/// A `response` byte (5.6.6.1, 5.6.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseCode(pub u8);

impl ResponseCode {
    /// The command was executed: `status` tells how it went.
    pub const OK: Self = Self(0);
    /// The CDB asks for more data than the buffers hold.
    pub const OVERRUN: Self = Self(1);
    /// Ended by a task management function.
    pub const ABORTED: Self = Self(2);
    /// The target does not exist: never executed.
    pub const BAD_TARGET: Self = Self(3);
    /// Ended by a bus or device reset.
    pub const RESET: Self = Self(4);
    /// The target cannot take it now: worth another try.
    pub const BUSY: Self = Self(5);
    /// Failed on the way to the target, which may be reachable by another path.
    pub const TRANSPORT_FAILURE: Self = Self(6);
    /// The target is unable to execute it: another path does not help.
    pub const TARGET_FAILURE: Self = Self(7);
    /// The nexus is suffering a failure: another path might help.
    pub const NEXUS_FAILURE: Self = Self(8);
    /// Failed in another way.
    pub const FAILURE: Self = Self(9);
    /// A task management function found what it was asked for.
    pub const FUNCTION_SUCCEEDED: Self = Self(10);
    /// A task management function is not supported.
    pub const FUNCTION_REJECTED: Self = Self(11);
    /// The logical unit does not exist: never executed.
    pub const INCORRECT_LUN: Self = Self(12);
    /// A task management function is complete. Shares its value with `OK`.
    pub const FUNCTION_COMPLETE: Self = Self(0);
}

/// Control request type: task management (5.6.6.2).
pub const CONTROL_TMF: u32 = 0;
/// Control request type: asynchronous notification query.
pub const CONTROL_AN_QUERY: u32 = 1;
/// Control request type: asynchronous notification subscription.
pub const CONTROL_AN_SUBSCRIBE: u32 = 2;

/// TMF subtype ABORT TASK.
pub const TMF_ABORT_TASK: u32 = 0;
/// TMF subtype ABORT TASK SET.
pub const TMF_ABORT_TASK_SET: u32 = 1;
/// TMF subtype CLEAR ACA.
pub const TMF_CLEAR_ACA: u32 = 2;
/// TMF subtype CLEAR TASK SET.
pub const TMF_CLEAR_TASK_SET: u32 = 3;
/// TMF subtype I_T NEXUS RESET.
pub const TMF_I_T_NEXUS_RESET: u32 = 4;
/// TMF subtype LOGICAL UNIT RESET.
pub const TMF_LOGICAL_UNIT_RESET: u32 = 5;
/// TMF subtype QUERY TASK.
pub const TMF_QUERY_TASK: u32 = 6;
/// TMF subtype QUERY TASK SET.
pub const TMF_QUERY_TASK_SET: u32 = 7;

/// The readable part of `struct virtio_scsi_ctrl_tmf` (5.6.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TmfRequest {
    /// [`CONTROL_TMF`].
    pub kind: U32,
    /// One of the `TMF` constants.
    pub subtype: U32,
    /// Logical unit address.
    pub lun: [u8; 8],
    /// The command that ABORT TASK and QUERY TASK mean.
    pub id: U64,
}

/// The writable part of `struct virtio_scsi_ctrl_tmf`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct TmfResponse {
    /// A [`ResponseCode`].
    pub response: u8,
}

/// The readable part of `struct virtio_scsi_ctrl_an` (5.6.6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AnRequest {
    /// [`CONTROL_AN_QUERY`] or [`CONTROL_AN_SUBSCRIBE`].
    pub kind: U32,
    /// Logical unit address.
    pub lun: [u8; 8],
    /// Set of `ASYNC` bits.
    pub event_requested: U32,
}

/// The writable part of `struct virtio_scsi_ctrl_an`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct AnResponse {
    /// Set of `ASYNC` bits that the device supports of those asked for.
    pub event_actual: U32,
    /// A [`ResponseCode`].
    pub response: u8,
}

/// Asynchronous notification: operational change (5.6.6.2).
pub const ASYNC_OPERATIONAL_CHANGE: u32 = 2;
/// Asynchronous notification: power management.
pub const ASYNC_POWER_MGMT: u32 = 4;
/// Asynchronous notification: external request.
pub const ASYNC_EXTERNAL_REQUEST: u32 = 8;
/// Asynchronous notification: media change.
pub const ASYNC_MEDIA_CHANGE: u32 = 16;
/// Asynchronous notification: multiple hosts.
pub const ASYNC_MULTI_HOST: u32 = 32;
/// Asynchronous notification: device busy.
pub const ASYNC_DEVICE_BUSY: u32 = 64;

/// `struct virtio_scsi_event` (5.6.6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Event {
    /// One of the `EVENT` constants; [`EVENTS_MISSED`] may be added.
    pub event: U32,
    /// Logical unit address, in the form that REPORT LUNS has.
    pub lun: [u8; 8],
    /// Depends on the event.
    pub reason: U32,
}

/// Added to `event`: events were lost, for the driver had no buffers.
pub const EVENTS_MISSED: u32 = 0x8000_0000;
/// Nothing happened (only with [`EVENTS_MISSED`]).
pub const EVENT_NONE: u32 = 0;
/// A logical unit was reset, added or removed: `reason` is one of the `RESET` constants.
pub const EVENT_TRANSPORT_RESET: u32 = 1;
/// An asynchronous notification: `reason` is the set of `ASYNC` bits.
pub const EVENT_ASYNC_NOTIFY: u32 = 2;
/// A parameter changed: `reason` has the additional sense code in bits 0 to 7, its qualifier in bits 8 to 15.
pub const EVENT_PARAM_CHANGE: u32 = 3;
/// `reason`: hard reset.
pub const RESET_HARD: u32 = 0;
/// `reason`: the logical unit is new.
pub const RESET_RESCAN: u32 = 1;
/// `reason`: the logical unit is gone.
pub const RESET_REMOVED: u32 = 2;

const _: () = {
    assert!(size_of::<Config>() == 36);
    assert!(size_of::<CommandHeader>() == 19);
    assert!(size_of::<CommandResponseHeader>() == 12);
    assert!(size_of::<TmfRequest>() == 24);
    assert!(size_of::<TmfResponse>() == 1);
    assert!(size_of::<AnRequest>() == 16);
    assert!(size_of::<AnResponse>() == 5);
    assert!(size_of::<Event>() == 16);
};

#[cfg(test)]
#[path = "spec_tests.rs"]
mod tests;

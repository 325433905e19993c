//! Numbers of SCSI: SAM-5 (status), SPC-5 (commands for all devices, sense), SBC-4 (disks). No logic.
//!
//! Each is an open newtype: a value without a name here stays a value. Clauses are cited by title, in this whole room:
//! their numbers move from one revision of a standard to the next.

mod actions;
mod pages;
mod status;

pub use actions::*;
pub use pages::*;
pub use status::Status;

/// NACA in the CONTROL byte of a CDB: its CHECK CONDITION establishes an auto contingent allegiance (SAM-5, CONTROL byte).
pub const NACA: u8 = 0x04;

/// Operation code, byte 0 of a CDB (SPC-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Opcode(pub u8);

impl Opcode {
    /// TEST UNIT READY (SPC-5).
    pub const TEST_UNIT_READY: Self = Self(0x00);
    /// REQUEST SENSE (SPC-5).
    pub const REQUEST_SENSE: Self = Self(0x03);
    /// FORMAT UNIT (SBC-4).
    pub const FORMAT_UNIT: Self = Self(0x04);
    /// REASSIGN BLOCKS (SBC-4).
    pub const REASSIGN_BLOCKS: Self = Self(0x07);
    /// READ (6) (SBC-3).
    pub const READ_6: Self = Self(0x08);
    /// WRITE (6) (SBC-3).
    pub const WRITE_6: Self = Self(0x0a);
    /// INQUIRY (SPC-5).
    pub const INQUIRY: Self = Self(0x12);
    /// MODE SELECT (6) (SPC-5).
    pub const MODE_SELECT_6: Self = Self(0x15);
    /// RESERVE (6) (SPC-2).
    pub const RESERVE_6: Self = Self(0x16);
    /// RELEASE (6) (SPC-2).
    pub const RELEASE_6: Self = Self(0x17);
    /// MODE SENSE (6) (SPC-5).
    pub const MODE_SENSE_6: Self = Self(0x1a);
    /// START STOP UNIT (SBC-4).
    pub const START_STOP_UNIT: Self = Self(0x1b);
    /// RECEIVE DIAGNOSTIC RESULTS (SPC-5).
    pub const RECEIVE_DIAGNOSTIC_RESULTS: Self = Self(0x1c);
    /// SEND DIAGNOSTIC (SPC-5).
    pub const SEND_DIAGNOSTIC: Self = Self(0x1d);
    /// PREVENT ALLOW MEDIUM REMOVAL (SPC-5).
    pub const PREVENT_ALLOW_MEDIUM_REMOVAL: Self = Self(0x1e);
    /// READ CAPACITY (10) (SBC-4).
    pub const READ_CAPACITY_10: Self = Self(0x25);
    /// READ (10) (SBC-4).
    pub const READ_10: Self = Self(0x28);
    /// WRITE (10) (SBC-4).
    pub const WRITE_10: Self = Self(0x2a);
    /// WRITE AND VERIFY (10) (SBC-4).
    pub const WRITE_AND_VERIFY_10: Self = Self(0x2e);
    /// VERIFY (10) (SBC-4).
    pub const VERIFY_10: Self = Self(0x2f);
    /// PRE-FETCH (10) (SBC-4).
    pub const PRE_FETCH_10: Self = Self(0x34);
    /// SYNCHRONIZE CACHE (10) (SBC-4).
    pub const SYNCHRONIZE_CACHE_10: Self = Self(0x35);
    /// READ DEFECT DATA (10) (SBC-4).
    pub const READ_DEFECT_DATA_10: Self = Self(0x37);
    /// WRITE BUFFER (SPC-5).
    pub const WRITE_BUFFER: Self = Self(0x3b);
    /// READ BUFFER (10) (SPC-5).
    pub const READ_BUFFER_10: Self = Self(0x3c);
    /// WRITE SAME (10) (SBC-4).
    pub const WRITE_SAME_10: Self = Self(0x41);
    /// UNMAP (SBC-4).
    pub const UNMAP: Self = Self(0x42);
    /// SANITIZE (SBC-4).
    pub const SANITIZE: Self = Self(0x48);
    /// LOG SELECT (SPC-5).
    pub const LOG_SELECT: Self = Self(0x4c);
    /// LOG SENSE (SPC-5).
    pub const LOG_SENSE: Self = Self(0x4d);
    /// MODE SELECT (10) (SPC-5).
    pub const MODE_SELECT_10: Self = Self(0x55);
    /// RESERVE (10) (SPC-2).
    pub const RESERVE_10: Self = Self(0x56);
    /// RELEASE (10) (SPC-2).
    pub const RELEASE_10: Self = Self(0x57);
    /// MODE SENSE (10) (SPC-5).
    pub const MODE_SENSE_10: Self = Self(0x5a);
    /// PERSISTENT RESERVE IN (SPC-5).
    pub const PERSISTENT_RESERVE_IN: Self = Self(0x5e);
    /// PERSISTENT RESERVE OUT (SPC-5).
    pub const PERSISTENT_RESERVE_OUT: Self = Self(0x5f);
    /// THIRD-PARTY COPY OUT: EXTENDED COPY and its like (SPC-5).
    pub const THIRD_PARTY_COPY_OUT: Self = Self(0x83);
    /// THIRD-PARTY COPY IN: RECEIVE COPY RESULTS and its like (SPC-5).
    pub const THIRD_PARTY_COPY_IN: Self = Self(0x84);
    /// READ (16) (SBC-4).
    pub const READ_16: Self = Self(0x88);
    /// COMPARE AND WRITE (SBC-4).
    pub const COMPARE_AND_WRITE: Self = Self(0x89);
    /// WRITE (16) (SBC-4).
    pub const WRITE_16: Self = Self(0x8a);
    /// ORWRITE (16) (SBC-4).
    pub const ORWRITE_16: Self = Self(0x8b);
    /// WRITE AND VERIFY (16) (SBC-4).
    pub const WRITE_AND_VERIFY_16: Self = Self(0x8e);
    /// VERIFY (16) (SBC-4).
    pub const VERIFY_16: Self = Self(0x8f);
    /// PRE-FETCH (16) (SBC-4).
    pub const PRE_FETCH_16: Self = Self(0x90);
    /// SYNCHRONIZE CACHE (16) (SBC-4).
    pub const SYNCHRONIZE_CACHE_16: Self = Self(0x91);
    /// WRITE SAME (16) (SBC-4).
    pub const WRITE_SAME_16: Self = Self(0x93);
    /// WRITE ATOMIC (16) (SBC-4).
    pub const WRITE_ATOMIC_16: Self = Self(0x9c);
    /// SERVICE ACTION IN (16) (SPC-5).
    pub const SERVICE_ACTION_IN_16: Self = Self(0x9e);
    /// REPORT LUNS (SPC-5).
    pub const REPORT_LUNS: Self = Self(0xa0);
    /// MAINTENANCE IN (SPC-5).
    pub const MAINTENANCE_IN: Self = Self(0xa3);
    /// MAINTENANCE OUT (SPC-5).
    pub const MAINTENANCE_OUT: Self = Self(0xa4);
    /// READ (12) (SBC-4).
    pub const READ_12: Self = Self(0xa8);
    /// WRITE (12) (SBC-4).
    pub const WRITE_12: Self = Self(0xaa);
    /// WRITE AND VERIFY (12) (SBC-4).
    pub const WRITE_AND_VERIFY_12: Self = Self(0xae);
    /// VERIFY (12) (SBC-4).
    pub const VERIFY_12: Self = Self(0xaf);
    /// READ DEFECT DATA (12) (SBC-4).
    pub const READ_DEFECT_DATA_12: Self = Self(0xb7);
}

/// Service action of SERVICE ACTION IN (16) that is READ CAPACITY (16) (SBC-4).
pub const SERVICE_ACTION_READ_CAPACITY_16: u8 = 0x10;
/// Service action of SERVICE ACTION IN (16) that is GET LBA STATUS (16) (SBC-4).
pub const SERVICE_ACTION_GET_LBA_STATUS_16: u8 = 0x12;

/// Service actions of MAINTENANCE IN (SPC-5).
pub mod maintenance_in {
    /// REPORT IDENTIFYING INFORMATION.
    pub const REPORT_IDENTIFYING_INFORMATION: u8 = 0x05;
    /// REPORT TARGET PORT GROUPS.
    pub const REPORT_TARGET_PORT_GROUPS: u8 = 0x0a;
    /// REPORT SUPPORTED OPERATION CODES.
    pub const REPORT_SUPPORTED_OPCODES: u8 = 0x0c;
    /// REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
    pub const REPORT_SUPPORTED_TASK_FUNCTIONS: u8 = 0x0d;
    /// REPORT TIMESTAMP.
    pub const REPORT_TIMESTAMP: u8 = 0x0f;
}

/// Service actions of MAINTENANCE OUT (SPC-5).
pub mod maintenance_out {
    /// SET IDENTIFYING INFORMATION.
    pub const SET_IDENTIFYING_INFORMATION: u8 = 0x06;
    /// SET TARGET PORT GROUPS.
    pub const SET_TARGET_PORT_GROUPS: u8 = 0x0a;
    /// SET TIMESTAMP.
    pub const SET_TIMESTAMP: u8 = 0x0f;
}

/// Sense key (SPC-5, sense key and additional sense code definitions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SenseKey(pub u8);

impl SenseKey {
    /// Nothing to report.
    pub const NO_SENSE: Self = Self(0x0);
    /// The logical unit is not accessible.
    pub const NOT_READY: Self = Self(0x2);
    /// The medium failed.
    pub const MEDIUM_ERROR: Self = Self(0x3);
    /// The device failed.
    pub const HARDWARE_ERROR: Self = Self(0x4);
    /// The command is wrong.
    pub const ILLEGAL_REQUEST: Self = Self(0x5);
    /// Something happened that the initiator must know first.
    pub const UNIT_ATTENTION: Self = Self(0x6);
    /// The blocks are protected from what was asked.
    pub const DATA_PROTECT: Self = Self(0x7);
    /// EXTENDED COPY failed.
    pub const COPY_ABORTED: Self = Self(0xa);
    /// The device server ended the command; it may be sent again.
    pub const ABORTED_COMMAND: Self = Self(0xb);
    /// The compared data differ.
    pub const MISCOMPARE: Self = Self(0xe);
}

/// Additional sense code and qualifier: `asc << 8 | ascq` (SPC-5, annex of numeric order codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asc(pub u16);

impl Asc {
    /// NO ADDITIONAL SENSE INFORMATION.
    pub const NO_ADDITIONAL_SENSE: Self = Self(0x0000);
    /// OPERATION IN PROGRESS.
    pub const OPERATION_IN_PROGRESS: Self = Self(0x0016);
    /// PERIPHERAL DEVICE WRITE FAULT.
    pub const PERIPHERAL_DEVICE_WRITE_FAULT: Self = Self(0x0300);
    /// LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE.
    pub const NOT_READY_CAUSE_NOT_REPORTABLE: Self = Self(0x0400);
    /// LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED.
    pub const INITIALIZING_COMMAND_REQUIRED: Self = Self(0x0402);
    /// LOGICAL UNIT NOT READY, FORMAT IN PROGRESS.
    pub const FORMAT_IN_PROGRESS: Self = Self(0x0404);
    /// LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN STANDBY STATE.
    pub const TARGET_PORT_IN_STANDBY: Self = Self(0x040b);
    /// LOGICAL UNIT NOT ACCESSIBLE, TARGET PORT IN UNAVAILABLE STATE.
    pub const TARGET_PORT_UNAVAILABLE: Self = Self(0x040c);
    /// LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS.
    pub const SANITIZE_IN_PROGRESS: Self = Self(0x041b);
    /// WARNING - SPECIFIED TEMPERATURE EXCEEDED.
    pub const SPECIFIED_TEMPERATURE_EXCEEDED: Self = Self(0x0b01);
    /// WARNING - POWER LOSS EXPECTED.
    pub const POWER_LOSS_EXPECTED: Self = Self(0x0b08);
    /// WRITE ERROR.
    pub const WRITE_ERROR: Self = Self(0x0c00);
    /// THIRD PARTY DEVICE FAILURE.
    pub const THIRD_PARTY_DEVICE_FAILURE: Self = Self(0x0d01);
    /// COPY TARGET DEVICE NOT REACHABLE.
    pub const COPY_TARGET_DEVICE_NOT_REACHABLE: Self = Self(0x0d02);
    /// INCORRECT COPY TARGET DEVICE TYPE.
    pub const INCORRECT_COPY_TARGET_DEVICE_TYPE: Self = Self(0x0d03);
    /// COPY TARGET DEVICE DATA UNDERRUN.
    pub const COPY_TARGET_DEVICE_DATA_UNDERRUN: Self = Self(0x0d04);
    /// LOGICAL BLOCK GUARD CHECK FAILED.
    pub const GUARD_CHECK_FAILED: Self = Self(0x1001);
    /// LOGICAL BLOCK APPLICATION TAG CHECK FAILED.
    pub const APPLICATION_TAG_CHECK_FAILED: Self = Self(0x1002);
    /// LOGICAL BLOCK REFERENCE TAG CHECK FAILED.
    pub const REFERENCE_TAG_CHECK_FAILED: Self = Self(0x1003);
    /// UNRECOVERED READ ERROR.
    pub const UNRECOVERED_READ_ERROR: Self = Self(0x1100);
    /// PARAMETER LIST LENGTH ERROR.
    pub const PARAMETER_LIST_LENGTH_ERROR: Self = Self(0x1a00);
    /// MISCOMPARE DURING VERIFY OPERATION.
    pub const MISCOMPARE_DURING_VERIFY: Self = Self(0x1d00);
    /// INVALID COMMAND OPERATION CODE.
    pub const INVALID_COMMAND_OPERATION_CODE: Self = Self(0x2000);
    /// ACCESS DENIED - INVALID LU IDENTIFIER.
    pub const ACCESS_DENIED_INVALID_LU_IDENTIFIER: Self = Self(0x2009);
    /// LOGICAL BLOCK ADDRESS OUT OF RANGE.
    pub const LBA_OUT_OF_RANGE: Self = Self(0x2100);
    /// INVALID TOKEN OPERATION, CAUSE NOT REPORTABLE.
    pub const INVALID_TOKEN_OPERATION: Self = Self(0x2300);
    /// INVALID TOKEN OPERATION, UNSUPPORTED TOKEN TYPE.
    pub const UNSUPPORTED_TOKEN_TYPE: Self = Self(0x2301);
    /// INVALID TOKEN OPERATION, REMOTE TOKEN USAGE NOT SUPPORTED.
    pub const REMOTE_TOKEN_USAGE_NOT_SUPPORTED: Self = Self(0x2302);
    /// INVALID TOKEN OPERATION, TOKEN UNKNOWN.
    pub const TOKEN_UNKNOWN: Self = Self(0x2304);
    /// INVALID TOKEN OPERATION, TOKEN EXPIRED.
    pub const TOKEN_EXPIRED: Self = Self(0x2307);
    /// INVALID TOKEN OPERATION, TOKEN CANCELLED.
    pub const TOKEN_CANCELLED: Self = Self(0x2308);
    /// INVALID TOKEN OPERATION, TOKEN DELETED.
    pub const TOKEN_DELETED: Self = Self(0x2309);
    /// INVALID TOKEN OPERATION, INVALID TOKEN LENGTH.
    pub const INVALID_TOKEN_LENGTH: Self = Self(0x230a);
    /// INVALID FIELD IN CDB.
    pub const INVALID_FIELD_IN_CDB: Self = Self(0x2400);
    /// LOGICAL UNIT NOT SUPPORTED.
    pub const LOGICAL_UNIT_NOT_SUPPORTED: Self = Self(0x2500);
    /// INVALID FIELD IN PARAMETER LIST.
    pub const INVALID_FIELD_IN_PARAMETER_LIST: Self = Self(0x2600);
    /// INVALID MESSAGE ERROR.
    pub const INVALID_MESSAGE_ERROR: Self = Self(0x4900);
    /// INVALID RELEASE OF PERSISTENT RESERVATION.
    pub const INVALID_RELEASE_OF_PERSISTENT_RESERVATION: Self = Self(0x2604);
    /// TOO MANY TARGET DESCRIPTORS.
    pub const TOO_MANY_TARGET_DESCRIPTORS: Self = Self(0x2606);
    /// UNSUPPORTED TARGET DESCRIPTOR TYPE CODE.
    pub const UNSUPPORTED_TARGET_DESCRIPTOR: Self = Self(0x2607);
    /// TOO MANY SEGMENT DESCRIPTORS.
    pub const TOO_MANY_SEGMENT_DESCRIPTORS: Self = Self(0x2608);
    /// UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE.
    pub const UNSUPPORTED_SEGMENT_DESCRIPTOR: Self = Self(0x2609);
    /// UNEXPECTED INEXACT SEGMENT.
    pub const UNEXPECTED_INEXACT_SEGMENT: Self = Self(0x260a);
    /// INLINE DATA LENGTH EXCEEDED.
    pub const INLINE_DATA_LENGTH_EXCEEDED: Self = Self(0x260b);
    /// COPY SEGMENT GRANULARITY VIOLATION.
    pub const COPY_SEGMENT_GRANULARITY_VIOLATION: Self = Self(0x260d);
    /// WRITE PROTECTED.
    pub const WRITE_PROTECTED: Self = Self(0x2700);
    /// LOGICAL UNIT SOFTWARE WRITE PROTECTED.
    pub const SOFTWARE_WRITE_PROTECTED: Self = Self(0x2702);
    /// SPACE ALLOCATION FAILED WRITE PROTECT.
    pub const SPACE_ALLOCATION_FAILED: Self = Self(0x2707);
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    pub const MEDIUM_MAY_HAVE_CHANGED: Self = Self(0x2800);
    /// POWER ON OCCURRED.
    pub const POWER_ON_OCCURRED: Self = Self(0x2901);
    /// SCSI BUS RESET OCCURRED, which SAM-5 calls a hard reset.
    pub const SCSI_BUS_RESET_OCCURRED: Self = Self(0x2902);
    /// BUS DEVICE RESET FUNCTION OCCURRED, which SAM-5 calls a logical unit reset.
    pub const BUS_DEVICE_RESET_OCCURRED: Self = Self(0x2903);
    /// I_T NEXUS LOSS OCCURRED.
    pub const NEXUS_LOSS_OCCURRED: Self = Self(0x2907);
    /// MODE PARAMETERS CHANGED.
    pub const MODE_PARAMETERS_CHANGED: Self = Self(0x2a01);
    /// RESERVATIONS PREEMPTED.
    pub const RESERVATIONS_PREEMPTED: Self = Self(0x2a03);
    /// RESERVATIONS RELEASED.
    pub const RESERVATIONS_RELEASED: Self = Self(0x2a04);
    /// REGISTRATIONS PREEMPTED.
    pub const REGISTRATIONS_PREEMPTED: Self = Self(0x2a05);
    /// ASYMMETRIC ACCESS STATE CHANGED.
    pub const ASYMMETRIC_ACCESS_STATE_CHANGED: Self = Self(0x2a06);
    /// CAPACITY DATA HAS CHANGED.
    pub const CAPACITY_DATA_CHANGED: Self = Self(0x2a09);
    /// TIMESTAMP CHANGED.
    pub const TIMESTAMP_CHANGED: Self = Self(0x2a10);
    /// COMMAND SEQUENCE ERROR.
    pub const COMMAND_SEQUENCE_ERROR: Self = Self(0x2c00);
    /// COMMANDS CLEARED BY ANOTHER INITIATOR.
    pub const COMMANDS_CLEARED: Self = Self(0x2f00);
    /// COMMANDS CLEARED BY DEVICE SERVER.
    pub const COMMANDS_CLEARED_BY_DEVICE_SERVER: Self = Self(0x2f02);
    /// MEDIUM FORMAT CORRUPTED.
    pub const MEDIUM_FORMAT_CORRUPTED: Self = Self(0x3100);
    /// FORMAT COMMAND FAILED.
    pub const FORMAT_COMMAND_FAILED: Self = Self(0x3101);
    /// SANITIZE COMMAND FAILED.
    pub const SANITIZE_COMMAND_FAILED: Self = Self(0x3103);
    /// SAVING PARAMETERS NOT SUPPORTED.
    pub const SAVING_PARAMETERS_NOT_SUPPORTED: Self = Self(0x3900);
    /// LOGICAL UNIT FAILURE.
    pub const LOGICAL_UNIT_FAILURE: Self = Self(0x3e01);
    /// LOGICAL UNIT FAILED SELF-TEST.
    pub const FAILED_SELF_TEST: Self = Self(0x3e03);
    /// DEVICE IDENTIFIER CHANGED.
    pub const DEVICE_IDENTIFIER_CHANGED: Self = Self(0x3f05);
    /// REPORTED LUNS DATA HAS CHANGED.
    pub const REPORTED_LUNS_CHANGED: Self = Self(0x3f0e);
    /// THIN PROVISIONING SOFT THRESHOLD REACHED.
    pub const SOFT_THRESHOLD_REACHED: Self = Self(0x3807);
    /// MEDIUM NOT PRESENT.
    pub const MEDIUM_NOT_PRESENT: Self = Self(0x3a00);
    /// INTERNAL TARGET FAILURE.
    pub const INTERNAL_TARGET_FAILURE: Self = Self(0x4400);
    /// PERSISTENT RESERVATION INFORMATION LOST.
    pub const PERSISTENT_RESERVATION_INFORMATION_LOST: Self = Self(0x4401);
    /// MEDIUM REMOVAL PREVENTED.
    pub const MEDIUM_REMOVAL_PREVENTED: Self = Self(0x5302);
    /// INSUFFICIENT REGISTRATION RESOURCES.
    pub const INSUFFICIENT_REGISTRATION_RESOURCES: Self = Self(0x5504);
    /// FAILURE PREDICTION THRESHOLD EXCEEDED.
    pub const FAILURE_PREDICTION_THRESHOLD_EXCEEDED: Self = Self(0x5d00);
}

#[cfg(test)]
mod left_out;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod t10;
#[cfg(test)]
mod tests;

use super::*;

#[test]
fn additional_sense_codes() {
    let expected = [
        (Asc::NO_ADDITIONAL_SENSE, 0x00, 0x00),
        (Asc::PERIPHERAL_DEVICE_WRITE_FAULT, 0x03, 0x00),
        (Asc::NOT_READY_CAUSE_NOT_REPORTABLE, 0x04, 0x00),
        (Asc::FORMAT_IN_PROGRESS, 0x04, 0x04),
        (Asc::POWER_LOSS_EXPECTED, 0x0b, 0x08),
        (Asc::GUARD_CHECK_FAILED, 0x10, 0x01),
        (Asc::APPLICATION_TAG_CHECK_FAILED, 0x10, 0x02),
        (Asc::REFERENCE_TAG_CHECK_FAILED, 0x10, 0x03),
        (Asc::MISCOMPARE_DURING_VERIFY, 0x1d, 0x00),
        (Asc::ACCESS_DENIED_INVALID_LU_IDENTIFIER, 0x20, 0x09),
        (Asc::INTERNAL_TARGET_FAILURE, 0x44, 0x00),
        (Asc::INITIALIZING_COMMAND_REQUIRED, 0x04, 0x02),
        (Asc::TARGET_PORT_IN_STANDBY, 0x04, 0x0b),
        (Asc::TARGET_PORT_UNAVAILABLE, 0x04, 0x0c),
        (Asc::WRITE_ERROR, 0x0c, 0x00),
        (Asc::UNRECOVERED_READ_ERROR, 0x11, 0x00),
        (Asc::PARAMETER_LIST_LENGTH_ERROR, 0x1a, 0x00),
        (Asc::MISCOMPARE_DURING_VERIFY, 0x1d, 0x00),
        (Asc::INVALID_COMMAND_OPERATION_CODE, 0x20, 0x00),
        (Asc::LBA_OUT_OF_RANGE, 0x21, 0x00),
        (Asc::INVALID_FIELD_IN_CDB, 0x24, 0x00),
        (Asc::LOGICAL_UNIT_NOT_SUPPORTED, 0x25, 0x00),
        (Asc::INVALID_FIELD_IN_PARAMETER_LIST, 0x26, 0x00),
        (Asc::INVALID_RELEASE_OF_PERSISTENT_RESERVATION, 0x26, 0x04),
        (Asc::WRITE_PROTECTED, 0x27, 0x00),
        (Asc::SPACE_ALLOCATION_FAILED, 0x27, 0x07),
        (Asc::POWER_ON_OCCURRED, 0x29, 0x01),
        (Asc::SCSI_BUS_RESET_OCCURRED, 0x29, 0x02),
        (Asc::BUS_DEVICE_RESET_OCCURRED, 0x29, 0x03),
        (Asc::NEXUS_LOSS_OCCURRED, 0x29, 0x07),
        (Asc::MODE_PARAMETERS_CHANGED, 0x2a, 0x01),
        (Asc::RESERVATIONS_PREEMPTED, 0x2a, 0x03),
        (Asc::RESERVATIONS_RELEASED, 0x2a, 0x04),
        (Asc::REGISTRATIONS_PREEMPTED, 0x2a, 0x05),
        (Asc::ASYMMETRIC_ACCESS_STATE_CHANGED, 0x2a, 0x06),
        (Asc::CAPACITY_DATA_CHANGED, 0x2a, 0x09),
        (Asc::COMMANDS_CLEARED, 0x2f, 0x00),
        (Asc::SAVING_PARAMETERS_NOT_SUPPORTED, 0x39, 0x00),
        (Asc::LOGICAL_UNIT_FAILURE, 0x3e, 0x01),
        (Asc::INQUIRY_DATA_CHANGED, 0x3f, 0x03),
        (Asc::REPORTED_LUNS_CHANGED, 0x3f, 0x0e),
        (Asc::PERSISTENT_RESERVATION_INFORMATION_LOST, 0x44, 0x01),
        (Asc::INSUFFICIENT_REGISTRATION_RESOURCES, 0x55, 0x04),
    ];
    for (asc, code, qualifier) in expected {
        assert_eq!(asc.0.to_be_bytes(), [code, qualifier]);
    }
}

#[test]
fn sense_keys_and_statuses() {
    let keys = [
        (SenseKey::NO_SENSE, 0),
        (SenseKey::RECOVERED_ERROR, 1),
        (SenseKey::NOT_READY, 2),
        (SenseKey::MEDIUM_ERROR, 3),
        (SenseKey::HARDWARE_ERROR, 4),
        (SenseKey::ILLEGAL_REQUEST, 5),
        (SenseKey::UNIT_ATTENTION, 6),
        (SenseKey::DATA_PROTECT, 7),
        (SenseKey::BLANK_CHECK, 8),
        (SenseKey::COPY_ABORTED, 10),
        (SenseKey::ABORTED_COMMAND, 11),
        (SenseKey::MISCOMPARE, 14),
    ];
    assert!(keys.iter().all(|(key, value)| key.0 == *value));
    let statuses = [
        (Status::GOOD, 0x00),
        (Status::CHECK_CONDITION, 0x02),
        (Status::CONDITION_MET, 0x04),
        (Status::BUSY, 0x08),
        (Status::RESERVATION_CONFLICT, 0x18),
        (Status::TASK_SET_FULL, 0x28),
        (Status::ACA_ACTIVE, 0x30),
        (Status::TASK_ABORTED, 0x40),
    ];
    assert!(statuses.iter().all(|(status, value)| status.0 == *value));
}

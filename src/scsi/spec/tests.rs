use super::*;

#[test]
fn sense_keys_and_statuses() {
    let keys = [
        (SenseKey::NO_SENSE, 0),
        (SenseKey::NOT_READY, 2),
        (SenseKey::MEDIUM_ERROR, 3),
        (SenseKey::HARDWARE_ERROR, 4),
        (SenseKey::ILLEGAL_REQUEST, 5),
        (SenseKey::UNIT_ATTENTION, 6),
        (SenseKey::DATA_PROTECT, 7),
        (SenseKey::COPY_ABORTED, 10),
        (SenseKey::ABORTED_COMMAND, 11),
        (SenseKey::MISCOMPARE, 14),
    ];
    assert!(keys.iter().all(|(key, value)| key.0 == *value));
    assert_eq!(constants(include_str!("../spec.rs"), "SenseKey"), keys.len());
    let statuses = [
        (Status::GOOD, 0x00),
        (Status::CHECK_CONDITION, 0x02),
        (Status::BUSY, 0x08),
        (Status::RESERVATION_CONFLICT, 0x18),
        (Status::TASK_SET_FULL, 0x28),
        (Status::ACA_ACTIVE, 0x30),
        (Status::TASK_ABORTED, 0x40),
    ];
    assert!(statuses.iter().all(|(status, value)| status.0 == *value));
    assert_eq!(constants(include_str!("status.rs"), "Status"), statuses.len());
}

/// How many constants a type has, so that none goes without a test.
fn constants(text: &str, name: &str) -> usize {
    let (_, its) = text.split_once(&format!("impl {name} {{")).expect("the constants stand there");
    its.split("\n}").next().expect("there is a first part").matches("pub const ").count()
}

use super::*;

#[test]
fn failures_of_a_device_as_sense() {
    let write = OpKind::Write { fua: false };
    let expected = [
        (OpKind::Read, IoError::Medium, 0x3, 0x1100),
        (write, IoError::Medium, 0x3, 0x0c00),
        (OpKind::Flush, IoError::Medium, 0x3, 0x0c00),
        (write, IoError::NoSpace, 0x7, 0x2707),
        (OpKind::Read, IoError::BeyondEnd, 0x5, 0x2100),
        (write, IoError::ReadOnly, 0x7, 0x2700),
        (OpKind::Read, IoError::Gone, 0x4, 0x3e01),
        (OpKind::Read, IoError::Cancelled, 0xb, 0x0000),
        (write, IoError::Unsupported, 0x5, 0x2000),
        (write, IoError::Misfit, 0x4, 0x4400),
        (write, IoError::Transfer, 0x3, 0x0000),
        (write, IoError::PowerLoss, 0xb, 0x0b08),
        (write, IoError::Internal, 0x4, 0x4400),
        (write, IoError::NotReady, 0x2, 0x0400),
        (write, IoError::Formatting, 0x2, 0x0404),
        (write, IoError::Sanitizing, 0x2, 0x041b),
        (write, IoError::WriteFault, 0x3, 0x0300),
        (OpKind::Read, IoError::GuardCheck, 0x3, 0x1001),
        (OpKind::Read, IoError::ApplicationTagCheck, 0x3, 0x1002),
        (OpKind::Read, IoError::ReferenceTagCheck, 0x3, 0x1003),
        (OpKind::Read, IoError::Miscompare, 0xe, 0x1d00),
        (OpKind::Read, IoError::AccessDenied, 0x5, 0x2009),
    ];
    for (kind, error, key, asc) in expected {
        let outcome = Outcome::of_io_error(kind, error);
        assert_eq!(outcome, Outcome::check(Sense::new(SenseKey(key), Asc(asc))), "{kind:?} {error:?}");
        assert_eq!(outcome.status.0, 2);
    }
}

#[test]
fn an_atomic_write_that_the_device_does_not_take_is_too_long() {
    let outcome = Outcome::of_io_error(OpKind::WriteAtomic { fua: false }, IoError::Misfit);
    assert_eq!(outcome, Outcome::check(Sense::invalid_field(12, None)));
}

#[test]
fn a_busy_device_is_a_status_without_sense() {
    let outcome = Outcome::of_io_error(OpKind::Read, IoError::Busy);
    assert_eq!((outcome.status.0, outcome.sense, outcome.effect), (8, None, None));
    let outcome = Outcome::of_io_error(OpKind::Read, IoError::ReservationConflict);
    assert_eq!((outcome.status.0, outcome.sense, outcome.effect), (0x18, None, None));
}

/// What is not in the SCSI Translation Reference for NVM Express, for it is younger, is marked so.
#[test]
fn nvme_statuses_as_the_translation_reference_has_them() {
    let table = [
        // Invalid Command Opcode: INVALID COMMAND OPERATION CODE.
        (0x001, 0x5, 0x2000),
        // Invalid Field in Command: not INVALID FIELD IN CDB, for none of the CDB is meant.
        (0x002, 0x4, 0x4400),
        // Data Transfer Error: no additional sense.
        (0x004, 0x3, 0x0000),
        // Commands Aborted due to Power Loss Notification: WARNING - POWER LOSS EXPECTED.
        (0x005, 0xb, 0x0b08),
        // Internal Error: INTERNAL TARGET FAILURE.
        (0x006, 0x4, 0x4400),
        // Command Abort Requested, due to SQ Deletion, due to Failed or Missing Fused Command: no additional sense.
        (0x007, 0xb, 0x0000),
        (0x008, 0xb, 0x0000),
        (0x009, 0xb, 0x0000),
        (0x00a, 0xb, 0x0000),
        // Invalid Namespace or Format: ACCESS DENIED - INVALID LU IDENTIFIER.
        (0x00b, 0x5, 0x2009),
        // Younger: Atomic Write Unit Exceeded, Operation Denied, Preempt and Abort, Sanitize In Progress, Namespace is
        // Write Protected.
        (0x014, 0x4, 0x4400),
        (0x015, 0x5, 0x2009),
        (0x01b, 0xb, 0x0000),
        (0x01d, 0x2, 0x041b),
        (0x020, 0x7, 0x2700),
        // LBA Out of Range: LOGICAL BLOCK ADDRESS OUT OF RANGE.
        (0x080, 0x5, 0x2100),
        // Capacity Exceeded: no additional sense.
        (0x081, 0x3, 0x0000),
        // Namespace Not Ready: LOGICAL UNIT NOT READY, CAUSE NOT REPORTABLE.
        (0x082, 0x2, 0x0400),
        // Younger: Format In Progress.
        (0x084, 0x2, 0x0404),
        // Younger: Namespace Insufficient Capacity.
        (0x115, 0x7, 0x2707),
        // Conflicting Attributes, Invalid Protection Information: not INVALID FIELD IN CDB either.
        (0x180, 0x4, 0x4400),
        (0x181, 0x4, 0x4400),
        // Attempted Write to Read Only Range: WRITE PROTECTED.
        (0x182, 0x7, 0x2700),
        // Write Fault: PERIPHERAL DEVICE WRITE FAULT.
        (0x280, 0x3, 0x0300),
        // Unrecovered Read Error.
        (0x281, 0x3, 0x1100),
        // End-to-end Guard, Application Tag and Reference Tag Check Error: LOGICAL BLOCK ... CHECK FAILED.
        (0x282, 0x3, 0x1001),
        (0x283, 0x3, 0x1002),
        (0x284, 0x3, 0x1003),
        // Compare Failure: MISCOMPARE DURING VERIFY OPERATION.
        (0x285, 0xe, 0x1d00),
        // Access Denied: ACCESS DENIED - INVALID LU IDENTIFIER.
        (0x286, 0x5, 0x2009),
        // Younger: Deallocated or Unwritten Logical Block.
        (0x287, 0x3, 0x1100),
        // Younger: Internal Path Error, the three of asymmetric access, Controller and Host Pathing Error, Command Aborted
        // By Host.
        (0x300, 0x4, 0x4400),
        (0x301, 0x4, 0x3e01),
        (0x302, 0x2, 0x0400),
        (0x303, 0x2, 0x0400),
        (0x360, 0xb, 0x0000),
        (0x370, 0xb, 0x0000),
        (0x371, 0xb, 0x0000),
        // Vendor specific.
        (0x7ff, 0x4, 0x4400),
    ];
    for (status, key, asc) in table {
        let outcome = Outcome::of_io_error(OpKind::Read, IoError::from_nvme_status(status));
        assert_eq!(outcome, Outcome::check(Sense::new(SenseKey(key), Asc(asc))), "{status:#x}");
    }
    // A device that changes a part of what it keeps as a whole reads for a write.
    for kind in [OpKind::Write { fua: false }, OpKind::Verify, OpKind::WriteZeroes { unmap: false, fua: false }] {
        let outcome = Outcome::of_io_error(kind, IoError::from_nvme_status(0x281));
        assert_eq!(
            outcome,
            Outcome::check(Sense::new(SenseKey::MEDIUM_ERROR, Asc::UNRECOVERED_READ_ERROR)),
            "{kind:?}"
        );
    }
    // Command Interrupted and Transient Transport Error, both younger: BUSY. Reservation Conflict: the status of that name.
    for (status, scsi) in [(0x021, 0x08), (0x022, 0x08), (0x083, 0x18)] {
        let outcome = Outcome::of_io_error(OpKind::Read, IoError::from_nvme_status(status));
        assert_eq!((outcome.status.0, outcome.sense), (scsi, None), "{status:#x}");
    }
}

#[test]
fn what_is_written_where_nothing_is_to_be_cached() {
    let done = |kind, mode| BlockOp { kind, ..BlockOp::FLUSH }.in_mode(mode);
    let writes = |fua| {
        [OpKind::Write { fua }, OpKind::WriteAtomic { fua }]
            .into_iter()
            .chain([false, true].map(|unmap| OpKind::WriteZeroes { unmap, fua }))
    };
    for (cached, forced) in writes(false).zip(writes(true)) {
        assert_eq!(done(cached, ModeValues::SWP), cached);
        assert_eq!([cached, forced].map(|kind| done(kind, ModeValues::WRITE_THROUGH)), [forced; 2]);
    }
    for other in [OpKind::Read, OpKind::Flush, OpKind::Unmap, OpKind::Anchor { fua: false }] {
        assert_eq!(done(other, ModeValues::WRITE_THROUGH), other);
    }
}

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
        (write, IoError::InvalidField, 0x5, 0x2400),
        (write, IoError::Transfer, 0x3, 0x0000),
        (write, IoError::PowerLoss, 0xb, 0x0b08),
        (write, IoError::Internal, 0x4, 0x4400),
        (write, IoError::NotReady, 0x2, 0x0400),
        (write, IoError::Formatting, 0x2, 0x0404),
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
fn a_busy_device_is_a_status_without_sense() {
    let outcome = Outcome::of_io_error(OpKind::Read, IoError::Busy);
    assert_eq!((outcome.status.0, outcome.sense, outcome.effect), (8, None, None));
    let outcome = Outcome::of_io_error(OpKind::Read, IoError::ReservationConflict);
    assert_eq!((outcome.status.0, outcome.sense, outcome.effect), (0x18, None, None));
}
